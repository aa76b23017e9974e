"""The prediction's equation against the matrix exponential, and on a grid against itself."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import mfpde as mf
from mfpde.methods.residual import Drive
from mfpde.methods.sweeps import Sweeps

N = 6
RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(N, N)) * 2.0 ** -np.arange(N)  # eigenvalues over three decades
K = ROOT @ ROOT.T
WEIGHTS = np.arange(1.0, N + 1) / 21
Y, SIGNS, F = RNG.normal(size=N), np.array([1.0, -1, -1, 1, 1, -1]), RNG.normal(size=N)


def drive(loss, targets, stiff, decay):
    kernel = stiff * K
    return Drive(loss(targets, WEIGHTS), lambda u: kernel @ u, stiff * np.trace(K), decay)


@pytest.mark.parametrize("decay", [0.0, 0.8, 30.0])
@pytest.mark.parametrize(
    ("dt", "stiff"), [(0.01, 1.0), (0.7, 1.0), (10.0, 1.0), (10.0, 20.0), (-0.3, 1.0)]
)
def test_square_loss_against_the_matrix_exponential(dt, stiff, decay):
    """(f, S, 1)' is linear: f' = −K P (f − y) − decay·f, S' = P (f − y) − decay·S."""
    P, one, none = np.diag(WEIGHTS), np.eye(N), np.zeros((N, N))
    towards = (P @ Y)[:, None]
    block = np.block(
        [
            [-stiff * K @ P - decay * one, none, stiff * K @ towards],
            [P, -decay * one, -towards],
            [np.zeros((1, 2 * N + 1))],
        ]
    )
    exact = (expm(dt * block) @ np.r_[F, np.zeros(N), 1.0])[N : 2 * N]
    S = drive(mf.square, Y, stiff, decay).over(dt, F)
    assert_allclose(S, exact, rtol=0, atol=1e-12 * np.abs(exact).max())


@pytest.mark.parametrize("decay", [0.0, 0.8])
@pytest.mark.parametrize("loss", [mf.square, mf.huber(0.4)], ids=["square", "huber"])
def test_a_kernel_may_be_its_matrix(loss, decay):
    for dt in (0.3, -0.3, 7.0):
        by_matrix = Drive(loss(Y, WEIGHTS), K, np.trace(K), decay).over(dt, F)
        expected = drive(loss, Y, 1.0, decay).over(dt, F)
        assert_allclose(by_matrix, expected, rtol=0, atol=1e-14 * np.abs(expected).max())


@pytest.mark.parametrize("decay", [0.0, 0.8])
@pytest.mark.parametrize("dt", [0.7, 10.0, -0.3])
@pytest.mark.parametrize(
    ("loss", "targets"),
    [(mf.logistic, SIGNS), (mf.huber(0.4), Y), (mf.square, Y)],
    ids=["logistic", "huber", "square"],
)
def test_any_loss_against_an_ode_solver(loss, targets, dt, decay):
    bound = loss(targets, WEIGHTS)

    def rate(_, u):
        slope = WEIGHTS * bound.residual(u[:N])
        return np.r_[-K @ slope - decay * u[:N], slope - decay * u[N:]]

    path = solve_ivp(rate, (0, dt), np.r_[F, np.zeros(N)], method="LSODA", rtol=1e-12, atol=1e-13)
    S = drive(loss, targets, 1.0, decay).over(dt, F)
    assert_allclose(S, path.y[N:, -1], rtol=0, atol=3e-10)


def test_nothing_to_learn_and_nothing_to_move():
    for loss, targets in ((mf.square, Y), (mf.huber(0.4), Y)):
        assert_allclose(drive(loss, targets, 1.0, 0.0).over(2.0, Y), 0, atol=1e-17)
    still = Drive(mf.square(Y, WEIGHTS), np.zeros_like, 0.0)
    assert_allclose(still.over(2.0, F), 2 * WEIGHTS * (F - Y), rtol=1e-15)


@pytest.mark.parametrize("reach", [1e-6, 1e-3, 0.1, 1.0])
def test_a_series_ends_with_the_terms_that_count(reach):
    """rate·dt ≤ 1: the k-th term is at most reach^k/k! of the first, and 1/24! is 2e-24."""
    applied = []

    def kernel(u):
        applied.append(u)
        return K @ u

    rate = np.trace(K)
    Drive(mf.square(Y, WEIGHTS), kernel, rate).over(reach / rate, F)
    fall = reach ** np.arange(1.0, 25) / np.cumprod(np.arange(1.0, 25))
    assert len(applied) <= 2 + np.searchsorted(-fall, -1e-19)


