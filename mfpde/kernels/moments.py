"""Moments over the slowest axis: Σ_a rows(m, a) ρ(a, v), in the written order."""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled


def _moments(rho, rows):  # type: ignore[no-untyped-def]
    """Moments (m, M) of rho (N, M) with the weights ``rows`` (m, N), one pass over rho."""
    result = np.zeros((rows.shape[0], rho.shape[1]))
    for k in range(rho.shape[0]):
        for m in range(rows.shape[0]):
            weight = rows[m, k]
            for j in range(rho.shape[1]):
                result[m, j] += weight * rho[k, j]
    return result


moments = compiled(_moments)
