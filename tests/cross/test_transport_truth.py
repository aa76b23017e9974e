"""Case T at 128²: the density of semi-Lagrangian runs against the truth by characteristics."""

import numpy as np
import pytest

import mfpde as mf
import particle_ref as pr


@pytest.fixture(scope="module")
def truth() -> pr.Truth:
    x = np.linspace(-2, 2, 16)
    problem = mf.two_layer(x, np.sin(1.5 * x), initial=mf.gaussian((0.3, 0.6), 0.35))
    return pr.Truth(problem, 1.0)


@pytest.mark.parametrize(
    ("method", "density", "prediction"),
    [
        (mf.semi_lagrangian(9, dt=1 / 32), 1e-5, 6e-7),
        (mf.semi_lagrangian(9, dt=1 / 4, composed=True), 1e-6, 3e-8),
    ],
    ids=["plain", "composed"],
)
def test_case_t(truth: pr.Truth, method: mf.Method, density: float, prediction: float) -> None:
    grid = mf.Grid(a=mf.uniform(-4, 4, 128), w=mf.uniform(-4, 4, 128))
    run = mf.solve(truth.problem, grid, method, times=[1.0])
    error = mf.true_error(run, truth)
    assert 0.1 * density < float(error.l1[0]) <= density
    assert float(error.prediction[0]) <= prediction
