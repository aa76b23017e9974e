"""Conservative semi-Lagrangian remap along one axis of a uniform grid.

The new mass of a cell is the old mass between the feet of its two faces. Inside a cell the old mass
left of a foot is a polynomial of the cell's neighbours (order cells, degree order in the
primitive).

Positivity: a cell is rough where that polynomial is no distribution of its mass: where it leaves
[0, mass], runs backwards between two feet, or has a negative density at a face. There mass is
distributed linearly with a limited slope instead, for all feet of the cell alike. Neighbours share
the value at a foot, so nothing is lost or made: a flux limiter. Keeping the polynomial and only
clipping it would let a light cell give all it holds at every step, and spread tails a cell a step.
Rough cells are counted.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import CLOSED, PERIODIC
from mfpde.kernels.transport import MC, limited

ABREAST = 16
ROUNDING = 1e-15  # of a foot over the number of cells: so near a face it is on it


def _line_remap(line, feet, table, wall, cell, left, high, rough, b, wrapped, new):  # type: ignore[no-untyped-def]
    """Remap one line: cell masses ``line`` (N,), ``feet`` (N + 1,) in cells, to ``new`` (N,).

    Returns the mass that left below, above, and how many cells were limited.
    """
    N = line.shape[0]
    p = table.shape[0]
    r = p // 2
    count = 0
    for j in range(N):
        rough[j] = False
    if wall == PERIODIC:
        for j in range(N + 2 * r):
            wrapped[j] = line[(j - r) % N]
    for f in range(N + 1):
        x = feet[f]
        whole = np.rint(x)
        if abs(x - whole) <= ROUNDING * N:
            x = whole
        if wall != PERIODIC:
            x = min(max(x, 0.0), float(N))
        if wall == CLOSED and f == 0:
            x = 0.0
        if wall == CLOSED and f == N:
            x = float(N)
        j = int(np.floor(x))
        if wall != PERIODIC and j == N:
            j = N - 1
        xi = x - j
        if f > 0 and (j < cell[f - 1] or (j == cell[f - 1] and xi < left[f - 1])):
            j, xi = cell[f - 1], left[f - 1]
        if wall == PERIODIC and f > 0:
            past = j > cell[0] + N or (j == cell[0] + N and xi > left[0])
            if past or f == N:  # the last face is the first, a period on, to the last bit
                j, xi = cell[0] + N, left[0]
        cell[f], left[f] = j, xi
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
        total, upper = 0.0, 0.0  # mass left of the foot; density at the upper face
        for q in range(p - 1, -1, -1):
            total = (total + b[q]) * xi
            upper += (q + 1) * b[q]
        high[f] = total if xi < 1.0 else source[start + s]  # at a wall, to the last bit
        if 0.0 < xi < 1.0 and min(b[0], upper) < 0.0:
            rough[j % N] = True
    # cells in which the polynomial is no distribution of mass
    for f in range(N + 1):
        j = cell[f]
        k = j % N
        mass = line[k]
        if f > 0:
            before = f - 1
            same = cell[before] == cell[f]
            low_high = high[before] if same else 0.0
        elif wall == PERIODIC and cell[N - 1] - N == cell[0]:
            low_high = high[N - 1]
        else:
            low_high = 0.0
        rise = high[f] - low_high
        if rise < 0.0:
            rough[k] = True
        last = f == N or cell[f + 1] != cell[f]
        if last and mass - high[f] < 0.0:
            rough[k] = True
    for f in range(N + 1):
        k = cell[f] % N
        if rough[k]:
            before, after = (k - 1) % N, (k + 1) % N
            change = limited(line[k] - line[before], line[after] - line[k], 0.5, MC)
            if wall != PERIODIC and (k == 0 or k == N - 1):
                change = 0.0
            high[f] = left[f] * (line[k] - 0.5 * change * (1.0 - left[f]))
    for j in range(N):
        count += rough[j]
    for k in range(N):
        lower, upper = cell[k], cell[k + 1]
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
        for j in range(cell[0]):
            below += line[j]
        above = max(line[cell[N]] - high[N], 0.0)
        for j in range(cell[N] + 1, N):
            above += line[j]
    return below, above, count


line_remap = compiled(_line_remap)


def _remap(rho, feet, table, wall, result, out):  # type: ignore[no-untyped-def]
    """Remap the lines of ``rho`` (outer, N, inner) to ``result``; ``feet`` (outer, N + 1, inner).

    ``out`` (2, outer, inner) receives what left below and above, per unit area over the width of a
    cell. Returns the number of limited cells.
    """
    outer, N, inner = rho.shape
    lines, foot, new = np.empty((ABREAST, N)), np.empty((ABREAST, N + 1)), np.empty((ABREAST, N))
    cell, left = np.empty(N + 1, np.int64), np.empty(N + 1)
    high, rough = np.empty(N + 1), np.empty(N, np.bool_)
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
                    lines[j], foot[j], table, wall, cell, left, high, rough, b, wrapped, new[j]
                )
                out[0, o, first + j] = below
                out[1, o, first + j] = above
                limited += count
            for k in range(N):
                for j in range(width):
                    result[o, k, first + j] = new[j, k]
    return limited


remap = compiled(_remap)
