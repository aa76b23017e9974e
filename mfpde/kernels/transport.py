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
from mfpde.kernels.limiters import halves_across, halves_within
from mfpde.kernels.tally import TOGETHER, count, layers_before
from mfpde.kernels.tiles import OPEN, PERIODIC

LINE = 8  # numbers in a line of the cache: vectors that start with one load in half the time


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
    below = rho[p : p + n] if half is None else planes[1, slot : slot + n]
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


def _opened(  # type: ignore[no-untyped-def]
    rho, p, k, stride, cells, wall, V, v, per_distance, widths, limiter, planes, slot, half, rows
):
    """Write the fluxes into a row, at p, below which none are kept, and densities below its upper
    faces.

    It is the k-th across an axis with this stride; per_distance: at its lower faces.
    """
    n, down = v.size, p - stride if k > 0 else p + (cells - 1) * stride
    row, low = rho[p : p + n], planes[0, slot : slot + n]
    other, below, above = rows[1, :n], rows[3, :n], rows[4, :n]
    low[:], above[:] = 0.0, row
    if half is not None:
        halves_across(rho, p, k, stride, cells, wall, widths, limiter, half)
        above -= half
        planes[1, slot : slot + n] = row + half
    if k > 0 or wall == PERIODIC:
        below[:] = rho[down : down + n]
        if half is not None:
            under = k - 1 if k > 0 else cells - 1
            halves_across(rho, down, under, stride, cells, wall, widths, limiter, half)
            below += half
        potential(V, down, other)
        upwind(other, v, below, above, per_distance, low)
    elif wall == OPEN:
        potential(V, p + stride, other)
        leaving(v, other, row, -per_distance, low)


opened = compiled(_opened)


def _closed(  # type: ignore[no-untyped-def]
    rho, p, stride, cells, wall, V, v, per_distance, widths, limiter, planes, slot, half, rows
):
    """Write to rows[3] the fluxes out of the last row of an axis, at p."""
    n, up = v.size, p - (cells - 1) * stride
    row, high, other, above = rho[p : p + n], rows[3, :n], rows[1, :n], rows[4, :n]
    high[:] = 0.0
    if wall == PERIODIC:
        above[:] = rho[up : up + n]
        if half is not None:
            halves_across(rho, up, 0, stride, cells, wall, widths, limiter, half)
            above -= half
        potential(V, up, other)
        below = row if half is None else planes[1, slot : slot + n]
        upwind(v, other, below, above, per_distance, high)
    elif wall == OPEN:
        potential(V, p - stride, other)
        leaving(v, other, row, per_distance, high)


closed = compiled(_closed)


def _gained(low, high, per_width, gain):  # type: ignore[no-untyped-def]
    """Add what fluxes through lower and upper faces bring."""
    for j in range(gain.size):
        gain[j] += (low[j] - high[j]) * per_width


gained = compiled(_gained)


def _area(per_width, place):  # type: ignore[no-untyped-def]
    """Of a face along the row at this place across the other axes."""
    area = 1.0
    for d in range(place.size - 1):
        area /= per_width[d, place[d]]
    return area


area_of = compiled(_area)


def _advance(place, shape):  # type: ignore[no-untyped-def]
    """Set the place across the other axes to that of the next row."""
    for d in range(shape.size - 2, -1, -1):
        place[d] += 1
        if place[d] < shape[d]:
            return
        place[d] = 0


advance = compiled(_advance)


