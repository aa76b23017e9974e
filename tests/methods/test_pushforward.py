"""The push-forward where it is known: linear maps, folds, walls, refusals."""

import numpy as np
import pytest
from exact.cases import ENTROPIC
from exact.solutions import Normal, cell_averages
from numpy.testing import assert_allclose, assert_array_equal
from orders.observed import observed_orders

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.methods.pushforward import parts_needed

THE_PREDICTION_ITSELF = mf.Loss(
    value=lambda f, y: f,
    slope=lambda f, y: np.ones_like(f),
    curvature=lambda f, y: np.zeros_like(f),
    smoothness=0.0,
)


def frozen(A, start):
    """V = θ·Aθ/2 whatever the density: a step is the linear map Id − dt·A."""
    return mf.Problem(
        ("a", "w")[: len(A)],
        phi=lambda u: 0.5 * np.einsum("ni,ij,nj->n", u, A, u)[:, None],
        dphi=lambda u: (u @ A)[:, None, :],
        loss=THE_PREDICTION_ITSELF(np.zeros(1)),
        initial=mf.gaussian(start.mean, cov=start.cov),
    )


def error_of(A, start, dt, steps, half, cells, axis):
    """L1 distance to the exact cell averages of the image."""
    problem = frozen(A, start)
    grid = mf.Grid(**{c: axis(-half, half, cells) for c in problem.coords})
    times = [0, steps * dt]
    run = mf.solve(problem, grid, mf.pushforward(dt), times, escaped_tolerance=1e-7)
    T = np.linalg.matrix_power(np.eye(len(A)) - dt * A, steps)
    image = Normal(T @ start.mean, T @ start.cov @ T.T)
    exact = cell_averages(image.density, [axis.edges for axis in grid.axes.values()], nodes=3)
    assert run.rho.min() >= 0
    assert abs(float(run.mass[-1] + run.escaped[-1]) - 1) < 1e-14 * steps
    return float(np.sum(np.abs(run.rho.values[-1] - exact) * grid.volumes))


LINE = Normal.isotropic([0.3], 0.6)
PLANE = Normal.isotropic([0.3, 0.1], 0.6)
SADDLE = np.array([[0.5, 0.2], [0.2, -0.3]])
MAPS = {  # A, start, dt, steps, half of the box, cells, axis, bound on the finest error
    "contraction": (np.array([[0.5]]), LINE, 0.1, 8, 4, (64, 96, 144), mf.uniform, 5e-4),
    "many small steps": (np.array([[0.5]]), LINE, 0.05, 20, 4, (64, 96, 144), mf.uniform, 7e-4),
    "expansion": (np.array([[-0.5]]), LINE, 0.1, 8, 6, (64, 96, 144), mf.uniform, 5e-4),
    "threefold expansion": (np.array([[-2.0]]), LINE, 1.0, 1, 13, (64, 96, 144), mf.uniform, 4e-3),
    "saddle": (SADDLE, PLANE, 0.1, 5, 4.5, (48, 72, 108), mf.uniform, 7e-4),
    "saddle, stretched": (SADDLE, PLANE, 0.1, 5, 4.5, (48, 72, 108), mf.stretched, 3e-4),
}


@pytest.mark.parametrize("name", MAPS)
def test_linear_maps_of_a_gaussian_at_order_2(name):
    A, start, dt, steps, half, cells, axis, finest = MAPS[name]
    errors = [error_of(A, start, dt, steps, half, n, axis) for n in cells]
    assert_allclose(np.log(np.divide(errors[:-1], errors[1:])) / np.log(1.5), 2, rtol=0, atol=0.3)
    assert errors[-1] < finest


