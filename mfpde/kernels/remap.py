"""Conservative semi-Lagrangian remap along one axis of a uniform grid.

The new mass of a cell is the old mass between the feet of its two faces. Inside a cell the old mass
left of a foot is a polynomial of the cell's neighbours (order cells, degree order in the
primitive), ξρ + ξ(1 − ξ)Q(ξ).

Positivity: a cell is rough where that polynomial is no distribution of its mass: where it leaves
[0, mass], runs backwards between two feet, or has a negative density at a face. There mass is
distributed linearly with a limited slope instead, Q = −slope/2, for all feet of the cell alike.
Neighbours share the value at a foot, so nothing is lost or made: a flux limiter. Keeping the
polynomial and only clipping it would let a light cell give all it holds at every step, and spread
tails a cell a step. Rough cells are counted.

Feet are taken a run at a time: as long as each lies one cell beyond the last, all that is read is
contiguous. Indices are unsigned where loops are to be vectorised: signed ones might count from the
end.

Densities that are point values along the axis are converted while a line is in the nearest cache.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.columns import columns, is_empty, put_columns
from mfpde.kernels.compiling import compiled
from mfpde.kernels.sharing import shared
from mfpde.kernels.stencils import extrapolation, remap_parts, switch_rows
from mfpde.kernels.switch import pass_in_a_row
from mfpde.kernels.tiles import CLOSED, PERIODIC

MOST_ABREAST, TILE = 64, 2**14  # lines in a block, and numbers, which the second cache holds
SHORT = 5  # feet: to start a run takes as long as to put what surrounds so many side by side
EIGHT = 8  # feet at once: runs are made up to a multiple, and the next one overwrites the rest
ROUNDING = 1e-15  # of a foot over the number of cells: so near a face it is on it
U = np.uintp
Array = NDArray[np.float64]


def _pad(v, N, r, ghosts, wall):  # type: ignore[no-untyped-def]
    """Fill the r ghost cells at both ends of ``v`` (N + 2r,): wrapped, or extrapolated."""
    for g in range(r):
        if wall == PERIODIC:
            v[r - 1 - g] = v[r + N - 1 - g]
            v[r + N + g] = v[r + g]
        else:
            below, above = 0.0, 0.0
            for m in range(len(ghosts[0])):
                below += ghosts[g][m] * v[r + m]
                above += ghosts[g][m] * v[r + N - 1 - m]
            v[r - 1 - g], v[r + N + g] = below, above


pad = compiled(_pad)


def _half_slopes(v, N, r, wall, slope):  # type: ignore[no-untyped-def]
    """Half the limited slopes of linear distributions, by van Leer's monotonised centred limiter.

    A cell at a wall has none.
    """
    for k in range(N):
        c = U(k + r)
        left, right = v[c] - v[c - U(1)], v[c + U(1)] - v[c]
        steep = 0.25 * abs(left + right)
        low, high = abs(left), abs(right)
        least = low if low < high else high
        least = steep if steep < least else least
        least = least if left > 0.0 else -least
        slope[U(k)] = least if (left > 0.0) == (right > 0.0) else 0.0
    if wall != PERIODIC:
        slope[0], slope[N - 1] = 0.0, 0.0


half_slopes = compiled(_half_slopes)


def _find(feet, N, wall, place, xi, cell):  # type: ignore[no-untyped-def]
    """Where feet lie: in ``cell``, ``place`` turns of the circle aside, at ``xi`` of it.

    Feet must not fall: each is at least the one before. Those beyond a wall that is not periodic
    lie on it.
    """
    falling = 0
    for f in range(N):
        falling += feet[U(f) + U(1)] < feet[U(f)]
    if falling:
        for f in range(N):
            feet[f + 1] = max(feet[f], feet[f + 1])
    near, end, last = ROUNDING * N, float(N), float(N - 1)
    if wall == PERIODIC:
        for f in range(N + 1):
            i = U(f)
            x = feet[i]
            whole = np.rint(x)
            x = whole if abs(x - whole) <= near else x
            j = np.floor(x)
            place[i], xi[i] = j, x - j
        for f in range(N, 0, -1):  # the last face is the first, a period on, to the last bit
            over = place[f] - place[0] - N
            if f < N and (over < 0.0 or (over == 0.0 and xi[f] <= xi[0])):
                break
            place[f], xi[f] = place[0] + N, xi[0]
        for f in range(N + 1):
            i = U(f)
            cell[i] = place[i] - end * np.floor(place[i] / end)
        return
    for f in range(N + 1):
        i = U(f)
        x = feet[i]
        whole = np.rint(x)
        x = whole if abs(x - whole) <= near else x
        x = x if x > 0.0 else 0.0
        x = x if x < end else end
        j = np.floor(x)
        j = j if j < end else last
        place[i], xi[i], cell[i] = j, x - j, j
    if wall == CLOSED:
        place[0], xi[0], cell[0] = 0.0, 0.0, 0.0
        place[N], xi[N], cell[N] = last, 1.0, last


find = compiled(_find)


def _divide(v, at, step, slope, of_slope, xi, first, end, parts, below, above, rough):  # type: ignore[no-untyped-def]
    """Masses of cells ``below`` and ``above`` the feet of a run; which of the cells are ``rough``.

    Foot f lies in the cell of v[f + at], whose neighbours are ``step`` apart, and of
    slope[f + of_slope]. What is written beyond the end has no meaning.
    """
    even, odd, of_d, of_e = parts
    r = len(of_d)
    for f in range(first, first + (end - first + EIGHT - 1) // EIGHT * EIGHT):
        i, c, k = U(f), U(f + at), U(f + of_slope)
        mass, x = v[c], xi[i]
        eta = x - 0.5
        t = eta * eta
        sides, middle, even_Q, odd_Q = 0.0, 0.0, 0.0, 0.0  # Q(½) and Q(ξ) by symmetry
        for m in range(r):
            up, down = v[c + U((m + 1) * step)], v[c - U((m + 1) * step)]
            d, e = up - down, (up - mass) - (mass - down)
            sides += of_d[m] * d
            middle += of_e[m] * e
            p, q = even[m][r - 1], odd[m][r - 1]
            for n in range(r - 2, -1, -1):
                p = p * t + even[m][n]
                q = q * t + odd[m][n]
            even_Q += p * d
            odd_Q += q * e
        bend = x * (1.0 - x)
        whole = x * mass
        part = whole + bend * (even_Q + eta * odd_Q)
        at_low, at_high = mass + (sides - middle), mass - (sides + middle)
        bad = (at_low < 0.0) | (at_high < 0.0) | (part < 0.0) | (part > mass)
        bad &= bend > 0.0
        part = whole - bend * slope[k] if bad else part
        rest = mass - part
        below[i], above[i], rough[i] = part, rest if rest > 0.0 else 0.0, bad


divide = compiled(_divide)


def _settle(f, N, v, slope, place, xi, cell, r, below, above, rough):  # type: ignore[no-untyped-def]
    """Distribute the mass of the cell of foot f linearly, for all feet in it."""
    while f > 0 and place[f - 1] == place[f]:
        f -= 1
    k = int(cell[f])
    mass = v[k + r]
    here = place[f]
    while f <= N and place[f] == here:
        below[f] = xi[f] * mass - xi[f] * (1.0 - xi[f]) * slope[k]
        above[f] = max(mass - below[f], 0.0)
        rough[f] = True
        f += 1


settle = compiled(_settle)


def _divide_far_apart(v, slope, xi, cell, N, parts, windows, below, above, rough):  # type: ignore[no-untyped-def]
    """The same for feet in any cells: what surrounds each is put side by side first.

    Rows of ``windows``: the cells from r below to r above those of the feet, and slopes.
    """
    r = len(parts[0])
    pitch = N + 1 + EIGHT
    for f in range(N + 1):
        k = U(cell[U(f)])
        for m in range(2 * r + 1):
            windows[U(m * pitch + f)] = v[k + U(m)]
        windows[U((2 * r + 1) * pitch + f)] = slope[k]
    of_slope = (2 * r + 1) * pitch
    divide(windows, r * pitch, pitch, windows, of_slope, xi, 0, N + 1, parts, below, above, rough)


divide_far_apart = compiled(_divide_far_apart)


def _line_remap(v, N, feet, parts, ghosts, wall, work, windows, rough, starts, new):  # type: ignore[no-untyped-def]
    """Remap one line: cell masses ``v`` (N + 2r,) with room at both ends, ``feet`` in cells.

    The six arrays ``work``, ``rough`` and ``starts`` (N + 1,) are overwritten; they and v have
    EIGHT more, as have 2r + 2 rows of ``windows``. Returns the mass that left below, above, and how
    many cells were limited.
    """
    r = len(ghosts)
    place, xi, cell, below, above, slope = work
    pad(v, N, r, ghosts, wall)
    half_slopes(v, N, r, wall, slope)
    find(feet, N, wall, place, xi, cell)
    starts[0], runs = 0, 1
    for f in range(1, N + 1):
        starts[runs] = f  # where a run ends, the next begins
        runs += cell[U(f)] - cell[U(f) - U(1)] != 1.0
    starts[runs] = N + 1
    if runs * SHORT > N:
        divide_far_apart(v, slope, xi, cell, N, parts, windows, below, above, rough)
    else:
        for run in range(runs):
            first, end = starts[run], starts[run + 1]
            k = int(cell[first]) - first
            divide(v, k + r, 1, slope, k, xi, first, end, parts, below, above, rough)
    # several feet in one cell
    for run in range(1, runs):
        f = starts[run]
        if place[f] == place[f - 1] and (rough[f] != rough[f - 1] or below[f] < below[f - 1]):
            settle(f, N, v, slope, place, xi, cell, r, below, above, rough)
    if wall == PERIODIC and rough[0] != rough[N]:
        settle(0, N, v, slope, place, xi, cell, r, below, above, rough)
        settle(N, N, v, slope, place, xi, cell, r, below, above, rough)
    count = 0
    for f in range(N + (wall != PERIODIC)):
        count += rough[U(f)]
    for k in range(N):
        i = U(k)
        new[i] = above[i] + below[i + U(1)]
    for run in range(1, runs):
        f = starts[run]
        lower, upper = int(place[f - 1]), int(place[f])
        if lower == upper:
            new[f - 1] = max(below[f] - below[f - 1], 0.0)
            count -= rough[f]
        for j in range(lower + 1, upper):
            new[f - 1] += v[j % N + r]
    if wall == PERIODIC:
        return 0.0, 0.0, count
    low, high = below[0], above[N]
    for j in range(int(place[0])):
        low += v[j + r]
    for j in range(int(place[N]) + 1, N):
        high += v[j + r]
    return low, high, count


line_remap = compiled(_line_remap)


def _feet(nodes, weights, a, line, foot):  # type: ignore[no-untyped-def]
    """Feet of one line: Σ_c weights[a, c] nodes[c, line], four terms at a time after the first."""
    first = (nodes.shape[0] - 1) % 4 + 1
    for c in range(first):
        weight, node = weights[a, c], nodes[c, line]
        for f in range(node.shape[0]):
            at = weight * node[U(f)]
            foot[U(f)] = at if c == 0 else foot[U(f)] + at
    for c in range(first, nodes.shape[0], 4):
        w, x, y, z = weights[a, c], weights[a, c + 1], weights[a, c + 2], weights[a, c + 3]
        W, X = nodes[c, line], nodes[c + 1, line]
        Y, Z = nodes[c + 2, line], nodes[c + 3, line]
        for f in range(W.shape[0]):
            i = U(f)
            foot[i] = (((foot[i] + w * W[i]) + x * X[i]) + y * Y[i]) + z * Z[i]


feet_of = compiled(_feet)


def _remap_lines(  # type: ignore[no-untyped-def]
    rho,
    nodes,
    weights,
    parts,
    ghosts,
    switches,
    abreast,
    enters,
    leaves,
    empty,
    wall,
    result,
    out,
    begin,
    end,
):
    """Blocks ``begin`` to ``end`` of ``remap_along``; what depends on the order, as tuples.

    A block is ``abreast`` neighbouring lines of one part. Those of all parts with the same nodes
    follow each other, so that nodes are read from memory once.
    """
    outer, N, inner = rho.shape
    r = len(ghosts)
    to_points, to_averages = switches
    lines_of_node = nodes.shape[1]
    slabs, parts_of_rho = outer, 1
    if lines_of_node > 1:
        slabs = lines_of_node // inner
        parts_of_rho = outer // slabs
    in_a_row = slabs if inner == 1 else inner  # neighbouring lines
    per_row = (in_a_row + abreast - 1) // abreast
    masses, targets = rho.reshape(rho.size), result.reshape(result.size)
    left = out.reshape(2, outer * inner)
    room = N + 2 * r + EIGHT  # a power of 2 apart, lines would share few places in a cache
    lines, new = np.zeros((abreast, room)), np.empty((abreast, room))
    nothing = np.zeros(N + 1 + EIGHT)
    foot, place, xi, cell = nothing.copy(), nothing.copy(), nothing.copy(), nothing.copy()
    work = (place, xi, cell, nothing.copy(), nothing.copy(), nothing.copy())
    flux, share = nothing.copy(), nothing.copy()
    windows = np.zeros((2 * r + 2) * (N + 1 + EIGHT))
    starts, rough = np.empty(N + 1 + EIGHT, np.int64), np.empty(N + 1 + EIGHT, np.bool_)
    limited, converted = 0, 0
    for number in range(begin, end):
        part, row = number % parts_of_rho, number // parts_of_rho
        first = row % per_row * abreast
        width = min(abreast, in_a_row - first)
        slab = part * slabs + (0 if inner == 1 else row // per_row)
        line = slab * inner + first
        at = line * N if inner == 1 else slab * N * inner + first
        columns(masses, at, inner, N, width, lines, r)
        for j in range(width):
            old, fresh = lines[j], new[j]
            if is_empty(old, r, N, 1, 1, empty):
                fresh[:] = old
                left[0, line + j], left[1, line + j] = 0.0, 0.0
                continue
            if enters:
                converted += pass_in_a_row(old, r, N, to_averages, wall, True, flux, share)
            i = line + j
            if lines_of_node > 1:
                feet_of(nodes, weights, part, i - part * lines_of_node, foot)
            else:
                feet_of(nodes, weights, i, 0, foot)
            low, high, count = line_remap(
                old, N, foot, parts, ghosts, wall, work, windows, rough, starts, fresh[r:]
            )
            left[0, i], left[1, i] = low, high
            limited += count
            if leaves:
                converted += pass_in_a_row(fresh, r, N, to_points, wall, True, flux, share)
        put_columns(new, targets, at, inner, N, width, r)
    return limited, converted


remap_lines = compiled(_remap_lines)


def remap_along(
    rho: Array,
    nodes: Array,
    weights: Array,
    order: int,
    wall: int,
    result: Array,
    out: Array,
    enters: bool = False,
    leaves: bool = False,
    empty: float = 0.0,
) -> tuple[int, int]:
    """Remap the lines of ``rho`` (A·outer, N, inner) to ``result``.

    Feet of line i in part a of the A are Σ_c ``weights``[a, c] ``nodes``[c, i], with weights
    (A, C) and nodes (C, outer·inner, N + 1), in cells; or nodes (C, 1, N + 1) for all lines, and
    weights of every line. ``out`` (2, A·outer, inner) receives what left below and above, per unit
    area over the width of a cell.

    What is remapped is averages along the axis. If it ``enters`` as point values, or ``leaves``
    as such, it is converted on the way (kernels/switch.py). Lines whose cells hold no more than
    ``empty`` in all are left as they are. Returns the numbers of limited cells, of the remap and of
    conversions.
    """
    outer, N, inner = rho.shape
    lines, abreast = nodes.shape[1], min(max(TILE // N, 1), MOST_ABREAST)
    slabs = max(lines // inner, 1) if lines > 1 else outer
    row = slabs if inner == 1 else inner
    blocks = outer * inner // row * ((row + abreast - 1) // abreast)
    of_order = remap_parts(order), extrapolation(order), switch_rows(order)
    arguments = (rho, nodes, weights, *of_order, abreast, enters, leaves, empty, wall, result, out)
    return shared(remap_lines, arguments, blocks, rho.size)


def remap(rho: Array, feet: Array, table: Array, wall: int, result: Array, out: Array) -> int:
    """The same with ``feet`` (outer, N + 1, inner) of all lines, and the order of ``table``."""
    lines = np.ascontiguousarray(feet.swapaxes(1, 2)).reshape(1, -1, feet.shape[1])
    return remap_along(rho, lines, np.ones((1, 1)), len(table), wall, result, out)[0]
