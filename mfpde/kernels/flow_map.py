"""Where faces come from: feet of characteristics of dx/dτ = v(x) along lines, x in cells.

Smooth v is given at the faces and interpolated by polynomials; feet are traced backwards by
Butcher's seven-stage Runge–Kutta method of order 6 (1964). Piecewise constant v (a piecewise linear
activation) is followed exactly from kink to kink.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.compiling import compiled
from mfpde.kernels.sharing import shared
from mfpde.kernels.tiles import PERIODIC

ADVANCE = 0.1  # the largest |v'|·dτ of one Runge–Kutta step
U = np.uintp
Array = NDArray[np.float64]


def powers_of(table: Array) -> tuple[int, ...]:
    """0, …, degree, as many as the last axis is long: a tuple, whose length is compiled in."""
    return tuple(range(table.shape[-1]))


def _local_polynomials(v, table, wall, coefficients):  # type: ignore[no-untyped-def]
    """Coefficients (N, degree + 1) of the interpolant of ``v`` (N + 1,) on every cell."""
    N, nodes = v.shape[0] - 1, table.shape[1]
    middle = (nodes - 2) // 2
    first, end = middle, max(middle, N + 2 - nodes + middle)  # cells in the middle of their stencil
    for q in range(nodes):
        for c in range(first, end):
            coefficients[U(c), U(q)] = 0.0
        for i in range(nodes):
            weight = table[middle, i, q]
            for c in range(first, end):
                coefficients[U(c), U(q)] += weight * v[U(c + i - middle)]
    for c in range(N):
        if first <= c < end:
            continue
        start = c - middle
        if wall != PERIODIC:
            start = min(max(start, 0), N + 1 - nodes)
        s = c - start
        for q in range(nodes):
            total = 0.0
            for i in range(nodes):
                k = start + i
                total += table[s, i, q] * v[k % N if wall == PERIODIC else k]
            coefficients[c, q] = total


local_polynomials = compiled(_local_polynomials)


def _velocities(coefficients, powers, x, wall, xi, cell, result):  # type: ignore[no-untyped-def]
    """v at ``x``; beyond a wall its value there. ``xi`` and ``cell`` are overwritten.

    Where places run each one cell beyond the last, and coefficients do, loads are contiguous.
    """
    N, faces = coefficients.shape[0], x.shape[0]
    end, last = float(N), float(N - 1)
    if wall == PERIODIC:
        for f in range(faces):
            i = U(f)
            c = np.floor(x[i])
            xi[i] = x[i] - c
            cell[i] = c - end * np.floor(c / end)
    else:
        for f in range(faces):
            i = U(f)
            y = x[i]
            y = y if y > 0.0 else 0.0
            y = y if y < end else end
            c = np.floor(y)
            c = c if c < last else last
            xi[i], cell[i] = y - c, c
    first = 0
    while first < faces:
        stop = first + 1
        while stop < faces and cell[U(stop)] - cell[U(stop) - U(1)] == 1.0:
            stop += 1
        c = int(cell[first])
        for f in range(stop - first):
            to, at = U(first + f), U(c + f)
            total = 0.0
            for q in range(len(powers) - 1, -1, -1):
                total = total * xi[to] + coefficients[at, U(q)]
            result[to] = total
        first = stop


velocities = compiled(_velocities)


def _back_all(coefficients, powers, x, step, wall, k):  # type: ignore[no-untyped-def]
    """One Runge–Kutta step of dx/dτ = −v(x) from all places ``x``, in place; ``k`` (10, faces)."""
    h, y, xi, cell = -step, k[7], k[8], k[9]
    faces = x.shape[0]
    velocities(coefficients, powers, x, wall, xi, cell, k[0])
    for f in range(faces):
        y[f] = x[f] + h * k[0, f] / 3.0
    velocities(coefficients, powers, y, wall, xi, cell, k[1])
    for f in range(faces):
        y[f] = x[f] + 2.0 * h * k[1, f] / 3.0
    velocities(coefficients, powers, y, wall, xi, cell, k[2])
    for f in range(faces):
        y[f] = x[f] + h * (k[0, f] + 4.0 * k[1, f] - k[2, f]) / 12.0
    velocities(coefficients, powers, y, wall, xi, cell, k[3])
    for f in range(faces):
        y[f] = x[f] + h * (-k[0, f] + 18.0 * k[1, f] - 3.0 * k[2, f] - 6.0 * k[3, f]) / 16.0
    velocities(coefficients, powers, y, wall, xi, cell, k[4])
    for f in range(faces):
        y[f] = x[f] + h * (9.0 * k[1, f] - 3.0 * k[2, f] - 6.0 * k[3, f] + 4.0 * k[4, f]) / 8.0
    velocities(coefficients, powers, y, wall, xi, cell, k[5])
    for f in range(faces):
        late = 63.0 * k[2, f] + 72.0 * k[3, f] - 64.0 * k[5, f]
        y[f] = x[f] + h * (9.0 * k[0, f] - 36.0 * k[1, f] + late) / 44.0
    velocities(coefficients, powers, y, wall, xi, cell, k[6])
    for f in range(faces):
        ends, middle, late = k[0, f] + k[6, f], k[2, f] + k[3, f], k[4, f] + k[5, f]
        x[f] += h * (11.0 * ends + 81.0 * middle - 32.0 * late) / 120.0


back_all = compiled(_back_all)


def _trace(v, start, taus, table, powers, wall, result, begin, end):  # type: ignore[no-untyped-def]
    """Lines ``begin`` to ``end`` of ``feet_at``."""
    _, faces, inner = v.shape
    line = np.empty(faces)
    coefficients = np.empty((table.shape[1], faces - 1)).T
    ahead, behind, k = np.empty(faces), np.empty(faces), np.empty((10, faces))
    for number in range(begin, end):
        o, i = number // inner, number % inner
        steepest = 0.0
        for f in range(faces):
            line[f] = v[o, f, i]
        for f in range(1, faces):
            steepest = max(steepest, abs(line[f] - line[f - 1]))
        local_polynomials(line, table, wall, coefficients)
        ahead[:], behind[:] = start, start
        last_ahead, last_behind = 0.0, 0.0
        for m in range(taus.shape[0]):
            tau = taus[m]
            x = ahead if tau >= 0.0 else behind
            gap = tau - (last_ahead if tau >= 0.0 else last_behind)
            count = max(1, int(np.ceil(abs(gap) * steepest / ADVANCE)))
            for _ in range(count if gap != 0.0 else 0):
                back_all(coefficients, powers, x, gap / count, wall, k)
            if tau >= 0.0:
                last_ahead = tau
            else:
                last_behind = tau
            for f in range(faces):
                result[m, o, f, i] = x[f]
    return 0


trace = compiled(_trace)


def feet_at(v: Array, start: Array, taus: Array, table: Array, wall: int, result: Array) -> None:
    """Feet ``result`` (K, outer, N + 1, inner) at signed times ``taus`` from ``start`` (N + 1,).

    v: face velocities (outer, N + 1, inner) in cells per unit of τ. ``taus`` are sorted by size
    within each sign: each foot is traced on from the one before.
    """
    arguments = (v, start, taus, table, powers_of(table), wall, result)
    shared(trace, arguments, v.shape[0] * v.shape[2], result.size)


def _march(kinks, pieces, x, tau):  # type: ignore[no-untyped-def]
    """The foot of x after τ of dx/dτ = −v, v = pieces[m] between kinks[m − 1] and kinks[m].

    Pieces between equal kinks do not count. A kink that backward characteristics run into from
    both sides is where a gap opens: feet rest there. They rest too where both sides run away: the
    middle of what the kink has gathered.
    """
    sign = 1.0 if tau >= 0.0 else -1.0
    left = abs(tau)
    while left > 0.0:
        lower = np.searchsorted(kinks, x)  # the first kink at x or above
        upper = np.searchsorted(kinks, x, side="right")  # the first kink above x
        below, above = -sign * pieces[lower], -sign * pieces[upper]
        if below >= 0.0 and above > 0.0:
            speed, end = above, np.inf if upper == kinks.shape[0] else kinks[upper]
        elif below < 0.0 and above <= 0.0:
            speed, end = below, -np.inf if lower == 0 else kinks[lower - 1]
        else:
            break
        if abs(speed) * left <= abs(end - x):
            return x + speed * left
        left -= (end - x) / speed
        x = end
    return x


march = compiled(_march)


def _feet_piecewise(kinks, pieces, start, taus, result):  # type: ignore[no-untyped-def]
    """Feet ``result`` (K, outer, N + 1, inner) for kinks (outer, inner, J), pieces (…, J + 1)."""
    outer, inner, _ = kinks.shape
    for m in range(taus.shape[0]):
        for o in range(outer):
            for f in range(start.shape[0]):
                for i in range(inner):
                    result[m, o, f, i] = march(kinks[o, i], pieces[o, i], start[f], taus[m])


feet_piecewise = compiled(_feet_piecewise)