def test_strong_expansion_leaves_no_ripple():
    """A flat density on a line, spread over 2.7 times its cells in one step."""
    axis = mf.uniform(-8, 8, 96)
    flow = mf.WassersteinFlow(frozen(np.array([[-1.7]]), LINE), mf.Grid(a=axis))
    rho = np.where(np.abs(axis.centres) < 2, 0.25, 0.0)
    after = mf.pushforward(1.0).begin(flow).step(rho, flow.field(rho), 1.0).rho * 2.7 / 0.25
    ripple = np.abs(after[np.abs(axis.centres) < 3.5] - 1).max()
    assert 1e-9 < ripple < 1e-3
    assert after.max() < 1.12  # beside the jump
    assert after[np.abs(axis.centres) > 7.5].max() == 0


def folding(dt):
    """V = cos on the circle: T(x) = x + dt·sin x folds for dt > 1."""
    return mf.Problem(
        ("w",),
        phi=np.cos,
        dphi=lambda w: -np.sin(w)[:, :, None],
        loss=THE_PREDICTION_ITSELF(np.zeros(1)),
        initial=mf.gaussian(2.5, 0.6),
        domain={"w": mf.circle(2 * np.pi)},
    )


def test_a_fold_keeps_mass_sign_and_weak_order():
    """Means of test functions under the image, against a quadrature before it."""
    dt = 2.0
    u = np.linspace(-7, 7, 4001)
    mass, x = np.exp(-u * u / 2) / np.exp(-u * u / 2).sum(), 2.5 + 0.6 * u
    image = x + dt * np.sin(x)
    assert (np.diff(image) < 0).any()
    errors = []
    for cells in (48, 72, 108):
        grid = mf.Grid(w=mf.periodic(0, 2 * np.pi, cells))
        run = mf.solve(folding(dt), grid, mf.pushforward(dt), [0, dt])
        masses, w = run.rho.values[-1] * grid.volumes, run.w.values
        # the start's own averages stand at the centres: half an h²/12 of curvature each
        errors.append(abs(masses @ np.cos(w) - mass @ np.cos(image)))
        assert run.rho.min() >= 0
        assert_allclose(masses.sum(), 1, rtol=1e-14)
        assert masses @ np.sin(w) == pytest.approx(mass @ np.sin(image), abs=0.05 / cells)
    orders = np.log(np.divide(errors[:-1], errors[1:])) / np.log(1.5)
    assert_allclose(orders, 3.5, rtol=0, atol=1.0)
    assert errors[-1] < 2e-3


def test_ten_steps_of_folding_stay_sane():
    grid = mf.Grid(w=mf.periodic(0, 2 * np.pi, 64))
    run = mf.solve(folding(2.0), grid, mf.pushforward(2.0), 2.0 * np.arange(11))
    assert run.rho.min() >= 0
    assert_allclose(run.mass, 1, rtol=1e-13)
    assert run.energy[-1] < run.energy[0]


def wind(wall):
    """V = −w: all mass moves by dt to the right."""
    domain = {"w": mf.interval(-1, 1)} if wall == "closed" else None
    problem = mf.Problem(
        ("w",),
        phi=lambda w: -w,
        dphi=lambda w: -np.ones((len(w), 1, 1)),
        loss=THE_PREDICTION_ITSELF(np.zeros(1)),
        initial=mf.uniform_box(-1, 1),
        domain=domain,
    )
    return mf.WassersteinFlow(problem, mf.Grid(w=mf.uniform(-1, 1, 40)))


def test_what_passes_an_open_wall_has_left_with_the_energy_it_had():
    flow = wind("open")
    field = flow.field(flow.start)
    step = mf.pushforward(0.5).begin(flow).step(flow.start, field, 0.5)
    assert_allclose(step.escaped["w"], (0.0, 0.25), rtol=1e-13)
    assert_allclose(step.carried, -0.25 * 0.75, rtol=1e-13)  # the mean of −w on [0.5, 1]
    assert_allclose(flow.mass(step.rho), 0.75, rtol=1e-14)
    assert_array_equal(step.rho[:9], 0)


