"""Cell averages to point values along one axis, and back, by flux differences.

value_k ← value_k + G_{k+1} − G_k with G a difference of odd order: the sum is kept. Positivity:
what a cell may lose through both faces is at most what it holds; the loser's fluxes are scaled.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import (
    MIRRORED,
    PERIODIC,
    WIDTH,
    block,
    gather,
    line_blocks,
    scatter,
)


def _switch(field, weights, wall, limit, result):  # type: ignore[no-untyped-def]
    """Convert along the axis of the view (outer, N, inner); returns how many cells were limited.

    No flux crosses an end that is not periodic.
    """
    N = field.shape[1]
    r = weights.shape[0]
    v, flux, scale = np.empty((N + 2 * r, WIDTH)), np.empty((N + 1, WIDTH)), np.empty((N, WIDTH))
    per_slab, blocks = line_blocks(field)
    limited = 0
    for number in range(blocks):
        slab, first, lines = block(field, number, per_slab)
        gather(field, slab, first, lines, r, wall, MIRRORED, v)
        for f in range(N + 1):
            inside = 0.0 if wall != PERIODIC and (f == 0 or f == N) else 1.0
            for j in range(lines):
                flux[f, j] = inside * weights[0] * (v[f + r, j] - v[f + r - 1, j])
            for m in range(1, r):
                g = inside * weights[m]
                for j in range(lines):
                    flux[f, j] += g * (v[f + r + m, j] - v[f + r - 1 - m, j])
        if limit:
            for k in range(N):
                for j in range(lines):
                    loss = max(-flux[k + 1, j], 0.0) + max(flux[k, j], 0.0)
                    excess = loss > v[k + r, j]
                    scale[k, j] = max(v[k + r, j], 0.0) / loss * (1.0 - 1e-15) if excess else 1.0
                    limited += excess
            for f in range(N + 1):
                below, above = (f - 1) % N, f % N
                for j in range(lines):
                    flux[f, j] *= scale[above, j] if flux[f, j] > 0.0 else scale[below, j]
        for k in range(N):
            for j in range(lines):
                v[k, j] = v[k + r, j] + (flux[k + 1, j] - flux[k, j])
        scatter(v, slab, first, lines, result)
    return limited


switch = compiled(_switch)
