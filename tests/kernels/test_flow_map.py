"""Feet of characteristics: the Runge–Kutta steps, smooth fields, and piecewise constant ones."""

import numpy as np
import pytest
from orders.observed import observed_orders
from scipy.integrate import solve_ivp

from mfpde.kernels.flow_map import back, local_polynomials, march
from mfpde.kernels.stencils import interpolation_table
from mfpde.kernels.tiles import OPEN, PERIODIC
from mfpde.methods.characteristics import SmoothFlow


def smooth(x):
    return 1.3 * np.sin(x) + 0.4 * np.cos(2 * x) + 0.2


def field(N, wall):
    """v at the faces of [0, 2π], in cells per unit of τ."""
    faces = np.linspace(0, 2 * np.pi, N + 1)
    return SmoothFlow((smooth(faces) * N / (2 * np.pi))[None, :, None], wall, 9)


def traced(x, tau):
    """dx/dτ = −v(x), by another integrator."""
    path = solve_ivp(lambda _, y: -smooth(y), (0, tau), x, method="DOP853", rtol=1e-12, atol=1e-13)
    return path.y[:, -1]


def test_one_step_is_of_order_six():
    N = 200
    coefficients = np.empty((N, 10))
    v = field(N, PERIODIC).v[0, :, 0]
    local_polynomials(v, interpolation_table(9), PERIODIC, coefficients)
    exact = traced(np.array([1.0]), 0.8)[0] * N / (2 * np.pi)
    errors, counts = [], (2, 4, 8)
    for count in counts:
        x = N / (2 * np.pi)
        for _ in range(count):
            x = back(coefficients, x, 0.8 / count, PERIODIC)
        errors.append(abs(x - exact))
    np.testing.assert_allclose(observed_orders(errors, counts), 6, rtol=0, atol=0.6)


@pytest.mark.parametrize("reach", [0.05, 0.4, 2.0])
def test_feet_of_all_multipliers_agree_with_another_integrator(reach):
    """Both signs of τ = a·dt, far beyond a cell, round the circle."""
    N, multipliers = 96, np.linspace(-1, 1, 41)
    start = np.arange(N + 1.0)
    feet = field(N, PERIODIC).feet(start, multipliers, reach)[:, 0, :, 0]
    x = start * 2 * np.pi / N
    for k in (0, 7, 20, 33, 40):
        exact = traced(x, reach * multipliers[k]) if multipliers[k] else x
        np.testing.assert_allclose(feet[k] * 2 * np.pi / N, exact, rtol=0, atol=2e-10)


def test_one_multiplier_is_traced_directly():
    N = 96
    start = np.arange(N + 1.0)
    feet = field(N, PERIODIC).feet(start, np.ones(1), 0.7)[0, 0, :, 0]
    exact = traced(start * 2 * np.pi / N, 0.7)
    np.testing.assert_allclose(feet * 2 * np.pi / N, exact, rtol=0, atol=2e-10)


def test_interpolation_of_the_field_is_of_the_degree_plus_one():
    errors, cells = [], (32, 48, 64)
    for N in cells:
        faces = np.linspace(-1, 2, N + 1)
        v, coefficients = np.exp(np.sin(3 * faces)), np.empty((N, 8))
        local_polynomials(v, interpolation_table(7), OPEN, coefficients)
        middle = np.array([np.polyval(c[::-1], 0.5) for c in coefficients])
        x = (faces[1:] + faces[:-1]) / 2
        errors.append(np.abs(middle - np.exp(np.sin(3 * x))).max())
    assert (observed_orders(errors, cells) > 6.5).all()


KINKS = np.array([2.0, 5.0, 9.0])


@pytest.mark.parametrize(
    ("pieces", "x", "tau", "foot"),
    [
        ([1.0, 1.0, 1.0, 1.0], 4.0, 3.0, 1.0),  # straight through a kink
        ([1.0, 2.0, 1.0, 1.0], 6.0, 2.0, 3.0),  # 1 to the kink, then twice as fast
        ([-1.0, 1.0, 1.0, 1.0], 4.0, 5.0, 2.0),  # backwards into an opening gap: rests at it
        ([1.0, -1.0, 1.0, 1.0], 3.0, 1.5, 4.5),  # away from where the flow gathers
        ([1.0, -1.0, 1.0, 1.0], 2.0, 1.5, 2.0),  # what has gathered: the middle stays
        ([1.0, 0.0, 1.0, 1.0], 3.0, 9.0, 3.0),  # no speed
        ([1.0, 0.0, 1.0, 1.0], 6.0, 9.0, 5.0),  # comes to rest at a piece without speed
        ([1.0, 1.0, 1.0, 1.0], 1.0, -4.0, 5.0),  # backwards in time is forwards
        ([2.0, 2.0, 2.0, 4.0], 12.0, 1.25, 8.0),  # starts beyond the last kink
    ],
)
def test_piecewise_constant_fields_are_followed_exactly(pieces, x, tau, foot):
    assert march(KINKS, np.array(pieces), x, tau) == pytest.approx(foot, abs=1e-14)


def test_any_piecewise_field_against_tiny_steps():
    rng = np.random.default_rng(3)
    for _ in range(40):
        kinks = np.sort(rng.random(4)) * 10
        pieces = rng.normal(size=5)
        x, tau, h = rng.random() * 10, rng.normal(), 1e-4
        y = x
        for _ in range(int(abs(tau) / h)):
            y -= np.sign(tau) * h * pieces[np.searchsorted(kinks, y)]
        assert march(kinks, pieces, x, tau) == pytest.approx(y, abs=2e-3)
