"""Clouds of weighted particles, and taking them from a problem's initial law."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from particle_ref.arguments import check_problem, generator, numbers, whole
from particle_ref.errors import InvalidInput
from particle_ref.problem import Array, Problem
from particle_ref.quadrature import gauss_of_size
from particle_ref.spaces import Space

MOST_PARTICLES = 10**9
WEIGHT_TOLERANCE = 1e-5  # of a sum from 1: a grid's cells lighter than rounding may be left out


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Cloud:
    """The measure Σ_j p_j δ_{u_j}: particles u_j with weights p_j. Read-only.

    Attributes:
        position: (N, D) the particles u_j, in the problem's order of coordinates.
        weight: (N,) their weights p_j ≥ 0, by default 1/N each. Their sum lies within 1e-5 of 1
            and is kept as given.
        log_density: (N,) log ρ(u_j) of the density they stand for, where a method carries it
            (−inf where there is none); else None.

    Raises InvalidInput for other shapes, values that are not finite, or other weights.
    """

    position: Array
    weight: Array
    log_density: Array | None

    def __init__(
        self,
        position: ArrayLike,
        weight: ArrayLike | None = None,
        log_density: ArrayLike | None = None,
    ) -> None:
        position = _finite("position", position)
        if position.ndim != 2 or 0 in position.shape:
            raise InvalidInput(
                f"position has shape {position.shape}",
                "a cloud is N ≥ 1 particles of D ≥ 1 coordinates",
                "give shape (N, D): position[:, None] where D = 1",
            )
        uniform = np.full(len(position), 1 / len(position))
        weight = uniform if weight is None else _finite("weight", weight)
        if weight.shape != (len(position),):
            raise InvalidInput(
                f"weight has shape {weight.shape}", f"there are {len(position)} particles"
            )
        if log_density is not None:
            log_density = numbers("log_density", log_density)
            if log_density.shape != (len(position),) or np.isnan(log_density).any():
                raise InvalidInput(
                    f"log_density has shape {log_density.shape}, or values that are no numbers",
                    f"there are {len(position)} particles, with one logarithm each",
                )
        with np.errstate(over="ignore"):  # a sum of inf is refused too
            total = weight.sum()
        if weight.min() < 0 or abs(total - 1) > WEIGHT_TOLERANCE:
            raise InvalidInput(
                f"the weights sum to {total:.9g}, the least is {weight.min():.3g}",
                "a cloud is a probability measure: weights ≥ 0 whose sum is 1 within 1e-5",
                "weight / weight.sum()",
            )
        parts = {"position": position, "weight": weight, "log_density": log_density}
        for name, value in parts.items():
            if value is not None:
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.position)

    def __repr__(self) -> str:
        return f"Cloud({len(self)} particles in {self.position.shape[1]} coordinates)"


def _finite(name: str, value: ArrayLike) -> Array:
    array = numbers(name, value)
    if not np.isfinite(array).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInput(f"{name}{list(first)} = {array[first]}", "every value must be finite")
    return array


def sample(
    problem: Problem,
    m: int,
    seed: int = 0,
    kind: Literal["iid", "sobol", "quadrature"] = "iid",
) -> Cloud:
    """A cloud that stands for ``problem.initial``: m particles of equal weight, or a Gauss rule.

    Args:
        problem: whose ``initial.from_uniform`` maps numbers in (0, 1)^D to points; for
            ``"quadrature"``, whose ``initial.nodes`` gives Gauss rules.
        m: how many particles; for ``"quadrature"`` the most there may be.
        seed: the same seed gives the same cloud; ``"quadrature"`` has none.
        kind: ``"iid"`` independent draws, for which averages are off by O(m^{-1/2}); ``"sobol"`` a
            scrambled Sobol' sequence, for which those of smooth functions are off by nearly
            O(1/m), best where m is a power of two; ``"quadrature"`` the law's own Gauss rule with
            its weights, with as many nodes k per coordinate as make no more than m in all (the
            largest k^D ≤ m for a product law; a point is a single node). Averages of polynomials
            of degree < 2k are then exact, and those of smooth features converge faster than any
            power of m, so long as the law is narrow against the features' own scale:
            :class:`~particle_ref.truth.Truth` chooses rules that suit wide laws too.

    Raises:
        InvalidInput: for another kind, m < 1, a law that leaves the problem's domain, or one that
            has no such rule.
    """
    check_problem(problem)
    if not whole(m, 1, MOST_PARTICLES):
        raise InvalidInput(
            f"m = {reprlib.repr(m)}",
            f"a cloud has 1 to {MOST_PARTICLES:.0e} particles, and whole ones",
        )
    law, space = problem.initial, Space(problem.coords, problem.domain)
    if isinstance(kind, str) and kind == "quadrature":
        nodes, weights = gauss_of_size(law, int(m))
        return Cloud(space.admit(nodes), weights)
    draw = {"iid": _iid, "sobol": _sobol}.get(kind if isinstance(kind, str) else "")
    if draw is None:
        raise InvalidInput(f"kind={kind!r}", "a sample is 'iid', 'sobol' or 'quadrature'")
    u = draw(int(m), len(problem.coords), generator(seed))
    return Cloud(space.admit(law.from_uniform(u)))


def _iid(m: int, dimension: int, rng: np.random.Generator) -> Array:
    # Midpoints of 2^52 equal cells: neither 0 nor 1, where inverse distributions are infinite.
    return (rng.integers(0, 2**52, (m, dimension)) + 0.5) / 2**52


def _sobol(m: int, dimension: int, rng: np.random.Generator) -> Array:
    from scipy.stats import qmc  # here alone, and late: it loads longer than all the rest

    bits = 52
    sequence = qmc.Sobol(dimension, scramble=True, bits=bits, rng=rng)
    return sequence.random_base2((m - 1).bit_length())[:m] + 0.5 / 2**bits
