"""The activations of :class:`~particle_ref.network.MeanFieldTwoLayerNN`, each with its slope.

At the kink of ReLU the slope is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from particle_ref.neurons import slope_of_tanh
from particle_ref.problem import Array, Map


@dataclass(frozen=True)
class Nonlinearity:
    """σ and σ', elementwise on arrays of any shape."""

    value: Map
    slope: Map


def _sigmoid_slope_of_value(s: Array) -> Array:
    return s * (1 - s)


# Where σ' is a cheap formula in σ, (n, N), it need not be worked out from z: half the time of tanh.
SLOPE_OF_VALUE: dict[Map, Map] = {
    np.tanh: slope_of_tanh,
    special.expit: _sigmoid_slope_of_value,
}


def _tanh_derivatives(s: Array) -> tuple[Array, Array, Array]:
    slope = s * s
    np.subtract(1, slope, out=slope)
    curvature = s * slope
    curvature *= -2
    return s, slope, curvature


def _sigmoid_derivatives(s: Array) -> tuple[Array, Array, Array]:
    slope = s * (1 - s)
    return s, slope, (1 - 2 * s) * slope


# Likewise σ, σ' and σ''.
DERIVATIVES_OF_VALUE: dict[Map, Callable[[Array], tuple[Array, Array, Array]]] = {
    np.tanh: _tanh_derivatives,
    special.expit: _sigmoid_derivatives,
}

ACTIVATIONS: dict[str, Nonlinearity] = {
    "relu": Nonlinearity(lambda z: np.maximum(z, 0.0), lambda z: (z > 0).astype(float)),
    "tanh": Nonlinearity(np.tanh, lambda z: 1 / np.cosh(np.clip(z, -350, 350)) ** 2),
    "sigmoid": Nonlinearity(special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "identity": Nonlinearity(np.positive, np.ones_like),
    "erf": Nonlinearity(special.erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-z * z)),
    "softplus": Nonlinearity(lambda z: np.logaddexp(0, z), special.expit),
    "cos": Nonlinearity(np.cos, lambda z: -np.sin(z)),
    "quadratic": Nonlinearity(np.square, lambda z: 2 * z),
}
