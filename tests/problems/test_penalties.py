"""Penalties against differences, the definition of the proximal map, and addition."""

import pickle

import numpy as np
import pytest

from mfpde.errors import InvalidInput
from mfpde.problems.penalties import Penalty, no_penalty, path_norm, ridge, total_variation

POINTS = np.random.default_rng(5).normal(size=(40, 3))  # none at a kink
ALL = [
    no_penalty,
    ridge(0.3),
    ridge([0.5, 0.0, 2.0]),
    total_variation(0.0),
    total_variation(0.4),
    path_norm(0.6),
    ridge(0.3) + path_norm(0.6) + total_variation(0.4),
    ridge(0.3) + total_variation(0.4),
    total_variation(0.4) + ridge([0.5, 0.0, 2.0]),
    ridge(0.1) + total_variation(0.4) + (total_variation(0.2) + ridge([0.5, 0.0, 2.0])),
]
everyone = pytest.mark.parametrize("penalty", ALL, ids=str)
proximal = pytest.mark.parametrize("penalty", [p for p in ALL if p.prox], ids=str)


def test_values_are_the_definitions():
    theta = np.array([[-2.0, 3.0, 4.0], [0.0, 1.0, 1.0]])
    np.testing.assert_allclose(no_penalty.value(theta), [0, 0])
    np.testing.assert_allclose(ridge(0.5).value(theta), [29 / 4, 0.5])
    np.testing.assert_allclose(ridge((1, 2, 0)).value(theta), [2 + 9, 1])
    np.testing.assert_allclose(total_variation(3).value(theta), [6, 0])
    np.testing.assert_allclose(path_norm(3).value(theta), [30, 0])


@everyone
def test_gradient_is_that_of_the_value(penalty):
    h = 1e-5
    difference = [
        (penalty.value(POINTS + h * e) - penalty.value(POINTS - h * e)) / (2 * h) for e in np.eye(3)
    ]
    assert penalty.value(POINTS).shape == (40,)
    np.testing.assert_allclose(penalty.gradient(POINTS), np.transpose(difference), atol=1e-9)


def test_gradients_vanish_at_kinks():
    kinks = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(path_norm(1).gradient(kinks), 0)
    np.testing.assert_array_equal(total_variation(1).gradient(kinks[:2]), 0)


@proximal
def test_prox_minimises_what_it_should(penalty):
    """The objective is strongly convex: q beats the prox by at least |q - prox|^2 / (2 step)."""
    rng, step = np.random.default_rng(6), 0.8

    def objective(q):
        return penalty.value(q) + ((q - POINTS) ** 2).sum(axis=1) / (2 * step)

    best = penalty.prox(POINTS, step)
    for size in (1e-3, 1e-1, 1.0):
        q = best + size * rng.normal(size=POINTS.shape)
        margin = ((q - best) ** 2).sum(axis=1) / (2 * step)
        assert (objective(q) - objective(best) >= margin - 1e-14).all()


def test_soft_threshold_reaches_zero_exactly():
    theta = np.array([[0.3, 1.0], [-0.3, 1.0], [0.9, 1.0]])
    moved = total_variation(1.0).prox(theta, 0.5)
    np.testing.assert_array_equal(moved[:2, 0], 0)
    assert moved[2, 0] == pytest.approx(0.4)
    np.testing.assert_array_equal(moved[:, 1], 1)


def test_prox_of_sums_of_ridge_and_total_variation_in_any_order():
    """sign(p) (|p| − t s)₊ / (1 + t μ) on a, p/(1 + t μ) on the rest, strengths added."""
    t, left, right = 0.8, ridge([0.5, 0.0, 2.0]), total_variation(0.4)
    shrink = 1 + t * np.array([0.5, 0.0, 2.0])
    soft = POINTS.copy()
    soft[:, 0] = np.sign(POINTS[:, 0]) * np.maximum(np.abs(POINTS[:, 0]) - t * 0.4, 0)
    for penalty in (left + right, right + left):
        np.testing.assert_allclose(penalty.prox(POINTS, t), soft / shrink, rtol=1e-15)
    many = ridge(0.2) + total_variation(0.1) + ridge([0.3, 0.0, 1.8]) + total_variation(0.3)
    few = ridge([0.5, 0.2, 2.0]) + total_variation(0.4)
    np.testing.assert_allclose(many.prox(POINTS, t), few.prox(POINTS, t), rtol=1e-14)
    assert (many.prox(POINTS, t)[:, 0] == 0).any()


