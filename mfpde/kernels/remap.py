"""Conservative semi-Lagrangian remap along one axis of a uniform grid.

The new mass of a cell is the old mass between the feet of its two faces. Inside a cell the old mass
left of a foot is a polynomial of the cell's neighbours (order cells, degree order in the primitive).

Positivity: where the polynomial would leave [0, mass of the cell] or run backwards between two feet
of one cell, it is blended with the linear mass, by the least share that cures it, for all feet of
that cell alike. Faces share their value, so nothing is lost or made: a flux limiter. Blends are
counted.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import CLOSED, PERIODIC

ABREAST = 16


def _line_remap(line, feet, table, wall, cell, left, high, theta, b, wrapped, new):  # type: ignore[no-untyped-def]
    """Remap one line: cell masses ``line`` (N,), ``feet`` (N + 1,) in cells, to ``new`` (N,).

    Returns the mass that left below, above, and how many cells were limited.
    """
    N = line.shape[0]
    p = table.shape[0]
    r = p // 2
    limited = 0
    for j in range(N):
        theta[j] = 1.0
    if wall == PERIODIC:
        for j in range(N + 2 * r):
            wrapped[j] = line[(j - r) % N]
    for f in range(N + 1):
        x = feet[f]
        if wall == PERIODIC:
            if f == N:
                x = feet[0] + N
        else:
            x = min(max(x, 0.0), float(N))
            if wall == CLOSED and f == 0:
                x = 0.0
            if wall == CLOSED and f == N:
                x = float(N)
        if f > 0 and x < cell[f - 1] + left[f - 1]:
            x = cell[f - 1] + left[f - 1]
        j = int(np.floor(x))
        if wall != PERIODIC and j == N:
            j = N - 1
        xi = x - j
        cell[f] = j
        left[f] = xi
        start = j if wall == PERIODIC else min(max(j - r, 0), N - p)
        s = r if wall == PERIODIC else j - start
        source = wrapped if wall == PERIODIC else line
        if wall == PERIODIC:
            start = j % N
        for q in range(p):
            b[q] = 0.0
        for m in range(p):
            here = source[start + m]
            for q in range(p):
                b[q] += table[s, m, q] * here
        total = 0.0
        for q in range(p - 1, -1, -1):
            total = (total + b[q]) * xi
        high[f] = total
    # the least blend per cell
    for f in range(N + 1):
        j = int(cell[f])
        k = j % N
        mass = line[k]
        if f > 0:
            before = f - 1
            same = cell[before] == cell[f]
            low_high = high[before] if same else 0.0
            low_left = left[before] if same else 0.0
        elif wall == PERIODIC and cell[N - 1] - N == cell[0]:
            low_high, low_left = high[N - 1], left[N - 1]
        else:
            low_high, low_left = 0.0, 0.0
        rise = high[f] - low_high
        linear = mass * (left[f] - low_left)
        if rise < 0.0:
            theta[k] = min(theta[k], linear / (linear - rise))
        last = f == N or cell[f + 1] != cell[f]
        if last:
            rise = mass - high[f]
            linear = mass * (1.0 - left[f])
            if rise < 0.0:
                theta[k] = min(theta[k], linear / (linear - rise))
    for f in range(N + 1):
        k = int(cell[f]) % N
        if theta[k] < 1.0:
            linear = line[k] * left[f]
            # a hair below the bound, so that round-off cannot cross it
            high[f] = linear + theta[k] * (1.0 - 1e-14) * (high[f] - linear)
    for j in range(N):
        if theta[j] < 1.0:
            limited += 1
    for k in range(N):
        lower, upper = int(cell[k]), int(cell[k + 1])
        if lower == upper:
            mass = max(high[k + 1] - high[k], 0.0)
        else:
            mass = max(line[lower % N] - high[k], 0.0) + high[k + 1]
            for j in range(lower + 1, upper):
                mass += line[j % N]
        new[k] = mass
    below, above = 0.0, 0.0
    if wall != PERIODIC:
        below = high[0]
        for j in range(int(cell[0])):
            below += line[j]
        above = max(line[int(cell[N])] - high[N], 0.0)
        for j in range(int(cell[N]) + 1, N):
            above += line[j]
    return below, above, limited


line_remap = compiled(_line_remap)


def _remap(rho, feet, table, wall, result, out):  # type: ignore[no-untyped-def]
    """Remap the lines of ``rho`` (outer, N, inner) to ``result``; ``feet`` (outer, N + 1, inner).

    ``out`` (2, outer, inner) receives what left below and above, per unit area over the width of a
    cell. Returns the number of limited cells.
    """
    outer, N, inner = rho.shape
    lines, foot, new = np.empty((ABREAST, N)), np.empty((ABREAST, N + 1)), np.empty((ABREAST, N))
    cell, left = np.empty(N + 1), np.empty(N + 1)
    high, theta = np.empty(N + 1), np.empty(N)
    b, wrapped = np.empty(table.shape[0]), np.empty(N + table.shape[0])
    limited = 0
    for o in range(outer):
        for first in range(0, inner, ABREAST):
            width = min(ABREAST, inner - first)
            for k in range(N):
                for j in range(width):
                    lines[j, k] = rho[o, k, first + j]
            for k in range(N + 1):
                for j in range(width):
                    foot[j, k] = feet[o, k, first + j]
            for j in range(width):
                below, above, count = line_remap(
                    lines[j], foot[j], table, wall, cell, left, high, theta, b, wrapped, new[j]
                )
                out[0, o, first + j] = below
                out[1, o, first + j] = above
                limited += count
            for k in range(N):
                for j in range(width):
                    result[o, k, first + j] = new[j, k]
    return limited


remap = compiled(_remap)
