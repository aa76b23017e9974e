"""First-order upwind fluxes, forward Euler.

ρ_K' = ρ_K − dt Σ_faces (u⁺ρ_K + u⁻ρ_L)/h,  u = −(V_L − V_K)/d.

Order 1 for smooth densities, ½ in W_1 for rough velocities or Diracs (Delarue, Lagoutière &
Vauchelet, arXiv:1602.05746). Positive while dt·(rate at which a cell empties) ≤ 1; energy monotone
while also dt ≤ 2/λ_max(M), M the tangent kernel: R(ρ') − R(ρ) = −dt rᵀMr + ½dt²|Mr|².
"""

from __future__ import annotations

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.kernels.limiters import FIRST_ORDER
from mfpde.methods.donors import DonorFluxes
from mfpde.methods.exactness import Exact, Staged, checked_exact, given, limit_of
from mfpde.methods.flux import FluxDivergence, explicit_limit
from mfpde.methods.stages import AT_ONCE
from mfpde.methods.step import Method, Step, Stepper, fields
from mfpde.problems.problem import Array


def upwind(cfl: float = 0.9, exact: Exact = None) -> Method:
    """First-order upwind finite volumes; bullet-proof.

    Args:
        cfl: step as a fraction of the time in which the fastest cell would empty, in (0, 1].
        exact: "averaged" takes V as the mean of before and after the step, by a fixed point: the
            energy then falls by dt Σ_faces |face| (V_L − V_K)² ρ̂/d to round-off, ρ̂ the upwind
            cell's density. None takes V before the step.

    Raises:
        InvalidInput: for a ``cfl`` outside (0, 1], and for exact="relaxed".
    """
    if not 0 < number(cfl) <= 1:
        raise InvalidInput(f"upwind(cfl={shown(cfl)})", "positivity needs 0 < cfl ≤ 1", "cfl=0.9")
    checked_exact("upwind", exact)
    if exact == "relaxed":
        raise InvalidInput(
            'upwind(exact="relaxed")',
            "relaxation weighs the later stages of a step against the first, and forward Euler has "
            "one stage only",
            'exact="averaged", or mf.muscl(exact="relaxed")',
        )

    def begin(flow: WassersteinFlow) -> Stepper:
        if exact is None:
            return Upwind(flow, cfl)
        return Staged(flow, DonorFluxes(flow, FIRST_ORDER), cfl, exact, AT_ONCE)

    return Method(
        name="upwind",
        order=1.0,
        parameters={"cfl": cfl} | given(exact),
        limit=limit_of(cfl, exact),
        promise="exact" if exact else "monotone",
        begin=begin,
        holding=fields(5, tiles=3, per_axis=3) if exact else fields(2, tiles=3),
    )


class Upwind:
    """upwind bound to a flow."""

    def __init__(self, flow: WassersteinFlow, cfl: float) -> None:
        self.flux, self.cfl = FluxDivergence(flow, FIRST_ORDER), cfl

    def longest(self, rho: Array, field: Field) -> float:
        return explicit_limit(self.cfl, self.flux.emptying(field), field.stiffness)

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        return self.flux.euler(rho, field, dt)
