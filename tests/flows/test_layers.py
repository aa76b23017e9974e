"""A potential by layers is the potential, however steep the penalty is somewhere."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mfpde as mf
from mfpde.flows.layers import levelled, separated

A, W = np.linspace(-4, 4, 24)[:, None], np.linspace(-6, 6, 40)
FIELDS = {
    "ridge": (A**2 / 2 + W**2 / 2, True),
    "absolute values": (np.abs(A) + W**2 / 2, True),
    "a barrier": (A**2 / 2 + W**24, True),
    "a higher one": (A**2 / 2 + W**30, True),
    "coupled": (4 * A * W, False),
    "coupled, and a barrier": (4 * A * W + W**24, False),
    "path norm": (np.abs(A) * np.abs(W), False),
}


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_a_sum_is_told_cell_by_cell(name):
    field, is_sum = FIELDS[name]
    found = separated(field)
    assert (len(found.level) == 1) == is_sum
    sizes = np.abs(field) + np.abs(found.tilt)[:, None] + np.abs(found.level)
    assert (np.abs(found() - field) <= 1e-15 * sizes).all()
    assert np.array_equal(levelled(field)(), field)


def test_beside_a_barrier_the_ridge_still_pulls():
    """∂_a V and the energy where w^24 is small, against their formulas."""
    x = np.linspace(-1, 1, 5)
    barrier = mf.Penalty(
        lambda u: u[:, 0] ** 2 / 2 + u[:, 1] ** 24,
        lambda u: np.stack([u[:, 0], 24 * u[:, 1] ** 23], axis=1),
    )
    problem = mf.two_layer(x, 0 * x, penalty=barrier, initial=mf.gaussian(0, 0.5))
    grid = mf.Grid(a=mf.uniform(-3, 3, 24), w=mf.uniform(-6, 6, 40))
    flow = mf.WassersteinFlow(problem, grid)
    field = flow.field(flow.start)
    a, w = (axis.centres for axis in grid.axes.values())
    column = int(np.abs(w).argmin())
    pull = np.diff(field.potential[:, column])
    g = np.tanh(np.outer(w[[column]], x))[0] @ problem.loss.slope(field.prediction)
    assert_allclose(pull, np.diff(a) * g + np.diff(a**2) / 2, rtol=0, atol=1e-13)
    cost = np.vdot(flow.start * flow.volumes, a[:, None] ** 2 / 2 + w**24)
    assert_allclose(field.energy, field.risk + cost, rtol=1e-13)