def test_closed_walls_hold_what_is_projected_on_them():
    flow = wind("closed")
    step = mf.pushforward(0.5).begin(flow).step(flow.start, flow.field(flow.start), 0.5)
    assert step.escaped["w"] == (0.0, 0.0)
    assert_allclose(flow.mass(step.rho), 1.0, rtol=1e-14)
    assert_allclose(step.rho[-1] * 0.05, 0.25 + 0.025, rtol=1e-12)


def test_corners_book_the_wall_crossed_first():
    problem = mf.Problem(
        ("u", "v"),
        phi=lambda p: -(p[:, :1] + 2.9 * p[:, 1:]),
        dphi=lambda p: np.tile([-1.0, -2.9], (len(p), 1, 1)),
        loss=THE_PREDICTION_ITSELF(np.zeros(1)),
        initial=mf.uniform_box([-1, -1], [1, 1]),
    )
    grid = mf.Grid(u=mf.uniform(-1, 1, 10), v=mf.uniform(-1, 1, 10))
    flow = mf.WassersteinFlow(problem, grid)
    step = mf.pushforward(4.0).begin(flow).step(flow.start, flow.field(flow.start), 4.0)
    through_u = np.sum(2.9 * (1 - grid.points()[:, 0]) < 1 - grid.points()[:, 1]) / 100
    assert_allclose(step.escaped["u"], (0.0, through_u), rtol=1e-12)
    assert_allclose(step.escaped["v"], (0.0, 1 - through_u), rtol=1e-12)
    assert step.rho.max() == 0


def test_absolute_value_comes_to_rest_on_zero_exactly():
    """|a| alone: soft thresholds; what lies within k·dt·s of 0 stands at 0 after k steps."""
    problem = mf.two_layer(
        [1.0],
        [0.0],
        mf.Activation(np.zeros_like, np.zeros_like),
        penalty=mf.total_variation(1.0),
        initial=mf.uniform_box([-1, -1], [1, 1]),
    )
    grid = mf.Grid(a=mf.uniform(-1.5, 1.5, 75), w=mf.uniform(-1.5, 1.5, 5))
    run = mf.solve(problem, grid, mf.pushforward(0.2), [0, 0.2, 0.4])
    of_a = run.rho.sum("w").values * 0.6 * 0.04
    assert_allclose(of_a[:, 37], [0.02, 0.22, 0.42], rtol=1e-12)  # moves by five cells a step
    assert_array_equal(of_a[1, 60:], 0)


def test_sub_nodes_where_cells_are_stretched_and_none_in_a_gap():
    axes = [mf.uniform(-1, 1, 64)]
    x, all_cells = axes[0].centres, np.ones(64, bool)
    for stretch, parts in ((1.0, 1), (1.02, 1), (0.0, 1), (1.05, 2), (2.0, 6), (-3.0, 9)):
        moved = ((stretch - 1) * x)[:, None]
        assert parts_needed(moved, axes, all_cells) == (parts,)
    torn = np.where(x > 0, 0.5, -0.5)[:, None]
    assert parts_needed(torn, axes, all_cells) == (1,)
    local = np.where(x > 0.5, 2 * (x - 0.5), 0.0)[:, None]
    assert parts_needed(local, axes, x < 0.5) == (1,)
    assert parts_needed(local, axes, all_cells) == (9,)


def test_stands_at_multiples_of_dt_however_many():
    problem, grid = frozen(np.array([[1e-9]]), LINE), mf.Grid(a=mf.uniform(-4, 4, 16))
    run = mf.solve(problem, grid, mf.pushforward(0.1), [0, 0.3, 300.0])
    assert run.attrs["steps"] == 3000
    with pytest.raises(InvalidInput, match="multiples of dt"):
        mf.solve(problem, grid, mf.pushforward(0.1), [0, 0.25])


@pytest.mark.parametrize("dt", [0, -1, np.inf, np.nan, "a", None])
def test_steps_that_are_none(dt):
    with pytest.raises(InvalidInput, match="pushforward"):
        mf.pushforward(dt)


