"""Orders of the semi-Lagrangian method in a window that follows the mass: those it has without one.

In space at every step there is another window, by pure ridge, whose splitting is exact; errors are
compared at the widths that cells have in the last window.
"""

import numpy as np
import pytest
from exact.cases import Case, frozen_ridge, rotation
from exact.solutions import Array, Normal, cell_averages
from numpy.testing import assert_allclose
from orders.observed import observed_orders

import mfpde as mf

TURNED = rotation(std=0.6, angle=-0.2, half=8.0)
DRAWN_IN = frozen_ridge((1.0, 0.5), 0.0, Normal.isotropic([0.2, 0.3], 0.5), 8.0)


def error(case: Case, method: mf.Method, cells: int, horizon: float) -> tuple[float, float, int]:
    """In L1 at the horizon, the mean width of a cell there, and how many windows there were."""
    run = mf.solve(case.problem, case.grid(cells), method, [horizon])
    seen = mf.in_window(run.isel(time=-1))
    edges = [seen[f"{c}_edges"].values for c in "aw"]
    widths: Array = np.array([np.diff(e).mean() for e in edges])
    difference = np.abs(seen.rho.values - cell_averages(case.density(horizon), edges))
    return float(difference.sum() * widths.prod()), float(widths.mean()), run.attrs["windows"]


@pytest.mark.parametrize("order", [5, 7, 9])
def test_order_in_space(order: int) -> None:
    """Every observed order is ``order`` ± 0.5, however often the density is carried over."""
    method = mf.semi_lagrangian(order, dt=0.25, window=True)
    errors, widths, windows = zip(
        *(error(DRAWN_IN, method, cells, 2.0) for cells in (192, 256)), strict=True
    )
    assert min(windows) >= 8
    assert_allclose(-observed_orders(errors, widths), order, rtol=0, atol=0.5)


@pytest.mark.parametrize(
    ("composed", "cells", "steps", "q", "C"),
    [(False, 96, (2, 4, 8), 2, 2.6e-3), (True, 128, (1, 2, 4), 4, 1.2e-5)],
    ids=["plain", "composed"],
)
def test_order_in_time(
    composed: bool, cells: int, steps: tuple[int, ...], q: int, C: float
) -> None:
    """With the constants C of the same problem without a window (test_semi_lagrangian)."""
    T = TURNED.horizon
    methods = [mf.semi_lagrangian(9, dt=T / n, composed=composed, window=True) for n in steps]
    errors, _, windows = zip(*(error(TURNED, m, cells, T) for m in methods), strict=True)
    assert max(windows) > 1
    assert_allclose(observed_orders(errors, steps), q, rtol=0, atol=0.3 if composed else 0.1)
    assert np.all(np.array(errors) <= C / np.array(steps, dtype=float) ** q)
