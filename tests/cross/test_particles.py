"""Densities and particles, which share a problem's pointwise definitions and nothing else."""

from functools import cache

import numpy as np
import pytest
import xarray as xr
from exact.cases import CASES
from exact.solutions import LinearNetwork, Normal
from orders.observed import observed_orders

import mfpde as mf
import particle_ref as pr
from mfpde.measures.measure import as_measure

X = np.linspace(-2, 2, 16)
TANH = mf.two_layer(  # case T
    X,
    np.sin(1.5 * X),
    activation=mf.tanh,
    initial=mf.gaussian(mean=[0.3, 0.6], std=0.35),
)
METHODS = {"upwind": mf.upwind(), "muscl": mf.muscl(), "minmod": mf.muscl("minmod")}
CELLS = (32, 64, 128)


def gauss_hermite(problem: mf.Problem, nodes: int, end: float) -> xr.Dataset:
    """A cloud on the quadrature nodes of the initial law, moved to ``end``."""
    cloud = pr.Cloud(*problem.initial.nodes(nodes))
    return pr.run(problem, cloud, pr.GradientFlow(rtol=1e-12), times=[0.0, end])


def square_grid(cells: int) -> mf.Grid:
    return mf.Grid(a=mf.uniform(-4, 4, cells), w=mf.uniform(-4, 4, cells))


@cache
def density_run(method: str, cells: int) -> xr.Dataset:
    return mf.solve(TANH, square_grid(cells), METHODS[method], times=[0.0, 1.0])


# ---------------------------------------------------------------------- particles by themselves
def test_particles_on_case_a() -> None:
    """Second moments are all that moves a linear network: two nodes an axis hold them exactly."""
    case = CASES["X1 case A"]
    problem, start = case.problem, Normal.isotropic([0.2, 0.3], 0.35)
    solution = LinearNetwork.of(problem.x, problem.y, problem.weights, start.second_moments)
    flow = gauss_hermite(problem, 2, case.horizon)
    expected = flow.position.values[0] @ solution.map(case.horizon).T
    np.testing.assert_allclose(flow.position.values[1], expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(flow.prediction[1], case.prediction(case.horizon), atol=1e-8)
    dissipation = [solution.dissipation(t) for t in (0.0, case.horizon)]
    np.testing.assert_allclose(flow.dissipation, dissipation, atol=1e-8)


def test_particles_on_the_torus() -> None:
    """From a uniform start, equally spaced particles keep the centroid spectrally."""
    case = CASES["X4"]
    w = 2 * np.pi * (np.arange(64) + 0.5) / 64
    flow = pr.run(case.problem, pr.Cloud(w[:, None]), pr.GradientFlow(rtol=1e-12), [case.horizon])
    np.testing.assert_allclose(flow.prediction[0], case.prediction(case.horizon), atol=1e-8)


def test_quadrature_clouds_agree_on_the_tanh_problem() -> None:
    coarse, fine = (gauss_hermite(TANH, nodes, 1.0).prediction[1] for nodes in (24, 32))
    np.testing.assert_allclose(coarse, fine, rtol=0, atol=1e-9)


# ------------------------------------------------------------------------- against the density
@pytest.mark.parametrize(
    ("method", "order", "finest"),
    [("upwind", 1.0, 1.4e-3), ("muscl", 2.05, 1.4e-4), ("minmod", 1.85, 4.2e-4)],
)
def test_density_approaches_the_tanh_reference(method: str, order: float, finest: float) -> None:
    """The prediction of the density's limit, which the quadrature cloud gives to 1e-9."""
    reference = gauss_hermite(TANH, 24, 1.0).prediction[1].values
    errors = [
        np.abs(density_run(method, cells).prediction[-1].values - reference).max()
        for cells in CELLS
    ]
    np.testing.assert_allclose(observed_orders(errors, CELLS), order, rtol=0, atol=0.15)
    assert errors[-1] <= finest


@pytest.mark.parametrize(
    ("method", "order", "finest"), [("upwind", 1.0, 1.4e-3), ("muscl", 2.05, 1.4e-4)]
)
def test_density_against_particles_from_its_own_cells(
    method: str, order: float, finest: float
) -> None:
    """From one and the same measure at time 0: what is left is the grid's transport alone."""
    gaps = []
    for cells in CELLS:
        run = density_run(method, cells)
        cloud = pr.Cloud(*as_measure(run.isel(time=0), prune=1e-14))
        flow = pr.run(TANH, cloud, pr.GradientFlow(rtol=1e-8), times=run.time)
        before, after = np.abs(flow.prediction.values - run.prediction.values).max(axis=1)
        assert before < 1e-12
        gaps.append(after)
    np.testing.assert_allclose(observed_orders(gaps, CELLS), order, rtol=0, atol=0.15)
    assert gaps[-1] <= finest


def test_risk_and_dissipation_at_the_start() -> None:
    """∫|∇V|²dρ, by drops of V across faces there and by the chain rule here: O(h²) apart."""
    law = mf.gaussian(mean=[0.3, 0.6], std=0.5)
    problem = mf.two_layer(X, np.sin(1.5 * X), initial=law)
    gaps = []
    for cells in CELLS:
        run = mf.solve(problem, square_grid(cells), mf.upwind(), times=[0.0])
        flow = pr.run(problem, pr.Cloud(*as_measure(run)), pr.GradientFlow(), times=[0.0])
        np.testing.assert_allclose(flow.risk, run.risk, rtol=1e-12)
        np.testing.assert_allclose(flow.energy, run.energy, rtol=1e-12)
        gaps.append(abs(float(run.dissipation[0] / flow.dissipation[0]) - 1))
    np.testing.assert_allclose(observed_orders(gaps, CELLS), 2.0, rtol=0, atol=0.1)
    assert gaps[-1] < 4.2e-4
