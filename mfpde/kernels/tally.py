"""What one pass over a density counts: moments along the first axis, and the least value."""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled

TOGETHER = 4  # layers of cells that are added up at once


def _add(row, weights, moments, least):  # type: ignore[no-untyped-def]
    """Add one layer."""
    for m in range(weights.size):
        for j in range(row.size):
            moments[m, j] += weights[m] * row[j]
    for j in range(row.size):
        least[j] = min(least[j], row[j])


add = compiled(_add)


def _count(rho, start, stop, first, last, weights, moments, least):  # type: ignore[no-untyped-def]
    """Add the layers start … stop of rho (N, M), columns first … last.

    At most TOGETHER layers, ``start`` a multiple of that: so the same sums are made in the same
    order, whoever calls.
    """
    if stop - start < TOGETHER:
        for k in range(start, stop):
            add(rho[k, first:last], weights[:, k], moments[:, first:last], least[first:last])
        return
    w, x = rho[start, first:last], rho[start + 1, first:last]
    y, z = rho[start + 2, first:last], rho[start + 3, first:last]
    a, b, c, d = (
        weights[:, start],
        weights[:, start + 1],
        weights[:, start + 2],
        weights[:, start + 3],
    )
    zeroth, one = moments[0, first:last], moments[1, first:last]
    two, lowest = moments[2, first:last], least[first:last]
    for j in range(w.size):
        zeroth[j] += (a[0] * w[j] + b[0] * x[j]) + (c[0] * y[j] + d[0] * z[j])
        one[j] += (a[1] * w[j] + b[1] * x[j]) + (c[1] * y[j] + d[1] * z[j])
        two[j] += (a[2] * w[j] + b[2] * x[j]) + (c[2] * y[j] + d[2] * z[j])
        lowest[j] = min(min(lowest[j], min(w[j], x[j])), min(y[j], z[j]))
    for m in range(3, weights.shape[0]):
        sums = moments[m, first:last]
        for j in range(w.size):
            sums[j] += (a[m] * w[j] + b[m] * x[j]) + (c[m] * y[j] + d[m] * z[j])


count = compiled(_count)


def _tally(rho, weights, moments, least):  # type: ignore[no-untyped-def]
    """Write moments (m, M) of rho (N, M) with ``weights`` (m, N), and the least of every column."""
    N, M = rho.shape
    moments[:] = 0.0
    least[:] = np.inf
    for start in range(0, N, TOGETHER):
        count(rho, start, min(start + TOGETHER, N), 0, M, weights, moments, least)


tally = compiled(_tally)
