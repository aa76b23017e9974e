"""The exact W2 of two clouds of one size."""

from itertools import permutations

import numpy as np
import pytest

import particle_ref as pr
import particle_ref.distances as distances_module

RNG = np.random.default_rng(0)


def test_a_translation_costs_its_length():
    points = RNG.normal(size=(60, 3))
    shift = np.array([1.0, -2.0, 2.0])
    assert pr.wasserstein_distance(points, points + shift) == pytest.approx(3.0, rel=1e-12)


def test_the_order_of_the_points_does_not_matter():
    left, right = RNG.normal(size=(2, 50, 2))
    distance = pr.wasserstein_distance(left, right)
    assert pr.wasserstein_distance(RNG.permutation(left), right) == pytest.approx(distance)
    assert pr.wasserstein_distance(right, left) == pytest.approx(distance)
    assert pr.wasserstein_distance(left, RNG.permutation(left)) == 0.0


def test_on_a_line_sorting_is_optimal():
    left, right = RNG.normal(size=(2, 80))
    sorted_gap = np.sqrt(np.mean((np.sort(left) - np.sort(right)) ** 2))
    distance = pr.wasserstein_distance(left[:, None], right[:, None])
    assert distance == pytest.approx(sorted_gap, rel=1e-12)


def test_no_pairing_of_six_points_is_shorter():
    left, right = RNG.normal(size=(2, 6, 2))
    pairings = [((left - right[list(order)]) ** 2).sum() / 6 for order in permutations(range(6))]
    expected = np.sqrt(min(pairings))
    assert pr.wasserstein_distance(left, right) == pytest.approx(expected, rel=1e-12)


def test_a_plan_that_is_not_optimal_is_an_error(monkeypatch):
    monkeypatch.setattr(distances_module, "MOST_PIVOTS", 10)
    with pytest.raises(pr.NumericalStop, match="plan"):
        pr.wasserstein_distance(*RNG.normal(size=(2, 80, 2)))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (np.ones((3, 2)), np.ones((4, 2))),
        (np.ones((3, 2)), np.ones((3, 1))),
        (np.ones(3), np.ones(3)),
        (np.full((3, 2), np.nan), np.ones((3, 2))),
    ],
)
def test_clouds_that_do_not_match_are_refused(left, right):
    with pytest.raises(pr.InvalidInput):
        pr.wasserstein_distance(left, right)
