"""The force on every particle of a cloud, −∇V: the only file that spells the chain rule.

    f_i = Σ_j p_j a_j ψ_i(v_j)        V(a, v) = a Σ_i r_i ψ_i(v) + reg(a, v),   r = risk'(f)
    ∂_a V = r·ψ(v) + ∂_a reg          ∂_v V = a r·∇ψ(v) + ∂_v reg

(Chizat & Bach 2018, §2, in the time u_j' = −∇V(u_j), so that a particle's weight does not enter
its own velocity.) Features without an output weight have a ≡ 1 and no first line. Networks of tanh
or sigmoid on few inputs are summed by :mod:`~particle_ref.neurons`. All other sums over particles
run in blocks that stay in the cache, and their features are kept between the two passes only while
they fit in KEPT_BYTES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from particle_ref.activations import SLOPE_OF_VALUE
from particle_ref.errors import InvalidInput
from particle_ref.kinks import has_kinks
from particle_ref.neurons import averages, pulled_back, tanh_in_place
from particle_ref.problem import (
    Activation,
    Array,
    FeatureProblem,
    KernelProblem,
    Loss,
    Map,
    Problem,
)

BLOCK_BYTES = 2**21  # of the features of one block
KEPT_BYTES = 7 * 2**23  # of the features of all particles; beyond, they are worked out twice

FEW_INPUTS = 2  # a bias counts; with more, matrix products pay
# σ(z) = α + β tanh(γz): α, β and γ. To 1e-16 of 1: what is left of a sigmoid at z < −37 is lost.
BY_TANH: dict[Map, tuple[float, float, float]] = {
    np.tanh: (0.0, 1.0, 1.0),
    special.expit: (0.5, 0.5, 0.5),
}

# An array above glibc's threshold goes back to the system when freed, and the page faults of the
# next one cost more than its arithmetic. The threshold follows the largest array freed so far, up
# to 2^25 bytes; this one is never touched and costs nothing. Twice as much free at the heap's end
# goes back too: what is kept between the passes must stay below 2^26 bytes.
np.empty(2**25 - 2**16, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Response:
    """What a cloud predicts, and how the data answer."""

    prediction: Array  # (n,) f_ρ at the samples; (0,) if the problem has none
    risk: float
    gradient: Array  # (N, D) of V at the particles, the penalty's part left out


RiskForce = Callable[[Array, Array], Response]  # position (N, D), weight (N,) -> response
Pullback = Callable[[Array], Array]  # r (n,) -> Σ_i r_i ∇ψ_i, (N, k)
Features = Callable[[Array], tuple[Array, Pullback]]  # (N, k) -> ψ as (n, N), and its pullback


class Force:
    """Position (N, D) and weight (N,) of a cloud -> its :class:`Response`; and its velocity.

    Raises InvalidInput when the problem's features or kernel come without their gradients, or a
    penalty with kinks without its proximal map.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.penalty = problem, problem.penalty
        kinks = has_kinks(problem.penalty, len(problem.coords))
        self.prox = problem.penalty.prox if kinks else None  # of the penalty, where it is needed
        if kinks and self.prox is None:
            raise InvalidInput(
                f"particles cannot move under the penalty {problem.penalty!r}",
                "it has kinks and no proximal map; steps along its gradient only chatter across",
                "a penalty with prox (ridge, total_variation, their sums), or solve for the "
                "density: mf.solve(problem, grid, mf.muscl())",
            )
        self._respond = risk_force(problem)

    def __call__(self, position: Array, weight: Array) -> Response:
        """Prediction, risk and its force, the penalty left out."""
        return self._respond(position, weight)

    def velocity(self, position: Array, weight: Array) -> Array:
        """−∇V at the particles, (N, D), penalty included."""
        return -(self(position, weight).gradient + self.penalty.gradient(position))

    def energy(self, position: Array, weight: Array, risk: float) -> float:
        """Risk + ∫reg dρ; particles have no entropy."""
        return float(risk + weight @ self.penalty.value(position))


def risk_force(problem: Problem) -> RiskForce:
    """The force without the penalty, through the features or the kernel of the problem."""
    if isinstance(problem, KernelProblem):
        return _kernel_force(problem)
    if isinstance(problem, FeatureProblem):
        if problem.activation is not None and problem.inputs is not None:
            X = _with_ones(problem.inputs, problem.bias)
            if problem.activation.value in BY_TANH and X.shape[1] <= FEW_INPUTS:
                return tanh_force(X, problem.activation.value, problem.loss, problem.lifted)
        return feature_force(*_features(problem), problem.loss, problem.lifted)
    asked = {name for name in dir(FeatureProblem) if not name.startswith("_")}
    raise InvalidInput(
        f"particles cannot read the problem {problem!r}",
        f"it lacks {sorted(name for name in asked if not hasattr(problem, name))}",
        "see particle_ref.problem for what is asked of a problem",
    )