@pytest.mark.parametrize(("loss", "targets"), [(mf.square, Y), (mf.logistic, SIGNS)])
def test_what_is_no_number_stays_none(loss, targets):
    """Of a NaN the answer is NaN, at once: the loop refuses it."""
    spoiled = np.where(np.arange(N) == 2, np.nan, F)
    assert np.isnan(drive(loss, targets, 1.0, 0.0).over(0.5, spoiled)).all()
    endless = Drive(loss(targets, WEIGHTS), lambda u: K @ u, np.inf)
    assert np.isnan(endless.over(0.5, F)).all()


def test_a_slope_that_is_lost_on_the_way_is_no_number():
    """The loss has no slope beyond f = 3, where its flow leads."""
    lost = mf.Loss(lambda f, y: -f, lambda f, y: np.where(f > 3, np.nan, -1.0))
    S = Drive(lost(Y, WEIGHTS), lambda u: K @ u, np.trace(K)).over(1e3, F)
    assert np.isnan(S).all()


# -------------------------------------------------------------------------------- on the grid
X = np.linspace(-2, 2, 9)


def sweep_of_the_output_weight(loss, targets, mu, dt, order=7, cells=256):
    """Predictions before and after one a-sweep, and K = Σ m0 ψψᵀ at the start."""
    law = mf.gaussian([0.3, 0.6], [0.8, 0.5])
    problem = mf.two_layer(X, targets, loss=loss, penalty=mf.ridge((mu, 0.0)), initial=law)
    grid = mf.Grid(a=mf.uniform(-14, 14, cells), w=mf.uniform(-4, 4, 64))
    flow = mf.WassersteinFlow(problem, grid, order)
    sweeps = Sweeps(flow, order)
    start = sweeps.start(flow.start, flow.field(flow.start))
    masses, before = sweeps.observed(start)
    moved = sweeps.move_output(start, dt)
    psi = np.tanh(np.multiply.outer(grid.axes["w"].centres, X))
    assert sum(moved.escaped["a"]) < 1e-15
    return before, sweeps.observed(moved)[1], (psi * masses[0][:, None]).T @ psi


def exact_residual(before, y, kernel, mu, dt):
    """r' = −(K P + μ) r − μ y, K at rest: the exponential of one matrix."""
    A = np.block([[-kernel / len(X) - mu * np.eye(len(X)), -mu * y[:, None]], [np.zeros(10)]])
    return (expm(dt * A) @ np.r_[before - y, 1.0])[:-1]


@pytest.mark.parametrize("dt", [0.7, 3.0, 10.0, -0.5])
def test_the_residual_after_a_sweep_is_exact(dt):
    """Square loss without ridge: every column is shifted as it stands, and a conservative remap of
    any order moves its mean by exactly the shift, as long as nothing is limited."""
    y = np.sin(1.5 * X)
    for order in (5, 9):
        before, after, kernel = sweep_of_the_output_weight(mf.square, y, 0.0, dt, order)
        exact = exact_residual(before, y, kernel, 0.0, dt)
        assert_allclose(after - y, exact, rtol=0, atol=1e-13)
        assert np.abs(after - before).max() > 0.1


@pytest.mark.parametrize(("mu", "dt"), [(0.4, 0.7), (0.05, 10.0), (0.1, -2.0)])
def test_with_ridge_it_is_exact_where_columns_are_resolved(mu, dt):
    """A contracted column's mean is that of the remap: as exact as its order allows."""
    y, errors = np.sin(1.5 * X), []
    for cells in (96, 256):
        before, after, kernel = sweep_of_the_output_weight(mf.square, y, mu, dt, 9, cells)
        errors.append(np.abs(after - y - exact_residual(before, y, kernel, mu, dt)).max())
    assert errors[0] < 1e-7
    assert errors[1] < 1e-13


@pytest.mark.parametrize(("mu", "dt"), [(0.0, 0.7), (0.0, 10.0), (0.4, 0.7), (0.05, 10.0)])
@pytest.mark.parametrize(
    ("loss", "targets"),
    [(mf.logistic, np.where(X > 0.3, 1.0, -1.0)), (mf.huber(0.3), np.sin(1.5 * X))],
    ids=["logistic", "huber"],
)
def test_other_losses_to_the_tolerance_of_their_ode(loss, targets, mu, dt):
    before, after, kernel = sweep_of_the_output_weight(loss, targets, mu, dt)
    bound = loss(targets)
    path = solve_ivp(
        lambda _, f: -kernel @ bound.slope(f) - mu * f,
        (0, dt),
        before,
        method="LSODA",
        rtol=1e-12,
        atol=1e-13,
    )
    assert_allclose(after, path.y[:, -1], rtol=0, atol=1e-9)
