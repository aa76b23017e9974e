"""Feet of characteristics: smooth fields against an ODE solver, broken ones against tiny steps."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator

from mfpde.kernels.flow_map import (
    back_all,
    feet_at,
    feet_piecewise,
    local_polynomials,
    march,
    powers_of,
    velocities,
)
from mfpde.kernels.stencils import interpolation_table
from mfpde.kernels.tiles import OPEN, PERIODIC

CELLS = 128
FACES = np.arange(CELLS + 1.0)
K = 2 * np.pi / CELLS


def velocity(coefficients, x, wall):
    """v(x); beyond a wall its value there."""
    result = np.empty(1)
    velocities(
        coefficients, powers_of(coefficients), np.array([x]), wall, np.empty(1), np.empty(1), result
    )
    return float(result[0])


def back(coefficients, x, step, wall):
    """One Runge–Kutta step of dx/dτ = −v(x)."""
    places = np.array([x])
    back_all(coefficients, powers_of(coefficients), places, step, wall, np.empty((10, 1)))
    return float(places[0])


def waves(x):
    """A field on the circle, in cells per unit of τ; |v'| up to 2."""
    return (np.sin(K * x + 0.4) + 0.3 * np.cos(3 * K * x) - 0.2) / K


def bump(x):
    """A field on the line that vanishes towards both ends."""
    z = (x - 60.0) / 20
    return 20 * np.exp(-(z**2) / 2) * (1 - 0.7 * z)


FIELDS = {"circle": (waves, PERIODIC), "line": (bump, OPEN)}
every_field = pytest.mark.parametrize("name", FIELDS)


def polynomials(v, wall, degree=9):
    coefficients = np.empty((CELLS, degree + 1))
    local_polynomials(v, interpolation_table(degree), wall, coefficients)
    return coefficients


def traced(v, taus, wall, start=FACES, degree=9):
    """Feet (taus, faces) of one line."""
    feet = np.empty((len(taus), 1, len(start), 1))
    table = interpolation_table(degree)
    feet_at(v[None, :, None], start, np.asarray(taus, dtype=float), table, wall, feet)
    return feet[:, 0, :, 0]


@every_field
@pytest.mark.parametrize("degree", [5, 7, 9])
def test_interpolation_between_faces(name, degree):
    """Order degree + 1 in the spacing; on a circle it is the circle's, on a line the box's."""
    field, wall = FIELDS[name]
    x, errors = np.linspace(0.3, CELLS - 0.3, 101), []
    for stride in (4, 2):
        v = field(FACES[::stride])
        coefficients = np.empty((CELLS // stride, degree + 1))
        local_polynomials(v, interpolation_table(degree), wall, coefficients)
        values = [velocity(coefficients, place / stride, wall) for place in x]
        errors.append(np.abs(values - field(x)).max())
    assert_allclose(
        np.log2(errors[0] / errors[1]), degree + 1, rtol=0, atol=0.8 if name == "circle" else 1.7
    )


def test_beyond_a_wall_the_field_is_that_of_the_wall():
    v = 1.0 + 0.01 * FACES
    for place, value in ((-30.0, v[0]), (CELLS + 7.5, v[-1])):
        assert_allclose(velocity(polynomials(v, OPEN), place, OPEN), value, rtol=1e-13)
    around = polynomials(waves(FACES), PERIODIC)
    for place in (3.7, 90.2):
        turned = [velocity(around, place + m * CELLS, PERIODIC) for m in (-2, -1, 1, 5)]
        assert_allclose(turned, velocity(around, place, PERIODIC), rtol=0, atol=1e-11)


def test_runge_kutta_is_of_order_6():
    """x' = −v with v linear in every cell: e^{−τ}; a wrong coefficient breaks linear problems too,
    the nonlinear conditions show in the next test."""
    v = 0.5 * (FACES - 40.0)
    coefficients, errors = polynomials(v, OPEN), []
    for steps in (2, 4, 8):
        x = 100.0
        for _ in range(steps):
            x = back(coefficients, x, 2.0 / steps, OPEN)
        errors.append(abs(x - 40 - 60 * np.exp(-1.0)))
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 6, rtol=0, atol=0.5)


def test_runge_kutta_is_of_order_6_for_a_curved_field():
    """x' = −x²-like: v = z² in z = x/40, exact in every polynomial piece; z = 1/(1/z₀ + τ)."""
    v = 40 * (FACES / 40) ** 2
    coefficients, errors = polynomials(v, OPEN), []
    for steps in (2, 4, 8):
        x = 80.0
        for _ in range(steps):
            x = back(coefficients, x, 0.8 / steps, OPEN)
        errors.append(abs(x - 40 / (0.5 + 0.8)))
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 6, rtol=0, atol=0.5)


