"""Convolution along one axis with a symmetric stencil of nonnegative weights.

Sums of products of nonnegative numbers: whatever the field, the sign needs no limiter. Lines are
wrapped, or mirrored at both ends, so that the sum of every line is kept.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import MIRRORED, WIDTH, block, gather, line_blocks, scatter


def _convolve(field, weights, wall, result):  # type: ignore[no-untyped-def]
    """Σ_j c_|j| field_{k+j} along the axis of the view (outer, N, inner); weights (c_0, …, c_r).

    r is at most N.
    """
    N = field.shape[1]
    r = weights.shape[0] - 1
    v, new = np.empty((N + 2 * r, WIDTH)), np.empty((N, WIDTH))
    per_slab, blocks = line_blocks(field)
    for number in range(blocks):
        slab, first, lines = block(field, number, per_slab)
        gather(field, slab, first, lines, r, wall, MIRRORED, v)
        for k in range(N):
            for j in range(lines):
                new[k, j] = weights[0] * v[k + r, j]
            for m in range(1, r + 1):
                for j in range(lines):
                    new[k, j] += weights[m] * (v[k + r - m, j] + v[k + r + m, j])
        scatter(new, slab, first, lines, result)


convolve = compiled(_convolve)
