"""Clouds and samples."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

import particle_ref as pr


@pytest.mark.parametrize(
    ("position", "weight", "says"),
    [
        ([[np.nan, 0.0]], None, r"position\[0, 0\] = nan"),
        ([[np.inf, 0.0]], None, "finite"),
        ([1.0, 2.0], None, r"\(2,\)"),
        (np.empty((0, 2)), None, r"\(0, 2\)"),
        ([["a"]], None, "numbers"),
        ([[1.0], [2.0]], [1.5, -0.5], "-0.5"),
        ([[1.0], [2.0]], [0.5, 0.6], "1.1"),
        ([[1.0], [2.0]], [1.0], r"\(1,\)"),
        ([[1.0], [2.0]], [np.nan, 1.0], "weight"),
        ([[1.0], [2.0]], [0.5, 0.5 + 2e-5], "1.00002"),
    ],
)
def test_what_is_no_probability_is_refused(position, weight, says):
    with pytest.raises(pr.InvalidInput, match=says):
        pr.Cloud(position, weight)


def test_a_cloud_is_a_read_only_copy():
    given = np.ones((2, 3))
    cloud = pr.Cloud(given)
    given[:] = 7
    assert (cloud.position == 1).all()
    assert cloud.weight.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="read-only"):
        cloud.position[0, 0] = 2
    with pytest.raises(AttributeError):
        cloud.weight = np.ones(2)
    assert repr(cloud) == "Cloud(2 particles in 3 coordinates)"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cloud)).position, cloud.position)


def unit_cube(toy, D, domain=None):
    names = tuple(f"q{k}" for k in range(D))
    law = SimpleNamespace(from_uniform=lambda u: u)
    return toy.KernelProblem(coords=names, initial=law, domain=domain or {})


@pytest.mark.parametrize("kind", ["iid", "sobol"])
def test_samples_are_fixed_by_their_seed(toy, kind):
    problem = unit_cube(toy, 3)
    first = pr.sample(problem, 100, seed=1, kind=kind)
    assert first.position.shape == (100, 3)
    assert ((first.position > 0) & (first.position < 1)).all()
    np.testing.assert_array_equal(first.weight, 0.01)
    np.testing.assert_array_equal(first.position, pr.sample(problem, 100, 1, kind).position)
    assert (first.position != pr.sample(problem, 100, 2, kind).position).all()


def test_independent_samples_have_the_law(toy):
    """Kolmogorov-Smirnov in each of 2 coordinates, m = 4000, one replica: for D√m > 2.4 the false
    alarm rate is 2 · 2e^{−2·2.4²} = 4e-5. The coordinates' correlation: normal, beyond 4.5 sd 7e-6.
    """
    m = 4000
    normal = SimpleNamespace(from_uniform=special.ndtri)
    points = pr.sample(toy.KernelProblem(coords=("p", "q"), initial=normal), m, seed=3).position
    for column in points.T:
        quantile = special.ndtr(np.sort(column))
        steps = np.arange(m + 1) / m
        gap = max(np.abs(quantile - steps[1:]).max(), np.abs(quantile - steps[:-1]).max())
        assert gap * np.sqrt(m) < 2.4
    assert abs(np.mean(points[:, 0] * points[:, 1])) * np.sqrt(m) < 4.5


def test_sobol_points_fall_one_in_each_slab(toy):
    """A digital net in base 2: 2^k points have one in each of 2^k equal slabs of each axis."""
    points = pr.sample(unit_cube(toy, 4), 256, seed=5, kind="sobol").position
    slabs = np.sort(np.floor(256 * points).astype(int), axis=0)
    np.testing.assert_array_equal(slabs, np.arange(256)[:, None] * np.ones((1, 4)))
    fewer = pr.sample(unit_cube(toy, 4), 200, seed=5, kind="sobol").position
    np.testing.assert_array_equal(fewer, points[:200])
    assert len(pr.sample(unit_cube(toy, 4), 1, kind="sobol")) == 1


def test_no_number_drawn_is_0_or_1(monkeypatch, toy):
    """At the generator's own ends the points stay inside (0, 1), where inverse laws are finite."""
    for end in (0, 2**52 - 1):
        stub = SimpleNamespace(integers=lambda low, high, shape, end=end: np.full(shape, end))
        monkeypatch.setattr(np.random, "default_rng", lambda seed, stub=stub: stub)
        u = pr.sample(unit_cube(toy, 2), 3).position
        assert ((u > 0) & (u < 1)).all()


@pytest.mark.parametrize(
    ("m", "kind"), [(0, "iid"), (2.5, "iid"), (8, "quadrature"), (8, "grid"), (8, None)]
)
def test_samples_that_are_none_are_refused(toy, m, kind):
    with pytest.raises(pr.InvalidInput):
        pr.sample(unit_cube(toy, 2), m, kind=kind)


def test_samples_keep_to_the_domain(toy):
    shifted = SimpleNamespace(from_uniform=lambda u: u + 1.5)
    circle = {"q": toy.geometry("circle", 0.0, 1.0)}
    points = pr.sample(toy.KernelProblem(coords=("q",), initial=shifted, domain=circle), 50)
    assert ((points.position >= 0) & (points.position < 1)).all()
    wall = {"q": toy.geometry("interval", 0.0, 2.0)}
    with pytest.raises(pr.InvalidInput, match="outside"):
        pr.sample(toy.KernelProblem(coords=("q",), initial=shifted, domain=wall), 50)
