"""What a gap is made of: planted parts are found, intervals cover, and nothing is invented."""

import re

import numpy as np
import pytest
import xarray as xr
from cross.networks import predictions

import mfpde as mf
import particle_ref as pr
from mfpde.measures import as_measure, replicas

X = np.linspace(-2, 2, 9)
LAW = mf.gaussian(mean=[0.3, 0.6], std=0.35)
PROBLEM = mf.two_layer(X, np.sin(1.5 * X), initial=LAW)
TIMES = [0.0, 0.5, 1.0]
BOX = {"a": (-1.9, 2.7), "w": (-1.6, 2.9)}


def solved(cells: int, method: mf.Method) -> xr.Dataset:
    grid = mf.Grid(**{c: mf.uniform(*ends, cells) for c, ends in BOX.items()})
    return mf.solve(PROBLEM, grid, method, TIMES, progress=False, escaped_tolerance=1e-3)


@pytest.fixture(scope="module")
def run() -> xr.Dataset:
    return solved(48, mf.semi_lagrangian(dt=0.25))


@pytest.fixture(scope="module")
def flows() -> dict[int, list[xr.Dataset]]:
    method = pr.GradientFlow(rtol=1e-6)
    return {
        m: [pr.run(PROBLEM, pr.sample(PROBLEM, m, seed), method, TIMES) for seed in range(8)]
        for m in (40, 160, 640)
    }


def moved_aside(run: xr.Dataset, by: float) -> xr.Dataset:
    """A run whose prediction is wrong by a known amount, of root mean square ``by``."""
    return run.assign(prediction=run.prediction + by * np.sign(X + 0.1))


# ---------------------------------------------------------------------------------- the estimates


def planted(rng: np.random.Generator, sets: int, R: int, s: float, b: float) -> np.ndarray:
    """Differences (sets, R, 3) with scatter s² and shared b, uneven among components."""
    spread = s * np.sqrt([0.7, 0.2, 0.1])
    return b * np.array([0.6, 0.8, 0.0]) + spread * rng.normal(size=(sets, R, 3))


def test_scatter_and_what_is_shared_are_unbiased():
    """Means over 4000 sets of 4 replicas within 5 standard errors: false alarms below 1e-5."""
    d = planted(np.random.default_rng(0), 4000, 4, 0.5, 0.3)
    scatter = np.exp(2 * replicas.estimates(replicas.log_scatter, d)[0])
    shared = replicas.estimates(replicas.shared, d)[0]
    for found, exact in ((scatter, 0.25), (shared, 0.09)):
        assert abs(found.mean() - exact) < 5 * found.std() / np.sqrt(4000)


def test_estimates_without_one_are_those_of_the_others():
    d = planted(np.random.default_rng(1), 1, 6, 0.5, 0.3)
    for statistic in (replicas.log_scatter, replicas.shared):
        _, without_one = replicas.estimates(statistic, d)
        for r in range(6):
            others = replicas.estimates(statistic, np.delete(d, r, axis=1))[0]
            np.testing.assert_allclose(without_one[r], others, rtol=1e-12)
    pairs = [d[0, r] @ d[0, q] for r in range(6) for q in range(6) if r != q]
    np.testing.assert_allclose(replicas.estimates(replicas.shared, d)[0], np.mean(pairs))
    scatter = np.exp(2 * replicas.estimates(replicas.log_scatter, d)[0])
    np.testing.assert_allclose(scatter, d[0].var(axis=0, ddof=1).sum())


@pytest.mark.parametrize(("R", "least"), [(3, 0.83), (8, 0.83), (32, 0.85)])
@pytest.mark.parametrize("b", [0.0, 0.1, 1.0])
def test_intervals_cover(R, least, b):
    """Nominal 90 %: of 2000 sets, the intervals cover no less than stated; 97 % at b = 0.

    The standard error of such a share is 0.008, and the true ones are above ``least`` by 5 of it.
    """
    rng = np.random.default_rng(R)
    d, wider = planted(rng, 2000, R, 0.5, b), planted(rng, 2000, R, 0.25, b)
    found = {
        "sampling": (replicas.sampling(d), 0.5),
        "shared": (replicas.common(d), b),
        "slope": (replicas.exponent(np.array([100.0, 400.0]), [d, wider]), -0.5),
    }
    for name, ((_, low, high), exact) in found.items():
        covered = ((low <= exact) & (exact <= high)).mean()
        print(R, b, name, covered)
        assert covered > least, name


def test_the_size_of_a_normal_vector():
    """Of one component the quantiles of |z|; of two equal ones those of Rayleigh's law.

    From 20,000 draws, fixed: the bounds are 4 standard errors or more.
    """
    rms, low, high = replicas.normal_size(np.array([[[0.04]]]))[:, 0]
    assert rms == pytest.approx(0.2)
    assert low == pytest.approx(0.2 * 0.0627, rel=0.15)
    assert high == pytest.approx(0.2 * 1.96, rel=0.05)
    rms, low, high = replicas.normal_size(np.eye(2)[None])[:, 0]
    assert rms == pytest.approx(np.sqrt(2))
    assert low == pytest.approx(np.sqrt(-2 * np.log(0.95)), rel=0.1)
    assert high == pytest.approx(np.sqrt(-2 * np.log(0.05)), rel=0.05)
