"""The remap of one line: order, mass, sign, symmetry, at any Courant number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.lines import ORDERS, PROFILES, WALLS, remapped, rough_lines
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import KroghInterpolator

from mfpde.kernels.remap import remap
from mfpde.kernels.stencils import remap_table
from mfpde.kernels.tiles import PERIODIC, WALL, axis_view

every_order = pytest.mark.parametrize("order", ORDERS)
every_wall = pytest.mark.parametrize("wall", WALLS)


@every_order
@every_wall
def test_order_p(order, wall):
    """Averages after a smooth monotone map, against its exact image, in the worst cell."""
    profile, errors = PROFILES[wall], []
    for cells in (32, 108):
        faces = profile.faces(cells)
        feet = (profile.back(faces) - profile.low) * cells / (profile.high - profile.low)
        new, out, limited = remapped(profile.averages(faces, cells), feet, order, wall)
        inside = np.clip(profile.back(faces), *bounds(profile, wall))
        errors.append(np.abs(new - profile.averages(inside, cells)).max())
        if wall == "open":
            ends = np.array([profile.low, inside[0], inside[-1], profile.high])
            leaks = profile.averages(ends, cells)[[0, 2]]
            assert_allclose(out, leaks, rtol=0, atol=20 * errors[-1] + 1e-15)
    assert limited == 0, "resolved and smooth: nothing to limit"
    # feet lie elsewhere in their cells on every grid: errors scatter, over a wide range less
    observed = np.log(errors[0] / errors[1]) / np.log(108 / 32)
    assert_allclose(observed, order, rtol=0, atol=0.5)
    assert errors[1] < {5: 5e-6, 7: 1e-7, 9: 2e-9}[order]


def bounds(profile, wall):
    """Where feet may lie."""
    return (-np.inf, np.inf) if wall == "periodic" else (profile.low, profile.high)


@st.composite
def wild_feet(draw, cells: int, wall: str):
    """Monotone feet: many in one cell, cells skipped, far beyond the box, turns of the circle."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    gaps = rng.exponential(size=cells + 1) ** draw(st.integers(1, 4))
    gaps *= rng.random(cells + 1) < draw(st.floats(0.1, 1.0))
    feet = np.cumsum(gaps) / max(gaps.sum(), 1e-300)
    stretch = 1.0 if wall == "periodic" else draw(st.sampled_from([1e-9, 0.1, 1.0, 3.0]))
    feet = feet * stretch * cells + draw(st.floats(-4.0, 4.0)) * cells
    if draw(st.booleans()):
        feet = np.round(feet)
    if wall == "periodic":
        feet = np.minimum(feet, feet[0] + cells)
        feet[-1] = feet[0] + cells
    return feet


@st.composite
def lines_and_feet(draw):
    line, wall = draw(rough_lines()), draw(st.sampled_from(WALLS))
    return line, draw(wild_feet(len(line), wall)), wall


