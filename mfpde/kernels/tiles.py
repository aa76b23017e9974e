"""Lines of a field along one axis, a tile at a time, with ghost cells at both ends.

A field is seen as (outer, N, inner): N cells along the axis in hand, everything slower before and
everything faster after it. A tile holds up to WIDTH neighbouring lines side by side, (N + 2·ghosts,
WIDTH), so that every inner loop runs over contiguous lines whatever the axis. One kernel thus
serves every axis of every dimension.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.compiling import compiled

WIDTH = 64
CLOSED, OPEN, PERIODIC = 0, 1, 2
WALL = {"closed": CLOSED, "open": OPEN, "periodic": PERIODIC}
COPIED, EXTENDED, MIRRORED = 0, 1, 2


def axis_view(field: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """``field`` (C order) as (outer, N, inner) with N along ``axis``; a view."""
    shape = field.shape
    return field.reshape(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


def _line_blocks(field):  # type: ignore[no-untyped-def]
    """How many tiles cover the lines of the view, per slab and in all."""
    outer, _, inner = field.shape
    lines = outer if inner == 1 else inner
    per_slab = (lines + WIDTH - 1) // WIDTH
    return per_slab, per_slab if inner == 1 else per_slab * outer


line_blocks = compiled(_line_blocks)


def _block(field, number, per_slab):  # type: ignore[no-untyped-def]
    """Slab, first line and number of lines of a tile."""
    outer, _, inner = field.shape
    lines = outer if inner == 1 else inner
    first = (number % per_slab) * WIDTH
    return number // per_slab, first, min(WIDTH, lines - first)


block = compiled(_block)


def _gather(field, slab, first, lines, ghosts, wall, ends, tile):  # type: ignore[no-untyped-def]
    """Copy lines into ``tile``; ghosts are wrapped, COPIED from the end, EXTENDED or MIRRORED."""
    _, N, inner = field.shape
    if inner == 1:
        for j in range(lines):
            for k in range(N):
                tile[k + ghosts, j] = field[first + j, k, 0]
    else:
        for k in range(N):
            for j in range(lines):
                tile[k + ghosts, j] = field[slab, k, first + j]
    top = N + ghosts
    for g in range(1, ghosts + 1):
        for j in range(lines):
            if wall == PERIODIC:
                tile[ghosts - g, j] = tile[top - g, j]
                tile[top + g - 1, j] = tile[ghosts + g - 1, j]
            elif ends == COPIED:
                tile[ghosts - g, j] = tile[ghosts, j]
                tile[top + g - 1, j] = tile[top - 1, j]
            elif ends == MIRRORED:
                tile[ghosts - g, j] = tile[ghosts + g - 1, j]
                tile[top + g - 1, j] = tile[top - g, j]
            else:
                tile[ghosts - g, j] = 2.0 * tile[ghosts, j] - tile[ghosts + g, j]
                tile[top + g - 1, j] = 2.0 * tile[top - 1, j] - tile[top - 1 - g, j]


gather = compiled(_gather)


def _scatter(tile, slab, first, lines, field):  # type: ignore[no-untyped-def]
    """Write the tile's first N rows to the field."""
    _, N, inner = field.shape
    if inner == 1:
        for j in range(lines):
            for k in range(N):
                field[first + j, k, 0] = tile[k, j]
    else:
        for k in range(N):
            for j in range(lines):
                field[slab, k, first + j] = tile[k, j]


scatter = compiled(_scatter)


def _scatter_add(tile, slab, first, lines, field):  # type: ignore[no-untyped-def]
    """Add the tile's N rows to the field."""
    _, N, inner = field.shape
    if inner == 1:
        for j in range(lines):
            for k in range(N):
                field[first + j, k, 0] += tile[k, j]
    else:
        for k in range(N):
            for j in range(lines):
                field[slab, k, first + j] += tile[k, j]


scatter_add = compiled(_scatter_add)


def _scatter_row(row, slab, first, lines, end, plane):  # type: ignore[no-untyped-def]
    """Write one value a line into ``plane`` (2, outer, inner) at the lower (0) or upper end (1)."""
    inner = plane.shape[2]
    for j in range(lines):
        if inner == 1:
            plane[end, first + j, 0] = row[j]
        else:
            plane[end, slab, first + j] = row[j]


scatter_row = compiled(_scatter_row)
