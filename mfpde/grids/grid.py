"""A tensor product of one to four named axes."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InvalidInput
from mfpde.grids.axis import Axis

Array = NDArray[np.float64]
MOST_AXES = 4
MOST_CELLS = 2**31  # in all: 16 GiB a density


class Grid:
    """``Grid(a=uniform(-6, 6, 128), w=uniform(-6, 6, 128))``: cells of a box, in C order.

    Raises:
        InvalidInput: without an axis, with more than four, for a value that is not an axis, or for
            more cells than any machine holds.
    """

    def __init__(self, **axes: Axis) -> None:
        if not 1 <= len(axes) <= MOST_AXES:
            raise InvalidInput(
                f"a grid of {len(axes)} axes",
                f"a density is kept on 1 to {MOST_AXES} coordinates",
                "particles (particle_ref) take any number",
            )
        for name, axis in axes.items():
            if not isinstance(axis, Axis):
                raise InvalidInput(
                    f"{name} = {axis!r} is not an axis", fix=f"{name}=mf.uniform(-6, 6, 128)"
                )
        self.axes: dict[str, Axis] = dict(axes)
        if self.cells > MOST_CELLS:
            raise InvalidInput(
                f"a grid of {' × '.join(map(str, self.shape))} cells",
                f"that is {8 * self.cells / 2**30:.3g} GiB a density; "
                f"a grid has at most {MOST_CELLS} cells",
                f"{int(MOST_CELLS ** (1 / len(axes)))} along every axis, or particles",
            )

    @property
    def coords(self) -> tuple[str, ...]:
        """Names of the axes, in order."""
        return tuple(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(axis.cells for axis in self.axes.values())

    @property
    def cells(self) -> int:
        """Cells in all."""
        return math.prod(self.shape)

    @property
    def centres(self) -> tuple[Array, ...]:
        """Cell midpoints along each axis."""
        return tuple(axis.centres for axis in self.axes.values())

    @property
    def volumes(self) -> Array:
        """Cell volumes, of the grid's shape."""
        return reduce(np.multiply.outer, [axis.widths for axis in self.axes.values()])

    @property
    def box(self) -> dict[str, tuple[float, float]]:
        """Ends of every axis."""
        return {name: (axis.low, axis.high) for name, axis in self.axes.items()}

    def points(self) -> Array:
        """Cell midpoints in C order, (cells, D)."""
        return tensor_points(self.centres)

    def __repr__(self) -> str:
        axes = ", ".join(f"{name}={axis!r}" for name, axis in self.axes.items())
        return f"Grid({axes}): {self.cells} cells, {8 * self.cells / 2**20:.3g} MiB a density"


def tensor_points(centres: tuple[Array, ...]) -> Array:
    """All tuples of one centre per axis, in C order, (cells, D)."""
    return np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, len(centres))


def along(values: Array, k: int, dimensions: int) -> Array:
    """``values`` of one axis, shaped to multiply a field of all axes."""
    return values.reshape([-1 if j == k else 1 for j in range(dimensions)])
