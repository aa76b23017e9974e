"""A window that follows the mass: what it resolves, what it costs nothing, and how it fails."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import xarray as xr
from exact.cases import (
    RIDGE_DATA,
    THE_PREDICTION_ITSELF,
    Case,
    closed,
    frozen_ridge,
    gaussian_case,
    quadratic_neurons,
    rotation,
)
from exact.solutions import Normal
from loop.planted import X, Y
from numpy.testing import assert_allclose, assert_array_equal

import mfpde as mf
import particle_ref as pr
from mfpde.errors import (
    InvalidInput,
    MassEscaped,
    MassMismatch,
    Stopped,
    UnconfinedMass,
    UnresolvedMass,
)
from mfpde.loop import window
from mfpde.loop.window import Window

# a few cells are enough for what most tests ask, and not for the density
pytestmark = pytest.mark.filterwarnings("ignore::mfpde.errors.UnresolvedMass")

FOLLOWED = mf.semi_lagrangian(window=True)
FIXED = mf.semi_lagrangian()


class Known:
    """The closed form of a case, as true_error asks for it."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def density(self, points, t):
        return self.case.density(t)(points)

    def prediction(self, t):
        return self.case.prediction(t)


def l1(run, case):
    """Errors at all times kept."""
    return mf.true_error(run, Known(case), nodes=4).l1.values


def ends(run, k=-1):
    """The window at a time, (D, 2)."""
    return run.window.values[k].reshape(-1, 2)


def bits(one, other):
    """Whether two runs are equal, attributes and all, to the last bit."""
    xr.testing.assert_identical(one, other)
    for name in one.variables:
        assert one[name].values.tobytes() == other[name].values.tobytes(), name


# What it resolves ---------------------------------------------------------------------------------
COLLAPSE = frozen_ridge((1.0, 1.0), 0.0, Normal.isotropic([0.2, 0.3], 0.5), 8.0)
FACTOR = 2400.0


def test_a_collapse_stays_resolved():
    """By pure ridge, from a standard deviation of 0.5 to 2.1e-4 in a box of length 16."""
    times = [0.0, 1.0, np.log(FACTOR)]
    run = mf.solve(COLLAPSE.problem, COLLAPSE.grid(112), FOLLOWED, times)
    assert l1(run, COLLAPSE).max() <= 2e-5
    assert_allclose(run.mass + run.escaped, 1.0, rtol=0, atol=1e-12)
    assert run.escaped[-1] <= 1e-11
    mean, std = np.array([0.2, 0.3]) / FACTOR, 0.5 / FACTOR
    low, high = ends(run).T
    assert (low < mean - 7 * std).all()  # a Gaussian has 1e-12 beyond that
    assert (high > mean + 7 * std).all()
    assert (high - low < 30 * std).all()
    fixed = mf.solve(COLLAPSE.problem, COLLAPSE.grid(112), FIXED, times)
    assert_allclose(spread(run), std, rtol=1e-5)
    assert (spread(fixed) > 50 * std).all()  # it rests in a few cells


def spread(run):
    """Standard deviations of the last density, (D,)."""
    points, weights = mf.as_measure(run.isel(time=-1))
    return np.sqrt(weights @ (points - weights @ points) ** 2)


def travelling(start, velocity, std) -> Case:
    """A Gaussian in a potential of constant slope."""
    start, velocity = np.array(start), np.array(velocity)
    problem = mf.Problem(
        ("a", "w"),
        phi=lambda u: (u @ -velocity)[:, None],
        dphi=lambda u: np.broadcast_to(-velocity, (len(u), 1, 2)),
        d2phi=lambda u: np.zeros((len(u), 1, 2, 2)),
        loss=THE_PREDICTION_ITSELF(np.zeros(1)),
        initial=mf.gaussian(mean=start, std=std),
    )
    return Case(
        problem=problem,
        density=lambda t: Normal.isotropic(start + t * velocity, std).density,
        prediction=lambda t: np.array([-(start + t * velocity) @ velocity]),
        box={"a": (-8.0, 8.0), "w": (-8.0, 8.0)},
        horizon=12.0,
    )


TRAVEL = travelling([-6.0, 3.0], [1.0, -0.5], 0.05)


