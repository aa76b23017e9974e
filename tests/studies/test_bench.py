"""The bench of transport methods runs, and finds the target where it says so."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import mfpde as mf

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "studies" / "bench" / "transport.py"))


def test_case_a_is_the_closed_form():
    """A run at high order is as close to it as the reference tables say."""
    case = BENCH["case_a"]()
    assert case.horizon == pytest.approx(1.031, abs=1e-3)
    assert case.error(case.solve(mf.muscl(), 128)) == pytest.approx(3.9e-3, rel=0.05)


def test_a_ladder_is_climbed_to_the_target_or_extrapolated():
    case = BENCH["case_a"]()
    ladder = [(cells, mf.semi_lagrangian(9, dt=0.2)) for cells in (24, 48)]
    grid, error, taken, far = BENCH["to_target"](case, ladder, 1e-2, 1)
    assert (grid, far) == ("48²", False)
    assert 1e-4 < error <= 1e-2
    assert taken > 0
    slow = [(cells, mf.upwind()) for cells in (24, 32)]
    _, error, taken, far = BENCH["to_target"](case, slow, 1e-2, 1)
    assert far
    assert error > 1e-2
    assert np.isfinite(taken)
