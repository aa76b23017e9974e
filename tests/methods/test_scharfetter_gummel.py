"""Scharfetter–Gummel: Gibbs states, the identity of implicit steps, and the upwind limit."""

import itertools

import numpy as np
import pytest
from contracts.worlds import WORLDS, rough, waves
from numpy.testing import assert_allclose
from scipy import optimize
from scipy.special import rel_entr, xlogy

import mfpde as mf
from mfpde.errors import InvalidInput, StepRefused
from mfpde.grids import Grid
from mfpde.methods.exchange import Exchange, weight_below
from mfpde.methods.faces import faces_of

LAMBDA = 0.05
X = np.linspace(-2, 2, 16)
INSIDE = pytest.mark.parametrize("inside", ["lines", "direct"])
CONFINED = [name for name in WORLDS if "open" not in name and name != "all four"]


def tanh_problem(loss=mf.square, entropy=LAMBDA, mu=0.2):
    y = np.where(np.sin(3 * X) > 0, 1.0, -1.0) if loss.labels else np.sin(1.5 * X)
    start = mf.gaussian(mean=[0.3, 0.6], std=0.4)
    return mf.two_layer(X, y, loss=loss, penalty=mf.ridge(mu), entropy=entropy, initial=start)


def square_grid(cells, half=3.0):
    """With walls that are named: the box is the domain."""
    axis = mf.uniform(-half, half, cells, walls="closed")
    return mf.Grid(a=axis, w=axis)


def entropic_world(name, entropy=0.3, penalty=1.0):
    """A flow of waves on the world's axes; walls named closed where they are not periodic."""
    axes = WORLDS[name]
    grid = Grid(**{c: axis for c, (axis, _) in axes.items()})
    problem = mf.Problem(
        grid.coords,
        waves(axes, 0),
        None,
        mf.square([1.0, -2.0, 3.0, 1.5, -0.5]),
        penalty=mf.ridge(penalty),
        entropy=entropy,
        initial=mf.uniform_box(*np.array(list(grid.box.values())).T),
        domain={c: geometry for c, (_, geometry) in axes.items()},
    )
    return mf.WassersteinFlow(problem, grid)


# ---------------------------------------------------------------------------- one potential
def pairs_of_cells(flow):
    """(cell, neighbour, distance, area) of every inner face, as flat indices."""
    shape = flow.grid.shape
    number = np.arange(flow.grid.cells).reshape(shape)
    for k, (name, axis) in enumerate(flow.grid.axes.items()):
        N, x = axis.cells, axis.centres
        for cell in itertools.product(*map(range, shape)):
            j = cell[k]
            if j == N - 1 and flow.walls[name] != "periodic":
                continue
            other = (*cell[:k], (j + 1) % N, *cell[k + 1 :])
            distance = x[j + 1] - x[j] if j < N - 1 else x[0] + axis.high - axis.low - x[-1]
            area = flow.volumes[cell] / axis.widths[j]
            yield number[cell], number[other], distance, area


def flux(V_below, V_above, rho_below, rho_above, distance, entropy):
    """The flux of −ρV' − λρ' with V linear: solved with the integrating factor e^{V/λ}."""
    s = (V_above - V_below) / entropy
    if abs(s) < 1e-8:
        return entropy / distance * (rho_below - rho_above - s * (rho_below + rho_above) / 2)
    return (V_above - V_below) / distance * (rho_below - rho_above * np.exp(s)) / np.expm1(s)