@pytest.mark.parametrize("dt", [None, 2.0])
def test_what_travels_through_a_wide_box_stays_resolved(dt):
    """The box is twenty times as long as where all but 1e-12 of the mass lies, and fixed cells are
    as wide as five standard deviations of it; steps are cut where the mass would leave the window.
    """
    run = TRAVEL.run(mf.semi_lagrangian(9, dt=dt, window=True), 80)
    error = mf.true_error(run, Known(TRAVEL), nodes=4)
    assert error.l1[-1] <= 5e-4
    assert error.prediction[-1] <= 1e-7
    assert_allclose(run.mass + run.escaped, 1.0, rtol=0, atol=1e-12)
    assert (np.ptp(ends(run), axis=1) < 2).all()
    if dt == 2.0:
        assert (spread(TRAVEL.run(mf.semi_lagrangian(9, dt=dt), 80)) > 2 * 0.05).all()


@pytest.mark.parametrize("walls", ["default", "closed"])
def test_noise_spreads_mass_and_widens_the_window(walls):
    """X1 with ridge and entropy from a narrow start."""
    case = gaussian_case(
        replace(RIDGE_DATA, entropy=0.05),
        Normal.isotropic([0.2, 0.3], 0.1),
        half=8.0,
        horizon=1.0,
        axis=closed if walls == "closed" else mf.uniform,
    )
    run = case.run(FOLLOWED, 64)
    assert l1(run, case)[-1] <= 3e-4
    assert (np.ptp(ends(run), axis=1) > 2 * np.ptp(ends(run, 0), axis=1)).all()
    assert_allclose(run.mass + run.escaped, 1.0, rtol=0, atol=1e-12)


def test_a_law_narrower_than_a_cell():
    """Its cell averages are those of the window: on the caller's cells it cannot be told."""
    case = frozen_ridge((1.0, 1.0), 0.0, Normal.isotropic([0.0, 0.0], 1e-3), 8.0)
    run = mf.solve(case.problem, case.grid(64), FOLLOWED, [0.0, 1.0])
    assert (l1(run, case) <= [1e-9, 1e-3]).all()


def test_an_atom_is_as_wide_as_the_cells_it_is_put_into():
    """Along its axis nothing is finer; the run goes its way."""
    law = mf.product(a=mf.point(0.5), w=mf.gaussian(0.3, 0.05))
    run = mf.solve(
        mf.two_layer(X, Y, initial=law, penalty=mf.ridge(0.3)),
        mf.Grid(a=mf.uniform(-4, 4, 40), w=mf.uniform(-4, 4, 40)),
        FOLLOWED,
        [0.0, 0.5],
    )
    assert_array_equal(ends(run, 0)[0], [-4, 4])
    assert (np.ptp(ends(run), axis=1) < 1).all()
    assert_allclose(run.mass + run.escaped, 1.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("law", "cells", "method"),
    [
        (mf.point((-0.4, 0.5)), 20, mf.semi_lagrangian(9, dt=0.5, window=True)),
        (mf.uniform_box((0.5, -0.8), (0.6, -0.7)), 13, mf.semi_lagrangian(5, window=True)),
        (mf.gaussian((0.8, -0.5), 0.004), 20, mf.semi_lagrangian(7, window=True)),
    ],
    ids=["point", "box", "gaussian"],
)
def test_rough_densities_of_a_few_cells_go_their_way(law, cells, method):
    """However short a step, its conversions spread them by more cells than lie beside them."""
    axis = mf.uniform(-4, 4, cells)
    problem = mf.two_layer(X, Y, initial=law, penalty=mf.ridge(1.0))
    run = mf.solve(problem, mf.Grid(a=axis, w=axis), method, [0.0, 1.0], escaped_tolerance=1e-9)
    assert_allclose(run.mass + run.escaped, 1.0, rtol=0, atol=1e-12)
    assert run.energy[1] < run.energy[0]


# Where it stays whole -----------------------------------------------------------------------------
def test_a_density_that_fills_its_box_has_no_other_window():
    case = rotation(std=0.6, angle=-0.2, half=4.6)
    followed, fixed = case.run(FOLLOWED, 48), case.run(FIXED, 48)
    assert followed.attrs["windows"] == 1
    for name in ("rho", "prediction", "energy", "dissipation", "escaped_through"):
        assert_array_equal(followed[name], fixed[name], err_msg=name)
    assert_array_equal(followed.rho_in_window, fixed.rho)


