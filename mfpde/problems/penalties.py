"""Penalties: the function reg of a neuron, acting on all its coordinates.

Points have shape (N, D) with the coordinates in the problem's order: the output weight a comes
first where there is one, and a bias counts as a weight. Penalties add with ``+``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfpde.arguments import number, numbers, shown
from mfpde.errors import InvalidInput

Array = NDArray[np.float64]
Strengths: TypeAlias = float | tuple[float, ...]  # one for all coordinates, or one for each

WITHOUT = "leave penalty out for none, or mf.no_penalty"


def _nowhere(dimension: int) -> tuple[bool, ...]:
    return (False,) * dimension


@dataclass(frozen=True, repr=False)
class Penalty:
    """reg(θ), its gradient, and its proximal map where that is known.

    At a kink the gradient of the kinked factor counts as 0, as the sign of 0 does.
    """

    value: Callable[[Array], Array]  # reg: (N, D) -> (N,)
    gradient: Callable[[Array], Array]  # ∇reg: (N, D) -> (N, D)
    # argmin_q reg(q) + |q − θ|²/(2 step): (N, D), step > 0 -> (N, D)
    prox: Callable[[Array, float], Array] | None = None
    name: str = "user"  # how it is called in records and messages
    # D -> (D,): does reg grow to infinity along each coordinate axis, whatever the others are?
    confines: Callable[[int], tuple[bool, ...]] = _nowhere
    needs_output_weight: bool = False  # is the first coordinate, for reg, an output weight a?

    def __add__(self, other: Penalty) -> Penalty:
        """The sum; its proximal map is known for sums of ridge and total_variation alone.

        Raises InvalidInput for ridges of different numbers of strengths.
        """
        if not isinstance(other, Penalty):
            return NotImplemented
        if other == no_penalty:
            return self
        if self == no_penalty:
            return other
        shrink = isinstance(self.prox, Shrinkage) and isinstance(other.prox, Shrinkage)
        return Penalty(
            partial(_sum, self.value, other.value),
            partial(_sum, self.gradient, other.gradient),
            self.prox + other.prox if shrink else None,  # type: ignore[operator]
            f"{self.name} + {other.name}",
            partial(_either, self.confines, other.confines),
            self.needs_output_weight or other.needs_output_weight,
        )

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Shrinkage:
    """The proximal map of Σ_k μ_k θ_k²/2 + s|θ_1|, a family closed under addition.

    For k = 1 the root q of q + step (μ_k q + s sign q) = θ_k, q = soft(θ_k, step s)/(1 + step μ_k);
    for the others the same with s = 0.
    """

    mu: Strengths = 0.0
    s: float = 0.0

    def __call__(self, points: Array, step: float) -> Array:
        """argmin_q Σ μ_k q_k²/2 + s|q_1| + |q − θ|²/(2 step) at points θ (N, D)."""
        soft, a = points.copy(), points[:, 0]
        soft[:, 0] = np.sign(a) * np.maximum(np.abs(a) - step * self.s, 0.0)
        return soft / (1 + step * _strengths(self.mu, points.shape[1]))

    def __add__(self, other: Shrinkage) -> Shrinkage:
        """The proximal map of the sum of the two penalties."""
        lengths = {len(mu) for mu in (self.mu, other.mu) if isinstance(mu, tuple)}
        if len(lengths) > 1:
            raise InvalidInput(
                f"ridges of {sorted(lengths)} strengths do not add",
                "a sequence of strengths holds one for each coordinate",
                "give them the same length, or one strength for all",
            )
        return Shrinkage(_plain(np.add(self.mu, other.mu)), self.s + other.s)


# Named functions, not lambdas: a problem must survive pickling on its way to another process.
def _sum(left: Callable[[Array], Array], right: Callable[[Array], Array], points: Array) -> Array:
    return left(points) + right(points)


def _either(
    left: Callable[[int], tuple[bool, ...]],
    right: Callable[[int], tuple[bool, ...]],
    dimension: int,
) -> tuple[bool, ...]:
    return tuple(a or b for a, b in zip(left(dimension), right(dimension), strict=True))


def _no_value(points: Array) -> Array:
    return np.zeros(len(points))


def _no_gradient(points: Array) -> Array:
    return np.zeros(points.shape)


def _no_prox(points: Array, step: float) -> Array:
    return points.copy()


no_penalty = Penalty(_no_value, _no_gradient, _no_prox, "no_penalty")


def _strengths(mu: Strengths, dimension: int) -> Array:
    if isinstance(mu, tuple) and len(mu) != dimension:
        raise InvalidInput(
            f"ridge has {len(mu)} strengths for {dimension} coordinates",
            "a sequence of strengths holds one for each coordinate, in the problem's order",
            f"give {dimension} numbers, or one for all",
        )
    return np.broadcast_to(np.asarray(mu, dtype=float), dimension)


def _plain(mu: Array) -> Strengths:
    return tuple(mu.tolist()) if mu.ndim else float(mu)


def _ridge(mu: Strengths, points: Array) -> Array:
    return points**2 @ _strengths(mu, points.shape[1]) / 2


def _ridge_gradient(mu: Strengths, points: Array) -> Array:
    return _strengths(mu, points.shape[1]) * points


def _ridge_confines(mu: Strengths, dimension: int) -> tuple[bool, ...]:
    return tuple(bool(m > 0) for m in _strengths(mu, dimension))


def ridge(mu: float | Sequence[float]) -> Penalty:
    """Σ_k μ_k θ_k²/2, with one ``mu`` >= 0 for all coordinates or one for each."""
    given = numbers("ridge's mu", mu)
    if given.ndim > 1 or given.size == 0 or not (np.isfinite(given) & (given >= 0)).all():
        raise InvalidInput(
            f"ridge({shown(mu)})",
            "strengths are finite numbers >= 0, one for all coordinates or one for each",
            WITHOUT,
        )
    m = _plain(given)
    return Penalty(
        partial(_ridge, m),
        partial(_ridge_gradient, m),
        Shrinkage(mu=m),
        f"ridge({m!r})",
        partial(_ridge_confines, m),
    )


def _total_variation(s: float, points: Array) -> Array:
    return s * np.abs(points[:, 0])


def _total_variation_gradient(s: float, points: Array) -> Array:
    gradient = np.zeros(points.shape)
    gradient[:, 0] = s * np.sign(points[:, 0])
    return gradient


def _along_first(s: float, dimension: int) -> tuple[bool, ...]:
    return (s > 0, *_nowhere(dimension - 1))


def total_variation(s: float) -> Penalty:
    """s |a| on the output weight a, s >= 0: the total variation of the signed measure ∫a dρ.

    Its gradient at a = 0 is 0; its proximal map is the soft threshold.
    """
    s = _strength(s, "total_variation")
    return Penalty(
        partial(_total_variation, s),
        partial(_total_variation_gradient, s),
        Shrinkage(s=s),
        f"total_variation({s!r})",
        partial(_along_first, s),
        needs_output_weight=True,
    )


def _path_norm(s: float, points: Array) -> Array:
    return s * np.abs(points[:, 0]) * np.linalg.norm(points[:, 1:], axis=1)


def _path_norm_gradient(s: float, points: Array) -> Array:
    a, w = points[:, :1], points[:, 1:]
    size = np.linalg.norm(w, axis=1, keepdims=True)
    direction = np.divide(w, size, out=np.zeros(w.shape), where=size > 0)
    return s * np.hstack([np.sign(a) * size, np.abs(a) * direction])


def path_norm(s: float) -> Penalty:
    """s |a| |w|, s >= 0, with a the output weight and w all other coordinates (bias included).

    Gradient 0 at the kinks a = 0 and w = 0. Not convex, no proximal map, and it confines no
    coordinate: a runs free where w = 0.
    """
    s = _strength(s, "path_norm")
    return Penalty(
        partial(_path_norm, s),
        partial(_path_norm_gradient, s),
        name=f"path_norm({s!r})",
        needs_output_weight=True,
    )


def _strength(s: float, name: str) -> float:
    strength = number(s)
    if not 0 <= strength < np.inf:
        raise InvalidInput(f"{name}({shown(s)})", "a strength is a finite number >= 0", WITHOUT)
    return strength
