"""−∇·(ρu) by face fluxes that run down V: the spatial part of upwind and muscl.

Per axis the kernel adds flux differences; what crosses open walls is summed with its energy.
"""

from __future__ import annotations

import numpy as np

from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.kernels.tiles import axis_view
from mfpde.kernels.transport import outflow, transport
from mfpde.methods.faces import faces_of
from mfpde.methods.step import Step
from mfpde.problems.problem import Array


class FluxDivergence:
    """Rate of change of a density by limited upwind fluxes, and how fast cells empty."""

    def __init__(self, flow: WassersteinFlow, limiter: int) -> None:
        self.flow, self.limiter = flow, limiter
        self.faces = faces_of(flow)

    def emptying(self, field: Field) -> float:
        """The largest rate at which a cell empties through all its faces, 1/time."""
        total = np.zeros(self.flow.grid.shape)
        for f in self.faces:
            potential, sink = axis_view(field.potential, f.k), axis_view(total, f.k)
            outflow(potential, f.per_distance, f.per_width, f.wall, sink)
        return float(total.max())

    def euler(self, rho: Array, field: Field, dt: float) -> Step:
        """ρ − dt·∇·(ρu), and what left."""
        rho = np.ascontiguousarray(rho)  # the views below must not be copies
        rate = np.zeros_like(rho)
        escaped, carried = {}, 0.0
        for f in self.faces:
            r, v, gain = (axis_view(z, f.k) for z in (rho, field.potential, rate))
            out = np.zeros_like(f.ends)
            transport(r, v, f.per_distance, f.per_width, f.centred, f.wall, self.limiter, gain, out)
            leaving = dt * out * f.ends
            escaped[f.name] = (float(leaving[0].sum()), float(leaving[1].sum()))
            carried += float(np.vdot(leaving[0], v[:, 0]) + np.vdot(leaving[1], v[:, -1]))
        return Step(rho + dt * rate, escaped, carried)


def explicit_limit(cfl: float, emptying: float, stiffness: float) -> float:
    """min(cfl/emptying, 1/stiffness), inf where nothing moves.

    Without the second bound the step grows without end near a minimum, where velocities vanish
    but the residual's equation r' = −Mr stays stiff.
    """
    rate = max(emptying / cfl, stiffness)
    return (1 - 1e-12) / rate if rate > 0 else float("inf")  # short of round-off below zero
