"""∇V and ΔV of a known prediction: against the particles' force and against differences."""

import numpy as np
import pytest

import particle_ref as pr
from particle_ref import activations, potential
from particle_ref.force import Force
from particle_ref.potential import Potential, hessian

SMOOTH = ["identity", "tanh", "sigmoid", "erf", "softplus", "cos", "quadratic"]
F = np.array([0.3, -0.2, 0.5, 0.1])


def network(toy, activation, **others):
    x = np.array([[-1.0, 0.4], [0.3, -0.8], [1.1, 0.2], [0.5, 0.9]])
    return toy.two_layer(x, np.array([1.0, -1.0, 1.0, -1.0]), activation, **others)


def points(problem):
    return np.random.default_rng(1).normal(0.2, 0.8, (9, len(problem.coords)))


def divergence(field, u, h=1e-3):
    """Σ_c ∂_c field_c at u (N, D), by differences of order 6."""
    total = np.zeros(len(u))
    for c, e in enumerate(np.eye(u.shape[1])):
        near, mid, far = ((field(u + m * h * e) - field(u - m * h * e))[:, c] for m in (1, 2, 3))
        total += (45 * near - 9 * mid + far) / (60 * h)
    return total


def laplacian_defect(problem):
    V, u = Potential(problem), points(problem)
    return np.abs(V(u, F)[1] - divergence(lambda v: V(v, F)[0], u)).max()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize(("bias", "output_weight"), [(False, True), (True, True), (True, False)])
def test_gradient_and_laplacian(toy, activation, bias, output_weight, fast):
    """∇V is minus the particles' velocity; ΔV is the divergence of ∇V."""
    problem = network(
        toy,
        activation,
        loss="logistic",
        bias=bias,
        output_weight=output_weight,
        fast=fast,
        penalty=toy.ridge(0.3),
    )
    cloud, force = pr.Cloud(points(problem)), Force(problem)
    f = force(cloud.position, cloud.weight).prediction
    gradient, _ = Potential(problem)(cloud.position, f)
    velocity = force.velocity(cloud.position, cloud.weight)
    np.testing.assert_allclose(gradient, -velocity, rtol=1e-12, atol=1e-13)
    assert laplacian_defect(problem) < 1e-10


def test_one_input_takes_the_same_formulas(toy):
    x = np.array([-1.0, 0.4, 1.5])
    fast, slow = (toy.two_layer(x, x**2, "tanh", fast=fast) for fast in (True, False))
    u = points(fast)
    for left, right in zip(Potential(fast)(u, F[:3]), Potential(slow)(u, F[:3]), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-14)


def test_half_the_curvature_is_noticed(toy, monkeypatch):
    problem = network(toy, "tanh")
    assert laplacian_defect(problem) < 1e-10

    def halved(s):
        value, slope, curvature = activations._tanh_derivatives(s)
        return value, slope, curvature / 2

    monkeypatch.setitem(potential.DERIVATIVES_OF_VALUE, np.tanh, halved)
    assert laplacian_defect(problem) > 1e-2


def test_the_hessian_of_quadratic_penalties(toy):
    mu = np.array([0.5, 0.0, 2.0])
    tilted = toy.Penalty(None, lambda u: (u - 3.0) * mu)
    np.testing.assert_array_equal(hessian(toy.Penalty(), 3), np.zeros((3, 3)))
    np.testing.assert_allclose(hessian(toy.ridge(0.7), 4), 0.7 * np.eye(4), rtol=1e-15)
    np.testing.assert_allclose(hessian(tilted, 3), np.diag(mu), rtol=1e-15)


def test_penalties_that_are_not_quadratic_are_refused(toy):
    smoothed = toy.Penalty(None, lambda u: u / np.sqrt(1e4 + u**2))  # nearly a ridge near 0
    quartic = toy.Penalty(None, lambda u: u**3)
    for penalty in (toy.total_variation(0.1), smoothed, quartic):
        with pytest.raises(pr.InvalidInput, match="quadratic"):
            Potential(network(toy, "tanh", penalty=penalty))


def test_features_without_second_derivatives_are_refused(toy):
    with pytest.raises(pr.InvalidInput, match="curvature"):
        Potential(network(toy, "relu"))
    with pytest.raises(pr.InvalidInput, match="d2phi"):
        Potential(network(toy, "relu", fast=False))
    with pytest.raises(pr.InvalidInput, match="dphi"):
        Potential(network(toy, "step", fast=False))
    with pytest.raises(pr.InvalidInput, match="kernel"):
        Potential(toy.as_kernel(network(toy, "tanh")))
