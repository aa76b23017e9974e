"""Second-order upwind fluxes with limited slopes, Heun's strong-stability-preserving steps.

ρ¹ = E(ρ),  ρ' = ½ρ + ½E(ρ¹),  E one forward Euler step on fluxes from linear reconstructions
(van Leer 1979; the flux of Carrillo, Chertock & Huang, Commun. Comput. Phys. 17 (2015) with λ = 0;
Shu & Osher 1988 for the steps).

A face value is at most twice its cell's average, so E is positive while dt·(rate at which a cell
empties) ≤ ½. Both E and the average lower a convex energy while dt ≤ 1/λ_max of the tangent kernel.
"""

from __future__ import annotations

from mfpde.errors import InvalidInput
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.kernels.transport import MC, MINMOD, VAN_LEER
from mfpde.methods.flux import FluxDivergence, explicit_limit
from mfpde.methods.step import Method, Step
from mfpde.problems.arguments import number, shown
from mfpde.problems.problem import Array

LIMITERS = {"minmod": MINMOD, "mc": MC, "vanleer": VAN_LEER}


def muscl(limiter: str = "mc", cfl: float = 0.45) -> Method:
    """Second-order finite volumes with limited slopes.

    Args:
        limiter: "mc" (monotonised central), "vanleer" or "minmod", from sharp to diffusive.
        cfl: step as a fraction of the time in which the fastest cell would empty, in (0, 0.5].

    Raises:
        InvalidInput: for an unknown limiter or a ``cfl`` outside (0, 0.5].
    """
    if not isinstance(limiter, str) or limiter not in LIMITERS:
        raise InvalidInput(f"muscl(limiter={shown(limiter)})", fix=f"one of {sorted(LIMITERS)}")
    if not 0 < number(cfl) <= 0.5:
        raise InvalidInput(f"muscl(cfl={shown(cfl)})", "positivity needs 0 < cfl ≤ 0.5", "cfl=0.45")
    return Method(
        name="muscl",
        order=2.0,
        parameters={"limiter": limiter, "cfl": cfl},
        limit=f"dt ≤ min({cfl:g}/emptying rate, 1/stiffness)",
        promise="monotone",
        begin=lambda flow: Muscl(flow, LIMITERS[limiter], cfl),
    )


class Muscl:
    """muscl bound to a flow."""

    def __init__(self, flow: WassersteinFlow, limiter: int, cfl: float) -> None:
        self.flow, self.flux, self.cfl = flow, FluxDivergence(flow, limiter), cfl

    def longest(self, rho: Array, field: Field) -> float:
        return explicit_limit(self.cfl, self.flux.emptying(field), field.stiffness)

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        first = self.flux.euler(rho, field, dt)
        second = self.flux.euler(first.rho, self.flow.field(first.rho), dt)
        return Step(
            rho=0.5 * (rho + second.rho),
            escaped={c: mean(first.escaped[c], second.escaped[c]) for c in first.escaped},
            carried=0.5 * (first.carried + second.carried),
        )


def mean(p: tuple[float, float], q: tuple[float, float]) -> tuple[float, float]:
    """Half of each."""
    return 0.5 * (p[0] + q[0]), 0.5 * (p[1] + q[1])
