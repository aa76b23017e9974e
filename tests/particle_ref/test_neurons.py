"""tanh to the last places, and sums over neurons that store nothing of their size."""

import tracemalloc

import numpy as np
import pytest
from scipy import special

from particle_ref import neurons
from particle_ref.force import FEW_INPUTS, Force

# Where its pieces meet: k = 0 | 1 | 2 | 3, and where it becomes 1.
RANGES = [(0, 0.17), (0.17, 0.25), (0.25, 0.35), (0.35, 0.6), (0.6, 1), (1, 2), (2, 17), (17, 23)]


def tanh(x):
    z = np.array(x, dtype=float, ndmin=2)
    neurons.tanh_in_place(z)
    return z[0]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="needs 64 bits to compare with")
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_tanh_to_two_units_in_the_last_place(low, high):
    x = np.random.default_rng(0).uniform(low, high, 200_000)
    exact = np.tanh(x.astype(np.longdouble))
    units = np.abs(tanh(x) - exact) / np.spacing(exact.astype(float))
    assert units.max() < 2
    np.testing.assert_array_equal(tanh(-x), -tanh(x))


def test_tanh_of_small_large_and_no_numbers():
    small = 10.0 ** np.linspace(-320, -9, 200)  # x itself, to rounding
    np.testing.assert_allclose(tanh(small), small, rtol=2.3e-16, atol=0)
    x = [0.0, -0.0, 30.0, 1e308, np.inf, -np.inf, np.nan]
    np.testing.assert_array_equal(tanh(x), np.tanh(x))
    assert np.signbit(tanh(-0.0)[0])


def test_a_value_does_not_depend_on_its_place():
    """Vectors and the odd ones at their end go the same way."""
    x = np.random.default_rng(1).normal(0, 2, 203)
    one_by_one = [tanh(value)[0] for value in x]
    for first in range(9):
        np.testing.assert_array_equal(tanh(x[first:]), one_by_one[first:])


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("N", [1, neurons.WIDTH, 2 * neurons.WIDTH + 77])
def test_sums_are_those_of_plain_products(k, N):
    rng = np.random.default_rng(N)
    X, V = rng.normal(size=(7, k)), rng.normal(size=(k, N))
    mass, r = rng.normal(size=N), rng.normal(size=7)
    S = np.tanh(X @ V)
    scale = np.abs(mass).sum()
    np.testing.assert_allclose(neurons.averages(X, V, mass), S @ mass, atol=1e-14 * scale)
    sums = neurons.pulled_back(X, V, r)
    np.testing.assert_allclose(sums[0], r @ S, atol=1e-14)
    np.testing.assert_allclose(sums[1:], (X * r[:, None]).T @ (1 - S**2), atol=3e-14)


def test_every_value_is_worked_out_once_a_pass(monkeypatch):
    """So that time is linear in the particles, whatever fits into memory."""
    worked_out = []

    def counted(function):
        return lambda x, v, *rest: worked_out.append(len(v)) or function(x, v, *rest)

    for name in ("add_values", "add_values_and_slopes"):
        monkeypatch.setattr(neurons, name, counted(getattr(neurons, name)))
    n = 3
    for k, N in ((1, 100), (1, 40_000), (2, 10_000)):
        X, V = np.ones((n, k)), np.ones((k, N))
        neurons.averages.py_func(X, V, V[0])
        assert sum(worked_out) == n * N
        worked_out.clear()
        neurons.pulled_back.py_func(X, V, X[:, 0])
        assert sum(worked_out) == n * N
        worked_out.clear()


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("bias", [False, True])
def test_memory_does_not_grow_with_the_samples(toy, activation, bias):
    m, peaks = 20_000, []
    u = np.random.default_rng(0).normal(size=(m, 2 + bias))
    for n in (20, 200):
        x = np.linspace(-1, 1, n)
        force = Force(toy.two_layer(x, np.sin(x), activation, bias=bias))
        tracemalloc.start()
        force(u, np.full(m, 1 / m))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2 * 8 * 200 * neurons.WIDTH  # far below 8 m n


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_few_and_many_inputs_agree(toy, activation):
    """An input that is always 0 changes the path and nothing else."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, FEW_INPUTS)), rng.normal(size=9)
    u, p = rng.normal(size=(700, 1 + FEW_INPUTS)), np.full(700, 1 / 700)
    few = Force(toy.two_layer(x, y, activation))(u, p)
    wider = np.column_stack([u, rng.normal(size=700)])
    many = Force(toy.two_layer(np.column_stack([x, 0 * y]), y, activation))(wider, p)
    np.testing.assert_allclose(few.prediction, many.prediction, atol=1e-15)
    np.testing.assert_allclose(few.gradient, many.gradient[:, :-1], atol=1e-15)


def test_sigmoid_is_half_of_one_and_a_tanh(toy):
    x, y = np.array([0.7]), np.array([0.2])
    u = np.array([[1.3, -0.4]])
    response = Force(toy.two_layer(x, y, "sigmoid"))(u, np.ones(1))
    s = special.expit(-0.28)
    assert response.prediction[0] == pytest.approx(1.3 * s, rel=1e-15)
    r = 1.3 * s - 0.2
    np.testing.assert_allclose(
        response.gradient, [[r * s, r * 1.3 * s * (1 - s) * 0.7]], rtol=1e-14
    )
