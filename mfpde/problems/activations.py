"""Activations: the pointwise function σ of a neuron, with its first two derivatives.

At a kink the derivative is the left one: ``relu'(0) = 0``, ``leaky_relu'(0) = LEAK``, and
``heaviside(0) = 0``, so that heaviside is the slope of relu everywhere. A second derivative that
would hold a Dirac mass is left out, and so is the slope of heaviside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

LEAK = 0.01  # slope of leaky_relu on the negative side


@dataclass(frozen=True, repr=False)
class Activation:
    """σ and its derivatives, elementwise on arrays of any shape.

    Leave out what does not exist: methods that need a missing part refuse, the others work.
    """

    value: Callable[[Array], Array]  # σ: (...) -> (...)
    slope: Callable[[Array], Array] | None = None  # σ': (...) -> (...)
    curvature: Callable[[Array], Array] | None = None  # σ'': (...) -> (...)
    name: str = "user"  # how it is called in records and messages
    kinks: tuple[float, ...] = ()  # where the slope of a piecewise linear σ jumps; empty: smooth

    def __repr__(self) -> str:
        return self.name

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether there are kinks, and the slope is constant between them, as far as seen."""
        if self.slope is None or not self.kinks:
            return False
        ends = [-np.inf, *self.kinks, np.inf]
        z = np.concatenate([-np.logspace(2, -2, 40), np.logspace(-2, 2, 40)])
        pieces = [z[(z > low) & (z < high)] for low, high in pairwise(ends)]
        return all(np.ptp(self.slope(piece)) < 1e-12 for piece in pieces if piece.size)


# Named functions, not lambdas: a problem must survive pickling on its way to another process.
def _relu(z: Array) -> Array:
    return np.maximum(z, 0.0)


def _step(z: Array) -> Array:
    return np.heaviside(z, 0.0)


def _leaky_relu(z: Array) -> Array:
    return np.maximum(z, LEAK * z)


def _leaky_relu_slope(z: Array) -> Array:
    return LEAK + (1 - LEAK) * np.heaviside(z, 0.0)


def _tanh_slope(z: Array) -> Array:
    return 1 - np.tanh(z) ** 2


def _tanh_curvature(z: Array) -> Array:
    t = np.tanh(z)
    return -2 * t * (1 - t**2)


def _sigmoid_slope(z: Array) -> Array:
    return special.expit(z) * special.expit(-z)


def _sigmoid_curvature(z: Array) -> Array:
    return -_sigmoid_slope(z) * np.tanh(z / 2)


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _erf_slope(z: Array) -> Array:
    return 2 / np.sqrt(np.pi) * np.exp(-(z**2))


def _erf_curvature(z: Array) -> Array:
    return -2 * z * _erf_slope(z)


def _minus_sin(z: Array) -> Array:
    return -np.sin(z)


def _minus_cos(z: Array) -> Array:
    return -np.cos(z)


def _double(z: Array) -> Array:
    return 2.0 * z


def _zero(z: Array) -> Array:
    return np.zeros_like(z, dtype=float)


def _one(z: Array) -> Array:
    return np.ones_like(z, dtype=float)


def _two(z: Array) -> Array:
    return np.full_like(z, 2.0, dtype=float)


identity = Activation(np.positive, _one, _zero, "identity")
relu = Activation(_relu, _step, name="relu", kinks=(0.0,))
leaky_relu = Activation(_leaky_relu, _leaky_relu_slope, name="leaky_relu", kinks=(0.0,))
tanh = Activation(np.tanh, _tanh_slope, _tanh_curvature, "tanh")
sigmoid = Activation(special.expit, _sigmoid_slope, _sigmoid_curvature, "sigmoid")
softplus = Activation(_softplus, special.expit, _sigmoid_slope, "softplus")
erf = Activation(special.erf, _erf_slope, _erf_curvature, "erf")
cos = Activation(np.cos, _minus_sin, _minus_cos, "cos")
quadratic = Activation(np.square, _double, _two, "quadratic")
heaviside = Activation(_step, name="heaviside")

ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        identity,
        relu,
        leaky_relu,
        tanh,
        sigmoid,
        softplus,
        erf,
        cos,
        quadratic,
        heaviside,
    )
}
