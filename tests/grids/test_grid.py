"""Grids: the tensor product of axes, in C order."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mfpde as mf
from mfpde.errors import InvalidInput

GRID = mf.Grid(
    a=mf.uniform(-1, 2, 5), w=mf.stretched(-3, 3, 6, walls="closed"), t=mf.periodic(0, 1, 4)
)


def test_shape_box_and_volumes():
    assert GRID.coords == ("a", "w", "t")
    assert GRID.shape == (5, 6, 4)
    assert GRID.cells == 120
    assert GRID.box == {"a": (-1, 2), "w": (-3, 3), "t": (0, 1)}
    assert GRID.volumes.shape == GRID.shape
    assert_allclose(GRID.volumes.sum(), 3 * 6 * 1, rtol=1e-14)
    i, j, k = 1, 4, 2
    widths = [axis.widths for axis in GRID.axes.values()]
    assert_allclose(GRID.volumes[i, j, k], widths[0][i] * widths[1][j] * widths[2][k], rtol=1e-15)


def test_points_run_like_a_raveled_field():
    points = GRID.points()
    assert points.shape == (120, 3)
    for cell in ((0, 0, 0), (1, 4, 2), (4, 5, 3)):
        flat = np.ravel_multi_index(cell, GRID.shape)
        assert points[flat].tolist() == [c[i] for c, i in zip(GRID.centres, cell, strict=True)]


def test_a_grid_says_its_box_and_memory():
    text = repr(GRID)
    assert all(word in text for word in ("a=uniform(-1, 2, 5)", "t=periodic", "120 cells", "MiB"))


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ({}, "0 axes"),
        ({c: mf.uniform(0, 1, 4) for c in "abcde"}, "5 axes"),
        ({"a": (0, 1, 8)}, "a = (0, 1, 8)"),
        ({"a": mf.uniform(0, 1, 8), "w": None}, "w = None"),
    ],
)
def test_grids_without_meaning_are_refused(axes, named):
    with pytest.raises(InvalidInput) as refusal:
        mf.Grid(**axes)
    assert named in str(refusal.value)
