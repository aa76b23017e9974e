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
from mfpde.kernels.tiles import CLOSED, OPEN, PERIODIC

FIRST_ORDER, MINMOD, MC, VAN_LEER = 0, 1, 2, 3


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


def _halves(below, here, above, centred, limiter, half):  # type: ignore[no-untyped-def]
    """Write half the limited changes of a row across its cells, from the rows on both sides."""
    if limiter == MINMOD:
        for j in range(here.size):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, MINMOD)
    elif limiter == MC:
        for j in range(here.size):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, MC)
    else:
        for j in range(here.size):
            half[j] = 0.5 * limited(here[j] - below[j], above[j] - here[j], centred, VAN_LEER)


halves = compiled(_halves)


def _halves_within(row, centred, wall, limiter, half):  # type: ignore[no-untyped-def]
    """The same along the row itself; 0 beside walls."""
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


def _potential(V, p, row):  # type: ignore[no-untyped-def]
    """Write V = a⊗g + tilt + level of the cells from the flat index p on."""
    a, g, tilt, level = V
    i, q = p // g.size, p % g.size
    here, rest = g[q : q + row.size], level[i % level.shape[0], q : q + row.size]
    for j in range(row.size):
        row[j] = a[i] * here[j] + (tilt[i] + rest[j])


potential = compiled(_potential)


def _upwind(v, other, below, above, per_distance, flux):  # type: ignore[no-untyped-def]
    """Write u⁺·below + u⁻·above for the faces between two rows; v, other: V in them."""
    for j in range(flux.size):
        u = (v[j] - other[j]) * per_distance
        flux[j] = max(u, 0.0) * below[j] + min(u, 0.0) * above[j]


upwind = compiled(_upwind)


def _leaving(wall, inside, rho, per_distance, flux):  # type: ignore[no-untyped-def]
    """Write what an open wall lets out of the row beside it, V going on as inside."""
    for j in range(flux.size):
        flux[j] = max((inside[j] - wall[j]) * per_distance, 0.0) * rho[j]


leaving = compiled(_leaving)


def _booked(flux, v, areas, scale, ledger):  # type: ignore[no-untyped-def]
    """Add to ``ledger`` what left, Σ flux·area, and the energy it took along, Σ V·flux·area."""
    for j in range(flux.size):
        ledger[0] += flux[j] * areas[j] * scale
        ledger[1] += v[j] * flux[j] * areas[j] * scale


booked = compiled(_booked)


