"""sup |Σ c_i σ(w·x_i)| on the sphere, against points of the sphere."""

import numpy as np
import pytest

from mfpde.optimality.sectors import (
    Fan,
    cap_bound,
    circle,
    climbed,
    peaks,
    sectors,
    subdivided,
    supremum,
)

SIDES = {"relu": (1.0, 0.0), "leaky": (1.0, 0.01), "identity": (1.0, 1.0), "modulus": (1.0, -1.0)}
every_side = pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)


def random_fan(seed, n, k, sides):
    rng = np.random.default_rng(seed)
    return Fan(rng.normal(size=(n, k)), *sides), rng.normal(size=n)


def on_sphere(seed, count, k):
    w = np.random.default_rng(seed).normal(size=(count, k))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


@every_side
@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("k", [1, 2])
def test_exact_in_one_and_two_dimensions(sides, n, k):
    """It is taken at a point of the sphere, and no other point of a dense set has more."""
    fan, c = random_fan(n, n, k, sides)
    found = supremum(fan, c)
    round_off = 1e-12 * fan.lipschitz(c)
    assert np.linalg.norm(found.at) == pytest.approx(1, abs=1e-14)
    assert abs(fan(found.at[None])[0] @ c) == pytest.approx(found.value, abs=1e-15)
    assert found.value <= found.upper <= found.value + round_off
    dense = np.array([[1.0], [-1.0]]) if k == 1 else circle(np.linspace(0, 2 * np.pi, 20001))
    largest = np.abs(fan(dense) @ c).max()
    assert largest <= found.upper
    assert found.upper <= largest + fan.lipschitz(c) * np.pi / 20000 + round_off


@every_side
def test_inputs_that_coincide_oppose_or_vanish(sides):
    fan, c = random_fan(3, 9, 2, sides)
    x = fan.directions.copy()
    x[1], x[2], x[3], x[4] = 0.0, x[0], -x[0], 3 * x[5]
    fan = Fan(x, *sides)
    found = supremum(fan, c)
    dense = np.abs(fan(circle(np.linspace(0, 2 * np.pi, 200001))) @ c).max()
    assert dense <= found.upper <= found.value + 1e-12 * fan.lipschitz(c)


def test_nothing_to_find():
    fan, _ = random_fan(0, 4, 2, SIDES["relu"])
    assert supremum(fan, np.zeros(4)).upper == 0
    assert supremum(Fan(np.zeros((4, 2)), 1.0, 0.0), np.ones(4)).upper == 0
    half = Fan(np.array([[1.0, 0.0]]), 1.0, 0.0)  # one sample: 1 at its own direction
    assert supremum(half, np.array([-2.0])).value == pytest.approx(2, abs=1e-15)


def test_g_is_linear_on_each_sector():
    fan, c = random_fan(5, 12, 2, SIDES["leaky"])
    angles, v = sectors(fan, c)
    widths = np.diff(angles, append=angles[0] + 2 * np.pi)
    for share in (0.0, 0.3, 1.0):
        w = circle(angles + share * widths)
        np.testing.assert_allclose(fan(w) @ c, np.sum(v * w, axis=1), atol=1e-13)


@every_side
def test_peaks_are_local_maxima(sides):
    fan, c = random_fan(8, 15, 2, sides)
    points, g = peaks(fan, c)
    np.testing.assert_allclose(fan(points) @ c, g, atol=1e-13)
    assert abs(g[0]) == pytest.approx(supremum(fan, c).value, abs=1e-13)
    angle = np.arctan2(points[:, 1], points[:, 0])
    for near in (-1e-5, 1e-5):
        assert (np.abs(fan(circle(angle + near)) @ c) <= np.abs(g) + 1e-13).all()
    grid = np.abs(fan(circle(np.linspace(0, 2 * np.pi, 100000, endpoint=False))) @ c)
    seen = (grid > np.roll(grid, 1)) & (grid > np.roll(grid, -1))
    assert len(g) == seen.sum()


