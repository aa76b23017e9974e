"""Orders of the semi-Lagrangian method: in space until 1e-9, in time plain and composed.

L1 errors of cell averages against closed forms; of case T, which has none, the prediction against
576 Gauss–Hermite particles. Time errors of composed steps are C/steps⁴: the table of time orders
holds C, the table of space orders takes as many steps as put that below a tenth of its errors.
``pytest -s`` prints both tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from exact.cases import CASES, PLANE_DATA, RIDGE_DATA, Case, cosine_torus, gaussian_case, rotation
from exact.solutions import Array, Normal, cell_averages
from numpy.testing import assert_allclose
from orders.observed import observed_orders

import mfpde as mf
import particle_ref as pr

PROBLEMS: dict[str, Case] = {
    "X1": rotation(std=0.6, angle=-0.2, half=4.6),
    "X1 case A": CASES["X1 case A"],
    "X1 ridge": gaussian_case(
        RIDGE_DATA,
        Normal(np.array([0.2, 0.3]), np.array([[0.4, 0.1], [0.1, 0.4]])),
        half=4.8,
        horizon=0.2,
    ),
    "X1 3-D ridge": gaussian_case(
        replace(PLANE_DATA, ridge=(0.5, 0.3)),
        Normal.isotropic([0.2, 0.3, -0.1], 0.7),
        half=4.2,
        horizon=0.2,
    ),
    "X2": CASES["X2"],
    "X4": cosine_torus(horizon=3.0, angle=0.8),
}
NODES = {1: 6, 2: 5, 3: 4}  # of the exact averages, by dimension


@cache
def exact_averages(problem: str, cells: int) -> Array:
    case = PROBLEMS[problem]
    edges = [axis.edges for axis in case.grid(cells).axes.values()]
    return cell_averages(case.density(case.horizon), edges, NODES[len(edges)])


def l1_error(problem: str, order: int, cells: int, steps: int, composed: bool) -> float:
    case = PROBLEMS[problem]
    method = mf.semi_lagrangian(order, dt=case.horizon / steps, composed=composed)
    run = case.run(method, cells)
    assert run.attrs["steps"] == steps
    difference = np.abs(run.rho.values[-1] - exact_averages(problem, cells))
    return float(np.sum(difference * case.grid(cells).volumes))


# ------------------------------------------------------------------------------------- case T
X = np.linspace(-2, 2, 16)
TANH = {
    "T": {},
    "T ridge": {"penalty": mf.ridge((0.3, 0.5))},
    "T logistic": {"loss": mf.logistic, "penalty": mf.ridge((0.0, 0.4))},
}


@cache
def case_t(name: str) -> tuple[mf.Problem, Array]:
    """The problem and its prediction at time 1 by quadrature-weighted particles."""
    parts = TANH[name]
    y = np.where(X > 0.3, 1.0, -1.0) if "loss" in parts else np.sin(1.5 * X)
    problem = mf.two_layer(X, y, initial=mf.gaussian(mean=(0.3, 0.6), std=0.35), **parts)
    cloud = pr.Cloud(*problem.initial.nodes(24))
    flow = pr.run(problem, cloud, pr.GradientFlow(rtol=1e-12, atol=1e-13), times=[0.0, 1.0])
    return problem, flow.prediction.values[-1]


def prediction_error(name: str, order: int, cells: int, steps: int, composed: bool) -> float:
    problem, exact = case_t(name)
    grid = mf.Grid(a=mf.uniform(-4, 4, cells), w=mf.uniform(-4, 4, cells))
    method = mf.semi_lagrangian(order, dt=1 / steps, composed=composed)
    run = mf.solve(problem, grid, method, times=[0.0, 1.0])
    return float(np.abs(run.prediction.values[-1] - exact).max())


def error(problem: str, order: int, cells: int, steps: int, composed: bool) -> float:
    measure = prediction_error if problem in TANH else l1_error
    return measure(problem, order, cells, steps, composed)


# --------------------------------------------------------------------------------- orders in time
@dataclass(frozen=True)
class TimeRow:
    """Every observed order is 2 ± 0.1 plain, 4 ± 0.3 composed; errors are at most C/steps^order."""

    problem: str
    composed: bool
    cells: int
    steps: tuple[int, ...]
    C: float

    def __str__(self) -> str:
        return f"{self.problem} {'composed' if self.composed else 'plain'}"


TIME = [
    TimeRow("X1", False, 64, (2, 4, 8), 2.6e-3),
    TimeRow("X1", True, 128, (1, 2, 4), 1.2e-5),
    TimeRow("X1 ridge", False, 64, (2, 4, 8), 4e-4),
    TimeRow("X1 ridge", True, 160, (1, 2), 1.5e-6),
    TimeRow("X1 3-D ridge", False, 36, (1, 2), 1e-3),
    TimeRow("X1 3-D ridge", True, 64, (1,), 9e-7),  # C alone: two steps are below space's error
    TimeRow("X2", False, 96, (2, 4, 8), 9e-5),
    TimeRow("X2", True, 256, (1, 2, 4), 6e-8),
    TimeRow("X4", False, 128, (6, 12, 24), 5.5e-3),
    TimeRow("X4", True, 256, (24, 48), 8e-6),
    TimeRow("T", False, 64, (2, 4, 8), 8e-4),
    TimeRow("T", True, 128, (2, 4, 8), 9e-6),
    TimeRow("T ridge", False, 128, (2, 4, 8), 1.4e-3),
    TimeRow("T ridge", True, 160, (1, 2), 3e-5),
    TimeRow("T logistic", False, 96, (2, 4, 8), 4e-3),
]


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Collects lines; prints them when the module is done."""
    lines: list[str] = []
    yield lines
    print("\n" + "\n".join(lines))


