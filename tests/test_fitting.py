"""fit_grid: the box holds the mass to the horizon, and is not absurdly large."""

import warnings

import numpy as np
import pytest

import mfpde as mf
from mfpde.errors import InvalidInput, MassEscaped, UnconfinedMass

RNG = np.random.default_rng(12)
X = np.linspace(-1.5, 1.5, 9)
PLANE = RNG.normal(size=(8, 2))

CASES = {
    "linear": (
        mf.two_layer(X, 1.5 * X, mf.identity, initial=mf.gaussian(0, [0.6, 0.5])),
        {"cells": 64, "horizon": 1.5},
    ),
    "linear, few cells": (
        mf.two_layer(X, 1.5 * X, mf.identity, initial=mf.gaussian(0, [0.6, 0.5])),
        {"cells": 24, "horizon": 1.5},
    ),
    "tanh": (
        mf.two_layer(X, np.sin(2 * X), initial=mf.gaussian([0.5, 0.3], 0.5)),
        {"cells": 64, "horizon": 2.0},
    ),
    "tanh, by coordinate": (
        mf.two_layer(X, np.sin(2 * X), penalty=mf.ridge(0.3), initial=mf.gaussian(0, 0.5)),
        {"cells": {"a": 40, "w": 56}, "horizon": 4.0},
    ),
    "tanh, entropy": (
        mf.two_layer(
            X, np.sin(2 * X), penalty=mf.ridge(0.2), entropy=0.05, initial=mf.gaussian(0, 0.2)
        ),
        {"cells": 48, "horizon": 4.0},
    ),
    "from a = 0": (
        mf.two_layer(X, 2 * np.sin(X), initial=mf.product(a=mf.point(0.0), w=mf.gaussian(0, 0.6))),
        {"cells": 64, "horizon": 2.0},
    ),
    "from a = 0, large targets": (
        mf.two_layer(X, 12 * X, initial=mf.product(a=mf.point(0.0), w=mf.gaussian(0, 0.6))),
        {"cells": 64, "horizon": 1.0},
    ),
    "relu, d = 2": (
        mf.two_layer(PLANE, PLANE @ [0.5, -1], mf.relu, initial=mf.gaussian(0, 0.4)),
        {"cells": 20, "horizon": 0.5},
    ),
    "bias": (
        mf.two_layer(X, np.cos(X), mf.tanh, bias=True, initial=mf.gaussian(0, 0.4)),
        {"cells": 20, "horizon": 0.5},
    ),
    "circle": (
        mf.Problem(
            ("a", "theta"),
            lambda q: np.cos(2 * np.pi * (q - np.arange(5) / 5)),
            None,
            mf.square([1.0, 0, -1, 0, 2]),
            initial=mf.product(a=mf.gaussian(0, 0.1), theta=mf.uniform_box(0, 1)),
            lifted=True,
            domain={"theta": mf.circle(1.0)},
        ),
        {"cells": 48, "horizon": 2.0},
    ),
    "half line and interval": (
        mf.Problem(
            ("r", "h"),
            lambda q: np.tanh(q[:, :1] * [1.0, 2.0]) + q[:, 1:],
            None,
            mf.square([3.0, 2.0]),
            initial=mf.uniform_box([0.2, -0.5], [0.9, 0.5]),
            domain={"r": mf.half_line(), "h": mf.interval(-1, 1)},
        ),
        {"cells": 40, "horizon": 1.0},
    ),
}
every_case = pytest.mark.parametrize("name", CASES)


