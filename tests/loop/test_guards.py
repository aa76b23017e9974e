"""Every guard, set off by one planted error; and what is kept when it goes off."""

import warnings

import numpy as np
import pytest
from loop.planted import (
    Altered,
    Leaking,
    Overstepping,
    Reckless,
    Unlimited,
    Uphill,
    X,
    Y,
    failing,
    method,
    plain,
    square,
)

import mfpde as mf
from mfpde.errors import (
    EnergyMismatch,
    EnergyRise,
    InvalidInput,
    MassEscaped,
    MassMismatch,
    NegativeDensity,
    NonFinite,
    NumericalStop,
    UnconfinedMass,
)

TIMES = np.linspace(0, 1, 11)


def stopped(kind, problem, steps=None, grid=None, **parts):
    """The error that stops this run, its kept part looked through."""
    with pytest.raises(kind) as stop:
        mf.solve(problem, grid or square(), steps or mf.upwind(), TIMES, **parts)
    error = stop.value
    assert isinstance(error, NumericalStop)
    assert error.exit_code == 3
    last = error.last
    for name in ("rho", "prediction", "risk", "energy", "dissipation", "mass", "escaped"):
        assert np.isfinite(last[name]).all(), name
    assert last.rho.min() >= 0
    assert (np.diff(last.time) > 0).all()
    assert last.time[-1] < 1
    text = str(error)
    assert f"t = {float(last.time[-1]):.6g}" in text
    assert all(word in text for word in ("because", "fix", "kept"))
    return error


@pytest.mark.parametrize("part", ["slope", "value"])
@pytest.mark.parametrize("steps", [mf.upwind(), mf.muscl()], ids=str)
@pytest.mark.parametrize("after", [1, 2, 7, 8])
def test_a_number_that_is_none(part, steps, after):
    """The last good state is one whose potential is finite too: its dissipation is a number."""
    error = stopped(NonFinite, failing(part, after), steps)
    assert "step" in str(error)


def test_features_that_are_no_numbers_at_the_start():
    problem = mf.Problem(
        ("w",),
        lambda q: np.where(q > 1, np.nan, q),
        None,
        mf.square([1.0]),
        initial=mf.gaussian(0, 0.4),
    )
    with pytest.raises(InvalidInput) as refusal:
        mf.solve(problem, mf.Grid(w=mf.uniform(-3, 3, 16)))
    assert "not a number" in str(refusal.value)


def test_a_slope_that_is_no_number_at_the_start():
    with pytest.raises(InvalidInput):
        mf.solve(failing("slope", 0), square())


def test_a_density_below_zero():
    error = stopped(NegativeDensity, plain(), method(Reckless))
    assert "(a, w) = (" in str(error)
    assert "reckless()" in str(error)


def test_an_energy_that_rises():
    error = stopped(EnergyRise, plain(), method(Uphill))
    assert "uphill()" in str(error)
    assert len(error.last.time) == 1  # it never left the start


@pytest.mark.parametrize("promise", ["order", "none"])
def test_an_energy_about_which_nothing_was_promised(promise):
    run = mf.solve(plain(), square(9), method(Uphill, promise), times=[0, 0.05])
    assert run.energy[1] > run.energy[0]


def test_an_energy_that_does_not_fall_by_what_was_dissipated():
    """upwind's falls by order dt more or less: a promise of exactness is broken at once."""
    error = stopped(EnergyMismatch, plain(), method(Altered, "exact"))
    assert "dissipated" in str(error)


def test_mass_that_disappears():
    error = stopped(MassMismatch, plain(), method(Leaking))
    assert "-1.00e-09" in str(error)


@pytest.mark.parametrize("altered", [Overstepping, Unlimited])
def test_a_refused_step_is_repeated_shorter(altered):
    """Also where the method allows any step: half of what was tried, not half of the limit."""
    run = mf.solve(plain(), square(8), method(altered), times=[0, 1.0])
    assert run.attrs["steps_repeated"] > 0
    assert run.rho.min() >= 0
    assert run.energy[1] < run.energy[0]
    calm = mf.solve(plain(), square(8), mf.upwind(), times=[0, 1.0])
    assert calm.attrs["steps_repeated"] == 0
    np.testing.assert_allclose(run.prediction, calm.prediction, atol=0.05)