def test_in_a_wider_box_both_agree_to_the_error_of_either():
    case = rotation(std=0.6, angle=-0.2, half=6.5)
    dt = case.horizon / 4
    runs = [case.run(mf.semi_lagrangian(9, dt=dt, window=w), 96) for w in (True, False)]
    followed, fixed = (float(run.prediction[-1, 0]) for run in runs)
    true = case.prediction(case.horizon)[0]
    assert runs[0].attrs["windows"] > 1
    assert abs(followed - fixed) <= 1e-2 * abs(fixed - true)  # both are wrong by the same splitting
    assert float(mf.compare(*runs, only=("prediction_gap",)).prediction_gap.max()) < 1e-6


def test_circles_are_whole_and_lines_are_not():
    problem = mf.two_layer(
        [1.0, 2.0],
        [0.5, -0.5],
        mf.cos,
        initial=mf.gaussian([0.2, 0.5], 0.1),
        domain={"w": mf.circle(2 * np.pi)},
    )
    grid = mf.Grid(a=mf.uniform(-6, 6, 48), w=mf.periodic(0, 2 * np.pi, 48))
    run = mf.solve(problem, grid, FOLLOWED, [0.0, 0.2])
    for k in (0, 1):
        a, w = ends(run, k)
        assert np.ptp(a) < 3
        assert tuple(w) == grid.box["w"]
    seen = mf.in_window(run.isel(time=-1))
    assert_array_equal(seen.w, run.w)
    assert_array_equal(seen.w_edges, run.w_edges)


def test_a_wall_of_the_callers_is_a_wall_and_a_rim_is_none():
    """Mass that runs against a closed wall is told of; none is at the window's rims."""
    case = travelling([2.0, 0.0], [1.0, 0.0], 0.2)
    grid = mf.Grid(a=mf.uniform(-8, 4, 48, walls="closed"), w=mf.uniform(-6, 6, 48, walls="closed"))
    method = mf.semi_lagrangian(dt=0.2, window=True)
    early = mf.solve(case.problem, grid, method, [0.0, 0.4])
    assert early.attrs["largest_wall_mass"] <= 1e-12
    with pytest.warns(UnconfinedMass):
        late = mf.solve(case.problem, grid, method, [0.0, 0.4, 2.0])
    assert ends(late)[0, 1] == 4.0
    assert late.attrs["largest_wall_mass"] > 0.1
    assert_allclose(late.mass + late.escaped, 1.0, rtol=0, atol=1e-12)


def test_mass_leaves_through_the_callers_open_walls():
    case = travelling([2.0, 0.0], [1.0, 0.0], 0.2)
    grid = mf.Grid(a=mf.uniform(-8, 4, 48), w=mf.uniform(-6, 6, 48))
    run = mf.solve(case.problem, grid, FOLLOWED, [0.0, 2.0], escaped_tolerance=1.0)
    assert_allclose(run.escaped_through[-1, 1], 0.5, atol=1e-3)  # its mean is at the wall
    assert run.escaped_through[-1, [0, 2, 3]].max() <= 1e-11
    with pytest.raises(MassEscaped) as stop:
        mf.solve(case.problem, grid, FOLLOWED, [0.0, 2.0])
    assert stop.value.box["a"][1] > 4.5
    assert stop.value.box["a"][0] == -8.0


def test_without_output_weights():
    case = replace(quadratic_neurons(1.0), box={"w": (-12.0, 12.0)})
    followed, fixed = (l1(case.run(method, 96), case)[-1] for method in (FOLLOWED, FIXED))
    assert followed <= 0.2 * fixed


def test_what_a_window_is_asked_with():
    with pytest.raises(InvalidInput, match="window"):
        mf.semi_lagrangian(window="yes")
    with pytest.raises(InvalidInput, match="outside the grid's box"):
        mf.solve(
            mf.two_layer(X, Y), mf.Grid(a=mf.uniform(1, 2, 32), w=mf.uniform(1, 2, 32)), FOLLOWED
        )
    stretched = mf.Grid(a=mf.stretched(-9, 9, 32), w=mf.uniform(-9, 9, 32))
    with pytest.raises(InvalidInput, match="uniform axes"):
        mf.solve(mf.two_layer(X, Y), stretched, FOLLOWED)


