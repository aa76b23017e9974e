"""|a|, at whose kink mass rests: forward-backward particles, the exact shift, and fluxes.

Three ways to the same rest: particles by the proximal map, the semi-Lagrangian shift towards a = 0
with sticking, and MUSCL by drops of the potential, which knows no kink. The density holds a Dirac
mass at a = 0, so MUSCL is of first order; the shift, with a cell centred there that keeps what
rests, does better. Orders are those over all refinements together: single ones swing, as cells cut
the rough density.
"""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from orders.observed import observed_orders

import mfpde as mf
import particle_ref as pr

X = np.linspace(-2, 2, 8)
PROBLEM = mf.two_layer(
    X,
    np.sin(1.5 * X),
    penalty=mf.total_variation(0.05),
    initial=mf.gaussian((0.3, 0.6), 0.35),
)
CELLS = {"semi_lagrangian": (33, 65, 129), "muscl": (33, 65, 129, 257)}
METHODS = {
    "semi_lagrangian": lambda cells: mf.semi_lagrangian(dt=0.2 * 32 / (cells - 1)),
    "muscl": lambda cells: mf.muscl(),
}


def cloud(k):
    """k² nodes of the trapezoidal rule to ±5 standard deviations."""
    u = np.linspace(-5, 5, k)
    mass = np.exp(-u * u / 2)
    mass /= mass.sum()
    A, W = np.meshgrid(0.3 + 0.35 * u, 0.6 + 0.35 * u, indexing="ij")
    return pr.Cloud(np.column_stack([A.ravel(), W.ravel()]), np.outer(mass, mass).ravel())


@cache
def particles(dt, k=121):
    return pr.run(PROBLEM, cloud(k), pr.Descent(dt), times=[2.0])


def limit(dt, k=121):
    """The prediction for dt → 0."""
    return 2 * particles(dt / 2, k).prediction.values - particles(dt, k).prediction.values


@cache
def density(method, cells):
    grid = mf.Grid(a=mf.uniform(-4, 4, cells), w=mf.uniform(-4, 4, cells))
    return mf.solve(PROBLEM, grid, METHODS[method](cells), times=[2.0])


def test_particles_are_of_order_1_in_dt_and_rest_at_zero():
    f = [particles(dt).prediction.values for dt in (0.08, 0.04, 0.02)]
    gaps = [np.abs(a - b).max() for a, b in pairwise(f)]
    np.testing.assert_allclose(np.log2(gaps[0] / gaps[1]), 1.0, rtol=0, atol=0.1)
    np.testing.assert_allclose(limit(0.04), limit(0.08), rtol=0, atol=2e-5)
    np.testing.assert_allclose(limit(0.04), limit(0.04, k=81), rtol=0, atol=2e-5)
    last = particles(0.02)
    at_rest = float(last.weight.values[0] @ (last.position.values[0, :, 0] == 0))
    assert 0.02 < at_rest < 0.025


@pytest.mark.parametrize(
    ("method", "order", "finest"), [("semi_lagrangian", 1.9, 2.5e-4), ("muscl", 1.15, 4e-4)]
)
def test_densities_approach_them(method, order, finest):
    cells = CELLS[method]
    gaps = [float(np.abs(density(method, n).prediction - limit(0.04)).max()) for n in cells]
    np.testing.assert_allclose(observed_orders(gaps, cells).mean(), order, rtol=0, atol=0.25)
    assert all(fine < 0.7 * coarse for coarse, fine in pairwise(gaps))
    assert gaps[-1] < finest


def test_both_densities_hold_the_particles_that_rest():
    """Mass within a quarter of a = 0: Dirac and neighbours, of all three."""
    last = particles(0.02)
    near = float(last.weight.values[0] @ (np.abs(last.position.values[0, :, 0]) < 0.25))
    for method, cells in CELLS.items():
        run, h = density(method, cells[-1]).isel(time=0), 8 / cells[-1]
        share = np.clip((0.25 - np.abs(run.a)) / h + 0.5, 0, 1)  # of a cell
        assert abs(float((run.rho * share).sum()) * h * h - near) < 4e-3, method
