"""Semi-Lagrangian densities against particles: order in time, own cells, |a|."""

import numpy as np
import pytest

import mfpde as mf
import particle_ref as pr

X = np.linspace(-2, 2, 8)
Y = np.sin(1.5 * X)


def square(half, cells):
    return mf.Grid(a=mf.uniform(-half, half, cells), w=mf.uniform(-half, half, cells))


@pytest.mark.parametrize(
    ("composed", "order", "steps"), [(False, 2, (4, 8, 16)), (True, 4, (1, 2, 4))]
)
def test_order_in_time(composed, order, steps):
    """Case T: the prediction against 24 × 24 Gauss–Hermite particles."""
    x = np.linspace(-2, 2, 16)
    problem = mf.two_layer(x, np.sin(1.5 * x), initial=mf.gaussian((0.3, 0.6), 0.35))
    cloud = pr.Cloud(*problem.initial.nodes(24))
    flow = pr.run(problem, cloud, pr.GradientFlow(rtol=1e-12, atol=1e-13), times=[1.0])
    errors = []
    for count in steps:
        method = mf.semi_lagrangian(9, dt=1 / count, composed=composed)
        run = mf.solve(problem, square(4, 96), method, times=[1.0])
        errors.append(float(np.abs(run.prediction - flow.prediction).max()))
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(observed, order, rtol=0, atol=0.1 if order == 2 else 0.3)


def test_density_and_its_own_cells_agree_far_beyond_the_order_of_averages():
    problem = mf.two_layer(X, Y, initial=mf.gaussian((0.3, 0.6), 0.4))
    method = mf.semi_lagrangian(9, dt=0.25, composed=True)
    run = mf.solve(problem, square(4, 80), method, times=[0, 1.0])
    cloud = pr.Cloud(*mf.as_measure(run.isel(time=0), prune=1e-14))
    flow = pr.run(problem, cloud, pr.GradientFlow(rtol=1e-10), times=[0, 1.0])
    assert float(mf.compare(run, flow, only=("prediction_gap",)).prediction_gap[-1]) < 1e-7


def test_absolute_values_agree_with_forward_backward_particles():
    """|a| with sticking: the density is rough at a = 0, the prediction of first order there."""
    problem = mf.two_layer(
        X, Y, penalty=mf.total_variation(0.05), initial=mf.gaussian((0.3, 0.6), 0.35)
    )
    u = np.linspace(-5, 5, 81)
    mass = np.exp(-u * u / 2)
    mass /= mass.sum()
    A, W = np.meshgrid(0.3 + 0.35 * u, 0.6 + 0.35 * u, indexing="ij")
    cloud = pr.Cloud(np.column_stack([A.ravel(), W.ravel()]), np.outer(mass, mass).ravel())
    halves = [pr.run(problem, cloud, pr.Descent(dt), times=[2.0]).prediction for dt in (0.04, 0.02)]
    reference = 2 * halves[1] - halves[0]
    errors = []
    for cells in (33, 65, 129):
        run = mf.solve(problem, square(4, cells), mf.semi_lagrangian(dt=0.1), times=[2.0])
        errors.append(float(np.abs(run.prediction - reference).max()))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]
    assert errors[-1] < 4e-4
