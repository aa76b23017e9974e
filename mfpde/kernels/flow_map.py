"""Where faces come from: feet of characteristics of dx/dτ = v(x) along lines, x in cells.

Smooth v is given at the faces and interpolated by polynomials; feet are traced backwards by
Butcher's seven-stage Runge–Kutta method of order 6 (1964). Piecewise constant v (a piecewise linear
activation) is followed exactly from kink to kink.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import PERIODIC

ADVANCE = 0.1  # the largest |v'|·dτ of one Runge–Kutta step


def _local_polynomials(v, table, wall, coefficients):  # type: ignore[no-untyped-def]
    """Coefficients (N, degree + 1) of the interpolant of ``v`` (N + 1,) on every cell."""
    N, nodes = v.shape[0] - 1, table.shape[1]
    for c in range(N):
        start = c - (nodes - 2) // 2
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


def _velocity(coefficients, x, wall):  # type: ignore[no-untyped-def]
    """v(x); beyond a wall its value there."""
    N, nodes = coefficients.shape
    if wall == PERIODIC:
        c = int(np.floor(x))
        xi = x - c
        c %= N
    else:
        y = min(max(x, 0.0), float(N))
        c = min(int(y), N - 1)
        xi = y - c
    total = 0.0
    for q in range(nodes - 1, -1, -1):
        total = total * xi + coefficients[c, q]
    return total


velocity = compiled(_velocity)


def _back(coefficients, x, step, wall):  # type: ignore[no-untyped-def]
    """One Runge–Kutta step of dx/dτ = −v(x)."""
    h = -step
    k1 = h * velocity(coefficients, x, wall)
    k2 = h * velocity(coefficients, x + k1 / 3.0, wall)
    k3 = h * velocity(coefficients, x + 2.0 * k2 / 3.0, wall)
    k4 = h * velocity(coefficients, x + (k1 + 4.0 * k2 - k3) / 12.0, wall)
    k5 = h * velocity(coefficients, x + (-k1 + 18.0 * k2 - 3.0 * k3 - 6.0 * k4) / 16.0, wall)
    k6 = h * velocity(coefficients, x + (9.0 * k2 - 3.0 * k3 - 6.0 * k4 + 4.0 * k5) / 8.0, wall)
    k7 = h * velocity(
        coefficients, x + (9.0 * k1 - 36.0 * k2 + 63.0 * k3 + 72.0 * k4 - 64.0 * k6) / 44.0, wall
    )
    return x + (11.0 * (k1 + k7) + 81.0 * (k3 + k4) - 32.0 * (k5 + k6)) / 120.0


back = compiled(_back)


def _feet_at(v, start, taus, table, wall, result):  # type: ignore[no-untyped-def]
    """Feet ``result`` (K, outer, N + 1, inner) at signed times ``taus`` from ``start`` (N + 1,).

    v: face velocities (outer, N + 1, inner) in cells per unit of τ. ``taus`` are sorted by size
    within each sign: each foot is traced on from the one before.
    """
    outer, faces, inner = v.shape
    line = np.empty(faces)
    coefficients = np.empty((faces - 1, table.shape[1]))
    for o in range(outer):
        for i in range(inner):
            steepest = 0.0
            for f in range(faces):
                line[f] = v[o, f, i]
            for f in range(1, faces):
                steepest = max(steepest, abs(line[f] - line[f - 1]))
            local_polynomials(line, table, wall, coefficients)
            for f in range(faces):
                up, down = start[f], start[f]
                last_up, last_down = 0.0, 0.0
                for m in range(taus.shape[0]):
                    tau = taus[m]
                    x = up if tau >= 0.0 else down
                    gap = tau - (last_up if tau >= 0.0 else last_down)
                    count = max(1, int(np.ceil(abs(gap) * steepest / ADVANCE)))
                    for _ in range(count):
                        x = back(coefficients, x, gap / count, wall)
                    if tau >= 0.0:
                        up, last_up = x, tau
                    else:
                        down, last_down = x, tau
                    result[m, o, f, i] = x


feet_at = compiled(_feet_at)


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
