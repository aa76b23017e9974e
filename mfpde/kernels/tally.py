"""What one pass over a density counts: moments along the first axis, and the least value."""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled

TOGETHER = 4  # layers of cells that are added up at once


def _count(rho, start, stop, first, last, weights, moments, least):  # type: ignore[no-untyped-def]
    """Add the layers start … stop of rho (N, M), columns first … last.

    At most TOGETHER layers, ``start`` a multiple of that: so the same sums are made in the same
    order, whoever calls.
    """
    if stop - start == TOGETHER:
        w, x = rho[start, first:last], rho[start + 1, first:last]
        y, z = rho[start + 2, first:last], rho[start + 3, first:last]
        for m in range(weights.shape[0]):
            a, b, c, d = weights[m, start : start + 4]
            sums = moments[m, first:last]
            for j in range(sums.size):
                sums[j] += (a * w[j] + b * x[j]) + (c * y[j] + d * z[j])
        lowest = least[first:last]
        for j in range(lowest.size):
            lowest[j] = min(min(lowest[j], min(w[j], x[j])), min(y[j], z[j]))
        return
    for k in range(start, stop):
        row, lowest = rho[k, first:last], least[first:last]
        for m in range(weights.shape[0]):
            weight, sums = weights[m, k], moments[m, first:last]
            for j in range(sums.size):
                sums[j] += weight * row[j]
        for j in range(lowest.size):
            lowest[j] = min(lowest[j], row[j])


count = compiled(_count)


def _tally(rho, weights, moments, least):  # type: ignore[no-untyped-def]
    """Write moments (m, M) of rho (N, M) with ``weights`` (m, N), and the least of every column."""
    N, M = rho.shape
    moments[:] = 0.0
    least[:] = np.inf
    for start in range(0, N, TOGETHER):
        count(rho, start, min(start + TOGETHER, N), 0, M, weights, moments, least)


tally = compiled(_tally)
