"""The density solver against closed forms, and one problem told to it in two ways.

Orders of convergence are in tests/orders; here every case is looked at along its whole run.
"""

import numpy as np
import pytest
import xarray as xr
from exact.cases import (
    BOWL,
    CASES,
    RIDGE_DATA,
    SADDLE,
    frozen_features,
    frozen_kernel,
)
from exact.solutions import Array, LinearNetwork, Normal, cell_averages, gaussian_flow, l1_norm

import mfpde as mf

CELLS = {1: 128, 2: 64, 3: 32}  # by dimension
L1_BOUND = {  # of muscl on CELLS at the end: some 10 % above what it reaches
    "X1": 3.5e-3,
    "X1 stretched": 1.5e-3,
    "X1 case A": 1.6e-2,
    "X1 ridge": 1.8e-3,
    "X1 3-D": 5.5e-3,
    "X1 3-D ridge": 5.2e-3,
    "X2": 2.2e-4,
    "X4": 7.5e-5,
    "X12 bowl": 8e-4,
    "X12 saddle": 2.3e-3,
}


def edges_of(run: xr.Dataset) -> list[Array]:
    return [run[f"{c}_edges"].values for c in run.rho.dims[1:]]


@pytest.mark.parametrize("name", CASES)
def test_density_follows_the_closed_form_all_along(name: str) -> None:
    case = CASES[name]
    cells = CELLS[len(case.box)]
    run = case.run(mf.muscl(), cells, instants=4)
    grid, edges = case.grid(cells), edges_of(run)
    errors = [
        l1_norm(rho - case.averages(grid, float(t)), edges)
        for t, rho in zip(run.time, run.rho.values, strict=True)
    ]
    assert errors[0] < 2e-6  # quadrature, and 1e-6 of the law may lie outside the box
    assert max(errors) <= L1_BOUND[name]


