"""Densities carried over to other boxes: nothing is lost or below zero, at full order."""

import numpy as np
import pytest
from exact.solutions import Normal, cell_averages
from numpy.testing import assert_allclose, assert_array_equal

import mfpde as mf
from mfpde.flows.carrying import carried_over

BLOB = Normal(np.array([0.3, -0.2]), np.array([[0.3, 0.1], [0.1, 0.2]]))


def grid(a, w, cells=(40, 30)):
    """A box in so many cells."""
    return mf.Grid(a=mf.uniform(*a, cells[0]), w=mf.uniform(*w, cells[1]))


def averages(of):
    """The blob's on a grid."""
    return cell_averages(BLOB.density, [axis.edges for axis in of.axes.values()])


WIDE = grid((-4, 4), (-4, 3))


@pytest.mark.parametrize(
    "new", [grid((-2, 2.7), (-3, 2)), grid((-9, 7), (-5, 4)), grid((0.1, 5), (-8, -0.3))], ids=repr
)
@pytest.mark.parametrize("order", [5, 7, 9])
def test_mass_is_kept_and_what_is_left_out_is_told(new, order):
    """Of random averages, rough as they can be; beyond the old box there is nothing."""
    rho = np.random.default_rng(0).random((40, 30)) ** 8
    rho /= np.vdot(rho, WIDE.volumes)
    carried, left_out = carried_over(rho, WIDE, new, order)
    assert carried.min() >= 0
    assert_allclose(np.vdot(carried, new.volumes) + left_out.sum(), 1.0, rtol=1e-14)
    low, _ = new.box["a"]
    edges, masses = WIDE.axes["a"].edges, (rho * WIDE.volumes).sum(axis=1)
    within = masses[edges[1:] <= low].sum(), masses[edges[:-1] < low].sum()
    assert within[0] - 1e-14 <= left_out[0, 0] <= within[1] + 1e-14
    assert not carried[(new.centres[0] < -4.5) | (new.centres[0] > 4.5)].any()


@pytest.mark.parametrize("order", [5, 7, 9])
def test_smooth_densities_are_carried_at_full_order(order):
    """To a box half as long that holds all of it."""
    errors = []
    for cells in (120, 160, 213):
        old, new = (grid(ends, ends, (cells, cells)) for ends in ((-9, 9), (-4, 4.3)))
        there, _ = carried_over(averages(old), old, new, order)
        errors.append(float(np.vdot(np.abs(there - averages(new)), new.volumes)))
    orders = np.log(np.divide(errors[:-1], errors[1:])) / np.log([160 / 120, 213 / 160])
    assert_allclose(orders, order, atol=0.5)


def test_a_shift_by_whole_cells_is_a_copy():
    rho = np.random.default_rng(0).random((40, 30))
    h = 8 / 40
    carried, left_out = carried_over(rho, WIDE, grid((-4 + 3 * h, 4 + 3 * h), (-4, 3)), 7)
    assert_allclose(carried[:-3], rho[3:], rtol=1e-12)
    assert not carried[-3:].any()
    assert_allclose(left_out, [[np.vdot(rho[:3], WIDE.volumes[:3]), 0], [0, 0]], rtol=1e-12)


def test_on_its_own_box_a_density_is_itself():
    rho = np.random.default_rng(0).random((40, 30))
    carried, left_out = carried_over(rho, WIDE, grid((-4, 4), (-4, 3)), 7)
    assert_array_equal(carried, rho)
    assert not left_out.any()
