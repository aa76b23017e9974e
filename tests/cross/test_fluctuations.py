"""The scatter of finite networks about their limit: derivatives, a closed form, and replicas."""

from collections.abc import Callable

import numpy as np
import pytest
from cross.networks import predictions
from scipy import stats

import mfpde as mf
import particle_ref as pr
from particle_ref import central_limit, truth
from particle_ref.central_limit import Smooth, influence

X = np.linspace(-2, 2, 7)
Y = np.sin(1.5 * X)
LAW = mf.gaussian(mean=[0.3, 0.6], std=0.35)


def torus() -> mf.Problem:
    """Cosine features on a circle, without output weight; mass crosses the seam."""
    x = 2 * np.pi * np.arange(5) / 5
    return mf.Problem(
        ("w",),
        phi=lambda w: np.cos(x - w),
        dphi=lambda w: np.sin(x - w)[:, :, None],
        d2phi=lambda w: -np.cos(x - w)[:, :, None, None],
        loss=mf.square(0.7 * np.cos(x - 1.0)),
        initial=mf.uniform_box(0.0, 2 * np.pi),
        domain={"w": mf.circle(2 * np.pi)},
    )


PROBLEMS: dict[str, Callable[[], mf.Problem]] = {
    "tanh": lambda: mf.two_layer(X, Y, initial=LAW),
    "logistic, ridge": lambda: mf.two_layer(
        X, np.sign(Y + 0.1), loss=mf.logistic, penalty=mf.ridge(0.3), initial=LAW
    ),
    "bias": lambda: mf.two_layer(X, Y, activation=mf.erf, bias=True, initial=mf.gaussian(0.2, 0.5)),
    "two inputs, weighted": lambda: mf.two_layer(
        np.column_stack([X, X**2 / 3]), Y, weights=np.arange(1, 8) / 28, initial=mf.gaussian()
    ),
    "no output weight": lambda: mf.two_layer(X, Y, output_weight=False, initial=mf.gaussian(0.5)),
    "torus": torus,
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_influence_is_the_derivative_in_a_neurons_mass(name):
    """Against central differences of the flow of a cloud, one node of it made heavier by ε."""
    problem, times, step = PROBLEMS[name](), np.array([0.3, 1.0]), 1e-4
    cloud = pr.sample(problem, 16, seed=1)
    f, h = influence(Smooth(problem), cloud, times, 24, 1e-12)

    def prediction(weight: np.ndarray) -> np.ndarray:
        moved = pr.Cloud(cloud.position, weight)
        return pr.run(problem, moved, pr.GradientFlow(rtol=1e-11, atol=1e-13), times).prediction

    np.testing.assert_allclose(f, prediction(cloud.weight), atol=1e-9)
    for node in (0, 7):
        heavier = np.eye(16)[node] - cloud.weight
        differences = prediction(cloud.weight + step * heavier) - prediction(
            cloud.weight - step * heavier
        )
        np.testing.assert_allclose(h[:, :, node], differences / (2 * step), atol=1e-7)


def test_at_first_it_is_the_covariance_of_the_features():
    """Φ = a tanh(wx) at independent a and w; E tanh² by Gauss-Hermite quadrature."""
    found = pr.fluctuations(PROBLEMS["tanh"](), [0.0, 0.1], tolerance=1e-8).isel(time=0)
    z, q = np.polynomial.hermite_e.hermegauss(60)
    psi, q = np.tanh(np.multiply.outer(X, 0.6 + 0.35 * z)), q / q.sum()
    mean = psi @ q
    exact = (0.3**2 + 0.35**2) * (psi * q) @ psi.T - 0.3**2 * np.outer(mean, mean)
    np.testing.assert_allclose(found.covariance, exact, atol=1e-8)
    np.testing.assert_allclose(found.variance, np.diag(exact), atol=1e-8)
    assert float(found.risk_excess) == pytest.approx(np.diag(exact).mean() / 2, rel=1e-7)


def test_linear_networks_in_closed_form():
    """f = c(U, W, t) x, where U and W are the means of u² and v²: the delta method."""
    std, t = np.array([0.9, 0.5]), np.array([0.4, 1.5])
    s2, b = (X**2).mean(), (X * Y).mean()

    def slope(U: complex, W: complex) -> np.ndarray:
        kappa = np.sqrt(b**2 + s2**2 * U * W)
        high, low = (b + kappa) / (s2 * U), (b - kappa) / (s2 * U)
        ratio = (1 - high) / (1 - low) * np.exp(-2 * kappa * t)
        z = (high - ratio * low) / (1 - ratio)
        return (U * z - W / z) / 2

    # (u, v) = (a + w, a − w)/√2, independent and centred: Var u² = 2U².
    U, W = std**2
    variance = 2 * U**2 * (slope(U + 1e-30j, W).imag / 1e-30) ** 2
    variance += 2 * W**2 * (slope(U, W + 1e-30j).imag / 1e-30) ** 2
    turn = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    law = mf.gaussian(np.zeros(2), cov=turn @ np.diag(std**2) @ turn)
    problem = mf.two_layer(X, Y, activation=mf.identity, initial=law)
    found = pr.fluctuations(problem, t, tolerance=1e-9)
    np.testing.assert_allclose(found.prediction, np.outer(slope(U, W).real, X), atol=1e-9)
    exact = variance[:, None, None] * np.outer(X, X)
    np.testing.assert_allclose(found.covariance, exact, rtol=1e-8, atol=1e-9)


def test_the_band_covers_replicas():
    """The nominal 95 % band covers 92.5-97.5 % of 1600 replicas of 512 neurons: f at one sample.

    A right band fails with probability 5e-6. Without the answer of the other neurons it would be
    too wide, and is seen to be.
    """
    x, y, horizon, m = np.array([-1.0, 0.5, 2.0]), np.array([-0.5, 1.2, 0.8]), 2.0, 512
    problem = mf.two_layer(x, y, initial=mf.gaussian([0.5, 0.8], 0.6))
    assert stats.binom(1600, 0.95).cdf(1479) + stats.binom(1600, 0.95).sf(1560) < 1e-5

    def f_of(seed: int) -> np.ndarray:
        start = np.random.default_rng(seed).normal(size=(2, 50, m)) * 0.6
        return predictions(x, y, start + np.array([0.5, 0.8])[:, None, None], horizon, 6)

    found = pr.fluctuations(problem, [horizon], tolerance=1e-5).isel(time=0)
    drawn = np.concatenate([f_of(seed) for seed in range(32)])
    away = np.abs(drawn - found.prediction.values)
    covered = (away <= 1.96 * np.sqrt(found.variance.values / m)).mean(axis=0)
    assert 0.925 <= covered[2] <= 0.975

    nodes = pr.Truth(problem, horizon, 1e-6).cloud
    moved = pr.run(problem, nodes, pr.GradientFlow(), [horizon]).isel(time=0)
    a, w = moved.position.values.T
    alone = nodes.weight @ (a[:, None] * np.tanh(np.outer(w, x)) - moved.prediction.values) ** 2
    assert (away[:, 2] <= 1.96 * np.sqrt(alone[2] / m)).mean() > 0.985


def test_given_nodes_stand_for_the_law():
    """A Gauss rule that is handed over, against the rule that is found."""
    problem = PROBLEMS["tanh"]()
    nodes = pr.sample(problem, 900, kind="quadrature")
    given = pr.fluctuations(problem, [0.5, 1.0], nodes, tolerance=1e-6)
    chosen = pr.fluctuations(problem, [0.5, 1.0], tolerance=1e-6)
    np.testing.assert_allclose(given.covariance, chosen.covariance, atol=1e-7)
    assert given.attrs["nodes"] == 900
    assert given.attrs["reached"] <= 1e-6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activation": mf.relu}, "kink"),
        ({"entropy": 0.1}, "noise"),
        ({"penalty": mf.total_variation(0.1)}, "quadratic"),
        ({"domain": {"w": mf.interval(-4, 4)}, "initial": mf.uniform_box(-1, 1)}, "wall"),
    ],
)
def test_problems_without_a_limit_are_refused(options, words):
    with pytest.raises(pr.InvalidInput, match=words):
        pr.fluctuations(mf.two_layer(X, Y, **options), [1.0])


