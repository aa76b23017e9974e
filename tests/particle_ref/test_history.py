"""Predictions over time as Chebyshev series."""

import numpy as np
import pytest

from particle_ref.cloud import Cloud
from particle_ref.errors import NumericalStop
from particle_ref.force import Force
from particle_ref.history import History, instants, predicted, series
from particle_ref.spaces import Space

NOWHERE = np.zeros(1)


def history(function, count, horizon=2.0):
    values = np.array([function(t) for t in instants(horizon, count)])
    return History(horizon, series(values), NOWHERE, NOWHERE)


def test_instants_hold_both_ends():
    t = instants(3.0, 9)
    assert t[0] == 0
    assert t[-1] == 3
    np.testing.assert_allclose(t, 1.5 - 1.5 * np.cos(np.pi * np.arange(9) / 8), atol=1e-15)


def test_a_series_reproduces_polynomials_and_converges():
    cubic = history(lambda t: np.array([t**3 - t, 1.0]), 4)
    smooth = history(lambda t: np.array([np.exp(-3 * t), np.sin(t)]), 24)
    for t in np.linspace(0, 2, 17):
        np.testing.assert_allclose(cubic(t), [t**3 - t, 1.0], rtol=0, atol=2e-14)
        np.testing.assert_allclose(smooth(t), [np.exp(-3 * t), np.sin(t)], rtol=0, atol=1e-14)
    assert smooth.tail < 1e-15
    rough = history(lambda t: np.array([abs(t - 0.7)]), 24)
    assert rough.tail > 1e-4


def test_gaps_and_tails_are_relative_beyond_one():
    one, other = (history(lambda t, c=c: np.array([c * t, 0.0]), 5) for c in (1.0, 1.25))
    assert one.gap(other) == pytest.approx(0.5)  # at t = 2, and max|f| counts as coefficients: 1
    large, larger = (history(lambda t, c=c: np.array([c * t]), 5) for c in (100.0, 101.0))
    assert large.gap(larger) == pytest.approx(0.02)


def test_a_cloud_predicts_as_its_closed_form(toy):
    """Φ = (wx)² without output weight: f = x²S with S logistic."""
    x, y = np.array([0.5, 1.0, 1.5]), np.array([0.4, 0.9, 1.3])
    problem = toy.two_layer(x, y, "quadratic", output_weight=False)
    cloud = Cloud(np.array([[0.3], [-0.8], [1.1]]), [0.2, 0.5, 0.3])
    found = predicted(Force(problem), Space(("w",), {}), cloud, 2.0, 16, 1e-12)
    S0, limit, rate = cloud.weight @ cloud.position[:, 0] ** 2, (y @ x**2) / (x**4).sum(), 4 / 3
    for t in (0.0, 0.13, 1.0, 2.0):
        S = limit / (1 + (limit / S0 - 1) * np.exp(-rate * (y @ x**2) * t))
        np.testing.assert_allclose(found(t), x**2 * S, rtol=0, atol=1e-12)
    assert found.tail < 1e-13
    w = np.array([-0.8, 1.1]) * np.sqrt(max(S / S0, 1))
    np.testing.assert_allclose([found.low[0], found.high[0]], w, rtol=1e-9)


def test_kinks_in_time_are_refused(toy, monkeypatch):
    """Huber's slope has a kink where a residual passes δ, and the series has a long tail."""
    monkeypatch.setattr("particle_ref.history.MOST_INSTANTS", 50)
    problem = toy.two_layer([1.0, -0.5], [0.65, -0.2], "tanh", "huber")
    cloud = Cloud([[0.5, 0.5], [1.0, 0.3]])
    arguments = Force(problem), Space(("a", "w"), {}), cloud, 3.0, 16
    with pytest.raises(NumericalStop, match=r"within \d\.\de-\d+ only"):
        predicted(*arguments, 1e-12)
    assert predicted(*arguments, 1e-3).tail <= 1e-4
