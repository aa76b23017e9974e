"""Axes: cells fill the box, and their widths and distances belong together."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mfpde as mf
from mfpde.errors import InvalidInput

AXES = (
    mf.uniform(-6, 6, 128),
    mf.uniform(0.1, 0.7, 7, walls="closed"),
    mf.uniform(1e6, 1e6 + 1, 10, walls="open"),
    mf.periodic(0, 2 * np.pi, 33),
    mf.stretched(-6, 6, 128),
    mf.stretched(0, 5, 9, walls="closed"),
    mf.stretched(-1, 5, 40, focus=2.5, ratio=8),
    mf.stretched(1, 2, 4, focus=2, ratio=1.001),
)


@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_cells_fill_the_box(axis):
    assert axis.edges[0] == axis.low
    assert axis.edges[-1] == axis.high
    assert len(axis.edges) == axis.cells + 1 == len(axis.distances)
    assert (np.diff(axis.edges) > 0).all()
    scale = max(abs(axis.low), abs(axis.high))
    assert_allclose(axis.widths, np.diff(axis.edges), rtol=0, atol=8e-16 * scale)
    assert_allclose(axis.widths.sum(), axis.high - axis.low, rtol=1e-14)
    assert_allclose(np.diff(axis.centres), axis.distances[1:-1], rtol=0, atol=8e-16 * scale)
    assert (axis.centres > axis.edges[:-1]).all()
    assert (axis.centres < axis.edges[1:]).all()


@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_distances_at_the_ends(axis):
    """Across the seam of a circle; elsewhere that of the next face inside."""
    if axis.is_periodic:
        seam = axis.high - axis.low - (axis.centres[-1] - axis.centres[0])
        assert_allclose(axis.distances[[0, -1]], seam, rtol=1e-12)
    else:
        assert axis.distances[0] == axis.distances[1]
        assert axis.distances[-1] == axis.distances[-2]


def test_uniform_widths_are_one_number():
    for axis in AXES:
        if axis.is_uniform:
            assert np.ptp(axis.widths) == 0


def test_stretched_cells_widen_from_the_focus_by_the_ratio():
    """Edges are focus + s·sinh(ξ): widths at the farther end and at the focus have the ratio."""
    axis = mf.stretched(-1, 5, 4000, focus=0.5, ratio=6)
    narrowest = axis.centres[np.argmin(axis.widths)]
    assert abs(narrowest - 0.5) <= axis.widths.min()
    assert_allclose(axis.widths[-1] / axis.widths.min(), 6, rtol=2e-3)
    away = np.abs(axis.centres - 0.5)
    order = np.argsort(away)
    assert (np.diff(axis.widths[order]) > -1e-9).all()
    assert_allclose(mf.stretched(-3, 3, 10).edges, -mf.stretched(-3, 3, 10).edges[::-1], atol=1e-15)


def test_an_axis_says_how_it_was_made():
    assert repr(mf.uniform(-6, 6, 128)) == "uniform(-6, 6, 128)"
    assert repr(mf.uniform(-6, 6, 128, walls="closed")) == 'uniform(-6, 6, 128, walls="closed")'
    assert repr(mf.periodic(0, 1, 8)) == "periodic(0, 1, 8)"
    assert repr(mf.stretched(-6, 6, 8)) == "stretched(-6, 6, 8, focus=0, ratio=4)"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: mf.uniform(1, 1, 8), "from 1 to 1"),
        (lambda: mf.uniform(2, 1, 8), "from 2 to 1"),
        (lambda: mf.uniform(np.nan, 1, 8), "nan"),
        (lambda: mf.uniform(0, np.inf, 8), "inf"),
        (lambda: mf.uniform(0, 1, 3), "cells = 3"),
        (lambda: mf.uniform(0, 1, 8.5), "cells = 8.5"),
        (lambda: mf.uniform(0, 1, -8), "cells = -8"),
        (lambda: mf.uniform(0, 1, float("nan")), "cells = nan"),
        (lambda: mf.uniform(0, 1, 8, walls="shut"), "shut"),
        (lambda: mf.uniform(0, 1, 8, walls="periodic"), "periodic"),
        (lambda: mf.periodic(1, 0, 8), "from 1 to 0"),
        (lambda: mf.periodic(0, 1, 2), "cells = 2"),
        (lambda: mf.stretched(0, 1, 8, ratio=1.0), "ratio = 1.0"),
        (lambda: mf.stretched(0, 1, 8, ratio=np.nan), "ratio = nan"),
        (lambda: mf.stretched(0, 1, 8, focus=1.5), "focus = 1.5"),
        (lambda: mf.stretched(0, 1, 8, walls="shut"), "shut"),
        (lambda: mf.uniform("a", 1, 10), "from 'a' to 1"),
        (lambda: mf.uniform(0, None, 10), "from 0 to None"),
        (lambda: mf.uniform(-1, 1, "a"), "cells = 'a'"),
        (lambda: mf.uniform(0, 1, np.inf), "cells = inf"),
        (lambda: mf.periodic([0, 1], 1, 8), "from [0, 1] to 1"),
        (lambda: mf.stretched(0, 1, 8, focus="a"), "focus = 'a'"),
        (lambda: mf.stretched(0, 1, 8, ratio="a"), "ratio = 'a'"),
    ],
)
def test_axes_without_meaning_are_refused(make, named):
    with pytest.raises(InvalidInput) as refusal:
        make()
    assert named in str(refusal.value)
