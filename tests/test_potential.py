"""mf.potential: what the flow itself computes, at cells and anywhere."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mfpde as mf
import particle_ref as pr
from mfpde.errors import InvalidInput

X = np.linspace(-1, 1, 9)
GRID = mf.Grid(a=mf.uniform(-3, 3, 20), w=mf.uniform(-3, 3, 24))
PROBLEM = mf.two_layer(X, np.sin(2 * X), penalty=mf.ridge(0.2), initial=mf.gaussian(0.2, 0.4))


def test_at_cells_it_is_the_flows():
    run = mf.solve(PROBLEM, GRID, mf.muscl(), times=[0, 0.5])
    V = mf.potential(PROBLEM, run.isel(time=-1))
    flow = mf.WassersteinFlow(PROBLEM, GRID)
    assert V.dims == ("a", "w")
    assert_allclose(V, flow.field(run.rho.values[-1]).potential, rtol=0, atol=1e-14)


def test_its_slope_is_the_force_on_particles():
    """At any neurons, of a flow: −∇V by differences against a step of descent."""
    cloud = pr.sample(PROBLEM, 30, seed=2)
    flow = pr.run(PROBLEM, cloud, pr.Descent(1e-3), times=[0, 1e-3])
    now, h = flow.isel(time=0), 1e-5
    u = now.position.values
    for k in range(2):
        e = h * np.eye(2)[k]
        slope = mf.potential(PROBLEM, now, u + e) - mf.potential(PROBLEM, now, u - e)
        moved = flow.position.values[1, :, k] - u[:, k]
        assert_allclose(moved / 1e-3, -slope / (2 * h), rtol=0, atol=1e-7)


def test_of_a_kernel():
    kernel = mf.kernel_problem(
        ("w",),
        lambda u, v: np.exp(-((u - v.T) ** 2)),
        lambda u: u[:, 0],
        initial=mf.gaussian(0, 0.4),
    )
    grid = mf.Grid(w=mf.uniform(-3, 3, 40))
    run = mf.solve(kernel, grid, times=[0, 0.1])
    flow = mf.WassersteinFlow(kernel, grid)
    expected = flow.field(run.rho.values[-1]).potential
    assert_allclose(mf.potential(kernel, run.isel(time=-1)), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda run, flow: mf.potential("p", run), "not a problem"),
        (lambda run, flow: mf.potential(PROBLEM, flow), "points="),
        (lambda run, flow: mf.potential(PROBLEM, run, [[1.0]]), "shape"),
    ],
)
def test_refusals(call, says):
    run = mf.solve(PROBLEM, GRID, mf.muscl(), times=[0]).isel(time=0)
    flow = pr.run(PROBLEM, pr.sample(PROBLEM, 3, seed=0), pr.Descent(0.1), times=[0]).isel(time=0)
    with pytest.raises(InvalidInput, match=says):
        call(run, flow)
