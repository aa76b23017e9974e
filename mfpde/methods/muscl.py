"""Second-order upwind fluxes with limited slopes, Heun's strong-stability-preserving steps.

ρ¹ = E(ρ),  ρ' = ½ρ + ½E(ρ¹),  E one forward Euler step on fluxes from linear reconstructions
(van Leer 1979; the flux of Carrillo, Chertock & Huang, Commun. Comput. Phys. 17 (2015) with λ = 0;
Shu & Osher 1988 for the steps).

A face value is at most twice its cell's average, so E is positive while dt·(rate at which a cell
empties) ≤ ½. Both E and the average lower a convex energy while dt ≤ 1/λ_max of the tangent kernel.
"""

from __future__ import annotations

from dataclasses import replace

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.kernels.limiters import MC, MINMOD, VAN_LEER
from mfpde.methods.donors import DonorFluxes
from mfpde.methods.exactness import Exact, Staged, checked_exact, given, limit_of
from mfpde.methods.flux import FluxDivergence, explicit_limit
from mfpde.methods.stages import EULER, HEUN
from mfpde.methods.step import Method, Step, Stepper, fields
from mfpde.problems.problem import Array

LIMITERS = {"minmod": MINMOD, "mc": MC, "vanleer": VAN_LEER}


def muscl(limiter: str = "mc", cfl: float = 0.45, exact: Exact = None) -> Method:
    """Second-order finite volumes with limited slopes.

    Args:
        limiter: "mc" (monotonised central), "vanleer" or "minmod", from sharp to diffusive.
        cfl: step as a fraction of the time in which the fastest cell would empty, in (0, 0.5].
        exact: how the energy is made to fall by what the step dissipates, to round-off. "averaged":
            V is the mean of before and after the step, ρ̂ that of its middle, and the fall is
            dt Σ_faces |face| (V_L − V_K)² ρ̂/d. "relaxed": the stages' mean dissipation, by
            relaxation, for steps up to 0.4/stiffness. Either costs a few steps per step. None:
            Heun's steps.

    Raises:
        InvalidInput: for an unknown limiter, a ``cfl`` outside (0, 0.5] or an unknown ``exact``.
    """
    if not isinstance(limiter, str) or limiter not in LIMITERS:
        raise InvalidInput(f"muscl(limiter={shown(limiter)})", fix=f"one of {sorted(LIMITERS)}")
    if not 0 < number(cfl) <= 0.5:
        raise InvalidInput(f"muscl(cfl={shown(cfl)})", "positivity needs 0 < cfl ≤ 0.5", "cfl=0.45")
    checked_exact("muscl", exact)
    code = LIMITERS[limiter]

    def begin(flow: WassersteinFlow) -> Stepper:
        if exact is None:
            return Muscl(flow, code, cfl)
        w = HEUN if exact == "relaxed" else EULER  # of the half step to the middle
        return Staged(flow, DonorFluxes(flow, code), cfl, exact, w)

    return Method(
        name="muscl",
        order=2.0,
        parameters={"limiter": limiter, "cfl": cfl} | given(exact),
        limit=limit_of(cfl, exact),
        promise="exact" if exact else "monotone",
        begin=begin,
        holding=(
            fields(6 if exact == "averaged" else 4, tiles=3, per_axis=3)
            if exact
            else fields(4, tiles=3)
        ),
    )


class Muscl:
    """muscl bound to a flow."""

    def __init__(self, flow: WassersteinFlow, limiter: int, cfl: float) -> None:
        self.flow, self.flux, self.cfl = flow, FluxDivergence(flow, limiter), cfl

    def longest(self, rho: Array, field: Field) -> float:
        return explicit_limit(self.cfl, self.flux.emptying(field), field.stiffness)

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        first = self.flux.euler(rho, field, dt)
        then = self.flow.field(first.rho, first.tally)
        last = self.flux.euler(first.rho, then, dt, rho, 0.5)  # ½ρ + ½E(ρ¹)
        escaped = {
            c: (0.5 * (low + last.escaped[c][0]), 0.5 * (high + last.escaped[c][1]))
            for c, (low, high) in first.escaped.items()
        }
        return replace(last, escaped=escaped, carried=0.5 * (first.carried + last.carried))
