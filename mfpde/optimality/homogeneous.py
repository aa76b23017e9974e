"""Positively homogeneous networks: the convex problem behind them, and lower bounds by its dual.

**On the sphere.** σ is positively homogeneous (relu, leaky_relu, identity, |·|), the network is
lifted, and reg is a ridge with μ_a > 0 on a and μ_k > 0 on the weights w_k (a bias counts as one),
or the path norm s|a||w|. With the norm |w|_μ = (Σ μ_k w_k²)^½ of the weights,

    μ_a a²/2 + |w|_μ²/2  ≥  √μ_a |a| |w|_μ,   with equality where √μ_a |a| = |w|_μ,

so with ν = ∫ a |w|_μ δ_{w/|w|_μ} dρ, a signed measure on the sphere |w|_μ = 1, and α = √μ_a
(which for one μ is ν = ∫ a|w| δ_{w/|w|} dρ on |w| = 1 and α = μ; α = s for the path norm)

    F(ρ)  ≥  P(ν) = Σ_i p_i ℓ(∫σ(w·x_i) dν, y_i) + α |ν|_TV.

Every ν comes from a probability measure with equality: spread masses m_k at w_k over neurons of
probability |m_k|/Σ|m|, all balanced. So the infima are the same, and what bounds P from below
bounds F over **all probability measures on R × R^k**, nonnegative measures of any mass included.

**On a set Θ.** With reg = s|a| and the other coordinates in Θ, ν = ∫ a δ_v dρ and α = s do the
same for any features: F(ρ) ≥ P(ν) over all probability measures on R × Θ, with equal infima.

**The dual.** R(f) ≥ Σ p_i (u_i f_i − ℓ*(u_i)) for every u, and so P ≥ D(u) = −Σ p_i ℓ*(u_i; y_i)
wherever sup |Σ p_i u_i ψ_i| ≤ α. A prediction f offers the responses u = τ ℓ'(f) with
0 ≤ τ ≤ α / sup|g|, g = Σ p_i ℓ'(f_i, y_i) ψ_i, and ν is optimal if and only if sup |g| ≤ α with
g = −α sign ν on its support: then τ = 1, and D = P (Chizat & Bach, arXiv:1805.09545, §3; Denoyelle
et al., arXiv:1811.06416, §2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from mfpde.errors import InvalidInput
from mfpde.optimality.sectors import Fan, Supremum, supremum
from mfpde.problems.activations import Activation, identity
from mfpde.problems.losses import BoundLoss, square
from mfpde.problems.penalties import Penalty, Shrinkage, path_norm
from mfpde.problems.problem import Array, Problem

FARTHEST = 4.0
"""Responses τ ℓ'(f) are tried up to here: near an optimum the best τ is 1."""
GOLDEN = (5**0.5 - 1) / 2
SECTIONS = 60


@dataclass(frozen=True)
class Sphere:
    """A homogeneous problem as one for signed measures on the sphere |w|_μ = 1.

    Attributes:
        loss: the loss bound to its data.
        fan: features of points of the unit sphere, w̃_k = √μ_k w_k.
        alpha: the weight of |ν|_TV.
        scales: √μ_k (k,), from weights to w̃.
        balance: √μ_a: neurons are balanced where balance·|a| = |w̃|.
    """

    loss: BoundLoss
    fan: Fan
    alpha: float
    scales: Array
    balance: float

    def supremum(self, slope: Array) -> Supremum:
        """sup |g| over the sphere for a slope p_i ℓ'_i (n,)."""
        return supremum(self.fan, slope)

    def neurons(self, directions: Array, masses: Array) -> tuple[Array, Array]:
        """Balanced neurons (K, 1+k) and their probabilities that make Σ m_k δ_{w̃_k}.

        Without any mass: one neuron at 0.
        """
        total = float(np.abs(masses).sum())
        if total == 0:
            return np.zeros((1, 1 + directions.shape[1])), np.ones(1)
        size = np.sqrt(total * self.balance)  # |w̃| of all, with |a| = size/balance
        a = np.sign(masses) * size / self.balance
        return np.column_stack([a, size * directions / self.scales]), np.abs(masses) / total