@pytest.mark.parametrize("row", TIME, ids=str)
def test_order_in_time(row: TimeRow, table: list[str]) -> None:
    errors = [error(row.problem, 9, row.cells, steps, row.composed) for steps in row.steps]
    orders, q = observed_orders(errors, row.steps), 4 if row.composed else 2
    table.append(
        f"{row!s:<22} order 9, {row.cells} cells, steps {row.steps}: "
        f"{' '.join(f'{e:.2e}' for e in errors)}  orders {orders.round(2)}"
    )
    assert_allclose(orders, q, rtol=0, atol=0.3 if row.composed else 0.1)
    assert np.all(errors <= row.C / np.array(row.steps, dtype=float) ** q)


# -------------------------------------------------------------------------------- orders in space
@dataclass(frozen=True)
class SpaceRow:
    """Every observed order is ``order`` ± 0.5, at composed steps whose own error is a tenth."""

    problem: str
    order: int
    cells: tuple[int, ...]
    steps: int
    finest: float  # bound of the error on the finest grid

    def __str__(self) -> str:
        return f"{self.problem} order {self.order}"


SPACE = [
    SpaceRow("X1", 5, (64, 96, 128), 4, 3.5e-6),
    SpaceRow("X1", 7, (64, 96, 128), 8, 1.1e-7),
    SpaceRow("X1", 9, (64, 96, 128), 16, 3.2e-9),
    SpaceRow("X1 3-D ridge", 5, (36, 48), 1, 1.2e-4),
    SpaceRow("X1 3-D ridge", 7, (36, 47), 1, 1.1e-5),
    SpaceRow("X1 3-D ridge", 9, (36, 48), 2, 1.7e-6),
    SpaceRow("X2", 5, (64, 96, 144, 216), 4, 5e-8),
    SpaceRow("X2", 7, (64, 96, 144, 192), 8, 8e-10),
    SpaceRow("X2", 9, (64, 96, 128, 160), 16, 6e-11),
    SpaceRow("X4", 5, (64, 96, 144, 216), 24, 6e-9),
    SpaceRow("X4", 7, (64, 96, 128), 24, 1.2e-9),
    SpaceRow("X4", 9, (64, 80, 100), 24, 4e-10),
]


@pytest.mark.parametrize("row", SPACE, ids=str)
def test_order_in_space(row: SpaceRow, table: list[str]) -> None:
    errors = [error(row.problem, row.order, cells, row.steps, True) for cells in row.cells]
    orders = observed_orders(errors, row.cells)
    (C,) = (time.C for time in TIME if time.problem == row.problem and time.composed)
    table.append(
        f"{row!s:<22} {row.steps} composed steps, cells {row.cells}: "
        f"{' '.join(f'{e:.2e}' for e in errors)}  orders {orders.round(2)}"
    )
    assert C / row.steps**4 <= 0.1 * errors[-1]
    assert_allclose(orders, row.order, rtol=0, atol=0.5)
    assert errors[-1] <= row.finest


# ------------------------------------------------------------------------------- errors as such
def test_case_a_in_eight_steps() -> None:
    errors = [l1_error("X1 case A", 7, 64, steps, False) for steps in (4, 8)]
    assert errors[1] <= 1e-3 < errors[0]


def test_case_t_on_128_squared() -> None:
    """The prediction after 32 plain steps and 8 composed ones."""
    assert prediction_error("T", 7, 128, 32, False) <= 8e-7
    assert prediction_error("T", 9, 128, 16, True) <= 3e-10
