"""ρ − dt·∇·(ρu) by face fluxes that run down V: one Euler step of upwind and muscl.

The kernel takes all axes in one pass over the cells, counts what the next field is made of, and
books what crosses open walls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.flows.arrays import Recycled, in_lines
from mfpde.flows.layers import Layers
from mfpde.flows.tally import blank, slabs_of, together
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.grids.axis import Axis
from mfpde.kernels.emptying import emptying
from mfpde.kernels.limiters import FIRST_ORDER
from mfpde.kernels.sharing import shared
from mfpde.kernels.tiles import WALL
from mfpde.kernels.transport import LINE, transport
from mfpde.methods.step import Step
from mfpde.problems.problem import Array

AFFINE = 1e-13  # of the largest number: round-off of third differences


class FluxDivergence:
    """Steps down the potential by limited upwind fluxes, and how fast cells empty."""

    def __init__(self, flow: WassersteinFlow, limiter: int) -> None:
        self.flow, self.limiter = flow, limiter
        axes, cells = tuple(flow.grid.axes.values()), flow.grid.shape
        self.faces = (
            np.array(cells),
            np.array([WALL[wall] for wall in flow.walls.values()]),
            np.array([1.0 / axis.distances[0] for axis in axes]),
            side_by_side([1.0 / axis.distances[1:] for axis in axes]),
            side_by_side([1.0 / axis.widths for axis in axes]),
            side_by_side([centred(axis) for axis in axes]),
        )
        behind = sum(int(np.prod(cells[d + 1 :])) for d in range(len(cells) - 1))
        slabs, n = slabs_of(cells), cells[-1]
        self.planes, self.rows = in_lines(slabs, 2, behind), in_lines(slabs, 6, LINE + n)
        self.half = None if limiter == FIRST_ORDER else in_lines(slabs, n)[:, :n]
        self.densities = Recycled(flow.grid.shape)
        self.asked: Array | None = None
        self.answer = False

    def emptying(self, field: Field) -> float:
        """The largest rate at which a cell empties through all its faces, 1/time."""
        V = field.layers
        return float(emptying(parts(V), self.faces, self.fastest(V), self.rows[0]))

    def fastest(self, V: Layers) -> NDArray[np.intp]:
        """Layers of which one holds the cell that empties fastest.

        Where layers are alike but for a and a tilt, and these and their slopes grow evenly, every
        rate is convex along the inner layers: largest in the first or last of them, or at a wall.
        """
        N, same = len(V.a), len(V.level) == 1
        return ends_of(N) if same and N > 4 and self.even(V) else np.arange(N)

    def even(self, V: Layers) -> bool:
        """Whether a grows by equal steps, and the tilt by steps that do."""
        if V.a is not self.asked:  # it rests while a flow runs
            axis = next(iter(self.flow.grid.axes.values()))
            grows = [(np.diff(V.a, 2), V.a), (np.diff(V.tilt, 3), V.tilt)]
            close = all(np.abs(d).max() <= AFFINE * np.abs(z).max() for d, z in grows)
            self.asked, self.answer = V.a, axis.is_uniform and close
        return self.answer

    def euler(
        self, rho: Array, field: Field, dt: float, start: Array | None = None, share: float = 1.0
    ) -> Step:
        """start + share·(E(ρ) − start), E(ρ) = ρ − dt·∇·(ρu), and what leaves on the way to E(ρ).

        Without a start E(ρ).
        """
        V, weights = field.layers, self.flow.weights
        cells, result = np.ascontiguousarray(rho).ravel(), self.densities.empty()
        moments, least = blank(result, weights)
        ledger = np.empty((len(least), rho.ndim, 2, 2))
        arguments = (
            cells,
            parts(V),
            self.faces,
            self.limiter,
            dt,
            cells if start is None else np.ascontiguousarray(start).ravel(),
            share,
            result.ravel(),
            (weights, moments, least),
            ledger,
            self.planes,
            self.rows,
            self.half,
        )
        shared(transport, arguments, len(least), rho.size)
        mass, energy = dt * ledger[..., 0].sum(axis=0), dt * ledger[..., 1].sum(axis=0)
        escaped = {
            c: (float(low), float(high))
            for c, (low, high) in zip(self.flow.grid.coords, mass, strict=True)
        }
        return Step(result, escaped, float(energy.sum()), tally=together(result, moments, least))


def ends_of(N: int) -> NDArray[np.intp]:
    """The two first and last of N layers."""
    return np.array([0, 1, N - 2, N - 1])


def parts(V: Layers) -> tuple[Array, Array, Array, Array]:
    """As kernels take it."""
    return V.a, V.g, V.tilt, V.level


def centred(axis: Axis) -> Array:
    """(N,) width over the sum of the distances beside a cell."""
    return axis.widths / (axis.distances[:-1] + axis.distances[1:])


def side_by_side(rows: list[Array]) -> Array:
    """Rows of different lengths as one array, filled with 1."""
    result = in_lines(len(rows), max(map(len, rows)))
    result[:] = 1.0
    for place, row in zip(result, rows, strict=True):
        place[: len(row)] = row
    return result


def explicit_limit(cfl: float, emptying: float, stiffness: float) -> float:
    """min(cfl/emptying, 1/stiffness), inf where nothing moves.

    Without the second bound the step grows without end near a minimum, where velocities vanish
    but the residual's equation r' = −Mr stays stiff.
    """
    rate = max(emptying / cfl, stiffness)
    return (1 - 1e-12) / rate if rate > 0 else float("inf")  # short of round-off below zero
