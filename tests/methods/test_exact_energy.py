"""Steps that lower the energy by exactly what they dissipate: averaged and relaxed."""

import numpy as np
import pytest
from contracts.promises import taken
from contracts.worlds import FINE_WORLDS, WORLDS, rough, waves, world
from exact.cases import CASES
from methods import naive
from numpy.testing import assert_allclose
from orders.observed import observed_orders
from scipy.optimize import brentq

import mfpde as mf
from mfpde.kernels.limiters import MC
from mfpde.methods.averaged import averaged
from mfpde.methods.donors import DonorFluxes
from mfpde.methods.exchange import Exchange
from mfpde.methods.faces import faces_of
from mfpde.methods.flux import FluxDivergence
from mfpde.methods.relaxation import relaxed
from mfpde.methods.stages import HEUN, SSPRK3, concluded, stages, weights
from mfpde.methods.step import Step

EXACT = [
    mf.upwind(exact="averaged"),
    mf.muscl(exact="averaged"),
    mf.muscl(exact="relaxed"),
    mf.weno5(exact="averaged"),
    mf.weno5(exact="relaxed"),
]
every_exact = pytest.mark.parametrize("method", EXACT, ids=[m.call for m in EXACT])
every_world = pytest.mark.parametrize("name", WORLDS)


# ------------------------------------------------------------------------------------- averaged
@every_world
def test_upwind_dissipates_the_sum_over_faces(name):
    """dt Σ |face| (ΔV)² ρ̂/d with V of the middle, written face by face; square loss."""
    flow = world(WORLDS[name], penalty=mf.ridge(0.3))
    for seed in range(3):
        rho = rough(flow, seed)
        stepper, field = mf.upwind(exact="averaged").begin(flow), flow.field(rho)
        dt = 0.3 * stepper.longest(rho, field)
        step = stepper.step(rho, field, dt)
        assert stepper.limited == {"donors": 0}
        middle = 0.5 * (naive.potential(flow, rho) + naive.potential(flow, step.rho))
        expected = dt * naive.dissipation(flow, rho, middle)
        assert_allclose(step.dissipated, expected, rtol=1e-10, atol=1e-13 * field.energy)
        after, _ = naive.euler(flow, rho, middle, dt, "none")
        assert_allclose(step.rho, after, rtol=0, atol=1e-8 * rho.max())


@pytest.mark.parametrize("method", [m for m in EXACT if "averaged" in m.call], ids=str)
@pytest.mark.parametrize("loss", [mf.square, mf.logistic, mf.huber(0.2)], ids=str)
def test_averaged_energy_never_rises_far_beyond_the_step_limit(method, loss):
    """The identity holds at any dt for which the fixed point is found, and flux limits keep ρ."""
    name = "fine, circle × closed"
    flow = world(FINE_WORLDS[name], penalty=mf.ridge(0.3), loss=loss, quadrature=method.quadrature)
    rho = rough(flow, 1)
    stepper, field = method.begin(flow), flow.field(rho)
    for _ in range(5):
        step = taken(stepper, rho, field, 3 * stepper.longest(rho, field))
        after = flow.field(step.rho)
        change = after.energy - field.energy
        assert abs(change + step.dissipated) <= 1e-13 * max(1.0, abs(field.energy))
        assert step.rho.min() >= 0
        if method.quadrature == 2:
            assert step.dissipated >= -1e-14
        rho, field = step.rho, after


def test_a_kernel_and_features_lifted_balance():
    kernel = mf.kernel_problem(
        ("u",),
        lambda p, q: np.exp(-((p[:, None] - q) ** 2).sum(-1) / 2),
        lambda p: np.cos(3 * p[:, 0]),
        const=2.0,
        penalty=mf.ridge([0.1]),
        initial=mf.gaussian(0.3, 0.5),
    )
    x = np.linspace(-2, 2, 9)
    network = mf.two_layer(x, np.sign(x + 0.1), mf.tanh, mf.logistic, initial=mf.gaussian(0.2, 0.5))
    line = mf.uniform(-3.5, 3.5, 32)
    for problem, grid in ((kernel, mf.Grid(u=line)), (network, mf.Grid(a=line, w=line))):
        for method in EXACT:
            run = mf.solve(problem, grid, method, [0.0, 0.1, 0.4])
            fall = run.energy[0] - run.energy - run.escaped_energy
            assert_allclose(run.dissipated, fall, rtol=0, atol=1e-13 * run.attrs["steps"])
            assert fall[-1] > 1e-3