def _slab(  # type: ignore[no-untyped-def]
    rho, V, faces, limiter, dt, start, share, result, counts, ledger, planes, rows, half, begin, end
):
    """The layers ``begin`` to ``end``; planes, rows, half, what is counted and ledger: its own."""
    shape, walls, lowest, per_distance, per_width, centred = faces
    weights, moments, least = counts
    last, M = shape.size - 1, V[1].size
    n = shape[last]
    (strides, kept), place = strides_of(shape), np.zeros(shape.size, np.int64)
    layers = result.reshape((result.size // M, M))
    v, gain, flux, widths = rows[0, :n], rows[2, :n], rows[5, : LINE + n], 1.0 / per_width[last, :n]
    moments[:], least[:], ledger[:], place[0] = 0.0, np.inf, 0.0, begin
    for p in range(begin * M, end * M, n):
        potential(V, p, v)
        if half is not None:
            halves_within(rho, p, centred, last, walls[last], limiter, half)
        within(rho, p, v, half, faces, flux, gain)
        if walls[last] == OPEN:
            area = area_of(per_width, place)
            for side, j, out in ((0, 0, -flux[LINE - 1]), (1, n - 1, flux[LINE + n - 1])):
                ledger[last, side, 0] += area * out
                ledger[last, side, 1] += area * out * v[j]
        behind = p
        for d in range(last):
            k, stride, cells, wall, across = place[d], strides[d], shape[d], walls[d], centred[d]
            behind -= k * stride
            slot, width = kept[d] + behind, per_width[d, k]
            low, rate = planes[0, slot : slot + n], per_distance[d, k]
            if k == 0 or (d == 0 and p < begin * M + M):
                into = lowest[d] if k == 0 else per_distance[d, k - 1]
                opened(
                    rho, p, k, stride, cells, wall, V, v, into, across, limiter, planes, slot, half,
                    rows,
                )  # fmt: skip
            if k == 0 and wall == OPEN:
                booked(low, v, widths, -area_of(per_width, place) * width, ledger[d, 0])
            if k < cells - 1:
                up = p + stride
                if half is not None:
                    halves_across(rho, up, k + 1, stride, cells, wall, across, limiter, half)
                exchanged(rho, p, up, V, v, planes, slot, half, rate, width, gain)
                continue
            closed(
                rho, p, stride, cells, wall, V, v, rate, across, limiter, planes, slot, half, rows
            )
            gained(low, rows[3, :n], width, gain)
            if wall == OPEN:
                booked(rows[3, :n], v, widths, area_of(per_width, place) * width, ledger[d, 1])
        stepped(rho, p, gain, dt, start, share, result)
        i, q = p // M, p % M
        if i % TOGETHER == TOGETHER - 1 or i == end - 1:
            count(layers, i - i % TOGETHER, i + 1, q, q + n, weights, moments, least)
        advance(place, shape)


slab = compiled(_slab)


def _transport(  # type: ignore[no-untyped-def]
    rho, V, faces, limiter, dt, start, share, result, counts, ledger, planes, rows, half, begin, end
):
    """Write start + share·(E(ρ) − start), E(ρ) = ρ − dt ∇·(ρu), and what a pass over it counts.

    Of the slabs ``begin`` to ``end`` of layers of the first axis; fluxes between two slabs are made
    in both.

    rho, start, result: flat, in C order. V: (a, g, tilt, level). faces: shape, walls, for every
    axis 1/distance of the centres at the lowest face, and a row of it at the upper face of each
    cell, of 1/width, and of width over the sum of the distances beside a cell. counts: weights,
    moments, least, as in mfpde/kernels/tally.py. ledger (slabs, axes, 2, 2): rates at which mass
    and its energy leave through both walls. planes (slabs, 2, rows that axes keep), rows (slabs, 6,
    LINE + cells along the last axis), half (slabs, a row): for work. ``half`` is None where the
    scheme is of FIRST_ORDER.
    """
    weights, moments, least = counts
    slabs, N = len(ledger), result.size // V[1].size
    for s in range(begin, end):
        slab(
            rho,
            V,
            faces,
            limiter,
            dt,
            start,
            share,
            result,
            (weights, moments[s], least[s]),
            ledger[s],
            planes[s],
            rows[s],
            None if half is None else half[s],
            layers_before(N, s, slabs),
            layers_before(N, s + 1, slabs),
        )
    return 0


transport = compiled(_transport)