@every_side
@pytest.mark.parametrize(("k", "tolerance"), [(2, 1e-5), (3, 1e-5), (4, 1e-3)])
def test_subdivision_encloses(sides, k, tolerance):
    fan, c = random_fan(k, 12, k, sides)
    tolerance *= fan.lipschitz(c)
    upper, at = subdivided(fan, c, tolerance)
    value = abs(fan(at[None])[0] @ c)
    assert value <= upper + 1e-14 * abs(value) * len(c) <= value + 2 * tolerance
    assert np.abs(fan(on_sphere(1, 20000, k)) @ c).max() <= upper
    if k == 2:
        exact = supremum(fan, c)
        assert exact.value - tolerance <= value <= exact.upper
        assert exact.value <= upper + 1e-14


@pytest.mark.parametrize("k", [3, 5])
def test_linear_networks_have_a_closed_form(k):
    fan, c = random_fan(k, 10, k, SIDES["identity"])
    found = supremum(fan, c, 1e-6)
    norm = np.linalg.norm(c @ fan.directions)
    assert found.value == pytest.approx(norm, rel=1e-13)
    assert norm <= found.upper <= norm * (1 + 1e-12) + 1e-6 * fan.lipschitz(c)


@pytest.mark.parametrize("k", [9, 100])
def test_bounds_hold_where_memory_ends_the_subdivision(k):
    fan, c = random_fan(0, 30, k, SIDES["relu"])
    found = supremum(fan, c)
    g = np.abs(fan(on_sphere(2, 5000, k)) @ c).max()
    assert g <= found.value <= found.upper <= fan.lipschitz(c)


@every_side
def test_bounds_of_caps(sides):
    fan, c = random_fan(4, 10, 3, sides)
    centres = on_sphere(5, 30, 3)
    for reach in (2.0, 0.7, 0.1, 1e-3):
        bound = cap_bound(fan, c, centres, centres @ fan.directions.T, reach)
        shift = 0.49 * reach * on_sphere(6, 400, 3)[:, None]
        near = centres + shift
        near /= np.linalg.norm(near, axis=2, keepdims=True)
        near = np.where(
            np.linalg.norm(near - centres, axis=2, keepdims=True) < reach, near, centres
        )
        assert (fan(near) @ c <= bound + 1e-13).all()
    at_once = cap_bound(fan, c, centres, centres @ fan.directions.T, 0.0)
    np.testing.assert_allclose(at_once, fan(centres) @ c, atol=1e-13)


def test_climbing_never_falls():
    fan, c = random_fan(6, 20, 4, SIDES["relu"])
    for w in on_sphere(7, 50, 4):
        best, peak = climbed(fan, c, w)
        assert best >= abs(fan(w[None])[0] @ c)
        assert abs(fan(peak[None])[0] @ c) == pytest.approx(best, abs=1e-13)
        assert np.linalg.norm(peak) == pytest.approx(1, abs=1e-13)


@every_side
@pytest.mark.parametrize("n", [4, 8, 12, 20])
@pytest.mark.parametrize("turn", [0.0, np.pi / 2, np.pi, 1e-16, -1e-16])
def test_inputs_evenly_on_the_circle(sides, n, turn):
    """Angles that are the same but for rounding, at 0 and all around, against points in between.

    On a cell of half width h the largest |g| is at most L h above that of its middle.
    """
    fan = Fan(circle(2 * np.pi * np.arange(n) / n + turn), *sides)
    w = circle(2 * np.pi * (np.arange(4000) + 0.5) / 4000)
    for charge in np.random.default_rng(n).normal(size=(40, n)):
        found, dense = supremum(fan, charge), np.abs(fan(w) @ charge).max()
        assert dense <= found.upper <= dense + fan.lipschitz(charge) * np.pi / 4000
        assert found.value == pytest.approx(found.upper, rel=1e-12, abs=1e-12)
