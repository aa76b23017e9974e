"""Masses exchanged along lines: the Bernoulli function, rates, the solve without subtraction."""

import decimal
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde.kernels.exchange import bernoulli, exchange, rates, settle
from mfpde.kernels.tiles import CLOSED, OPEN, PERIODIC

WALLS = {"closed": CLOSED, "open": OPEN, "periodic": PERIODIC}
every_wall = pytest.mark.parametrize("wall", WALLS)


def exact_bernoulli(s: float) -> decimal.Decimal:
    """s/(eˢ − 1) with 400 digits: enough for the cancellation at s = 1e-300."""
    with decimal.localcontext(decimal.Context(prec=400, Emax=10**6, Emin=-(10**6))):
        x = decimal.Decimal(s)
        return decimal.Decimal(1) if s == 0 else x / (x.exp() - 1)


@pytest.mark.parametrize("sign", [-1, 1])
def test_bernoulli_to_1e_14_everywhere(sign):
    sizes = np.concatenate([[0.0, 1e-300], np.logspace(-20, 2.8, 150), np.linspace(0.01, 50, 97)])
    for s in sign * sizes[sizes < 700]:
        exact = exact_bernoulli(float(s))
        assert abs(decimal.Decimal(float(bernoulli(float(s)))) / exact - 1) < 1e-14, s
    assert bernoulli(1e4) == 0.0
    assert bernoulli(-1e4) == 1e4


def line(N: int, wall: str, seed: int, span: float) -> tuple[np.ndarray, ...]:
    """Masses and rates up and down of 3 lines (3, N, 1); rates span ``span`` decades."""
    rng = np.random.default_rng(seed)
    m, up, down = (10 ** rng.uniform(-span, span, (3, N, 1)) for _ in range(3))
    if wall == "closed":
        up[:, -1], down[:, 0] = 0.0, 0.0
    return m, up, down


def dense(up: np.ndarray, down: np.ndarray, wall: str) -> np.ndarray:
    """Q of one line."""
    N = len(up)
    Q = np.zeros((N, N))
    for k in range(N):
        for rate, to in ((up[k], k + 1), (down[k], k - 1)):
            Q[k, k] -= rate
            if wall == "periodic" or 0 <= to < N:
                Q[to % N, k] += rate
    return Q


@every_wall
def test_exchange_is_the_master_equation(wall):
    m, up, down = line(9, wall, 0, 0.5)
    gain = np.zeros_like(m)
    exchange(m, up, down, WALLS[wall], gain)
    for j in range(3):
        Q = dense(up[j, :, 0], down[j, :, 0], wall)
        assert_allclose(gain[j, :, 0], Q @ m[j, :, 0], rtol=1e-12, atol=1e-12)


def solved_exactly(A: list[list[Fraction]], b: list[Fraction]) -> list[Fraction]:
    """Gaussian elimination in rational numbers."""
    n = len(b)
    for k in range(n):
        for i in range(k + 1, n):
            factor = A[i][k] / A[k][k]
            b[i] -= factor * b[k]
            for j in range(k, n):
                A[i][j] -= factor * A[k][j]
    x = [Fraction(0)] * n
    for k in reversed(range(n)):
        x[k] = (b[k] - sum((A[k][j] * x[j] for j in range(k + 1, n)), Fraction(0))) / A[k][k]
    return x


@every_wall
@pytest.mark.parametrize("N", [4, 5, 12])
@pytest.mark.parametrize("dt", [1e-3, 1.0, 1e6])
def test_settle_is_accurate_in_every_component(wall, N, dt):
    """Rates and masses span 16 decades; every component is right to a few last places."""
    m, up, down = line(N, wall, N, 8.0)
    after = np.empty_like(m)
    settle(m, up, down, dt, WALLS[wall], after)
    for j in range(3):
        rows = [[Fraction(0)] * N for _ in range(N)]
        for k in range(N):
            rows[k][k] += 1
            for rate, to in ((up[j, k, 0], k + 1), (down[j, k, 0], k - 1)):
                amount = Fraction(dt) * Fraction(float(rate))
                rows[k][k] += amount
                if wall == "periodic" or 0 <= to < N:
                    rows[to % N][k] -= amount
        exact = solved_exactly(rows, [Fraction(float(v)) for v in m[j, :, 0]])
        for computed, truth in zip(after[j, :, 0], exact, strict=True):
            assert abs(Fraction(float(computed)) / truth - 1) < 40 * N * np.finfo(float).eps


@every_wall
def test_settle_along_every_axis_of_a_view(wall):
    """(outer, N, inner) with more lines than a tile holds."""
    rng = np.random.default_rng(3)
    m, up, down = rng.random((3, 2, 7, 70))
    if wall == "closed":
        up[:, -1], down[:, 0] = 0.0, 0.0
    after = np.empty_like(m)
    settle(m, up, down, 2.0, WALLS[wall], after)
    for i, j in ((0, 0), (1, 69), (0, 64)):
        Q = dense(up[i, :, j], down[i, :, j], wall)
        expected = np.linalg.solve(np.eye(7) - 2.0 * Q, m[i, :, j])
        assert_allclose(after[i, :, j], expected, rtol=1e-12)


@every_wall
def test_without_entropy_rates_are_upwind(wall):
    V = np.random.default_rng(1).normal(size=(2, 11, 3))
    up, down = np.empty_like(V), np.empty_like(V)
    rates(V, 0.0, np.full(12, 2.0), np.full(11, 3.0), WALLS[wall], up, down)
    drop = V[:, :-1] - V[:, 1:]
    assert_allclose(up[:, :-1], 6 * np.maximum(drop, 0), rtol=1e-15)
    assert_allclose(down[:, 1:], 6 * np.maximum(-drop, 0), rtol=1e-15)
    ends = {
        "closed": (0.0, 0.0),
        "open": (np.maximum(-drop[:, 0], 0), np.maximum(drop[:, -1], 0)),
        "periodic": (np.maximum(V[:, 0] - V[:, -1], 0), np.maximum(V[:, -1] - V[:, 0], 0)),
    }[wall]
    assert_allclose(down[:, 0], 6 * ends[0], rtol=1e-15)
    assert_allclose(up[:, -1], 6 * ends[1], rtol=1e-15)


@every_wall
@pytest.mark.parametrize("entropy", [0.05, 0.7, 30.0])
def test_with_entropy_rates_differ_by_the_drop_and_balance_at_equilibrium(wall, entropy):
    """Through a face up − down is the drop of V and up/down is e^(drop/λ): that is both of them."""
    rng = np.random.default_rng(2)
    V = rng.normal(size=(2, 11, 3))
    per_distance, per_width = rng.uniform(1, 2, (12, 1)), rng.uniform(1, 2, (11, 1))
    up, down = np.empty_like(V), np.empty_like(V)
    rates(V, entropy, per_distance[:, 0], per_width[:, 0], WALLS[wall], up, down)
    before, after = 2 * V[:, :1] - V[:, 1:2], 2 * V[:, -1:] - V[:, -2:-1]
    if wall == "periodic":
        before, after = V[:, -1:], V[:, :1]
    drop = -np.diff(np.concatenate([before, V, after], axis=1), axis=1)
    through = per_distance.copy()
    if wall == "closed":
        through[[0, -1]] = 0.0
    rise, fall = (d / np.expm1(d / entropy) * through for d in (-drop, drop))
    assert_allclose(up, rise[:, 1:] * per_width, rtol=1e-11)
    assert_allclose(down, fall[:, :-1] * per_width, rtol=1e-11)
