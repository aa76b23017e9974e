"""The keyword ``exact`` of explicit methods, and what a step of either kind is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from mfpde.errors import InvalidInput
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.methods.averaged import averaged
from mfpde.methods.donors import Beside
from mfpde.methods.relaxation import relaxed
from mfpde.methods.stages import concluded, stages
from mfpde.methods.step import Step
from mfpde.problems.arguments import shown
from mfpde.problems.problem import Array

Exact = Literal["averaged", "relaxed"] | None


class Fluxes(Protocol):
    """Conservative steps by face densities times face velocities."""

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


def staged(
    exact: Exact,
    flow: WassersteinFlow,
    fluxes: Fluxes,
    rho: Array,
    field: Field,
    dt: float,
    w: Sequence[float],
) -> Step:
    """One step by the stages w (mfpde/methods/stages.py).

    Plain; or relaxed; or averaged, the stages giving the face densities at the middle of the step:
    that is of order 2 in time.
    """
    if exact == "relaxed":
        return relaxed(flow, fluxes.euler, rho, field, dt, w)
    if exact == "averaged":
        half = concluded(stages(flow, fluxes.euler, rho, field, 0.5 * dt, w), w)
        densities = fluxes.densities(half.rho)
        return averaged(flow, rho, field, lambda V: fluxes.step(rho, V, dt, densities))
    return concluded(stages(flow, fluxes.euler, rho, field, dt, w), w)
