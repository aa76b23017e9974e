"""Averages to points and back: order, sum, sign, and what limits the fluxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.lines import ORDERS, WALLS, normal_density, rough_lines, switched
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtr

from mfpde.kernels.stencils import switch_weights
from mfpde.kernels.switch import switch
from mfpde.kernels.tiles import OPEN, WALL, axis_view

every_order = pytest.mark.parametrize("order", ORDERS)
every_wall = pytest.mark.parametrize("wall", WALLS)
both_ways = pytest.mark.parametrize("to_points", [True, False], ids=["to points", "to averages"])

# density and integral: zero at open walls, even about closed ones, periodic
SMOOTH = {
    "open": (-6.5, 7.0, normal_density, ndtr),
    "closed": (
        -1.0,
        1.0,
        lambda x: 1 + 0.5 * np.cos(np.pi * x),
        lambda x: x + 0.5 * np.sin(np.pi * x) / np.pi,
    ),
    "periodic": (
        0.0,
        2 * np.pi,
        lambda x: 1 + 0.9 * np.cos(x + 0.3),
        lambda x: x + 0.9 * np.sin(x + 0.3),
    ),
}
CELLS = {"open": (32, 48, 72), "closed": (12, 18, 27), "periodic": (12, 18, 27)}


def smooth(wall: str, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Averages and point values."""
    low, high, density, integral = SMOOTH[wall]
    faces = np.linspace(low, high, cells + 1)
    return np.diff(integral(faces)) / np.diff(faces), density(0.5 * (faces[1:] + faces[:-1]))


@every_order
@every_wall
@both_ways
def test_order_p_plus_1(order, wall, to_points):
    errors = []
    for cells in CELLS[wall]:
        averages, points = smooth(wall, cells)
        source, target = (averages, points) if to_points else (points, averages)
        errors.append(np.abs(switched(source, order, wall, to_points, False)[0] - target).max())
    orders = np.log(np.divide(errors[:-1], errors[1:])) / np.log(1.5)
    assert_allclose(orders[-1], order + 1, rtol=0, atol=0.5)
    assert errors[-1] < {5: 3e-5, 7: 2e-6, 9: 2e-7}[order]


@every_order
@every_wall
def test_there_and_back_again(order, wall):
    """The two series are reciprocal up to δ^(p+1)."""
    errors = []
    for cells in CELLS[wall]:
        averages, _ = smooth(wall, cells)
        points, limited = switched(averages, order, wall, True)
        back, limited_back = switched(points, order, wall, False)
        errors.append(np.abs(back - averages).max())
    orders = np.log(np.divide(errors[:-1], errors[1:])) / np.log(1.5)
    assert_allclose(orders[-1], order + 1, rtol=0, atol=0.6)
    assert (limited, limited_back) == (0, 0)


@every_wall
def test_a_resolved_density_is_never_limited(wall):
    for order in ORDERS:
        averages, points = smooth(wall, 64)
        assert switched(averages, order, wall, True)[1] == 0
        assert switched(points, order, wall, False)[1] == 0


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rough_lines(), st.sampled_from(ORDERS), st.sampled_from(WALLS), st.booleans())
def test_sum_and_sign_of_rough_lines(line, order, wall, to_points):
    new, _ = switched(line, order, wall, to_points)
    assert new.min() >= 0
    assert abs(new.sum() - line.sum()) <= 1e-15 * len(line) * line.sum()


@every_order
@both_ways
def test_one_full_cell_is_limited_only_where_it_would_turn_negative(order, to_points):
    """Without limits the result is the stencil itself; with them none of it is below 0."""
    line = np.zeros(21)
    line[10] = 1.0
    free, none = switched(line, order, "open", to_points, limit=False)
    new, limited = switched(line, order, "open", to_points)
    assert none == 0
    assert (limited > 0) == (free.min() < 0)
    assert_array_equal(new, new[::-1])
    assert np.all(new[free < 0] <= free.max())
    if to_points:  # δ² takes 1/24 and more from either neighbour, who has nothing to give
        assert_array_equal(new, line)


@every_order
@every_wall
@both_ways
def test_unlimited_it_is_linear_and_knows_no_place(order, wall, to_points):
    """Superposition, mirror images, and on a circle turns: the same to round-off."""
    u, v = np.random.default_rng(order).normal(size=(2, 23))

    def f(line):
        return switched(line, order, wall, to_points, limit=False)[0]

    assert_allclose(f(2 * u - 3 * v), 2 * f(u) - 3 * f(v), rtol=0, atol=1e-14)
    assert_allclose(f(u[::-1]), f(u)[::-1], rtol=0, atol=1e-14)
    if wall == "periodic":
        assert_array_equal(f(np.roll(u, 5)), np.roll(f(u), 5))
    assert_allclose(f(np.full(23, 0.7)), 0.7, rtol=1e-15)


@both_ways
def test_mirrored_lines_are_limited_alike(to_points):
    rng = np.random.default_rng(1)
    for wall in WALLS:
        line = rng.exponential(size=40) ** 4
        new, limited = switched(line, 7, wall, to_points)
        mirrored, count = switched(line[::-1], 7, wall, to_points)
        assert limited == count > 0
        assert_allclose(mirrored[::-1], new, rtol=0, atol=1e-14 * line.max())


def test_lines_of_a_field_do_not_mix():
    """Along every axis of a 3-D field, tiles of 64 lines included: as one line at a time."""
    field = np.random.default_rng(2).exponential(size=(11, 13, 70)) ** 3
    for axis in range(3):
        new = np.empty_like(field)
        switch(axis_view(field, axis), switch_weights(7)[0], OPEN, True, axis_view(new, axis))
        lines = np.moveaxis(field, axis, -1).reshape(-1, field.shape[axis])
        expected = np.array([switched(line, 7, "open", True)[0] for line in lines])
        assert_array_equal(np.moveaxis(new, axis, -1).reshape(lines.shape), expected)


@every_order
@every_wall
def test_a_field_may_be_converted_in_place(order, wall):
    """Along every axis of a field of more lines than a tile: bit for bit as into another."""
    field = np.random.default_rng(3).exponential(size=(12, 14, 300)) ** 3
    for axis in range(3):
        for weights in switch_weights(order):
            new, same = np.empty_like(field), field.copy()
            count = switch(axis_view(field, axis), weights, WALL[wall], True, axis_view(new, axis))
            view = axis_view(same, axis)
            assert switch(view, weights, WALL[wall], True, view) == count > 0
            assert_array_equal(same, new)
