"""Steps of order 8: their order, their error, their direction, and what stops them."""

import numpy as np
import pytest

from particle_ref.errors import NumericalStop
from particle_ref.runge_kutta import _step, integrate


def oscillators(t, state):
    """(q, p)' = ω(p, −q) with ω = 1 + row: every row turns at its own pace."""
    rate = 1.0 + np.arange(len(state))[:, None]
    return rate * np.column_stack([state[:, 1], -state[:, 0]])


def turned(rows, t):
    angle = (1.0 + np.arange(rows)) * t
    return np.column_stack([np.cos(angle), -np.sin(angle)])


def driven(t, state):
    return np.cos(t) * state


def test_a_step_is_of_order_8():
    """The error of one step goes as h⁹."""
    start, errors = turned(1, 0.0), []
    for h in (1.6, 0.8, 0.4):
        later, slope, _ = _step(oscillators, 0.0, start, oscillators(0.0, start), h, 1e-13)
        np.testing.assert_array_equal(slope, oscillators(h, later))
        errors.append(np.abs(later - turned(1, h)).max())
    np.testing.assert_allclose(np.log2(errors[:-1]) - np.log2(errors[1:]), 9.0, atol=0.2)
    assert errors[-1] < 3e-11


@pytest.mark.parametrize("tolerance", [1e-13, 1e-10, 1e-6])
def test_states_are_right_at_the_times_asked_for(tolerance):
    times = [0.0, 0.0, 1e-3, 0.7, 2.0]
    states = list(integrate(oscillators, turned(5, 0.0), times, tolerance))
    assert len(states) == len(times) - 1
    for t, state in zip(times[1:], states, strict=True):
        np.testing.assert_allclose(state, turned(5, t), rtol=0, atol=20 * tolerance)


def test_time_may_run_backwards():
    (state,) = integrate(oscillators, turned(3, 2.0), [2.0, 0.0], 1e-13)
    np.testing.assert_allclose(state, turned(3, 0.0), rtol=0, atol=1e-12)
    (driven_back,) = integrate(driven, np.full((1, 1), np.exp(np.sin(1.5))), [1.5, 0.0], 1e-13)
    assert driven_back[0, 0] == pytest.approx(1.0, abs=1e-13)


def test_the_worst_path_rules():
    """One fast path among 10⁴ at rest is as right as if it were alone, but for rounding."""
    start = np.zeros((10**4, 2))
    start[7] = [1.0, 0.0]

    def rate(t, state):
        return 20 * np.column_stack([state[:, 1], -state[:, 0]])

    (among,) = integrate(rate, start, [0.0, 1.0], 1e-10)
    np.testing.assert_allclose(among[7], [np.cos(20), -np.sin(20)], rtol=0, atol=1e-9)
    (alone,) = integrate(rate, start[7:8], [0.0, 1.0], 1e-10)
    np.testing.assert_allclose(alone[0], among[7], rtol=0, atol=1e-13)


def test_a_blow_up_is_refused_unless_its_path_is_lost():
    """y' = y² from 1 is infinite at time 1; from −1 it is −1/(1 + t)."""
    start = np.array([[1.0], [-1.0]])
    with np.errstate(over="ignore", invalid="ignore"):
        with pytest.raises(NumericalStop, match=r"beyond t = (1|0\.9)"):
            list(integrate(lambda t, y: y**2, start, [0.0, 2.0], 1e-10))
        (state,) = integrate(
            lambda t, y: y**2, start, [0.0, 2.0], 1e-10, lost=lambda y: y[:, 0] > 50
        )
    assert state[0, 0] > 50
    assert state[1, 0] == pytest.approx(-1 / 3, abs=1e-9)


def test_a_path_that_is_lost_from_the_start_stays():
    (state,) = integrate(
        driven, np.ones((2, 1)), [0.0, 1.0], 1e-10, lost=lambda y: np.array([True, False])
    )
    assert state[0, 0] == 1.0
    assert state[1, 0] == pytest.approx(np.exp(np.sin(1.0)), abs=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_force_that_is_not_finite_is_refused(value):
    def rate(t, y):
        return np.where(y > 1.1, value, 1.0)

    with np.errstate(invalid="ignore"), pytest.raises(NumericalStop, match=r"beyond t = 0\.[01]"):
        list(integrate(rate, np.ones((1, 1)), [0.0, 1.0], 1e-10))


def test_a_stiff_flow_is_given_up(monkeypatch):
    monkeypatch.setattr("particle_ref.runge_kutta.MOST_STEPS", 100)
    with pytest.raises(NumericalStop, match="stiff"):
        list(integrate(lambda t, y: -1e4 * y, np.ones((1, 1)), [0.0, 1.0], 1e-10))


def test_no_path_at_all():
    (state,) = integrate(driven, np.empty((0, 2)), [0.0, 1.0], 1e-10)
    assert state.shape == (0, 2)
