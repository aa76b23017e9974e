"""The equation of the prediction while one coordinate moves, against matrix exponentials."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import mfpde as mf
from mfpde.methods.residual import Drive

N = 5


def kernel():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, N)) / np.sqrt(40)
    return features.T @ features


def drive(loss, decay=0.0):
    K = kernel()
    return K, Drive(loss, lambda slope: K @ slope, float(np.trace(K)), decay)


@pytest.mark.parametrize("dt", [1e-3, 0.7, 10.0, -0.4])
@pytest.mark.parametrize("decay", [0.0, 0.6])
def test_square_loss_is_the_exponential(dt, decay):
    rng = np.random.default_rng(1)
    y, f, p = rng.normal(size=N), rng.normal(size=N), rng.random(N)
    p /= p.sum()
    K, equation = drive(mf.square(y, p), decay)
    block = np.zeros((2 * N + 1, 2 * N + 1))  # (f, S, 1)
    block[:N, :N] = -K * p - decay * np.eye(N)
    block[:N, -1] = K @ (p * y)
    block[N:-1, :N] = np.diag(p)
    block[N:-1, N:-1] = -decay * np.eye(N)
    block[N:-1, -1] = -p * y
    expected = (expm(dt * block) @ np.concatenate([f, np.zeros(N), [1.0]]))[N:-1]
    np.testing.assert_allclose(equation.over(dt, f), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", [mf.logistic, mf.huber(0.3)], ids=repr)
def test_other_losses_by_another_integrator(loss):
    y, f = np.array([1.0, -1, 1, 1, -1]), np.linspace(-1, 2, N)
    bound = loss(y)
    K, equation = drive(bound, 0.3)

    def rates(_, state):
        s = bound.slope(state[:N])
        return np.concatenate([-K @ s - 0.3 * state[:N], s - 0.3 * state[N:]])

    start = np.concatenate([f, np.zeros(N)])
    path = solve_ivp(rates, (0, 2.0), start, method="LSODA", rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(equation.over(2.0, f), path.y[N:, -1], rtol=0, atol=1e-9)
