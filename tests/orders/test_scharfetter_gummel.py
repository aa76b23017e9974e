"""Orders of Scharfetter–Gummel: 2 in space if diffusion leads, 1 if transport does, 1 in time.

Implicit steps are of order 1 in time, so the order in space is seen with dt ∝ h²; explicit ones are
that short by themselves.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from exact.cases import ENTROPIC, RIDGE_DATA, Case, closed, gaussian_case
from exact.solutions import Normal
from orders.observed import observed_orders

import mfpde as mf

DOUBLING, LINE = (64, 128, 256), (128, 256, 512)
SQUARE, CUBE = (48, 64, 96), (32, 48, 64)
START = Normal(np.array([0.2, 0.3]), np.array([[0.4, 0.1], [0.1, 0.4]]))


def explicit(cells):
    return mf.scharfetter_gummel(implicit=False)


def implicit(cells):
    return mf.scharfetter_gummel(dt=0.1 * (32 / cells) ** 2)


def direct(cells):
    return mf.scharfetter_gummel(dt=0.1 * (32 / cells) ** 2, inside="direct")


def l1_error(case: Case, method: mf.Method, cells: int) -> float:
    run, grid = case.run(method, cells), case.grid(cells)
    difference = run.rho.values[-1] - case.averages(grid, case.horizon)
    return float(np.sum(np.abs(difference) * grid.volumes))


@pytest.mark.parametrize(
    ("problem", "method", "cells", "finest"),
    [
        ("X1 entropy", explicit, DOUBLING, 2.3e-4),
        ("X1 entropy", implicit, DOUBLING, 3.6e-4),
        ("X1 3-D entropy", explicit, CUBE, 2.2e-3),
        ("X12 bowl entropy", implicit, LINE, 8.4e-5),
        ("X12 saddle entropy", implicit, DOUBLING, 5.1e-4),
        ("X12 saddle entropy", direct, SQUARE, 3.7e-3),
        ("X12 ridge entropy", explicit, DOUBLING, 8e-4),
        ("heat on a circle", explicit, LINE, 6.3e-6),
        ("heat on a circle", implicit, DOUBLING, 1.3e-4),
    ],
)
def test_order_in_space_at_small_peclet_numbers(problem, method, cells, finest):
    errors = [l1_error(ENTROPIC[problem], method(n), n) for n in cells]
    print(problem, method.__name__, observed_orders(errors, cells), errors[-1])
    np.testing.assert_allclose(observed_orders(errors, cells), 2.0, rtol=0, atol=0.2)
    assert errors[-1] <= finest


@pytest.mark.parametrize("method", [explicit, implicit])
def test_order_in_space_at_large_peclet_numbers(method):
    """λ = 1e-4: h|∇V|/λ is above 300 on the finest grid."""
    data = replace(RIDGE_DATA, entropy=1e-4)
    case = gaussian_case(data, START, half=4.8, horizon=0.2, axis=closed)
    cells = DOUBLING if method is explicit else (32, 64, 128)
    errors = [l1_error(case, method(n), n) for n in cells]
    print(method.__name__, observed_orders(errors, cells), errors[-1])
    np.testing.assert_allclose(observed_orders(errors, cells)[-1], 1.0, rtol=0, atol=0.15)
    assert errors[-1] <= (7e-3 if method is explicit else 1.5e-2)


@pytest.mark.parametrize("theta", [0.5, 1.0])
@pytest.mark.parametrize("inside", ["lines", "direct"])
def test_order_in_time(inside, theta):
    """Differences of solutions on one grid halve with the step."""
    case = ENTROPIC["X1 entropy"]

    def at_the_end(steps: int) -> np.ndarray:
        dt = case.horizon / steps
        method = mf.scharfetter_gummel(dt=dt, theta=theta, inside=inside)
        return case.run(method, 32).rho.values[-1]

    steps = (8, 16, 32, 64)
    ends = [at_the_end(n) for n in steps]
    changes = [float(np.abs(q - p).sum()) for p, q in pairwise(ends)]
    np.testing.assert_allclose(observed_orders(changes, steps[:-1]), 1.0, rtol=0, atol=0.1)