def test_what_it_cannot_follow_is_refused_with_a_way_out():
    grid = mf.Grid(a=mf.uniform(-4, 4, 16), w=mf.uniform(-4, 4, 16))
    start = mf.gaussian(0, 0.5)

    def refused(problem, error=InvalidInput):
        with pytest.raises(error) as refusal:
            mf.solve(problem, grid, mf.pushforward(0.1), [0, 0.1])
        return str(refusal.value)

    assert "slope" in refused(mf.two_layer([1.0], [1.0], mf.heaviside, initial=start))
    kinked = mf.two_layer([1.0], [1.0], penalty=mf.path_norm(0.1), initial=start)
    assert "proximal" in refused(kinked)
    K, F = (lambda u, v: u @ v.T), (lambda u: u[:, 0])
    dK = lambda u, v: np.broadcast_to(v, (len(u), *v.shape))  # noqa: E731
    assert "dK is missing" in refused(mf.kernel_problem(("a", "w"), K, F, initial=start))
    assert "dF is missing" in refused(mf.kernel_problem(("a", "w"), K, F, dK=dK, initial=start))


def test_an_overflow_is_reported_not_dealt():
    problem, dt = frozen(np.array([[1.0]]), LINE), 1e308
    with pytest.raises(mf.NumericalStop, match="not a number"):
        mf.solve(problem, mf.Grid(a=mf.uniform(-4, 4, 16)), mf.pushforward(dt), [0, dt])


# ---------------------------------------------------------------------------------------- noise
def test_noise_is_that_of_euler_maruyama():
    """Under a ridge mean and variance go (1 − μdt)m and (1 − μdt)²v + 2λdt in every step."""
    case = ENTROPIC["X12 ridge entropy"]
    problem, dt, steps = case.problem, 0.25, 8
    contraction = 1 - dt * np.array([0.8, 0.5])
    mean, variance = np.array([0.3, -0.2]), np.full(2, 0.36)
    for _ in range(steps):
        mean, variance = contraction * mean, contraction**2 * variance + 2 * problem.entropy * dt
    exact = Normal(mean, np.diag(variance)).density
    errors, cells = [], (48, 72, 108)
    for n in cells:
        grid = case.grid(n)
        run = mf.solve(problem, grid, mf.pushforward(dt), [0, steps * dt])
        assert abs(float(run.mass[-1]) - 1) < 1e-13
        truth = cell_averages(exact, [axis.edges for axis in grid.axes.values()])
        errors.append(float(np.sum(np.abs(run.rho.values[-1] - truth) * grid.volumes)))
    np.testing.assert_allclose(observed_orders(errors, cells), 2.0, rtol=0, atol=0.5)
    assert errors[-1] < 4.5e-3


def test_noise_needs_uniform_axes():
    axis = mf.stretched(-4.6, 4.6, 32, walls="closed")
    with pytest.raises(InvalidInput, match="uniform axes"):
        mf.solve(
            ENTROPIC["X12 ridge entropy"].problem,
            mf.Grid(a=axis, w=axis),
            mf.pushforward(0.25),
            [0, 0.25],
        )


def test_a_smooth_penalty_of_ones_own_needs_no_proximal_map():
    """A ridge written out by hand moves the mass as the ridge does."""
    own = mf.Penalty(lambda q: 0.2 * (q**2).sum(axis=1), lambda q: 0.4 * q)
    grid = mf.Grid(a=mf.uniform(-4, 4, 32), w=mf.uniform(-4, 4, 32))
    runs = [
        mf.solve(
            mf.two_layer([1.0, -0.5], [1.0, 0.3], penalty=penalty, initial=mf.gaussian(0.3, 0.5)),
            grid,
            mf.pushforward(0.1),
            [0, 0.5],
        )
        for penalty in (own, mf.ridge(0.4))
    ]
    assert_allclose(runs[0].rho, runs[1].rho, rtol=0, atol=1e-12)
    assert abs(runs[0].rho[-1] - runs[0].rho[0]).max() > 0.01
