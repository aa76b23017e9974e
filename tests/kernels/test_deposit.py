"""Masses dealt to centres: total, moments, sign, walls."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mfpde as mf
from mfpde.kernels.deposit import REACH, deposit, divide, sub_shares, with_ghosts
from mfpde.kernels.tiles import WALL, axis_view
from mfpde.methods.pushforward import divided_along, sub_nodes

AXES = {
    "uniform": mf.uniform(-1.0, 1.5, 14),
    "stretched": mf.stretched(-1.0, 1.5, 14, ratio=3.0),
    "periodic": mf.periodic(0.0, 2.0, 11),
}
every_axis = pytest.mark.parametrize("name", AXES)


def wall_of(axis):
    return WALL["periodic" if axis.is_periodic else "open"]


def dealt(axes, masses, places):
    """Cell masses, and how many deposits were limited."""
    period = [axis.high - axis.low if axis.is_periodic else None for axis in axes]
    lines = [with_ghosts(axis.centres, p) for axis, p in zip(axes, period, strict=True)]
    start = np.cumsum([0] + [len(line) for line in lines])
    shape = np.array([axis.cells for axis in axes])
    walls = np.array([wall_of(axis) for axis in axes])
    result = np.full(shape.prod(), np.nan)
    places = np.ascontiguousarray(places, dtype=float).reshape(len(masses), -1)
    count = deposit(masses, places, np.concatenate(lines), start, shape, walls, result)
    return result.reshape(shape), count


def inside(axis, seed, count, margin=0.0):
    low, high = axis.low + margin, axis.high - margin
    return np.random.default_rng(seed).uniform(low, high, count)


@pytest.mark.parametrize("names", [("uniform",), ("stretched", "periodic"), ("periodic",) * 3])
@pytest.mark.parametrize("seed", range(3))
def test_total_and_sign_of_rough_masses(names, seed):
    axes = [AXES[name] for name in names]
    masses = np.random.default_rng(seed).exponential(size=300) ** 6
    masses[::3] = 0.0
    places = np.stack([inside(axis, seed + k, 300) for k, axis in enumerate(axes)], axis=1)
    cells, limited = dealt(axes, masses, places)
    assert_allclose(cells.sum(), masses.sum(), rtol=1e-14)
    assert cells.min() >= 0
    assert limited > 0


def test_sign_of_masses_of_many_orders():
    rng = np.random.default_rng(1)
    for _ in range(20):
        masses = 10.0 ** rng.uniform(-300, 0, 200)
        cells, _ = dealt([AXES["uniform"]], masses, inside(AXES["uniform"], 2, 200))
        assert cells.min() >= 0


@pytest.mark.parametrize("name", ["uniform", "stretched"])
def test_the_first_moment_is_exact_limited_or_not(name):
    axis = AXES[name]
    masses = np.random.default_rng(0).exponential(size=40) ** 4
    places = inside(axis, 3, 40, margin=axis.widths.max())
    cells, limited = dealt([axis], masses, places)
    assert limited > 0
    assert_allclose(cells @ axis.centres, masses @ places, rtol=1e-13)


@pytest.mark.parametrize("y", [-0.7, 0.3, 0.5, 1.8])
def test_moments_to_four_are_exact_on_uniform_axes(y):
    """Over a background that keeps all lobes; the fifth is off by 0.57 h⁵ at most."""
    axis = mf.uniform(-7.0, 7.0, 14)
    masses, places = np.append(np.ones(14), 1.0), np.append(axis.centres, y)
    cells, limited = dealt([axis], masses, places)
    assert limited == 0
    moments = [(cells - 1) @ (axis.centres - y) ** k for k in range(6)]
    assert_allclose(moments[:5], np.eye(5)[0], rtol=0, atol=2e-14)
    assert moments[5] == 0 if y in axis.centres else 0.3 < abs(moments[5]) < 0.57


def test_what_lies_at_a_centre_stays_there_to_the_last_bit():
    axes = list(AXES.values())
    points = np.stack(np.meshgrid(*(axis.centres for axis in axes), indexing="ij"), axis=-1)
    masses = np.random.default_rng(0).exponential(size=points.shape[:-1]) ** 5
    cells, limited = dealt(axes, masses.ravel(), points.reshape(-1, 3))
    assert_array_equal(cells, masses)
    assert limited == 0


def test_beside_walls_linearly_and_beyond_the_last_centre_into_its_cell():
    axis = mf.uniform(0.0, 1.0, 10)
    assert_allclose(dealt([axis], np.ones(1), [0.01])[0], np.eye(10)[0])
    assert_allclose(dealt([axis], np.ones(1), [1.0])[0], np.eye(10)[9])
    assert_allclose(dealt([axis], np.ones(1), [0.08])[0][:3], [0.7, 0.3, 0.0], atol=1e-15)


@pytest.mark.parametrize("axis", [*AXES.values(), mf.stretched(-1.0, 1.5, 14, ratio=40.0)], ids=str)
def test_a_lonely_mass_is_shared_by_the_centres_beside_it(axis):
    """What it would drain is empty, so the linear kernel is left: at centres and a hair beside
    them, at edges, and beyond the outermost centres, where that cell takes all."""
    centres, hats, N = axis.centres, np.eye(axis.cells), axis.cells
    if axis.is_periodic:
        period = axis.high - axis.low
        centres = np.r_[centres[-1] - period, centres, centres[0] + period]
        hats = hats[np.arange(-1, N + 1) % N]
    hairs = (np.nextafter(axis.centres, side) for side in (-9.0, 9.0))
    for y in np.concatenate([axis.centres, *hairs, axis.edges, inside(axis, 4, 40)]):
        cells, _ = dealt([axis], np.ones(1), [y])
        linear = [np.interp(y, centres, hat) for hat in hats.T]
        assert_allclose(cells, linear, rtol=0, atol=1e-14)


def test_round_the_circle():
    """A shift by whole cells of all masses shifts what they are dealt to."""
    axis = AXES["periodic"]
    masses, places = np.random.default_rng(0).exponential(size=30), inside(axis, 1, 30)
    h = axis.widths[0]
    for shift in (1, 4):
        moved = np.mod(places + shift * h, 2.0)
        here, there = (dealt([axis], masses, y)[0] for y in (places, moved))
        assert_allclose(there, np.roll(here, shift), rtol=0, atol=1e-14)


@pytest.mark.parametrize("spacing", [0.3, 0.41])
def test_ripple_of_equally_spaced_masses_falls_with_their_distance(spacing):
    """Masses s·h apart make a uniform density, but for 0.15 s⁴ of it."""
    axis = mf.uniform(-30.0, 30.0, 60)
    places = np.arange(-29.0, 29.0, spacing)
    cells, _ = dealt([axis], np.full(len(places), spacing), places)
    ripple = np.abs(cells[10:-10] - 1).max()
    assert 1e-6 < ripple < 0.15 * spacing**4


@every_axis
@pytest.mark.parametrize("q", [1, 2, 3, 5])
def test_sub_nodes_keep_total_and_sign(name, q):
    axis = AXES[name]
    for seed in range(4):
        masses = np.random.default_rng(seed).exponential(size=(3, axis.cells, 2)) ** 5
        wall = "periodic" if axis.is_periodic else "open"
        fine = divided_along(masses, 1, wall, q)
        assert fine.shape == (3, axis.cells * q, 2)
        assert_allclose(fine.sum(axis=1), masses.sum(axis=1), rtol=1e-14)
        assert fine.min() >= 0


@pytest.mark.parametrize("q", [2, 3, 4])
def test_sub_nodes_keep_moments_to_four(q):
    """One cell heavier than the rest: its excess has the moments of a mass at its centre."""
    axis = mf.uniform(-9.0, 9.0, 18)
    masses = np.ones(18)
    masses[8] += 1.0  # the centre −0.5
    fine, even = divided_along(masses, 0, "open", q), divided_along(np.ones(18), 0, "open", q)
    nodes = sub_nodes(axis, q)
    assert_allclose(nodes, -9 + (np.arange(18 * q) + 0.5) / q, rtol=0, atol=1e-14)
    assert_allclose(even, 1 / q, rtol=1e-14)
    excess = [(fine - even) @ (nodes + 0.5) ** moment for moment in range(6)]
    assert_allclose(excess, np.eye(6)[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("q", [2, 5])
def test_sub_nodes_of_stretched_cells_lie_in_them(q):
    axis = mf.stretched(-2.0, 3.0, 20)
    nodes = sub_nodes(axis, q).reshape(20, q)
    assert (nodes > axis.edges[:-1, None]).all()
    assert (nodes < axis.edges[1:, None]).all()


def test_views_of_any_axis():
    """``divide`` along the first and the last axis agree."""
    masses = np.random.default_rng(0).exponential(size=(6, 9)) ** 3
    turned = divided_along(np.ascontiguousarray(masses.T), 1, "closed", 3)
    assert_array_equal(divided_along(masses, 0, "closed", 3), turned.T)
    share, base = sub_shares(3)
    result = np.empty((18, 9))
    divide(axis_view(masses, 0), share, base, WALL["closed"], axis_view(result, 0))
    assert_array_equal(result, turned.T)
    assert base.min() == -REACH
