"""The remap of lines that move rigidly, each by a shift of its own, along a line or a closed axis.

The rules are those of kernels/remap.py, and so are the results but for rounding. Every cell
holds one foot at most, at the same place in all cells of a line: what stencils weigh is computed
once a line. Lines lie side by side in tiles, shifted by whole cells as they are read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.columns import is_empty
from mfpde.kernels.compiling import compiled
from mfpde.kernels.remap import ROUNDING, pad
from mfpde.kernels.sharing import shared
from mfpde.kernels.stencils import extrapolation, remap_parts, switch_rows
from mfpde.kernels.switch import pass_abreast
from mfpde.kernels.tiles import CLOSED, OPEN

W = 32  # lines side by side, whether or not there are as many
U = np.uintp
Array = NDArray[np.float64]


def _weigh(shifts, lines, N, parts, whole, of_line):  # type: ignore[no-untyped-def]
    """Whole cells and what the stencils weigh, by line.

    Rows of ``of_line``: ξ, ξ(1 − ξ), the first and the last foot inside, weights of d, and of e.
    """
    even, odd, _, _ = parts
    r = len(even)
    for j in range(W):
        x = min(max(shifts[j], -N - 1.0), N + 1.0) if j < lines else 0.0
        near = np.rint(x)
        x = near if abs(x - near) <= ROUNDING * N else x
        cells = np.floor(x)
        xi = x - cells
        t = (xi - 0.5) ** 2
        whole[j] = int(cells)
        of_line[j], of_line[W + j] = xi, xi * (1.0 - xi)
        of_line[2 * W + j], of_line[3 * W + j] = -cells, N - 1.0 - cells
        for m in range(r):
            p, q = even[m][r - 1], odd[m][r - 1]
            for n in range(r - 2, -1, -1):
                p = p * t + even[m][n]
                q = q * t + odd[m][n]
            of_line[(4 + m) * W + j], of_line[(4 + r + m) * W + j] = p, (xi - 0.5) * q


weigh = compiled(_weigh)


def _read(source, start, inner, lines, N, r, ghosts, whole, line, v):  # type: ignore[no-untyped-def]
    """Tile row k holds cell k − r + whole of each line; ghosts by extrapolation, 0 beyond."""
    for i in range((N + 1 + 2 * r) * W):
        v[U(i)] = 0.0
    low, high = N, -N
    for j in range(lines):
        low, high = min(low, whole[j]), max(high, whole[j])
    for k in range(max(low - r - 1, 0), min(N + r + high + 1, N)):
        at = start + k * inner
        if low == high:
            to = k + r - low
            if 0 <= to <= N + 2 * r:
                for j in range(lines):
                    v[U(to * W + j)] = source[U(at + j)]
        else:
            for j in range(lines):
                to = k + r - whole[j]
                if 0 <= to <= N + 2 * r:
                    v[U(to * W + j)] = source[U(at + j)]
    p = len(ghosts[0])
    for j in range(lines):  # both ends of the line, as many cells as polynomials take
        for k in range(p):
            line[r + k] = source[start + k * inner + j]
            line[r + p + k] = source[start + (N - p + k) * inner + j]
        pad(line, 2 * p, r, ghosts, OPEN)
        for g in range(r):
            below, above = g - whole[j], N + r + g - whole[j]
            if 0 <= below <= N + 2 * r:
                v[below * W + j] = line[g]
            if 0 <= above <= N + 2 * r:
                v[above * W + j] = line[r + 2 * p + g]


read = compiled(_read)


def _divide_row(v, f, of_line, parts, rows):  # type: ignore[no-untyped-def]
    """What lies below and above foot f of every line, the rows 0 and 1; how many are limited."""
    of_d, of_e = parts[2], parts[3]
    r = len(of_d)
    foot, count = float(f), 0
    for lane in range(W):
        j = U(lane)
        c = U((f + r) * W) + j
        mass, xi, bend = v[c], of_line[j], of_line[j + U(W)]
        first, last = of_line[j + U(2 * W)], of_line[j + U(3 * W)]
        sides, middle, Q = 0.0, 0.0, 0.0
        for m in range(r):
            up, down = v[c + U((m + 1) * W)], v[c - U((m + 1) * W)]
            d, e = up - down, (up - mass) - (mass - down)
            sides += of_d[m] * d
            middle += of_e[m] * e
            Q += of_line[j + U((4 + m) * W)] * d + of_line[j + U((4 + r + m) * W)] * e
        left, right = mass - v[c - U(W)], v[c + U(W)] - mass
        steep, low, high = 0.25 * abs(left + right), abs(left), abs(right)
        least = low if low < high else high
        least = steep if steep < least else least
        least = least if left > 0.0 else -least
        rises = ((left > 0.0) == (right > 0.0)) & (foot > first) & (foot < last)
        slope = least if rises else 0.0
        whole = xi * mass
        part = whole + bend * Q
        at_low, at_high = mass + (sides - middle), mass - (sides + middle)
        bad = (at_low < 0.0) | (at_high < 0.0) | (part < 0.0) | (part > mass)
        inside = (foot >= first) & (foot <= last)
        bad &= inside & (bend > 0.0)
        part = whole - bend * slope if bad else part
        rest = mass - part
        rest = rest if rest > 0.0 else 0.0
        count += bad
        rows[j] = part if inside else 0.0
        rows[j + U(W)] = rest if inside else 0.0
    return count


divide_row = compiled(_divide_row)


def _mirror(v, N, ghosts):  # type: ignore[no-untyped-def]
    """Fill the ghost rows before and after N rows of ``v``: the lines' mirror images."""
    for g in range(ghosts):
        below, above = (ghosts - 1 - g) * W, (ghosts + N + g) * W
        for j in range(W):
            v[U(below + j)] = v[U((ghosts + g) * W + j)]
            v[U(above + j)] = v[U((ghosts + N - 1 - g) * W + j)]


