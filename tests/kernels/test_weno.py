"""Reconstruction at faces and the six-point slope, against polynomials and waves."""

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from numpy.testing import assert_allclose
from orders.observed import observed_orders

from mfpde.kernels.faces import beside, fluxes
from mfpde.kernels.limiters import MC
from mfpde.kernels.stencils import slope_weights
from mfpde.kernels.tiles import CLOSED, OPEN, PERIODIC
from mfpde.kernels.weno import reconstructed


def averages(primitive, edges):
    return (np.diff(primitive(edges)) / np.diff(edges))[None, :, None]


def sides(rho, wall):
    below, above = (np.empty((1, rho.shape[1] + 1, 1)) for _ in range(2))
    reconstructed(rho, wall, below, above)
    return below[0, :, 0], above[0, :, 0]


def test_parabolas_are_reconstructed_exactly():
    """All three stencils agree on them, so the weights do not matter."""
    p, edges = Polynomial([0.7, -1.3, 0.4]), np.linspace(0, 12, 13)
    below, above = sides(averages(p.integ(), edges), OPEN)
    inside = slice(3, -3)
    assert_allclose(below[inside], p(edges)[inside], rtol=1e-13)
    assert_allclose(above[inside], p(edges)[inside], rtol=1e-13)


def parabola(averages, first):
    """The density with these averages in three cells [first, first + 1], …"""
    faces = first + np.arange(4.0)
    primitive = np.linalg.solve(np.vander(faces, increasing=True), np.r_[0.0, np.cumsum(averages)])
    return Polynomial(primitive).deriv()


def unrest(p):
    """Jiang & Shu's β = Σ_l ∫ (p⁽ˡ⁾)² over the cell [−½, ½], l = 1, 2."""
    squares = ((p.deriv(1) ** 2 + p.deriv(2) ** 2).integ())(np.array([-0.5, 0.5]))
    return squares[1] - squares[0]


def blended(five):
    """The upper face value of the middle one of five cells by the formulas of the papers."""
    p = [parabola(five[k : k + 3], k - 2.5) for k in range(3)]
    beta = np.array([unrest(q) for q in p])
    alpha = np.array([0.1, 0.6, 0.3]) * (1 + (abs(beta[0] - beta[2]) / beta) ** 2)
    return alpha @ [q(0.5) for q in p] / alpha.sum()


@pytest.mark.parametrize("power", [1, 3, 6])
def test_parabolas_are_weighted_by_their_unrest(power):
    """WENO-Z at rough data, from the integrals that define it."""
    rho = np.random.default_rng(power).exponential(size=15) ** power
    below, above = sides(rho[None, :, None], OPEN)
    for f in range(3, 13):
        assert_allclose(below[f], blended(rho[f - 3 : f + 2]), rtol=1e-9)
        assert_allclose(above[f], blended(rho[f - 2 : f + 3][::-1]), rtol=1e-9)


def test_where_nothing_changes_the_average_is_the_face_value():
    """All β are 0 there, and no weight is 0/0."""
    for value in (0.0, 0.7):
        for side in sides(np.full((1, 9, 1), value), PERIODIC):
            assert_allclose(side, value, rtol=1e-15)


def test_order_five_where_waves_have_extrema_and_inflections():
    errors, cells = [], (40, 60, 90)
    for n in cells:
        edges = np.linspace(0, 2 * np.pi, n + 1)
        rho = averages(lambda x: -np.cos(x) + 2 * x, edges)  # of 2 + sin
        errors.append([abs(side - 2 - np.sin(edges)).max() for side in sides(rho, PERIODIC)])
    for side in np.transpose(errors):
        assert_allclose(observed_orders(side, cells), 5.0, atol=0.2)


def test_a_jump_is_not_smeared_over_the_smooth_side():
    """Two cells from a jump the smooth stencil wins: its error is that of smooth data."""
    edges = np.linspace(0, 2 * np.pi, 41)
    rho = averages(lambda x: -np.cos(x) + 2 * x, edges)
    rho[0, 20:] += 10.0
    below, above = sides(rho, PERIODIC)
    assert_allclose(below[8:19], 2 + np.sin(edges)[8:19], atol=2e-3)
    assert below[20] < 3.2  # the face at the jump, seen from below
    assert above[20] > 11.0
    assert below.min() > 0.9  # no undershoot
    assert below.max() < 13.1


@pytest.mark.parametrize("wall", [CLOSED, OPEN, PERIODIC])
def test_walls_let_nothing_in(wall):
    rho = np.random.default_rng(0).exponential(size=(1, 12, 1))
    for below, above in (sides(rho, wall), linear_sides(rho, wall)):
        enters, leaves = [below[0], above[-1]], [above[0], below[-1]]
        if wall == PERIODIC:
            assert_allclose(below[0], below[-1], rtol=1e-15)
            assert_allclose(above[0], above[-1], rtol=1e-15)
        else:
            assert enters == [0.0, 0.0]
            assert (leaves == [0.0, 0.0]) == (wall == CLOSED)


def linear_sides(rho, wall):
    below, above = (np.empty((1, rho.shape[1] + 1, 1)) for _ in range(2))
    beside(rho, np.full(rho.shape[1], 0.5), wall, MC, below, above)
    return below[0, :, 0], above[0, :, 0]


@pytest.mark.parametrize("order", [2, 6])
def test_slopes_are_exact_for_polynomials_of_their_order(order):
    """A face is the middle of the centres, so one degree more than the number of points − 1."""
    V = Polynomial(np.random.default_rng(1).normal(size=order + 1))
    centres = np.arange(14) - 6.5
    ones, flux = np.ones((1, 15, 1)), np.empty((1, 15, 1))
    fluxes(V(centres)[None, :, None], ones, ones, slope_weights(order), np.ones(15), OPEN, flux)
    inside = slice(3, -3)
    faces = np.arange(15) - 7.0
    assert_allclose(flux[0, inside, 0], -V.deriv()(faces)[inside], rtol=1e-10, atol=1e-9)


def test_the_upwind_side_is_carried():
    V = np.array([3.0, 1.0, 1.0, 4.0])[None, :, None]
    below, above = np.full((1, 5, 1), 2.0), np.full((1, 5, 1), 5.0)
    flux = np.empty((1, 5, 1))
    fluxes(V, below, above, slope_weights(2), np.full(5, 0.5), PERIODIC, flux)
    assert_allclose(flux[0, :, 0], [1.0, 2.0, 0.0, -7.5, 1.0])
