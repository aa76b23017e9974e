"""Averages to points and back: order, sum, sign, and the series they come from."""

import numpy as np
import pytest
from orders.observed import observed_orders
from scipy.special import ndtr

from mfpde.kernels.stencils import remap_table, switch_weights
from mfpde.kernels.switch import switch
from mfpde.kernels.tiles import OPEN, PERIODIC

ORDERS = (5, 7, 9)


def switched(values, weights, wall, limit=True):
    old = np.ascontiguousarray(values[None, :, None])
    new = np.empty_like(old)
    count = switch(old, weights, wall, limit, new)
    return new[0, :, 0], count


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("back", [False, True])
def test_order_is_one_above_the_remaps(order, back):
    errors, cells = [], (24, 32, 48) if order < 9 else (16, 24, 32)
    for N in cells:
        faces = np.linspace(0, 2 * np.pi, N + 1)
        centres, h = (faces[1:] + faces[:-1]) / 2, 2 * np.pi / N
        averages = np.diff(faces + 0.9 * np.sin(faces + 0.3)) / h
        points = 1 + 0.9 * np.cos(centres + 0.3)
        source, target = (points, averages) if back else (averages, points)
        new, count = switched(source, switch_weights(order)[back], PERIODIC)
        assert count == 0
        errors.append(np.abs(new - target).max())
    np.testing.assert_allclose(observed_orders(errors, cells), order + 1, rtol=0, atol=0.25)


@pytest.mark.parametrize("order", ORDERS)
def test_waves_are_multiplied_by_the_cut_series(order):
    """asinh(δ/2)/(δ/2) with δ = 2i sin(θ/2) is (θ/2)/sin(θ/2), cut after δ^(order − 1)."""
    N, k = 40, 3
    theta = 2 * np.pi * k / N
    wave = np.cos(theta * np.arange(N))
    new, _ = switched(wave, switch_weights(order)[0], PERIODIC, limit=False)
    s2 = np.sin(theta / 2) ** 2
    series = [1, 1 / 6, 3 / 40, 5 / 112, 35 / 1152]  # arcsin(s)/s
    factor = sum(c * s2**j for j, c in enumerate(series[: (order + 1) // 2]))
    np.testing.assert_allclose(new, factor * wave, rtol=0, atol=1e-13)


@pytest.mark.parametrize("wall", [OPEN, PERIODIC])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("back", [False, True])
def test_rough_data_keep_sum_and_sign(order, wall, back):
    rng = np.random.default_rng(2)
    for density in (0.1, 0.5, 1.0):
        rho = rng.random(60) ** 4 * (rng.random(60) < density)
        new, count = switched(rho, switch_weights(order)[back], wall)
        assert new.min() >= 0
        assert count > 0
        assert abs(new.sum() - rho.sum()) < 1e-14 * 60


def test_table_of_the_remap_holds_whole_cells():
    """At ξ = 1 the polynomial holds the cell's mass, and nothing of its neighbours'."""
    for order in ORDERS:
        whole = remap_table(order).sum(axis=2)
        np.testing.assert_allclose(whole, np.eye(order), rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_point_values_make_midpoints_a_quadrature_of_high_order(order):
    """∫ cos(x) N(x) dx by midpoints of point values, limited or not."""
    N = 24
    faces = np.linspace(-7, 7, N + 1)
    averages = np.diff(ndtr(faces)) * N / 14
    values, _ = switched(averages, switch_weights(order)[0], OPEN)
    centres = (faces[1:] + faces[:-1]) / 2
    exact = np.exp(-0.5)
    plain = abs(np.sum(np.cos(centres) * averages) * 14 / N - exact)
    better = abs(np.sum(np.cos(centres) * values) * 14 / N - exact)
    assert plain > 1e-3
    assert better < 2e-2 * plain
