"""Relaxation Runge–Kutta: the energy falls by exactly what the stages dissipate.

ρ' = ρ + γ Σ_i b_i (E(u_i) − u_i), the stages u_i those of a step of length h, and γ such that

    E(ρ') − E(ρ) = γ Σ_i b_i ∫V_i d(E(u_i) − u_i),   V_i the potential of stage i

(Ketcheson, SIAM J. Numer. Anal. 57 (2019); Ranocha, Lóczi & Ketcheson, Numer. Math. 146 (2020)).
Time moves by γh, which keeps the order. Here the step's length dt is given: γ = dt/h, and h is the
unknown of one scalar equation. For Heun's stages and a square loss γ = 4⟨a, b⟩/|a + b|² ≤ 1, with
a, b the rates of the prediction at both.

Where the prediction turns, its rate next to nothing, γ is an error over next to nothing: such steps
are refused, and shorter ones taken.

Positivity: ρ' is a convex mean of ρ and the last Euler step while γw ≤ 1, w its share: γ ≤ 2 for
Heun, 3/2 for SSPRK3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.methods.energy_change import EnergyChange, EnergyChanges
from mfpde.methods.stages import Euler, Stage, concluded, stages, weights
from mfpde.methods.step import Step
from mfpde.problems.problem import Array

REACH = 0.4  # of 1/stiffness, a longest step: for r' = −Mr Heun's stages have γ up to dt = 0.5/M
LEAST, MOST = 0.5, 1.5  # of γ; farther off the stages do not resolve the motion
MOST_TRIALS = 12


def relaxed(
    flow: WassersteinFlow, euler: Euler, rho: Array, field: Field, dt: float, w: Sequence[float]
) -> Step:
    """One step of length dt that dissipates what its stages do.

    Where the energy balances to round-off at once, as near equilibrium, γ = 1. The error is inf
    where no γ from 0.5 to 1.5 does it.
    """
    changes, h, tried = EnergyChanges(flow, rho, field), dt, []
    for _ in range(MOST_TRIALS):
        taken = stages(flow, euler, rho, field, h, w)
        step = concluded(taken, w, dt / h)
        change = changes.to(step.rho)
        work = work_of(flow, taken, w, dt / h, change)
        tried.append((h, change.rise - work))
        if abs(change.rise - work) <= change.noise:
            return replace(step, dissipated=-work - step.carried)
        h = next_length(tried, change.rise - change.work(field.potential))
        if not dt / MOST <= h <= dt / LEAST:  # NaN too
            break
    return replace(step, error=np.inf)


def work_of(
    flow: WassersteinFlow,
    taken: Sequence[Stage],
    w: Sequence[float],
    gamma: float,
    change: EnergyChange,
) -> float:
    """γ Σ_i b_i ∫V_i d(E(u_i) − u_i), what is not linear in the masses booked at V_1.

    That is what a limited quadrature makes of a sum of densities.
    """
    start = taken[0].field.potential
    total = change.work(start)
    for b, stage in zip(weights(w)[1:], taken[1:], strict=True):
        moved = flow.point_values(stage.step.rho) - flow.point_values(stage.rho)
        total += gamma * b * float(np.vdot((stage.field.potential - start) * flow.volumes, moved))
    return total


def next_length(tried: Sequence[tuple[float, float]], bregman: float) -> float:
    """The next h: from the energy's quadratic part at first, then by the secant."""
    h, defect = tried[-1]
    if len(tried) == 1:
        return h * bregman / (bregman - defect) if bregman != defect else np.nan
    before, off = tried[-2]
    return h - defect * (h - before) / (defect - off) if defect != off else np.nan
