"""The certified infimum of V: closed forms, dense samples, local descent, and random measures."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import mfpde as mf
from mfpde.optimality.bounds import infimum, least_in_box, sag
from mfpde.optimality.exchange import Atoms, certified, certified_gap, least_energy
from mfpde.optimality.expansions import STEEPEST, expansion

X = np.linspace(-2, 2, 9)
Y = np.sin(2 * X)
PENALTIES = {
    "none": mf.no_penalty,
    "ridge": mf.ridge(0.1),
    "|a|": mf.total_variation(0.1) + mf.ridge((0.0, 0.05)),
}
SMOOTH = [activation.name for activation in STEEPEST]
NAMED = {a.name: a for a in (*STEEPEST, mf.relu, mf.leaky_relu)}
HAT = mf.Activation(
    lambda z: np.maximum(1 - np.abs(z), 0.0),
    lambda z: np.where(np.abs(z) < 1, -np.sign(z), 0.0),
    name="hat",
    kinks=(-1.0, 0.0, 1.0),
)


def potential(problem, slope, points):
    """V as its definition says."""
    g = problem.phi(points[:, int(problem.lifted) :]) @ slope
    return (points[:, 0] * g if problem.lifted else g) + problem.penalty.value(points)


def box_of(low, high):
    return np.array(low, dtype=float), np.array(high, dtype=float)


def checked(problem, slope, low, high, tolerance=1e-11):
    """The infimum, against dense samples and a descent from the best of them."""
    found = infimum(problem, slope, low, high, tolerance)
    points = np.random.default_rng(0).uniform(low, high, (20000, len(low)))
    V = potential(problem, slope, points)
    start = points[np.argmin(V)]
    end = minimize(
        lambda p: potential(problem, slope, p[None])[0],
        start,
        bounds=list(zip(low, high, strict=True)),
        method="L-BFGS-B",
    )
    assert found.reason == ""
    assert found.value - 3 * tolerance <= found.lower <= found.value
    assert found.lower <= min(V.min(), end.fun)
    assert_allclose(potential(problem, slope, found.at[None])[0], found.value, rtol=0, atol=1e-13)
    assert np.all((low <= found.at) & (found.at <= high))
    return found


@pytest.mark.parametrize("name", SMOOTH)
def test_the_bounds_of_derivatives_are_attained_and_never_passed(name):
    activation = NAMED[name]
    bends, twists = STEEPEST[activation]
    z, h = np.linspace(-9, 9, 180001), 1e-4
    second = np.abs(activation.curvature(z)).max()
    third = np.abs(activation.curvature(z + h) - activation.curvature(z - h)).max() / (2 * h)
    assert_allclose(second, bends, rtol=1e-7, atol=0)
    assert_allclose(third, twists, rtol=1e-6, atol=0)
    assert second <= bends * (1 + 1e-14)


@pytest.mark.parametrize("activation", [*NAMED.values(), HAT], ids=lambda a: a.name)
def test_expansions_leave_out_no_more_than_they_say(activation):
    series, rng = expansion(activation), np.random.default_rng(3)
    z, reach = rng.normal(size=4000) * 2, rng.exponential(size=4000)
    t = reach * rng.choice([-1, 1, 0.3], size=4000)
    taylor = activation.value(z) + series.slope(z) * t + series.curvature(z) * t**2 / 2
    bound = series.remainder(reach)
    for jump, kink in zip(series.jumps, series.kinks, strict=True):
        bound = bound + abs(jump) * np.maximum(reach - np.abs(z - kink), 0)
    assert np.all(np.abs(activation.value(z + t) - taylor) <= bound + 1e-13 * (1 + z**2 + t**2))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("activation", [*NAMED.values(), HAT], ids=lambda a: a.name)
def test_it_is_below_all_of_v_and_attained(activation, penalty):
    problem = mf.two_layer(X, Y, activation, penalty=PENALTIES[penalty])
    slope = problem.loss.slope(np.cos(5 * X))
    checked(problem, slope, *box_of([-2, -3], [3, 2.5]))


@pytest.mark.parametrize("activation", [mf.tanh, mf.relu, mf.cos], ids=lambda a: a.name)
@pytest.mark.parametrize("mu", [0.0, 0.02])
def test_with_a_bias_and_two_inputs(activation, mu):
    x = np.random.default_rng(4).normal(size=(9, 2))
    problem = mf.two_layer(x, Y, activation, penalty=mf.ridge(mu), bias=True)
    checked(problem, problem.loss.slope(0 * Y), *box_of([-2] * 4, [2] * 4), 1e-8)


def test_without_output_weight():
    problem = mf.two_layer(X, Y, mf.erf, penalty=mf.ridge(0.1), output_weight=False, bias=True)
    checked(problem, problem.loss.slope(np.ones(9)), *box_of([-3, -3], [3, 3]))


def test_closed_forms():
    """One sample at x = 1 and r = −1: V = −a σ(w) + μ(a² + w²)/2."""
    slope, box = np.array([-1.0]), box_of([-2, -2], [2, 2])
    for activation, mu, expected in [
        (mf.identity, 0.0, -4.0),
        (mf.identity, 0.5, -2.0),  # at a = w = 2: −4 + 0.5·4
        (mf.identity, 2.0, 0.0),
        (mf.relu, 0.5, -2.0),
        (mf.cos, 0.0, -2.0),
        (mf.cos, 1.0, -0.5),  # at w = 0, a = 1
        (mf.quadratic, 0.0, -8.0),
        (mf.tanh, 0.0, -2 * np.tanh(2.0)),
    ]:
        problem = mf.two_layer([1.0], [1.0], activation, penalty=mf.ridge(mu))
        found = infimum(problem, slope, *box)
        assert_allclose([found.value, found.lower], expected, rtol=0, atol=3e-12)


def test_a_valley_takes_few_cells():
    """ReLU with ridge where sup|g| = μ on the sphere: V = 0 along a ray, and never below."""
    problem = mf.two_layer([1.0], [1.0], mf.relu, penalty=mf.ridge(1.0))
    found = infimum(problem, np.array([-1.0]), *box_of([-2, -2], [2, 2]), 1e-14)
    assert found.reason == ""
    assert -1e-13 <= found.lower <= 0 == found.value


def test_output_weights_without_end():
    slope, box = -0.3 * Y, box_of([-np.inf, -2], [np.inf, 2])
    held = mf.two_layer(X, Y, penalty=mf.ridge((0.5, 0.0)))
    found = infimum(held, slope, *box)
    w = np.linspace(-2, 2, 100001)[:, None]
    assert_allclose(found.lower, -np.max((held.phi(w) @ slope) ** 2), rtol=1e-8)
    assert infimum(mf.two_layer(X, Y, penalty=mf.total_variation(9.0)), slope, *box).lower == 0
    for penalty in (mf.no_penalty, mf.total_variation(0.01)):
        found = infimum(mf.two_layer(X, Y, penalty=penalty), slope, *box)
        assert found.lower == -np.inf
        assert "output weight" in found.reason


@pytest.mark.parametrize(
    ("problem", "low", "reason"),
    [
        (mf.two_layer(X, Y, mf.heaviside), -1, "heaviside"),
        (mf.two_layer(X, Y, mf.Activation(np.arctan)), -1, "user"),
        (mf.two_layer(X, Y, penalty=mf.path_norm(1.0)), -1, "path_norm"),
        (mf.two_layer(X, Y), -np.inf, "no end"),
        (mf.Problem(("w",), lambda v: v @ X[None], None, mf.square(Y)), -1, "features"),
    ],
)
def test_what_is_not_known_is_said(problem, low, reason):
    low = np.full(problem.dimension, low, dtype=float)
    found = infimum(problem, np.ones(9), low, np.ones_like(low))
    assert found.lower == -np.inf
    assert reason in found.reason


def test_too_few_cells_still_bound(monkeypatch):
    monkeypatch.setattr("mfpde.optimality.bounds.MOST_CELLS", 30)
    problem = mf.two_layer(X, Y, penalty=mf.ridge(0.1))
    slope, box = problem.loss.slope(np.cos(5 * X)), box_of([-2, -3], [3, 2.5])
    found = infimum(problem, slope, *box)
    monkeypatch.undo()
    assert "cells" in found.reason
    assert found.lower < infimum(problem, slope, *box).lower < found.value + 1e-12


def test_quadratic_bounds_hold():
    rng = np.random.default_rng(5)
    for k in (1, 2, 3):
        bend, tilt = rng.normal(size=(20, k, k)), rng.normal(size=(20, k))
        bend = bend + bend.transpose(0, 2, 1)
        t = np.vstack([rng.uniform(-1, 1, (3000, k)), np.sign(rng.normal(size=(99, k)))])
        half = 0.5 * np.einsum("pij,ti,tj->pt", bend, t, t)
        assert np.all(least_in_box(tilt, bend) <= (half + tilt @ t.T).min(axis=1) + 1e-13)
        assert np.all(-sag(bend) <= half.min(axis=1) + 1e-13)  # attained at corners
    assert_allclose(least_in_box(np.array([[1.0]]), np.array([[[4.0]]])), -0.125)


@pytest.mark.parametrize(
    ("problem", "box"),
    [
        (mf.two_layer(X, Y, penalty=mf.ridge(0.02)), ([-3, -3], [3, 3])),
        (mf.two_layer(X, Y, mf.relu, penalty=mf.total_variation(0.05)), ([-3, -3], [3, 3])),
        (mf.two_layer(X, np.sign(Y + 0.1), mf.erf, mf.logistic), ([-3, -3], [3, 3])),
        (mf.two_layer(X, Y, mf.cos, mf.huber(0.2), bias=True), ([-2, -2, -2], [2, 2, 2])),
    ],
    ids=["tanh", "relu", "logistic", "huber"],
)
def test_the_gap_is_never_below_the_true_one(problem, box):
    """F(ρ) − F* <= ∫V dρ − inf V on 125 random measures for each of four problems."""
    low, high = box_of(*box)
    least = least_energy(problem, low, high, 1e-10)
    assert least.gap <= 1e-8
    floor, rng = least.atoms.energy - least.gap, np.random.default_rng(6)
    for _ in range(125):
        count = rng.integers(1, 30)
        weights = rng.exponential(size=count) ** 2
        atoms = Atoms(problem, rng.uniform(low, high, (count, len(low))), weights / weights.sum())
        found = certified(problem, atoms, low, high, 1e-3)
        assert floor <= least.atoms.energy <= atoms.energy
        assert certified_gap(atoms, found) >= atoms.energy - least.atoms.energy