def test_a_sum_with_a_penalty_of_ones_own_has_no_prox():
    user = Penalty(lambda u: u[:, 0] ** 4, lambda u: 4 * u**3, lambda u, step: u)
    assert (ridge(1) + user).prox is None
    assert (total_variation(1) + ridge(1) + path_norm(1)).prox is None


def test_the_output_weight_is_asked_for_by_what_acts_on_it():
    asking = total_variation(0.1), path_norm(0.1), ridge(1) + total_variation(0.1)
    assert all(penalty.needs_output_weight for penalty in asking)
    assert not any(p.needs_output_weight for p in (ridge(1), no_penalty, ridge(1) + ridge(2)))


@everyone
def test_confines_says_where_the_penalty_grows_whatever_the_rest(penalty):
    rest = np.zeros((1, 3))
    grows = [penalty.value(rest + 1e8 * e)[0] > 1e6 for e in np.eye(3)]
    assert penalty.confines(3) == tuple(grows)


def test_sums_add_and_the_null_penalty_is_neutral():
    left, right = ridge(0.2), path_norm(0.5)
    both = left + right
    np.testing.assert_allclose(both.value(POINTS), left.value(POINTS) + right.value(POINTS))
    assert both.prox is None
    assert repr(both) == "ridge(0.2) + path_norm(0.5)"
    assert (left + no_penalty, no_penalty + left) == (left, left)
    assert pickle.loads(pickle.dumps(no_penalty)) + left is left


@everyone
def test_survives_another_process(penalty):
    copy = pickle.loads(pickle.dumps(penalty))
    np.testing.assert_array_equal(copy.gradient(POINTS), penalty.gradient(POINTS))
    assert repr(copy) == penalty.name


def test_users_penalty_confines_nothing_unless_it_says_so():
    user = Penalty(lambda u: u[:, 0] ** 4, lambda u: 4 * u**3)
    assert user.confines(2) == (False, False)
    assert (user.prox, repr(user)) == (None, "user")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: ridge(-1), "ridge.-1.*>= 0"),
        (lambda: ridge([1, np.inf]), "finite"),
        (lambda: ridge([[1.0]]), "one for each"),
        (lambda: ridge([1, 2]).value(POINTS), "2 strengths for 3 coordinates"),
        (lambda: ridge([1, 2]).confines(3), "2 strengths for 3 coordinates"),
        (lambda: total_variation(-0.1), "total_variation.-0.1"),
        (lambda: path_norm(np.nan), "path_norm.nan"),
        (lambda: ridge("a"), "ridge's mu is not an array of numbers: 'a'"),
        (lambda: ridge([[1], [2, 3]]), "ridge's mu is not an array of numbers"),
        (lambda: ridge(-np.ones(500)), "ridge.an array of shape .500,.*leave penalty out"),
        (lambda: total_variation("a"), "total_variation.'a'.*leave penalty out"),
        (lambda: path_norm(None), "path_norm.None"),
        (lambda: ridge([1, 2]) + ridge([1, 2, 3]), r"ridges of \[2, 3\] strengths"),
    ],
)
def test_bad_input_is_refused_by_name(wrong, message):
    with pytest.raises(InvalidInput, match=f"(?s){message}"):
        wrong()


def test_a_penalty_and_a_number_have_no_sum():
    with pytest.raises(TypeError, match="unsupported operand"):
        ridge(0.1) + 0.1
