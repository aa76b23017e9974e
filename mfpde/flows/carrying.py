"""Cell averages carried over from one box to another in the same space."""

from __future__ import annotations

import numpy as np

from mfpde.grids.axis import Axis
from mfpde.grids.grid import Grid
from mfpde.kernels.remap import remap_along
from mfpde.kernels.tiles import OPEN, axis_view
from mfpde.problems.problem import Array


def carried_over(rho: Array, old: Grid, new: Grid, order: int) -> tuple[Array, Array]:
    """Averages over the cells of ``old`` as averages over those of ``new``, and what is left out.

    Conservative, positive and of an odd ``order`` from 5: the mass of a new cell is the old mass
    between its faces, axis after axis. Grids have the same number of cells; axes that differ are
    uniform.

    Returns:
        The averages, and the mass (D, 2) that lies below and above the new box.
    """
    left_out = np.zeros((rho.ndim, 2))
    for k, (before, after) in enumerate(zip(old.axes.values(), new.axes.values(), strict=True)):
        if not np.array_equal(before.edges, after.edges):
            others = [*new.axes.values()][:k] + [*old.axes.values()][k + 1 :]
            area = float(np.prod([axis.widths[0] for axis in others]))
            rho, beyond = along_axis(rho, k, before, after, order)
            left_out[k] = area * beyond
    return rho, left_out


def along_axis(rho: Array, k: int, old: Axis, new: Axis, order: int) -> tuple[Array, Array]:
    """The same along axis k; what is left out (2,) is per area of the other axes."""
    h = old.widths[0]
    feet = (new.edges - old.low) / h
    view, result = axis_view(np.ascontiguousarray(rho), k), np.empty(rho.shape)
    out = np.zeros((2, view.shape[0], view.shape[2]))
    every_line = np.ones((out[0].size, 1))
    remap_along(view, feet[None, None], every_line, order, OPEN, axis_view(result, k), out)
    return result * (h / new.widths[0]), h * out.sum(axis=(1, 2))