def test_diffusing_steps_book_the_entropy():
    """Explicit Scharfetter–Gummel down the averaged V: the balance of R + λ∫ρ log ρ."""
    problem = mf.two_layer(
        [0.5, -1.0],
        [0.7, 0.2],
        penalty=mf.ridge(0.4),
        initial=mf.gaussian(0.2, 0.6),
        entropy=0.05,
    )
    line = mf.uniform(-4, 4, 96)
    flow = mf.WassersteinFlow(problem, mf.Grid(a=line, w=line))
    rho, dt, faces = flow.start, 1e-3, faces_of(flow)
    field = flow.field(rho)

    def made(V):
        gain = Exchange(faces, V, flow.entropy).applied(rho * flow.volumes)
        return Step(rho + dt * gain / flow.volumes, dict.fromkeys(("a", "w"), (0.0, 0.0)), 0.0)

    step = averaged(flow, rho, field, made)
    change = flow.field(step.rho).energy - field.energy
    assert abs(change + step.dissipated) <= 1e-14
    assert step.dissipated == pytest.approx(dt * flow.dissipation(rho, field), rel=0.02)


def test_no_fixed_point_is_refused():
    """A map that runs away, and one that is no number."""
    flow = world(WORLDS["circle"])
    rho = rough(flow, 0)
    field = flow.field(rho)
    escaped = {"u": (0.0, 0.0)}

    def uphill(V):
        return Step(rho + 30 * (V - V.mean()), escaped, 0.0)

    def nowhere(V):
        return Step(rho + np.nan * V, escaped, 0.0)

    with np.errstate(all="ignore"):
        assert averaged(flow, rho, field, uphill).error == np.inf
        assert averaged(flow, rho, field, nowhere).error == np.inf


# -------------------------------------------------------------------------------------- relaxed
def test_relaxed_heun_is_the_closed_form():
    """γ = 4⟨a, b⟩/|a + b|² with the stages' rates of the prediction, at the h where γh = dt."""
    axes = WORLDS["circle × open"]
    flow, phi = world(axes), waves(axes, 0)
    features, p = phi(flow.grid.points()), flow.problem.weights
    rho, dt = rough(flow, 1, filled=1.0), 5e-3

    def heun(h):
        first, _ = naive.euler(flow, rho, naive.potential(flow, rho), h, "mc")
        second, _ = naive.euler(flow, first, naive.potential(flow, first), h, "mc")
        rates = [((z * flow.volumes).ravel() @ features) / h for z in (first - rho, second - first)]
        return 0.5 * (rho + second), *rates

    def excess(h):
        _, a, b = heun(h)
        return 4 * (p * a) @ b / ((p * (a + b)) @ (a + b)) * h - dt

    h = brentq(excess, dt, 1.2 * dt, xtol=1e-14)
    assert 1e-4 < h / dt - 1 < 0.2
    step = mf.muscl(exact="relaxed").begin(flow).step(rho, flow.field(rho), dt)
    expected = rho + dt / h * (heun(h)[0] - rho)
    assert_allclose(step.rho, expected, rtol=0, atol=1e-9 * rho.max())
    plain = mf.muscl().begin(flow).step(rho, flow.field(rho), dt)
    assert abs(plain.rho - expected).max() > 1e-5 * rho.max()


def test_a_frozen_potential_needs_no_relaxation():
    """Nothing is quadratic in ρ: γ = 1, the plain step; the limiters of the quadrature too."""
    case = CASES["X12 bowl"]
    flow = mf.WassersteinFlow(case.problem, case.grid(40), 5)
    stepper, field = mf.weno5(exact="relaxed").begin(flow), flow.field(flow.start)
    dt = stepper.longest(flow.start, field)
    step = stepper.step(flow.start, field, dt)
    plain = mf.weno5().begin(flow).step(flow.start, field, dt)
    assert np.array_equal(step.rho, plain.rho)


