"""Runs that blow up at a chosen step: stopped in that step, and all that is on disk is good.

By default the first three of each table; MFPDE_FAULTS=0 runs all.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from faults.disk import everything, leftovers
from loop.planted import failing, plain, square
from numpy.testing import assert_allclose

import mfpde as mf
import particle_ref as pr
from mfpde.errors import (
    EnergyMismatch,
    EnergyRise,
    MassEscaped,
    MassMismatch,
    NegativeDensity,
    NonFinite,
    NumericalStop,
    StepRefused,
)
from mfpde.loop import checkpoint
from mfpde.loop.guards import (
    State,
    broken_promise,
    mass_escaped,
    mass_mismatch,
    unsound,
    wall_mass,
)
from mfpde.methods.step import Method, Step

FAULTY = 7  # the step that blows up
TIMES = np.linspace(0, 4, 5)
GRID = square(cells=12)
UPWIND = mf.upwind()
FREE = replace(UPWIND, promise="none")  # no guard of the energy comes before that of the mass
LOOSE = replace(UPWIND, promise="order")
EXACT = mf.upwind(exact="averaged")


class Late:
    """A method whose step FAULTY is damaged, however short it is asked for."""

    def __init__(self, right, flow, damage):
        self.right, self.damage = right.begin(flow), damage
        self.rho, self.count = None, 0

    def longest(self, rho, field):
        self.count += rho is not self.rho  # a step that is tried again starts from the same array
        self.rho = rho
        return self.right.longest(rho, field)

    def step(self, rho, field, dt):
        step = self.right.step(rho, field, dt)
        return step if self.count < FAULTY else self.damage(step)


class LateLength(Late):
    """A method whose step FAULTY may have another length."""

    def longest(self, rho, field):
        right = super().longest(rho, field)
        return right if self.count < FAULTY else self.damage(right)

    def step(self, rho, field, dt):
        return self.right.step(rho, field, dt)


class LateMotion(Late):
    """A method whose step FAULTY goes elsewhere."""

    def step(self, rho, field, dt):
        if self.count < FAULTY:
            return self.right.step(rho, field, dt)
        return self.damage(self.right, rho, field, dt)


@dataclass(frozen=True)
class Blowup:
    """What a step is damaged by, and the stop that it must meet."""

    damage: Callable
    stop: type[NumericalStop]
    right: Method = UPWIND
    kind: type[Late] = Late
    place: str = ""  # that the stop names

    @property
    def method(self) -> Method:
        """It calls itself as the right one does, and so is the same run for a store."""
        return replace(self.right, begin=lambda flow: self.kind(self.right, flow, self.damage))


def cell(value: float, index: tuple[int, int] = (0, 0)) -> Callable[[Step], Step]:
    """Another number in one cell."""

    def damaged(step):
        rho = step.rho.copy()
        rho[index] = value
        return replace(step, rho=rho)

    return damaged


def overdrawn(step):
    """More mass than there is goes from one cell to its neighbour."""
    rho = step.rho.copy()
    rho[5, 5], rho[5, 6] = -0.01, rho[5, 6] + rho[5, 5] + 0.01
    return replace(step, rho=rho)


def scaled(factor: float) -> Callable[[Step], Step]:
    return lambda step: replace(step, rho=step.rho * factor)


def said(**account) -> Callable[[Step], Step]:
    """Another account of the same step."""
    return lambda step: replace(step, **account)


def leaked(mass: float) -> dict[str, tuple[float, float]]:
    return {"a": (0.0, 0.0), "w": (mass, 0.0)}


def too_far(right, rho, field, dt):
    return right.step(rho, field, 100 * right.longest(rho, field))


def uphill(right, rho, field, dt):
    return right.step(rho, replace(field, exerted=lambda: -field.potential), dt)


def steep(right, rho, field, dt):
    """The velocity overflows."""
    return right.step(rho, replace(field, exerted=lambda: field.potential * 1e300 * 1e10), dt)


METHODS = {
    "NaN in a cell": Blowup(cell(np.nan), NonFinite),
    "100 times the step limit": Blowup(too_far, NegativeDensity, kind=LateMotion),
    "a billionth of the mass is lost": Blowup(scaled(1 - 1e-9), MassMismatch, FREE),
    "NaN in the last cell": Blowup(cell(np.nan, (-1, -1)), NonFinite, place="(5.5, 5.5)"),
    "inf in a cell": Blowup(cell(np.inf), NonFinite),
    "-inf in a cell": Blowup(cell(-np.inf), NonFinite),
    "NaN everywhere": Blowup(scaled(np.nan), NonFinite),
    "overflow": Blowup(lambda step: scaled(1e300)(scaled(1e300)(step)), NonFinite),
    "a velocity that overflows": Blowup(steep, NonFinite, kind=LateMotion),
    "negative by less than round-off": Blowup(cell(-1e-300), NegativeDensity),
    "negative with the right mass": Blowup(overdrawn, NegativeDensity),
    "uphill": Blowup(uphill, EnergyRise, kind=LateMotion),
    "twice the mass": Blowup(scaled(2.0), MassMismatch, FREE),
    "NaN through a wall": Blowup(said(escaped=leaked(np.nan)), MassMismatch),
    "NaN carried away": Blowup(said(carried=np.nan), NonFinite, LOOSE),
    "NaN dissipated": Blowup(said(dissipated=np.nan), NonFinite, EXACT),
    "dissipated what it did not": Blowup(said(dissipated=1.0), EnergyMismatch, EXACT),
    "a step that is never made": Blowup(said(error=np.inf), StepRefused),
    "an error that is NaN": Blowup(said(error=np.nan), StepRefused),
    "steps of length NaN": Blowup(lambda dt: np.nan, NumericalStop, kind=LateLength),
    "steps of length 0": Blowup(lambda dt: 0.0, NumericalStop, kind=LateLength),
}


def few(names) -> list[str]:
    """The first three, or all."""
    return list(names) if os.environ.get("MFPDE_FAULTS") == "0" else list(names)[:3]


def solved(folder: Path | None, method: Method, problem: mf.Problem | None = None) -> xr.Dataset:
    return mf.solve(
        problem or plain(), GRID, method, TIMES, to=folder, escaped_tolerance=1e-3, progress=False
    )


def assert_good(folder: Path) -> None:
    """Everything stored is finite, no density negative, and the checkpoint that of the end."""
    run = mf.load(folder)
    for name, values in run.variables.items():
        assert values.dtype.kind != "f" or np.isfinite(values.values).all(), name
    count, state = checkpoint.newest(folder, run.sizes["time"])
    assert count == run.sizes["time"]
    numbers = [v for v in state.values() if isinstance(v, np.ndarray | float)]
    assert all(np.isfinite(v).all() for v in numbers)
    if "rho" in run:
        assert run.rho.min() >= 0
        np.testing.assert_array_equal(state["rho"], run.rho[-1])
    assert leftovers(folder) == []
    assert "DONE" not in everything(folder)


@pytest.mark.parametrize("name", few(METHODS))
def test_a_blowup_is_stopped_in_its_step(tmp_path, name):
    """And the right method goes on from there to the run that nothing happened to."""
    case, folder = METHODS[name], tmp_path / "run"
    with pytest.raises(NumericalStop) as stop:
        solved(folder, case.method)
    assert type(stop.value) is case.stop
    assert step_of(stop.value) in (None, FAULTY)
    assert case.place in str(stop.value)
    assert_good(folder)
    truth = solved(None, case.right)
    passed = mf.load(folder).sizes["time"]
    assert 2 <= passed < len(TIMES)
    xr.testing.assert_identical(solved(folder, case.right), truth)


def step_of(stop: NumericalStop) -> int | None:
    """The step that a stop names, if it does; StepRefused names the one before."""
    words = str(stop).replace(",", " ").split()
    if "step" not in words[:-1]:
        return None
    named = words[words.index("step") + 1].rstrip(":")
    return int(named) + isinstance(stop, StepRefused) if named.isdigit() else None


GROWING = mf.Penalty(lambda u: -(u[:, 0] ** 4) / 4, lambda u: u * [-1.0, 0.0] * u**2)
"""da/dt = a³: infinite after the time 1/(2a²)."""

PROBLEMS = {
    "NaN slope": (lambda: failing("slope", 8), UPWIND, NonFinite),
    "NaN value": (lambda: failing("value", 20), mf.scharfetter_gummel(), NumericalStop),
    "growing velocity": (lambda: plain(penalty=GROWING), UPWIND, MassEscaped),
    "NaN slope, two stages": (lambda: failing("slope", 21), mf.muscl(), NonFinite),
    "NaN slope, three stages": (lambda: failing("slope", 31), mf.weno5(), NonFinite),
    "NaN slope, characteristics": (
        lambda: failing("slope", 22),
        mf.semi_lagrangian(dt=0.2),
        NumericalStop,
    ),
}


@pytest.mark.parametrize("name", few(PROBLEMS))
def test_a_problem_that_blows_up(tmp_path, name):
    problem, method, kind = PROBLEMS[name]
    with pytest.raises(kind):
        solved(tmp_path / "run", method, problem())
    assert_good(tmp_path / "run")


PARTICLES = {  # a stored run asks some 70 slopes to know its problem again
    "growing velocity": (lambda: plain(penalty=GROWING), pr.GradientFlow()),
    "NaN slope": (lambda: failing("slope", 100), pr.GradientFlow()),
    "steps over the limit": (lambda: plain(penalty=GROWING), pr.Descent(0.5)),
    "NaN slope of descent": (lambda: failing("slope", 90), pr.Descent(0.1)),
    "NaN slope of characteristics": (lambda: failing("slope", 100), pr.Characteristics()),
}


@pytest.mark.parametrize("name", few(PARTICLES))
def test_particles_that_blow_up(tmp_path, name):
    problem, method = PARTICLES[name]
    cloud = pr.Cloud([[0.6, 0.3], [-0.5, 1.0], [0.4, -0.8]])
    with pytest.raises(pr.NumericalStop) as stop:
        pr.run(problem(), cloud, method, TIMES, to=mf.store(tmp_path / "run"))
    assert stop.value.last.sizes["time"] < len(TIMES)
    assert_good(tmp_path / "run")


# The guards themselves, a hair below and above what they allow ------------------------------------
FLOW = mf.WassersteinFlow(plain(), GRID)
NOWHERE = {"a": (0.0, 0.0), "w": (0.0, 0.0)}


def state(flow=FLOW, rho=None, energy=None, **parts):
    """The start of a flow with other parts."""
    rho = flow.start if rho is None else rho
    field = flow.field(flow.start)
    field = replace(field, energy=field.energy if energy is None else energy)
    rest = {"t": 0.5, "step": 3, "escaped": NOWHERE, "carried": 0.0} | parts
    return State(flow=flow, rho=rho, field=field, **rest)


def assert_stops(error, kind):
    """It is of that kind and says so first."""
    assert type(error) is kind
    assert error.what.startswith(f"{kind.__name__}: ")
    assert error.why
    assert error.fix
    assert "step 3" in error.what


def test_a_density_may_be_zero_but_no_less():
    rho = FLOW.start.copy()
    rho[4, 7] = 0.0
    assert unsound(state(rho=rho), UPWIND, 0.1) is None
    for below in (-1e-300, -0.5, -2.0):
        rho[4, 7] = below
        error = unsound(state(rho=rho), UPWIND, 0.1)
        assert_stops(error, NegativeDensity)
        a, w = (GRID.axes[c].centres for c in "aw")
        assert f"(a, w) = ({a[4]:.4g}, {w[7]:.4g})" in error.what


@pytest.mark.parametrize(
    "accounts", [{"carried": np.nan}, {"dissipated": np.inf}, {"energy": np.nan}], ids=str
)
def test_accounts_are_numbers(accounts):
    assert_stops(unsound(state(**accounts), UPWIND, 0.1), NonFinite)


@pytest.mark.parametrize(("scale", "energy", "carried"), [(9.0, 2, 1), (3, -8.0, 1), (3, 2, -7.0)])
def test_a_monotone_energy_rises_by_round_off_at_most(scale, energy, carried):
    """1e-12 of the largest of the three; what left counts with the energy it took along."""
    slack = 1e-12 * max(scale, abs(energy), abs(carried))
    before = state(energy=energy, carried=carried)
    for rise in (-1.0, 0.9 * slack):
        after = state(energy=energy - 0.25, carried=carried + 0.25 + rise)
        assert broken_promise(before, after, scale, UPWIND, 0.1) is None
    for rise in (1.2 * slack, 1.0):
        after = state(energy=energy - 0.25, carried=carried + 0.25 + rise)
        assert_stops(broken_promise(before, after, scale, UPWIND, 0.1), EnergyRise)
        for free in (FREE, LOOSE):
            assert broken_promise(before, after, scale, free, 0.1) is None


@pytest.mark.parametrize("aside", [-1.0, 1.0])
def test_an_exact_energy_falls_by_what_was_dissipated(aside):
    """From 2 + 1 to 1.5 + 1.25 while the account goes from 4 to 4.25; round-off is 1e-12 of 2."""
    before = state(energy=2.0, carried=1.0, dissipated=4.0)
    for defect in (0.0, 1.8e-12):
        after = state(energy=1.5 + aside * defect, carried=1.25, dissipated=4.25)
        assert broken_promise(before, after, 0.5, EXACT, 0.1) is None
    for defect in (2.4e-12, 1.0):
        after = state(energy=1.5 + aside * defect, carried=1.25, dissipated=4.25)
        assert_stops(broken_promise(before, after, 0.5, EXACT, 0.1), EnergyMismatch)
    after = state(energy=1.5, carried=1.25, dissipated=np.nan)
    assert_stops(broken_promise(before, after, 0.5, EXACT, 0.1), EnergyMismatch)


@pytest.mark.parametrize("sign", [-1, 1])
def test_mass_is_one_but_for_round_off(sign):
    """Half of it inside, half through three walls."""
    escaped = {"a": (0.2, 0.0), "w": (0.1, 0.2)}
    right, wrong, lost = (
        mass_mismatch(state(rho=FLOW.start * (0.5 + sign * error), escaped=escaped))
        for error in (0.9e-10, 1.1e-10, 0.1)
    )
    assert right is None
    assert_stops(wrong, MassMismatch)
    assert_stops(lost, MassMismatch)


def test_mass_may_leave_up_to_the_tolerance_and_then_the_box_grows_where_it_left():
    """By 0.3 of the axis, on every side with a tenth of the largest leak."""
    gone = state(escaped={"a": (0.0, 0.5), "w": (0.0625, 0.03)})
    assert gone.lost == 0.5925
    assert mass_escaped(gone, GRID, 0.5925) is None
    error = mass_escaped(gone, GRID, 0.592)
    assert_stops(error, MassEscaped)
    assert_allclose(error.box["a"], (-6.0, 6.0 + 0.3 * 12))
    assert_allclose(error.box["w"], (-6.0 - 0.3 * 12, 6.0))


@pytest.mark.parametrize(
    ("entropy", "named", "counted"),
    [(0.0, "closed", True), (0.1, "closed", False), (0.1, None, True), (0.0, None, False)],
)
def test_mass_at_walls_that_hold_it(entropy, named, counted):
    """Entropy closes walls unasked: those count. Closed by name with entropy they are the domain;
    open ones hold nothing."""
    flow = mf.WassersteinFlow(
        plain(entropy=entropy, penalty=mf.ridge(0.1)), square(cells=6, walls=named)
    )
    rho = np.random.default_rng(0).random((6, 6))
    layers = [rho[0], rho[-1], rho[:, 0], rho[:, -1]]
    heaviest = max(layer.sum() for layer in layers) * 4.0  # cells of 2 by 2
    assert_allclose(
        wall_mass(state(flow, rho), flow.grid), heaviest if counted else 0.0, rtol=1e-14
    )
