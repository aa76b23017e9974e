"""Cell averages to point values along one axis, and back, by flux differences.

value_k ← value_k + G_{k+1} − G_k with G a difference of odd order: the sum is kept. Positivity:
what a cell may lose through both faces is at most what it holds; the loser's fluxes are scaled.

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
TILE = 2048  # numbers of lines end to end: they and three like them stay in the nearest cache
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


def _pass_face(v, f, lines, weights, limited, state, target, to):  # type: ignore[no-untyped-def]
    """Pass face f of lines abreast; row k + r + 1 of ``v`` is cell k.

    The rows of ``state``: what goes through face f − 1, which share of it cell f − 2 can lose, and
    what went through face f − 2. On return all are one further, and ``target`` from ``to`` on holds
    the new values of cell f − 2. Returns in how many lines cell f − 1 is limited.
    """
    r = len(weights)
    count = 0
    for lane in range(lines):
        j = U(lane)
        i = j + U((f + r + 1) * W)
        G = 0.0
        for m in range(r):
            G += weights[m] * (v[i + U(m * W)] - v[i - U((m + 1) * W)])
        low, share, passed = state[j], state[j + U(W)], state[j + U(2 * W)]
        held, before = v[i - U(W)], v[i - U(2 * W)]
        loss = (low if low > 0.0 else 0.0) - (G if G < 0.0 else 0.0)
        part = (held if held > 0.0 else 0.0) / loss * WHOLE
        more = (loss > held) & limited
        part = part if more else 1.0
        through = low * (part if low > 0.0 else share)
        state[j], state[j + U(W)], state[j + U(2 * W)] = G, part, through
        target[U(to) + j] = before + (through - passed)
        count += more
    return count


pass_face = compiled(_pass_face)


def _switch_abreast(field, weights, wall, limited, result, begin, end):  # type: ignore[no-untyped-def]
    """Blocks ``begin`` to ``end`` of ``switch``, each of at most W neighbouring lines."""
    _, N, inner = field.shape
    r = len(weights)
    source, target = field.reshape(field.size), result.reshape(result.size)
    v, state, unused = np.empty((N + 2 * r + 2) * W), np.empty(3 * W), np.empty(W)
    per_slab = (inner + W - 1) // W
    count = 0
    for number in range(begin, end):
        first = number % per_slab * W
        lines, start = min(W, inner - first), number // per_slab * N * inner + first
        for row in range(N + 2 * r + 2):
            at, to = start + inside(row - r - 1, N, wall) * inner, row * W
            for j in range(lines):
                v[U(to + j)] = source[U(at + j)]
        state[:W], state[W : 2 * W], state[2 * W :] = 0.0, 1.0, 0.0
        for f in range(-1, 2):
            more = pass_face(v, f, lines, weights, limited, state, unused, 0)
            count += more if f == 1 else 0
        for f in range(2, N + 2):
            to = start + (f - 2) * inner
            more = pass_face(v, f, lines, weights, limited, state, target, to)
            count += more if f <= N else 0
    return count


switch_abreast = compiled(_switch_abreast)


def _switch_in_a_row(field, weights, wall, limited, result, begin, end):  # type: ignore[no-untyped-def]
    """The same for lines that lie end to end, blocks of at most TILE numbers."""
    outer, N, _ = field.shape
    r = len(weights)
    source, target = field.reshape(field.size), result.reshape(result.size)
    pitch, most = N + 2 * r + 2, max(TILE // N, 1)
    v, flux, share = np.empty((3, most * pitch + 1))
    below, above = np.empty((2, r + 1), np.int64)
    for g in range(r + 1):
        below[g], above[g] = inside(-1 - g, N, wall), inside(N + g, N, wall)
    count = 0
    for number in range(begin, end):
        first = number * most
        lines = min(most, outer - first)
        for line in range(lines):
            at, to = (first + line) * N, line * pitch + r + 1
            for k in range(N):
                v[U(to + k)] = source[U(at + k)]
            for g in range(r + 1):
                v[to - 1 - g], v[to + N + g] = v[to + below[g]], v[to + above[g]]
        cells = lines * pitch
        for f in range(r, cells - r + 1):  # between the lines they have no meaning
            i = U(f)
            G = 0.0
            for m in range(r):
                G += weights[m] * (v[i + U(m)] - v[i - U(m + 1)])
            flux[i] = G
        for k in range(r, cells - r):
            i = U(k)
            low, high, held = flux[i], flux[i + U(1)], v[i]
            loss = (low if low > 0.0 else 0.0) - (high if high < 0.0 else 0.0)
            part = (held if held > 0.0 else 0.0) / loss * WHOLE
            share[i] = part if (loss > held) & limited else 1.0
        for line in range(lines):
            at, to = (first + line) * N, line * pitch + r + 1
            for k in range(N):
                i = U(to + k)
                low, high, own = flux[i], flux[i + U(1)], share[i]
                beneath, beyond = share[i - U(1)], share[i + U(1)]
                low *= own if low > 0.0 else beneath
                high *= beyond if high > 0.0 else own
                target[U(at + k)] = v[i] + (high - low)
                count += own < 1.0
    return count


switch_in_a_row = compiled(_switch_in_a_row)


def switch(field: Array, weights: Array, wall: int, limited: bool, result: Array) -> int:
    """Convert along the axis of the view (outer, N, inner); returns how many cells were limited.

    No flux crosses an end that is not periodic. There are two weights or more. ``result`` may be
    the field itself.
    """
    field = np.ascontiguousarray(field)
    outer, N, inner = field.shape
    arguments = (field, tuple(weights.tolist()), wall, limited, result)
    if inner == 1:
        most = max(TILE // N, 1)
        return shared(switch_in_a_row, arguments, (outer + most - 1) // most, field.size)
    blocks = outer * ((inner + W - 1) // W)
    return shared(switch_abreast, arguments, blocks, field.size)
