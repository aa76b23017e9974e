"""THE TABLE OF ORDERS: method, problem, grids, observed order, error on the finest grid.

Every interval of every refinement is held two-sidedly: a scheme that converges faster than it
should is as suspect as one that does not converge. ``pytest -s tests/orders`` prints the table.

    L1       Σ|K| |ρ_K − exact average|
    f        max_i |f_i − exact|
    dF/dt    |central difference of the energy + dissipation|, relative, both the run's own
    L2       relative loss of ∫ρ²; a divergence-free flow conserves it
    q        W_1 between the laws of q = a² − w² at both ends of a run; ReLU conserves it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from exact.cases import CASES
from exact.solutions import Array
from orders.observed import observed_orders
from scipy.stats import wasserstein_distance

import mfpde as mf

METHODS = {
    "upwind": mf.upwind(),
    "muscl": mf.muscl(),
    "muscl vanleer": mf.muscl("vanleer"),
    "muscl minmod": mf.muscl("minmod"),
    # of order 4 in time, and so short a step that the remap's error is what is seen
    **{f"semi-L. {p}": mf.semi_lagrangian(p, dt=0.06, composed=True) for p in (5, 7, 9, 15)},
    "upwind averaged": mf.upwind(exact="averaged"),
    "muscl averaged": mf.muscl(exact="averaged"),
    "muscl relaxed": mf.muscl(exact="relaxed"),
    # of order 3 in time: steps so short that the fluxes' error is what is seen
    **{f"weno5 cfl {cfl:g}": mf.weno5(cfl) for cfl in (0.4, 0.1, 0.05)},
    "weno5 relaxed": mf.weno5(0.2, exact="relaxed"),
}


# ----------------------------------------------------------------------------- what is measured
@cache
def exact_averages(problem: str, cells: int) -> Array:
    """The true cell averages at the case's horizon."""
    case = CASES[problem]
    return case.averages(case.grid(cells), case.horizon)


@cache
def errors_against_exact(problem: str, method: str, cells: int) -> dict[str, float]:
    """L1 and f of one run."""
    case = CASES[problem]
    run = case.run(METHODS[method], cells)
    difference = run.rho.values[-1] - exact_averages(problem, cells)
    missed = run.prediction.values[-1] - case.prediction(case.horizon)
    return {
        "L1": float(np.sum(np.abs(difference) * case.grid(cells).volumes)),
        "f": float(np.abs(missed).max(initial=0.0)),
    }


def density_error(problem: str, method: str, cells: int) -> float:
    return errors_against_exact(problem, method, cells)["L1"]


def prediction_error(problem: str, method: str, cells: int) -> float:
    return errors_against_exact(problem, method, cells)["f"]


def energy_rate_defect(problem: str, method: str, cells: int) -> float:
    """At t = 0.1, over a window so short that time steps are exact beside the grid."""
    x = np.linspace(-2, 2, 16)
    tanh_with_ridge = mf.two_layer(
        x, np.sin(1.5 * x), penalty=mf.ridge(0.2), initial=mf.gaussian(mean=[0.3, 0.6], std=0.5)
    )
    times = 0.1 + 1e-5 * np.array([-1, 0, 1])
    run = mf.solve(tanh_with_ridge, square_grid(4.0, cells), METHODS[method], times)
    slope = (run.energy[2] - run.energy[0]) / (run.time[2] - run.time[0])
    return abs(float(slope / run.dissipation[1]) + 1)


def squares_lost(problem: str, method: str, cells: int) -> float:
    case = CASES[problem]
    first, last = np.sum(case.run(METHODS[method], cells).rho.values ** 2, axis=(1, 2))
    return float(1 - last / first)


def law_of_q_moved(problem: str, method: str, cells: int) -> float:
    x, y = np.array([-1.0, 0.5, 1.5]), np.array([0.5, -0.3, 0.8])
    relu = mf.two_layer(x, y, activation=mf.relu, initial=mf.gaussian(mean=[0.3, 0.4], std=0.4))
    run = mf.solve(relu, square_grid(3.5, cells), METHODS[method], (0.0, 1.0))
    q = (run.a**2 - run.w**2).values.ravel()
    first, last = run.rho.values.reshape(2, -1)
    return float(wasserstein_distance(q, q, first, last))