@every_field
def test_feet_against_an_ode_solver(name):
    """τ of both signs, in one call and out of order by sign; against the field itself."""
    field, wall = FIELDS[name]
    taus = np.array([0.0, 0.2, -0.3, 0.9, -0.8, 1.5])
    feet = traced(field(FACES), taus, wall)
    for tau, row in zip(taus, feet, strict=True):
        path = solve_ivp(
            lambda _, x: -field(x), (0, tau), FACES, method="DOP853", rtol=1e-12, atol=1e-12
        )
        exact = path.y[:, -1]
        inside = np.ones(len(FACES), bool) if wall == PERIODIC else (exact > 0) & (exact < CELLS)
        assert inside.sum() > 90
        assert_allclose(row[inside], exact[inside], rtol=0, atol=2e-8)
    assert_array_equal(feet[0], FACES)


@every_field
def test_the_flow_is_a_group(name):
    """Φ_σ∘Φ_τ = Φ_{σ+τ}, also for a step back."""
    field, wall = FIELDS[name]
    v = field(FACES)
    for first, second in ((0.3, 0.5), (0.4, -0.4), (-0.7, 0.2)):
        through = traced(v, [second], wall, start=traced(v, [first], wall)[0])[0]
        at_once = traced(v, [first + second], wall)[0]
        assert_allclose(through[5:-5], at_once[5:-5], rtol=0, atol=2e-9)


def test_a_turn_of_the_circle():
    """A constant field carries faces round as often as it likes."""
    feet = traced(np.full(CELLS + 1, 7.0), [100.0, -100.0], PERIODIC)
    assert_allclose(feet, [FACES - 700, FACES + 700], rtol=1e-13)


def test_lines_do_not_mix():
    rng = np.random.default_rng(0)
    v = np.array([[a * waves(FACES + s) for a, s in rng.normal(size=(3, 2))] for _ in range(2)])
    v = np.ascontiguousarray(v.transpose(0, 2, 1))  # (outer, faces, inner)
    taus, feet = np.array([0.0, 0.4]), np.empty((2, *v.shape))
    feet_at(v, FACES, taus, interpolation_table(7), PERIODIC, feet)
    for o in range(2):
        for i in range(3):
            line = np.ascontiguousarray(v[o, :, i])
            assert_array_equal(feet[:, o, :, i], traced(line, taus, PERIODIC, degree=7))


# ------------------------------------------------------------------------ piecewise constant fields
def crawl(kinks, pieces, x, tau, steps=1000):
    """x' = −v by tiny Euler steps, resting where the two sides run into each other."""
    h, eps = tau / steps, 1e-9
    for _ in range(steps):
        below = -np.sign(h) * pieces[np.searchsorted(kinks, x - eps)]
        above = -np.sign(h) * pieces[np.searchsorted(kinks, x + eps)]
        if below >= 0 and above > 0:
            x += abs(h) * above
        elif below < 0 and above <= 0:
            x += abs(h) * below
    return x


