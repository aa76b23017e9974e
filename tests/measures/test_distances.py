"""Distances against closed forms, other methods and the axioms of a metric."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import ot
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.special import ndtri

from mfpde.errors import InvalidInput
from mfpde.measures import (
    energy,
    energy_distance,
    energy_distance_each,
    exact_w2,
    flat,
    marginal_w1,
    marginal_w2,
    sliced_w2,
    sliced_w2_each,
    transport,
)

Measure = tuple[np.ndarray, np.ndarray]
INF = math.inf


def cloud(n: int, dimension: int, seed: int = 0) -> Measure:
    """Random points with random weights of sum 1."""
    rng = np.random.default_rng(seed)
    weights = rng.random(n) + 0.1
    return rng.normal(size=(n, dimension)), weights / weights.sum()


def gaussian_grid(*cells: int, box: float = 6.5) -> Measure:
    """A standard Gaussian on the cell centres of [-box, box]^D."""
    axes = [box * ((2 * np.arange(n) + 1) / n - 1) for n in cells]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(cells))
    weights = np.exp(-0.5 * (points**2).sum(axis=1))
    return points, weights / weights.sum()


def pair_sum(x: np.ndarray, wx: np.ndarray, y: np.ndarray, wy: np.ndarray) -> float:
    """Sum over all pairs of the product of the weights and the distance, as it is written."""
    return float(wx @ np.sqrt(((x[:, None] - y[None]) ** 2).sum(axis=-1)) @ wy)


def on_circles(points: np.ndarray, lengths: tuple[float, ...]) -> np.ndarray:
    """Each circle of length L in the plane, at (L / 2 pi) (cos, sin)."""
    columns = []
    for values, length in zip(points.T, lengths, strict=True):
        if length == INF:
            columns.append(values)
        else:
            z = length / (2 * np.pi) * np.exp(2j * np.pi * values / length)
            columns += [z.real, z.imag]
    return np.stack(columns, axis=1)


# W2 of one coordinate, and masses that differ -----------------------------------------------------


def test_w2_of_gaussians_by_their_quantiles() -> None:
    q = ndtri((np.arange(500) + 0.5) / 500)
    equal = np.full(500, 1 / 500)
    assert marginal_w2(q, equal, q + 0.37, equal) == pytest.approx(0.37, rel=1e-12)
    both = marginal_w2(0.2 + q, equal, -0.1 + 3 * q, equal)
    assert both == pytest.approx(np.sqrt(((0.3 - 2 * q) ** 2).mean()), rel=1e-12)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("period", [INF, 2.0])
def test_w2_of_one_coordinate_is_exact_transport(seed: int, period: float) -> None:
    """Uneven weights, points all around the circle and in parts of it."""
    (x, wx), (y, wy) = cloud(31, 1, seed), cloud(23, 1, seed + 100)
    x, y = x * (0.1 + seed % 4), y * (0.1 + seed % 3) + 0.7 * seed
    expected = exact_w2(x, wx, y, wy, (period,))
    assert marginal_w2(x[:, 0], wx, y[:, 0], wy, period) == pytest.approx(expected, rel=1e-7)


def test_w2_of_a_turn_around_the_circle() -> None:
    x, equal = np.linspace(0, 2, 40, endpoint=False), np.full(40, 1 / 40)
    assert marginal_w2(x, equal, x + 0.013, equal, 2.0) == pytest.approx(0.013, rel=1e-9)
    assert marginal_w2(x, equal, x + 1e-6, equal, 2.0) == pytest.approx(1e-6, rel=1e-2)


@pytest.mark.parametrize(("apart", "expected"), [(0.3, 0.3), (1.9, 1.9), (2.5, 2.0), (40.0, 2.0)])
def test_flat_distance_of_two_points(apart: float, expected: float) -> None:
    """Moved, or lost here and made there at twice the radius."""
    one = np.ones(1)
    found = flat(np.zeros((1, 2)), one, np.array([[0.0, apart]]), one, 1.0)
    assert found == pytest.approx(expected, rel=1e-12)


def test_flat_distance_counts_mass() -> None:
    """Three units against one at distance 1/2: one moved, two lost."""
    x = np.zeros((1, 1))
    assert flat(x, np.array([3.0]), x + 0.5, np.array([1.0]), 2.0) == pytest.approx(0.5 + 4.0)


@pytest.mark.parametrize("seed", range(4))
def test_flat_distance_by_its_dual(seed: int) -> None:
    """sup ∫h d(x − y) over |h| <= r, Lip h <= 1: a linear programme over the values of h."""
    (x, wx), (y, wy) = cloud(9, 2, seed), cloud(7, 2, seed + 50)
    wy, radius = (0.3 + seed) * wy, 0.7
    points, signed = np.concatenate([x, y]), np.concatenate([wx, -wy])
    pairs = [(i, j) for i in range(16) for j in range(16) if i != j]
    rows = np.zeros((len(pairs), 16))
    for row, (i, j) in zip(rows, pairs, strict=True):
        row[i], row[j] = 1, -1
    apart = [np.linalg.norm(points[i] - points[j]) for i, j in pairs]
    dual = linprog(-signed, rows, apart, bounds=(-radius, radius))
    assert flat(x, wx, y, wy, radius) == pytest.approx(-dual.fun, rel=1e-9)
    assert flat(y, wy, x, wx, radius) == pytest.approx(-dual.fun, rel=1e-9)


def test_flat_distance_goes_around_circles() -> None:
    one = np.ones(1)
    found = flat(np.array([[0.1]]), one, np.array([[1.9]]), one, 1.0, (2.0,))
    assert found == pytest.approx(0.2)


@pytest.mark.parametrize("radius", [0.0, -1.0, INF, math.nan])
def test_flat_distance_needs_a_radius(radius: float) -> None:
    with pytest.raises(InvalidInput, match="radius"):
        flat(*cloud(3, 1), *cloud(3, 1), radius)


# W1 of one coordinate -----------------------------------------------------------------------------


def test_w1_of_gaussians_by_their_quantiles() -> None:
    q = ndtri((np.arange(500) + 0.5) / 500)
    equal = np.full(500, 1 / 500)
    shifted = marginal_w1(q, equal, q + 0.37, equal)
    assert shifted == pytest.approx(0.37, rel=1e-12)
    scaled = marginal_w1(q, equal, 1.5 * q, equal)
    assert scaled == pytest.approx(0.5 * np.abs(q).mean(), rel=1e-12)
    both = marginal_w1(0.2 + q, equal, -0.1 + 3 * q, equal)
    assert both == pytest.approx(np.abs(0.3 - 2 * q).mean(), rel=1e-12)


def test_w1_of_uneven_weights_against_scipy() -> None:
    (x, wx), (y, wy) = cloud(60, 1), cloud(45, 1, seed=1)
    expected = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0], wx, wy)
    assert marginal_w1(x[:, 0], wx, y[:, 0], wy) == pytest.approx(expected, rel=1e-12)


def test_w1_on_a_circle_is_the_least_over_all_shifts() -> None:
    period = 2.5
    (x, wx), (y, wy) = cloud(30, 1), cloud(20, 1, seed=1)
    x, y = x[:, 0] % period, y[:, 0] % period
    ends = np.sort(np.concatenate([x, y, [period]]))
    gap = np.array([wx[x <= e].sum() - wy[y <= e].sum() for e in ends[:-1]])
    widths = np.diff(ends)
    # before the first point F - G is 0; the integral is piecewise linear in s, with kinks at `gap`
    integrals = [np.abs(gap - s) @ widths + abs(s) * ends[0] for s in (*gap, 0.0)]
    assert marginal_w1(x, wx, y, wy, period) == pytest.approx(min(integrals), rel=1e-12)


def test_w1_on_a_circle_against_pot() -> None:
    period = 3.0
    (x, wx), (y, wy) = cloud(50, 1), cloud(40, 1, seed=1)
    x, y = x[:, 0] % period, y[:, 0] % period
    expected = period * ot.wasserstein_circle(
        x[:, None] / period, y[:, None] / period, wx[:, None], wy[:, None]
    )
    assert marginal_w1(x, wx, y, wy, period) == pytest.approx(float(expected[0]), rel=1e-9)


def test_w1_on_a_circle_is_the_optimum_of_the_linear_program() -> None:
    period, n = 1.0, 6
    (x, wx), (y, wy) = cloud(n, 1), cloud(n, 1, seed=1)
    apart = np.abs((x - y.T + period / 2) % period - period / 2)
    rows, columns = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    optimum = linprog(apart.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.append(wx, wy))
    w1 = marginal_w1(x[:, 0], wx, y[:, 0], wy, period)
    assert w1 == pytest.approx(optimum.fun, rel=1e-9)


def test_w1_on_a_circle_does_not_see_the_origin() -> None:
    one = np.ones(1)
    assert marginal_w1([0.05], one, [0.95], one, 1.0) == pytest.approx(0.1, rel=1e-12)
    (x, wx), (y, wy) = cloud(20, 1), cloud(30, 1, seed=1)
    x, y = x[:, 0], y[:, 0]
    turned = marginal_w1(x + 0.77, wx, y + 0.77 - 4.0, wy, 1.0)
    assert turned == pytest.approx(marginal_w1(x, wx, y, wy, 1.0), rel=1e-12)


# Sliced W2 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_sliced_w2_of_a_translate(dimension: int) -> None:
    x, wx = cloud(50, dimension)
    for v in np.eye(dimension)[0] * 0.7, np.arange(1.0, dimension + 1):
        expected = np.linalg.norm(v) / math.sqrt(dimension)
        assert sliced_w2(x, wx, x + v, wx) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dimension", [2, 3])
def test_sliced_w2_of_a_dilation(dimension: int) -> None:
    x, wx = cloud(50, dimension)
    expected = 0.8 * math.sqrt(wx @ (x**2).sum(axis=1) / dimension)
    assert sliced_w2(x, wx, 1.8 * x, wx) == pytest.approx(expected, rel=1e-12)


def test_sliced_w2_in_a_plane_is_the_mean_over_equally_spaced_directions() -> None:
    (x, wx), (y, wy) = cloud(40, 2), cloud(25, 2, seed=1)
    angles = np.pi * (np.arange(64) + 0.5) / 64
    squares = [
        ot.wasserstein_1d(x @ theta, y @ theta, wx, wy, p=2)
        for theta in np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ]
    assert sliced_w2(x, wx, y, wy) == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-9)


@pytest.mark.parametrize("dimension", [3, 5, 8])
def test_directions_are_spread_evenly(dimension: int) -> None:
    theta = transport.directions(dimension)
    np.testing.assert_allclose((theta**2).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(
        theta.T @ theta / len(theta), np.eye(dimension) / dimension, atol=1e-12
    )
    # the fourth moment, 3 / (D (D + 2)) on the sphere, is missed by no more than a fifth
    v = np.random.default_rng(0).normal(size=(dimension, 200))
    fourth = ((theta @ (v / np.linalg.norm(v, axis=0))) ** 4).mean(axis=0)
    assert np.abs(fourth * dimension * (dimension + 2) / 3 - 1).mean() < 0.2


def test_sliced_w2_measures_chords_of_a_circle() -> None:
    one, length = np.ones(1), 3.0
    across = length / np.pi * math.sin(np.pi * 0.4 / length)  # from 2.8 over the origin to 0.2
    value = sliced_w2([[2.8]], one, [[0.2]], one, (length,))
    assert value == pytest.approx(across / math.sqrt(2), rel=1e-12)


# Energy distance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [1e-6, 0.5, 1e3])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_energy_distance_of_two_point_masses(dimension: int, apart: float) -> None:
    x = np.full((1, dimension), 0.3)
    y = x + apart / math.sqrt(dimension)
    expected = math.sqrt(2 * np.linalg.norm(x - y))
    one = np.ones(1)
    assert energy_distance(x, one, y, one) == pytest.approx(expected, rel=1e-9)


def test_energy_distance_on_a_line_has_the_convention_of_scipy() -> None:
    (x, wx), (y, wy) = cloud(40, 1), cloud(30, 1, seed=1)
    expected = scipy.stats.energy_distance(x[:, 0], y[:, 0], wx, wy)
    assert energy_distance(x, wx, y, wy) == pytest.approx(expected, rel=1e-10)
    three_means = 2 * pair_sum(x, wx, y, wy) - pair_sum(x, wx, x, wx) - pair_sum(y, wy, y, wy)
    assert energy_distance(x, wx, y, wy) == pytest.approx(math.sqrt(three_means), rel=1e-10)


@pytest.mark.parametrize("lengths", [(INF, INF), (INF, 2.0), (1.5, 2.0), (INF, 2.0, INF)])
def test_energy_distance_is_its_definition(lengths: tuple[float, ...]) -> None:
    (x, wx), (y, wy) = cloud(400, len(lengths)), cloud(300, len(lengths), seed=1)
    u, v = on_circles(x, lengths), on_circles(y, lengths)
    three_means = 2 * pair_sum(u, wx, v, wy) - pair_sum(u, wx, u, wx) - pair_sum(v, wy, v, wy)
    expected = pytest.approx(math.sqrt(three_means), rel=1e-11)
    assert energy_distance(x, wx, y, wy, lengths) == expected


@pytest.mark.parametrize("cells", [(20, 13), (7, 8, 9), (4, 5, 3, 4), (1, 12)])
@pytest.mark.parametrize("block", [100, energy.BLOCK])  # several blocks of targets, or one
def test_lattice_and_particles_against_the_direct_sums(
    cells: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "BLOCK", block)
    (x, wx), (y, wy) = gaussian_grid(*cells), cloud(200, len(cells), seed=2)
    x, y = x + 0.1, y + 1.0
    three_means = 2 * pair_sum(x, wx, y, wy) - pair_sum(x, wx, x, wx) - pair_sum(y, wy, y, wy)
    expected = pytest.approx(math.sqrt(three_means), rel=1e-11)
    assert energy_distance(x, wx, y, wy) == expected
    assert energy_distance(y, wy, x, wx) == expected


@pytest.mark.parametrize("lengths", [(INF, INF, INF), (INF, 6.0, INF), (6.0, 6.0, 6.0)])
def test_convolution_is_the_direct_sum(lengths: tuple[float, ...]) -> None:
    x, _ = gaussian_grid(9, 8, 10, box=3.0)
    weights = np.random.default_rng(0).normal(size=len(x))  # signed, as differences are
    lattice = energy._lattice(x, weights)
    assert lattice is not None
    u = on_circles(x, lengths)
    direct = pair_sum(u, weights, u, weights)
    scale = np.abs(weights).sum() ** 2
    assert energy._lattice_spread(lattice, lengths) == pytest.approx(direct, abs=1e-13 * scale)


def test_a_lattice_is_found_through_gaps_and_nowhere_else() -> None:
    x, wx = gaussian_grid(16, 12)
    apart = np.abs(x[:, 0]) > 3  # two islands, whole columns of cells missing between them
    lattice = energy._lattice(x[apart], wx[apart])
    assert lattice is not None
    assert lattice.mass.shape == (16, 12)
    assert lattice.mass.sum() == pytest.approx(wx[apart].sum(), rel=1e-14)
    assert lattice.steps == pytest.approx((13 / 16, 13 / 12), rel=1e-13)
    assert energy._lattice(np.sinh(x), wx) is None
    assert energy._lattice(*cloud(200, 2)) is None
    diagonal = np.repeat(np.arange(1000.0)[:, None], 2, axis=1)  # a thousand of a million sites
    assert energy._lattice(diagonal, np.ones(1000)) is None


def test_a_stretched_grid_against_particles() -> None:
    x, wx = gaussian_grid(11, 12)
    x, (y, wy) = np.sinh(x / 3), cloud(60, 2)
    assert energy._lines(x, wx) is not None
    three_means = 2 * pair_sum(x, wx, y, wy) - pair_sum(x, wx, x, wx) - pair_sum(y, wy, y, wy)
    assert energy_distance(x, wx, y, wy) == pytest.approx(math.sqrt(three_means), rel=1e-11)


@pytest.mark.parametrize(("cells", "mean"), [((64, 64), 1.0), ((32, 32, 32), 4 / np.pi)])
def test_mean_distance_within_a_gaussian(cells: tuple[int, ...], mean: float) -> None:
    # E|X - X'| = sqrt(2) E|X|: sqrt(pi) in the plane, 4 / sqrt(pi) in space
    x, wx = gaussian_grid(*cells)
    spread = energy._spread(x, wx, (INF,) * len(cells))
    assert spread == pytest.approx(math.sqrt(np.pi) * mean, rel=2e-4)


def test_a_point_against_equally_spaced_points_of_a_circle() -> None:
    # all the means are the mean chord from one of n points, (2 r / n) cot(pi / 2n)
    n, length = 40, 5.0
    radius = length / (2 * np.pi)
    points, one = np.arange(n)[:, None] * length / n, np.ones(1)
    value = energy_distance(points, np.full(n, 1 / n), points[:1], one, (length,))
    assert value**2 == pytest.approx(2 * radius / n / math.tan(np.pi / (2 * n)), rel=1e-12)


def test_on_one_lattice_there_is_no_floor_of_round_off() -> None:
    x, wx = gaussian_grid(32, 32)
    moved, cell = wx.copy(), int(wx.argmax())
    moved[cell] -= 1e-10
    moved[cell + 1] += 1e-10  # D^2 = 2 (1e-10)^2 h
    expected = 1e-10 * math.sqrt(2 * (x[cell + 1, 1] - x[cell, 1]))
    assert energy_distance(x, wx, x, moved) == pytest.approx(expected, rel=1e-4)
    part = wx > 1e-9  # fewer points of the same lattice
    value = energy_distance(x[part], wx[part], x[part][::-1], moved[part][::-1])
    assert value == pytest.approx(expected, rel=1e-4)


def test_dust_is_swept_within_its_bound() -> None:
    (x, wx), (y, wy) = cloud(50, 2), cloud(40, 2, seed=1)
    far = np.append(x, [[100.0, 0.0]], axis=0), np.append(wx, 1e-12 * 0.99)
    kept = energy.swept(*far)
    np.testing.assert_array_equal(kept[0], x)
    change = energy_distance(*far, y, wy) - energy_distance(x, wx, y, wy)
    assert abs(change) <= 2e-12 * math.sqrt(2 * 105)
    heavier = energy.swept(far[0], np.append(wx, 1e-12 * 1.01))
    assert len(heavier[0]) == 51


# Exact W2 -----------------------------------------------------------------------------------------


def test_exact_w2_of_a_translate() -> None:
    x, wx = cloud(60, 3)
    v = np.array([0.3, -1.2, 0.4])
    assert exact_w2(x, wx, x + v, wx) == pytest.approx(1.3, rel=1e-9)


def test_exact_w2_on_a_line_is_the_monotone_coupling() -> None:
    (x, _), (y, _) = cloud(50, 1), cloud(50, 1, seed=1)
    equal = np.full(50, 1 / 50)
    expected = math.sqrt(np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2))
    assert exact_w2(x, equal, y, equal) == pytest.approx(expected, rel=1e-9)
    assert sliced_w2(x, equal, y, equal) == pytest.approx(expected, rel=1e-12)


def test_exact_w2_goes_the_short_way_around_a_torus() -> None:
    one = np.ones(1)
    value = exact_w2([[0.1, 1.9]], one, [[0.9, 0.1]], one, (1.0, 2.0))
    assert value == pytest.approx(math.hypot(0.2, 0.2), rel=1e-12)
    assert exact_w2([[0.1, 1.9]], one, [[0.9, 0.1]], one) == pytest.approx(math.hypot(0.8, 1.8))


def test_exact_w2_refuses_what_it_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TRANSPORT_LIMIT", 99)
    with pytest.raises(InvalidInput, match="prune"):
        exact_w2(*cloud(10, 2), *cloud(10, 2))
    assert exact_w2(*cloud(9, 2), *cloud(11, 2)) > 0


def test_exact_w2_raises_where_pot_merely_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    gives_up = SimpleNamespace(emd2=lambda *_, **__: (0.0, {"warning": "infeasible"}))
    monkeypatch.setitem(sys.modules, "ot", gives_up)
    with pytest.raises(InvalidInput, match="infeasible"):
        exact_w2(*cloud(5, 2), *cloud(6, 2))


# All of them --------------------------------------------------------------------------------------


ALL = [sliced_w2, energy_distance, exact_w2]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.sampled_from([INF, 1.0, 2.5]), min_size=1, max_size=3),
    sizes=st.tuples(*[st.integers(1, 12)] * 3),
)
def test_axioms_of_a_metric(seed: int, lengths: list[float], sizes: tuple[int, int, int]) -> None:
    x, y, z = (cloud(n, len(lengths), seed + k) for k, n in enumerate(sizes))
    for distance in ALL:
        xy, yz, xz = (distance(*p, *q, lengths) for p, q in ((x, y), (y, z), (x, z)))
        assert distance(*x, *x, lengths) == pytest.approx(0, abs=1e-12)
        assert xy == pytest.approx(distance(*y, *x, lengths), rel=1e-9)
        assert xy > 1e-3
        assert xz <= (xy + yz) * (1 + 1e-9)
    x1, y1, z1 = ((points[:, 0], weights) for points, weights in (x, y, z))
    length = lengths[0]
    assert marginal_w1(*x1, *x1, length) == pytest.approx(0, abs=1e-12)
    xy = marginal_w1(*x1, *y1, length)
    assert xy == pytest.approx(marginal_w1(*y1, *x1, length), rel=1e-9)
    assert marginal_w1(*x1, *z1, length) <= (xy + marginal_w1(*y1, *z1, length)) * (1 + 1e-9)


@pytest.mark.parametrize("distance", ALL)
def test_distances_do_not_depend_on_the_period_a_point_is_written_in(distance) -> None:
    (x, wx), (y, wy) = cloud(20, 2), cloud(15, 2, seed=1)
    turns = np.stack([np.zeros(20), np.arange(20) % 3 - 1.0], axis=1)
    moved = distance(x + 1.5 * turns, wx, y, wy, (INF, 1.5))
    assert moved == pytest.approx(distance(x, wx, y, wy, (INF, 1.5)), rel=1e-9)


def test_one_measure_against_each_of_several() -> None:
    x, others = cloud(40, 2), [cloud(n, 2, seed=n) for n in (5, 17, 30)]
    for each, one in ((sliced_w2_each, sliced_w2), (energy_distance_each, energy_distance)):
        np.testing.assert_array_equal(each(*x, others), [one(*x, *y) for y in others])


@pytest.mark.parametrize("distance", ALL)
def test_measures_are_divided_by_their_masses(distance) -> None:
    (x, wx), (y, wy) = cloud(20, 2), cloud(15, 2, seed=1)
    expected = pytest.approx(distance(x, wx, y, wy), rel=1e-9)
    assert distance(x, 0.9999 * wx, y, wy) == expected
    assert distance(x, 7 * wx, y, 7.01 * wy) == expected
    with pytest.raises(InvalidInput, match="mass"):
        distance(x, 0.98 * wx, y, wy)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize(
    ("x", "wx", "lengths", "says"),
    [
        (np.zeros((3, 2)), np.ones(2), None, "shape"),
        (np.zeros((3, 1)), np.ones(3), None, "shape"),
        (np.zeros(3), np.ones(3), None, "shape"),
        (np.full((3, 2), np.nan), np.ones(3), None, "finite"),
        (np.zeros((3, 2)), np.array([1.0, np.inf, 1.0]), None, "finite"),
        (np.zeros((3, 2)), np.array([1.0, 1.0, -1.0]), None, "negative"),
        (np.zeros((3, 2)), np.zeros(3), None, "no mass"),
        (np.zeros((0, 2)), np.zeros(0), None, "no mass"),
        (np.zeros((3, 2)), np.ones(3), (1.0,), "periods"),
        (np.zeros((3, 2)), np.ones(3), (1.0, 0.0), "periods"),
    ],
)
def test_what_has_no_distance_is_refused(distance, x, wx, lengths, says) -> None:
    with pytest.raises(InvalidInput, match=says):
        distance(x, wx, np.zeros((3, 2)), np.ones(3), lengths)