def square_grid(half: float, cells: int) -> mf.Grid:
    return mf.Grid(a=mf.uniform(-half, half, cells), w=mf.uniform(-half, half, cells))


MEASURES: dict[str, Callable[[str, str, int], float]] = {
    "L1": density_error,
    "f": prediction_error,
    "dF/dt": energy_rate_defect,
    "L2": squares_lost,
    "q": law_of_q_moved,
}


# ------------------------------------------------------------------------------------ the table
@dataclass(frozen=True)
class Row:
    """One line: every observed order lies within ``within`` of ``order``."""

    problem: str
    measure: str
    method: str
    cells: tuple[int, ...]
    order: float
    within: float
    finest: float  # bound of the error on the finest grid

    def __str__(self) -> str:
        return f"{self.problem} {self.measure} {self.method}"


DOUBLING = (64, 128, 256)
COARSE = (32, 64, 128)
LINE = (128, 256, 512)  # one dimension
CUBE = (32, 48, 64)  # three dimensions
ROWS = [
    # Smooth and resolved: what the methods' names promise. Minmod clips so much of every extremum
    # that it is on its way to order 2 here, from below.
    Row("X1", "L1", "upwind", DOUBLING, 1.0, 0.1, 6e-3),
    Row("X1", "L1", "semi-L. 5", (32, 48, 64), 5.0, 0.3, 7.5e-5),
    Row("X1", "L1", "semi-L. 7", (48, 64, 96), 7.0, 0.3, 2.7e-7),
    Row("X1", "L1", "semi-L. 9", (48, 64, 80), 9.0, 0.5, 5e-8),
    # the highest order is not yet its own where the error of splitting is out of sight
    Row("X1", "L1", "semi-L. 15", (32, 36, 40), 13.2, 0.5, 4.5e-7),
    Row("X1 ridge", "L1", "semi-L. 5", (32, 48, 64), 5.0, 0.3, 5e-5),
    Row("X1 ridge", "L1", "semi-L. 7", (48, 64, 96), 7.0, 0.3, 1.9e-7),
    Row("X1 3-D", "L1", "semi-L. 5", (20, 24, 32), 5.0, 0.3, 1e-3),
    Row("X1 3-D ridge", "L1", "semi-L. 5", (24, 32, 40), 5.0, 0.3, 5e-4),
    Row("X1 3-D", "L1", "semi-L. 7", (24, 32, 40), 7.0, 0.3, 3.5e-5),
    Row("X2", "L1", "semi-L. 5", (64, 96, 128), 5.0, 0.3, 6e-7),
    Row("X2", "L1", "semi-L. 7", (64, 96, 128), 7.0, 0.3, 1.3e-8),
    Row("X2", "L1", "semi-L. 9", (64, 96, 128), 9.0, 0.5, 4.2e-10),
    Row("X4", "L1", "semi-L. 5", (64, 96, 128), 5.0, 0.3, 2e-7),
    Row("X4", "L1", "semi-L. 7", (64, 96, 128), 7.0, 0.3, 2e-8),
    Row("X4", "L1", "semi-L. 9", (96, 128, 160), 9.0, 0.5, 2.6e-11),
    Row("X1", "L1", "muscl", DOUBLING, 2.0, 0.15, 2e-4),
    Row("X1", "L1", "muscl vanleer", DOUBLING, 2.0, 0.15, 2.6e-4),
    Row("X1", "L1", "muscl minmod", DOUBLING, 1.85, 0.15, 5.5e-4),
    Row("X1", "L1", "weno5 cfl 0.4", (48, 64, 96), 5.15, 0.25, 3.5e-6),
    Row("X1", "L1", "weno5 relaxed", (32, 48, 64), 5.2, 0.25, 2.7e-5),
    Row("X1 ridge", "L1", "weno5 cfl 0.4", (64, 96, 128), 5.15, 0.2, 6e-7),
    Row("X2", "L1", "weno5 cfl 0.1", (96, 128, 192), 5.15, 0.25, 3.5e-8),
    Row("X2", "L1", "weno5 relaxed", (96, 128, 192), 5.15, 0.25, 3.5e-8),
    Row("X4", "L1", "weno5 cfl 0.05", (48, 64, 96), 4.85, 0.2, 3.5e-7),
    Row("X12 bowl", "L1", "weno5 cfl 0.4", (96, 128, 192), 5.15, 0.2, 2.5e-7),
    Row("X12 saddle", "L1", "weno5 cfl 0.4", (64, 96, 128), 5.2, 0.25, 1e-6),
    Row("X1", "L1", "upwind averaged", (64, 96, 128), 1.0, 0.1, 1.2e-2),
    Row("X1", "L1", "muscl averaged", (64, 96, 128), 2.0, 0.15, 8.5e-4),
    Row("X1", "L1", "muscl relaxed", (64, 96, 128), 2.0, 0.15, 8.5e-4),
    Row("X4", "f", "muscl averaged", LINE, 2.0, 0.1, 6.5e-6),
    Row("X4", "f", "muscl relaxed", LINE, 2.0, 0.1, 6.5e-6),
    Row("X2", "f", "upwind averaged", LINE, 1.1, 0.15, 1.1e-3),
    Row("X1", "f", "upwind", DOUBLING, 1.05, 0.1, 8e-4),
    Row("X1", "f", "muscl", DOUBLING, 2.0, 0.1, 3.2e-5),
    Row("X1", "f", "muscl vanleer", DOUBLING, 2.0, 0.1, 3.3e-5),
    Row("X1", "f", "muscl minmod", DOUBLING, 2.0, 0.1, 5.2e-5),
    # Cells four times as wide at the walls as in the middle.
    Row("X1 stretched", "L1", "upwind", DOUBLING, 1.0, 0.1, 3.7e-3),
    Row("X1 stretched", "L1", "muscl", DOUBLING, 2.05, 0.15, 8e-5),
    Row("X1 stretched", "L1", "muscl vanleer", DOUBLING, 2.05, 0.15, 9.5e-5),
    Row("X1 stretched", "L1", "muscl minmod", DOUBLING, 1.95, 0.15, 2e-4),
    Row("X1 stretched", "f", "muscl", DOUBLING, 2.0, 0.1, 3.1e-5),
    # A narrow start, under-resolved on these grids.
    Row("X1 case A", "L1", "upwind", COARSE, 0.8, 0.1, 9e-2),
    Row("X1 case A", "L1", "muscl", COARSE, 1.9, 0.15, 4.5e-3),
    Row("X1 case A", "L1", "muscl vanleer", COARSE, 1.8, 0.15, 5.5e-3),
    Row("X1 case A", "L1", "muscl minmod", COARSE, 1.55, 0.15, 1.2e-2),
    # Ridge: the flow contracts, and its divergence is no longer zero.
    Row("X1 ridge", "L1", "upwind", DOUBLING, 0.95, 0.1, 5.2e-3),
    Row("X1 ridge", "L1", "muscl", DOUBLING, 2.0, 0.15, 1.2e-4),
    Row("X1 ridge", "L1", "muscl vanleer", DOUBLING, 1.95, 0.15, 1.5e-4),
    Row("X1 ridge", "L1", "muscl minmod", DOUBLING, 1.85, 0.15, 3.3e-4),
    # Two inputs: three dimensions, cells twice as wide as above at best.
    Row("X1 3-D", "L1", "upwind", CUBE, 1.0, 0.1, 1.2e-2),
    Row("X1 3-D", "L1", "muscl", CUBE, 1.85, 0.1, 1.6e-3),
    Row("X1 3-D", "f", "upwind", CUBE, 1.15, 0.15, 2.3e-3),
    Row("X1 3-D", "f", "muscl", CUBE, 2.0, 0.1, 2.8e-4),
    # One dimension, without an output weight.
    Row("X2", "L1", "upwind", LINE, 0.95, 0.1, 9.5e-4),
    Row("X2", "L1", "muscl", LINE, 2.1, 0.15, 1.2e-5),
    Row("X2", "L1", "muscl vanleer", LINE, 2.0, 0.15, 1.4e-5),
    Row("X2", "L1", "muscl minmod", LINE, 1.9, 0.1, 2.2e-5),
    Row("X2", "f", "upwind", LINE, 1.0, 0.1, 1.1e-3),
    Row("X2", "f", "muscl", LINE, 2.0, 0.1, 1.9e-5),
    # A circle.
    Row("X4", "L1", "upwind", LINE, 0.95, 0.1, 3.5e-3),
    Row("X4", "L1", "muscl", LINE, 1.95, 0.1, 5e-6),
    Row("X4", "L1", "muscl vanleer", LINE, 1.95, 0.1, 5e-6),
    Row("X4", "L1", "muscl minmod", LINE, 1.95, 0.1, 2e-5),
    Row("X4", "f", "upwind", LINE, 0.95, 0.1, 1.5e-3),
    Row("X4", "f", "muscl", LINE, 2.0, 0.1, 6.5e-6),
    # Potentials that no density moves.
    Row("X12 bowl", "L1", "upwind", LINE, 1.0, 0.1, 4.6e-3),
    Row("X12 bowl", "L1", "muscl", LINE, 2.0, 0.15, 5.3e-5),
    Row("X12 saddle", "L1", "upwind", DOUBLING, 1.0, 0.1, 7e-3),
    Row("X12 saddle", "L1", "muscl", DOUBLING, 2.0, 0.1, 1.5e-4),
    Row("X12 saddle", "f", "muscl", DOUBLING, 2.0, 0.1, 2.5e-5),
    # The energy falls as fast as the run says that it dissipates.
    Row("tanh, ridge", "dF/dt", "upwind", DOUBLING, 1.0, 0.1, 3e-2),
    Row("tanh, ridge", "dF/dt", "muscl", DOUBLING, 1.95, 0.1, 3.2e-4),
    Row("tanh, ridge", "dF/dt", "muscl vanleer", DOUBLING, 2.2, 0.1, 3.7e-4),
    Row("tanh, ridge", "dF/dt", "muscl minmod", DOUBLING, 1.95, 0.1, 1.4e-3),
    # A divergence-free flow keeps ∫ρ²: muscl's leading error disperses, it does not dissipate.
    Row("X1", "L2", "upwind", DOUBLING, 1.0, 0.1, 7.5e-3),
    Row("X1", "L2", "muscl", DOUBLING, 3.0, 0.15, 9.5e-6),
    Row("X1", "L2", "muscl vanleer", DOUBLING, 2.95, 0.15, 1.8e-5),
    Row("X1", "L2", "muscl minmod", DOUBLING, 2.1, 0.1, 2e-4),
    # ReLU's velocity jumps where w = 0, and with it the density.
    Row("ReLU", "q", "upwind", DOUBLING, 1.05, 0.1, 3.4e-3),
    Row("ReLU", "q", "muscl", DOUBLING, 1.5, 0.1, 6.5e-4),
    Row("ReLU", "q", "muscl vanleer", DOUBLING, 1.5, 0.1, 6.5e-4),
    Row("ReLU", "q", "muscl minmod", DOUBLING, 1.5, 0.1, 6.5e-4),
]
HEAD = ("problem", "error", "method", "cells", "observed orders", "expected", "finest", "bound")
LAYOUT = "{:<14}{:<7}{:<16}{:<13}{:<17}{:<13}{:<10}{:<9}".format


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Collects lines; prints them when the module is done."""
    lines = [LAYOUT(*HEAD)]
    yield lines
    print("\n\n" + "\n".join(lines))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_order(row: Row, table: list[str]) -> None:
    measure = MEASURES[row.measure]
    errors = [measure(row.problem, row.method, cells) for cells in row.cells]
    orders = observed_orders(errors, row.cells)
    table.append(
        LAYOUT(
            row.problem,
            row.measure,
            row.method,
            "-".join(map(str, row.cells)),
            " ".join(f"{order:.2f}" for order in orders),
            f"{row.order:.2f} ± {row.within:.2f}",
            f"{errors[-1]:.2e}",
            f"{row.finest:.1e}",
        )
    )
    np.testing.assert_allclose(orders, row.order, rtol=0, atol=row.within)
    assert errors[-1] <= row.finest