def test_relaxation_refuses_steps_that_it_cannot_make():
    """Far beyond the residual's own time Heun's stages overshoot, and no γ near 1 balances."""
    flow = world(WORLDS["circle"])
    rho = rough(flow, 0)
    field = flow.field(rho)
    euler = DonorFluxes(flow, MC).euler
    assert relaxed(flow, euler, rho, field, 30 / field.stiffness, HEUN).error == np.inf


def test_weights_are_those_of_the_tableaus():
    assert_allclose(weights(HEUN), [1 / 2, 1 / 2])
    assert_allclose(weights(SSPRK3), [1 / 6, 1 / 6, 2 / 3])


def test_stages_have_their_order_in_time():
    """dρ/dt = −ρ in one cell of mass: |ρ' − e^{−h}| falls with h³ and h⁴."""
    flow = world(WORLDS["circle"])
    rho = flow.start

    def decay(u, field, h):
        return Step((1 - h) * u, {"u": (0.0, 0.0)}, 0.0)

    for w, order in ((HEUN, 3), (SSPRK3, 4)):
        errors = []
        for h in (0.1, 0.05):
            ratio = concluded(stages(flow, decay, rho, flow.field(rho), h, w), w).rho / rho
            errors.append(abs(ratio - np.exp(-h)).max())
        assert_allclose(observed_orders(errors, (1, 2)), order, atol=0.1)


# ------------------------------------------------------------------------------------------ runs
@every_exact
def test_runs_into_equilibrium_are_not_refused(method):
    """Velocities end at round-off, nothing is left to balance, and steps go on at full length.

    Relaxation alone repeats steps, where the prediction turns.
    """
    problem = mf.two_layer(
        [0.6, -1.0], [0.5, 0.3], mf.tanh, penalty=mf.ridge(0.5), initial=mf.gaussian(0.2, 0.5)
    )
    line = mf.uniform(-3, 3, 16)
    run = mf.solve(problem, mf.Grid(a=line, w=line), method, [0.0, 1.0, 12.0])
    assert (np.diff(run.energy) < 0).all()
    few = 0.15 if "relaxed" in method.call else 0.0
    assert run.attrs["steps_repeated"] <= few * run.attrs["steps"]
    assert "dissipated" in run


@every_exact
def test_tails_that_underflow_keep_their_sign(method):
    """Where rounding is no longer relative, cells give nothing."""
    flow = world(FINE_WORLDS["fine, open"], quadrature=method.quadrature)
    rho = np.where(np.arange(40) % 3 > 0, 5e-324 * (1 + np.arange(40) % 7), 0.0)
    rho[20] = 1.0
    stepper, rho = method.begin(flow), rho / flow.mass(rho)
    for _ in range(30):
        field = flow.field(rho)
        rho = taken(stepper, rho, field, stepper.longest(rho, field)).rho
        assert rho.min() >= 0


def test_fluxes_that_nothing_limits_are_those_of_the_plain_step():
    flow = world(WORLDS["circle × half line × open"])
    rho = rough(flow, 4)
    field, donors = flow.field(rho), DonorFluxes(flow, MC)
    one = donors.euler(rho, field, 1e-3)
    other = FluxDivergence(flow, MC).euler(rho, field, 1e-3)
    assert donors.limited["donors"] == 0
    assert_allclose(one.rho, other.rho, rtol=0, atol=1e-15 * rho.max())
    assert one.carried == pytest.approx(other.carried, rel=1e-13)
    for c in flow.grid.coords:
        assert_allclose(one.escaped[c], other.escaped[c], rtol=1e-13)


def test_donors_give_at_most_what_they_hold():
    """Ten times too long a step: cells that would fall below zero are emptied, no more."""
    flow = world(WORLDS["circle × open"])
    rho = rough(flow, 4)
    field, donors = flow.field(rho), DonorFluxes(flow, MC)
    dt = 10 / FluxDivergence(flow, MC).emptying(field)
    assert naive.euler(flow, rho, field.potential, dt, "mc")[0].min() < 0
    step = donors.euler(rho, field, dt)
    assert step.rho.min() >= 0
    assert donors.limited["donors"] > 0
    escaped = sum(map(sum, step.escaped.values()))
    assert flow.mass(step.rho) + escaped == pytest.approx(1, abs=1e-14)