# Runs and stores ----------------------------------------------------------------------------------
NARROW = mf.two_layer(X, Y, initial=mf.gaussian([0.8, -0.5], 0.1), penalty=mf.ridge((0.5, 2.0)))
GRID = mf.Grid(a=mf.uniform(-6, 6, 40), w=mf.uniform(-6, 6, 44))
TIMES = [0.0, 0.2, 1.0]


def peak(snapshot):
    """What an observer sees: the largest average of either kind of cells."""
    own = mf.in_window(snapshot)
    assert not own.rho.values.flags.writeable
    return float(own.rho.max() + snapshot.rho.max())


@pytest.mark.parametrize("keep", ["density", "marginals", "last"])
def test_a_run_is_a_measure_of_its_windows_cells(keep):
    run = mf.solve(NARROW, GRID, FOLLOWED, TIMES, keep=keep, watch=[peak])
    last = run.isel(time=-1)
    assert_allclose(mf.predict(NARROW, last, X), last.prediction, rtol=0, atol=1e-12)
    points, weights = mf.as_measure(last)
    assert_allclose(weights.sum(), last.mass, rtol=1e-12)
    low, high = ends(run).T
    assert ((low < points) & (points < high)).all()
    rho = last.rho if keep == "density" else run.rho_last
    width = np.diff(run.a_edges)[0], np.diff(run.w_edges)[0]
    assert_allclose(float(rho.sum()) * np.prod(width), last.mass, rtol=1e-12)
    seen = mf.in_window(last)
    assert (seen.a.attrs["low"], seen.a.attrs["high"]) == tuple(ends(run)[0])
    assert_allclose(seen.a_edges[[0, -1]], ends(run)[0], rtol=0)
    assert run.peak[-1] == seen.rho.max() + rho.max()
    if keep == "marginals":
        assert_allclose(run.marginal_a[-1], rho.sum("w") * width[1], rtol=1e-12)


def test_snapshots_without_a_window_are_left_as_they_are():
    run = mf.solve(NARROW, GRID, FIXED, [0.0])
    assert mf.in_window(run.isel(time=0)).identical(run.isel(time=0))
    with pytest.raises(InvalidInput, match="2 times"):
        mf.in_window(mf.solve(NARROW, GRID, FOLLOWED, [0.0, 0.1]))


class Killed(BaseException):
    """Ends a run without a word."""


