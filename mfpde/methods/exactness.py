"""The keyword ``exact`` of explicit methods, and the steps that it chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from mfpde.arguments import shown
from mfpde.errors import InvalidInput
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.kernels.limiters import FIRST_ORDER
from mfpde.methods.averaged import averaged
from mfpde.methods.donors import Beside
from mfpde.methods.flux import FluxDivergence, explicit_limit
from mfpde.methods.relaxation import REACH, relaxed
from mfpde.methods.stages import concluded, stages
from mfpde.methods.step import Step
from mfpde.problems.problem import Array

Exact = Literal["averaged", "relaxed"] | None


class Fluxes(Protocol):
    """Conservative steps by face densities times face velocities."""

    @property
    def limited(self) -> dict[str, int]:
        """How often the sign had to be kept, by what kept it."""

    def densities(self, rho: Array) -> list[Beside]:
        """What the faces may carry."""

    def step(self, rho: Array, potential: Array, dt: float, densities: Sequence[Beside]) -> Step:
        """ρ less what these densities carry down the potential in a time dt."""

    def euler(self, rho: Array, field: Field, dt: float) -> Step:
        """A forward Euler step."""


def checked_exact(method: str, exact: Exact) -> None:
    """Raise InvalidInput for anything but None, "averaged" and "relaxed"."""
    if exact is not None and exact not in ("averaged", "relaxed"):
        raise InvalidInput(f"{method}(exact={shown(exact)})", fix='None, "averaged" or "relaxed"')


def given(exact: Exact) -> dict[str, object]:
    """The parameter, where it was given."""
    return {"exact": exact} if exact else {}


class Staged:
    """Fluxes stepped by the stages w (mfpde/methods/stages.py): plain, relaxed or averaged.

    Averaged, the stages give the face densities at the middle of the step: order 2 in time.
    """

    def __init__(
        self, flow: WassersteinFlow, fluxes: Fluxes, cfl: float, exact: Exact, w: Sequence[float]
    ) -> None:
        self.flow, self.fluxes, self.cfl, self.exact, self.w = flow, fluxes, cfl, exact, w
        self.rates, self.limited = FluxDivergence(flow, FIRST_ORDER), fluxes.limited

    def longest(self, rho: Array, field: Field) -> float:
        stiffness = field.stiffness / REACH if self.exact == "relaxed" else field.stiffness
        return explicit_limit(self.cfl, self.rates.emptying(field), stiffness)

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        flow, euler, w = self.flow, self.fluxes.euler, self.w
        if self.exact == "relaxed":
            return relaxed(flow, euler, rho, field, dt, w)
        if self.exact is None:
            return concluded(stages(flow, euler, rho, field, dt, w), w)
        middle = rho
        if w:
            middle = concluded(stages(flow, euler, rho, field, 0.5 * dt, w), w).rho
        densities = self.fluxes.densities(middle)
        return averaged(flow, rho, field, lambda V: self.fluxes.step(rho, V, dt, densities))


def limit_of(cfl: float, exact: Exact) -> str:
    """The step limit in words."""
    share = f"{REACH:g}" if exact == "relaxed" else "1"
    return f"dt ≤ min({cfl:g}/emptying rate, {share}/stiffness)"
