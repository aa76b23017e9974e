"""One explicit upwind step against FiPy's, an implementation that shares nothing with ours."""

import sys
import warnings
from types import ModuleType

import numpy as np
import pytest
from exact.solutions import Array

import mfpde as mf


@pytest.fixture
def fipy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """FiPy, which reads sys.argv when first imported and still imports numpy.core."""
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "numpy.core is deprecated", DeprecationWarning)
        import fipy
    return fipy


def fipy_step(fipy: ModuleType, grid: mf.Grid, rho: Array, potential: Array, dt: float) -> Array:
    """∂_t ρ = ∇·(ρ∇V) on the same cells; FiPy's x runs fastest, and its walls are closed."""
    (a_cells, w_cells), widths = grid.shape, [axis.widths[0] for axis in grid.axes.values()]
    mesh = fipy.Grid2D(dx=widths[1], nx=w_cells, dy=widths[0], ny=a_cells)
    density = fipy.CellVariable(mesh=mesh, value=rho.ravel(), hasOld=True)
    V = fipy.CellVariable(mesh=mesh, value=potential.ravel())
    transport = fipy.ExplicitUpwindConvectionTerm(coeff=V.faceGrad)
    equation = fipy.TransientTerm() == transport
    equation.solve(var=density, dt=dt, solver=fipy.solvers.LinearLUSolver())
    return density.value.reshape(grid.shape)


def test_upwind_steps_agree(fipy: ModuleType) -> None:
    x = np.linspace(-2, 2, 16)
    problem = mf.two_layer(
        x, 3 * np.sin(1.5 * x), penalty=mf.ridge(0.2), initial=mf.uniform_box(-1.5, 1.0)
    )
    grid = mf.Grid(a=mf.uniform(-2, 2.5, 20, "closed"), w=mf.uniform(-3, 2, 17, "closed"))
    flow = mf.WassersteinFlow(problem, grid)
    stepper = mf.upwind().begin(flow)
    rho = np.random.default_rng(3).random(grid.shape)
    rho /= flow.mass(rho)
    for _ in range(5):
        field = flow.field(rho)
        dt = stepper.longest(rho, field)
        ours = stepper.step(rho, field, dt).rho
        theirs = fipy_step(fipy, grid, rho, field.potential, dt)
        assert np.abs(ours - rho).max() > 1e-3
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
        rho = ours
