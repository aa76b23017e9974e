"""Cells that exchange mass with their neighbours along one axis: a master equation.

    dm_k/dt = up_{k−1} m_{k−1} + down_{k+1} m_{k+1} − (up_k + down_k) m_k

Scharfetter & Gummel's rates (1969) are those of the exact flux of −ρV' − λρ' between two centres
with V linear in between: mass flux = (λ/d)[B(ΔV/λ) ρ_below − B(−ΔV/λ) ρ_above], B(s) = s/(eˢ − 1).
As λB(s) = λB(|s|) + (s)⁻, λ → 0 is the upwind flux, and detailed balance B(s)eˢ = B(−s) makes
exp(−V/λ) an exact equilibrium.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled
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
    scatter_add,
)

HUGE = 700.0  # e^HUGE is still finite


def _bernoulli(s):  # type: ignore[no-untyped-def]
    """B(s) = s/(eˢ − 1), B(0) = 1; for s < 0 the sum B(−s) − s of positive terms."""
    size = abs(s)
    if size == 0.0:
        return 1.0
    value = size / np.expm1(size) if size < HUGE else size * np.exp(-size)
    return value if s > 0.0 else value + size


bernoulli = compiled(_bernoulli)


def _rates(V, entropy, per_distance, per_width, wall, up, down):  # type: ignore[no-untyped-def]
    """Write the rates at which each cell hands mass to the next above and below, 1/time.

    V, up, down: (outer, N, inner). Through an OPEN wall mass leaves as if V went on as inside.
    """
    N = V.shape[1]
    v, rise, fall = np.empty((N + 2, WIDTH)), np.empty((N, WIDTH)), np.empty((N, WIDTH))
    per_slab, blocks = line_blocks(V)
    for number in range(blocks):
        slab, first, lines = block(V, number, per_slab)
        gather(V, slab, first, lines, 1, wall, EXTENDED, v)
        for f in range(N + 1):
            shut = wall == CLOSED and (f == 0 or f == N)
            for j in range(lines):
                drop = v[f, j] - v[f + 1, j]
                spread = 0.0
                if entropy > 0.0:
                    spread = entropy * bernoulli(abs(drop) / entropy)
                through = 0.0 if shut else per_distance[f]
                if f > 0:
                    rise[f - 1, j] = (max(drop, 0.0) + spread) * through * per_width[f - 1]
                if f < N:
                    fall[f, j] = (max(-drop, 0.0) + spread) * through * per_width[f]
        scatter(rise, slab, first, lines, up)
        scatter(fall, slab, first, lines, down)


rates = compiled(_rates)


def _exchange(m, up, down, wall, gain):  # type: ignore[no-untyped-def]
    """Add dm/dt to ``gain``."""
    N = m.shape[1]
    mass, result = np.empty((N + 2, WIDTH)), np.empty((N, WIDTH))
    rise, fall = np.empty((N + 2, WIDTH)), np.empty((N + 2, WIDTH))
    per_slab, blocks = line_blocks(m)
    for number in range(blocks):
        slab, first, lines = block(m, number, per_slab)
        gather(m, slab, first, lines, 1, wall, COPIED, mass)
        gather(up, slab, first, lines, 1, wall, COPIED, rise)
        gather(down, slab, first, lines, 1, wall, COPIED, fall)
        for k in range(1, N + 1):
            below = 1.0 if k > 1 or wall == PERIODIC else 0.0
            above = 1.0 if k < N or wall == PERIODIC else 0.0
            for j in range(lines):
                into = below * rise[k - 1, j] * mass[k - 1, j]
                into += above * fall[k + 1, j] * mass[k + 1, j]
                result[k - 1, j] = into - (rise[k, j] + fall[k, j]) * mass[k, j]
        scatter_add(result, slab, first, lines, gain)


exchange = compiled(_exchange)


def _settle(m, up, down, dt, wall, result):  # type: ignore[no-untyped-def]
    """Solve m' − dt·(dm'/dt) = m along every line, without one subtraction.

    Gaussian elimination from the first cell on. What a cell sends back to one already eliminated
    comes to it again, goes to the cell that closes the circle, or stays: so pivots are sums of
    positive terms (Grassmann, Taksar & Heyman, Oper. Res. 33 (1985)), the solution is positive and
    accurate in every component, tails included, and the mass is kept whatever dt.
    """
    N = m.shape[1]
    last = N - 1
    x, rise, fall = np.empty((N, WIDTH)), np.empty((N, WIDTH)), np.empty((N, WIDTH))
    stays, per_pivot = np.empty((N, WIDTH)), np.empty((N, WIDTH))
    back, forth = np.zeros((N, WIDTH)), np.zeros((N, WIDTH))  # to and from the last, by the seam
    per_slab, blocks = line_blocks(m)
    for number in range(blocks):
        slab, first, lines = block(m, number, per_slab)
        gather(m, slab, first, lines, 0, wall, COPIED, x)
        gather(up, slab, first, lines, 0, wall, COPIED, rise)
        gather(down, slab, first, lines, 0, wall, COPIED, fall)
        for j in range(lines):
            seam = wall == PERIODIC
            back[0, j] = dt * fall[0, j] if seam else 0.0
            forth[0, j] = dt * rise[last, j] if seam else 0.0
            stays[0, j] = 1.0 if seam else 1.0 + dt * fall[0, j]  # or leaves for good
            per_pivot[0, j] = 1.0 / (stays[0, j] + dt * rise[0, j] + back[0, j])
        for k in range(1, N):
            for j in range(lines):
                onward = dt * rise[k - 1, j] * per_pivot[k - 1, j]  # shares of what k − 1 holds
                kept, around = stays[k - 1, j] * per_pivot[k - 1, j], 0.0
                down_k = dt * fall[k, j]
                if wall == PERIODIC:
                    around = back[k - 1, j] * per_pivot[k - 1, j]
                    x[last, j] += around * x[k - 1, j]
                    stays_of_last = forth[k - 1, j] * kept
                    forth[k, j] = forth[k - 1, j] * onward
                    back[k, j] = down_k * around
                    if k == 1:
                        stays[last, j] = 1.0 + stays_of_last
                    else:
                        stays[last, j] += stays_of_last
                x[k, j] += onward * x[k - 1, j]
                if k < last:
                    stays[k, j] = 1.0 + down_k * kept
                    per_pivot[k, j] = 1.0 / (stays[k, j] + dt * rise[k, j] + back[k, j])
                elif wall == PERIODIC:
                    stays[last, j] += down_k * kept
                    per_pivot[last, j] = 1.0 / stays[last, j]
                else:
                    stays[last, j] = 1.0 + down_k * kept
                    per_pivot[last, j] = 1.0 / (stays[last, j] + dt * rise[last, j])
        for j in range(lines):
            x[last, j] *= per_pivot[last, j]
        for k in range(last - 1, -1, -1):
            for j in range(lines):
                into = x[k, j] + dt * fall[k + 1, j] * x[k + 1, j] + forth[k, j] * x[last, j]
                x[k, j] = into * per_pivot[k, j]
        scatter(x, slab, first, lines, result)


settle = compiled(_settle)
