"""Upwind fluxes of ∂_t ρ = −∇·(ρu), u = −∇V, on cells of one to four axes, all axes in one pass.

u at a face is the drop of V over the distance of the two centres. The density carried through a
face is the upwind cell's, reconstructed linearly inside it: face value = ρ ± s/2, with s the
limited change of ρ across the cell (van Leer 1979). With s = 0 this is the first-order scheme.

CLOSED walls carry nothing; OPEN walls let mass out and none in, with the velocity of the next face
inside; PERIODIC ends are one face.

Cells are walked row by row, a row being the cells along the last axis. Of every other axis the
fluxes through the rows' lower faces are kept until the rows above have used them, so ρ is read once
and written once. V is never kept: its rows are made of V = a⊗g + tilt + level where they are used
(mfpde/flows/layers.py).
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tally import TOGETHER, count
from mfpde.kernels.tiles import OPEN, PERIODIC

FIRST_ORDER, MINMOD, MC, VAN_LEER = 0, 1, 2, 3
LINE = 8  # numbers in a line of the cache: vectors that start with one load in half the time


def _limited(left, right, centred, limiter):  # type: ignore[no-untyped-def]
    """The change of ρ across a cell from its differences to the lower and upper neighbour.

    At most twice the smaller difference, so that a face value lies between its two cells.
    """
    smaller = min(abs(left), abs(right))
    if limiter == MINMOD:
        size = smaller
    elif limiter == MC:
        size = min(centred * abs(left + right), 2.0 * smaller)
    else:  # van Leer's harmonic mean, free of overflow
        larger = max(abs(left), abs(right))
        # the quotient first: it is at most 1 after rounding, and so is size at most 2·smaller
        size = 2.0 * smaller * (larger / (smaller + larger)) if larger > 0.0 else 0.0
    monotone = left * right > 0.0
    return np.copysign(size, left) if monotone else 0.0


limited = compiled(_limited)


def _halves(rho, down, p, up, centred, limiter, half):  # type: ignore[no-untyped-def]
    """Write half the limited changes of the row at p across its cells, from the rows beside it."""
    n = half.size
    below, here, above = rho[down : down + n], rho[p : p + n], rho[up : up + n]
    if limiter == MINMOD:
        for j in range(n):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, MINMOD)
    elif limiter == MC:
        for j in range(n):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, MC)
    else:
        for j in range(n):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, VAN_LEER)


halves = compiled(_halves)


def _halves_within(rho, p, widths, d, wall, limiter, half):  # type: ignore[no-untyped-def]
    """The same along the row itself; 0 beside walls."""
    row, centred = rho[p : p + half.size], widths[d]
    last = row.size - 1
    if limiter == MINMOD:
        for j in range(1, last):
            half[j] = 0.5 * limited(row[j] - row[j - 1], row[j + 1] - row[j], centred[j], MINMOD)
    elif limiter == MC:
        for j in range(1, last):
            half[j] = 0.5 * limited(row[j] - row[j - 1], row[j + 1] - row[j], centred[j], MC)
    else:
        for j in range(1, last):
            half[j] = 0.5 * limited(row[j] - row[j - 1], row[j + 1] - row[j], centred[j], VAN_LEER)
    half[0] = half[last] = 0.0
    if wall == PERIODIC:
        seam = row[0] - row[last]
        half[0] = 0.5 * limited(seam, row[1] - row[0], centred[0], limiter)
        half[last] = 0.5 * limited(row[last] - row[last - 1], seam, centred[last], limiter)


halves_within = compiled(_halves_within)


def _potential(V, p, v):  # type: ignore[no-untyped-def]
    """Write V = a⊗g + tilt + level of the cells from the flat index p on."""
    a, g, tilt, level = V
    i, q, n = p // g.size, p % g.size, v.size
    slope, rise, here, rest = a[i], tilt[i], g[q : q + n], level[i % level.shape[0], q : q + n]
    for j in range(n):
        v[j] = slope * here[j] + (rise + rest[j])


potential = compiled(_potential)


def _exchanged(rho, p, up, V, v, planes, slot, half, per_distance, per_width, gain):  # type: ignore[no-untyped-def]
    """Add what the row at p gains between its lower faces and those to the row ``up``; keep these.

    v: V of the row at p. planes: at ``slot`` the fluxes through the lower faces and, with ``half``
    (of the row above), the densities below the upper ones.
    """
    a, g, tilt, level = V
    n, i, q = v.size, up // g.size, up % g.size
    slope, rise, there, rest = a[i], tilt[i], g[q : q + n], level[i % level.shape[0], q : q + n]
    above, low = rho[up : up + n], planes[0, slot : slot + n]
    below = rho[p : p + n] if half is None else planes[2, slot : slot + n]
    for j in range(n):
        u = (v[j] - (slope * there[j] + (rise + rest[j]))) * per_distance
        under, over = below[j], above[j]
        if half is not None:
            below[j] = over + half[j]
            over -= half[j]
        through = u * (under if u > 0.0 else over)
        gain[j] += (low[j] - through) * per_width
        low[j] = through


exchanged = compiled(_exchanged)


def _upwind(v, other, below, above, per_distance, flux):  # type: ignore[no-untyped-def]
    """Write u·(density of the upwind cell) for the faces between two rows; v, other: V in them."""
    for j in range(flux.size):
        u, here, there = (v[j] - other[j]) * per_distance, below[j], above[j]
        flux[j] = u * (here if u > 0.0 else there)


upwind = compiled(_upwind)


def _leaving(wall, inside, rho, direction, flux):  # type: ignore[no-untyped-def]
    """Write what an open wall lets out of the row beside it, V going on as inside.

    direction: 1/distance, below zero at a lower wall.
    """
    for j in range(flux.size):
        flux[j] = max(inside[j] - wall[j], 0.0) * direction * rho[j]


leaving = compiled(_leaving)


def _booked(flux, v, areas, scale, ledger):  # type: ignore[no-untyped-def]
    """Add to ``ledger`` what left, Σ flux·area, and the energy it took along, Σ V·flux·area."""
    for j in range(flux.size):
        ledger[0] += flux[j] * areas[j] * scale
        ledger[1] += v[j] * flux[j] * areas[j] * scale


booked = compiled(_booked)


def _halves_across(rho, p, stride, cells, wall, widths, d, limiter, half):  # type: ignore[no-untyped-def]
    """The same along axis d; 0 beside walls."""
    k = (p // stride) % cells
    down = p - stride if k > 0 else p + (cells - 1) * stride
    up = p + stride if k < cells - 1 else p - (cells - 1) * stride
    if wall != PERIODIC and (k == 0 or k == cells - 1):
        half[:] = 0.0
    else:
        halves(rho, down, p, up, widths[d, k], limiter, half)


halves_across = compiled(_halves_across)


def _within(rho, p, v, half, faces, flux, gain):  # type: ignore[no-untyped-def]
    """Write the fluxes along the row at p, and what each of its cells gains by them.

    flux: (LINE + n,), that through the upper face of cell j at LINE + j.
    """
    shape, walls, lowest, distances, widths, _ = faces
    d, n = shape.size - 1, v.size
    wall, bottom, per_distance, per_width = walls[d], lowest[d], distances[d], widths[d]
    row, above = rho[p : p + n], flux[LINE:]
    for j in range(n - 1):
        u, here, there = (v[j] - v[j + 1]) * per_distance[j], row[j], row[j + 1]
        if half is not None:
            here += half[j]
            there -= half[j + 1]
        above[j] = u * (here if u > 0.0 else there)
    flux[LINE - 1] = above[n - 1] = 0.0
    if wall == PERIODIC:
        u, here, there = (v[n - 1] - v[0]) * bottom, row[n - 1], row[0]
        if half is not None:
            here += half[n - 1]
            there -= half[0]
        flux[LINE - 1] = above[n - 1] = u * (here if u > 0.0 else there)
    elif wall == OPEN:
        flux[LINE - 1] = -max((v[1] - v[0]) * bottom, 0.0) * row[0]
        above[n - 1] = max((v[n - 2] - v[n - 1]) * per_distance[n - 1], 0.0) * row[n - 1]
    for j in range(n):
        gain[j] = (flux[LINE - 1 + j] - above[j]) * per_width[j]


within = compiled(_within)


def _stepped(rho, p, gain, dt, start, share, result):  # type: ignore[no-untyped-def]
    """Write start + share·(E − start), E = ρ + dt·gain, in the row at p."""
    n = gain.size
    row, first, after = rho[p : p + n], start[p : p + n], result[p : p + n]
    if share == 1.0:
        for j in range(n):
            after[j] = row[j] + dt * gain[j]
    else:
        for j in range(n):
            after[j] = first[j] + share * (row[j] + dt * gain[j] - first[j])


stepped = compiled(_stepped)


def _strides_of(shape):  # type: ignore[no-untyped-def]
    """Of every axis, in cells; and where the planes of rows that axes keep begin."""
    D = shape.size
    strides, kept = np.ones(D, np.int64), np.zeros(D, np.int64)
    for d in range(D - 2, -1, -1):
        strides[d] = strides[d + 1] * shape[d + 1]
    for d in range(1, D):
        kept[d] = kept[d - 1] + strides[d - 1]
    return strides, kept


strides_of = compiled(_strides_of)


def _first(  # type: ignore[no-untyped-def]
    rho, p, stride, cells, wall, V, v, per_distance, centred, d, limiter, planes, slot, half, rows
):
    """Write the fluxes into the first row of axis d, at p, and densities below its upper faces."""
    n, top = v.size, p + (cells - 1) * stride
    row, low, seam = rho[p : p + n], planes[0, slot : slot + n], planes[1, slot : slot + n]
    below, above, other = rows[3, :n], rows[4, :n], rows[1, :n]
    low[:], above[:] = 0.0, row
    if half is not None:
        halves_across(rho, p, stride, cells, wall, centred, d, limiter, half)
        above[:] = row - half
        planes[2, slot : slot + n] = row + half
    if wall == PERIODIC:
        below[:] = rho[top : top + n]
        if half is not None:
            halves_across(rho, top, stride, cells, wall, centred, d, limiter, half)
            below += half
        potential(V, top, other)
        upwind(other, v, below, above, per_distance, low)
        seam[:] = low
    elif wall == OPEN:
        potential(V, p + stride, other)
        leaving(v, other, row, -per_distance, low)


first = compiled(_first)


def _final(rho, p, stride, wall, V, v, per_distance, per_width, planes, slot, rows, gain):  # type: ignore[no-untyped-def]
    """Add what the last row of an axis, at p, gains; its upper fluxes are left in rows[3]."""
    n = v.size
    low, high, other = planes[0, slot : slot + n], rows[3, :n], rows[1, :n]
    high[:] = 0.0
    if wall == PERIODIC:
        high[:] = planes[1, slot : slot + n]
    elif wall == OPEN:
        potential(V, p - stride, other)
        leaving(v, other, rho[p : p + n], per_distance, high)
    for j in range(n):
        gain[j] += (low[j] - high[j]) * per_width


final = compiled(_final)


def _transport(  # type: ignore[no-untyped-def]
    rho, V, faces, limiter, dt, start, share, result, counts, ledger, planes, rows, half
):
    """Write start + share·(E(ρ) − start), E(ρ) = ρ − dt ∇·(ρu), and what a pass over it counts.

    rho, start, result: flat, in C order. V: (a, g, tilt, level). faces: shape, walls, for every
    axis 1/distance of the centres at the lowest face, and a row of it at the upper face of each
    cell, of 1/width, and of width over the sum of the distances beside a cell. counts: weights,
    moments, least, as in mfpde/kernels/tally.py. ledger (axes, 2, 2): rates at which mass and its
    energy leave through both walls. planes (3, rows that axes keep), rows (6, LINE + cells along
    the last axis), half (a row): for work. ``half`` is None where the scheme is of FIRST_ORDER.
    """
    shape, walls, lowest, per_distance, per_width, centred = faces
    weights, moments, least = counts
    last, M = shape.size - 1, V[1].size
    n = shape[last]
    strides, kept = strides_of(shape)
    layers = result.reshape((result.size // M, M))
    v, gain, flux, widths = rows[0, :n], rows[2, :n], rows[5, : LINE + n], 1.0 / per_width[last, :n]
    moments[:], least[:], ledger[:] = 0.0, np.inf, 0.0
    for p in range(0, rho.size, n):
        area = 1.0  # of a face along the row
        for d in range(last):
            area /= per_width[d, (p // strides[d]) % shape[d]]
        potential(V, p, v)
        if half is not None:
            halves_within(rho, p, centred, last, walls[last], limiter, half)
        within(rho, p, v, half, faces, flux, gain)
        if walls[last] == OPEN:
            for end, j, out in ((0, 0, -flux[LINE - 1]), (1, n - 1, flux[LINE + n - 1])):
                ledger[last, end, 0] += area * out
                ledger[last, end, 1] += area * out * v[j]
        for d in range(last):
            stride, cells, wall = strides[d], shape[d], walls[d]
            k, slot = (p // stride) % cells, kept[d] + p % stride
            width = per_width[d, k]
            if k == 0:
                first(
                    rho,
                    p,
                    stride,
                    cells,
                    wall,
                    V,
                    v,
                    lowest[d],
                    centred,
                    d,
                    limiter,
                    planes,
                    slot,
                    half,
                    rows,
                )
                if wall == OPEN:
                    booked(planes[0, slot : slot + n], v, widths, -area * width, ledger[d, 0])
            if k < cells - 1:
                up = p + stride
                if half is not None:
                    halves_across(rho, up, stride, cells, wall, centred, d, limiter, half)
                exchanged(rho, p, up, V, v, planes, slot, half, per_distance[d, k], width, gain)
                continue
            final(rho, p, stride, wall, V, v, per_distance[d, k], width, planes, slot, rows, gain)
            if wall == OPEN:
                booked(rows[3, :n], v, widths, area * width, ledger[d, 1])
        stepped(rho, p, gain, dt, start, share, result)
        i, q = p // M, p % M
        if i % TOGETHER == TOGETHER - 1 or i == layers.shape[0] - 1:
            count(layers, i - i % TOGETHER, i + 1, q, q + n, weights, moments, least)


transport = compiled(_transport)
