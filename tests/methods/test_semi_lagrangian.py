"""Semi-Lagrangian steps: what one move keeps, what a run promises, what is refused."""

import numpy as np
import pytest
from scipy.linalg import expm

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.methods import sweeps
from mfpde.methods.splitting import merged, strang
from mfpde.methods.sweeps import Sweeps

X = np.linspace(-2, 2, 8)
Y = np.sin(1.5 * X)


def square(half, cells, other=None):
    return mf.Grid(a=mf.uniform(-half, half, cells), w=mf.uniform(-half, half, other or cells))


def moved_output(problem, grid, dt):
    """(masses m0(w), prediction before, after, features) of one move of a."""
    flow = mf.WassersteinFlow(problem, grid, 7)
    sweeps = Sweeps(flow, 7)
    start = sweeps.start(flow.start, flow.field(flow.start))
    masses, before = sweeps.observed(start)
    after = sweeps.observed(sweeps.move(start, 0, dt))[1]
    psi = problem.phi(grid.axes["w"].centres[:, None])
    return masses[0], before, after, psi


@pytest.mark.parametrize(
    ("dt", "mu", "accuracy"),
    [(0.7, 0.0, 1e-13), (10.0, 0.0, 1e-13), (0.7, 0.5, 1e-10)],
    ids=["shift", "long shift", "contraction"],
)
def test_the_move_of_a_is_exact_in_time(dt, mu, accuracy):
    """r(dt) = e^{−(K + μ)dt}-flow of r' = −(K p + μ)r − μy with K_ij = Σ_w ψ_i ψ_j m0.

    A shift moves the first moment of any linear remap exactly; a contraction to the remap's order.
    """
    problem = mf.two_layer(
        X, Y, penalty=mf.ridge((mu, 0)) if mu else None, initial=mf.gaussian((0.3, 0.6), 0.5)
    )
    m0, before, after, psi = moved_output(problem, square(14, 280, 96), dt)
    K, n = psi.T @ (m0[:, None] * psi), len(X)
    block = np.zeros((n + 1, n + 1))
    block[:n, :n] = -K / n - mu * np.eye(n)
    block[:n, -1] = -mu * Y
    residual = (expm(dt * block) @ np.append(before - Y, 1.0))[:n]
    np.testing.assert_allclose(after - Y, residual, rtol=0, atol=accuracy)


def test_case_a_in_eight_steps():
    from exact.cases import CASES

    case = CASES["X1 case A"]
    run = case.run(mf.semi_lagrangian(7, dt=case.horizon / 8), 64)
    difference = run.rho.values[-1] - case.averages(case.grid(64), case.horizon)
    assert run.attrs["steps"] == 8
    assert np.sum(np.abs(difference) * case.grid(64).volumes) <= 1e-3


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5])
def test_the_tolerance_is_the_error_of_the_density(tolerance):
    problem = mf.two_layer(X, Y, initial=mf.gaussian((0.3, 0.6), 0.4))
    grid = square(4, 96)
    fine = mf.solve(problem, grid, mf.semi_lagrangian(9, dt=1 / 16, composed=True), times=[1.0])
    run = mf.solve(problem, grid, mf.semi_lagrangian(9, tolerance=tolerance), times=[1.0])
    error = float(np.abs(run.rho - fine.rho).sum() * (8 / 96) ** 2)
    assert 0.05 * tolerance < error < tolerance


def rough_density(shape, seed):
    rng = np.random.default_rng(seed)
    return rng.random(shape) ** 6 * (rng.random(shape) < 0.3)