mirror = compiled(_mirror)


def _shift_lines(  # type: ignore[no-untyped-def]
    rho, shifts, parts, ghosts, switches, enters, leaves, empty, wall, result, out, begin, end
):
    """Blocks ``begin`` to ``end`` of ``shift``; what depends on the order, as tuples."""
    _, N, inner = rho.shape
    r = len(ghosts)
    to_points, to_averages = switches
    source, target = rho.reshape(rho.size), result.reshape(result.size)
    v, line = np.empty((N + 1 + 2 * r) * W), np.empty(4 * r + 2 * (2 * r + 1))
    whole, of_line, rows = np.empty(W, np.int64), np.empty((4 + 2 * r) * W), np.empty(4 * W)
    mirrored, averages = np.empty((N + 2 * r + 2) * W), np.empty(N * W)
    state, body = np.empty(4 * W), (r + 1) * W
    per_slab = (inner + W - 1) // W
    limited, converted = 0, 0
    for number in range(begin, end):
        o, first = number // per_slab, number % per_slab * W
        lines = min(W, inner - first)
        start = o * N * inner + first
        if is_empty(source, start, N, inner, lines, empty):
            for k in range(N):
                for j in range(lines):
                    target[U(start + k * inner + j)] = source[U(start + k * inner + j)]
            out[:, o, first : first + lines] = 0.0
            continue
        weigh(shifts[o, first : first + lines], lines, N, parts, whole, of_line)
        old, at, step = source, start, inner
        if enters:
            for k in range(N):
                for j in range(lines):
                    mirrored[U(body + k * W + j)] = source[U(start + k * inner + j)]
            mirror(mirrored, N, r + 1)
            converted += pass_abreast(
                mirrored, N, lines, W, to_averages, True, state, averages, 0, W
            )
            old, at, step = averages, 0, W
        new, to, pitch = (mirrored, body, W) if leaves else (target, start, inner)
        read(old, at, step, lines, N, r, ghosts, whole, line, v)
        limited += divide_row(v, 0, of_line, parts, rows)
        for j in range(lines):
            below = rows[j]
            for k in range(min(whole[j], N)):
                below += old[at + k * step + j]
            out[0, o, first + j] = below
        for k in range(N):
            for j in range(W):
                rows[U(j + 2 * W)] = rows[U(j + W)]
            limited += divide_row(v, k + 1, of_line, parts, rows)
            row = to + k * pitch
            for j in range(lines):
                new[U(row + j)] = rows[U(j + 2 * W)] + rows[U(j)]
        for j in range(lines):
            above = rows[W + j]
            for k in range(max(N + whole[j] + 1, 0), N):
                above += old[at + k * step + j]
            out[1, o, first + j] = above
            if wall == CLOSED:
                new[to + j] += out[0, o, first + j]
                new[to + (N - 1) * pitch + j] += above
                out[0, o, first + j], out[1, o, first + j] = 0.0, 0.0
        if leaves:
            mirror(mirrored, N, r + 1)
            converted += pass_abreast(
                mirrored, N, lines, W, to_points, True, state, target, start, inner
            )
    return limited, converted


shift_lines = compiled(_shift_lines)


def shift(
    rho: Array,
    shifts: Array,
    order: int,
    wall: int,
    result: Array,
    out: Array,
    enters: bool = False,
    leaves: bool = False,
    empty: float = 0.0,
) -> tuple[int, int]:
    """Remap ``rho`` (outer, N, inner) to ``result``: feet of face f at f + ``shifts`` of its line.

    ``shifts`` (outer, inner) are in cells. ``out`` (2, outer, inner) receives what left below and
    above. Walls are open or closed. If ``rho`` ``enters`` as point values, or ``leaves`` as such,
    it is converted on the way. Blocks of lines whose cells hold no more than ``empty`` in all are
    left as they are. Returns the numbers of limited cells, of the remap and of conversions.
    """
    outer, _, inner = rho.shape
    of_order = remap_parts(order), extrapolation(order), switch_rows(order)
    arguments = (rho, shifts, *of_order, enters, leaves, empty, wall, result, out)
    return shared(shift_lines, arguments, outer * ((inner + W - 1) // W), rho.size)
