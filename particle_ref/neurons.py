"""Sums over tanh neurons of few inputs, compiled: nothing of size m·n is ever stored.

    averages      f_i = Σ_j p_j tanh(z_ij)                       z_ij = x_i·v_j
    pulled back   Σ_i r_i tanh(z_ij)  and  Σ_i r_i x_i (1 − tanh² z_ij)

tanh is worked out in both passes: that costs no more than to store its values and read them again,
and so time is linear in the particles, in memory that does not grow with the samples. Of one input
z = x v is worked out beside it; of several it is first summed up, in the cache.

With k = round(2|z|/ln 2 − δ), h = |z| − k ln 2/2 and 1 + G = h coth h, a polynomial,

    tanh|z| = (m(1 + G) + p h) / (p(1 + G) + m h)        m = 2ᵏ − 1,  p = 2ᵏ + 1

which has one division, no table and no branch, so that compilers make vectors of it. All is IEEE
arithmetic in the written order, with fused multiply-adds where they are written: the same bits on
every machine, in any place of an array. The error is below 2 units in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from particle_ref.problem import Array

compiled = njit(cache=True, nogil=True, error_model="numpy")

HEIGHT = 256  # samples whose sums are kept side by side
WIDTH = 512  # particles side by side: what is summed up for them stays in the cache

LN2, LN2_REST = math.log(2), 2.3190468138462996e-17  # ln 2 is their sum
HALF_LN2 = LN2 / 2
PER_LN2 = 2 / LN2
SHIFT = -0.085  # −δ: |h| ≤ 0.203, and no cancellation where tanh is just above 1/4 and 1/2
BIAS = 1.5 * 2.0**52 + 1023  # added, it rounds to whole k and leaves the exponent of 2ᵏ lowest
REST = -1.6 * LN2_REST  # of p k (ln 2/2)'s rounding over m at k = 1 and 2, where it shows
ONE = 22.0  # from here on tanh is 1
# (h coth h − 1)/h² at Chebyshev points of h², 0 ≤ h ≤ 0.2028: relative error of tanh 2e-17
G0, G1, G2, G3, G4 = (
    0.3333333333333328,
    -0.022222222221624136,
    0.0021164019999915865,
    -0.0002116322771500053,
    2.1156797106049767e-05,
)


def _fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""

    def multiply_add(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    double: Callable[..., Any] = types.float64
    return double(double, double, double), multiply_add


fma: Any = intrinsic(_fma)


@compiled
def tanh(x: float) -> float:
    """tanh x; nan where x is."""
    z = abs(x)
    z = ONE if z > ONE else z
    biased = fma(z, PER_LN2, SHIFT) + BIAS
    k = biased - BIAS
    power = np.int64(np.float64(biased).view(np.int64) << 52).view(np.float64)  # 2ᵏ
    m, p = power - 1.0, power + 1.0
    h = fma(-k, HALF_LN2, z)
    s = h * h
    ratio = fma(s, fma(s, fma(s, fma(s, G4, G3), G2), G1), G0)
    G = s * ratio
    below = p + fma(p, G, m * h)
    near = m + fma(p, h, m * fma(s, ratio, REST))
    far = below - fma(2.0, G - h, 2.0)  # the same, with less rounding where it is nearly ``below``
    return math.copysign((near if k < 2.5 else far) / below, x)


@compiled
def arguments(x: Array, V: Array, start: int, z: Array) -> None:
    """z_j = x·v_j of the neurons (k, N) from ``start`` on."""
    v = V[0, start : start + len(z)]
    for j in range(len(z)):
        z[j] = x[0] * v[j]
    for c in range(1, len(x)):
        add(x[c], V[c, start : start + len(z)], z)


@compiled
def add(factor: float, terms: Array, total: Array) -> None:
    """total += factor·terms."""
    for j in range(len(total)):
        total[j] = fma(factor, terms[j], total[j])


@compiled
def add_values(x: float, v: Array, mass: Array, total: Array) -> None:
    """total_j += p_j tanh(x v_j)."""
    for j in range(len(v)):
        total[j] = fma(mass[j], tanh(x * v[j]), total[j])


@compiled
def add_values_and_slopes(x: float, v: Array, r: float, values: Array, slopes: Array) -> None:
    """values_j += r tanh(x v_j) and slopes_j += r x (1 − tanh²(x v_j))."""
    rx = r * x
    for j in range(len(v)):
        t = tanh(x * v[j])
        values[j] = fma(r, t, values[j])
        slopes[j] = fma(rx, fma(-t, t, 1.0), slopes[j])


@compiled
def averages(X: Array, V: Array, mass: Array) -> Array:
    """Σ_j p_j tanh(x_i·v_j), (n,), at inputs (n, k) of neurons (k, N) with masses (N,)."""
    (n, k), N = X.shape, V.shape[1]
    width = min(WIDTH, N)
    f, totals, z = np.zeros(n), np.empty((min(HEIGHT, n), width)), np.empty(width)
    for first in range(0, n, HEIGHT):
        last = min(first + HEIGHT, n)
        totals[:] = 0.0
        for start in range(0, N, WIDTH):
            end = min(start + WIDTH, N)
            for i in range(first, last):
                if k == 1:
                    add_values(X[i, 0], V[0, start:end], mass[start:end], totals[i - first])
                else:
                    arguments(X[i], V, start, z[: end - start])
                    add_values(1.0, z[: end - start], mass[start:end], totals[i - first])
        for i in range(first, last):
            for total in totals[i - first]:
                f[i] += total
    return f


@compiled
def pulled_back(X: Array, V: Array, r: Array) -> Array:
    """Σ_i r_i tanh(x_i·v_j) and its gradient in v_j, (1 + k, N)."""
    (n, k), N = X.shape, V.shape[1]
    sums, z, slopes = np.zeros((1 + k, N)), np.empty(WIDTH), np.empty(WIDTH)
    for start in range(0, N, WIDTH):
        end = min(start + WIDTH, N)
        values, here = sums[0, start:end], slice(end - start)
        for i in range(n):
            if k == 1:
                v = V[0, start:end]
                add_values_and_slopes(X[i, 0], v, r[i], values, sums[1, start:end])
            else:
                arguments(X[i], V, start, z[here])
                slopes[:] = 0.0
                add_values_and_slopes(1.0, z[here], r[i], values, slopes[here])
                for c in range(k):
                    add(X[i, c], slopes[here], sums[1 + c, start:end])
    return sums


@compiled
def tanh_in_place(z: Array) -> None:
    """z becomes tanh z, (n, N)."""
    for i in range(len(z)):
        row = z[i]
        for j in range(len(row)):
            row[j] = tanh(row[j])


@compiled
def slope_of_tanh(t: Array) -> Array:
    """1 − t² of t = tanh z, (n, N)."""
    slope = np.empty_like(t)
    for i in range(len(t)):
        row, value = slope[i], t[i]
        for j in range(len(row)):
            row[j] = fma(-value[j], value[j], 1.0)
    return slope
