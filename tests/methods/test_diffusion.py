"""Diffusion along one axis: moments, sign, sum, order, and the Gaussian where it is sampled."""

import numpy as np
import pytest
from exact.solutions import Normal, cell_averages, wrapped
from kernels.lines import ORDERS
from numpy.testing import assert_allclose, assert_array_equal

from mfpde.methods.diffusion import SAMPLED, diffused, matched, sampled

WALLS = ("closed", "periodic")
SMALL = (1e-3, 0.1, 0.35, 0.7, 1.0, 1.49)  # variances in squared cells, below SAMPLED
LARGE = (SAMPLED, 4.0, 60.0, 1e3, 1e7, np.inf)
every_order = pytest.mark.parametrize("order", ORDERS)
every_wall = pytest.mark.parametrize("wall", WALLS)


def spread(line, order, wall, variance):
    new, limited = diffused(np.asarray(line, dtype=float), 0, wall, order, variance)
    return new, limited


def rough(seed, cells=37):
    rng = np.random.default_rng(seed)
    return 10.0 ** rng.uniform(-30, 0, cells) * (rng.random(cells) < 0.7)


def one_cell(cells=37):
    return np.eye(cells)[cells // 3]


@every_order
@pytest.mark.parametrize("variance", SMALL)
def test_matched_weights_have_the_moments_of_the_gaussian(order, variance):
    reach = (order + 1) // 2
    weights, moment, j = matched(variance, reach), 1.0, np.arange(reach + 1)
    assert weights[0] + 2 * weights[1:].sum() == pytest.approx(1, abs=1e-15)
    for m in range(1, reach + 1):
        moment *= (2 * m - 1) * variance
        assert_allclose(2 * weights @ j ** (2.0 * m), moment, rtol=1e-12, atol=1e-11)


@every_order
def test_no_wave_grows_however_often_matched_weights_act(order):
    reach, theta = (order + 1) // 2, np.linspace(0, np.pi, 200)
    waves = np.where(np.arange(reach + 1) == 0, 1, 2) * np.cos(np.outer(theta, range(reach + 1)))
    for variance in np.linspace(0, SAMPLED, 61):
        assert np.abs(waves @ matched(variance, reach)).max() <= 1 + 1e-14


@every_order
def test_matched_weights_are_nonnegative_where_they_are_used_without_a_limiter(order):
    """From 0.4 for order 5, 0.8 for order 9, up to where the Gaussian itself takes over."""
    reach, least = (order + 1) // 2, {5: 0.4, 7: 0.7, 9: 0.8}[order]
    for variance in np.linspace(least, SAMPLED, 30):
        assert matched(variance, reach).min() >= 0
    assert matched(0.9 * least, reach).min() < 0


@pytest.mark.parametrize("variance", [SAMPLED, 2.0, 9.0])
def test_sampled_weights_have_the_variance_to_2e11(variance):
    weights = sampled(variance, 200)
    assert weights.min() >= 0
    measured = 2 * weights @ np.arange(len(weights)) ** 2.0
    assert abs(measured / variance - 1) <= 2e-11


@every_order
@every_wall
@pytest.mark.parametrize("variance", SMALL + LARGE)
@pytest.mark.parametrize("line", [rough(0), rough(1, 12), rough(2, 11), one_cell()], ids=len)
def test_sign_and_sum_of_rough_lines(order, wall, variance, line):
    new, _ = spread(line, order, wall, variance)
    assert new.min() >= 0
    assert abs(new.sum() - line.sum()) <= 4e-16 * len(line) * line.sum()


@every_wall
@pytest.mark.parametrize("cells", [11, 12, 40])
@pytest.mark.parametrize("variance", [8.0, 30.0, 700.0, 1e5])
def test_wide_gaussians_go_round_the_circle_and_between_the_walls(wall, cells, variance):
    """Against the discrete Fourier transform of the line, mirrored at walls."""
    line = rough(3, cells)
    period = line if wall == "periodic" else np.r_[line, line[::-1]]
    theta = 2 * np.pi * np.fft.rfftfreq(len(period))
    damped = np.fft.rfft(period) * np.exp(-0.5 * variance * theta**2)
    exact = np.fft.irfft(damped, len(period))[:cells]
    assert_allclose(spread(line, 7, wall, variance)[0], exact, rtol=0, atol=1e-14 * line.max())


@every_wall
def test_endless_diffusion_is_uniform(wall):
    line = rough(4)
    assert_allclose(spread(line, 7, wall, np.inf)[0], line.mean(), rtol=1e-13)


# ---------------------------------------------------------------------------------- order
def averages(wall, cells, variance, std=0.35):
    """N(2, std² + variance) on the circle, or between the walls' mirrors."""
    law, length = Normal.isotropic([2.0], np.sqrt(std**2 + variance)), 2 * np.pi
    edges = np.linspace(0, length, cells + 1)
    if wall == "periodic":
        return cell_averages(wrapped(law.density, length), [edges], nodes=8)
    both = wrapped(law.density, 2 * length)
    return cell_averages(lambda x: both(x) + both(-x), [edges], nodes=8)


@every_order
@every_wall
@pytest.mark.parametrize("variance", [0.1, 0.3, 1.2])
def test_order_p_plus_1(order, wall, variance):
    """Passes of one variance in squared cells, four times as many on cells half as wide."""
    errors = []
    for cells, passes in ((48, 4), (96, 16)):
        line, final = averages(wall, cells, 0.0), passes * variance * (2 * np.pi / cells) ** 2
        for _ in range(passes):
            line, _ = spread(line, order, wall, variance)
        errors.append(np.abs(line - averages(wall, cells, final)).max())
    assert_allclose(np.log2(errors[0] / errors[1]), order + 1, rtol=0, atol=0.6)
    assert errors[1] <= {5: 2e-7, 7: 1e-8, 9: 1e-9}[order]


@every_order
@every_wall
def test_a_resolved_density_is_never_limited(order, wall):
    for variance in SMALL + LARGE:
        assert spread(averages(wall, 64, 0.0, std=0.7), order, wall, variance)[1] == 0


@every_order
@pytest.mark.parametrize("variance", [SAMPLED, 3.0, 50.0])
def test_a_sampled_gaussian_is_exact(order, variance):
    h = 2 * np.pi / 64
    new, _ = spread(averages("closed", 64, 0.0), order, "closed", variance)
    assert_allclose(new, averages("closed", 64, variance * h**2), rtol=0, atol=1e-11)


@pytest.mark.parametrize("variance", [0.3, 1.0, 5.0])
def test_lines_of_a_field_do_not_mix(variance):
    field = np.random.default_rng(2).exponential(size=(11, 13, 70)) ** 3
    for axis in range(3):
        new, _ = diffused(field, axis, "closed", 7, variance)
        lines = np.moveaxis(field, axis, -1).reshape(-1, field.shape[axis])
        expected = np.array([spread(line, 7, "closed", variance)[0] for line in lines])
        assert_array_equal(np.moveaxis(new, axis, -1).reshape(lines.shape), expected)
