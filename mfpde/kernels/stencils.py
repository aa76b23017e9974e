"""Coefficients of the remap, the switches and the interpolation, from exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import comb, factorial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@cache
def lagrange(nodes: int) -> tuple[tuple[tuple[Fraction, ...], ...], ...]:
    """Monomial coefficients of ℓ_i(s + ξ) in ξ for nodes 0, …, nodes − 1 and every s; [s][i][q]."""
    return tuple(tuple(_shifted_basis(i, s, nodes) for i in range(nodes)) for s in range(nodes - 1))


def _shifted_basis(i: int, s: int, nodes: int) -> tuple[Fraction, ...]:
    """Coefficients of Π_{j≠i} (s + ξ − j)/(i − j)."""
    product = [Fraction(1)]
    for j in range(nodes):
        if j != i:
            scale = Fraction(1, i - j)
            constant = [c * (s - j) * scale for c in product] + [Fraction(0)]
            linear = [Fraction(0)] + [c * scale for c in product]
            product = [c + d for c, d in zip(constant, linear, strict=True)]
    return tuple(product)


@cache
def remap_table(order: int) -> Array:
    """Mass left of ξ in cell s of ``order`` cells: Σ_m ρ_m Σ_q table[s, m, q] ξ^(q+1).

    The primitive is the polynomial of degree ``order`` through order + 1 faces; (order,)*3.
    """
    basis = lagrange(order + 1)
    table = np.empty((order, order, order))
    for s in range(order):
        for m in range(order):
            for q in range(1, order + 1):
                table[s, m, q - 1] = float(sum(basis[s][i][q] for i in range(m + 1, order + 1)))
    return table


Row = tuple[float, ...]


@cache
def remap_parts(order: int) -> tuple[tuple[Row, ...], tuple[Row, ...], Row, Row]:
    """The same polynomial of a cell in the middle of its stencil, split by its mirror symmetry.

    The mass left of ξ is ξρ_0 + ξ(1 − ξ)Q with η = ξ − ½ and

        Q = Σ_m (Σ_q even[m][q] η^2q) d_m + η Σ_m (Σ_q odd[m][q] η^2q) e_m,

    d_m = ρ_m − ρ_−m and e_m = ρ_m − 2ρ_0 + ρ_−m, m = 1, …, order // 2. Also the weights of d and
    of e in Q(½); the densities at the faces are ρ_0 + Q(−½) and ρ_0 − Q(½).
    """
    reach, half = order // 2, Fraction(1, 2)
    basis = lagrange(order + 1)[reach]
    powers: list[list[Fraction]] = []  # of η in the factor of ρ_m in Q, m = 1, …, reach
    for m in range(reach + 1, order):
        mass = [sum(basis[i][q] for i in range(m + 1, order + 1)) for q in range(1, order + 1)]
        over = [sum(mass[: q + 1], Fraction(0)) for q in range(order - 1)]  # by ξ and by 1 − ξ
        row = [Fraction(0)] * (order - 1)
        for q, c in enumerate(over):  # ξ^q = (η + ½)^q
            for i in range(q + 1):
                row[i] += c * comb(q, i) * half ** (q - i)
        powers.append(row)
    even = tuple(tuple(float(c) for c in row[0::2]) for row in powers)
    odd = tuple(tuple(float(c) for c in row[1::2]) for row in powers)
    at_face = [[c * half**q for q, c in enumerate(row)] for row in powers]
    of_d = tuple(float(sum(row[0::2])) for row in at_face)
    of_e = tuple(float(sum(row[1::2])) for row in at_face)
    return even, odd, of_d, of_e


@cache
def extrapolation(order: int) -> tuple[Row, ...]:
    """Weights of the first ``order`` cells in ghost cells 1, …, order // 2 beyond a wall.

    They lie on the polynomial through those cells: a stencil about a cell beside the wall that
    takes them is the one that takes none of them.
    """
    rows = []
    for ghost in range(1, order // 2 + 1):
        row = []
        for m in range(order):
            weight = Fraction(1)
            for i in range(order):
                weight *= Fraction(-ghost - i, m - i) if i != m else 1
            row.append(float(weight))
        rows.append(tuple(row))
    return tuple(rows)


@cache
def interpolation_table(degree: int) -> Array:
    """Polynomial through degree + 1 nodes on interval s: Σ_i v_i Σ_q table[s, i, q] ξ^q."""
    return np.array([[[float(c) for c in row] for row in part] for part in lagrange(degree + 1)])


@cache
def switch_weights(order: int) -> tuple[Array, Array]:
    """Weights g of G_f = Σ_m g_m (ρ_{f+m} − ρ_{f−1−m}): value ← value + G_{k+1} − G_k.

    First from averages to points: asinh(δ/2)/(δ/2) = 1 − δ²/24 + 3δ⁴/640 − …, then from points to
    averages, its reciprocal, both cut after δ^(order − 1).
    """
    terms = (order - 1) // 2
    to_points = _asinh_series(terms)
    to_averages = [Fraction(1)]
    for k in range(1, terms + 1):
        products = (to_points[j] * to_averages[k - j] for j in range(1, k + 1))
        to_averages.append(-sum(products, Fraction(0)))
    return _odd_differences(to_points[1:]), _odd_differences(to_averages[1:])


@cache
def switch_rows(order: int) -> tuple[Row, Row]:
    """The same as plain numbers: their count is known when loops over them are compiled."""
    to_points, to_averages = switch_weights(order)
    return tuple(to_points.tolist()), tuple(to_averages.tolist())


@cache
def slope_weights(order: int) -> Array:
    """Weights g of the slope at a face of point values: h ∂V = Σ_m g_m (V_{f+m} − V_{f−1−m}).

    2 asinh(δ/2) = δ − δ³/24 + 3δ⁵/640 − …, cut after δ^(order − 1).
    """
    return _odd_differences(_asinh_series(order // 2 - 1))


def _asinh_series(terms: int) -> list[Fraction]:
    """Coefficients of asinh(δ/2)/(δ/2) in δ², the first being 1."""
    return [
        Fraction((-1) ** k * factorial(2 * k), 16**k * factorial(k) ** 2 * (2 * k + 1))
        for k in range(terms + 1)
    ]


def _odd_differences(coefficients: list[Fraction]) -> Array:
    """Σ_k c_k δ^(2k+1) at a face as weights on ρ_{f+m} − ρ_{f−1−m}, m = 0, 1, …"""
    terms = len(coefficients)
    weights = [Fraction(0)] * terms
    for k, c in enumerate(coefficients):
        n = 2 * k + 1  # δ^n at a face: Σ_i (−1)^i C(n, i) ρ at distance n/2 − i
        for i in range(k + 1):
            binomial = Fraction(factorial(n), factorial(i) * factorial(n - i))
            weights[k - i] += c * (-1) ** i * binomial
    return np.array([float(w) for w in weights])


@cache
def heat_polynomials(reach: int) -> Array:
    """Weights of a Gaussian convolution as polynomials of its variance s², in squared cells.

    c_j = Σ_m table[j − 1, m − 1] s^(2m), j and m from 1 to ``reach``: the mean over Z ~ N(0, s²) of
    the polynomial through the neighbours up to ``reach``. So Σ_j c_j j^(2m) = (2m − 1)!! s^(2m),
    the moments of Z, for m up to ``reach``.
    """
    table = np.empty((reach, reach))
    for j in range(1, reach + 1):
        basis = [Fraction(1, 2 * j * j)]  # over x = Z²: x Π_{i≠j} (x − i²)/(j² − i²) / (2 j²)
        for i in range(1, reach + 1):
            if i != j:
                scale = Fraction(1, j * j - i * i)
                lower = [-i * i * scale * c for c in basis] + [Fraction(0)]
                upper = [Fraction(0)] + [scale * c for c in basis]
                basis = [c + d for c, d in zip(lower, upper, strict=True)]
        moment = 1
        for m in range(1, reach + 1):
            moment *= 2 * m - 1
            table[j - 1, m - 1] = float(moment * basis[m - 1])
    return table
