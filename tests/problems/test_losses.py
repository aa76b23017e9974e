"""Losses against differences, convex duality, and what binding them to data promises."""

import pickle

import numpy as np
import pytest

from mfpde.errors import InvalidInput
from mfpde.problems.losses import LOSSES, Loss, huber, logistic, square

ALL = [square, logistic, huber(0.7)]
everyone = pytest.mark.parametrize("loss", ALL, ids=str)
F = np.linspace(-3.03, 3.05, 24)  # no residual at the kink of huber


def targets(loss, n=24):
    y = np.sin(3.0 * np.arange(n))
    return np.where(y > 0, 1.0, -1.0) if loss.labels else y


def test_values_are_the_definitions():
    f, y = np.array([0.2, -2.0]), np.array([1.0, -1.0])
    np.testing.assert_allclose(square.value(f, y), [0.32, 0.5], rtol=1e-15)
    np.testing.assert_allclose(logistic.value(f, y), np.log(1 + np.exp(-y * f)), rtol=1e-14)
    np.testing.assert_allclose(huber(0.9).value(f, y), [0.32, 0.9 * (1 - 0.45)], rtol=1e-14)
    assert sorted(LOSSES) == ["logistic", "square"]


@everyone
def test_slope_and_curvature_are_derivatives(loss):
    y, h = targets(loss), 1e-4
    for function, derivative in [(loss.value, loss.slope), (loss.slope, loss.curvature)]:
        difference = (function(F + h, y) - function(F - h, y)) / (2 * h)
        np.testing.assert_allclose(derivative(F, y), difference, atol=1e-8)


@everyone
def test_smoothness_is_the_largest_curvature(loss):
    f = np.linspace(-5, 5, 2001)
    largest = loss.curvature(f, np.ones_like(f)).max()
    assert largest == pytest.approx(loss.smoothness, rel=1e-12)


@everyone
def test_far_out_everything_stays_a_number(loss):
    y = targets(loss)
    for part in (loss.value, loss.slope, loss.curvature):
        assert np.isfinite(part(300 * F, y)).all()


@everyone
def test_fenchel_young_is_an_equality_at_the_slope(loss):
    y = targets(loss)
    u = loss.slope(F, y)
    np.testing.assert_allclose(loss.value(F, y) + loss.conjugate(u, y), u * F, atol=2e-14)


@everyone
def test_conjugate_is_the_supremum(loss):
    """On a grid of spacing h the supremum is missed by at most sup l'' h^2/8."""
    f = np.linspace(-12, 12, 24001)
    y = targets(loss, 5)
    u = np.array([0.3, 0.55, 0.01, 0.69, 0.2]) * (-y if loss.labels else 1)
    sup = [
        np.max(u_i * f - loss.value(f, np.full_like(f, y_i))) for u_i, y_i in zip(u, y, strict=True)
    ]
    np.testing.assert_allclose(loss.conjugate(u, y), sup, atol=2e-7)


def test_conjugates_are_infinite_off_their_domain():
    u, y = np.array([-0.1, 0.1, -1.1, 1.1]), np.array([-1.0, 1.0, 1.0, -1.0])
    assert np.all(logistic.conjugate(u, y) == np.inf)
    np.testing.assert_array_equal(logistic.conjugate(np.array([0.0, -1.0]), np.ones(2)), 0)
    np.testing.assert_array_equal(
        np.isinf(huber(0.5).conjugate(np.array([-0.51, -0.5, 0.5, 0.51]), np.ones(4))),
        [True, False, False, True],
    )


@everyone
def test_bound_loss_is_the_weighted_sum(loss):
    y = targets(loss)
    p = np.arange(1.0, len(F) + 1)
    p /= p.sum()
    bound = loss(y, p)
    assert bound.risk(F) == pytest.approx(sum(p * loss.value(F, y)), rel=1e-14)
    e, h = np.eye(len(F)), 1e-4
    gradient = [(bound.risk(F + h * v) - bound.risk(F - h * v)) / (2 * h) for v in e]
    hessian = [(bound.slope(F + h * v) - bound.slope(F - h * v)) @ v / (2 * h) for v in e]
    np.testing.assert_allclose(bound.slope(F), gradient, atol=1e-9)
    np.testing.assert_allclose(bound.curvature(F), hessian, atol=1e-9)
    np.testing.assert_allclose(bound.slope(F), p * bound.residual(F), rtol=1e-15)
    u = bound.residual(F)
    assert bound.risk(F) + bound.conjugate(u) == pytest.approx(p @ (u * F), abs=1e-14)
    assert (bound.smoothness, bound.name) == (loss.smoothness, loss.name)