LAW = mf.gaussian(0, 0.4)
WORLDS = {
    "a, w": (mf.two_layer(X, 3 * Y, initial=LAW), square(3, 20)),
    "relu": (mf.two_layer(X, 3 * Y, mf.relu, initial=LAW), square(3, 21)),
    "w alone": (
        mf.two_layer(X, Y, output_weight=False),
        mf.Grid(w=mf.uniform(-6, 6, 40)),
    ),
    "closed": (
        mf.two_layer(X, 3 * Y, penalty=mf.total_variation(0.2), initial=LAW),
        mf.Grid(a=mf.uniform(-3, 3, 21, "closed"), w=mf.uniform(-3, 3, 20, "closed")),
    ),
    "circle": (
        mf.Problem(
            ("a", "t"),
            lambda v: np.cos(v - X),
            lambda v: -np.sin(v - X)[:, :, None],
            mf.square(Y),
            lifted=True,
            domain={"t": mf.circle(2 * np.pi)},
            initial=mf.product(a=mf.gaussian(0, 0.5), t=mf.uniform_box(0, 2 * np.pi)),
        ),
        mf.Grid(a=mf.uniform(-3, 3, 20), t=mf.periodic(0, 2 * np.pi, 20)),
    ),
    "a, w, b": (
        mf.two_layer(X, 3 * Y, bias=True, initial=LAW),
        mf.Grid(**{c: mf.uniform(-5, 5, 12) for c in "awb"}),
    ),
    "four": (
        mf.two_layer(np.column_stack([X, X**2]), Y, mf.relu, bias=True, initial=LAW),
        mf.Grid(**{c: mf.uniform(-5, 5, 10) for c in ("a", "w1", "w2", "b")}),
    ),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("dt", [0.02, 4.0])
def test_rough_data_keep_sign_and_mass_at_any_courant_number(name, dt):
    problem, grid = WORLDS[name]
    flow = mf.WassersteinFlow(problem, grid, 7)
    stepper = mf.semi_lagrangian(7, dt=dt).begin(flow)
    rho = rough_density(grid.shape, 3)
    rho /= flow.mass(rho)
    lost, steps = 0.0, 3 if len(grid.shape) > 2 else 20
    for _ in range(steps):
        step = stepper.step(rho, flow.field(rho), dt)
        rho, lost = step.rho, lost + sum(map(sum, step.escaped.values()))
        assert rho.min() >= 0
        assert min(min(pair) for pair in step.escaped.values()) >= 0
    assert abs(flow.mass(rho) + lost - 1) < 1e-13


def dirac_like(shape):
    rho = np.zeros(shape)
    rho[tuple(n // 3 for n in shape)] = 1.0
    return rho


CONCENTRATING = mf.two_layer(X, 0 * X, penalty=mf.ridge(1.0), initial=mf.gaussian(0, 0.5))
LONG = {
    "collapse": (CONCENTRATING, None),
    "one cell": (mf.two_layer(X, Y, penalty=mf.ridge(0.2), initial=LAW), dirac_like),
    "relu": (mf.two_layer(X, 3 * Y, mf.relu, penalty=mf.ridge(0.1), initial=LAW), None),
}


@pytest.mark.parametrize("name", LONG)
def test_ten_thousand_steps_never_break(name):
    problem, start = LONG[name]
    grid = square(3, 15)
    flow = mf.WassersteinFlow(problem, grid, 7)
    stepper = mf.semi_lagrangian(7, dt=0.02).begin(flow)
    rho = flow.start if start is None else start(grid.shape)
    rho, lost = rho / flow.mass(rho), 0.0
    for _ in range(10_000):
        step = stepper.step(rho, flow.field(rho), 0.02)
        rho, lost = step.rho, lost + sum(map(sum, step.escaped.values()))
        if not rho.min() >= 0:
            break
    assert rho.min() >= 0
    assert abs(flow.mass(rho) + lost - 1) < 1e-13 * 100
    if name == "collapse":  # W1 to the Dirac at 0
        masses = (rho * grid.volumes).ravel()
        assert np.linalg.norm(grid.points(), axis=1) @ masses <= 1.2 * 6 / 15


def test_what_leaves_takes_its_energy_along():
    """All neurons drift upwards in V = −3w, and out through w = 2: −∫V dm there is 6 a mass."""
    problem = mf.Problem(
        ("w",),
        lambda v: v,
        lambda v: np.ones((len(v), 1, 1)),
        mf.Loss(lambda f, y: -3 * f, lambda f, y: -3 + 0 * f, smoothness=1.0)([0.0]),
        initial=mf.gaussian(0, 0.3),
    )
    grid = mf.Grid(w=mf.uniform(-2, 2, 80))
    method = mf.semi_lagrangian(7, dt=0.07)
    run = mf.solve(problem, grid, method, times=[0, 0.7, 1.4], escaped_tolerance=1)
    assert 0.3 < run.escaped[1] < 0.7
    assert run.escaped[2] > 0.999
    np.testing.assert_allclose(run.escaped_energy, -6 * run.escaped, rtol=0.02)
    assert run.attrs["limited_remaps"] > 0


def test_courant_fifteen():
    problem = mf.two_layer(X, Y, initial=mf.gaussian((0.3, 0.6), 0.4))
    run = mf.solve(problem, square(6, 256), mf.semi_lagrangian(7, dt=0.5), times=[0, 0.5, 1.0])
    speed = np.abs(
        np.gradient(
            mf.WassersteinFlow(problem, square(6, 256))
            .field(mf.WassersteinFlow(problem, square(6, 256)).start)
            .potential,
            12 / 256,
        )
    ).max()
    assert speed * 0.5 / (12 / 256) > 15
    assert run.rho.min() >= 0
    assert abs(run.mass + run.escaped - 1).max() < 1e-12


def test_as_measure_reproduces_the_prediction():
    problem = mf.two_layer(X, Y, initial=mf.gaussian((0.3, 0.6), 0.4))
    run = mf.solve(problem, square(4, 40), times=[0, 1.0])
    assert run.attrs["method"].startswith("semi_lagrangian")
    points, weights = mf.as_measure(run.isel(time=1))
    assert weights.min() > 0
    prediction = (weights * points[:, 0]) @ problem.phi(points[:, 1:])
    np.testing.assert_allclose(prediction, run.prediction[1], rtol=0, atol=1e-12)
    assert weights.sum() == pytest.approx(float(run.mass[1]), abs=1e-12)


def test_symmetry_of_odd_networks():
    problem = mf.two_layer(X, Y, initial=mf.gaussian(0, 0.6))
    run = mf.solve(problem, square(5, 40), mf.semi_lagrangian(dt=0.25), times=[1.0])
    np.testing.assert_allclose(run.rho[-1].values[::-1, ::-1], run.rho[-1], rtol=0, atol=1e-13)


REFUSED = {
    "order": lambda: mf.semi_lagrangian(6),
    "dt": lambda: mf.semi_lagrangian(dt=0.0),
    "tolerance": lambda: mf.semi_lagrangian(tolerance=2.0),
    "number between": lambda: mf.semi_lagrangian(tolerance="small"),
    "chooses the step": lambda: mf.semi_lagrangian(dt=0.1, tolerance=1e-3),
    "without dt": lambda: mf.semi_lagrangian(composed=True),
}


@pytest.mark.parametrize("says", REFUSED)
def test_arguments_without_meaning(says):
    with pytest.raises(InvalidInput, match=says):
        REFUSED[says]()


STEEP = {
    "no slope": mf.two_layer(X, Y, mf.heaviside),
    "path_norm": mf.two_layer(X, Y, penalty=mf.path_norm(0.1)),
    "kernel": mf.kernel_problem(("a", "w"), lambda p, q: p @ q.T, lambda p: p[:, 0]),
    "curvature or kinks": mf.two_layer(X, Y, mf.Activation(np.abs, np.sign)),
}


@pytest.mark.parametrize("says", STEEP)
def test_problems_it_cannot_step_are_refused_and_left_to_muscl(says):
    with pytest.raises(InvalidInput, match=says):
        mf.solve(STEEP[says], square(8, 16), mf.semi_lagrangian(), times=[0.0])
    assert mf.solve(STEEP[says], square(8, 16), times=[0.0]).attrs["method"].startswith("muscl")


def test_stretched_axes_are_left_to_muscl():
    grid = mf.Grid(a=mf.stretched(-8, 8, 40), w=mf.uniform(-8, 8, 40))
    with pytest.raises(InvalidInput, match="axes"):
        mf.solve(mf.two_layer(X, Y), grid, mf.semi_lagrangian(), times=[0.0])
    assert mf.solve(mf.two_layer(X, Y), grid, times=[0.0]).attrs["method"].startswith("muscl")


@pytest.mark.parametrize("problem", [mf.two_layer(X, Y), mf.two_layer(X, Y, mf.relu)], ids=repr)
def test_it_is_the_default_for_smooth_and_piecewise_linear_networks(problem):
    run = mf.solve(problem, square(8, 32), times=[0.0])
    assert run.attrs["method"].startswith("semi_lagrangian")


def test_composition_and_kinks_do_not_go_together():
    for problem in (
        mf.two_layer(X, Y, mf.relu),
        mf.two_layer(X, Y, penalty=mf.total_variation(0.1)),
    ):
        with pytest.raises(InvalidInput, match="composed"):
            mf.solve(problem, square(8, 16), mf.semi_lagrangian(dt=0.1, composed=True), times=[0.0])


def test_a_short_interval_between_instants_does_not_slow_the_rest():
    problem = mf.two_layer(X, Y, initial=mf.gaussian((0.3, 0.6), 0.4))
    plain = mf.solve(problem, square(4, 48), times=[0, 1.0])
    cut = mf.solve(problem, square(4, 48), times=[0, 1e-10, 1e-5, 1.0])
    assert cut.attrs["steps"] <= plain.attrs["steps"] + 4


def test_endless_times_come_to_rest():
    problem = mf.two_layer(X, Y, penalty=mf.ridge(0.5), initial=mf.gaussian(0, 0.5))
    for method in (mf.semi_lagrangian(), mf.semi_lagrangian(dt=1e4)):
        run = mf.solve(problem, square(4, 20), method, times=[0, 3e3], escaped_tolerance=1)
        assert np.isfinite(run.rho).all()
        assert abs(float((run.mass + run.escaped)[-1]) - 1) < 1e-12


def test_penalties_that_differ_far_out_are_seen():
    def barrier(points):
        return 50 * np.maximum(np.abs(points[:, 0]) - 3.5, 0) ** 2

    def slope(points):
        beyond = np.maximum(np.abs(points[:, :1]) - 3.5, 0) * np.sign(points[:, :1])
        return np.hstack([100 * beyond, np.zeros_like(beyond)])

    problem = mf.two_layer(X, Y, penalty=mf.Penalty(barrier, slope), initial=LAW)
    assert mf.solve(problem, square(4, 16), times=[0.0]).attrs["method"].startswith("muscl")


def test_kinks_between_curves_are_not_piecewise_linear():
    bent = mf.Activation(
        lambda z: np.abs(z) + z**2 / 2, lambda z: np.sign(z) + z, name="bent", kinks=(0.0,)
    )
    problem = mf.two_layer(X, Y, bent, initial=LAW)
    with pytest.raises(InvalidInput, match="piecewise linear"):
        mf.solve(problem, square(4, 16), mf.semi_lagrangian(), times=[0.0])


def test_a_tolerance_below_the_remaps_own_error_is_told():
    problem = mf.two_layer(X, Y, initial=mf.gaussian((0.3, 0.6), 0.4))
    coarse = mf.solve(problem, square(4, 20), mf.semi_lagrangian(tolerance=1e-7), times=[1.0])
    assert coarse.attrs["limited_tolerance"] > 0
    fine = mf.solve(problem, square(4, 96), mf.semi_lagrangian(9, tolerance=1e-4), times=[1.0])
    assert fine.attrs["limited_tolerance"] == 0


def test_moves_that_meet_are_one():
    """Of the exact coordinate alone; as many shares as before."""
    two = [(k, share / 2) for k, share in strang(range(3))] * 2
    once = merged(two, 0)
    assert [k for k, _ in once] == [0, 1, 2, 1, 0, 1, 2, 1, 0]
    assert once[4] == (0, 0.5)
    for k in range(3):
        assert sum(share for j, share in once if j == k) == 1.0
    assert merged([(1, 0.5), (1, 0.5)], 0) == [(1, 0.5), (1, 0.5)]


def test_two_half_steps_are_made_in_five_moves():
    """To round-off of the remap's error as two steps, one after the other."""
    problem = mf.two_layer(X, Y, initial=mf.gaussian((0.3, 0.6), 0.6))
    flow = mf.WassersteinFlow(problem, square(5, 96), 9)
    stepper = mf.semi_lagrangian(9, dt=0.2).begin(flow)
    start = stepper.sweeps.start(flow.start, flow.field(flow.start))
    half = stepper.sweeps.everywhere(stepper.split(start, 0.1), to_points=True)
    two = stepper.split(half, 0.1)
    once = stepper.split(start, 0.2, 2)
    np.testing.assert_allclose(once.values, two.values, rtol=0, atol=2e-7 * two.values.max())
    assert once.pointwise == [False, False]


@pytest.mark.parametrize("inputs", [1, 2])
def test_empty_lines_rest_and_nobody_sees_it(monkeypatch, inputs):
    """A narrow law in a wide box: mass below round-off of the whole stays where it is."""
    x = np.random.default_rng(0).uniform(-2, 2, (8, inputs)).squeeze()
    y = np.sin(x.reshape(8, -1)[:, 0])
    law = mf.gaussian(mean=0.4, std=0.3)
    problem = mf.two_layer(x, y, initial=law, penalty=mf.ridge(0.1))
    axis = mf.uniform(-4, 4, 48 if inputs == 1 else 20)
    grid = mf.Grid(**dict.fromkeys(problem.coords, axis))
    runs = []
    for empty in (sweeps.EMPTY, -1.0):
        monkeypatch.setattr(sweeps, "EMPTY", empty)
        runs.append(mf.solve(problem, grid, mf.semi_lagrangian(7, dt=0.1), [1.0]))
    resting, moving = (run.rho.values[-1] for run in runs)
    assert not np.array_equal(resting, moving)
    volume = (8 / axis.cells) ** (inputs + 1)
    assert np.abs(resting - moving).sum() * volume < 20 * 1e-16
    assert abs(float(runs[0].mass[-1] + runs[0].escaped[-1]) - 1) < 1e-14
    assert np.abs(runs[0].prediction - runs[1].prediction).max() < 1e-14