# Mass that leaves ---------------------------------------------------------------------------------

LEAKS = {
    "linear, late": (plain(activation=mf.identity), 5.0, 8.0),
    "linear": (plain(activation=mf.identity), 4.6, 4.0),
    "relu, late": (plain(activation=mf.relu), 6.0, 8.0),
    "relu, early": (plain(activation=mf.relu), 4.2, 4.0),
    "tanh, early": (mf.two_layer(X, 3 * Y, initial=mf.gaussian(0, 0.5)), 2.6, 3.0),
}


@pytest.mark.parametrize("name", LEAKS)
def test_the_box_named_after_an_escape_holds_the_mass(name):
    """Repeated in the box that the error names, the run goes through to the end."""
    problem, half_width, horizon = LEAKS[name]
    with pytest.raises(MassEscaped) as stop:
        mf.solve(problem, square(half_width, 32), times=[0, horizon])
    error = stop.value
    assert error.last.time[-1] < horizon
    assert error.last.escaped[-1] <= 1e-6
    for c, (low, high) in error.box.items():
        assert low <= -half_width
        assert high >= half_width
        assert f"{c}=({low:.4g}, {high:.4g})" in str(error)
    wider = mf.Grid(**{c: mf.uniform(*ends, 40) for c, ends in error.box.items()})
    assert wider.volumes.sum() < 16 * (2 * half_width) ** 2
    run = mf.solve(problem, wider, times=[0, horizon])
    assert run.escaped[-1] <= 1e-6


def test_it_is_the_leaking_side_that_is_moved():
    """All neurons drift upwards: V = −3w."""
    drift = mf.kernel_problem(
        ("w",), lambda p, q: 0 * p @ q.T, lambda p: 3 * p[:, 0], initial=mf.gaussian(0, 0.3)
    )
    grid = mf.Grid(w=mf.uniform(-2, 4, 40))
    with pytest.raises(MassEscaped) as stop:
        mf.solve(drift, grid, times=[0, 5.0])
    low, high = stop.value.box["w"]
    assert high > 3 * 5.0  # where the mass arrives
    assert -2 - low < 0.1 * (high - 4)  # the other side moves by the pilot's cells and margin
    run = mf.solve(drift, grid, times=[0, 5.0], escaped_tolerance=1.0)
    assert run.escaped[-1] > 0.99
    assert abs(run.mass + run.escaped - 1).max() < 1e-12
    through = run.escaped_through[-1].values
    assert through[0] == 0
    assert through[1] == pytest.approx(float(run.escaped[-1]), rel=1e-12)


# Walls --------------------------------------------------------------------------------------------


def towards_the_wall(domain):
    return mf.Problem(
        ("w",),
        lambda q: q,
        None,
        mf.square([3.0]),
        initial=mf.gaussian(0, 0.3),
        domain=domain,
    )


def test_mass_at_a_closed_wall_of_a_line_is_told_once():
    grid = mf.Grid(w=mf.uniform(-2, 2, 32, walls="closed"))
    with pytest.warns(UnconfinedMass) as told:
        run = mf.solve(towards_the_wall(None), grid, times=np.linspace(0, 3, 7))
    assert len(told) == 1
    assert told[0].filename == __file__  # the user's line, not one of ours
    assert run.attrs["largest_wall_mass"] > 0.5


@pytest.mark.parametrize(
    ("domain", "walls", "tolerance"), [({"w": mf.interval(-2, 2)}, None, 0.0), (None, None, 1.0)]
)
def test_walls_of_intervals_and_open_walls_are_not_told_of(domain, walls, tolerance):
    grid = mf.Grid(w=mf.uniform(-2, 2, 32, walls=walls))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = mf.solve(towards_the_wall(domain), grid, times=[0, 3], escaped_tolerance=tolerance)
    assert run.attrs["largest_wall_mass"] == 0
