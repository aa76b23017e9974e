"""Orders of the semi-Lagrangian method with λ > 0, as L1 errors of cell averages.

In space against a run of order 9 on many more cells with the same steps, whose time error is the
same, and, where splitting has no error, against the closed form; in time against closed forms,
for tanh by the differences of successive runs. ``pytest -s`` prints every row.
"""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from exact.cases import ENTROPIC, closed
from exact.solutions import Array, cell_averages
from numpy.testing import assert_allclose
from orders.observed import observed_orders

import mfpde as mf

STEPS = 4  # of the runs that are compared with each other
FINE = 240  # cells


def evolved(name: str, order: int, cells: int, steps: int) -> Array:
    case = ENTROPIC[name]
    method = mf.semi_lagrangian(order, dt=case.horizon / steps)
    run = case.run(method, cells)
    assert run.attrs["steps"] == steps
    return run.rho.values[-1]


@cache
def finest(name: str) -> Array:
    return evolved(name, 9, FINE, STEPS)


@cache
def exact_averages(name: str, cells: int) -> Array:
    case = ENTROPIC[name]
    edges = [axis.edges for axis in case.grid(cells).axes.values()]
    return cell_averages(case.density(case.horizon), edges, nodes=5 if len(edges) < 3 else 4)


def l1(name: str, difference: Array) -> float:
    volumes = ENTROPIC[name].grid(len(difference)).volumes
    return float(np.sum(np.abs(difference) * volumes))


def coarsened(averages: Array, cells: int) -> Array:
    """Averages over the larger cells of a square grid."""
    blocks = len(averages) // cells
    return averages.reshape(cells, blocks, cells, blocks).mean(axis=(1, 3))


def reported(what: str, errors: list[float], orders: Array) -> None:
    print(f"{what:<34} {' '.join(f'{e:.2e}' for e in errors)}  orders {orders.round(2)}")


@pytest.mark.parametrize(
    ("order", "cells", "bound"),
    [(5, (48, 60, 80), 1.3e-5), (7, (60, 80, 120), 4e-8), (9, (60, 80, 120), 1.4e-9)],
)
def test_order_in_space(order: int, cells: tuple[int, ...], bound: float) -> None:
    name = "X1 entropy"
    errors = [l1(name, evolved(name, order, n, STEPS) - coarsened(finest(name), n)) for n in cells]
    orders = observed_orders(errors, cells)
    reported(f"{name} order {order}", errors, orders)
    assert_allclose(orders, order, rtol=0, atol=0.3)
    assert errors[-1] <= bound


@pytest.mark.parametrize(
    ("order", "cells", "bound"),
    [(5, (48, 64, 96), 6e-6), (7, (48, 64, 96), 2.7e-7), (9, (56, 72, 96), 1.7e-8)],
)
def test_order_in_space_where_splitting_has_no_error(
    order: int, cells: tuple[int, ...], bound: float
) -> None:
    """Two steps of Ornstein-Uhlenbeck. A single remap errs by p + 1, many by p: between them."""
    name = "X12 ridge entropy"
    errors = [l1(name, evolved(name, order, n, 2) - exact_averages(name, n)) for n in cells]
    orders = observed_orders(errors, cells)
    reported(f"{name} order {order}", errors, orders)
    assert_allclose(orders, order + 0.5, rtol=0, atol=0.5)
    assert errors[-1] <= bound


@pytest.mark.parametrize(
    ("name", "cells", "steps", "C"),
    [
        ("X1 entropy", 96, (1, 2, 4, 8), 3.4e-4),
        ("X1 3-D entropy", 36, (1, 2), 6.2e-4),
        ("X12 saddle entropy", 96, (1, 2, 4, 8), 1.5e-4),
    ],
)
def test_order_in_time(name: str, cells: int, steps: tuple[int, ...], C: float) -> None:
    errors = [l1(name, evolved(name, 9, cells, n) - exact_averages(name, cells)) for n in steps]
    orders = observed_orders(errors, steps)
    reported(f"{name} in time", errors, orders)
    assert_allclose(orders, 2, rtol=0, atol=0.1)
    assert np.all(errors <= C / np.array(steps) ** 2.0)


# --------------------------------------------------------------------------------- tanh networks
X = np.linspace(-2, 2, 16)


def network(loss: mf.Loss = mf.square) -> mf.Problem:
    return mf.two_layer(
        X,
        np.sign(X - 0.3) if loss.labels else np.sin(1.5 * X),
        loss=loss,
        penalty=mf.ridge(0.2),
        entropy=0.05,
        initial=mf.gaussian(mean=[0.3, 0.6], std=0.5),
    )


def square_grid(cells: int) -> mf.Grid:
    return mf.Grid(a=closed(-4.6, 4.6, cells), w=closed(-4.6, 4.6, cells))


@pytest.mark.parametrize("loss", [mf.square, mf.logistic], ids=str)
def test_order_in_time_by_differences_of_successive_runs(loss: mf.Loss) -> None:
    steps, grid = (4, 8, 16, 32), square_grid(80)
    runs = [
        mf.solve(network(loss), grid, mf.semi_lagrangian(9, dt=1 / n), [1.0]).rho.values[-1]
        for n in steps
    ]
    errors = [float(np.sum(np.abs(a - b) * grid.volumes)) for a, b in pairwise(runs)]
    orders = observed_orders(errors, steps[:-1])
    reported(f"tanh, {loss!r} in time", errors, orders)
    assert_allclose(orders, 2, rtol=0, atol=0.1)


def test_energy_falls_by_the_dissipation() -> None:
    """The run's dissipation is of order 2 with λ > 0, and so is what the two differ by."""
    cells, errors = (64, 128, 256), []
    for n in cells:
        times = 0.1 + 1e-3 * np.array([-1, 0, 1])
        run = mf.solve(network(), square_grid(n), mf.semi_lagrangian(), times)
        slope = (run.energy[2] - run.energy[0]) / (run.time[2] - run.time[0])
        errors.append(abs(float(slope / run.dissipation[1]) + 1))
    orders = observed_orders(errors, cells)
    reported("tanh, dF/dt", errors, orders)
    assert_allclose(orders, 2, rtol=0, atol=0.1)
    assert errors[-1] <= 8e-4
