"""Moments over the slowest axis: Σ_a rows(m, a) ρ(a, v), in the written order."""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled

BLOCK = 512  # columns at a time: their moments stay in the nearest cache
U = np.uintp


def _moments(rho, rows):  # type: ignore[no-untyped-def]
    """Moments (m, M) of rho (N, M) with the weights ``rows`` (m, N), one pass over rho."""
    N, M = rho.shape
    result = np.zeros((rows.shape[0], M))
    for first in range(0, M, BLOCK):
        width = min(BLOCK, M - first)
        for k in range(N):
            values = rho[k, first : first + width]
            for m in range(rows.shape[0]):
                weight, sums = rows[m, k], result[m, first : first + width]
                for j in range(width):
                    sums[U(j)] += weight * values[U(j)]
    return result


moments = compiled(_moments)
