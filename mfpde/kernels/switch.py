"""Cell averages to point values along one axis, and back, by flux differences.

value_k ← value_k + G_{k+1} − G_k with G a difference of odd order: the sum is kept. Positivity:
what a cell may lose through both faces is at most what it holds; the loser's fluxes are scaled.

Lines lie side by side in a tile that is read as one long row: a neighbour along the axis is ``W``
numbers away, be there one contiguous line in it or many. Unsigned indices let loops be vectorised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.compiling import compiled
from mfpde.kernels.sharing import shared
from mfpde.kernels.tiles import PERIODIC

MOST, EIGHT = 64, 8  # lines side by side
TILE = 4096  # numbers in a tile: it and two like it stay in the nearest caches
U = np.uintp
Array = NDArray[np.float64]


def _fluxes(v, N, W, weights, wall, flux):  # type: ignore[no-untyped-def]
    """Σ_m g_m (v_{f+m} − v_{f−1−m}) through faces 0 to N of lines with ghosts; 0 through walls.

    There are two weights or more.
    """
    r = weights.shape[0]
    g, h, w, middle = weights[0], weights[1], U(W), U((r - 1) * W)
    for i in range((N + 1) * W):
        below = U(i) + middle
        near, far = v[below + w] - v[below], v[below + w + w] - v[below - w]
        flux[U(i)] = g * near + h * far
    for m in range(2, r):
        g, upper, lower = weights[m], U((r + m) * W), U((r - 1 - m) * W)
        for i in range((N + 1) * W):
            flux[U(i)] += g * (v[U(i) + upper] - v[U(i) + lower])
    if wall != PERIODIC:
        for i in range(W):
            flux[i], flux[N * W + i] = 0.0, 0.0


fluxes = compiled(_fluxes)


def _limit(v, N, W, r, wall, flux, scale):  # type: ignore[no-untyped-def]
    """Scale the fluxes out of cells that would lose more than they hold; how many cells there are.

    ``scale`` has a row before the first cell and one after the last.
    """
    limited = 0
    for i in range(N * W):
        low, high = flux[U(i)], flux[U(i) + U(W)]
        loss = (low if low > 0.0 else 0.0) - (high if high < 0.0 else 0.0)
        limited += loss > v[U(i) + U(r * W)]
    if limited == 0:
        return 0
    for i in range(N * W):
        low, high, held = flux[U(i)], flux[U(i) + U(W)], v[U(i) + U(r * W)]
        loss = (low if low > 0.0 else 0.0) - (high if high < 0.0 else 0.0)
        share = (held if held > 0.0 else 0.0) / loss * (1.0 - 1e-15)
        scale[U(i) + U(W)] = share if loss > held else 1.0
    for i in range(W):
        scale[i] = scale[N * W + i] if wall == PERIODIC else 1.0
        scale[(N + 1) * W + i] = scale[W + i] if wall == PERIODIC else 1.0
    for i in range((N + 1) * W):
        below, above, g = scale[U(i)], scale[U(i) + U(W)], flux[U(i)]
        flux[U(i)] = g * (above if g > 0.0 else below)
    return limited


limit = compiled(_limit)


def _switch_lines(field, weights, wall, limited, result, most, begin, end):  # type: ignore[no-untyped-def]
    """Blocks ``begin`` to ``end``, of at most ``most`` lines, of ``switch``."""
    _, N, inner = field.shape
    r = weights.shape[0]
    source, target = field.reshape(field.size), result.reshape(result.size)
    v, flux = np.empty((N + 2 * r) * most), np.empty((N + 1) * most)
    scale = np.empty((N + 2) * most)
    per_slab = (inner + most - 1) // most
    count = 0
    for number in range(begin, end):
        o, first = number // per_slab, number % per_slab * most
        W = min(most, inner - first)
        if inner == 1:
            v[r : r + N] = source[o * N : o * N + N]
        else:
            for k in range(N):
                at, to = (o * N + k) * inner + first, (k + r) * W
                for i in range(W):
                    v[U(to + i)] = source[U(at + i)]
        for g in range(r):
            low, high = (N + r - 1 - g) * W, (r + g) * W  # wrapped, or mirrored
            if wall != PERIODIC:
                low, high = high, low
            for i in range(W):
                v[(r - 1 - g) * W + i] = v[low + i]
                v[(N + r + g) * W + i] = v[high + i]
        fluxes(v, N, W, weights, wall, flux)
        if limited:
            count += limit(v, N, W, r, wall, flux, scale)
        if inner == 1:
            for k in range(N):
                i = U(k)
                target[U(o * N + k)] = v[i + U(r)] + (flux[i + U(1)] - flux[i])
        else:
            for k in range(N):
                at, to = (o * N + k) * inner + first, k * W
                for j in range(W):
                    i = U(to + j)
                    target[U(at + j)] = v[i + U(r * W)] + (flux[i + U(W)] - flux[i])
    return count


switch_lines = compiled(_switch_lines)


def switch(field: Array, weights: Array, wall: int, limited: bool, result: Array) -> int:
    """Convert along the axis of the view (outer, N, inner); returns how many cells were limited.

    No flux crosses an end that is not periodic. There are two weights or more.
    """
    field = np.ascontiguousarray(field)
    outer, N, inner = field.shape
    most = min(inner, MOST, max(EIGHT, TILE // N // EIGHT * EIGHT))
    blocks = outer * ((inner + most - 1) // most)
    return shared(switch_lines, (field, weights, wall, limited, result, most), blocks, field.size)
