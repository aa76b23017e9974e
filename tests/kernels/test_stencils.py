"""Coefficients against what they are defined by: polynomials and Taylor series."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
from kernels.lines import ORDERS
from numpy.testing import assert_allclose

from mfpde.kernels.stencils import (
    extrapolation,
    heat_polynomials,
    interpolation_table,
    lagrange,
    remap_parts,
    remap_table,
    slope_weights,
    switch_weights,
)

# (asinh(δ/2)/(δ/2) and its reciprocal, term by term in δ²
TO_POINTS = [Fraction(-1, 24), Fraction(3, 640), Fraction(-5, 7168), Fraction(35, 294912)]
TO_AVERAGES = [
    Fraction(1, 24),
    Fraction(-17, 5760),
    Fraction(367, 967680),
    Fraction(-27859, 464486400),
]


@pytest.mark.parametrize("nodes", [2, 5, 10])
def test_lagrange_basis(nodes):
    """ℓ_i(j) = δ_ij, exactly, seen from every interval."""
    for s, basis in enumerate(lagrange(nodes)):
        for i, coefficients in enumerate(basis):
            for j in range(nodes):
                value = sum(c * Fraction(j - s) ** q for q, c in enumerate(coefficients))
                assert value == (i == j)


@pytest.mark.parametrize("order", ORDERS)
def test_remap_is_exact_for_polynomials(order):
    """Averages of x^k, k < order, give the mass of a part of any cell of the stencil."""
    table, faces = remap_table(order), np.arange(order + 1) - order / 2
    xi = np.linspace(0, 1, 7)
    for k in range(order):
        masses = np.diff(faces ** (k + 1)) / (k + 1)
        for s in range(order):
            part = sum(masses @ table[s, :, q] * xi ** (q + 1) for q in range(order))
            exact = ((faces[s] + xi) ** (k + 1) - faces[s] ** (k + 1)) / (k + 1)
            assert_allclose(part, exact, rtol=0, atol=1e-14 * np.abs(masses).max())


@pytest.mark.parametrize("order", ORDERS)
def test_a_whole_cell_holds_its_own_mass(order):
    whole = remap_table(order).sum(axis=2)
    assert_allclose(whole, np.eye(order), rtol=0, atol=1e-14)


@pytest.mark.parametrize("order", ORDERS)
def test_parts_are_the_table_of_the_middle_cell(order):
    """ξρ_0 + ξ(1 − ξ)Q, and the densities at both faces: derivatives of the mass at 0 and 1."""
    r, rho = order // 2, np.random.default_rng(order).normal(size=order)
    even, odd, of_d, of_e = map(np.array, remap_parts(order))
    d = rho[r + 1 :] - rho[r - 1 :: -1]
    e = rho[r + 1 :] - 2 * rho[r] + rho[r - 1 :: -1]
    powers = remap_table(order)[r].T @ rho  # of ξ¹, ξ², …
    for xi in np.linspace(0, 1, 7):
        t = (xi - 0.5) ** (2 * np.arange(r))
        Q = d @ even @ t + (xi - 0.5) * (e @ odd @ t)
        mass = xi ** np.arange(1, order + 1) @ powers
        assert_allclose(xi * rho[r] + xi * (1 - xi) * Q, mass, rtol=0, atol=1e-13)
    faces = [rho[r] + of_d @ d - of_e @ e, rho[r] - of_d @ d - of_e @ e]
    assert_allclose(faces, [powers[0], np.arange(1, order + 1) @ powers], rtol=0, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_ghosts_lie_on_the_polynomial_of_the_wall(order):
    cells, weights = np.arange(order) / order, np.array(extrapolation(order))
    ghosts = -np.arange(1, order // 2 + 1) / order
    assert weights.shape == (order // 2, order)
    for k in range(order):
        assert_allclose(weights @ cells**k, ghosts**k, rtol=0, atol=1e-11)


@pytest.mark.parametrize("degree", ORDERS)
def test_interpolation_is_exact_for_polynomials(degree):
    table, nodes = interpolation_table(degree), np.arange(degree + 1) - degree / 2
    xi = np.linspace(0, 1, 7)
    for k in range(degree + 1):
        for s in range(degree):
            value = sum(nodes**k @ table[s, :, q] * xi**q for q in range(degree + 1))
            assert_allclose(value, (nodes[s] + xi) ** k, rtol=0, atol=1e-13 * np.abs(nodes[0]) ** k)


@pytest.mark.parametrize("order", [3, 6, *ORDERS])
@pytest.mark.parametrize("to_points", [True, False])
def test_switch_weights_are_the_series(order, to_points):
    """Weights g of odd differences, gathered by powers of δ = 2i sin(θ/2).

    A wave e^{iθk} is multiplied by 1 + Σ_m g_m·[what two faces add] = 1 + Σ_k c_k δ^(2k).
    """
    weights = switch_weights(order)[0 if to_points else 1]
    series = (TO_POINTS if to_points else TO_AVERAGES)[: (order - 1) // 2]
    theta = np.linspace(0.1, np.pi, 9)
    symbol = sum(
        g * (2 * np.cos((m + 1) * theta) - 2 * np.cos(m * theta)) for m, g in enumerate(weights)
    )
    expected = sum(
        float(c) * (-4 * np.sin(theta / 2) ** 2) ** (k + 1) for k, c in enumerate(series)
    )
    assert len(weights) == len(series)
    assert_allclose(symbol, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("order", ORDERS)
def test_switch_symbols_are_of_order_p_plus_1(order):
    """cos(kx): its averages are sin(θ/2)/(θ/2) times its points, θ = k·width."""
    theta = 2.0 ** -np.arange(1, 4)
    exact = np.sin(theta / 2) / (theta / 2)
    for weights, factor in zip(switch_weights(order), (1 / exact, exact), strict=True):
        symbol = 1 + sum(
            g * (2 * np.cos((m + 1) * theta) - 2 * np.cos(m * theta)) for m, g in enumerate(weights)
        )
        error = np.abs(symbol - factor)
        assert_allclose(np.log2(error[:-1] / error[1:]), order + 1, rtol=0, atol=0.2)


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_slopes_at_a_face_are_exact_for_odd_powers(order):
    """Σ_m g_m (x_m^q − (−x_m)^q) = ∂x^q(0) at x_m = m + ½, for q < order."""
    weights = slope_weights(order)
    x = np.arange(len(weights)) + 0.5
    assert len(weights) == order // 2
    for q in range(1, order, 2):
        assert_allclose(2 * weights @ x**q, q == 1, rtol=0, atol=1e-13 * x[-1] ** q)


@pytest.mark.parametrize("reach", [1, 2, 3, 5])
def test_heat_polynomials_have_the_moments_of_a_gaussian(reach):
    """Σ c_j j^2m over both sides is (2m − 1)!! s^2m, power by power of s²."""
    table, j = heat_polynomials(reach), np.arange(1.0, reach + 1)
    assert table.shape == (reach, reach)
    for m in range(1, reach + 1):
        moment = np.zeros(reach)
        moment[m - 1] = prod(range(1, 2 * m, 2))
        assert_allclose(2 * j ** (2 * m) @ table, moment, rtol=0, atol=1e-14 * reach ** (2 * m))
