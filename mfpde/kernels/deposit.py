"""Point masses dealt to cell centres: a positive, conservative remeshing in any dimension.

Along each axis a mass is shared by the six centres about it, with the kernel Λ4,2 of Cottet,
Etancelin, Pérignon & Picard (ESAIM: M2AN 48 (2014)): interpolating, twice differentiable, moments
0 to 4 exact. Smoothness is what counts where images of cells lie apart: masses at a distance s
leave a ripple ~ (s/h)⁴ in a uniform density; kernels with corners leave (s/h)².

Its lobes are negative. In every source the part beyond the linear kernel's is scaled by one factor,
so that no centre is drained below zero (Zalesak, J. Comput. Phys. 31 (1979), lower bound 0): both
kernels have the same mass and first moment, and so has every mixture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import PERIODIC

Array = NDArray[np.float64]

REACH = 3  # centres on either side that a mass is dealt to
SIX = 2 * REACH
MARGIN = 1.0 - 1e-12  # of what a centre holds, that may be drained: short of round-off below zero


def _share(t, share):  # type: ignore[no-untyped-def]
    """Λ4,2 at the six centres −2, …, 3 seen from t in [0, 1]."""
    for side in range(2):
        u = t if side == 0 else 1.0 - t
        share[5 * side] = u * (2 + u * (-1 + u * (-9 + u * (13 - 5 * u)))) / 24
        share[1 + 3 * side] = u * (-16 + u * (16 + u * (39 + u * (-64 + 25 * u)))) / 24
        share[2 + side] = 1 + u * u * (-30 + u * (-70 + u * (126 - 50 * u))) / 24


share_out = compiled(_share)


def _shares(y, centres, cells, wall, index, smooth, linear):  # type: ignore[no-untyped-def]
    """The six cells about y along one axis, and what each gets by the smooth and linear kernel.

    ``centres`` (cells + 2·REACH,). Where a wall cuts the stencil the linear kernel stands for
    both; beyond the outermost centres that cell takes all. On stretched axes Λ4,2, seen from the
    relative distance, is set right in its first moment.
    """
    first, last = centres[REACH], centres[REACH + cells - 1]
    k = min(max(int((y - first) / (last - first) * (cells - 1)), -1), cells - 1)
    while k > -1 and y < centres[REACH + k]:
        k -= 1
    while k < cells - 1 and y >= centres[REACH + k + 1]:
        k += 1
    below = centres[REACH + k]
    per_gap = 1.0 / (centres[REACH + k + 1] - below)
    t = min((y - below) * per_gap, 1.0)
    if wall != PERIODIC and k == -1:
        t = 1.0
    elif wall != PERIODIC and k == cells - 1:
        t = 0.0
    linear[:] = 0.0
    linear[REACH - 1], linear[REACH] = 1.0 - t, t
    if wall == PERIODIC or REACH - 1 <= k < cells - REACH:
        share_out(t, smooth)
        astray = t
        for m in range(SIX):
            astray -= smooth[m] * ((centres[k + 1 + m] - below) * per_gap)
        smooth[REACH - 1] -= astray
        smooth[REACH] += astray
    else:
        smooth[:] = linear
    for m in range(SIX):
        i = k + 1 - REACH + m
        index[m] = i % cells if wall == PERIODIC else min(max(i, 0), cells - 1)


shares = compiled(_shares)


def _rows(place, centres, start, cells, walls, six, index, smooth, linear):  # type: ignore[no-untyped-def]
    """The cells about a point in D dimensions: rows along the last axis, six cells in each.

    Writes the flat first cell of each row's line and its shares by all axes but the last, and to
    ``six`` (index, smooth, linear) those along the last axis. Returns how many rows there are.
    """
    i, s, r = six
    index[0], smooth[0], linear[0] = 0, 1.0, 1.0
    count, last = 1, cells.shape[0] - 1
    for k in range(last + 1):
        shares(place[k], centres[start[k] : start[k + 1]], cells[k], walls[k], i, s, r)
        if k < last:
            for c in range(count - 1, -1, -1):  # backwards: 6c ≥ c
                flat, high, low = index[c], smooth[c], linear[c]
                for m in range(SIX - 1, -1, -1):
                    index[SIX * c + m] = (flat + i[m]) * cells[k + 1]
                    smooth[SIX * c + m] = high * s[m]
                    linear[SIX * c + m] = low * r[m]
            count *= SIX
    return count


rows_about = compiled(_rows)


def _deposit(masses, places, centres, start, cells, walls, result):  # type: ignore[no-untyped-def]
    """Deal masses (M,) ≥ 0 at places (M, D), inside the box, to the cells of ``result`` (flat).

    centres: those of all axes one after another, with ghosts; axis k from start[k] to start[k + 1].
    Returns how many masses were limited.
    """
    most = SIX ** (cells.shape[0] - 1)
    index, smooth, linear = np.empty(most, np.int64), np.empty(most), np.empty(most)
    six = np.empty(SIX, np.int64), np.empty(SIX), np.empty(SIX)
    i, s, r = six
    drained = np.zeros(result.shape[0])
    result[:] = 0.0
    for j in range(masses.shape[0]):
        if masses[j] > 0.0:
            count = rows_about(places[j], centres, start, cells, walls, six, index, smooth, linear)
            for c in range(count):
                high, low = masses[j] * smooth[c], masses[j] * linear[c]
                for m in range(SIX):
                    dealt = low * r[m]
                    result[index[c] + i[m]] += dealt
                    drained[index[c] + i[m]] += max(dealt - high * s[m], 0.0)
    allowed = drained
    for f in range(result.shape[0]):
        enough = drained[f] <= MARGIN * result[f]
        allowed[f] = 1.0 if enough else MARGIN * result[f] / drained[f]
    limited = 0
    for j in range(masses.shape[0]):
        if masses[j] > 0.0:
            count = rows_about(places[j], centres, start, cells, walls, six, index, smooth, linear)
            factor = 1.0
            for c in range(count):
                for m in range(SIX):
                    if smooth[c] * s[m] < linear[c] * r[m]:
                        factor = min(factor, allowed[index[c] + i[m]])
            limited += factor < 1.0
            for c in range(count):
                high, low = masses[j] * smooth[c], masses[j] * linear[c]
                for m in range(SIX):
                    result[index[c] + i[m]] += factor * (high * s[m] - low * r[m])
    return limited


deposit = compiled(_deposit)


def _divide(masses, share, base, wall, result):  # type: ignore[no-untyped-def]
    """Deal the masses along the axis of the view (outer, N, inner) to q sub-nodes in every cell.

    share: (2, q, 6) what sub-node j gets from the cells base[j], …, base[j] + 5 counted from its
    own, by the smooth and the linear kernel; limited as in ``deposit``. Mirrored at walls.
    result: (outer, N·q, inner).
    """
    outer, N, inner = masses.shape
    q = share.shape[1]
    low, allowed, factor = np.empty(N * q), np.empty(N * q), np.empty(N)
    source = np.empty((N * q, SIX), np.int64)
    for f in range(N * q):
        for m in range(SIX):
            i = f // q + base[f % q] + m
            if wall == PERIODIC:
                i %= N
            elif i < 0:
                i = -1 - i
            elif i >= N:
                i = 2 * N - 1 - i
            source[f, m] = i
    for o in range(outer):
        for n in range(inner):
            for f in range(N * q):
                linear, drained = 0.0, 0.0
                for m in range(SIX):
                    mass = masses[o, source[f, m], n]
                    linear += mass * share[1, f % q, m]
                    drained += mass * max(share[1, f % q, m] - share[0, f % q, m], 0.0)
                low[f] = linear
                allowed[f] = 1.0 if drained <= MARGIN * linear else MARGIN * linear / drained
            factor[:] = 1.0
            for f in range(N * q):
                for m in range(SIX):
                    if share[0, f % q, m] < share[1, f % q, m]:
                        i = source[f, m]
                        factor[i] = min(factor[i], allowed[f])
            for f in range(N * q):
                total = low[f]
                for m in range(SIX):
                    i = source[f, m]
                    beyond = share[0, f % q, m] - share[1, f % q, m]
                    total += masses[o, i, n] * factor[i] * beyond
                result[o, f, n] = total


divide = compiled(_divide)


def sub_shares(q: int) -> tuple[Array, NDArray[np.int64]]:
    """What ``divide`` needs for q sub-nodes in a cell: (2, q, 6) and (q,)."""
    share, base = np.zeros((2, q, SIX)), np.empty(q, np.int64)
    for j in range(q):
        offset = (j + 0.5) / q - 0.5
        base[j] = -REACH if offset < 0 else 1 - REACH
        t = offset - base[j] + 1 - REACH
        share_out(t, share[0, j])
        share[1, j, REACH - 1 : REACH + 1] = 1.0 - t, t
    return share / q, base


def with_ghosts(centres: Array, period: float | None) -> Array:
    """Centres of one axis with REACH more beyond each end: the other end's, or equally spaced."""
    steps = np.arange(1, REACH + 1)
    if period is not None:
        return np.concatenate([centres[-REACH:] - period, centres, centres[:REACH] + period])
    first, last = centres[1] - centres[0], centres[-1] - centres[-2]
    return np.concatenate([centres[0] - first * steps[::-1], centres, centres[-1] + last * steps])
