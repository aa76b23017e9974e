"""Cell averages to point values along one axis, and back, by flux differences.

value_k ← value_k + G_{k+1} − G_k with G a difference of odd order: the sum is kept. Positivity:
what a cell may lose through both faces is at most what it holds; the loser's fluxes are scaled.
Such cells are few: shares are computed only where a cell of the row in hand asks for one.

One pass over the field: the flux through a face tells what the cell below loses, that the flux of
the face below, and that the value of the cell below it. Lines beside each other go abreast, in the
rows of a field; lines that follow each other, as on the fastest axis, go in a row end to end.
Unsigned indices let loops be vectorised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.compiling import compiled
from mfpde.kernels.sharing import shared
from mfpde.kernels.tiles import PERIODIC

W = 256  # lines abreast, at most: rows this long, far apart, are read at the memory's speed
WHOLE = 1.0 - 1e-15  # of what a cell holds: no rounding may take more
U = np.uintp
Array = NDArray[np.float64]


def _inside(k, N, wall):  # type: ignore[no-untyped-def]
    """The cell that cell ``k`` of an endless line is: wrapped, or mirrored."""
    if wall == PERIODIC:
        return k % N
    k %= 2 * N
    return k if k < N else 2 * N - 1 - k


inside = compiled(_inside)


def _scaled(low, high, held):  # type: ignore[no-untyped-def]
    """The share of its losses that a cell can bear; ``low`` and ``high`` go through its faces."""
    loss = (low if low > 0.0 else 0.0) - (high if high < 0.0 else 0.0)
    part = (held if held > 0.0 else 0.0) / loss * WHOLE
    return part if loss > held else 1.0


scaled = compiled(_scaled)


def _pass_abreast(v, N, lines, pitch, weights, limited, state, target, start, step):  # type: ignore[no-untyped-def]
    """Convert ``lines`` that lie abreast, cell k in row k + r + 1 of ``v``, rows ``pitch`` long.

    There are r + 1 ghost rows at both ends. The new cell k of line j goes to
    target[start + k·step + j]. In ``state``, 4 rows: what goes through the last three faces, and
    which share of its losses the last but one cell can bear. Returns how many cells were limited.
    """
    r = len(weights)
    state[: 3 * pitch], state[3 * pitch :] = 0.0, 1.0
    of_share, count, before = 3 * pitch, 0, 0
    for f in range(-1, N + 2):
        now, last = (f + 1) % 3 * pitch, f % 3 * pitch
        at, cell = (f + r + 1) * pitch, f - 2  # the cell whose faces are both passed
        more = 0
        for lane in range(lines):
            j = U(lane)
            G = 0.0
            for m in range(r):
                G += weights[m] * (v[j + U(at + m * pitch)] - v[j + U(at - (m + 1) * pitch)])
            low = state[j + U(last)]
            state[j + U(now)] = G
            loss = (low if low > 0.0 else 0.0) - (G if G < 0.0 else 0.0)
            more += loss > v[j + U(at - pitch)]
        if limited and f > -1 and more + before > 0:
            for lane in range(lines):
                j = U(lane)
                low, held = state[j + U(last)], v[j + U(at - pitch)]
                own = scaled(low, state[j + U(now)], held)
                state[j + U(last)] = low * (own if low > 0.0 else state[j + U(of_share)])
                state[j + U(of_share)] = own
            count += more if 1 <= f <= N else 0
            before = more
        if cell >= 0:
            to, older = start + cell * step, (f - 1) % 3 * pitch
            for lane in range(lines):
                j = U(lane)
                own = v[j + U(at - 2 * pitch)]
                target[j + U(to)] = own + (state[j + U(last)] - state[j + U(older)])
    return count


pass_abreast = compiled(_pass_abreast)


def _switch_abreast(field, weights, wall, limited, result, begin, end):  # type: ignore[no-untyped-def]
    """Blocks ``begin`` to ``end`` of ``switch``, each of at most W neighbouring lines."""
    _, N, inner = field.shape
    r = len(weights)
    source, target = field.reshape(field.size), result.reshape(result.size)
    v, state = np.empty((N + 2 * r + 2) * W), np.empty(4 * W)
    per_slab = (inner + W - 1) // W
    count = 0
    for number in range(begin, end):
        first = number % per_slab * W
        lines, start = min(W, inner - first), number // per_slab * N * inner + first
        for row in range(N + 2 * r + 2):
            at, to = start + inside(row - r - 1, N, wall) * inner, row * W
            for j in range(lines):
                v[U(to + j)] = source[U(at + j)]
        count += pass_abreast(v, N, lines, W, weights, limited, state, target, start, inner)
    return count


switch_abreast = compiled(_switch_abreast)


def _pass_in_a_row(v, first, N, weights, wall, limited, flux, share):  # type: ignore[no-untyped-def]
    """Convert in place the line of N cells that begins at v[first], with room for r at both ends.

    ``flux`` (N + 1,) and ``share`` (N + 2,) are overwritten. Returns how many cells were limited.
    """
    r = len(weights)
    for g in range(r):
        v[first - 1 - g] = v[first + inside(-1 - g, N, wall)]
        v[first + N + g] = v[first + inside(N + g, N, wall)]
    for f in range(N + 1):
        i = U(first + f)
        G = 0.0
        for m in range(r):
            G += weights[m] * (v[i + U(m)] - v[i - U(m + 1)])
        flux[U(f)] = G
    count = 0
    for k in range(N):
        low, high = flux[U(k)], flux[U(k) + U(1)]
        loss = (low if low > 0.0 else 0.0) - (high if high < 0.0 else 0.0)
        count += loss > v[U(first + k)]
    if limited and count > 0:
        for k in range(N):
            i = U(k)
            share[i + U(1)] = scaled(flux[i], flux[i + U(1)], v[U(first + k)])
        share[0], share[N + 1] = share[N], share[1]  # on a circle; through walls nothing goes
        for f in range(N + 1):
            i = U(f)
            flux[i] *= share[i + U(1)] if flux[i] > 0.0 else share[i]
    for k in range(N):
        v[U(first + k)] += flux[U(k) + U(1)] - flux[U(k)]
    return count if limited else 0


pass_in_a_row = compiled(_pass_in_a_row)


def _switch_in_a_row(field, weights, wall, limited, result, begin, end):  # type: ignore[no-untyped-def]
    """The same for lines that lie end to end."""
    N = field.shape[1]
    r = len(weights)
    source, target = field.reshape(field.size), result.reshape(result.size)
    v, flux, share = np.empty(N + 2 * r), np.empty(N + 1), np.empty(N + 2)
    count = 0
    for line in range(begin, end):
        at = line * N
        for k in range(N):
            v[U(r + k)] = source[U(at + k)]
        count += pass_in_a_row(v, r, N, weights, wall, limited, flux, share)
        for k in range(N):
            target[U(at + k)] = v[U(r + k)]
    return count


switch_in_a_row = compiled(_switch_in_a_row)


def switch(field: Array, weights: Array, wall: int, limited: bool, result: Array) -> int:
    """Convert along the axis of the view (outer, N, inner); returns how many cells were limited.

    No flux crosses an end that is not periodic. There are two weights or more. ``result`` may be
    the field itself.
    """
    field = np.ascontiguousarray(field)
    outer, _, inner = field.shape
    arguments = (field, tuple(weights.tolist()), wall, limited, result)
    if inner == 1:
        return shared(switch_in_a_row, arguments, outer, field.size)
    blocks = outer * ((inner + W - 1) // W)
    return shared(switch_abreast, arguments, blocks, field.size)