def feature_force(psi: Features, width: int, loss: Loss, lifted: bool) -> RiskForce:
    """The force of features ψ that take ``width`` numbers a particle; Φ = aψ if ``lifted``."""

    def respond(position: Array, weight: Array) -> Response:
        a = position[:, 0] if lifted else np.ones(len(position))
        v = position[:, 1:] if lifted else position
        mass = weight * a
        blocks = _blocks(len(position), width)

        def evaluate() -> Iterator[tuple[Array, Pullback]]:
            return (psi(v[b]) for b in blocks)

        kept = list(evaluate()) if 8 * width * len(position) <= KEPT_BYTES else None
        terms = [S @ mass[b] for b, (S, _) in zip(blocks, kept or evaluate(), strict=True)]
        f = np.sum(terms, axis=0)
        r = loss.slope(f)
        gradient = np.empty_like(position)
        for b, (S, pull) in zip(blocks, kept or evaluate(), strict=True):
            if lifted:
                gradient[b, 0] = r @ S
            np.multiply(a[b, None], pull(r), out=gradient[b, int(lifted) :])
        return Response(f, loss.risk(f), gradient)

    return respond


def tanh_force(X: Array, value: Map, loss: Loss, lifted: bool) -> RiskForce:
    """The force of σ(w·x), x the rows of X (n, k), for σ in BY_TANH; Φ = aσ if ``lifted``."""
    offset, gain, stretch = BY_TANH[value]
    X = np.ascontiguousarray(stretch * X)

    def respond(position: Array, weight: Array) -> Response:
        u = np.ascontiguousarray(position.T)
        a, v = (u[0], u[1:]) if lifted else (np.ones(len(weight)), u)
        mass = weight * a
        f = averages(X, v, gain * mass) + offset * mass.sum()
        r = loss.slope(f)
        sums = pulled_back(X, v, gain * r)
        sums[0] += offset * r.sum()
        sums[1:] *= a
        gradient = np.ascontiguousarray(sums[int(not lifted) :].T)
        return Response(f, loss.risk(f), gradient)

    return respond


def _with_ones(inputs: Array, bias: bool) -> Array:
    return np.column_stack([inputs, np.ones(len(inputs))]) if bias else inputs


def _features(problem: FeatureProblem) -> tuple[Features, int]:
    """ψ with its pullback, and how many numbers one particle takes."""
    if problem.activation is not None and problem.inputs is not None:
        return layer(problem.inputs, problem.activation, problem.bias)
    phi, dphi = problem.phi, problem.dphi
    if dphi is None:
        raise _no_gradient("the features phi have no gradient dphi", "dphi=...")

    def psi(v: Array) -> tuple[Array, Pullback]:
        return phi(v).T, lambda r: r @ dphi(v)

    return psi, len(problem.y) * (1 + len(problem.coords) - int(problem.lifted))


def layer(inputs: Array, activation: Activation, bias: bool = False) -> tuple[Features, int]:
    """ψ_i(w[, b]) = σ(w·x_i [+ b]) at inputs (n, d), by matrix products; and its width."""
    X = _with_ones(inputs, bias)
    value, slope = activation.value, activation.slope
    if slope is None:
        raise _no_gradient(f"the activation {activation!r} has no slope", "slope=...")
    slope_of_value = SLOPE_OF_VALUE.get(value)
    rank_one = X.shape[1] == 1  # then a broadcast product takes half the time of BLAS

    def psi(v: Array) -> tuple[Array, Pullback]:
        z = X * np.ascontiguousarray(v.T) if rank_one else X @ v.T
        if slope_of_value is None:
            return value(z), lambda r: ((r[:, None] * X).T @ slope(z)).T
        if value is np.tanh:
            tanh_in_place(z)
        else:
            value(z, out=z)  # type: ignore[call-arg]  # a ufunc of the table
        return z, lambda r: ((r[:, None] * X).T @ slope_of_value(z)).T

    return psi, len(X) * (1 if slope_of_value else 2)


def _kernel_force(problem: KernelProblem) -> RiskForce:
    K, F, dK, dF = problem.K, problem.F, problem.dK, problem.dF
    if dK is None or dF is None:
        missing = "dK" if dK is None else "dF"
        raise _no_gradient(f"the kernel problem has no {missing}", f"{missing}=...")

    def respond(position: Array, weight: Array) -> Response:
        N, D = position.shape
        pull = np.empty(N)  # ∫K(u_j, v)ρ(dv)
        gradient = -dF(position)
        for b in _blocks(N, N * D):
            pull[b] = K(position[b], position) @ weight
            gradient[b] += weight @ dK(position[b], position)
        risk = weight @ (pull / 2 - F(position)) + problem.const
        return Response(np.empty(0), float(risk), gradient)

    return respond


def _blocks(particles: int, width: int) -> list[slice]:
    size = max(1, BLOCK_BYTES // (8 * width))
    return [slice(start, start + size) for start in range(0, particles, size)]


def _no_gradient(what: str, part: str) -> InvalidInput:
    return InvalidInput(
        what,
        "particles move along the gradient of the potential",
        f"give the problem {part}, or solve for the density with a flux method, which needs none",
    )
