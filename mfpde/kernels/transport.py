"""Upwind fluxes of ∂_t ρ = −∂_x(ρu), u = −∂_x V, along one axis.

u at a face is the drop of V over the distance of the two centres. The density carried through a
face is the upwind cell's, reconstructed linearly inside it: face value = ρ ± s/2, with s the
limited change of ρ across the cell (van Leer 1979). With s = 0 this is the first-order scheme.

CLOSED walls carry nothing; OPEN walls let mass out and none in, with the velocity of the next face
inside; PERIODIC ends are one face.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import (
    CLOSED,
    COPIED,
    EXTENDED,
    PERIODIC,
    WIDTH,
    block,
    gather,
    line_blocks,
    scatter_add,
    scatter_row,
)

FIRST_ORDER, MINMOD, MC, VAN_LEER = 0, 1, 2, 3


def _limited(left, right, centred, limiter):  # type: ignore[no-untyped-def]
    """The change of ρ across a cell from its differences to the lower and upper neighbour.

    At most twice the smaller difference, so that a face value lies between its two cells.
    """
    smaller = min(abs(left), abs(right))
    if limiter == MINMOD:
        size = smaller
    elif limiter == MC:
        size = min(centred * abs(left + right), 2.0 * smaller)
    else:  # van Leer's harmonic mean, free of overflow
        larger = max(abs(left), abs(right))
        # the quotient first: it is at most 1 after rounding, and so is size at most 2·smaller
        size = 2.0 * smaller * (larger / (smaller + larger)) if larger > 0.0 else 0.0
    monotone = left * right > 0.0
    return np.copysign(size, left) if monotone else 0.0


limited = compiled(_limited)


def _transport(rho, V, per_distance, per_width, centred, wall, limiter, rate, out):  # type: ignore[no-untyped-def]
    """Add −∂_x(ρu) to ``rate``; write the flux out of both walls, per unit area, to ``out``.

    rho, V, rate: (outer, N, inner). per_distance (N + 1,): 1/distance of the centres at each face.
    per_width (N,): 1/width. centred (N,): width over the sum of the two distances beside a cell.
    out: (2, outer, inner), positive outwards, lower wall first.
    """
    N = rho.shape[1]
    r, v = np.empty((N + 4, WIDTH)), np.empty((N + 2, WIDTH))
    gain = np.empty((N, WIDTH))
    flux, upper = np.empty(WIDTH), np.empty(WIDTH)
    per_slab, blocks = line_blocks(rho)
    for number in range(blocks):
        slab, first, lines = block(rho, number, per_slab)
        gather(rho, slab, first, lines, 2, wall, COPIED, r)
        gather(V, slab, first, lines, 1, wall, EXTENDED, v)
        for k in range(-1, N + 1):  # the cell above face k; −1 and N are the ghosts
            from_below = 1.0 if k > 0 or wall == PERIODIC else 0.0
            from_above = 1.0 if k < N or wall == PERIODIC else 0.0
            if wall == CLOSED and (k == 0 or k == N):
                from_below = from_above = 0.0
            c = centred[max(0, min(k, N - 1))]
            for j in range(lines):
                here = r[k + 2, j]
                change = 0.0
                if limiter != FIRST_ORDER:
                    change = limited(here - r[k + 1, j], r[k + 3, j] - here, c, limiter)
                if k >= 0:
                    u = (v[k, j] - v[k + 1, j]) * per_distance[k]
                    through = from_below * max(u, 0.0) * upper[j]
                    through += from_above * min(u, 0.0) * (here - 0.5 * change)
                    if k > 0:
                        gain[k - 1, j] = (flux[j] - through) * per_width[k - 1]
                    flux[j] = through
                upper[j] = here + 0.5 * change
            if wall != PERIODIC and k == 0:
                scatter_row(-flux, slab, first, lines, 0, out)
        if wall != PERIODIC:
            scatter_row(flux, slab, first, lines, 1, out)
        scatter_add(gain, slab, first, lines, rate)


transport = compiled(_transport)


def _outflow(V, per_distance, per_width, wall, total):  # type: ignore[no-untyped-def]
    """Add to ``total`` the rate at which each cell empties along this axis, 1/time."""
    N = V.shape[1]
    v, gain = np.empty((N + 2, WIDTH)), np.empty((N, WIDTH))
    per_slab, blocks = line_blocks(V)
    for number in range(blocks):
        slab, first, lines = block(V, number, per_slab)
        gather(V, slab, first, lines, 1, wall, EXTENDED, v)
        for k in range(N):
            downwards = 0.0 if wall == CLOSED and k == 0 else per_distance[k]
            upwards = 0.0 if wall == CLOSED and k == N - 1 else per_distance[k + 1]
            for j in range(lines):
                down = (v[k + 1, j] - v[k, j]) * downwards
                up = (v[k + 1, j] - v[k + 2, j]) * upwards
                gain[k, j] = (max(down, 0.0) + max(up, 0.0)) * per_width[k]
        scatter_add(gain, slab, first, lines, total)


outflow = compiled(_outflow)
