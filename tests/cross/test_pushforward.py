"""The push-forward against gradient descent of particles: the same map, step by step.

Particles start as the run's own first measure, so both predict the same at step 0; what parts them
afterwards is the dealing to centres alone.
"""

import numpy as np
from numpy.testing import assert_allclose

import mfpde as mf
import particle_ref as pr

X = np.linspace(-2, 2, 8)
Y = np.sin(1.5 * X)
START = mf.gaussian((0.3, 0.6), 0.5)


def square(half):
    return lambda n: mf.Grid(a=mf.uniform(-half, half, n), w=mf.uniform(-half, half, n))


def circle(n):
    return mf.Grid(w=mf.periodic(0, 2 * np.pi, n))


def both(problem, grid, dt, steps):
    """The run and the particles at every step."""
    times = dt * np.arange(steps + 1)
    run = mf.solve(problem, grid, mf.pushforward(dt), times, escaped_tolerance=1e-6)
    cloud = pr.Cloud(*mf.as_measure(run.isel(time=0), prune=1e-15))
    return run, pr.run(problem, cloud, pr.Descent(dt), times)


def gaps(problem, grid_of, dt, steps, cells):
    """max_i |f_i − particles'| by number of cells (rows) and step (columns)."""
    table = []
    for n in cells:
        run, flow = both(problem, grid_of(n), dt, steps)
        gap = np.abs(run.prediction - flow.prediction).max("sample").values
        assert gap[0] < 1e-12  # what was pruned
        assert run.rho.min() >= 0
        table.append(gap[1:])
    return np.array(table)


def orders(table, cells):
    return -np.diff(np.log(table), axis=0) / np.diff(np.log(cells))[:, None]


def torus_problem():
    """Φ_i(w) = cos(x_i − w): no output weight, one axis."""
    x = 2 * np.pi * np.arange(5) / 5
    return mf.Problem(
        ("w",),
        phi=lambda w: np.cos(x - w),
        dphi=lambda w: np.sin(x - w)[:, :, None],
        loss=mf.square(0.7 * np.cos(x - 0.9)),
        initial=mf.gaussian(2.0, 0.5),
        domain={"w": mf.circle(2 * np.pi)},
    )


def test_smooth_network_at_a_small_step():
    """Six centres, moments 0 to 4, odd errors average out: order 6 while the map is gentle."""
    problem = mf.two_layer(X, Y, penalty=mf.ridge(0.1), initial=START)
    cells = (36, 48, 64)
    table = gaps(problem, square(4), 0.1, 4, cells)
    assert_allclose(orders(table, cells), 6, rtol=0, atol=0.7)
    assert table[-1].max() < 1e-5


def test_one_axis_on_a_circle():
    cells = (48, 72, 108)
    table = gaps(torus_problem(), circle, 0.5, 4, cells)
    assert_allclose(orders(table, cells), 6, rtol=0, atol=0.6)
    assert table[-1].max() < 2e-8


def test_kernel_of_the_same_circle():
    """K = E ΦΦ, F = E yΦ: the risk at every step."""
    problem = mf.kernel_problem(
        ("w",),
        K=lambda u, v: 0.5 * np.cos(u - v.T),
        F=lambda u: 0.35 * np.cos(u[:, 0] - 0.9),
        dK=lambda u, v: -0.5 * np.sin(u - v.T)[:, :, None],
        dF=lambda u: -0.35 * np.sin(u - 0.9),
        const=0.7**2 / 4,
        initial=mf.gaussian(2.0, 0.5),
        domain={"w": mf.circle(2 * np.pi)},
    )
    run, flow = both(problem, circle(72), 0.5, 4)
    twin, _ = both(torus_problem(), circle(72), 0.5, 4)
    assert np.abs(run.risk - flow.risk).max() < 1e-7
    assert_allclose(run.rho, twin.rho, rtol=0, atol=1e-13)


def test_a_step_so_large_that_the_energy_rises():
    """Beyond 2/curvature: the energy rises in the first step, for both; order at least 2."""
    problem = mf.two_layer(X, 0 * X, penalty=mf.ridge(0.1), initial=mf.gaussian((2.0, 0.3), 0.35))
    cells, table = (40, 60, 90), []
    for n in cells:
        run, flow = both(problem, square(5)(n), 0.8, 3)
        assert run.energy[1] > 1.2 * run.energy[0]
        assert flow.energy[1] > 1.2 * flow.energy[0]
        assert_allclose(run.energy, flow.energy, rtol=0, atol=20 / n**2)
        table.append(np.abs(run.prediction - flow.prediction).max("sample").values[1:])
    observed = np.log(table[0] / table[-1]) / np.log(90 / 40)
    assert (observed > 2).all()
    assert (observed < 4.5).all()
    assert table[-1].max() < 2e-3


RELU = mf.two_layer(X, Y, mf.relu, penalty=mf.ridge(0.1), initial=START)


def test_relu_with_faces_on_its_kink():
    """∇V jumps at w = 0; the largest gap of five steps falls at order 2."""
    cells = (24, 48, 96)
    table = gaps(RELU, square(4), 0.1, 5, cells).max(axis=1, keepdims=True)
    assert_allclose(orders(table, cells), 2, rtol=0, atol=0.4)
    assert table[-1] < 2e-4


def test_relu_with_centres_on_its_kink():
    """What is dealt to a centre on the jump moves on with neither side.

    The gap then depends erratically on the cells. No order is claimed, only a bound of order 1.
    """
    cells = (31, 55, 81, 121)
    table = gaps(RELU, square(4), 0.1, 5, cells).max(axis=1)
    assert (table * cells < 0.12).all()


def test_absolute_value_by_its_proximal_map():
    """Forward-backward, with a centre at a = 0 where mass comes to rest; order 2."""
    problem = mf.two_layer(X, Y, penalty=mf.total_variation(0.3), initial=START)
    cells = (25, 49, 97)
    table = gaps(problem, square(4), 0.2, 4, cells)
    observed = np.log(table[0] / table[-1]) / np.log(cells[-1] / cells[0])
    assert_allclose(observed, 2.2, rtol=0, atol=0.7)
    assert table[-1].max() < 1.2e-3
    run, flow = both(problem, square(4)(97), 0.2, 4)
    resting = float(flow.weight[-1] @ (flow.position[-1, :, 0] == 0))
    assert resting > 0.2
    assert float(run.rho[-1].isel(a=48).sum() * (8 / 97) ** 2) > resting


def test_to_the_flow_at_first_order_in_dt():
    problem = mf.two_layer(X, Y, penalty=mf.ridge(0.2), initial=mf.gaussian((0.3, 0.6), 0.4))
    truth = pr.run(problem, pr.Cloud(*problem.initial.nodes(24)), pr.GradientFlow(), times=[0, 1.0])
    errors = []
    for dt in (0.2, 0.1, 0.05):
        run = mf.solve(problem, square(4)(96), mf.pushforward(dt), [0, 1.0])
        errors.append(float(np.abs(run.prediction[-1] - truth.prediction[-1]).max()))
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, rtol=0, atol=0.15)