def test_weights_are_equal_by_default_and_data_cannot_change_under_it():
    y = np.array([1.0, 2.0, 4.0])
    bound = square(y)
    np.testing.assert_allclose(bound.weights, 1 / 3, rtol=1e-16)
    y[0] = 7
    assert bound.y[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        bound.y[0] = 7


def test_a_sample_of_weight_zero_is_absent_from_the_conjugate():
    bound = logistic([1, -1], [1, 0])
    assert bound.conjugate(np.array([-0.5, 5.0])) == pytest.approx(-np.log(2))


@pytest.mark.parametrize(
    "index", [[3, 1, 1], slice(1, 4), np.array([False, True, False, True, True])], ids=str
)
def test_subset_is_the_conditional_law_of_the_samples(index):
    y, p = np.arange(5.0), np.array([0.1, 0.2, 0.3, 0.4, 0.0])
    part = square(y, p).subset(index)
    np.testing.assert_array_equal(part.y, y[index])
    np.testing.assert_allclose(part.weights, p[index] / p[index].sum(), rtol=1e-15)


def test_a_bound_loss_names_itself_and_prints_no_arrays():
    assert repr(square(np.zeros(5))) == "square on 5 samples"


@everyone
def test_survives_another_process(loss):
    copy = pickle.loads(pickle.dumps(loss(targets(loss))))
    assert copy.risk(F) == loss(targets(loss)).risk(F)
    assert repr(loss) == loss.name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: logistic([1, 0]), r"y\[1\] is 0"),
        (lambda: logistic([1, -1, 2]), r"-1 or \+1"),
        (lambda: square([1, np.nan]), r"y\[1\] is nan"),
        (lambda: square([]), "shape"),
        (lambda: square([[1, 2]]), "shape"),
        (lambda: square([1, 2], [0.5, 0.4]), r"weights / weights.sum\(\)"),
        (lambda: square([1, 2], [1.5, -0.5]), r"weights\[1\] is -0.5"),
        (lambda: square([1, 2], [1, np.inf]), r"weights\[1\] is inf"),
        (lambda: square([1, 2], [1]), r"give shape \(2,\)"),
        (lambda: square([1, 2], [1, 0]).subset([1]), "carry no weight"),
        (lambda: logistic([1, 0, 1]), r"y = 2\*y - 1"),
        (lambda: logistic([1, 0, 2]), "recode"),
        (lambda: square(np.ones((64, 1))), r"\(64, 1\).*y\.ravel\(\)"),
        (lambda: square(["p", "q"]), "y is not an array of numbers"),
        (lambda: square([1, 2], "abc"), "weights is not an array of numbers: 'abc'"),
        (lambda: square([1 + 1j, 2]), "y is not an array of numbers.*complex"),
        (lambda: huber("a"), "huber.'a'"),
        (
            lambda: Loss(lambda f, y: np.mean((f - y) ** 2), np.subtract)([1.0, 2.0]),
            r"value of the loss user maps f and y \(2,\) to \(\).*pointwise",
        ),
        (
            lambda: Loss(square.value, lambda f, y: (f - y)[:, None])([1.0, 2.0]),
            r"slope of the loss user maps f and y \(2,\) to \(2, 1\)",
        ),
        (lambda: huber(0), "delta > 0"),
        (lambda: huber(np.nan), "delta > 0"),
        (lambda: Loss(square.value, square.slope)([1]).curvature(F[:1]), "no curvature.*Newton"),
        (lambda: Loss(square.value, square.slope)([1]).conjugate(F[:1]), "no conjugate.*certif"),
    ],
)
def test_bad_input_is_refused_by_name(wrong, message):
    with pytest.raises(InvalidInput, match=f"(?s){message}"):
        wrong()


# ----------------------------------------------------------------- slopes between two predictions
WAYS = {"tiny": 1e-9, "small": 1e-3, "across kinks": 1.0, "long": 40.0}


def pairs(loss, way):
    """Predictions on both sides of every kink and within, and others ``way`` off."""
    f = np.linspace(-3.03, 3.05, 24)
    return f, f + way * np.cos(5.0 * np.arange(24)), targets(loss)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@everyone
def test_mean_slope_does_the_work_of_the_risk(loss, way):
    """ℓ(g) − ℓ(f) = mean·(g − f), sample by sample, to the round-off of the values."""
    f, g, y = pairs(loss, way)
    mean = loss(y).mean_slope(f, g) * len(y)
    rise = loss.value(g, y) - loss.value(f, y)
    size = abs(loss.value(g, y)) + abs(loss.value(f, y)) + abs(mean * (g - f))
    assert (abs(mean * (g - f) - rise) <= 1e-14 * size).all()
    assert abs(rise).max() > 0


@everyone
def test_mean_slope_is_free_of_cancellation(loss):
    """Between neighbours it is the slope there, which quotients of differences lose."""
    f, g, y = pairs(loss, 1e-9)
    middle = loss(y).slope(0.5 * (f + g))
    np.testing.assert_allclose(loss(y).mean_slope(f, g), middle, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(loss(y).mean_slope(f, f), loss(y).slope(f), rtol=1e-13, atol=1e-16)


@everyone
def test_mean_slope_is_symmetric_and_weighted(loss):
    f, g, y = pairs(loss, 1.0)
    p = np.arange(1.0, 25.0) / 300
    np.testing.assert_allclose(
        loss(y, p).mean_slope(f, g), 24 * p * loss(y).mean_slope(g, f), rtol=1e-12, atol=1e-16
    )


@pytest.mark.parametrize("way", [0.0, 0.3])
@pytest.mark.parametrize("loss", [square, logistic], ids=str)
def test_mean_curvature_is_the_derivative_of_mean_slope(loss, way):
    f, g, y = pairs(loss, way)
    bound, h = loss(y), 1e-4
    difference = (bound.mean_slope(f, g + h) - bound.mean_slope(f, g - h)) / (2 * h)
    np.testing.assert_allclose(bound.mean_curvature(f, g), difference, atol=1e-10)


def test_mean_curvature_of_huber_away_from_its_kinks():
    loss, y = huber(0.7), np.zeros(3)
    f, g, h = np.array([-0.5, 1.0, -2.0]), np.array([0.6, 3.0, -1.1]), 1e-4
    bound = loss(y)
    difference = (bound.mean_slope(f, g + h) - bound.mean_slope(f, g - h)) / (2 * h)
    np.testing.assert_allclose(bound.mean_curvature(f, g), difference, atol=1e-10)
    np.testing.assert_allclose(difference, [1 / 6, 0, 0], atol=1e-10)
