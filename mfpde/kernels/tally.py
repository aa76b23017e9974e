"""What one pass over a density counts: moments along the first axis, and the least value."""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled

TOGETHER = 4  # layers of cells that are added up at once
SLABS, MANY = 4, 2**20  # parts that so many cells are counted in, whoever takes which
U = np.uintp


def _add(row, weights, moments, least):  # type: ignore[no-untyped-def]
    """Add one layer."""
    for m in range(weights.size):
        for j in range(row.size):
            moments[m, j] += weights[m] * row[j]
    for j in range(row.size):
        least[j] = min(least[j], row[j])


add = compiled(_add)


def _numbers(weights, m, start):  # type: ignore[no-untyped-def]
    """Weights of TOGETHER layers: as numbers no write to an array can change them."""
    w = weights[m]
    return w[start], w[start + 1], w[start + 2], w[start + 3]


numbers = compiled(_numbers)


def _sum(w, p, q, r, s):  # type: ignore[no-untyped-def]
    return (w[0] * p + w[1] * q) + (w[2] * r + w[3] * s)


weighted = compiled(_sum)


def _count(rho, start, stop, first, last, weights, moments, least):  # type: ignore[no-untyped-def]
    """Add the layers start … stop of rho (N, M), columns first … last.

    At most TOGETHER layers, ``start`` a multiple of that: so the same sums are made in the same
    order, whoever calls.
    """
    if stop - start < TOGETHER:
        for k in range(start, stop):
            add(rho[k, first:last], weights[:, k], moments[:, first:last], least[first:last])
        return
    a, b = rho[start, first:last], rho[start + 1, first:last]
    c, d = rho[start + 2, first:last], rho[start + 3, first:last]
    zeroth, one, two = moments[0, first:last], moments[1, first:last], moments[2, first:last]
    tilted, lowest = moments[3, first:last], least[first:last]
    of_0, of_1 = numbers(weights, 0, start), numbers(weights, 1, start)
    of_2, of_3 = numbers(weights, 2, start), numbers(weights, 3, start)
    for lane in range(a.size):
        j = U(lane)
        p, q, r, s, least_so_far = a[j], b[j], c[j], d[j], lowest[j]
        zeroth[j] += weighted(of_0, p, q, r, s)
        one[j] += weighted(of_1, p, q, r, s)
        two[j] += weighted(of_2, p, q, r, s)
        tilted[j] += weighted(of_3, p, q, r, s)
        low, high = p if p < q else q, r if r < s else s
        low = low if low < high else high
        lowest[j] = low if low < least_so_far else least_so_far


count = compiled(_count)


def _layers_before(N, slab, slabs):  # type: ignore[no-untyped-def]
    """Where one of some slabs of the N layers begins: a multiple of TOGETHER, or N."""
    return N if slab == slabs else N // TOGETHER * slab // slabs * TOGETHER


layers_before = compiled(_layers_before)


def _tally(rho, weights, moments, least, begin, end):  # type: ignore[no-untyped-def]
    """Write moments (slabs, 4, M) of rho (N, M) with ``weights`` (4, N), and the least of columns.

    Of the slabs ``begin`` to ``end``.
    """
    N, M = rho.shape
    for s in range(begin, end):
        moments[s] = 0.0
        least[s] = np.inf
        stop = layers_before(N, s + 1, len(least))
        for start in range(layers_before(N, s, len(least)), stop, TOGETHER):
            count(rho, start, min(start + TOGETHER, stop), 0, M, weights, moments[s], least[s])
    return 0


tally = compiled(_tally)