@pytest.mark.parametrize("name", CONFINED)
def test_generator_against_its_definition(name):
    """Applied, and as a matrix, against a sum over faces."""
    flow = entropic_world(name)
    V = np.random.default_rng(2).normal(size=flow.grid.shape)
    rho = rough(flow, 4, 1.0)
    rates = Exchange(faces_of(flow), V, flow.entropy)
    expected = np.zeros(flow.grid.cells)
    v, r = V.ravel(), rho.ravel()
    for below, above, distance, area in pairs_of_cells(flow):
        F = area * flux(v[below], v[above], r[below], r[above], distance, flow.entropy)
        expected[below] -= F
        expected[above] += F
    masses = rho * flow.volumes
    atol = 1e-13 * np.abs(expected).max()
    assert_allclose(rates.applied(masses).ravel(), expected, rtol=1e-12, atol=atol)
    assert_allclose(rates.matrix() @ masses.ravel(), expected, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("entropy", [1e-3, 0.3, 50.0])
@pytest.mark.parametrize("name", CONFINED)
def test_gibbs_densities_rest(name, entropy):
    """|Q e^{−V/λ}| ≤ 1e-13 λ/h² of it."""
    flow = entropic_world(name, entropy)
    V = np.random.default_rng(5).normal(size=flow.grid.shape)
    gibbs = np.exp(-(V - V.min()) / entropy) * flow.volumes
    fastest = max(entropy / axis.widths.min() ** 2 for axis in flow.grid.axes.values())
    gain = Exchange(faces_of(flow), V, entropy).applied(gibbs)
    steep = max(1.0, np.ptp(V) / entropy)  # the rates where V is steep
    assert np.abs(gain).max() <= 1e-13 * fastest * steep * gibbs.max()


def test_weight_below_is_minus_the_slope_of_bernoulli():
    """By fourth-order differences, and from upwind to the mean."""

    def B(s):
        return np.where(s == 0, 1.0, s / np.expm1(np.where(s == 0, 1.0, s)))

    s, h = np.concatenate([-np.logspace(-6, 2, 50), [0.0], np.logspace(-6, 2, 50)]), 1e-3
    slope = (8 * (B(s + h) - B(s - h)) - B(s + 2 * h) + B(s - 2 * h)) / (12 * h)
    assert_allclose(weight_below(LAMBDA * s, LAMBDA), -slope, atol=3e-11)
    assert_allclose(weight_below(np.array([-1.0, 0.0, 2.0]), 0.0), [1.0, 0.5, 0.0])


# ---------------------------------------------------------------------------- implicit steps
def free_energy(flow, rho):
    """R + ∫reg + λ∫ρ log ρ from the problem's own functions."""
    masses = (rho * flow.volumes).ravel()
    points, problem = flow.grid.points(), flow.problem
    features = points[:, :1] * problem.phi(points[:, 1:])
    linear = masses @ problem.penalty.value(points)
    return problem.loss.risk(masses @ features) + linear + LAMBDA * xlogy(masses, rho.ravel()).sum()


@pytest.mark.parametrize("dt", [0.1, 1000.0])
@pytest.mark.parametrize("theta", [0.5, 0.7, 1.0])
def test_the_identity_of_implicit_steps(theta, dt):
    """F − F' = dt·D + λ KL(ρ|ρ') + (θ − ½) Σ p Δf², D by faces, all written out; F', ρ' > 0."""
    problem, grid = tanh_problem(), square_grid(14)
    method = mf.scharfetter_gummel(dt=dt, theta=theta, inside="direct")
    flow = mf.WassersteinFlow(problem, grid)
    rho = flow.start
    stepper, field = method.begin(flow), flow.field(rho)
    step = stepper.step(rho, field, dt)
    after = flow.field(step.rho)
    f, g = field.prediction, after.prediction
    V = flow.potential(problem.weights * ((1 - theta) * (f - problem.y) + theta * (g - problem.y)))
    v, r = V.ravel(), step.rho.ravel()
    change, D = np.zeros(grid.cells), 0.0
    for below, above, distance, area in pairs_of_cells(flow):
        F = area * flux(v[below], v[above], r[below], r[above], distance, LAMBDA)
        change[below] -= F
        change[above] += F
        D += F * (v[below] - v[above] + LAMBDA * np.log(r[below] / r[above]))
    before, masses = (rho * flow.volumes).ravel(), (step.rho * flow.volumes).ravel()
    assert_allclose(masses - before, dt * change, atol=1e-12)  # the step is what it says
    KL = rel_entr(before, masses).sum()
    spent = dt * D + LAMBDA * KL + (theta - 0.5) * problem.weights @ (g - f) ** 2
    fall = free_energy(flow, rho) - free_energy(flow, step.rho)
    assert D > 0
    assert step.rho.min() > 0
    assert_allclose(fall, spent, rtol=0, atol=1e-12)
    assert_allclose(step.dissipated, spent, rtol=0, atol=1e-12)
    assert_allclose(field.energy - after.energy, fall, rtol=0, atol=1e-13)


@INSIDE
@pytest.mark.parametrize("loss", [mf.square, mf.logistic, mf.huber(0.1)], ids=str)
def test_any_step_is_positive_and_lowers_the_free_energy(loss, inside):
    """dt = 1000, whatever the loss; the loop holds every step to the identity."""
    method = mf.scharfetter_gummel(dt=1000.0, inside=inside)
    run = mf.solve(tanh_problem(loss), square_grid(24), method, np.arange(9) * 1000.0)
    assert run.attrs["steps"] == 8
    assert run.attrs["steps_repeated"] == 0
    assert (np.diff(run.energy)[:3] < 0).all()
    assert (np.diff(run.energy) <= 1e-14).all()
    assert run.rho.values.min() >= 0
    assert_allclose(run.energy + run.dissipated, run.energy[0], rtol=0, atol=1e-12)
    assert_allclose(run.mass, 1, rtol=0, atol=1e-11)


@INSIDE
@pytest.mark.parametrize("name", CONFINED)
def test_rough_densities_at_any_step(name, inside):
    flow = entropic_world(name, entropy=0.02)
    if inside == "direct" and len(flow.grid.axes) > 3:
        pytest.skip("direct goes up to three axes")
    for seed, dt in enumerate((1e-3, 1.0, 1e4)):
        rho = rough(flow, seed, 0.2)
        field = flow.field(rho)
        step = mf.scharfetter_gummel(dt=dt, inside=inside).begin(flow).step(rho, field, dt)
        after = flow.field(step.rho)
        assert step.rho.min() >= 0
        assert abs(flow.mass(step.rho) - 1) < 1e-12
        assert step.dissipated > 0
        scale = max(1.0, step.dissipated, abs(field.energy))
        assert abs(field.energy - after.energy - step.dissipated) < 1e-12 * scale


def test_the_identity_of_explicit_steps():
    """F − F' = dt·D − λ KL(ρ'|ρ), D by faces, V that of the mean residual; the loop holds it."""
    problem, grid = tanh_problem(), square_grid(14)
    flow, dt = mf.WassersteinFlow(problem, grid), 0.02
    rho = flow.start
    field = flow.field(rho)
    method = mf.scharfetter_gummel(implicit=False, exact="averaged")
    step = method.begin(flow).step(rho, field, dt)
    after = flow.field(step.rho)
    mean = 0.5 * (field.prediction + after.prediction) - problem.y
    v, r = flow.potential(problem.weights * mean).ravel(), rho.ravel()
    D = 0.0
    for below, above, distance, area in pairs_of_cells(flow):
        F = area * flux(v[below], v[above], r[below], r[above], distance, LAMBDA)
        D += F * (v[below] - v[above] + LAMBDA * np.log(r[below] / r[above]))
    KL = rel_entr((step.rho * flow.volumes).ravel(), (rho * flow.volumes).ravel()).sum()
    assert_allclose(field.energy - after.energy, dt * D - LAMBDA * KL, rtol=0, atol=1e-13)
    assert_allclose(step.dissipated, field.energy - after.energy, rtol=0, atol=1e-13)


@INSIDE
def test_far_cells_may_underflow(inside):
    """e^{−V/λ} down to e^{−16000}: nothing there, and the ledger holds."""
    method = mf.scharfetter_gummel(tolerance=0.05, inside=inside)
    run = mf.solve(tanh_problem(entropy=0.01), square_grid(32, half=40.0), method, [0, 1.0, 1e4])
    assert float(run.rho.min()) == 0.0
    assert np.isfinite(run.dissipated).all()
    assert_allclose(run.energy + run.dissipated, run.energy[0], rtol=0, atol=1e-12)


@INSIDE
@pytest.mark.parametrize("dt", [1e4, 1e8, 1e12])
def test_endless_steps_keep_mass_and_identity(inside, dt):
    method = mf.scharfetter_gummel(dt=dt, inside=inside)
    run = mf.solve(tanh_problem(), square_grid(24), method, [0, dt, 3 * dt])
    assert run.attrs["steps"] == 3
    assert_allclose(run.mass, 1, rtol=0, atol=1e-14)
    assert_allclose(run.energy + run.dissipated, run.energy[0], rtol=0, atol=1e-12)


def test_predictions_that_cancel_are_solved_for():
    """y = 0, f = 0: the response is round-off, before and after."""
    problem = mf.two_layer(
        X, 0 * X, mf.quadratic, penalty=mf.ridge(0.3), entropy=0.1, initial=mf.gaussian(0, 0.5)
    )
    run = mf.solve(problem, square_grid(24, half=4.0), mf.scharfetter_gummel(dt=1.0), [0, 4.0])
    assert (run.attrs["steps"], run.attrs["steps_repeated"]) == (4, 0)


def test_kernels_whose_potential_vanishes_at_the_start():
    problem = mf.kernel_problem(
        ("t",),
        K=lambda u, v: np.cos(2 * np.pi * (u - v.T)),
        F=lambda u: 2 * np.cos(2 * np.pi * u[:, 0] - 0.4),
        entropy=0.01,
        initial=mf.uniform_box(0.0, 1.0),
        domain={"t": mf.circle(1.0)},
    )
    grid = mf.Grid(t=mf.periodic(0, 1, 64))
    run = mf.solve(problem, grid, mf.scharfetter_gummel(dt=1e4), [0, 2e4])
    assert (run.attrs["steps"], run.attrs["steps_repeated"]) == (2, 0)
    assert (np.diff(run.energy) < 0).all()


def test_a_loss_without_curvature():
    """Newton takes differences of its slope."""
    cosh = mf.Loss(lambda f, y: np.cosh(f - y) - 1, lambda f, y: np.sinh(f - y), smoothness=5.0)
    method = mf.scharfetter_gummel(dt=1e4)
    run = mf.solve(tanh_problem(cosh), square_grid(24), method, np.arange(4) * 1e4)
    assert (run.attrs["steps"], run.attrs["steps_repeated"]) == (3, 0)


# ---------------------------------------------------------------------------- equilibria
def gibbs_state(flow):
    """ρ* ∝ exp(−V_{ρ*}/λ): the maximum of the dual, by a root finder on the n slopes."""
    problem = flow.problem

    def density(z):
        V = flow.potential(z)
        rho = np.exp(-(V - V.min()) / flow.entropy)
        return rho / flow.mass(rho)

    def defect(z):
        return z - flow.field(density(z)).response

    found = optimize.root(defect, np.zeros(len(problem.y)), method="hybr", tol=1e-15)
    rho = density(found.x)
    for _ in range(3):  # plain iterations would not converge; these polish by Newton
        J = (
            np.array([defect(found.x + 1e-6 * e) - defect(found.x - 1e-6 * e) for e in EYE]).T
            / 2e-6
        )
        found.x = found.x - np.linalg.solve(J, defect(found.x))
        rho = density(found.x)
    assert np.abs(defect(found.x)).max() < 1e-16
    return rho


EYE = np.eye(len(X))


@pytest.mark.parametrize(
    "method",
    [
        mf.scharfetter_gummel(dt=0.5),
        mf.scharfetter_gummel(dt=50.0),
        mf.scharfetter_gummel(dt=50.0, inside="direct"),
        mf.scharfetter_gummel(implicit=False),
    ],
    ids=lambda method: method.call,
)
def test_the_nonlinear_gibbs_state_rests(method):
    """A thousand steps move it by less than 1e-12 of its mass (a hundred where steps cost more)."""
    flow = mf.WassersteinFlow(tanh_problem(), square_grid(24))
    start = rho = gibbs_state(flow)
    stepper = method.begin(flow)
    for _ in range(100 if "direct" in method.call else 1000):
        field = flow.field(rho)
        rho = stepper.step(rho, field, stepper.longest(rho, field)).rho
    assert np.sum(np.abs(rho - start) * flow.volumes) <= 1e-12


@INSIDE
def test_steps_grow_towards_the_equilibrium(inside):
    """And the run ends there: the steps to t = 10⁶ are few, and nothing moves at last."""
    problem, grid = tanh_problem(), square_grid(24)
    run = mf.solve(problem, grid, mf.scharfetter_gummel(inside=inside), [0, 1e4, 1e6])
    assert run.attrs["steps"] < 400
    rest = gibbs_state(mf.WassersteinFlow(problem, grid))
    assert np.sum(np.abs(run.rho.values[-1] - rest) * grid.volumes) < 1e-5
    assert float(run.dissipation[-1]) < 1e-12


def test_the_error_goes_with_the_square_root_of_the_tolerance():
    """Of one step it is the tolerance, and steps are of order 1."""
    problem, grid = tanh_problem(), square_grid(32)
    exact, coarser = (
        mf.solve(problem, grid, mf.scharfetter_gummel(dt=dt), [0, 1.0]).rho.values[-1]
        for dt in (1 / 256, 1 / 128)
    )
    truth, errors = 2 * exact - coarser, []
    for tolerance in (1.6e-3, 4e-4, 1e-4):
        run = mf.solve(problem, grid, mf.scharfetter_gummel(tolerance=tolerance), [0, 1.0])
        errors.append(np.sum(np.abs(run.rho.values[-1] - truth) * grid.volumes))
        assert tolerance < errors[-1] < run.attrs["steps"] * tolerance
    assert_allclose(errors[:-1] / np.array(errors[1:]), 2.0, atol=0.4)


@pytest.mark.parametrize("rate", [10.0, 1000.0])
def test_steps_do_not_depend_on_the_unit_of_time(rate):
    """V, λ → cV, cλ and t → t/c leave the run the same."""

    def run(c):
        law = mf.gaussian(mean=2.0, std=0.5)
        problem = mf.Problem(
            ("u",), np.zeros_like, None, mf.square([1.0]), mf.ridge(c), 0.5 * c, law
        )
        return mf.solve(problem, mf.Grid(u=mf.uniform(-6, 6, 64)), times=[0, 1 / c])

    plain, scaled = run(1.0), run(rate)
    assert scaled.attrs["steps"] == plain.attrs["steps"]
    assert_allclose(scaled.rho[-1], plain.rho[-1], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("law", [mf.uniform_box(-1, 1), mf.point([0.3, 0.3])], ids=str)
def test_rough_starts_cost_few_steps(law):
    """However fine the cells: what diffuses faster than a step is damped, not followed."""
    problem = mf.two_layer(X, np.sin(X), penalty=mf.ridge(0.5), entropy=0.1, initial=law)
    steps = [
        mf.solve(problem, square_grid(n, half=4.0), times=[0, 1.0]).attrs["steps"] for n in (32, 64)
    ]
    assert steps[1] < 2 * steps[0] < 400


# ---------------------------------------------------------------------------- λ → 0, and refusals
def test_upwind_is_the_limit():
    """|SG − upwind| ≤ Cλ in one step, and equal at λ = 0, for every kind of wall."""
    for name in WORLDS:
        axes = WORLDS[name]
        grid = Grid(**{c: axis for c, (axis, _) in axes.items()})
        domain = {c: geometry for c, (_, geometry) in axes.items()}
        problem = mf.Problem(
            grid.coords, waves(axes, 0), None, mf.square(np.ones(5)), domain=domain,
            initial=mf.uniform_box(*np.array(list(grid.box.values())).T),
        )  # fmt: skip
        flow = mf.WassersteinFlow(problem, grid)
        rho = rough(flow, 1)
        field = flow.field(rho)
        upwind = mf.upwind().begin(flow)
        dt = upwind.longest(rho, field)
        ours = mf.scharfetter_gummel(implicit=False).begin(flow).step(rho, field, dt)
        theirs = upwind.step(rho, field, dt)
        assert_allclose(ours.rho, theirs.rho, rtol=0, atol=1e-13 * rho.max())
        assert_allclose(ours.carried, theirs.carried, rtol=0, atol=1e-13)
        for c in grid.coords:
            assert_allclose(ours.escaped[c], theirs.escaped[c], rtol=0, atol=1e-14)


def test_first_order_in_lambda():
    flow = entropic_world("closed³", penalty=0.0)
    V = flow.field(rough(flow, 0)).potential
    masses = rough(flow, 1) * flow.volumes
    upwind = Exchange(faces_of(flow), V, 0.0).applied(masses)
    gaps = [
        np.abs(Exchange(faces_of(flow), V, entropy).applied(masses) - upwind).max()
        for entropy in (1e-2, 1e-6, 1e-12)
    ]
    bound = 4 * 3 * 6**2 * masses.max()  # of λ: two flows through each of six faces, 1/h² = 9
    assert all(
        gap <= bound * entropy for gap, entropy in zip(gaps, (1e-2, 1e-6, 1e-12), strict=True)
    )
    assert gaps[2] < 1e-9


def test_implicit_steps_without_entropy_and_with_open_walls():
    """Mass that leaves is booked, and the energy it takes: the loop checks both identities."""
    problem = mf.two_layer(X, 3 * X, mf.tanh, initial=mf.uniform_box(-0.5, 1.0))
    grid = mf.Grid(a=mf.uniform(-1.2, 1.2, 24), w=mf.uniform(-1.2, 1.2, 24))
    run = mf.solve(
        problem, grid, mf.scharfetter_gummel(dt=0.25), np.linspace(0, 2, 5), escaped_tolerance=1.0
    )
    assert float(run.escaped[-1]) > 0.05
    assert_allclose(run.mass + run.escaped, 1, rtol=0, atol=1e-13)
    balance = run.energy + run.dissipated + run.escaped_energy
    assert_allclose(balance, balance[0], rtol=0, atol=1e-13)


def test_a_step_that_is_not_found_stops_the_run():
    """A slope that is no number a little way from the start: the last good state is kept."""
    f0 = float(mf.solve(tanh_problem(), square_grid(16), times=[0]).prediction[0, 0])

    def hole(f):
        return np.where((abs(f[0] - f0) > 1e-3) & (abs(f[0]) > 1e-9), np.nan, 1.0)

    broken = mf.Loss(
        lambda f, y: hole(f) * (f - y) ** 2 / 2, lambda f, y: hole(f) * (f - y), lambda f, y: f**0
    )
    with pytest.raises(mf.NumericalStop) as stop:
        mf.solve(tanh_problem(broken), square_grid(16), mf.scharfetter_gummel(), [0, 1.0])
    assert isinstance(stop.value, StepRefused)
    assert 0 < float(stop.value.last.time[-1]) < 1
    assert np.isfinite(stop.value.last.rho).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dt": 0.0}, "a step is positive"),
        ({"dt": 1.0, "tolerance": 0.1}, "the tolerance chooses the step"),
        ({"tolerance": 2.0}, "L1 error"),
        ({"theta": 0.4}, "energy may rise"),
        ({"inside": "out"}, "lines"),
        ({"implicit": False, "theta": 1.0}, "implicit steps"),
        ({"implicit": False, "exact": "relaxed"}, "has one"),
        ({"exact": "averaged"}, "implicit ones is exact"),
    ],
)
def test_refusals(arguments, says):
    with pytest.raises(InvalidInput, match=says):
        mf.scharfetter_gummel(**arguments)


def test_direct_refuses_four_axes():
    axes = {c: mf.uniform(-1, 1, 4, walls="closed") for c in "uvwz"}
    problem = mf.Problem(
        tuple(axes), lambda q: q[:, :1], None, mf.square([1.0]), initial=mf.uniform_box(-1, 1)
    )
    with pytest.raises(InvalidInput, match="3 axes"):
        mf.scharfetter_gummel(dt=1.0, inside="direct").begin(
            mf.WassersteinFlow(problem, mf.Grid(**axes))
        )