@pytest.mark.parametrize(
    ("method", "keep", "stop", "how"),
    [
        (FOLLOWED, "density", 2, Stopped("enough")),
        (FOLLOWED, "marginals", 4, Stopped("enough")),
        (FOLLOWED, "density", 4, Killed()),
        (mf.semi_lagrangian(5, dt=0.04, window=True), "single", 9, Stopped("enough")),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, method, keep, stop, how):
    """By a stop that saves where it stands, and by one that leaves the last snapshot's state."""
    solve = partial(mf.solve, NARROW, GRID, method, TIMES, keep=keep, watch=[peak])
    whole = solve(to=tmp_path / "whole")
    assert whole.attrs["windows"] > 2
    bits(mf.load(tmp_path / "whole"), whole)

    def stopped(state, end):
        if state.step == stop:
            raise how

    with pytest.raises(type(how)):
        solve(to=tmp_path / "run", progress=stopped)
    bits(solve(to=tmp_path / "run"), whole)
    one, other = ((tmp_path / name / "DONE").read_bytes() for name in ("whole", "run"))
    assert one == other


def test_a_window_is_part_of_what_a_run_is(tmp_path):
    mf.solve(NARROW, GRID, FOLLOWED, [0.0, 0.1], to=tmp_path / "run")
    with pytest.raises(InvalidInput, match="window=True"):
        mf.solve(NARROW, GRID, FIXED, [0.0, 0.1], to=tmp_path / "run")


# Planted faults -----------------------------------------------------------------------------------
def test_a_carrying_over_that_loses_mass_is_stopped(monkeypatch):
    right = window.carried_over

    def leaking(rho, *how):
        carried, left_out = right(rho, *how)
        return carried * (1 - 1e-9), left_out

    monkeypatch.setattr(window, "carried_over", leaking)
    with pytest.raises(MassMismatch):
        mf.solve(NARROW, GRID, FOLLOWED, TIMES)


def test_a_window_that_does_not_follow_is_stopped(monkeypatch):
    """One that stands still is widened where mass comes; one that is blind as well loses it."""
    first, wanted = Window.first, Window.wanted

    def begun(self):
        with monkeypatch.context() as once:
            once.setattr(Window, "wanted", wanted)
            return first(self)

    monkeypatch.setattr(Window, "first", begun)
    monkeypatch.setattr(Window, "wanted", lambda self, grid, dt: None)
    way = replace(TRAVEL, horizon=4.0)
    run = way.run(FOLLOWED, 40)
    assert_allclose(run.mass + run.escaped, 1.0, rtol=0, atol=1e-12)
    assert run.escaped[-1] < 1e-9
    monkeypatch.setattr(Window, "follow", lambda *states: None)
    with pytest.raises(MassEscaped):
        way.run(FOLLOWED, 40)


@pytest.mark.parametrize("cells", [64, 128])
def test_what_a_window_does_not_resolve_is_said(cells):
    """A law of sd 1e-4 is smeared on few cells, with a warning; on more it is followed."""
    x = np.linspace(-1.5, 1.5, 6)
    law = mf.gaussian([0.5, -0.3], 1e-4)
    problem = mf.two_layer(x, np.sin(2 * x), penalty=mf.ridge(0.5), initial=law)
    axis, t = mf.uniform(-4, 4, cells), 0.5
    truth = pr.run(problem, pr.Cloud(*law.nodes(6)), pr.GradientFlow(rtol=1e-9), times=[t])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UnresolvedMass)
        run = mf.solve(problem, mf.Grid(a=axis, w=axis), mf.semi_lagrangian(window=True), [t])
    spread = [deviation(*mf.as_measure(each.isel(time=-1))) for each in (run, truth)]
    fewest = run.attrs["fewest_cells_across"]
    if cells == 64:
        assert (spread[0] / spread[1]).max() > 1.2
        assert fewest < 2
        assert [w.category for w in said] == [UnresolvedMass]
    else:
        assert_allclose(spread[0], spread[1], rtol=5e-3)
        assert fewest > 2
        assert not said


def deviation(points, weights):
    """Standard deviations of a measure along the coordinates."""
    mean = weights @ points
    return np.sqrt(weights @ (points - mean) ** 2)


def test_a_window_is_read_in_whatever_order_its_axes_are():
    problem = mf.two_layer(
        [-1.0, 0.5],
        [0.5, -0.3],
        initial=mf.gaussian([0.6, -0.4], [0.2, 0.1]),
        penalty=mf.ridge(1.0),
    )
    grid = mf.Grid(a=mf.uniform(-3, 3, 40), w=mf.uniform(-3, 3, 36))
    run = mf.solve(problem, grid, mf.semi_lagrangian(dt=0.1, window=True), [0.3]).isel(time=-1)
    turned = run.transpose("w", "a", ...)
    points, weights = mf.as_measure(run)
    (other, same) = mf.as_measure(turned)
    assert_allclose(same @ other, (weights @ points)[::-1], rtol=0, atol=1e-10)
    assert tuple(mf.in_window(turned).rho.dims) == ("w", "a")


def test_closed_walls_and_no_tolerance_for_escapes():
    """What windows leave out is no escape through walls that are closed."""
    problem = mf.two_layer(
        [-1.0, 0.5, 1.0], [0.5, -0.3, 0.2], penalty=mf.ridge(0.5), initial=mf.gaussian(0.0, 0.3)
    )
    axis = mf.uniform(-4, 4, 64, "closed")
    run = mf.solve(
        problem,
        mf.Grid(a=axis, w=axis),
        mf.semi_lagrangian(window=True),
        [1.0],
        escaped_tolerance=0.0,
    )
    assert 0 < float(run.escaped[-1]) < 1e-10