KINKS = np.array([2.0, 5.0, 5.5, 9.0])
PIECES = {
    "all to the right": [1.0, 3.0, 0.5, 2.0, 1.0],
    "all to the left": [-1.0, -3.0, -0.5, -2.0, -1.0],
    "backwards they meet at 5": [2.0, -1.0, 1.5, 1.0, 0.7],
    "backwards they part at 5": [-1.0, 2.0, -1.5, -1.0, -0.7],
    "pieces at rest": [1.0, 0.0, 2.0, 0.0, -1.0],
    "everything": [-1.0, 2.0, -0.3, 0.0, 4.0],
}


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("tau", [0.7, 3.0, -0.7, -3.0])
def test_march_against_tiny_steps(name, tau):
    pieces = np.array(PIECES[name])
    reach = 3 * abs(tau) / 1000 * np.abs(pieces).max()  # a few steps; at a meeting point it shivers
    for x in (-1.0, 2.0, 3.3, 5.0, 5.2, 9.0, 12.0):
        assert abs(march(KINKS, pieces, x, tau) - crawl(KINKS, pieces, x, tau)) < reach


def test_march_in_closed_form():
    pieces = np.array([1.0, 4.0])  # v jumps from 1 to 4 at 3
    kink = np.array([3.0])
    assert march(kink, pieces, 7.0, 0.5) == 5.0  # stays above
    assert march(kink, pieces, 7.0, 2.0) == 2.0  # 1 to the kink, 1 below it
    assert march(kink, pieces, 3.0, 2.0) == 1.0  # starts on the kink: comes from below
    assert march(kink, pieces, 3.0, -2.0) == 11.0
    assert march(kink, pieces, 1.0, -3.0) == 7.0
    assert march(kink, pieces, 1.0, 0.0) == 1.0
    opening = np.array([-1.0, 2.0])  # forwards both sides leave 3: backwards they meet there
    for x in (0.5, 3.0, 9.0):
        assert march(kink, opening, x, 100.0) == 3.0
    closing = np.array([2.0, -1.0])  # forwards both sides run into 3: a face on it keeps its place
    assert march(kink, closing, 3.0, 5.0) == 3.0
    assert march(kink, closing, 3.0 + 1e-12, 5.0) == 8.0 + 1e-12
    assert march(np.empty(0), np.array([0.5]), 1.0, 4.0) == -1.0  # no kink at all


@pytest.mark.parametrize("tau", [2.0, -2.0])
def test_equal_kinks_are_one(tau):
    """Without bias all samples' kinks lie at w = 0: what stands between them does not count."""
    for first, last in ((1.0, 1.5), (1.0, -1.5), (-1.0, 1.5), (-1.0, -1.5)):
        many = np.array([first, -3.0, 2.0, 0.0, last])
        for x in (3.0, 5.0, 7.0):
            merged = march(np.array([5.0]), np.array([first, last]), x, tau)
            assert march(np.full(4, 5.0), many, x, tau) == merged


def test_feet_of_lines_with_their_own_kinks():
    rng = np.random.default_rng(1)
    kinks = np.sort(rng.uniform(0, 10, (2, 3, 4)), axis=-1)
    pieces = rng.normal(size=(2, 3, 5))
    start, taus = np.arange(11.0), np.array([1.3, -0.4, 0.0])
    feet = np.empty((3, 2, 11, 3))
    feet_piecewise(kinks, pieces, start, taus, feet)
    for index in np.ndindex(feet.shape):
        m, o, f, i = index
        assert feet[index] == march(kinks[o, i], pieces[o, i], start[f], taus[m])
    assert_array_equal(np.diff(feet, axis=2) >= 0, True)


def test_reference_interpolant():
    """The table's polynomials are the ones through their nodes (scipy's, on one interval)."""
    v = waves(FACES)
    piece = polynomials(v, PERIODIC)[50]
    nodes = np.arange(46, 56)
    exact = BarycentricInterpolator(nodes, v[46:56])(50.3)
    assert_allclose(np.polyval(piece[::-1], 0.3), exact, rtol=1e-12)
