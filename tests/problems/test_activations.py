"""Activations against their definitions, their differences, and the ends of the number line."""

import math
import pickle

import numpy as np
import pytest

import mfpde as mf
from mfpde.optimality.bounds import infimum
from mfpde.problems.activations import ACTIVATIONS, LEAK, Activation, heaviside, leaky_relu, relu

DEFINITIONS = {
    "identity": lambda z: z,
    "relu": lambda z: z if z > 0 else 0.0,
    "leaky_relu": lambda z: z if z > 0 else LEAK * z,
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "softplus": lambda z: math.log(1 + math.exp(z)),
    "erf": math.erf,
    "cos": math.cos,
    "quadratic": lambda z: z * z,
    "heaviside": lambda z: 1.0 if z > 0 else 0.0,
}
KINKED = {"relu", "leaky_relu", "heaviside"}
Z = np.linspace(-4, 4, 80)  # no node at the kinks


def difference(f, z, h=1e-3):
    """f'(z) to fourth order."""
    return (8 * (f(z + h) - f(z - h)) - (f(z + 2 * h) - f(z - 2 * h))) / (12 * h)


everyone = pytest.mark.parametrize("sigma", ACTIVATIONS.values(), ids=str)


@everyone
def test_value_is_the_definition(sigma):
    expected = [DEFINITIONS[sigma.name](z) for z in Z]
    np.testing.assert_allclose(sigma.value(Z), expected, rtol=1e-13, atol=1e-15)


@everyone
def test_derivatives_are_those_of_the_value(sigma):
    for function, derivative in [(sigma.value, sigma.slope), (sigma.slope, sigma.curvature)]:
        if derivative is not None:
            np.testing.assert_allclose(derivative(Z), difference(function, Z), atol=1e-10)


@everyone
def test_only_kinked_activations_lack_a_derivative(sigma):
    assert (sigma.curvature is None) == (sigma.name in KINKED)
    assert (sigma.slope is None) == (sigma.name == "heaviside")


@everyone
def test_far_out_everything_stays_a_number(sigma):
    z = np.linspace(-1e3, 1e3, 2001)
    for part in filter(None, (sigma.value, sigma.slope, sigma.curvature)):
        assert part(z).shape == z.shape
        assert np.isfinite(part(z)).all()


@everyone
def test_not_a_number_is_never_hidden(sigma):
    with np.errstate(invalid="ignore"):
        assert np.isnan(sigma.value(np.array([np.nan]))).all()


@everyone
def test_any_shape_and_no_alias(sigma):
    z = np.arange(6.0).reshape(2, 3)
    assert sigma.value(z).shape == (2, 3)
    assert not np.shares_memory(sigma.value(z), z)


@everyone
def test_survives_another_process(sigma):
    assert pickle.loads(pickle.dumps(sigma)) == sigma
    assert repr(sigma) == sigma.name


def test_the_convention_at_kinks_is_the_left_derivative():
    zero = np.zeros(1)
    assert relu.slope(zero) == heaviside.value(zero) == 0
    assert leaky_relu.slope(zero) == LEAK


@everyone
def test_between_kinks_the_slope_is_constant(sigma):
    """A piecewise linear σ lists where its slope jumps; σ is linear on either side, and smooth
    where nothing is listed."""
    if sigma.kinks:
        assert sigma.kinks == (0.0,)
        for side in (Z[Z > 0], Z[Z < 0]):
            assert np.ptp(sigma.slope(side)) == 0
        assert sigma.slope(Z[Z > 0])[0] != sigma.slope(Z[Z < 0])[0]
    elif sigma.slope is not None:
        beside = sigma.slope(np.array([-1e-9, 1e-9]))
        assert abs(beside[1] - beside[0]) < 1e-8


def test_users_activation_has_only_what_it_is_given():
    user = Activation(np.sin)
    assert (user.slope, user.curvature, repr(user)) == (None, None, "user")


def test_kinks_between_curves_make_nothing_piecewise_linear():
    """Bounds and exact steps rely on it."""
    squared = mf.Activation(
        lambda z: np.maximum(z, 0) ** 2, lambda z: 2 * np.maximum(z, 0), kinks=(0.0,)
    )
    assert not squared.is_piecewise_linear
    assert mf.Activation(np.abs, np.sign, kinks=(0.0,)).is_piecewise_linear
    assert mf.relu.is_piecewise_linear
    assert not mf.tanh.is_piecewise_linear
    problem = mf.two_layer([1.0, 2.0], [1.0, 0.0], squared, penalty=mf.ridge(0.1))
    least = infimum(problem, np.array([1.0, -1.0]), -3 * np.ones(2), 3 * np.ones(2))
    assert least.lower == -np.inf
    assert least.reason
