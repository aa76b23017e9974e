"""A pass that converts its lines as they come and go: as conversions before and after it."""

import numpy as np
import pytest
from kernels.lines import ORDERS
from numpy.testing import assert_array_equal

from mfpde.kernels.remap import remap_along
from mfpde.kernels.shift import shift
from mfpde.kernels.stencils import switch_weights
from mfpde.kernels.switch import switch
from mfpde.kernels.tiles import CLOSED, OPEN, PERIODIC, axis_view

SHAPES = [(13,), (33, 12), (14, 17, 37), (10, 11, 12, 13)]
AXES = [(shape, k) for shape in SHAPES for k in range(len(shape))]


def apart(kernel, view, order, enters, leaves, wall):
    """Switch, remap, switch: new values, what left, and the counts of both."""
    points, averages = switch_weights(order)
    old, new, result = view.copy(), np.empty(view.shape), np.empty(view.shape)
    out = np.full((2, view.shape[0], view.shape[2]), np.nan)
    conversions = switch(view, averages, wall, True, old) if enters else 0
    remaps, none = kernel(old, order=order, wall=wall, result=new, out=out)
    assert none == 0
    if not leaves:
        return new, out, remaps, conversions
    conversions += switch(new, points, wall, True, result)
    return result, out, remaps, conversions


def at_once(kernel, view, order, enters, leaves, wall):
    """The same by one pass."""
    result, out = np.empty(view.shape), np.full((2, view.shape[0], view.shape[2]), np.nan)
    remaps, conversions = kernel(
        view, order=order, wall=wall, result=result, out=out, enters=enters, leaves=leaves
    )
    return result, out, remaps, conversions


def same(kernel, view, order, enters, leaves, wall):
    """Both have the same bits, and something was limited."""
    first = apart(kernel, view, order, enters, leaves, wall)
    second = at_once(kernel, view, order, enters, leaves, wall)
    for one, other in zip(first, second, strict=True):
        assert_array_equal(one, other)
    return first[3]


@pytest.mark.parametrize(("shape", "k"), AXES, ids=str)
def test_lines_are_converted_on_the_way(shape, k):
    """Rough lines along every axis, feet by fractions and whole cells, every wall and order."""
    rng, limited = np.random.default_rng(k), 0
    view = axis_view(rng.exponential(size=shape) ** 2, k)
    outer, N, inner = view.shape
    feet = np.arange(N + 1.0) + rng.normal(scale=2, size=(outer * inner, 1))
    shifts = rng.normal(scale=2, size=(outer, inner))
    # the same feet for every line of a part, as sums
    weights = np.column_stack([np.ones(outer * inner), rng.normal(scale=2, size=outer * inner)])
    common = np.stack([np.arange(N + 1.0), np.ones(N + 1)])[:, None]

    def free(rho, **options):
        return remap_along(rho, feet[None], np.ones((1, 1)), **options)

    def summed(rho, **options):
        return remap_along(rho, common, weights, **options)

    def rigid(rho, **options):
        return shift(rho, shifts, **options)

    for order in ORDERS:
        for enters, leaves in ((True, True), (True, False), (False, True)):
            for wall in (CLOSED, OPEN, PERIODIC):
                limited += same(free, view, order, enters, leaves, wall)
                limited += same(summed, view, order, enters, leaves, wall)
            for wall in (CLOSED, OPEN):
                limited += same(rigid, view, order, enters, leaves, wall)
    assert limited > 0


@pytest.mark.parametrize("lines", [(1, 1), (3, 1), (1, 37), (2, 5)], ids=str)
def test_nodes_shared_by_the_parts_of_a_field(lines):
    """Feet as sums over nodes: as the same feet written out for every line."""
    rng = np.random.default_rng(4)
    parts, N, (outer, inner) = 7, 15, lines
    rho = rng.exponential(size=(parts * outer, N, inner)) ** 3
    nodes = np.sort(rng.uniform(-3, N + 3, (6, outer * inner, N + 1)), axis=-1)
    weights = rng.dirichlet(np.ones(6), parts)
    whole = sum(weights[:, c, None, None] * nodes[c] for c in range(6))
    results = []
    for given in ((nodes, weights), (whole.reshape(1, -1, N + 1), np.ones((1, 1)))):
        new, out = np.empty_like(rho), np.empty((2, parts * outer, inner))
        counts = remap_along(rho, *given, 7, OPEN, new, out)
        results.append((new, out, counts))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * rho.max())


@pytest.mark.parametrize("wall", [CLOSED, OPEN, PERIODIC])
@pytest.mark.parametrize("inner", [1, 70])
def test_lines_that_hold_next_to_nothing_rest(wall, inner):
    """They are left as they are, all others have the bits they would have; NaN is not nothing."""
    rng, (outer, N) = np.random.default_rng(5), (3 if inner > 1 else 70, 20)
    rho = rng.exponential(size=(outer, N, inner))
    rho.reshape(outer, N, -1)[1] *= 1e-20  # a slab of lines, or one line
    rho[2, 4, 0] = np.nan
    feet = np.arange(N + 1.0) + rng.normal(scale=2, size=(outer * inner, 1))
    shifts = np.full((outer, inner), 1.3)

    def remapped(view, **options):
        return remap_along(view, feet[None], np.ones((1, 1)), **options)

    def shifted(view, **options):
        return shift(view, shifts, **options)

    for kernel in (remapped, shifted)[: 1 if wall == PERIODIC or inner == 1 else 2]:
        results = []
        for empty in (1e-17, 0.0):
            new, out = np.empty_like(rho), np.full((2, outer, inner), np.nan)
            kernel(
                rho, order=7, wall=wall, result=new, out=out, enters=True, leaves=True, empty=empty
            )
            results.append((new, out))
        (rested, nothing), (moved, left) = results
        assert_array_equal(rested[1], rho[1])
        assert_array_equal(nothing[:, 1], 0.0)
        assert not np.array_equal(moved[1], rho[1])
        for k in (0, 2):
            assert_array_equal(rested[k], moved[k])
            assert_array_equal(nothing[:, k], left[:, k])
        assert np.isnan(rested[2]).any()