@settings(max_examples=400, deadline=None, derandomize=True)
@given(lines_and_feet(), st.sampled_from(ORDERS))
def test_mass_and_sign_whatever_the_feet(case, order):
    line, feet, wall = case
    new, out, _ = remapped(line, feet, order, wall)
    assert new.min() >= 0
    assert out.min() >= 0
    assert abs(new.sum() + out.sum() - line.sum()) <= 1e-15 * len(line) * line.sum()
    if wall != "open":
        assert_array_equal(out, 0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(lines_and_feet(), st.sampled_from(ORDERS))
def test_mirror_image(case, order):
    line, feet, wall = case
    new, out, _ = remapped(line, feet, order, wall)
    mirrored, out_mirrored, _ = remapped(line[::-1], len(line) - feet[::-1], order, wall)
    # the mirror image of a foot is off by the rounding of cells − foot
    slack = 1e-13 * (1 + np.abs(feet).max()) * line.max(initial=0.0)
    assert_allclose(mirrored[::-1], new, rtol=0, atol=slack)
    assert_allclose(out_mirrored[::-1], out, rtol=0, atol=slack)


@every_order
@every_wall
def test_mirror_image_of_feet_that_mirror_exactly(order, wall):
    """Feet at multiples of 2⁻²⁰ have exact mirror images: nothing but the scheme's own rounding."""
    rng = np.random.default_rng(order)
    line = rng.exponential(size=32) ** 3
    feet = np.round((np.arange(33) + rng.uniform(-0.4, 0.4, 33) - 2.3) * 2**20) / 2**20
    feet[-1] = feet[0] + 32
    new, out, limited = remapped(line, feet, order, wall)
    mirrored, out_mirrored, count = remapped(line[::-1], 32 - feet[::-1], order, wall)
    assert_allclose(mirrored[::-1], new, rtol=0, atol=1e-14 * line.max())
    assert_allclose(out_mirrored[::-1], out, rtol=0, atol=1e-14 * line.max())
    assert limited == count > 0


@every_order
@pytest.mark.parametrize("shift", [0, 1, -7, 15, 40, -95])
def test_whole_shifts_are_exact(order, shift):
    """No arithmetic at all: cells move bit for bit, and what passes an end has left."""
    line = np.random.default_rng(3).exponential(size=30) ** 5
    feet = np.arange(31.0) - shift
    new, out, limited = remapped(line, feet, order, "periodic")
    assert_array_equal(new, np.roll(line, shift))
    new, out, _ = remapped(line, feet, order, "open")
    padded = np.concatenate([np.zeros(100), line, np.zeros(100)])
    assert_array_equal(new, padded[100 - shift : 130 - shift])
    left = [line[: max(-shift, 0)].sum(), line[max(30 - shift, 0) :].sum()]
    assert_allclose(out, left, rtol=1e-15)
    assert limited == 0


@every_order
def test_a_fractional_shift_keeps_the_first_moment(order):
    """Linear and exact for constants: the mean moves by the shift, to round-off, as long as nothing
    is limited; the a-sweep is exact in time for that reason."""
    centred = np.zeros(60)
    centred[25:35] = np.hanning(12)[1:-1] + 0.5
    new, _, limited = remapped(centred + 1.0, np.arange(61) - 0.37, order, "open")
    places = np.arange(60) + 0.5
    interior = slice(15, 45)
    moved = (new - 1.0)[interior] @ places[interior] - centred @ places
    assert limited == 0
    assert_allclose(moved, 0.37 * centred.sum(), rtol=1e-13)


@every_wall
def test_closed_walls_hold_everything(wall):
    """All feet beyond one end: closed walls keep the mass in the last cell, open ones let it go."""
    line = np.arange(1.0, 13.0)
    new, out, _ = remapped(line, np.arange(13.0) - 50.0, 7, wall)
    if wall == "closed":
        assert_array_equal(new, np.r_[np.zeros(11), line.sum()])
    elif wall == "open":
        assert_array_equal(new, 0)
        assert_array_equal(out, [0.0, line.sum()])
    else:
        assert_array_equal(new, np.roll(line, 50))


@every_order
def test_feet_beside_a_face_by_rounding_are_on_it(order):
    """A shift by whole cells that was computed: still bit for bit."""
    line = np.random.default_rng(3).exponential(size=30) ** 5
    for aside in (-2e-14, 2e-14):
        feet = np.arange(31.0) - 7 + aside
        assert_array_equal(remapped(line, feet, order, "periodic")[0], np.roll(line, 7))
        assert_array_equal(remapped(line, feet, order, "open")[0], np.r_[np.zeros(7), line[:-7]])


def mass_below(line, k, xi, order, wall):
    """Old mass of cell k left of xi by the rule of the module, and whether the cell is rough."""
    N = len(line)
    first = k - order // 2 if wall == "periodic" else np.clip(k - order // 2, 0, N - order)
    faces, masses = first + np.arange(order + 1.0), line[(first + np.arange(order)) % N]
    primitive = KroghInterpolator(faces - k, np.r_[0.0, np.cumsum(masses)])
    mass = primitive(xi) - primitive(0.0)
    if min(mass, line[k] - mass, *primitive.derivative([0.0, 1.0])) >= 0:
        return mass, False
    left, right = line[k] - line[k - 1], line[(k + 1) % N] - line[k]
    at_wall = wall != "periodic" and k in (0, N - 1)
    least = min(abs(left + right) / 2, 2 * abs(left), 2 * abs(right))
    slope = 0.0 if at_wall or left * right <= 0 else np.copysign(least, left)
    return line[k] * xi + slope * (xi**2 - xi) / 2, True


@every_order
@pytest.mark.parametrize("wall", ["open", "periodic"])
@pytest.mark.parametrize("xi", [0.1, 0.5, 0.8])
def test_a_cell_keeps_its_polynomial_or_the_limited_line(order, wall, xi):
    """One foot in every cell, at xi of it: both distributions written out."""
    for seed in range(4):
        line = np.random.default_rng(seed).exponential(size=25) ** (1 + seed % 3)
        low, rough = np.transpose([mass_below(line, k, xi, order, wall) for k in range(25)])
        new, out, limited = remapped(line, np.arange(26) + xi, order, wall)
        leak = low[0] if wall == "open" else 0.0
        expected = line - low + np.roll(low, -1)
        expected[-1] -= leak
        assert 0 < limited == rough.sum() < 25
        assert_allclose(new, expected, rtol=0, atol=1e-12 * line.max())
        assert_allclose(out, [leak, 0.0], rtol=0, atol=1e-12 * line.max())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lines_and_feet(), st.sampled_from(ORDERS))
def test_masses_have_no_unit(case, order):
    """In units of 2⁻⁴⁰ or 2⁴⁰ all is the same to the last bit, what is limited included."""
    line, feet, wall = case
    line = np.where(line < 1e-200, 0.0, line)
    new, out, limited = remapped(line, feet, order, wall)
    for unit in (2.0**-40, 2.0**40):
        scaled, left, count = remapped(unit * line, feet, order, wall)
        assert_array_equal(scaled, unit * new)
        assert_array_equal(left, unit * out)
        assert count == limited


