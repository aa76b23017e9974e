"""−∇·(ρu) by face fluxes that run down V: the spatial part of upwind and muscl.

Per axis the kernel adds flux differences; what crosses open walls is summed with its energy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.grids.axis import Axis
from mfpde.kernels.tiles import WALL, axis_view
from mfpde.kernels.transport import outflow, transport
from mfpde.methods.step import Step
from mfpde.problems.problem import Array


@dataclass(frozen=True)
class Faces:
    """One axis as the kernels need it."""

    name: str
    k: int
    wall: int
    per_distance: Array  # (N + 1,)
    per_width: Array  # (N,)
    centred: Array  # (N,) width over the sum of the distances beside a cell
    areas: Array  # (2, outer, inner) of the cells' faces at both ends


class FluxDivergence:
    """Rate of change of a density by limited upwind fluxes, and how fast cells empty."""

    def __init__(self, flow: WassersteinFlow, limiter: int) -> None:
        self.flow, self.limiter = flow, limiter
        self.faces = [
            faces_of(flow, name, k, axis) for k, (name, axis) in enumerate(flow.grid.axes.items())
        ]

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
            out = np.zeros_like(f.areas)
            transport(r, v, f.per_distance, f.per_width, f.centred, f.wall, self.limiter, gain, out)
            leaving = dt * out * f.areas
            escaped[f.name] = (float(leaving[0].sum()), float(leaving[1].sum()))
            carried += float(np.vdot(leaving[0], v[:, 0]) + np.vdot(leaving[1], v[:, -1]))
        return Step(rho + dt * rate, escaped, carried)


def faces_of(flow: WassersteinFlow, name: str, k: int, axis: Axis) -> Faces:
    """Distances, widths and end areas of axis k."""
    distances, widths = axis.distances, axis.widths
    volumes = axis_view(flow.volumes, k)
    return Faces(
        name=name,
        k=k,
        wall=WALL[flow.walls[name]],
        per_distance=1.0 / distances,
        per_width=1.0 / widths,
        centred=widths / (distances[:-1] + distances[1:]),
        areas=np.stack([volumes[:, 0] / widths[0], volumes[:, -1] / widths[-1]]),
    )


def explicit_limit(cfl: float, emptying: float, stiffness: float) -> float:
    """min(cfl/emptying, 1/stiffness), inf where nothing moves.

    Without the second bound the step grows without end near a minimum, where velocities vanish
    but the residual's equation r' = −Mr stays stiff.
    """
    rate = max(emptying / cfl, stiffness)
    return (1 - 1e-12) / rate if rate > 0 else float("inf")  # short of round-off below zero
