"""Semi-Lagrangian steps with λ > 0: what one move keeps, what a run promises, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from exact.cases import ENTROPIC, RIDGE_DATA, closed
from exact.solutions import Normal, gaussian_flow

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.methods.sweeps import Sweeps

X = np.linspace(-2, 2, 8)
Y = np.sin(1.5 * X)
NOISE = 0.05


def square(half, cells, other=None):
    return mf.Grid(a=closed(-half, half, cells), w=closed(-half, half, other or cells))


def network(entropy=NOISE, mu=0.2, loss=mf.square, activation=mf.tanh):
    return mf.two_layer(
        X,
        np.sign(Y) if loss.labels else Y,
        activation,
        loss,
        penalty=mf.ridge(mu) if mu else None,
        entropy=entropy,
        initial=mf.gaussian((0.3, 0.6), 0.5),
    )


def ready(problem, grid, order=7):
    """Sweeps, and the initial density ready for a move of a."""
    flow = mf.WassersteinFlow(problem, grid, order)
    sweeps = Sweeps(flow, order)
    return sweeps, sweeps.start(flow.start, flow.field(flow.start))


def moments_of_a(density, axis):
    """Mean and variance of point values."""
    marginal = density.values.sum(axis=1)
    marginal /= marginal.sum()
    mean = marginal @ axis.centres
    return mean, marginal @ (axis.centres - mean) ** 2


@pytest.mark.parametrize("dt", [0.003, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("mu", [0.0, 0.1])
def test_the_move_of_a_gathers_the_noise_of_ornstein_and_uhlenbeck(dt, mu):
    """Neurons that predict nothing: mean e^{−μt}m, variance e^{−2μt}S + λ(1 − e^{−2μt})/μ."""
    blind = mf.Problem(
        ("a", "w"),
        lambda v: np.zeros((len(v), 1)),
        lambda v: np.zeros((len(v), 1, 1)),
        mf.square(np.zeros(1)),
        mf.ridge((mu, 1.0)),
        entropy=NOISE,
        initial=mf.gaussian((0.4, 0.0), 0.5),
        lifted=True,
    )
    sweeps, start = ready(blind, square(9, 240, 12))
    axis = sweeps.axes[0]
    mean, variance = moments_of_a(start, axis)
    moved_mean, moved_variance = moments_of_a(sweeps.move(start, 0, dt), axis)
    decay = np.exp(-mu * dt)
    gathered = NOISE * (2 * dt if mu == 0 else (1 - decay**2) / mu)
    accuracy = 3e-11 if mu == 0 else 1e-8  # a contraction is of the remap's order
    assert moved_mean == pytest.approx(decay * mean, abs=accuracy)
    assert moved_variance == pytest.approx(decay**2 * variance + gathered, abs=accuracy)


@pytest.mark.parametrize("dt", [0.05, 0.7, 10.0])
def test_noise_of_a_moves_neither_the_prediction_nor_the_mass_at_any_weight(dt):
    seen = []
    for entropy in (0.0, NOISE):
        sweeps, start = ready(network(entropy), square(9, 120, 40))
        seen.append(sweeps.observed(sweeps.move(start, 0, dt)))
    (still_masses, still), (masses, prediction) = seen
    np.testing.assert_allclose(prediction, still, rtol=0, atol=1e-12)
    np.testing.assert_allclose(masses[:2], still_masses[:2], rtol=0, atol=1e-13)
    assert (masses[2] - still_masses[2]).sum() > 0.5 * min(NOISE * dt, 0.1)


# ------------------------------------------------------------------------------ mass and sign
def cosines():
    return mf.Problem(
        ("a", "t"),
        lambda v: np.cos(v - X),
        lambda v: -np.sin(v - X)[:, :, None],
        mf.square(3 * Y),
        mf.ridge((0.1, 0.0)),
        entropy=0.2,
        lifted=True,
        domain={"t": mf.circle(2 * np.pi)},
        initial=mf.product(a=mf.gaussian(0, 0.5), t=mf.uniform_box(0, 2 * np.pi)),
    )


WORLDS = {
    "tanh": (network(), square(3, 20)),
    "relu in a box": (network(0.3, mu=0.0, activation=mf.relu), square(3, 21)),
    "w alone": (
        mf.two_layer(X, Y, output_weight=False, penalty=mf.ridge(0.1), entropy=NOISE),
        mf.Grid(w=mf.uniform(-6, 6, 40)),
    ),
    "circle": (
        cosines(),
        mf.Grid(a=mf.uniform(-3, 3, 20), t=mf.periodic(0, 2 * np.pi, 20)),
    ),
    "a, w, b": (
        mf.two_layer(X, 3 * Y, bias=True, penalty=mf.ridge(0.3), entropy=NOISE),
        mf.Grid(**{c: mf.uniform(-5.5, 5.5, 12) for c in "awb"}),
    ),
}


def rough(shape):
    rng = np.random.default_rng(3)
    return rng.random(shape) ** 6 * (rng.random(shape) < 0.3)


def one_cell(shape):
    rho = np.zeros(shape)
    rho[tuple(n // 3 for n in shape)] = 1.0
    return rho


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("start", [rough, one_cell])
@pytest.mark.parametrize("dt", [1e-3, 0.05, 4.0])
def test_rough_data_keep_sign_and_mass_at_any_step(name, start, dt):
    problem, grid = WORLDS[name]
    flow = mf.WassersteinFlow(problem, grid, 7)
    stepper = mf.semi_lagrangian(7, dt=dt).begin(flow)
    rho = start(grid.shape)
    rho /= flow.mass(rho)
    for _ in range(3 if len(grid.shape) > 2 else 15):
        step = stepper.step(rho, flow.field(rho), dt)
        rho = step.rho
        assert rho.min() >= 0
        assert all(pair == (0.0, 0.0) for pair in step.escaped.values())
    assert abs(flow.mass(rho) - 1) < 1e-13


def test_a_thousand_steps_from_one_cell():
    flow = mf.WassersteinFlow(network(), square(3, 15), 7)
    stepper, rho = mf.semi_lagrangian(7, dt=0.02).begin(flow), one_cell((15, 15))
    rho, still = rho / flow.mass(rho), flow.field(flow.start)
    for _ in range(1000):
        rho = stepper.step(rho, still, 0.02).rho
    assert rho.min() >= 0
    assert abs(flow.mass(rho) - 1) < 1e-12


# -------------------------------------------------------------------------------------- energy
def test_entropy_of_heat_grows_as_it_must():
    """On the circle, with nothing else: F = λ∫ρ log ρ against the exact density's."""
    case = ENTROPIC["heat on a circle"]
    run = case.run(mf.semi_lagrangian(9, dt=0.1), 64, instants=5)
    w = (np.arange(4000) + 0.5) * 2 * np.pi / 4000
    for t, energy in zip(run.time.values, run.energy.values, strict=True):
        rho = case.density(t)(w[:, None])
        assert energy == pytest.approx(NOISE * np.mean(rho * np.log(rho)) * 2 * np.pi, abs=1e-8)
    assert np.all(np.diff(run.energy) < 0)
    assert run.attrs["limited_diffusions"] == 0


