"""What a step did to the energy, to the round-off that it can be told to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfpde.flows.interaction import Observation
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.problems.problem import Array

ROUND_OFF = 1e-14  # of the energies that are compared


@dataclass(frozen=True)
class EnergyChange:
    """From one density to another.

    Attributes:
        moved: the change of the quadrature's masses, of the grid's shape.
        seen: what the later density shows.
        rise: by how much R + ∫reg rose.
        noise: round-off of the rise.
        entropy: by how much λ∫ρ log ρ rose.
    """

    moved: Array
    seen: Observation
    rise: float
    noise: float
    entropy: float

    def work(self, potential: Array) -> float:
        """∫V d(ρ' − ρ)."""
        return float(np.vdot(potential, self.moved))


class EnergyChanges:
    """Of one flow from one density on."""

    def __init__(self, flow: WassersteinFlow, rho: Array, field: Field) -> None:
        self.flow, self.field, self.values = flow, field, flow.point_values(rho)

    def to(self, rho: Array) -> EnergyChange:
        """The change to ``rho``."""
        flow, before = self.flow, self.values
        after = flow.point_values(rho)
        seen = flow.interaction.observe(after)
        moved = (after - before) * flow.volumes
        masses = (after + before) * flow.volumes
        size = abs(self.field.risk) + np.vdot(np.abs(self.field.potential), masses)
        return EnergyChange(
            moved=moved,
            seen=seen,
            rise=seen.risk - self.field.risk + float(np.vdot(flow.penalty, moved)),
            noise=ROUND_OFF * float(size),
            entropy=flow.disorder(after) - flow.disorder(before),
        )