def test_a_uniform_circle_is_measured_by_its_feet():
    """Lines of one field, several feet in a cell, the last but one beyond the end or not: a new
    mass is the length between two feet, and nothing is limited."""
    rng = np.random.default_rng(8)
    N, inner = 12, 200
    gaps = rng.exponential(size=(N, inner)) ** 2
    feet = np.zeros((N + 1, inner))
    feet[1:] = np.cumsum(gaps, axis=0) * N / gaps.sum(axis=0)
    feet += rng.uniform(-40, 40, inner)
    feet[-2, ::2] = feet[0, ::2] + N + rng.uniform(0, 0.3, inner // 2)
    ends = np.minimum(feet, feet[0] + N)
    ends[-1] = feet[0] + N
    new, out = np.empty((1, N, inner)), np.empty((2, 1, inner))
    limited = remap(np.ones((1, N, inner)), feet[None], remap_table(5), PERIODIC, new, out)
    assert_allclose(new[0], np.diff(ends, axis=0), rtol=0, atol=1e-12)
    assert limited == 0


def test_the_circle_closes_where_feet_meet():
    """Faces N − 1 and N of one place but for rounding: the last face is the first one's image, not
    a number of its own (found by fuzzing: −5 in a cell)."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        line = rng.exponential(size=21) ** 3
        start = rng.uniform(-40, 40)
        feet = start + np.sort(rng.random(22)) * 1e-15 * 21 + np.linspace(0, 1, 22) ** 0.05 * 21
        feet[-4:] = start + 21 + np.array([-1, 0, 1, 0]) * np.spacing(start + 21)
        new, _, _ = remapped(line, np.maximum.accumulate(feet), 9, "periodic")
        assert new.min() >= 0
        assert abs(new.sum() - line.sum()) <= 1e-14 * line.sum()


def test_feet_out_of_order_cost_accuracy_never_mass():
    """Interpolated feet may cross by round-off: the later face follows the earlier."""
    rng = np.random.default_rng(6)
    line = rng.exponential(size=20)
    for wall in WALLS:
        new, out, _ = remapped(line, rng.uniform(-5, 30, 21), 7, wall)
        assert new.min() >= 0
        assert abs(new.sum() + out.sum() - line.sum()) <= 1e-14 * line.sum()


def test_lines_of_a_field_do_not_mix():
    """Along every axis of a 3-D field: as one line at a time, out included."""
    rng = np.random.default_rng(7)
    field, table = rng.exponential(size=(11, 12, 37)) ** 2, remap_table(7)
    for axis in range(3):
        view = axis_view(field, axis)
        outer, N, inner = view.shape
        feet = np.arange(N + 1)[:, None] + rng.uniform(-9, 9, (outer, 1, inner))
        new, out = np.empty_like(field), np.empty((2, outer, inner))
        remap(view, np.ascontiguousarray(feet), table, 1, axis_view(new, axis), out)
        for o in range(outer):
            for i in range(inner):
                line, left, _ = remapped(view[o, :, i], feet[o, :, i], 7, "open")
                assert_array_equal(axis_view(new, axis)[o, :, i], line)
                assert_array_equal(out[:, o, i], left)
    assert PERIODIC == 2


def test_feet_a_hair_apart_where_a_cell_ends_in_nothing():
    """Left of 1 − δ its limited line has the mass m(1 − δ²): rounded, it may fall from foot to foot
    (by as much as a last place of m), and what lies between them must not."""
    rng = np.random.default_rng(9)
    m, inner = 1 + rng.random(200), 200
    line, feet = np.zeros((1, 12, inner)), np.empty((1, 13, inner))
    line[0, 3:6] = m * [[30.0], [10.0], [1.0]]
    near, apart = 10.0 ** rng.uniform([[-13], [-8]], [[-5], [0]], (2, inner))
    feet[0] = np.linspace(0, 12, 13)[:, None]
    feet[0, 2:7] = np.sort(6 - near * (1 + apart * rng.random((5, inner))), axis=0)
    new, out = np.empty_like(line), np.empty((2, 1, inner))
    limited = remap(line, feet, remap_table(5), WALL["closed"], new, out)
    assert limited >= inner
    assert new.min() >= 0
    assert_allclose(new.sum(axis=1)[0], 41 * m, rtol=1e-15)


def test_light_neighbours_do_not_hand_on_all_they_hold():
    """A clipped polynomial would spread a tail one cell per step at full weight."""
    rho, faces = np.array([0, 0, 0, 1e-9, 1e-4, 0.2, 0.6, 0.2, 1e-4, 1e-9, 0, 0]), np.arange(13.0)
    new, _, _ = remapped(rho, faces + 0.1, 7, "open")
    assert new[2] <= 0.2 * 1e-9
    assert new[3] <= 1e-9 + 0.2 * 1e-4
