"""The bench of entropic methods measures against the truth, and with FiPy among them."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from exact.cases import ENTROPIC

import mfpde as mf

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "studies" / "bench" / "entropic.py"))


def test_its_closed_form_is_that_of_the_tests():
    case, cells = ENTROPIC["X1 entropy"], 32
    assert case.horizon == BENCH["HORIZON"]
    half = BENCH["HALF"]
    grid = mf.Grid(a=mf.uniform(-half, half, cells), w=mf.uniform(-half, half, cells))
    ours = BENCH["exact_averages"](cells)
    np.testing.assert_allclose(ours, case.averages(grid, case.horizon), rtol=0, atol=1e-10)


def test_fipy_and_scharfetter_gummel_miss_it_by_the_same():
    """One discretisation of space, the same steps: 1.1e-2 on 32², of which 3 % are the steps'."""
    points = []
    for name in ('fipy("exponential")', "scharfetter_gummel"):
        points.append(BENCH["measured"](BENCH["METHODS"][name][0](32), 32, 1))
    theirs, ours = points
    assert theirs.steps == ours.steps == 8
    assert theirs.error == pytest.approx(ours.error, rel=0.05)
    assert ours.error == pytest.approx(1.07e-2, rel=0.03)


def test_seconds_beyond_the_ladder_are_extrapolated():
    """Errors fall with the square of the seconds' root: cost 1, ten times as many for a tenth."""
    Point = BENCH["Point"]
    points = [Point(32, 4e-2, 1.0, 10), Point(64, 1e-2, 4.0, 40)]
    assert BENCH["seconds_to"](points, 1e-2) == (4.0, False)
    taken, far = BENCH["seconds_to"](points, 1e-3)
    assert far
    assert taken == pytest.approx(40.0)
