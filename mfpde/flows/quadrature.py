"""From cell averages to the point masses an integral is made of, at the order of the method.

Midpoints weighted by cell averages are of order 2 and no more. Point values, recovered from the
averages by flux differences of order p + 1, make the same midpoints a quadrature of that order for
densities that vanish at the walls or are periodic. The conversion is limited where it would turn a
weight negative.
"""

from __future__ import annotations

import numpy as np

from mfpde.flows.arrays import Recycled
from mfpde.kernels.stencils import switch_weights
from mfpde.kernels.switch import switch
from mfpde.kernels.tiles import WALL, axis_view
from mfpde.problems.problem import Array

CENTRES = 2  # the order of cell averages at the centres
ORDERS = (5, 7, 9, 11, 13, 15)  # of what knows point values
QUADRATURES = (CENTRES, *ORDERS)


def converted(
    field: Array,
    k: int,
    wall: str,
    order: int,
    to_points: bool,
    limited: bool = True,
    result: Array | None = None,
) -> tuple[Array, int]:
    """``field`` along axis k from averages to points or back, and how many cells were limited.

    It is written to ``result`` where there is one.
    """
    weights = switch_weights(order)[0 if to_points else 1]
    result = np.empty(field.shape) if result is None else result
    count = switch(axis_view(field, k), weights, WALL[wall], limited, axis_view(result, k))
    return result, count


def point_values(
    rho: Array, walls: tuple[str, ...], order: int, room: Recycled | None = None
) -> Array:
    """Values whose products with the cell volumes are the quadrature weights of ``order``.

    They are put into some ``room`` where there is one.
    """
    if order > CENTRES:
        result = None if room is None else room.empty()
        for k, wall in enumerate(walls):
            rho, _ = converted(rho, k, wall, order, to_points=True, result=result)
            result = rho  # what is ours may be overwritten
    return rho