def escaped(problem, grid, horizon, tolerance=1.0):
    """Mass that left through open walls, or came to lie at closed ones of a line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnconfinedMass)
        run = mf.solve(problem, grid, times=[0, horizon], escaped_tolerance=tolerance, keep="last")
    return float(run.escaped[-1]) + run.attrs["largest_wall_mass"]


@every_case
def test_the_box_holds_the_mass(name):
    problem, asked = CASES[name]
    grid = mf.fit_grid(problem, **asked)
    counts = asked["cells"]
    for c, axis in grid.axes.items():
        assert axis.cells == (counts[c] if isinstance(counts, dict) else counts)
    assert escaped(problem, grid, asked["horizon"]) <= 1e-6


@pytest.mark.parametrize(
    ("name", "coords"),
    [
        ("linear", "a w"),
        ("tanh", "a w"),
        ("tanh, by coordinate", "a w"),
        ("tanh, entropy", "a w"),
        ("from a = 0", "a w"),
        ("relu, d = 2", "a w1"),
        ("circle", "a"),
    ],
)
def test_the_box_is_not_absurdly_large(name, coords):
    """Half of any axis would lose mass to the horizon, or not even hold the law at the start."""
    problem, asked = CASES[name]
    grid = mf.fit_grid(problem, **asked)
    for c in coords.split():
        low, high = grid.box[c]
        middle, quarter = 0.5 * (low + high), 0.25 * (high - low)
        half = mf.uniform(middle - quarter, middle + quarter, grid.axes[c].cells)
        assert loses_mass(problem, mf.Grid(**grid.axes | {c: half}), asked["horizon"]), c


def loses_mass(problem, grid, horizon):
    """Whether mass leaves the grid's box, or lies outside from the start."""
    try:
        return escaped(problem, grid, horizon) > 1e-6
    except InvalidInput as refusal:
        if "outside the grid's box" not in str(refusal):
            raise
        return True


def test_a_map_in_discrete_time_is_given_its_own_box():
    """Steps of 3 overshoot what the flow would reach."""
    problem, _ = CASES["tanh, by coordinate"]
    flow = mf.fit_grid(problem, cells=64, horizon=12.0)
    descent = mf.pushforward(3.0)
    grid = mf.fit_grid(problem, cells=64, horizon=12.0, method=descent)
    with pytest.raises(MassEscaped):
        mf.solve(problem, flow, descent, times=[0, 3.0, 12.0])
    run = mf.solve(problem, grid, descent, times=[0, 3.0, 12.0])
    assert float(run.escaped[-1]) <= 1e-6


def test_circles_and_intervals_are_taken_whole():
    grid = mf.fit_grid(CASES["circle"][0], cells=16, horizon=0.5)
    assert grid.axes["theta"].is_periodic
    assert grid.box["theta"] == (0.0, 1.0)
    grid = mf.fit_grid(CASES["half line and interval"][0], cells=16, horizon=0.5)
    assert grid.box["h"] == (-1.0, 1.0)
    assert grid.box["r"][0] == 0.0


@every_case
def test_at_horizon_zero_the_law_alone_is_held(name):
    problem, _ = CASES[name]
    grid = mf.fit_grid(problem, cells=16, horizon=0.0)
    low, high = problem.initial.reach(1e-8)
    for k, c in enumerate(grid.coords):
        if problem.domain[c].kind == "line":
            assert grid.box[c][0] < low[k] <= high[k] < grid.box[c][1]
            assert grid.box[c][1] - grid.box[c][0] <= 1.5 * (high[k] - low[k]) + 5
    assert mf.solve(problem, grid, times=[0]).mass[0] == pytest.approx(1, abs=1e-12)


def test_a_flow_that_no_box_holds_is_refused_in_words():
    """V = −4w²: neurons run away like e^{8t}."""
    runaway = mf.kernel_problem(
        ("w",), lambda p, q: 0 * p @ q.T, lambda p: 4 * p[:, 0] ** 2, initial=mf.gaussian(1, 0.1)
    )
    with pytest.raises(InvalidInput) as refusal:
        mf.fit_grid(runaway, cells=16, horizon=3.0)
    assert "t = 3" in str(refusal.value)
    assert "shorter horizon" in str(refusal.value)
    assert not isinstance(refusal.value, MassEscaped)


def test_more_coordinates_than_a_grid_holds_are_refused():
    deep = mf.two_layer(np.eye(4), np.ones(4))
    with pytest.raises(mf.InvalidInput, match=r"(?s)5 coordinates: a, w1, .*at most 4"):
        mf.fit_grid(deep, cells=8, horizon=0.1)
