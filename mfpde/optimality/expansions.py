"""Taylor expansions of activations and kernels, with bounds of what they leave out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfpde.problems.activations import (
    Activation,
    cos,
    erf,
    identity,
    quadratic,
    sigmoid,
    softplus,
    tanh,
)
from mfpde.problems.problem import Array, Problem
from mfpde.problems.spikes import Kernel, kernel_of

# sup |σ''| and sup |σ'''|, attained: with t = tanh z, tanh'' = −2t(1 − t²) at t² = 1/3 and
# tanh''' = −2(1 − t²)(1 − 3t²) at 0; sigmoid(z) = (1 + tanh(z/2))/2; softplus' = sigmoid;
# erf'' at z² = 1/2 and erf''' at 0.
STEEPEST: dict[Activation, tuple[float, float]] = {
    identity: (0.0, 0.0),
    quadratic: (2.0, 0.0),
    cos: (1.0, 1.0),
    tanh: (4 / 27**0.5, 2.0),
    sigmoid: (1 / (6 * 3**0.5), 1 / 8),
    softplus: (1 / 4, 1 / (6 * 3**0.5)),
    erf: ((8 / (np.pi * np.e)) ** 0.5, 4 / np.pi**0.5),
}


@dataclass(frozen=True)
class Expansion:
    """σ(z + t) = σ(z) + σ'(z) t + σ''(z) t²/2 up to a remainder bounded for all |t| <= reach.

    Piecewise linear activations are Σ_j jump_j (z − kink_j)₊ and a straight line, exactly.

    Attributes:
        activation: σ, smooth with known bounds or piecewise linear; or a kernel ψ.
        bends, twists: sup |σ''| and sup |σ'''|; 0 where piecewise linear.
        jumps: of σ' at every kink, (m,); empty where smooth.
    """

    activation: Activation | Kernel
    bends: float
    twists: float
    jumps: Array

    @property
    def kinks(self) -> Array:
        """Where σ' jumps, (m,)."""
        return np.array(getattr(self.activation, "kinks", ()))

    def slope(self, z: Array) -> Array:
        """σ'(z), at kinks the left one."""
        assert self.activation.slope is not None
        return self.activation.slope(np.nextafter(z, -np.inf) if len(self.jumps) else z)

    def curvature(self, z: Array) -> Array:
        """σ''(z), between kinks."""
        if self.activation.curvature is None or len(self.jumps):
            return np.zeros_like(z)
        return self.activation.curvature(z)

    def remainder(self, reach: Array) -> Array:
        """A bound of the smooth remainder over |t| <= reach, elementwise; jumps are left out."""
        return np.minimum(self.twists * reach**3 / 6, self.bends * reach**2)


def expansion(activation: Activation) -> Expansion | None:
    """The expansion of an activation; None where its derivatives have no known bounds."""
    if activation in STEEPEST:
        return Expansion(activation, *STEEPEST[activation], jumps=np.empty(0))
    if activation.is_piecewise_linear and activation.slope is not None:
        kinks = np.array(activation.kinks)
        right, left = np.nextafter(kinks, np.inf), np.nextafter(kinks, -np.inf)
        return Expansion(activation, 0.0, 0.0, activation.slope(right) - activation.slope(left))
    return None


@dataclass(frozen=True)
class Ridges:
    """Features σ(v·x_i + b_i) of one σ.

    Attributes:
        series: the expansion of σ.
        directions: x (n, k).
        offsets: b (n,).
    """

    series: Expansion
    directions: Array
    offsets: Array


def ridges_of(problem: Problem) -> Ridges | None:
    """A problem's features as ridge functions with known expansions, None for others."""
    kernel = kernel_of(problem)
    if kernel is not None:
        series = Expansion(kernel, kernel.steepest(2), kernel.steepest(3), jumps=np.empty(0))
        return Ridges(series, np.ones((len(problem.x), 1)), -problem.x)
    known = None if problem.activation is None else expansion(problem.activation)
    return None if known is None else Ridges(known, problem.directions, np.zeros(len(problem.y)))