def _halves_across(rho, p, stride, cells, wall, centred, limiter, half):  # type: ignore[no-untyped-def]
    """Half the limited changes of the row at p along another axis; 0 beside walls."""
    n, k = half.size, (p // stride) % cells
    down = p - stride if k > 0 else p + (cells - 1) * stride
    up = p + stride if k < cells - 1 else p - (cells - 1) * stride
    if wall != PERIODIC and (k == 0 or k == cells - 1):
        half[:] = 0.0
    else:
        here = rho[p : p + n]
        halves(rho[down : down + n], here, rho[up : up + n], centred[k], limiter, half)


halves_across = compiled(_halves_across)


def _within(row, v, half, per_distance, per_width, wall, flux, gain):  # type: ignore[no-untyped-def]
    """Write the fluxes (n + 1,) along a row, and what each of its cells gains by them."""
    n = row.size
    for j in range(n - 1):
        u = (v[j] - v[j + 1]) * per_distance[j + 1]
        flux[j + 1] = max(u, 0.0) * (row[j] + half[j]) + min(u, 0.0) * (row[j + 1] - half[j + 1])
    flux[0] = flux[n] = 0.0
    if wall == PERIODIC:
        u = (v[n - 1] - v[0]) * per_distance[0]
        flux[0] = max(u, 0.0) * (row[n - 1] + half[n - 1]) + min(u, 0.0) * (row[0] - half[0])
        flux[n] = flux[0]
    elif wall == OPEN:
        flux[0] = -max((v[1] - v[0]) * per_distance[0], 0.0) * row[0]
        flux[n] = max((v[n - 2] - v[n - 1]) * per_distance[n], 0.0) * row[n - 1]
    for j in range(n):
        gain[j] = (flux[j] - flux[j + 1]) * per_width[j]


within = compiled(_within)


def _between(low, high, per_width, gain):  # type: ignore[no-untyped-def]
    """Add what a row gains between its faces; the upper ones are the next row's lower."""
    for j in range(gain.size):
        gain[j] += (low[j] - high[j]) * per_width
        low[j] = high[j]


between = compiled(_between)


def _stepped(rho, gain, dt, start, share, result):  # type: ignore[no-untyped-def]
    """Write start + share·(E − start), E = ρ + dt·gain."""
    if share == 1.0:
        for j in range(gain.size):
            result[j] = rho[j] + dt * gain[j]
    else:
        for j in range(gain.size):
            result[j] = start[j] + share * (rho[j] + dt * gain[j] - start[j])


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


def _transport(rho, V, faces, limiter, dt, start, share, result, counts, ledger, planes, rows):  # type: ignore[no-untyped-def]
    """Write start + share·(E(ρ) − start), E(ρ) = ρ − dt ∇·(ρu), and what a pass over it counts.

    rho, start, result: flat, in C order. V: (a, g, tilt, level). faces: shape, walls, and for every
    axis a row of 1/distance of the centres at each face, of 1/width, and of width over the sum of
    the distances beside a cell. counts: weights, moments, least, as in mfpde/kernels/tally.py.
    ledger (axes, 2, 2): rates at which mass and its energy leave through both walls. planes
    (3, rows that axes keep), rows (7, cells along the last axis + 1): for work.
    """
    shape, walls, per_distance, per_width, centred = faces
    weights, moments, least = counts
    last, M, second = shape.size - 1, V[1].size, limiter != FIRST_ORDER
    n = shape[last]
    strides, kept = strides_of(shape)
    layers = result.reshape((result.size // M, M))
    v, other, half = rows[0, :n], rows[1, :n], rows[2, :n]
    gain, high, over, flux = rows[3, :n], rows[4, :n], rows[5, :n], rows[6, : n + 1]
    widths = 1.0 / per_width[last, :n]
    moments[:], least[:], ledger[:], half[:] = 0.0, np.inf, 0.0, 0.0
    for p in range(0, rho.size, n):
        row, area = rho[p : p + n], 1.0  # of a face along the row
        for d in range(last):
            area /= per_width[d, (p // strides[d]) % shape[d]]
        potential(V, p, v)
        if second:
            halves_within(row, centred[last], walls[last], limiter, half)
        within(row, v, half, per_distance[last], per_width[last], walls[last], flux, gain)
        if walls[last] == OPEN:
            for end, j, out in ((0, 0, -flux[0]), (1, n - 1, flux[n])):
                ledger[last, end, 0] += area * out
                ledger[last, end, 1] += area * out * v[j]
        for d in range(last):
            stride, cells, wall = strides[d], shape[d], walls[d]
            k, slot = (p // stride) % cells, kept[d] + p % stride
            low, seam = planes[0, slot : slot + n], planes[1, slot : slot + n]
            below = planes[2, slot : slot + n] if second else row
            if k == 0:
                low[:] = 0.0
                if second:
                    halves_across(rho, p, stride, cells, wall, centred[d], limiter, half)
                    for j in range(n):
                        below[j] = row[j] + half[j]
                if wall == PERIODIC:
                    top = p + (cells - 1) * stride
                    potential(V, top, other)
                    high[:], over[:] = rho[top : top + n], row
                    if second:
                        for j in range(n):
                            over[j] = row[j] - half[j]
                        halves_across(rho, top, stride, cells, wall, centred[d], limiter, half)
                        for j in range(n):
                            high[j] += half[j]
                    upwind(other, v, high, over, per_distance[d, 0], low)
                    seam[:] = low
                elif wall == OPEN:
                    potential(V, p + stride, other)
                    leaving(v, other, row, per_distance[d, 0], high)
                    booked(high, v, widths, area * per_width[d, k], ledger[d, 0])
                    for j in range(n):
                        low[j] = -high[j]
            if k < cells - 1:
                up = p + stride
                above = rho[up : up + n]
                potential(V, up, other)
                if second:
                    halves_across(rho, up, stride, cells, wall, centred[d], limiter, half)
                    for j in range(n):
                        over[j] = above[j] - half[j]
                    upwind(v, other, below, over, per_distance[d, k + 1], high)
                    for j in range(n):
                        below[j] = above[j] + half[j]
                else:
                    upwind(v, other, row, above, per_distance[d, k + 1], high)
            elif wall == PERIODIC:
                high[:] = seam
            elif wall == OPEN:
                potential(V, p - stride, other)
                leaving(v, other, row, per_distance[d, cells], high)
                booked(high, v, widths, area * per_width[d, k], ledger[d, 1])
            else:
                high[:] = 0.0
            between(low, high, per_width[d, k], gain)
        stepped(row, gain, dt, start[p : p + n], share, result[p : p + n])
        i, q = p // M, p % M
        if i % TOGETHER == TOGETHER - 1 or i == layers.shape[0] - 1:
            count(layers, i - i % TOGETHER, i + 1, q, q + n, weights, moments, least)


transport = compiled(_transport)


def _outwards(v, other, per_distance, per_width, total):  # type: ignore[no-untyped-def]
    """Add the rate at which cells empty towards others: (V − V_other)⁺/(distance·width)."""
    for j in range(total.size):
        total[j] += max((v[j] - other[j]) * per_distance, 0.0) * per_width


outwards = compiled(_outwards)


def _emptying(V, faces, layers, rows):  # type: ignore[no-untyped-def]
    """The largest rate at which a cell of some layers empties through all its faces, 1/time."""
    shape, walls, per_distance, per_width, _ = faces
    last, M = shape.size - 1, V[1].size
    n = shape[last]
    strides, _ = strides_of(shape)
    v, other, total, most = rows[0, :n], rows[1, :n], rows[2, :n], rows[3, :n]
    drop = rows[4, : n + 1]
    most[:] = 0.0
    for i in layers:
        for p in range(i * M, (i + 1) * M, n):
            potential(V, p, v)
            for j in range(n - 1):
                drop[j + 1] = (v[j] - v[j + 1]) * per_distance[last, j + 1]
            drop[0] = drop[n] = 0.0
            if walls[last] == PERIODIC:
                drop[0] = drop[n] = (v[n - 1] - v[0]) * per_distance[last, 0]
            elif walls[last] == OPEN:
                drop[0] = (v[0] - v[1]) * per_distance[last, 0]
                drop[n] = (v[n - 2] - v[n - 1]) * per_distance[last, n]
            for j in range(n):
                total[j] = (max(-drop[j], 0.0) + max(drop[j + 1], 0.0)) * per_width[last, j]
            for d in range(last):
                stride, cells, wall = strides[d], shape[d], walls[d]
                k = (p // stride) % cells
                for end in range(2):
                    rate, width = per_distance[d, k + end], per_width[d, k]
                    step = (2 * end - 1) * stride
                    at_wall = k == end * (cells - 1)
                    if not at_wall or wall == PERIODIC:
                        potential(V, p - (cells - 1) * step if at_wall else p + step, other)
                        outwards(v, other, rate, width, total)
                    elif wall == OPEN:
                        potential(V, p - step, other)
                        outwards(other, v, rate, width, total)
            for j in range(n):
                most[j] = max(most[j], total[j])
    return most.max()


emptying = compiled(_emptying)
