"""Rigid shifts against the general remap, whose tests hold the rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.lines import ORDERS
from numpy.testing import assert_allclose, assert_array_equal

from mfpde.kernels.remap import remap
from mfpde.kernels.shift import shift
from mfpde.kernels.stencils import remap_table
from mfpde.kernels.tiles import CLOSED, OPEN

both_walls = pytest.mark.parametrize("wall", [CLOSED, OPEN])


def shifted(rho, shifts, order, wall):
    """New values, what left (2, outer, inner), and how many cells were limited."""
    new, out = np.full_like(rho, np.nan), np.full((2, *shifts.shape), np.nan)
    limited, _ = shift(rho, shifts, order, wall, new, out)
    return new, out, limited


@st.composite
def fields_and_shifts(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(1, 2), st.integers(10, 24), st.integers(1, 40)))
    rho = rng.exponential(size=shape) ** draw(st.integers(1, 4))
    rho *= rng.random(shape) < draw(st.sampled_from([0.3, 1.0]))
    shifts = rng.normal(size=(shape[0], shape[2])) * draw(st.sampled_from([0.3, 4.0, 40.0, 1e9]))
    return rho, np.round(shifts) if draw(st.booleans()) else shifts


@settings(max_examples=120, deadline=None, derandomize=True)
@given(fields_and_shifts(), st.sampled_from(ORDERS), st.sampled_from([CLOSED, OPEN]))
def test_as_the_general_remap(case, order, wall):
    """Lines that go by fractions and whole cells, and out of the box; tiles that are not full."""
    rho, shifts = case
    N = rho.shape[1]
    new, out, _ = shifted(rho, shifts, order, wall)
    feet = np.arange(N + 1.0)[None, :, None] + shifts[:, None, :]
    expected, left = np.empty_like(rho), np.empty_like(out)
    remap(rho, feet, remap_table(order), wall, expected, left)
    # a foot at f + c is rounded where c is not
    slack = 1e-13 * rho.max(initial=0.0)
    assert_allclose(new, expected, rtol=0, atol=slack)
    assert_allclose(out, left, rtol=0, atol=N * slack)
    assert new.min() >= 0
    kept = new.sum(axis=1) + out.sum(axis=0)
    assert_allclose(kept, rho.sum(axis=1), rtol=1e-15 * N, atol=0)


@pytest.mark.parametrize("order", ORDERS)
def test_limited_cells_are_counted_alike(order):
    rho = np.random.default_rng(order).exponential(size=(1, 30, 37)) ** 3
    shifts = np.linspace(-3.3, 4.1, 37)[None]
    feet = np.arange(31.0)[None, :, None] + shifts[:, None, :]
    new, out = np.empty_like(rho), np.empty((2, 1, 37))
    count = remap(rho, feet, remap_table(order), OPEN, new, out)
    assert shifted(rho, shifts, order, OPEN)[2] == count > 100


@both_walls
def test_whole_shifts_are_exact(wall):
    """Bit for bit, also where a shift is beside a whole number by rounding."""
    rho = np.random.default_rng(1).exponential(size=(1, 20, 3)) ** 5
    for aside in (0.0, 1e-14, -1e-14):
        new, out, limited = shifted(rho, np.array([[2.0, 0.0, -3.0]]) + aside, 7, wall)
        inside = slice(3, 17)
        assert_array_equal(new[0, inside, 0], rho[0, 5:19, 0])
        assert_array_equal(new[0, :, 1], rho[0, :, 1])
        assert_array_equal(new[0, inside, 2], rho[0, 0:14, 2])
        assert limited == 0
        assert (out.sum() == 0) == (wall == CLOSED)