def test_free_energy_of_a_gaussian_flow():
    case, data = ENTROPIC["X1 entropy"], replace(RIDGE_DATA, entropy=NOISE)
    start = Normal(np.array([0.2, 0.3]), np.array([[0.4, 0.1], [0.1, 0.4]]))
    run = case.run(mf.semi_lagrangian(9, dt=case.horizon / 16), 96, instants=3)
    laws = gaussian_flow(data, start, run.time.values)
    np.testing.assert_allclose(run.energy, [data.energy(law) for law in laws], rtol=0, atol=3e-7)
    assert np.all(np.diff(run.energy) < 0)


@pytest.mark.parametrize("loss", [mf.square, mf.logistic], ids=str)
def test_free_energy_falls_to_rest(loss):
    run = mf.solve(network(loss=loss), square(4.5, 32), mf.semi_lagrangian(), [0, 1, 3, 9, 27])
    assert np.all(np.diff(run.energy) < 0)
    assert run.dissipation[-1] < 1e-2 * run.dissipation[0]


# ---------------------------------------------------------------------------- the step's control
@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5])
def test_the_tolerance_is_the_error_of_the_density(tolerance):
    grid = square(4.8, 96)
    halves = [
        mf.solve(network(), grid, mf.semi_lagrangian(9, dt=dt), [1.0]) for dt in (1 / 32, 1 / 64)
    ]
    fine = (4 * halves[1].rho - halves[0].rho) / 3
    run = mf.solve(network(), grid, mf.semi_lagrangian(9, tolerance=tolerance), [1.0])
    error = float(np.abs(run.rho - fine).sum() * (9.6 / 96) ** 2)
    assert 0.05 * tolerance < error < tolerance
    assert run.attrs["limited_tolerance"] == 0


