"""The force is minus the gradient of the particles' objective, in the time that makes it −∇V."""

import itertools
import tracemalloc

import numpy as np
import pytest

import particle_ref.force as force_module
from particle_ref import InvalidInput
from particle_ref.force import Force

SMOOTH_OR_RELU = [
    "identity",
    "relu",
    "tanh",
    "sigmoid",
    "plain sigmoid",
    "erf",
    "softplus",
    "cos",
    "quadratic",
]


def data(d, n=6):
    rng = np.random.default_rng(d)
    x = rng.uniform(-1, 1, (n, d) if d > 1 else n)
    weights = rng.uniform(0.5, 1.5, n)
    return x, np.where(rng.random(n) < 0.5, -1.0, 1.0), weights / weights.sum()


def cloud(D, N=5, seed=1):
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 1.5, N)
    return rng.normal(0, 0.8, (N, D)), weight / weight.sum()


def assert_is_minus_the_gradient(toy, problem):
    """p_j u_j' = −∂F_m/∂u_j for every particle and coordinate."""
    u, p = cloud(len(problem.coords))
    exact = -toy.complex_step(lambda z: toy.objective(problem, z, p), u) / p[:, None]
    np.testing.assert_allclose(Force(problem).velocity(u, p), exact, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("loss", ["square", "logistic", "huber"])
@pytest.mark.parametrize("activation", SMOOTH_OR_RELU)
def test_velocity_is_minus_the_gradient_of_the_objective(toy, activation, loss):
    options = itertools.product([1, 3], [False, True], [False, True], [False, True], [0.0, 0.2])
    for d, bias, output_weight, fast, mu in options:
        if activation == "sigmoid" and not fast:
            continue  # expit takes no complex numbers; the plain one stands for it
        x, y, weights = data(d)
        spoken = "plain sigmoid" if activation == "sigmoid" else activation
        network = {"loss": loss, "bias": bias, "output_weight": output_weight, "weights": weights}
        problem = toy.two_layer(x, y, spoken, **network, penalty=toy.ridge(mu))
        u, p = cloud(len(problem.coords))
        exact = -toy.complex_step(lambda z: toy.objective(problem, z, p), u) / p[:, None]  # noqa: B023
        ours = toy.two_layer(x, y, activation, **network, fast=fast, penalty=toy.ridge(mu))
        velocity = Force(ours).velocity(u, p)
        np.testing.assert_allclose(velocity, exact, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("output_weight", [False, True])
def test_kernel_velocity_is_minus_the_gradient(toy, output_weight):
    x, y, weights = data(2)
    problem = toy.two_layer(x, y, output_weight=output_weight, weights=weights, bias=True)
    assert_is_minus_the_gradient(toy, toy.as_kernel(problem))


def test_gaussian_kernel_velocity_is_minus_the_gradient(toy):
    def K(u, v):
        return np.exp(-((u[:, None] - v) ** 2).sum(axis=2) / 2)

    problem = toy.KernelProblem(
        coords=("r", "s"),
        K=K,
        dK=lambda u, v: -(u[:, None] - v) * K(u, v)[:, :, None],
        F=lambda u: np.cos(u[:, 0]) * u[:, 1],
        dF=lambda u: np.stack([-np.sin(u[:, 0]) * u[:, 1], np.cos(u[:, 0])], axis=1),
        penalty=toy.ridge(0.3),
        const=0.7,
    )
    assert_is_minus_the_gradient(toy, problem)


def test_kernel_and_features_agree_on_risk_and_force(toy):
    x, y, weights = data(1)
    problem = toy.two_layer(x, y, weights=weights)
    u, p = cloud(2)
    features, kernel = Force(problem)(u, p), Force(toy.as_kernel(problem))(u, p)
    assert kernel.risk == pytest.approx(features.risk, rel=1e-13)
    np.testing.assert_allclose(kernel.gradient, features.gradient, atol=1e-14)
    assert kernel.prediction.shape == (0,)


def test_prediction_and_risk(toy):
    x, y, weights = data(3)
    problem = toy.two_layer(x, y, "erf", "logistic", bias=True, weights=weights)
    u, p = cloud(5)
    response = Force(problem)(u, p)
    expected = sum(
        pj * uj[0] * toy.SIGMAS["erf"][0](x @ uj[1:4] + uj[4]) for pj, uj in zip(p, u, strict=True)
    )
    np.testing.assert_allclose(response.prediction, expected, rtol=1e-13)
    assert response.risk == pytest.approx(toy.objective(problem, u, p), rel=1e-13)
    assert Force(problem).energy(u, p, response.risk) == pytest.approx(response.risk, rel=1e-15)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("kept", [0, 2**25])
def test_blocks_do_not_change_the_force(toy, monkeypatch, fast, kept):
    x, y, _ = data(3)
    for activation in ("tanh", "erf"):
        problem = toy.two_layer(x, y, activation, fast=fast)
        u, p = cloud(4, N=103)
        whole = Force(problem)(u, p)
        monkeypatch.setattr(force_module, "BLOCK_BYTES", 1000)
        monkeypatch.setattr(force_module, "KEPT_BYTES", kept)
        pieces = Force(problem)(u, p)
        monkeypatch.undo()
        np.testing.assert_allclose(pieces.gradient, whole.gradient, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(pieces.prediction, whole.prediction, rtol=1e-12, atol=1e-15)


def test_blocks_do_not_change_the_force_of_a_kernel(toy, monkeypatch):
    x, y, _ = data(1)
    problem = toy.as_kernel(toy.two_layer(x, y))
    u, p = cloud(2, N=53)
    whole = Force(problem)(u, p)
    monkeypatch.setattr(force_module, "BLOCK_BYTES", 4000)
    pieces = Force(problem)(u, p)
    np.testing.assert_allclose(pieces.gradient, whole.gradient, rtol=1e-12, atol=1e-15)
    assert pieces.risk == pytest.approx(whole.risk, rel=1e-13)


def test_memory_is_bounded_where_features_do_not_fit(toy):
    m, n = 200_000, 64
    x = np.linspace(-1, 1, n)
    force = Force(toy.two_layer(x, np.sin(x)))
    u, p = np.random.default_rng(0).normal(size=(m, 2)), np.full(m, 1 / m)
    tracemalloc.start()
    force(u, p)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.25 * 8 * m * n


@pytest.mark.parametrize("fast", [False, True])
def test_an_activation_without_slope_is_refused(toy, fast):
    with pytest.raises(InvalidInput, match="because"):
        Force(toy.two_layer([1.0], [1.0], "step", fast=fast))


@pytest.mark.parametrize("missing", ["dK", "dF"])
def test_a_kernel_without_gradient_is_refused(toy, missing):
    kernel = vars(toy.as_kernel(toy.two_layer([1.0], [1.0])))
    with pytest.raises(InvalidInput, match=missing):
        Force(toy.KernelProblem(**{**kernel, missing: None}))


def test_what_is_no_problem_is_refused_by_naming_what_it_lacks():
    class Unfinished:
        coords, penalty = ("a", "w"), None

    with pytest.raises(InvalidInput, match="loss"):
        force_module.risk_force(Unfinished())


def test_half_speed_in_w_is_caught(toy, plant_half_speed_in_w):
    x, y, weights = data(1)
    problem = toy.two_layer(x, y, weights=weights)
    assert_is_minus_the_gradient(toy, problem)
    plant_half_speed_in_w()
    with pytest.raises(AssertionError):
        assert_is_minus_the_gradient(toy, problem)
