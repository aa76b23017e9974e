"""Moments over the slowest axis: Σ_a rows(m, a) ρ(a, v), in the written order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.compiling import compiled
from mfpde.kernels.sharing import shared

BLOCK = 256  # columns at a time: their moments stay in the nearest cache
TOGETHER = 4  # layers that are added up at once
U = np.uintp
Array = NDArray[np.float64]


def _moments_of(rho, rows, result, begin, end):  # type: ignore[no-untyped-def]
    """Blocks ``begin`` to ``end`` of ``moments``; ``result`` is 0 before."""
    N, M = rho.shape
    for number in range(begin, end):
        first = number * BLOCK
        width = min(BLOCK, M - first)
        whole = N // TOGETHER * TOGETHER
        for k in range(0, whole, TOGETHER):
            w, x = rho[k, first : first + width], rho[k + 1, first : first + width]
            y, z = rho[k + 2, first : first + width], rho[k + 3, first : first + width]
            for m in range(rows.shape[0]):
                a, b, c, d = rows[m, k], rows[m, k + 1], rows[m, k + 2], rows[m, k + 3]
                sums = result[m, first : first + width]
                for j in range(width):
                    i = U(j)
                    sums[i] += (a * w[i] + b * x[i]) + (c * y[i] + d * z[i])
        for k in range(whole, N):
            values = rho[k, first : first + width]
            for m in range(rows.shape[0]):
                weight, sums = rows[m, k], result[m, first : first + width]
                for j in range(width):
                    sums[U(j)] += weight * values[U(j)]
    return 0


moments_of = compiled(_moments_of)


def moments(rho: Array, rows: Array) -> Array:
    """Moments (m, M) of rho (N, M) with the weights ``rows`` (m, N), one pass over rho."""
    M = rho.shape[1]
    result = np.zeros((rows.shape[0], M))
    shared(moments_of, (rho, rows, result), (M + BLOCK - 1) // BLOCK, rho.size)
    return result