def test_the_state_at_rest_is_gibbs_up_to_dt_squared():
    """L1 distance to exp(−V/λ)/Z of its own potential, falling fourfold with half the step."""
    problem = mf.two_layer(
        X, Y, penalty=mf.ridge(0.5), entropy=0.2, initial=mf.gaussian((0.3, 0.6), 0.6)
    )
    flow, distances = mf.WassersteinFlow(problem, square(5, 48), 9), []
    for dt in (0.4, 0.2):
        rho = mf.solve(problem, flow.grid, mf.semi_lagrangian(9, dt=dt), [40.0]).rho.values[-1]
        V = flow.field(rho).potential
        gibbs = np.exp((V.min() - V) / 0.2)
        difference = flow.point_values(rho) - gibbs / flow.mass(gibbs)
        distances.append(float(np.vdot(np.abs(difference), flow.volumes)))
    assert distances[1] < 1e-3
    assert np.log2(distances[0] / distances[1]) == pytest.approx(2, abs=0.15)


def test_mass_at_a_wall_costs_an_order_in_time():
    """exp(−V/λ)/Z cut off at both walls: the state at rest nears it with dt, and no faster."""
    problem = mf.Problem(
        ("w",),
        lambda w: np.zeros((len(w), 1)),
        lambda w: np.zeros((len(w), 1, 1)),
        mf.square(np.zeros(1)),
        mf.ridge([0.5]),
        entropy=0.2,
        initial=mf.uniform_box(-1, 1),
        domain={"w": mf.interval(-1, 1)},
    )
    grid = mf.Grid(w=mf.uniform(-1, 1, 160))
    gibbs = np.exp(-0.5 * grid.axes["w"].centres ** 2 / (2 * 0.2))
    gibbs /= gibbs.mean() * 2
    errors = [
        float(np.abs(run.rho.values[-1] - gibbs).mean() * 2)
        for run in (
            mf.solve(problem, grid, mf.semi_lagrangian(dt=dt), [10.0]) for dt in (0.2, 0.1, 0.05)
        )
    ]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, atol=0.15)
    assert errors[-1] < 3e-3


# -------------------------------------------------------------------------------- refusals
def test_sub_steps_backwards_are_refused():
    with pytest.raises(InvalidInput, match="diffusion cannot"):
        mf.solve(network(), square(4, 16), mf.semi_lagrangian(dt=0.1, composed=True), [0.0])


STEEP = {
    "bring to rest at a = 0": mf.two_layer(
        X, Y, penalty=mf.total_variation(0.1) + mf.ridge(0.1), entropy=NOISE
    ),
    "no slope": mf.two_layer(X, Y, mf.heaviside, penalty=mf.ridge(0.1), entropy=NOISE),
    "closed forms of ridge": mf.two_layer(
        X, Y, penalty=mf.path_norm(0.1) + mf.ridge(0.1), entropy=NOISE
    ),
}


@pytest.mark.parametrize("says", STEEP)
def test_what_it_cannot_step_is_refused_and_a_method_that_can_is_named(says):
    with pytest.raises(InvalidInput) as refusal:
        mf.solve(STEEP[says], square(8, 16), mf.semi_lagrangian(), [0.0])
    words = " ".join(str(refusal.value).split())
    assert says in words
    assert "scharfetter_gummel" in words
    assert "muscl" not in words
