"""The finite network: right gradients for every activation, and steps in PDE time."""

import numpy as np
import pytest

import particle_ref as pr
from particle_ref.activations import ACTIVATIONS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 3))
Y = np.sin(X[:, 0]) + X[:, 1] / 3


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gradients(toy, activation):
    """Of ½ mean (f − y)², by complex steps of f = (1/m) Σ a σ(w·x) written out."""
    network = pr.MeanFieldTwoLayerNN(6, 3, activation, seed=1)
    sigma = toy.SIGMAS["plain sigmoid" if activation == "sigmoid" else activation][0]

    def loss(a, w):
        return np.mean(((a @ sigma(w @ X.T) / len(a)) - Y) ** 2) / 2

    np.testing.assert_allclose(
        network.forward(X), network.a @ sigma(network.w @ X.T) / 6, rtol=1e-13
    )
    grad_a, grad_w = network.compute_gradients(X, Y)
    exact_a = toy.complex_step(lambda a: loss(a, network.w), network.a)
    exact_w = toy.complex_step(lambda w: loss(network.a, w), network.w)
    np.testing.assert_allclose(grad_a, exact_a, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(grad_w, exact_w, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_slopes_are_derivatives(activation):
    """Central differences at h = 1e-5: error about h² |σ'''|/6 + 1e-16/h, so below 1e-8."""
    z, h = np.linspace(-6, 6, 101) + 0.01, 1e-5
    sigma = ACTIVATIONS[activation]
    difference = (sigma.value(z + h) - sigma.value(z - h)) / (2 * h)
    np.testing.assert_allclose(sigma.slope(z), difference, atol=1e-8)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations_are_finite_far_out(activation):
    z = np.array([-1e4, 0.0, 1e4])
    assert np.isfinite(ACTIVATIONS[activation].value(z)).all()
    assert np.isfinite(ACTIVATIONS[activation].slope(z)).all()


def test_lr_is_a_pde_time(toy):
    """Twice the neurons: the same losses. And the path is Descent's, with dt = lr."""
    network = pr.MeanFieldTwoLayerNN(8, 3, "tanh", seed=2)
    twice = pr.MeanFieldTwoLayerNN(16, 3, "tanh")
    twice.a, twice.w = np.tile(network.a, 2), np.tile(network.w, (2, 1))
    start = pr.Cloud(np.column_stack([network.a, network.w]))
    descent = pr.run(toy.two_layer(X, Y), start, pr.Descent(0.1), 0.1 * np.arange(21))
    losses = network.train_gradient_descent(X, Y, lr=0.1, n_steps=20)
    np.testing.assert_allclose(twice.train_gradient_descent(X, Y, 0.1, 20), losses, rtol=1e-12)
    assert losses.shape == (20,)
    np.testing.assert_allclose(losses, descent.risk[:-1], rtol=1e-12)
    np.testing.assert_allclose(network.a, descent.position[-1, :, 0], rtol=1e-11)
    np.testing.assert_allclose(network.w, descent.position[-1, :, 1:], rtol=1e-11)
    assert (np.diff(losses) < 0).all()


def test_one_step_is_lr_times_m_times_the_gradient():
    network = pr.MeanFieldTwoLayerNN(5, 3, "relu", seed=4)
    a, w = network.a.copy(), network.w.copy()
    grad_a, grad_w = network.compute_gradients(X, Y)
    network.train_gradient_descent(X, Y, lr=0.2, n_steps=1)
    np.testing.assert_allclose(network.a, a - 0.2 * 5 * grad_a, rtol=1e-13)
    np.testing.assert_allclose(network.w, w - 0.2 * 5 * grad_w, rtol=1e-13)


def test_the_seed_fixes_the_start():
    first, again = (pr.MeanFieldTwoLayerNN(4, 2, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.w, again.w)
    assert (first.w != pr.MeanFieldTwoLayerNN(4, 2, seed=8).w).all()
    assert first.a.shape == (4,)
    assert first.w.shape == (4, 2)


def test_training_that_blows_up_stops_and_keeps_the_losses():
    network = pr.MeanFieldTwoLayerNN(5, 3, "quadratic", seed=4)
    with pytest.raises(pr.NumericalStop, match="lr=10") as stop:
        network.train_gradient_descent(X, Y, lr=100.0, n_steps=100)
    assert 0 < len(stop.value.last) < 100
    assert np.isfinite(stop.value.last).all()
    assert np.isfinite(network.a).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: pr.MeanFieldTwoLayerNN(0, 1),
        lambda: pr.MeanFieldTwoLayerNN(1, 0),
        lambda: pr.MeanFieldTwoLayerNN(1, 1, "swish"),
        lambda: pr.MeanFieldTwoLayerNN(1, 2).forward(X),
        lambda: pr.MeanFieldTwoLayerNN(1, 3).forward(X[0]),
        lambda: pr.MeanFieldTwoLayerNN(1, 3).compute_gradients(X, Y[1:]),
        lambda: pr.MeanFieldTwoLayerNN(1, 3).train_gradient_descent(X, Y, 0.0, 1),
        lambda: pr.MeanFieldTwoLayerNN(1, 3).train_gradient_descent(X, Y, 0.1, -1),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(pr.InvalidInput):
        call()
