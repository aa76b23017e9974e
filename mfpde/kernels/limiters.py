"""Limited changes of ρ across cells: the slopes of linear reconstructions (van Leer 1979).

Rows of cells are those of mfpde/kernels/transport.py.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import PERIODIC

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


def _halves(rho, down, p, up, centred, limiter, half):  # type: ignore[no-untyped-def]
    """Write half the limited changes of the row at p across its cells, from the rows beside it."""
    n = half.size
    below, here, above = rho[down : down + n], rho[p : p + n], rho[up : up + n]
    if limiter == MINMOD:
        for j in range(n):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, MINMOD)
    elif limiter == MC:
        for j in range(n):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, MC)
    else:
        for j in range(n):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, VAN_LEER)


halves = compiled(_halves)


def _halves_within(rho, p, widths, d, wall, limiter, half):  # type: ignore[no-untyped-def]
    """The same along the row itself; 0 beside walls."""
    row, centred = rho[p : p + half.size], widths[d]
    last = row.size - 1
    if limiter == MINMOD:
        for j in range(1, last):
            half[j] = 0.5 * limited(row[j] - row[j - 1], row[j + 1] - row[j], centred[j], MINMOD)
    elif limiter == MC:
        for j in range(1, last):
            half[j] = 0.5 * limited(row[j] - row[j - 1], row[j + 1] - row[j], centred[j], MC)
    else:
        for j in range(1, last):
            half[j] = 0.5 * limited(row[j] - row[j - 1], row[j + 1] - row[j], centred[j], VAN_LEER)
    half[0] = half[last] = 0.0
    if wall == PERIODIC:
        seam = row[0] - row[last]
        half[0] = 0.5 * limited(seam, row[1] - row[0], centred[0], limiter)
        half[last] = 0.5 * limited(row[last] - row[last - 1], seam, centred[last], limiter)


halves_within = compiled(_halves_within)


def _halves_across(rho, p, k, stride, cells, wall, widths, limiter, half):  # type: ignore[no-untyped-def]
    """The same for the row at p, the k-th across an axis with this stride; 0 beside walls."""
    down = p - stride if k > 0 else p + (cells - 1) * stride
    up = p + stride if k < cells - 1 else p - (cells - 1) * stride
    if wall != PERIODIC and (k == 0 or k == cells - 1):
        half[:] = 0.0
    else:
        halves(rho, down, p, up, widths[k], limiter, half)


halves_across = compiled(_halves_across)
