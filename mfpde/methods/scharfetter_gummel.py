"""Scharfetter–Gummel fluxes: the entropic flow ∂_t ρ = ∇·(ρ∇V) + λΔρ, Gibbs states exact."""

from __future__ import annotations

from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.methods.exchange import Exchange, faces_of
from mfpde.methods.flux import explicit_limit
from mfpde.methods.step import Method, Step
from mfpde.problems.problem import Array


def scharfetter_gummel(cfl: float = 0.45) -> Method:
    """Scharfetter–Gummel finite volumes, forward Euler."""
    return Method(
        name="scharfetter_gummel",
        order=2.0,
        parameters={"cfl": cfl},
        limit=f"dt ≤ min({cfl:g}/emptying rate, 1/stiffness)",
        promise="monotone",
        begin=lambda flow: Explicit(flow, cfl),
        order_in_time=1.0,
        diffuses=True,
    )


class Explicit:
    """scharfetter_gummel bound to a flow."""

    def __init__(self, flow: WassersteinFlow, cfl: float) -> None:
        self.flow, self.cfl, self.faces = flow, cfl, faces_of(flow)

    def longest(self, rho: Array, field: Field) -> float:
        rates = Exchange(self.faces, field.potential, self.flow.entropy)
        return explicit_limit(self.cfl, rates.emptying(), field.stiffness)

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        rates = Exchange(self.faces, field.potential, self.flow.entropy)
        masses = rho * self.flow.volumes
        after = masses + dt * rates.applied(masses)
        escaped = dict.fromkeys(self.flow.grid.coords, (0.0, 0.0))
        return Step(after / self.flow.volumes, escaped, 0.0)
