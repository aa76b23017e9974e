"""What tells one run from another: functions seen in every cell, observers asked again."""

import contextlib

import numpy as np
import pytest
from loop.planted import X, Y, plain, square

import mfpde as mf
import particle_ref as pr
from mfpde.errors import InvalidInput, Stopped
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.loop import store
from mfpde.loop.identity import differences, identity, recorded

GRID, TIMES = square(4.0, 9), [0.0, 0.1, 0.2, 0.3]
CELL = 13  # somewhere


def told(problem, grid=GRID):
    flow = WassersteinFlow(problem, grid)
    return recorded(identity(flow, flow, mf.upwind(), "density", 1e-6))


def bump(centre, height, width=0.2):
    """ρ ↦ |θ|²/2 with a bump that no cell but one may see."""

    def value(p):
        return (p**2).sum(1) / 2 + height * np.exp(-((p - centre) ** 2).sum(1) / width**2)

    def gradient(p):
        return p - 2 / width**2 * (p - centre) * (value(p) - (p**2).sum(1) / 2)[:, None]

    return plain(penalty=mf.Penalty(value, gradient))


@pytest.mark.parametrize("cell", range(0, 81, 8))
def test_a_penalty_that_differs_in_one_cell_is_another(cell):
    centre = GRID.points()[cell]
    differ = differences(told(bump(centre, 0.0)), told(bump(centre, 1e-6)))
    assert [line.split(":")[0] for line in differ] == ["penalty"]
    assert differences(told(bump(centre, 1e-6)), told(bump(centre, 1e-6 * (1 + 1e-9)))) == []


def test_small_values_are_compared_by_their_own_size():
    def scaled(s):
        return plain(penalty=mf.Penalty(lambda p: s * (p**2).sum(1), lambda p: 2 * s * p))

    assert differences(told(scaled(1e-12)), told(scaled(1.001e-12)))


def activated(height):
    """tanh with a bump at 1, its slope with it."""
    return mf.Activation(
        lambda z: np.tanh(z) + height * np.exp(-(((z - 1) / 0.02) ** 2)),
        lambda z: 1 - np.tanh(z) ** 2 - 5000 * height * (z - 1) * np.exp(-(((z - 1) / 0.02) ** 2)),
    )


def losing(curvature):
    return mf.Loss(
        lambda f, y: (f - y) ** 2 / 2,
        lambda f, y: f - y,
        lambda f, y: np.where(np.abs(f - y) < 2.5, 1.0, curvature),
        smoothness=1.0,
    )


KINDS = {
    "activation": lambda h: plain(activation=activated(h)),
    "loss": lambda h: plain(loss=losing(1.0 + h)),
}


@pytest.mark.parametrize("name", KINDS)
def test_features_and_losses_that_differ_somewhere_are_others(name):
    differ = differences(told(KINDS[name](0.0)), told(KINDS[name](0.1)))
    assert [line.split(":")[0] for line in differ] == [name]


@pytest.mark.parametrize("part", ["K", "F"])
def test_a_kernel_that_differs_in_one_cell_is_another(part):
    grid = mf.Grid(w=mf.uniform(-3, 3, 31))
    centre = grid.points()[CELL, 0]

    def near(p, h):
        return h * np.exp(-(((p[:, 0] - centre) / 0.05) ** 2))

    def problem(**h):
        k, f = h.get("K", 0.0), h.get("F", 0.0)
        return mf.kernel_problem(
            ("w",),
            lambda p, q: np.exp(-((p - q.T) ** 2)) + np.outer(near(p, k), near(q, 1.0)),
            lambda p: p[:, 0] + near(p, f),
            initial=mf.gaussian(0, 0.4),
        )

    differ = differences(told(problem(), grid), told(problem(**{part: 1e-4}), grid))
    assert [line.split(":")[0] for line in differ] == [part]


def test_particles_are_told_a_penalty_away_from_their_start(tmp_path):
    """A wall that the start does not touch, nor what is nearer to 0."""

    def walled(height):
        return mf.two_layer(
            X,
            Y,
            penalty=mf.Penalty(
                lambda p: height * np.maximum(p[:, 0] - 1.2, 0) ** 2,
                lambda p: 2 * height * np.maximum(p[:, :1] - 1.2, 0) * [1.0, 0.0],
            ),
        )

    cloud = pr.Cloud([[0.5, -0.5], [1.0, 1.0], [-1.0, 0.2]])
    for height in (0.0, 0.0):
        pr.run(walled(height), cloud, pr.Descent(0.1), [0.0, 0.1], to=mf.store(tmp_path / "run"))
    with pytest.raises(InvalidInput, match="penalty"):
        pr.run(walled(1.0), cloud, pr.Descent(0.1), [0.0, 0.1], to=mf.store(tmp_path / "run"))


def largest(scale):
    """Observers of one name."""

    def largest(now):
        return scale * float(now.rho.max()) + float(now.energy)

    return largest


def part(folder, scale, until, **how):
    """Solve as far as a time."""

    def enough(state, end):
        if state.t > until:
            raise Stopped("enough")

    call = {"times": TIMES, "escaped_tolerance": 1, "watch": [largest(scale)]} | how
    return mf.solve(plain(), GRID, to=folder, progress=enough, **call)


@pytest.mark.parametrize(("keep", "until"), [("density", 0.15), ("density", 9), ("last", 9)])
def test_an_observer_that_says_something_else_is_refused(tmp_path, keep, until):
    with contextlib.suppress(Stopped):
        part(tmp_path / "run", 1.0, until, keep=keep)
    with pytest.raises(InvalidInput, match="the observer largest gives"):
        part(tmp_path / "run", 1.1, 9.0, keep=keep)
    done = part(tmp_path / "run", 1.0, 9.0, keep=keep)
    fresh = mf.solve(plain(), GRID, times=TIMES, escaped_tolerance=1, watch=[largest(1.0)])
    np.testing.assert_array_equal(done.largest, fresh.largest)


def test_who_came_first_is_seen_under_the_lock(tmp_path, monkeypatch):
    """Another process begins another run, between the first look and the lock."""
    folder, make = tmp_path / "run", store.make_all

    def slow(*folders):
        monkeypatch.setattr(store, "make_all", make)
        with pytest.raises(Stopped):
            part(folder, 1.0, 0.15)
        make(*folders)

    monkeypatch.setattr(store, "make_all", slow)
    with pytest.raises(InvalidInput, match="entropy"):
        mf.solve(
            plain(entropy=0.1), square(4.0, 9, walls="closed"), mf.scharfetter_gummel(),
            times=TIMES, to=folder,
        )  # fmt: skip