def sphere_of(problem: Problem) -> Sphere | None:
    """The problem on the sphere, or None where it has no such form."""
    if not (isinstance(problem, Problem) and problem.lifted and problem.entropy == 0):
        return None
    if problem.activation is None or any(g.kind != "line" for g in problem.domain.values()):
        return None
    sides, weighing = homogeneous_sides(problem.activation), weighed(problem.penalty, problem)
    if sides is None or weighing is None:
        return None
    alpha, balance, scales = weighing
    fan = Fan(problem.directions / scales, *sides)
    return Sphere(problem.loss, fan, alpha, scales, balance)


def reduced(problem: Problem) -> Sphere:
    """The problem on the sphere. Raises InvalidInput where it has no such form."""
    sphere = sphere_of(problem)
    if sphere is None:
        raise InvalidInput(
            f"{problem!r} with the penalty {problem.penalty} has no form on the sphere",
            "that takes λ = 0, neurons a σ(w·x) on lines with σ linear on both sides of 0, and a "
            "ridge on all coordinates or a path norm",
            "mf.relu with mf.ridge(mu) or mf.path_norm(s)",
        )
    return sphere


def homogeneous_sides(activation: Activation) -> tuple[float, float] | None:
    """σ(z)/z for z > 0 and for z < 0, or None where σ is not positively homogeneous.

    It is where a piecewise linear one has its only kink at 0.
    """
    at = activation.value(np.array([-1.0, 0.0, 1.0]))
    piecewise = activation is identity or (
        activation.kinks == (0.0,) and activation.is_piecewise_linear
    )
    return (float(at[2]), float(-at[0])) if piecewise and at[1] == 0 else None


def weighed(penalty: Penalty, problem: Problem) -> tuple[float, float, Array] | None:
    """α, √μ_a and √μ_k (k,) of a ridge or of a path norm, None for other penalties."""
    k = problem.dimension - 1
    if isinstance(penalty.prox, Shrinkage) and penalty.prox.s == 0:
        mu = np.broadcast_to(np.asarray(penalty.prox.mu, dtype=float), k + 1)
        balance = float(np.sqrt(mu[0]))
        return (balance, balance, np.sqrt(mu[1:])) if (mu > 0).all() else None
    s = strength(penalty, path_norm(1.0))
    return (s, 1.0, np.ones(k)) if s else None


def only_output_weights(penalty: Penalty) -> float | None:
    """s of the penalty s|a|, None for others."""
    shrinkage = penalty.prox
    if isinstance(shrinkage, Shrinkage) and shrinkage.s > 0 and not np.any(shrinkage.mu):
        return shrinkage.s
    return None


def strength(penalty: Penalty, kind: Penalty) -> float | None:
    """s of a penalty s·(…) of the same kind as another one, None for other penalties."""
    value, same = penalty.value, kind.value
    if not (isinstance(value, partial) and isinstance(same, partial) and value.func is same.func):
        return None
    return float(value.args[0])


def dual_bound(loss: BoundLoss, residual: Array, alpha: float, sup: float) -> float:
    """max over τ of D(τ r) = −Σ p_i ℓ*(τ r_i; y_i), with τ ≥ 0 and τ sup ≤ α.

    A closed form for the square loss; for others D is concave in τ and the maximum is enclosed by
    golden sections. D at any τ in between is a lower bound too, so nothing rests on how sharp the
    search was.
    """
    longest = min(FARTHEST, alpha / sup) if sup * FARTHEST > alpha else FARTHEST

    def D(tau: float) -> float:
        return -loss.conjugate(tau * residual)

    if loss.loss is square:
        size = float(loss.weights @ residual**2)
        along = -float(loss.weights @ (residual * loss.y))
        return D(min(max(along, 0.0), longest * size) / size) if size > 0 else D(0.0)
    low, high = 0.0, longest
    for _ in range(SECTIONS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (left, high) if D(left) < D(right) else (low, right)
    return max(D(0.0), D(low), D(high), D(longest))
