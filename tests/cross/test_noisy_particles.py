"""Noisy particles of problems of this package: kept on disk, in other processes, by a density."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import mfpde as mf
import particle_ref as pr

X = np.linspace(-1, 1, 8)


def fresh(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.uniform(-1, 1, size)
    return x, np.sin(2 * x)


METHODS = {
    "langevin": (0.1, pr.Langevin(0.125, 3)),
    "minibatches": (0.0, pr.Stochastic(0.125, 3, 3)),
    "stream": (0.0, pr.Stochastic(0.125, 3, 3, fresh)),
    "decaying steps": (0.0, pr.Stochastic(0.125, 3, 3, decay=(0.5, 0.75))),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_run_goes_on_from_disk_bit_for_bit(name, tmp_path):
    """After the first times, with more of them than were asked for at first."""
    entropy, method = METHODS[name]
    problem = mf.two_layer(X, np.sin(2 * X), penalty=mf.ridge(0.1), entropy=entropy)
    cloud, times = pr.sample(problem, 9, 1), [0.25, 0.5, 1.0, 1.5]
    whole = pr.run(problem, cloud, method, times)
    store = mf.store(tmp_path / "run")
    pr.run(problem, cloud, method, times[:2], to=store)
    longer = pr.run(problem, cloud, method, times, to=store)
    for variable in whole.variables:
        np.testing.assert_array_equal(longer[variable], whole[variable])
    other = type(method)(**{**vars(method), "seed": 4})
    with pytest.raises(mf.InvalidInput, match="method"):
        pr.run(problem, cloud, other, times, to=store)


def test_workers_change_nothing():
    problem = mf.two_layer(X, np.sin(2 * X), penalty=mf.ridge(0.1), entropy=0.1)
    asked = (problem, 5, pr.Langevin(0.25, 2), [0.5, 1.0], range(5))
    for one, other in zip(pr.replicas(*asked), pr.replicas(*asked, workers=2), strict=True):
        xr.testing.assert_identical(one, other)


def test_predictions_alone_are_compared_with_a_density():
    problem = mf.two_layer(X, np.sin(2 * X), penalty=mf.ridge(0.1), entropy=0.1)
    grid = mf.Grid(a=mf.uniform(-6, 6, 24), w=mf.uniform(-6, 6, 24))
    run = mf.solve(problem, grid, times=[0.0, 0.5], progress=False)
    flows = pr.replicas(problem, 5, pr.Langevin(0.25, 2), [0.0, 0.5], range(3), keep="prediction")
    gaps = mf.compare(run, flows, only=("prediction_gap", "risk_gap"))
    expected = [flow.risk.values - run.risk.values for flow in flows]
    np.testing.assert_array_equal(gaps.risk_gap.values.T, expected)


def test_the_energy_of_m_particles_is_too_high_by_order_one_in_m():
    """E[risk + ∫reg] − the density's at t = 1/4: slope −1 of its logarithm in m.

    600 replicas for each m, false alarms 1e-4; the interval is short enough to tell −1 from −1/2.
    The penalty is weak, since its own fluctuations tell nothing; the errors of the density and of
    the splitting, are below a tenth of the gaps, the bias of order 1/m² below a fifth.
    """
    T, widths, M = 0.25, np.array([2, 4, 8]), 600
    problem = mf.two_layer(X, 0 * X, penalty=mf.ridge(0.05), entropy=0.2)
    grid = mf.Grid(a=mf.uniform(-6, 6, 96), w=mf.uniform(-6, 6, 96))
    run = mf.solve(problem, grid, mf.scharfetter_gummel(dt=T / 40), [T], progress=False)
    density = float(run.risk[-1]) + 0.05 * second_moment(run) / 2
    gaps, errors = np.empty(3), np.empty(3)
    for k, m in enumerate(widths.tolist()):
        seeds, method = range(M * k, M * (k + 1)), pr.Langevin(T / 4, 7)
        flows = pr.replicas(problem, m, method, [T], seeds, keep="prediction")
        energies = np.array([float(flow.energy[-1]) for flow in flows])
        gaps[k], errors[k] = energies.mean() - density, energies.std(ddof=1) / np.sqrt(M)
    slope, error = weighted_slope(np.log(widths), np.log(gaps), errors / gaps)
    reach = stats.norm.ppf(1 - 1e-4 / 2) * error
    assert reach < 0.5
    assert abs(slope + 1) < reach


def second_moment(run: xr.Dataset) -> float:
    """∫|θ|² dρ of the last density, by cell centres."""
    rho = run.rho[-1]
    cells = float(np.diff(run.a_edges)[0] * np.diff(run.w_edges)[0])
    return float((rho * (rho.a**2 + rho.w**2)).sum()) * cells


def weighted_slope(x: np.ndarray, y: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    p = error**-2.0 / (error**-2.0).sum()
    lean = p * (x - p @ x) / (p @ (x - p @ x) ** 2)
    return float(lean @ y), float(np.sqrt(lean**2 @ error**2))
