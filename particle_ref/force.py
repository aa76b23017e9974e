"""The force on every particle of a cloud, −∇V: the only file that spells the chain rule.

    f_i = Σ_j p_j a_j ψ_i(v_j)        V(a, v) = a Σ_i r_i ψ_i(v) + reg(a, v),   r = risk'(f)
    ∂_a V = r·ψ(v) + ∂_a reg          ∂_v V = a r·∇ψ(v) + ∂_v reg

(Chizat & Bach 2018, §2.2, in the time u_j' = −∇V(u_j), so that a particle's weight does not enter
its own velocity.) Features without an output weight have a ≡ 1 and no first line. The sums over
particles run in blocks that stay in the cache, and the features are kept between the two passes
only while they fit in KEPT_BYTES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from particle_ref.activations import SLOPE_OF_VALUE
from particle_ref.errors import InvalidInput
from particle_ref.kinks import has_kinks
from particle_ref.problem import Array, FeatureProblem, KernelProblem, Problem

BLOCK_BYTES = 2**20  # of one intermediate array of a block
KEPT_BYTES = 2**27  # of all features of all particles; beyond, they are worked out twice

# glibc hands every array larger than the largest it has seen freed back to the system, and page
# faults then cost more than the arithmetic. This one is never touched: it costs nothing itself.
np.empty(2**25 - 2**12, dtype=np.uint8)


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

    Raises InvalidInput when the problem's features or kernel come without their gradients.
    """

    def __init__(self, problem: Problem) -> None:
        self.penalty = problem.penalty
        self.penalty_has_kinks = has_kinks(problem.penalty, len(problem.coords))
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
        return _feature_force(problem)
    asked = {name for name in dir(FeatureProblem) if not name.startswith("_")}
    raise InvalidInput(
        f"particles cannot read the problem {problem!r}",
        f"it lacks {sorted(name for name in asked if not hasattr(problem, name))}",
        "see particle_ref.problem for what is asked of a problem",
    )


def _feature_force(problem: FeatureProblem) -> RiskForce:
    psi, width = _features(problem)
    loss, lifted = problem.loss, problem.lifted

    def respond(position: Array, weight: Array) -> Response:
        a = position[:, 0] if lifted else np.ones(len(position))
        v = position[:, 1:] if lifted else position
        blocks = _blocks(len(position), width)

        def evaluate() -> Iterator[tuple[Array, Pullback]]:
            return (psi(v[b]) for b in blocks)

        kept = list(evaluate()) if 8 * width * len(position) <= KEPT_BYTES else None

        mass = weight * a
        f = sum(S @ mass[b] for b, (S, _) in zip(blocks, kept or evaluate(), strict=True))
        r = loss.slope(f)
        gradient = np.empty_like(position)
        for b, (S, pull) in zip(blocks, kept or evaluate(), strict=True):
            if lifted:
                gradient[b, 0] = r @ S
                gradient[b, 1:] = a[b, None] * pull(r)
            else:
                gradient[b] = pull(r)
        return Response(f, loss.risk(f), gradient)

    return respond


def _features(problem: FeatureProblem) -> tuple[Features, int]:
    """ψ with its pullback, and how many numbers one particle takes."""
    if problem.activation is not None and problem.inputs is not None:
        return _layer(problem)
    phi, dphi = problem.phi, problem.dphi
    if dphi is None:
        raise _no_gradient("the features phi have no gradient dphi", "dphi=...")

    def psi(v: Array) -> tuple[Array, Pullback]:
        return phi(v).T, lambda r: r @ dphi(v)

    samples = len(problem.y)
    return psi, samples * (1 + len(problem.coords) - problem.lifted)


def _layer(problem: FeatureProblem) -> tuple[Features, int]:
    """ψ_i(w[, b]) = σ(w·x_i [+ b]), by matrix products."""
    ones = np.ones((len(problem.inputs), 1))
    X = np.hstack([problem.inputs, ones]) if problem.bias else problem.inputs
    product = np.multiply if X.shape[1] == 1 else np.matmul  # a product of rank 1 is faster so
    value, slope = problem.activation.value, problem.activation.slope
    if slope is None:
        raise _no_gradient(f"the activation {problem.activation!r} has no slope", "slope=...")
    slope_of_value = SLOPE_OF_VALUE.get(value)

    def psi(v: Array) -> tuple[Array, Pullback]:
        z = product(X, np.ascontiguousarray(v).T)
        S = value(z)
        if slope_of_value is not None:
            return S, lambda r: slope_of_value(S).T @ (r[:, None] * X)
        return S, lambda r: slope(z).T @ (r[:, None] * X)

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
