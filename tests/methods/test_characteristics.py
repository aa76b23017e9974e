"""Feet of one coordinate's motion: the output weight in closed form, weights along −a ∂g."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

import mfpde as mf
from mfpde.kernels.tiles import PERIODIC, WALL
from mfpde.methods.characteristics import (
    PiecewiseFlow,
    SmoothFlow,
    barycentric,
    chebyshev,
    kinks_along,
    node_count,
    output_feet,
)

FACES = np.linspace(-2.0, 2.0, 9)  # 0 is one of them


# -------------------------------------------------------------------- a' = −G − αa − s sign(a)
def forward(a: float, G: float, alpha: float, s: float, dt: float) -> float:
    """The path itself, stopped at every arrival at 0: it crosses where |G| > s and rests else."""
    t = 0.0
    while t < dt:
        if a == 0 and abs(G) <= s:
            return 0.0
        side = np.sign(a) if a != 0 else -np.sign(G)

        def rate(_, u, side=side):
            return -G - alpha * u - s * side

        def arrives(_, u, side=side):
            return side * u[0] + (1.0 if u[0] == 0 else 0.0)  # not where it starts

        arrives.terminal, arrives.direction = True, -1
        path = solve_ivp(
            rate, (t, dt), [a], method="DOP853", rtol=1e-12, atol=1e-14, events=arrives
        )
        t, a = path.t[-1], float(path.y[0, -1]) if path.status == 0 else 0.0
    return a


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("s", [0.0, 0.2])
@pytest.mark.parametrize("dt", [0.3, 1.7])
def test_output_feet_undo_the_motion(alpha, s, dt):
    """Forward from its foot every face is reached: free, through 0 where |G| > s, and at rest."""
    drifts = np.array([-0.9, -0.2, -0.1, 0.0, 0.15, 0.2, 0.25, 0.7])
    feet = output_feet(FACES, drifts, alpha, s, dt)
    assert np.all(np.diff(feet, axis=0) > 0)
    for column, G in zip(feet.T, drifts, strict=True):
        ends = [forward(float(foot), float(G), alpha, s, dt) for foot in column]
        assert_allclose(ends, FACES, rtol=0, atol=1e-10)
        if abs(G) <= s:
            assert column[4] == 0.0


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("G", [0.0, 0.15, -0.19])
def test_what_sticks_comes_from_a_whole_interval(alpha, G):
    """Faces beside 0 have feet far from it; all between them end at 0, where |G| ≤ s."""
    s, dt, beside = 0.2, 1.0, np.array([-1e-13, 0.0, 1e-13])
    low, middle, high = output_feet(beside, np.array([G]), alpha, s, dt)[:, 0]
    decay = dt if alpha == 0 else np.expm1(alpha * dt) / alpha
    assert_allclose([low, middle, high], [(G - s) * decay, 0.0, (G + s) * decay], atol=1e-12)
    for a in (0.9 * low, 0.5 * high):
        assert forward(a, G, alpha, s, dt) == 0.0


def test_output_feet_are_odd():
    drifts = np.linspace(-0.6, 0.6, 7)
    for alpha, s in ((0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.3, 0.2)):
        feet = output_feet(FACES, drifts, alpha, s, 1.3)
        assert_array_equal(feet, -output_feet(-FACES, -drifts, alpha, s, 1.3))


# ---------------------------------------------------------------------- w' = a·v(w), v smooth
CELLS = 96
START = np.arange(CELLS + 1.0)


def sine_flow(x, tau):
    """The flow of x' = sin x: tan(x/2) grows like e^τ."""
    turn = 2 * np.pi * np.round(x / (2 * np.pi))
    return turn + 2 * np.arctan2(np.exp(tau) * np.sin((x - turn) / 2), np.cos((x - turn) / 2))


