"""WENO-Z reconstruction of point values at faces from averages along one axis, order 5.

Three parabolas through three cells each, weighted by how smooth they are (Jiang & Shu 1996; the
weights of Borges, Carmona, Costa & Don, J. Comput. Phys. 227 (2008), eqs. 25, 28 with power 2,
which keeps order 5 where ∂ρ = 0).
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.faces import shut
from mfpde.kernels.tiles import COPIED, WIDTH, block, gather, line_blocks, scatter

TINY = 1e-40  # against 0/0 only


def _face_value(a, b, c, d, e):  # type: ignore[no-untyped-def]
    """The value at the face between c and d, seen from c."""
    bend, tilt = a - 2.0 * b + c, a - 4.0 * b + 3.0 * c
    rough_0 = 13.0 / 12.0 * bend * bend + 0.25 * tilt * tilt
    bend, tilt = b - 2.0 * c + d, b - d
    rough_1 = 13.0 / 12.0 * bend * bend + 0.25 * tilt * tilt
    bend, tilt = c - 2.0 * d + e, 3.0 * c - 4.0 * d + e
    rough_2 = 13.0 / 12.0 * bend * bend + 0.25 * tilt * tilt
    tau = abs(rough_0 - rough_2)
    s_0, s_1, s_2 = tau / (rough_0 + TINY), tau / (rough_1 + TINY), tau / (rough_2 + TINY)
    w_0, w_1, w_2 = 1.0 + s_0 * s_0, 6.0 * (1.0 + s_1 * s_1), 3.0 * (1.0 + s_2 * s_2)
    value = w_0 * (2.0 * a - 7.0 * b + 11.0 * c)
    value += w_1 * (-b + 5.0 * c + 2.0 * d)
    value += w_2 * (2.0 * c + 5.0 * d - e)
    return value / (6.0 * (w_0 + w_1 + w_2))


face_value = compiled(_face_value)


def _reconstructed(rho, wall, below, above):  # type: ignore[no-untyped-def]
    """Write the densities on both sides of every face of the view (outer, N, inner)."""
    N = rho.shape[1]
    r = np.empty((N + 6, WIDTH))
    under, over = np.empty((N + 1, WIDTH)), np.empty((N + 1, WIDTH))
    per_slab, blocks = line_blocks(rho)
    for number in range(blocks):
        slab, first, lines = block(rho, number, per_slab)
        gather(rho, slab, first, lines, 3, wall, COPIED, r)
        for f in range(N + 1):  # rows f, …, f + 5 are the cells f − 3, …, f + 2
            for j in range(lines):
                a, b, c = r[f, j], r[f + 1, j], r[f + 2, j]
                d, e, g = r[f + 3, j], r[f + 4, j], r[f + 5, j]
                under[f, j] = face_value(a, b, c, d, e)
                over[f, j] = face_value(g, e, d, c, b)
        shut(under, over, wall, lines)
        scatter(under, slab, first, lines, below)
        scatter(over, slab, first, lines, above)


reconstructed = compiled(_reconstructed)
