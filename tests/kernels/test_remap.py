"""The remap of one line: order, conservation and sign, for any monotone feet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders.observed import observed_orders
from scipy.special import ndtr

from mfpde.kernels.remap import remap
from mfpde.kernels.stencils import remap_table
from mfpde.kernels.tiles import CLOSED, OPEN, PERIODIC

ORDERS = (5, 7, 9)
WALLS = {"closed": CLOSED, "open": OPEN, "periodic": PERIODIC}


def remapped(rho, feet, order, wall):
    """New averages, what left at both ends (in averages), how many cells were rough."""
    old = np.ascontiguousarray(rho[None, :, None])
    new, out = np.empty_like(old), np.zeros((2, 1, 1))
    count = remap(
        old, np.ascontiguousarray(feet[None, :, None]), remap_table(order), wall, new, out
    )
    return new[0, :, 0], out.ravel(), count


def line(N):
    """A Gaussian on the line, and feet of a smooth map that stretches and shifts."""
    faces = np.linspace(-7, 7, N + 1)
    feet = faces + 0.3 * np.sin(faces) + 0.2
    return 14 / N, np.diff(ndtr(faces)), np.diff(ndtr(feet)), (feet + 7) * N / 14, OPEN


def circle(N):
    faces = np.linspace(0, 2 * np.pi, N + 1)
    feet = faces + 0.4 * np.sin(faces) + 9.1  # more than once round

    def mass(x):
        return x + 0.9 * np.sin(x)

    feet_in_cells = feet * N / (2 * np.pi)
    return 2 * np.pi / N, np.diff(mass(faces)), np.diff(mass(feet)), feet_in_cells, PERIODIC


@pytest.mark.parametrize("world", [line, circle])
@pytest.mark.parametrize("order", ORDERS)
def test_smooth_maps_at_the_remaps_order(world, order):
    """One remap; the error's share of h^p varies with where feet lie in cells, so ends are far."""
    errors, cells = [], (24, 48) if world is circle else (64, 160)
    for N in cells:
        _, before, after, feet, wall = world(N)
        new, _, _ = remapped(before, feet, order, wall)
        errors.append(np.abs(new - after).sum())
    np.testing.assert_allclose(observed_orders(errors, cells), order, rtol=0, atol=0.6)


@pytest.mark.parametrize("order", ORDERS)
def test_resolved_smooth_data_are_not_limited(order):
    _, before, _, feet, wall = circle(64)
    assert remapped(before, feet, order, wall)[2] == 0


@pytest.mark.parametrize("wall", WALLS.values(), ids=WALLS)
@pytest.mark.parametrize("order", ORDERS)
def test_rest_and_whole_shifts_are_exact(order, wall):
    rho, faces = np.random.default_rng(0).random(30), np.arange(31.0)
    np.testing.assert_allclose(remapped(rho, faces, order, wall)[0], rho, rtol=0, atol=1e-15)
    if wall == PERIODIC:
        for shift in (3, -70):
            new, _, _ = remapped(rho, faces + shift, order, wall)
            np.testing.assert_allclose(new, np.roll(rho, -shift), rtol=0, atol=1e-14)


def rough_lines():
    kinds = st.sampled_from(["noise", "one cell", "few cells", "steep", "empty"])
    return st.tuples(kinds, st.integers(10, 40), st.integers(0, 2**31), st.floats(0.0, 30.0))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rough_lines(), st.sampled_from(ORDERS), st.sampled_from(list(WALLS.values())))
def test_any_data_and_monotone_feet_keep_sign_and_mass(data, order, wall):
    kind, N, seed, courant = data
    rng = np.random.default_rng(seed)
    rho = rng.random(N)
    if kind == "one cell":
        rho[:] = 0
        rho[rng.integers(N)] = 1
    elif kind == "few cells":
        rho *= rng.random(N) < 0.2
    elif kind == "steep":
        rho = np.exp(-60 * rho)
    elif kind == "empty":
        rho[:] = 0
    feet = np.concatenate([[0], np.cumsum(rng.random(N) ** rng.integers(1, 8))])
    feet = feet * N / feet[-1] * rng.uniform(0.2, 2.5) + courant * rng.uniform(-1, 1)
    if wall == PERIODIC:
        feet *= N / (feet[-1] - feet[0])
    new, out, _ = remapped(rho, feet, order, wall)
    assert new.min() >= 0
    assert out.min() >= 0
    assert abs(new.sum() + out.sum() - rho.sum()) <= 1e-14 * N * max(rho.max(), 1e-300)
    if wall != OPEN:
        assert out.sum() == 0


@pytest.mark.parametrize("order", ORDERS)
def test_mirrored_data_give_the_mirrored_line(order):
    rng = np.random.default_rng(1)
    rho = rng.random(25) * (rng.random(25) < 0.6)
    feet = np.cumsum(rng.random(26)) * 2 - 1
    new, out, _ = remapped(rho, feet, order, OPEN)
    mirrored, swapped, _ = remapped(rho[::-1], 25 - feet[::-1], order, OPEN)
    np.testing.assert_allclose(mirrored[::-1], new, rtol=0, atol=1e-14)
    np.testing.assert_allclose(swapped[::-1], out, rtol=0, atol=1e-14)


def test_light_neighbours_do_not_hand_on_all_they_hold():
    """A clipped polynomial would spread a tail one cell per step at full weight."""
    rho, faces = np.array([0, 0, 0, 1e-9, 1e-4, 0.2, 0.6, 0.2, 1e-4, 1e-9, 0, 0]), np.arange(13.0)
    new, _, _ = remapped(rho, faces + 0.1, 7, OPEN)
    assert new[2] <= 0.2 * 1e-9
    assert new[3] <= 1e-9 + 0.2 * 1e-4
