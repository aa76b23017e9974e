"""The faces of a grid, axis by axis, as flux methods need them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.grids.axis import Axis
from mfpde.grids.grid import along
from mfpde.kernels.tiles import PERIODIC, WALL, axis_view
from mfpde.problems.problem import Array


@dataclass(frozen=True)
class Faces:
    """The N + 1 faces of one axis; the first and the last are walls, or one face of a circle.

    Attributes:
        name, k, axis: which.
        wall: what stands at its ends, as kernels call it.
        areas: of the faces of every cell, of the grid's shape.
        per_distance: (N + 1,) one over the distance of the centres beside each face.
        per_width: (N,) one over the cells' widths.
    """

    name: str
    k: int
    axis: Axis
    wall: int
    areas: Array
    per_distance: Array
    per_width: Array

    @cached_property
    def centred(self) -> Array:
        """(N,) width over the sum of the distances beside a cell."""
        distances = self.axis.distances
        return self.axis.widths / (distances[:-1] + distances[1:])

    @cached_property
    def ends(self) -> Array:
        """(2, outer, inner) areas of the faces at both ends."""
        areas = axis_view(self.areas, self.k)
        return np.stack([areas[:, 0], areas[:, -1]])

    @cached_property
    def lower(self) -> NDArray[np.intp]:
        """(N + 1,) the cell below each face; at the lower wall the one inside."""
        below = np.arange(-1, self.axis.cells)
        below[0] = self.axis.cells - 1 if self.wall == PERIODIC else 0
        return below

    @cached_property
    def upper(self) -> NDArray[np.intp]:
        """(N + 1,) the cell above each face; at the upper wall the one inside."""
        above = np.arange(self.axis.cells + 1)
        above[-1] = 0 if self.wall == PERIODIC else self.axis.cells - 1
        return above

    @cached_property
    def inner(self) -> Array:
        """(N + 1,) 1, or 0 at walls."""
        inside = np.ones(self.axis.cells + 1)
        if self.wall != PERIODIC:
            inside[[0, -1]] = 0.0
        return inside

    def beside(self, field: Array) -> tuple[Array, Array]:
        """The field below and above every face."""
        return np.take(field, self.lower, axis=self.k), np.take(field, self.upper, axis=self.k)

    def rise(self, field: Array) -> Array:
        """Change of the field across every inner face over the distance; 0 at walls."""
        lower, upper = self.beside(field)
        return (upper - lower) * along(self.inner * self.per_distance, self.k, field.ndim)

    def divergence(self, flux: Array) -> Array:
        """What a flux per unit area takes out of every cell."""
        N = self.axis.cells
        out = np.take(flux, np.arange(1, N + 1), axis=self.k)
        return (out - np.take(flux, np.arange(N), axis=self.k)) * self.areas


def faces_of(flow: WassersteinFlow) -> list[Faces]:
    """Of every axis."""
    return [
        Faces(
            name=name,
            k=k,
            axis=axis,
            wall=WALL[flow.walls[name]],
            areas=flow.volumes / along(axis.widths, k, flow.volumes.ndim),
            per_distance=1.0 / axis.distances,
            per_width=1.0 / axis.widths,
        )
        for k, (name, axis) in enumerate(flow.grid.axes.items())
    ]
