"""Fluxes kept face by face, (outer, N + 1, inner): what a step takes that limits all axes at once.

A face has a density below and one above it; the velocity u = −∂V chooses. A circle's first and last
face are one face, stored twice. Walls are told by densities: what would enter has density 0.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
from mfpde.kernels.limiters import FIRST_ORDER, limited
from mfpde.kernels.tiles import (
    CLOSED,
    COPIED,
    EXTENDED,
    PERIODIC,
    WIDTH,
    block,
    gather,
    line_blocks,
    scatter,
)

ALMOST = 1.0 - 4e-15  # of what a cell holds it may give, so that rounding takes no more
DUST = 1e-290  # densities so near underflow that rounding is no longer relative: such cells keep it


def _beside(rho, centred, wall, limiter, below, above):  # type: ignore[no-untyped-def]
    """Write the densities on both sides of every face, linear in the cells as in ``transport``."""
    N = rho.shape[1]
    r = np.empty((N + 4, WIDTH))
    under, over = np.empty((N + 1, WIDTH)), np.empty((N + 1, WIDTH))
    per_slab, blocks = line_blocks(rho)
    for number in range(blocks):
        slab, first, lines = block(rho, number, per_slab)
        gather(rho, slab, first, lines, 2, wall, COPIED, r)
        for k in range(-1, N + 1):  # the ghosts too
            c = centred[max(0, min(k, N - 1))]
            for j in range(lines):
                here, change = r[k + 2, j], 0.0
                if limiter != FIRST_ORDER:
                    change = limited(here - r[k + 1, j], r[k + 3, j] - here, c, limiter)
                if k >= 0:
                    over[k, j] = here - 0.5 * change
                if k < N:
                    under[k + 1, j] = here + 0.5 * change
        shut(under, over, wall, lines)
        scatter(under, slab, first, lines, below)
        scatter(over, slab, first, lines, above)


def _shut(under, over, wall, lines):  # type: ignore[no-untyped-def]
    """Nothing enters through a wall, and nothing leaves through a closed one."""
    N = under.shape[0] - 1
    for j in range(lines):
        if wall != PERIODIC:
            under[0, j] = over[N, j] = 0.0
        if wall == CLOSED:
            over[0, j] = under[N, j] = 0.0


shut = compiled(_shut)
beside = compiled(_beside)


def _fluxes(V, below, above, weights, per_distance, wall, flux):  # type: ignore[no-untyped-def]
    """Write u⁺·below + u⁻·above, u = Σ_m weights_m (V_{f−1−m} − V_{f+m})/distance.

    Beyond walls V goes on with the slope it has there.
    """
    N, r = V.shape[1], weights.shape[0]
    v, under, over = (
        np.empty((N + 2 * r, WIDTH)),
        np.empty((N + 1, WIDTH)),
        np.empty((N + 1, WIDTH)),
    )
    per_slab, blocks = line_blocks(V)
    for number in range(blocks):
        slab, first, lines = block(V, number, per_slab)
        gather(V, slab, first, lines, r, wall, EXTENDED, v)
        gather(below, slab, first, lines, 0, wall, COPIED, under)
        gather(above, slab, first, lines, 0, wall, COPIED, over)
        for f in range(N + 1):
            for j in range(lines):
                u = 0.0
                for m in range(r):
                    u += weights[m] * (v[f + r - 1 - m, j] - v[f + r + m, j])
                u *= per_distance[f]
                under[f, j] = max(u, 0.0) * under[f, j] + min(u, 0.0) * over[f, j]
        scatter(under, slab, first, lines, flux)


fluxes = compiled(_fluxes)


def _spent(flux, per_width, total):  # type: ignore[no-untyped-def]
    """Add to ``total`` (outer, N, inner) what every cell gives away through its two faces."""
    outer, N, inner = total.shape
    for o in range(outer):
        for k in range(N):
            for i in range(inner):
                given = max(flux[o, k + 1, i], 0.0) + max(-flux[o, k, i], 0.0)
                total[o, k, i] += given * per_width[k]


spent = compiled(_spent)


def _shares(holds, total, dt):  # type: ignore[no-untyped-def]
    """Turn what cells would give per time into the share they can afford; how many cannot all."""
    count = 0
    for k in range(holds.size):
        most = ALMOST * holds[k]
        if holds[k] <= DUST:
            total[k] = 0.0
        elif dt * total[k] > most:
            total[k] = most / (dt * total[k])
            count += 1
        else:
            total[k] = 1.0
    return count


shares = compiled(_shares)


def _given(flux, share, wall):  # type: ignore[no-untyped-def]
    """Scale every flux by the share of the cell that gives it; in place."""
    outer, N, inner = share.shape
    for o in range(outer):
        for f in range(N + 1):
            low, high = f - 1, f
            if wall == PERIODIC:
                low, high = low % N, high % N
            for i in range(inner):
                if flux[o, f, i] > 0.0:
                    flux[o, f, i] *= share[o, low, i]
                elif flux[o, f, i] < 0.0:
                    flux[o, f, i] *= share[o, high, i]


given = compiled(_given)


def _delivered(flux, per_width, dt, rho):  # type: ignore[no-untyped-def]
    """ρ ← ρ − dt·∂_x flux, in place."""
    outer, N, inner = rho.shape
    for o in range(outer):
        for k in range(N):
            for i in range(inner):
                rho[o, k, i] -= dt * per_width[k] * (flux[o, k + 1, i] - flux[o, k, i])


delivered = compiled(_delivered)