def test_kernels_losses_and_arguments_are_refused():
    kernel = mf.kernel_problem(("w",), lambda u, v: u @ v.T, lambda u: u[:, 0])
    with pytest.raises(pr.InvalidInput, match="kernel"):
        pr.fluctuations(kernel, [1.0])
    straight = mf.Loss(lambda f, y: (f - y) ** 2, lambda f, y: 2 * (f - y))
    with pytest.raises(ValueError, match="no curvature"):
        pr.fluctuations(mf.two_layer(X, Y, loss=straight), [1.0])
    for times in ([], [0.0], [1.0, 0.5], [-1.0, 1.0], [np.inf]):
        with pytest.raises(pr.InvalidInput, match="times"):
            pr.fluctuations(PROBLEMS["tanh"](), times)
    with pytest.raises(pr.InvalidInput, match="cloud"):
        pr.fluctuations(PROBLEMS["tanh"](), [1.0], np.zeros((3, 2)))
    with pytest.raises(pr.InvalidInput, match="coordinates"):
        pr.fluctuations(PROBLEMS["tanh"](), [1.0], pr.Cloud(np.zeros((3, 1))))
    with pytest.raises(pr.InvalidInput, match="tolerance"):
        pr.fluctuations(PROBLEMS["tanh"](), [1.0], tolerance=0)


def test_where_no_quadrature_is_fine_enough_nodes_may_be_given(monkeypatch):
    monkeypatch.setattr(truth, "MOST_FEATURES", 5000)
    problem = PROBLEMS["bias"]()  # three coordinates
    with pytest.raises(pr.NumericalStop, match=r"(?s)no quadrature.*nodes=pr\.sample"):
        pr.fluctuations(problem, [0.1], tolerance=1e-6)
    nodes = pr.sample(problem, 256, kind="sobol")
    assert pr.fluctuations(problem, [0.1], nodes, tolerance=1e-6).attrs["nodes"] == 256


def test_what_is_out_of_reach_is_said(monkeypatch):
    monkeypatch.setattr(central_limit, "MOST_EQUATIONS", 100)
    with pytest.raises(pr.NumericalStop, match="agree within"):
        pr.fluctuations(PROBLEMS["tanh"](), [1.0], tolerance=1e-12)
