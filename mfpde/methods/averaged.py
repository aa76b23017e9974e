"""The averaged residual: explicit steps that lower the energy by exactly the work they do.

Between ρ and ρ' the risk changes by ∫V_z d(ρ' − ρ), z the mean-value response of the two
(``Interaction.mean_response``; the discrete gradient of Gonzalez, J. Nonlinear Sci. 6 (1996)). A
conservative step whose fluxes run down V_z therefore obeys

    E(ρ') − E(ρ) + carried = −dt Σ_faces |face| (V_L − V_K)² ρ̂/d ≤ 0    for fluxes −ρ̂ (V_L − V_K)/d

as an identity, for any loss, face densities ρ̂ ≥ 0 and dt. z depends on ρ' and is found as a fixed
point of n numbers, V on the grid being made of them: z ↦ c − Mz with M = ½dt times the tangent
kernel, at most 1 while dt ≤ 1/stiffness. Anderson's mixing (J. ACM 12 (1965)) settles it in a few
turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.methods.energy_change import EnergyChanges
from mfpde.methods.step import Step
from mfpde.problems.problem import Array

DEPTH = 6  # turns that the mixing remembers
DAMPED = 2 / 3  # β: z ← z − β(z − c + Mz) contracts by 1/3 for every symmetric 0 ≤ M ≤ 1
MOST_TURNS = 60
SETTLED = 1e-9  # of the response; the energy asks for more
STALLED = 0.5  # a turn that leaves more of the miss has met round-off


def averaged(
    flow: WassersteinFlow, rho: Array, field: Field, made: Callable[[Array], Step]
) -> Step:
    """The step down the potential that is the mean of those before and after it.

    Args:
        flow: whose energy is meant.
        rho: cell averages before the step; ``field`` belongs to them.
        made: makes a conservative step with fluxes down a given potential, of the grid's shape.

    Returns:
        The step, ``dissipated`` set to the work of its fluxes: −∫V d(ρ' − ρ) − carried, with λ > 0
        less the rise of λ∫ρ log ρ. Its error is inf where no fixed point was found.
    """
    changes = EnergyChanges(flow, rho, field)
    z, least, mixing = field.response, np.inf, Mixing()
    for _ in range(MOST_TURNS):
        potential = flow.potential(z)
        step = made(potential)
        change = changes.to(step.rho)
        work = change.work(potential)
        miss = flow.interaction.mean_response(field.seen, change.seen) - z
        size = float(np.linalg.norm(miss))
        if not np.isfinite(size):
            break
        settled = size <= SETTLED * np.linalg.norm(z) or size >= STALLED * least
        if settled and abs(change.rise - work) <= change.noise:
            return replace(step, dissipated=-work - step.carried - change.entropy)
        least = min(least, size)
        z = mixing.next(z, miss)
    return replace(step, error=np.inf)


class Mixing:
    """Anderson's acceleration of z ← z + β miss(z); it starts anew where the miss has grown."""

    def __init__(self) -> None:
        self.points: list[Array] = []
        self.misses: list[Array] = []

    def next(self, z: Array, miss: Array) -> Array:
        """Where the miss would vanish, were it linear between the last points."""
        if self.misses and np.linalg.norm(miss) > np.linalg.norm(self.misses[-1]):
            self.points, self.misses = [], []
        self.points, self.misses = [*self.points, z][-DEPTH:], [*self.misses, miss][-DEPTH:]
        if len(self.points) == 1:
            return z + DAMPED * miss
        dz, dmiss = np.diff(self.points, axis=0).T, np.diff(self.misses, axis=0).T
        share = np.linalg.lstsq(dmiss, miss, rcond=None)[0]
        return z - dz @ share + DAMPED * (miss - dmiss @ share)
