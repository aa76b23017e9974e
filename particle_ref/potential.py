"""The potential of a known prediction f, twice differentiated: what paths and densities follow.

    V(a, v) = a g(v) + reg(a, v)      g = Σ_i r_i ψ_i      r = risk'(f)
    ∇V = (g, a∇g) + ∇reg              ΔV = aΔg + Δreg

Along u' = −∇V a density obeys (log ρ)' = ΔV: the logarithm of the flow's Jacobian determinant
falls by the trace of V's Hessian. A feature without output weight has a ≡ 1, and ∂_a² V = 0.
Where force.py finds the force of a cloud on itself, f is given here and points are any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from particle_ref.activations import DERIVATIVES_OF_VALUE
from particle_ref.errors import InvalidInput
from particle_ref.problem import Activation, Array, FeatureProblem, KernelProblem, Penalty, Problem

Jet: TypeAlias = tuple[Array, Array, Array]  # g (N,), ∇g (N, k), Δg (N,)
FieldOf: TypeAlias = Callable[[Array, Array], Jet]  # v (N, k), r (n,) -> the jet of g there
SCALES = (1e-3, 1.0, 1e3)  # at which a penalty's gradient is looked at
AFFINE_TOLERANCE = 1e-11  # of a gradient from an affine map, relative


class Potential:
    """∇V (N, D) and ΔV (N,) at points (N, D), for a prediction f (n,) at the samples.

    Raises InvalidInput for a kernel problem, for features without second derivatives (ReLU), and
    for a penalty that is not quadratic.
    """

    def __init__(self, problem: Problem) -> None:
        if isinstance(problem, KernelProblem) or not isinstance(problem, FeatureProblem):
            raise InvalidInput(
                f"the density along paths is not known for {problem!r}",
                "it follows the Hessian of the features, and this problem is given by a kernel",
                "pose it by features on samples, or compare it with particles",
            )
        self.lifted, self.loss, self.penalty = problem.lifted, problem.loss, problem.penalty
        self.field = _layer(problem) or _features(problem)
        self.bend = float(np.trace(hessian(problem.penalty, len(problem.coords))))

    def __call__(self, position: Array, prediction: Array) -> tuple[Array, Array]:
        """∇V and ΔV, penalty included."""
        r, gradient = self.loss.slope(prediction), self.penalty.gradient(position)
        if not self.lifted:
            _, slope, bend = self.field(position, r)
            return gradient + slope, bend + self.bend
        a = position[:, 0]
        g, slope, bend = self.field(position[:, 1:], r)
        gradient = gradient + np.column_stack([g, a[:, None] * slope])
        return gradient, a * bend + self.bend


def _layer(problem: FeatureProblem) -> FieldOf | None:
    """g of a two-layer network, ψ_i = σ(x_i·v), by matrix products; None for other features."""
    if problem.activation is None or problem.inputs is None:
        return None
    inputs, sigma = problem.inputs, _derivatives(problem.activation)
    X = np.column_stack([inputs, np.ones(len(inputs))]) if problem.bias else inputs
    squares = (X**2).sum(axis=1)
    rank_one = X.shape[1] == 1  # then a broadcast product takes half the time of BLAS

    def field(v: Array, r: Array) -> Jet:
        z = X * np.ascontiguousarray(v.T) if rank_one else X @ v.T
        value, slope, curvature = sigma(z)
        return r @ value, slope.T @ (r[:, None] * X), (r * squares) @ curvature

    return field


def _derivatives(activation: Activation) -> Callable[[Array], tuple[Array, Array, Array]]:
    """z -> σ(z), σ'(z), σ''(z), from one evaluation of σ where formulas allow it."""
    value, slope = activation.value, activation.slope
    curvature = getattr(activation, "curvature", None)
    if (of_value := DERIVATIVES_OF_VALUE.get(value)) is not None:
        return lambda z: of_value(value(z))
    if slope is None or curvature is None:
        raise _not_smooth(
            f"the activation {activation!r} has no curvature",
            "Activation(value, slope, curvature); those with kinks have none",
        )
    return lambda z: (value(z), slope(z), curvature(z))


def _features(problem: FeatureProblem) -> FieldOf:
    """g of features that come with their gradient and Hessian."""
    phi, dphi, d2phi = problem.phi, problem.dphi, getattr(problem, "d2phi", None)
    if dphi is None or d2phi is None:
        missing = "gradient dphi" if dphi is None else "Hessian d2phi"
        raise _not_smooth(f"the features phi have no {missing}", "give the problem d2phi=…")

    def field(v: Array, r: Array) -> Jet:
        return phi(v) @ r, r @ dphi(v), np.einsum("jikk,i->j", d2phi(v), r)

    return field


def hessian(penalty: Penalty, dimension: int) -> Array:
    """Hess reg (D, D) of a quadratic penalty, from differences of its gradient, exact there.

    Raises InvalidInput for any other penalty.
    """
    zero = penalty.gradient(np.zeros((1, dimension)))
    second = penalty.gradient(np.eye(dimension)) - zero
    directions = np.cos(np.arange(1, 4 * dimension + 1) ** 2).reshape(-1, dimension)
    for scale in SCALES:
        probes = scale * directions
        gap = np.abs(penalty.gradient(probes) - (zero + probes @ second)).max()
        if not gap <= AFFINE_TOLERANCE * (np.abs(zero).max() + scale * np.abs(second).max()):
            raise InvalidInput(
                f"what neighbouring paths do is not known under the penalty {penalty!r}",
                "it takes the penalty's Hessian, which is known here for quadratic penalties "
                "alone, and at a kink there is none",
                "use a ridge, or compare with particles",
            )
    return second


def _not_smooth(what: str, fix: str) -> InvalidInput:
    return InvalidInput(
        what,
        "the density along a path changes by the second derivatives of the features, "
        "and jumps where these are infinite",
        fix,
    )