@pytest.mark.parametrize("method", [mf.upwind(), mf.muscl()], ids=["upwind", "muscl"])
@pytest.mark.parametrize("name", CASES)
def test_error_falls_with_the_cells(name: str, method: mf.Method) -> None:
    case = CASES[name]
    fine = CELLS[len(case.box)]
    coarse_error, fine_error = (
        l1_norm(
            run.rho.values[-1] - case.averages(case.grid(run.rho.shape[1]), case.horizon),
            edges_of(run),
        )
        for run in (case.run(method, fine // 2), case.run(method, fine))
    )
    assert fine_error < 0.7**method.order * coarse_error


def test_risk_and_dissipation_of_the_linear_network() -> None:
    case = CASES["X1"]
    x, y, p = case.problem.x, case.problem.y, case.problem.weights
    solution = LinearNetwork.of(x, y, p, Normal.isotropic([0.2, 0.3], 0.6).second_moments)
    run = case.run(mf.muscl(), 128, instants=5)
    risks = [0.5 * p @ (solution.c(t) * x - y) ** 2 for t in run.time.values]
    dissipations = [solution.dissipation(t) for t in run.time.values]
    np.testing.assert_allclose(run.risk, risks, rtol=5e-4)
    np.testing.assert_allclose(run.dissipation, dissipations, rtol=9e-4)


def moments_of(run: xr.Dataset) -> Normal:
    """Mean and covariance of the last density; a cell's own spread, h²/12, is taken off."""
    last = run.isel(time=-1)
    widths = [np.diff(edges) for edges in edges_of(run)]
    masses = (last.rho.values * np.multiply.outer(*widths)).ravel()
    points = np.stack(np.meshgrid(run.a, run.w, indexing="ij"), axis=-1).reshape(-1, 2)
    mean = masses @ points
    own = np.diag([width[0] ** 2 / 12 for width in widths])
    return Normal(mean, (points - mean).T @ (masses[:, None] * (points - mean)) - own)


def test_gaussian_stays_gaussian() -> None:
    """Distance to the Gaussian of the run's own moments, and of those to the moment equations."""
    case = CASES["X1 ridge"]
    start = Normal(np.array([0.2, 0.3]), np.array([[0.4, 0.1], [0.1, 0.4]]))
    exact = gaussian_flow(RIDGE_DATA, start, [case.horizon])[0]
    shapes, means, spreads = [], [], []
    for cells in (64, 128):
        run = case.run(mf.muscl(), cells)
        own = moments_of(run)
        gaussian = cell_averages(own.density, edges_of(run), nodes=3)
        shapes.append(l1_norm(run.rho.values[-1] - gaussian, edges_of(run)))
        means.append(np.abs(own.mean - exact.mean).max())
        spreads.append(np.abs(own.cov - exact.cov).max())
    for coarse, fine, bound in ((*shapes, 5e-4), (*means, 5e-6), (*spreads, 1.3e-4)):
        assert fine < min(coarse / 3, bound)


@pytest.mark.parametrize("method", [mf.upwind(), mf.muscl()], ids=["upwind", "muscl"])
def test_divergence_free_flow_keeps_the_peak(method: mf.Method) -> None:
    """The exact flow keeps max ρ; averages, upwind or limited, never raise it, and cut it less
    on finer grids."""
    lost = []
    for cells in (32, 64, 128):
        peaks = CASES["X1"].run(method, cells, instants=6).rho.max(("a", "w")).values
        assert np.all(np.diff(peaks) <= 1e-15)
        lost.append(1 - peaks[-1] / peaks[0])
    assert lost[2] < 0.75 * lost[1] < 0.75**2 * lost[0]
    assert lost[2] < {"upwind": 1.1e-2, "muscl": 3.2e-3}[method.name]


# ---------------------------------------------------------------- one problem, told in two ways
def assert_same_run(left: xr.Dataset, right: xr.Dataset) -> None:
    assert left.attrs["steps"] == right.attrs["steps"]
    for name in ("rho", "risk", "energy", "dissipation", "mass"):
        scale = np.abs(left[name]).max().item()
        np.testing.assert_allclose(left[name], right[name], rtol=0, atol=1e-12 * scale)


def test_kernel_of_a_network_gives_the_network() -> None:
    """K(u, v) = Σ p Φ(u)Φ(v) and F(u) = Σ p y Φ(u) say the same as the samples."""
    x = np.linspace(-1.5, 2, 7)
    y, p = np.sin(1.5 * x), np.arange(1.0, 8.0) / 28
    shared = {"penalty": mf.ridge(0.1), "initial": mf.gaussian(mean=[0.3, 0.6], std=0.5)}
    network = mf.two_layer(x, y, activation=mf.tanh, weights=p, **shared)

    def features(points: Array) -> Array:
        return points[:, :1] * np.tanh(points[:, 1:] * x)

    kernel = mf.kernel_problem(
        ("a", "w"),
        K=lambda u, v: (features(u) * p) @ features(v).T,
        F=lambda u: features(u) @ (p * y),
        const=float(0.5 * p @ y**2),
        **shared,
    )
    grid = mf.Grid(a=mf.uniform(-4, 4, 40), w=mf.stretched(-4, 4, 36))
    for method in (mf.upwind(), mf.muscl()):
        assert_same_run(*(mf.solve(q, grid, method, [0.0, 0.3, 0.6]) for q in (network, kernel)))


@pytest.mark.parametrize("method", [mf.upwind(), mf.muscl()], ids=["upwind", "muscl"])
def test_three_ways_to_freeze_a_potential(method: mf.Method) -> None:
    """A kernel without interaction, one feature under the risk f, and a penalty alone."""
    start = Normal.isotropic([0.3, 0.1], 0.6)
    kernel = frozen_kernel(SADDLE, start, half=4.0, horizon=0.3)
    features = frozen_features(SADDLE, start, half=4.0, horizon=0.3)
    by_penalty = mf.kernel_problem(
        ("a", "w"),
        K=lambda u, v: np.zeros((len(u), len(v))),
        F=lambda u: np.zeros(len(u)),
        penalty=mf.Penalty(SADDLE.value, lambda u: u @ SADDLE.A),
        initial=mf.gaussian(mean=start.mean, std=0.6),
    )
    runs = [case.run(method, 48, instants=3) for case in (kernel, features)]
    assert_same_run(*runs)
    run = mf.solve(by_penalty, kernel.grid(48), method, runs[0].time, escaped_tolerance=1e-3)
    np.testing.assert_allclose(run.rho, runs[0].rho, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.energy, runs[0].energy, rtol=1e-12)
    assert np.all(run.risk == 0)


def test_ridge_alone_contracts_as_a_bowl() -> None:
    """Inputs that are all 0 leave nothing to learn: V is the ridge."""
    idle = mf.two_layer(
        np.zeros(2),
        np.ones(2),
        activation=mf.identity,
        penalty=mf.ridge(0.5),
        output_weight=False,
        initial=mf.gaussian(mean=0.3, std=0.6),
    )
    bowl = frozen_kernel(BOWL, Normal.isotropic([0.3], 0.6), half=4.0, horizon=0.5)
    run = mf.solve(idle, mf.Grid(w=mf.uniform(-4, 4, 128)), mf.muscl(), [0.0, 0.5])
    np.testing.assert_allclose(run.rho, bowl.run(mf.muscl(), 128).rho, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(run.risk, [0.5, 0.5])
