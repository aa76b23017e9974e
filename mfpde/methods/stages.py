"""Strong-stability-preserving Runge–Kutta steps: convex means of forward Euler steps E.

    u_1 = E(ρ),   u_{i+1} = (1 − w_i) ρ + w_i E(u_i),   ρ' the last

(Shu & Osher, J. Comput. Phys. 77 (1988), eqs. 2.16 and 2.18). What E keeps, sign and bounds, they
keep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.methods.step import Step
from mfpde.problems.problem import Array

Euler = Callable[[Array, Field, float], Step]

AT_ONCE: tuple[float, ...] = ()  # no step: the density as it is
EULER = (1.0,)  # order 1
HEUN = (1.0, 0.5)  # order 2
SSPRK3 = (1.0, 0.25, 2.0 / 3.0)  # order 3


@dataclass(frozen=True)
class Stage:
    """A density on the way, what it exerts, and the Euler step from it."""

    rho: Array
    field: Field
    step: Step


def stages(
    flow: WassersteinFlow, euler: Euler, rho: Array, field: Field, dt: float, w: Sequence[float]
) -> list[Stage]:
    """All stages of one step of length dt."""
    first = Stage(rho, field, euler(rho, field, dt))
    taken = [first]
    for share in w[:-1]:
        u = between(rho, taken[-1].step.rho, share)
        seen = flow.field(u)
        taken.append(Stage(u, seen, euler(u, seen, dt)))
    return taken


def between(rho: Array, other: Array, share: float) -> Array:
    """ρ + share·(other − ρ): at least 0 where both are, for a share in [0, 1]."""
    if share == 1:
        return other
    u = other - rho
    u *= share
    u += rho
    return u


def weights(w: Sequence[float]) -> Array:
    """b with ρ' = ρ + Σ_i b_i (E(u_i) − u_i)."""
    return np.flip(np.multiply.accumulate(np.array(w[::-1])))


def concluded(taken: Sequence[Stage], w: Sequence[float], gamma: float = 1.0) -> Step:
    """ρ + γ(ρ' − ρ), and what left on the way.

    A convex mean of ρ and the last Euler step while 0 ≤ γ w ≤ 1.
    """
    rho, last = taken[0].rho, taken[-1].step
    b = gamma * weights(w)

    def total(c: str) -> tuple[float, float]:
        low, high = b @ np.array([stage.step.escaped[c] for stage in taken])
        return float(low), float(high)

    return Step(
        rho=between(rho, last.rho, gamma * w[-1]),
        escaped={c: total(c) for c in last.escaped},
        carried=float(b @ [stage.step.carried for stage in taken]),
    )
