"""What every method promises, in one to four dimensions and at every kind of wall.

A new method is a line in METHODS, a new kind of grid one in worlds.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from contracts.promises import (
    step_balances_energy,
    step_keeps_mass_and_sign,
    taken,
    upwind_changes_energy_as_stated,
)
from contracts.worlds import FINE_WORLDS, SAMPLES, WORLDS, rough, waves, world
from numpy.testing import assert_allclose

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.methods.flux import FluxDivergence

METHODS = {
    method.call: method
    for method in (
        mf.upwind(),
        mf.upwind(cfl=1.0),
        mf.muscl(),
        mf.muscl(limiter="vanleer"),
        mf.muscl(limiter="minmod", cfl=0.5),
        mf.upwind(cfl=1.0, exact="averaged"),
        mf.scharfetter_gummel(implicit=False),
        mf.scharfetter_gummel(implicit=False, exact="averaged"),
        mf.muscl(exact="averaged"),
        mf.muscl(limiter="vanleer", exact="relaxed"),
        mf.weno5(),
        mf.weno5(exact="averaged"),
        mf.weno5(cfl=1.0, exact="relaxed"),
    )
}
MAPS = {method.call: method for method in (mf.pushforward(0.02), mf.pushforward(0.1))}
ALL = METHODS | MAPS  # maps in discrete time have no longest step, and the energy may rise
QUARTIC = mf.Loss(
    value=lambda f, y: (f - y) ** 4 / 4 + (f - y) ** 2,
    slope=lambda f, y: (f - y) ** 3 + 2 * (f - y),
    curvature=lambda f, y: 3 * (f - y) ** 2 + 2,
)
LOSSES = {"square": mf.square, "logistic": mf.logistic, "huber": mf.huber(0.5), "user": QUARTIC}
ALL_WORLDS = WORLDS | FINE_WORLDS


def worlds_of(method):
    return FINE_WORLDS if method.name == "weno5" else WORLDS


def rounding(method):
    """What two ways of summing may differ by; exact methods solve an equation besides."""
    return 1e-14 if method.promise != "exact" else 1e-9


PAIRS = [(call, name) for call, method in METHODS.items() for name in worlds_of(method)]
MOVED = PAIRS + [(call, name) for call in MAPS for name in WORLDS]
EXACT = [(call, name) for call, name in PAIRS if METHODS[call].promise == "exact"]
every_method = pytest.mark.parametrize("call", METHODS)
every_method_and_map = pytest.mark.parametrize("call", ALL)
every_world = pytest.mark.parametrize("name", WORLDS)
every_method_and_world = pytest.mark.parametrize(("call", "name"), PAIRS)


@pytest.mark.parametrize(("call", "name"), MOVED)
def test_mass_and_sign_of_rough_densities(call, name):
    flow = world(ALL_WORLDS[name], penalty=mf.ridge(0.5), quadrature=ALL[call].quadrature)
    for seed in range(4):
        step_keeps_mass_and_sign(flow, ALL[call], rough(flow, seed, (0.1, 0.4, 0.7, 1)[seed]))


@pytest.mark.parametrize(("call", "name"), EXACT)
@pytest.mark.parametrize("loss", LOSSES)
def test_energy_balances(call, name, loss):
    """Where V is that of the middle of the step, for any loss in its mean-value form."""
    method, axes = METHODS[call], ALL_WORLDS[name]
    flow = world(axes, penalty=mf.ridge(0.5), loss=LOSSES[loss], quadrature=method.quadrature)
    for seed in range(2):
        step_balances_energy(flow, method, rough(flow, seed, (0.3, 1)[seed]))


@every_method_and_world
def test_all_mass_in_one_cell(call, name):
    method = METHODS[call]
    flow = world(ALL_WORLDS[name], quadrature=method.quadrature)
    rho = np.zeros(flow.grid.shape)
    rho.flat[rho.size // 3] = 1.0
    step_keeps_mass_and_sign(flow, method, rho / flow.mass(rho))


@every_method_and_map
def test_sign_where_neighbours_differ_by_many_orders(call):
    """Round-off must not make a face value negative, however steep the profile."""
    flow = world({"u": (mf.uniform(-1, 1, 200), mf.line())})
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rho = 10.0 ** rng.uniform(-300, 0, 200) * (rng.random(200) < 0.8)
        step_keeps_mass_and_sign(flow, ALL[call], rho / flow.mass(rho))


@every_method_and_world
@pytest.mark.parametrize("constant", [False, True])
def test_a_flat_potential_leaves_rho_untouched(call, name, constant):
    axes = ALL_WORLDS[name]
    features = np.ones if constant else np.zeros  # of the shape (points, samples)
    flow = world(axes, features=lambda points: features((len(points), SAMPLES)))
    rho = rough(flow, 1)
    stepper, field = METHODS[call].begin(flow), flow.field(rho)
    assert stepper.longest(rho, field) == np.inf
    step = stepper.step(rho, field, 3.0)
    assert np.array_equal(step.rho, rho)
    assert step.carried == 0


@every_method
def test_free_stream(call):
    """Linear activation: ∇·(velocity) = 0 on the grid too, and a uniform density stays uniform."""
    problem = mf.two_layer([1.0], [-5.0], mf.identity, initial=mf.uniform_box(-1, 1))
    cells, layers = ((16, 20), 4) if METHODS[call].name != "weno5" else ((48, 50), 20)
    axes = {c: mf.uniform(-1, 1, n) for c, n in zip("aw", cells, strict=True)}
    flow = mf.WassersteinFlow(problem, mf.Grid(**axes))
    rho = np.full(flow.grid.shape, 0.25)
    stepper, field = METHODS[call].begin(flow), flow.field(rho)
    assert np.ptp(field.potential) > 1
    step = taken(stepper, rho, field, stepper.longest(rho, field))
    inside = (slice(layers, -layers),) * 2  # as far as walls are felt
    assert_allclose(step.rho[inside], 0.25, rtol=1e-14)
    assert step.rho.min() < 0.24  # at walls through which nothing enters


@every_method
@pytest.mark.parametrize("activation", [mf.tanh, mf.identity, mf.erf], ids=str)
def test_opposite_neurons_stay_opposite(call, activation):
    """Odd σ and a law that is symmetric under (a, w) -> (−a, −w): so is every later density."""
    x, y = np.linspace(-1, 2, 7), np.linspace(0, 3, 7)
    problem = mf.two_layer(x, y, activation, initial=mf.gaussian(0.0, cov=[[1, 0.5], [0.5, 1]]))
    flow = mf.WassersteinFlow(problem, mf.Grid(a=mf.uniform(-7, 7, 30), w=mf.uniform(-7, 7, 33)))
    stepper, rho = METHODS[call].begin(flow), flow.start
    for _ in range(5):
        field = flow.field(rho)
        rho = taken(stepper, rho, field, stepper.longest(rho, field)).rho
    assert_allclose(rho, np.flip(rho), rtol=0, atol=rounding(METHODS[call]) * rho.max())
    assert abs(rho - flow.start).max() > 1e-3


@every_method
def test_the_order_of_the_samples_does_not_matter(call):
    rng = np.random.default_rng(0)
    x, y, p = rng.normal(size=(9, 2)), rng.normal(size=9), rng.dirichlet(np.ones(9))
    runs = []
    for order in (np.arange(9), rng.permutation(9)):
        problem = mf.two_layer(x[order], y[order], weights=p[order], initial=mf.gaussian(0, 0.8))
        grid = mf.Grid(**{c: mf.uniform(-4.5, 4.5, 10) for c in problem.coords})
        runs.append(mf.solve(problem, grid, METHODS[call], times=[0, 0.2], escaped_tolerance=1))
    one, other = (run.rho.values[-1] for run in runs)
    assert_allclose(one, other, rtol=0, atol=10 * rounding(METHODS[call]) * one.max())


@pytest.mark.parametrize(("call", "name"), [p for p in PAIRS if len(ALL_WORLDS[p[1]]) > 1])
def test_axes_may_be_exchanged(call, name):
    axes, slack = ALL_WORLDS[name], rounding(METHODS[call])
    flow, reverse = world(axes), dict(reversed(axes.items()))
    phi = waves(axes, 0)
    turned = world(reverse, features=lambda points: phi(points[:, ::-1]))
    rho = rough(flow, 2)
    stepper, field = METHODS[call].begin(flow), flow.field(rho)
    dt = stepper.longest(rho, field)
    twin, mirror = METHODS[call].begin(turned), turned.field(rho.T.copy())
    assert_allclose(twin.longest(rho.T.copy(), mirror), dt, rtol=1e-12)
    one, other = taken(stepper, rho, field, dt), taken(twin, rho.T.copy(), mirror, dt)
    assert_allclose(other.rho.T, one.rho, rtol=0, atol=slack * rho.max())
    for c in axes:
        assert_allclose(other.escaped[c], one.escaped[c], rtol=1e3 * slack, atol=1e-16)


@pytest.mark.parametrize("limiter", range(4))
@pytest.mark.parametrize("cells", [4, 12, 65])
def test_a_shift_round_the_circle_commutes_with_a_step_bitwise(limiter, cells):
    axes = {c: (mf.periodic(0, 1, cells), mf.circle(1.0)) for c in "uv"}
    flow = world(axes, features=lambda points: np.zeros((len(points), SAMPLES)))
    rng = np.random.default_rng(4)
    rho, V = rough(flow, 3), rng.normal(size=flow.grid.shape)
    flux, still = FluxDivergence(flow, limiter), flow.field(rho)

    def stepped(shift):
        moved = np.roll(V, shift, (0, 1))
        field = replace(still, exerted=lambda: moved)
        return flux.euler(np.roll(rho, shift, (0, 1)), field, 1e-4).rho

    here = stepped((0, 0))
    assert abs(here - rho).max() > 1e-4
    for shift in ((1, 0), (0, 3), (-2, cells - 1)):
        assert np.array_equal(stepped(shift), np.roll(here, shift, (0, 1)))


@every_method
def test_shifted_data_give_the_shifted_run_on_the_circle(call):
    """Φ_i(w) = cos(w − x_i): moving law and inputs by 5 cells moves the density by 5 cells."""
    grid, x = mf.Grid(w=mf.periodic(0, 2 * np.pi, 64)), np.array([0.2, 1.0, 3.0, 4.0])
    shift = 5 * 2 * np.pi / 64

    def density(by):
        problem = mf.Problem(
            ("w",),
            lambda q: np.cos(q - x - by),
            None,
            mf.square([3.0, -1.0, 2.0, 0.5]),
            initial=mf.gaussian(2.0 + by, 0.6),
            domain={"w": mf.circle(2 * np.pi)},
        )
        return mf.solve(problem, grid, METHODS[call], times=[0, 0.5]).rho.values[-1]

    here = density(0.0)
    slack = 10 * rounding(METHODS[call])
    assert_allclose(density(shift), np.roll(here, 5), rtol=0, atol=slack * here.max())


def full_features(flow):
    problem, points = flow.problem, flow.grid.points()
    if not problem.lifted:
        return problem.phi(points)
    return points[:, :1] * problem.phi(points[:, 1:])


@every_world
def test_upwind_changes_the_energy_as_stated(name):
    flow = world(WORLDS[name], penalty=mf.ridge(0.3))
    for seed in range(2):
        rho = rough(flow, seed)
        upwind_changes_energy_as_stated(flow, full_features(flow), mf.upwind(), rho)


@pytest.mark.parametrize(
    "activation",
    [mf.identity, mf.relu, mf.leaky_relu, mf.tanh, mf.cos, mf.quadratic, mf.heaviside],
    ids=str,
)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("loss", [mf.square, mf.logistic, mf.huber(0.5)], ids=str)
def test_the_longest_upwind_step_lowers_the_energy(activation, bias, loss):
    """promise = "monotone" at ``longest``, for convex losses and whatever the features."""
    rng = np.random.default_rng(1)
    y = rng.choice([-1.0, 1.0], 6) * (1 if loss.labels else 4)
    problem = mf.two_layer(
        rng.normal(size=6), y, activation, loss, bias=bias, initial=mf.gaussian(0, 0.5)
    )
    axes = {c: mf.uniform(-4, 4, 12, walls="closed") for c in problem.coords}
    flow = mf.WassersteinFlow(problem, mf.Grid(**axes))
    stepper = mf.upwind().begin(flow)
    for seed in range(6):
        assert_step_lowers_energy(flow, stepper, rough(flow, seed, (0.02, 0.1, 1)[seed % 3]))


def test_the_longest_upwind_step_sees_a_jump_between_centres():
    """A feature that jumps between two cell centres, with all mass on one side of the jump."""
    problem = mf.Problem(
        ("w",), lambda q: (q > 0.4) * 1.0, None, mf.square([0.1]), initial=mf.gaussian(0, 0.5)
    )
    flow = mf.WassersteinFlow(problem, mf.Grid(w=mf.uniform(-4, 4, 8, walls="closed")))
    rho = np.eye(8)[3]  # in [−1, 0]; the next centre is 0.5, the next face 0
    assert_step_lowers_energy(flow, mf.upwind().begin(flow), rho)


def assert_step_lowers_energy(flow, stepper, rho):
    field = flow.field(rho)
    dt = min(stepper.longest(rho, field), 100.0)
    after = flow.field(stepper.step(rho, field, dt).rho)
    assert after.energy - field.energy <= 1e-13 * max(1.0, abs(field.energy))


@pytest.mark.parametrize("method", [mf.muscl(), mf.muscl("vanleer"), mf.upwind()], ids=str)
def test_a_run_never_gains_energy(method):
    """Through the loop, where a refused step is repeated shorter: also for a step function."""
    for activation in (mf.tanh, mf.relu, mf.heaviside):
        problem = mf.two_layer(
            np.linspace(-1, 1, 5), [-2, -1, 0.5, 2, 3], activation, initial=mf.gaussian(0.2, 0.7)
        )
        grid = mf.Grid(a=mf.uniform(-8, 8, 24), w=mf.uniform(-8, 8, 25))
        run = mf.solve(problem, grid, method, np.linspace(0, 1, 30), escaped_tolerance=1e-4)
        assert (np.diff(run.energy + run.escaped_energy) <= 1e-11).all()
        assert run.energy[-1] < 0.9 * run.energy[0]
        assert run.rho.min() >= 0


@every_method_and_map
def test_the_record_says_what_it_is(call):
    method = ALL[call]
    assert method.order > 0
    assert method.promise in ("exact", "monotone", "order", "none")
    assert call.startswith(method.name + "(")
    assert all(f"{name}={value!r}" in call for name, value in method.parameters.items())
    assert call in repr(method)
    assert "dt" in method.limit


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: mf.upwind("a"), "upwind(cfl='a')"),
        (lambda: mf.muscl(cfl="a"), "muscl(cfl='a')"),
        (lambda: mf.muscl(limiter=["mc"]), "muscl(limiter=['mc'])"),
        (lambda: mf.muscl(limiter=None), "muscl(limiter=None)"),
        (lambda: mf.muscl(exact=True), "muscl(exact=True)"),
        (lambda: mf.upwind(exact="relaxed"), "one stage only"),
        (lambda: mf.weno5(cfl="a"), "weno5(cfl='a')"),
        (lambda: mf.weno5(exact=["relaxed"]), "weno5(exact=['relaxed'])"),
    ],
)
def test_parameters_of_another_kind_are_refused(wrong, said):
    with pytest.raises(InvalidInput) as refusal:
        wrong()
    assert said in str(refusal.value)