@pytest.mark.parametrize("longest", [0.05, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("flow", ["sin", "pole"])
def test_interpolation_in_tau(longest, flow):
    """The flow at all τ from few nodes, to 1e-11: of sin x, and of sech²x, whose poles lie nearer.

    sech²: x/2 + sinh(2x)/4 = x₀/2 + sinh(2x₀)/4 + τ. |v'| is at most 1, and 4/(3√3).
    """
    x0 = np.linspace(-3, 3, 25)
    if flow == "sin":
        exact, steepest = sine_flow, 1.0
    else:
        exact, steepest = sech_flow, 4 / np.sqrt(27)
    x, weights = chebyshev(node_count(longest))
    tau = longest / steepest
    nodes = exact(x0, tau * x[:, None])
    wanted = np.linspace(-1, 1, 101)
    values = barycentric(x, weights, wanted) @ nodes
    assert_allclose(values, exact(x0, tau * wanted[:, None]), rtol=0, atol=1e-11)


def sech_flow(x0, tau):
    """Newton's method on the strictly increasing x/2 + sinh(2x)/4."""
    x0, tau = np.broadcast_arrays(x0, tau)
    aim, x = x0 / 2 + np.sinh(2 * x0) / 4 + tau, x0 + 0.0
    for _ in range(60):
        x = x - np.clip((x / 2 + np.sinh(2 * x) / 4 - aim) / np.cosh(x) ** 2, -0.5, 0.5)
    return x


@pytest.mark.parametrize("slices", [7, 200], ids=["one by one", "by nodes"])
@pytest.mark.parametrize("dt", [0.4, -0.4])
def test_smooth_flow_in_closed_form(slices, dt):
    """Feet of v = sin at face k and slice a: the flow backwards by a·dt; both ways of tracing."""
    K = 2 * np.pi / CELLS
    v = (np.sin(K * START) / K)[None, :, None]
    a = np.random.default_rng(0).uniform(-1.5, 1.5, slices)
    feet = SmoothFlow(v, PERIODIC, 9).feet(START, a, dt)[:, 0, :, 0]
    assert (node_count(1.5 * abs(dt)) < slices) == (slices == 200)
    exact = sine_flow(K * START, -dt * a[:, None]) / K
    assert_allclose(feet, exact, rtol=0, atol=2e-9)


def test_a_flow_without_time_or_field_leaves_faces_where_they_are():
    v = np.zeros((2, CELLS + 1, 3))
    a = np.linspace(-2, 2, 30)
    for field, dt in ((v, 1.0), (v + 5.0, 0.0)):
        feet = SmoothFlow(field, WALL["open"], 7).feet(START, a, dt)
        assert_allclose(feet, np.broadcast_to(START[:, None], feet.shape), rtol=0, atol=1e-12)


# ------------------------------------------------------------- v of a piecewise linear activation
def hard_tanh(z):
    return np.clip(z, -1.0, 1.0)


def hard_tanh_slope(z):
    return ((z > -1) & (z <= 1)).astype(float)


ACTIVATIONS = {
    "relu": mf.relu,
    "leaky_relu": mf.leaky_relu,
    "two kinks": mf.Activation(hard_tanh, hard_tanh_slope, kinks=(-1.0, 1.0)),
}
X = np.array([-1.5, -0.4, 0.0, 0.4, 0.9, 1.5])  # a pair x, −x whose kinks meet; one without any


def lines_through(k: int, others: np.ndarray) -> np.ndarray:
    """Points of the plane (w, b) with 0 in column k, one line each: (lines, 1, 2)."""
    points = np.zeros((len(others), 1, 2))
    points[:, 0, 1 - k] = others
    return points


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("k", [0, 1])
def test_kinks_against_differences_of_g(name, k):
    """g(w, b) = Σ slope_i σ(w x_i + b) is linear between kinks and v = −∂_k g its drop."""
    activation, slope = ACTIVATIONS[name], np.random.default_rng(1).normal(size=len(X))
    directions = np.column_stack([X, np.ones(len(X))])
    others = np.array([-0.8, 0.3, 1.1])
    kinks = kinks_along(activation, directions, k, lines_through(k, others))
    low, width = -2.0, 0.25
    field = kinks.flow(slope, low, width)
    for line, other in enumerate(others):
        at, pieces = field.kinks[line, 0] * width + low, field.pieces[line, 0] * width
        ends = np.concatenate([[at[0] - 1], at, [at[-1] + 1]])
        for piece, start, end in zip(pieces, ends[:-1], ends[1:], strict=True):
            if end - start > 1e-9:  # between kinks that meet there is nothing to see
                place = start + np.array([0.25, 0.75]) * (end - start)
                points = np.full((2, 2), other)
                points[:, k] = place
                g = activation.value(points @ directions.T) @ slope
                assert_allclose(-np.diff(g)[0] / np.diff(place)[0], piece, rtol=0, atol=1e-12)


def test_kinks_that_only_rounding_parts_are_one():
    """Inputs on one ray through 0, without bias: (0.1, 0.3)·c for many c."""
    c = np.array([1.0, 3.0, 7.0, 0.7, 1 / 3])
    directions = c[:, None] * np.array([0.1, 0.3])
    kinks = kinks_along(mf.relu, directions, 0, lines_through(0, np.array([0.7, -1.3])))
    assert np.ptp(-0.3 * c * 0.7 / (0.1 * c)) > 0, "rounding does part them"
    assert_array_equal(np.ptp(kinks.places, axis=-1), 0)
    assert_allclose(kinks.places[:, 0, 0], [-2.1, 3.9], rtol=1e-14)


def test_no_input_along_a_coordinate_means_no_motion():
    directions = np.column_stack([X, np.zeros(len(X))])
    kinks = kinks_along(mf.relu, directions, 1, lines_through(1, np.array([0.5])))
    field = kinks.flow(np.ones(len(X)), 0.0, 1.0)
    assert field.kinks.shape == (1, 1, 0)
    assert_array_equal(field.pieces, 0)
    assert_array_equal(field.feet(START, np.array([3.0]), 0.5)[0, 0, :, 0], START)


def test_piecewise_flow_of_relu_in_closed_form():
    """One sample, x = 1: v = −slope for w > 0 and 0 below. The face at w = 0 stays where the flow
    leaves it, and where the flow arrives all of it is below: relu'(0) = 0, there it rests."""
    kinks = kinks_along(mf.relu, np.ones((1, 1)), 0, np.zeros((1, 1, 1)))
    field = kinks.flow(np.array([-0.5]), -2.0, 0.25)  # v = 0.5 on w > 0, in cells: 2
    assert isinstance(field, PiecewiseFlow)
    faces = np.arange(17.0)  # w = −2 … 2
    feet = partial(field.feet, faces, np.array([1.0, -1.0]))
    outwards, inwards = feet(1.5)[:, 0, :, 0]
    assert_array_equal(outwards, np.where(faces <= 8, faces, np.maximum(faces - 3, 8)))
    assert_array_equal(inwards, np.where(faces < 8, faces, faces + 3))
