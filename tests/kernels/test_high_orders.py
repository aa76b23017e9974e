"""Orders 11 to 15: the same formulas with wider stencils, on grids that round-off allows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.lines import PROFILES, WALLS, remapped, rough_lines, switched
from numpy.testing import assert_allclose

every_high_order = pytest.mark.parametrize("order", [11, 13, 15])


@every_high_order
def test_remaps_converge_at_their_order(order):
    """Averages after a smooth monotone map of a circle; feet lie anywhere, so errors scatter."""
    profile, errors = PROFILES["periodic"], []
    for cells in (36, 72):
        faces = profile.faces(cells)
        feet = (profile.back(faces) - profile.low) * cells / (profile.high - profile.low)
        new, _, limited = remapped(profile.averages(faces, cells), feet, order, "periodic")
        errors.append(np.abs(new - profile.averages(profile.back(faces), cells)).max())
    assert limited == 0
    assert_allclose(np.log2(errors[0] / errors[1]), order, rtol=0, atol=0.8)
    assert errors[1] < {11: 3e-9, 13: 2e-10, 15: 1e-11}[order]


@every_high_order
@pytest.mark.parametrize("to_points", [True, False])
def test_conversions_converge_at_their_order(order, to_points):
    errors = []
    for cells in (30, 40):
        h = 2 * np.pi / cells
        x = h * (np.arange(cells) + 0.5)
        points = 1 + 0.9 * np.cos(4 * x + 0.3)
        averages = 1 + 0.9 * np.cos(4 * x + 0.3) * np.sinc(2 * h / np.pi)
        source, target = (averages, points) if to_points else (points, averages)
        errors.append(np.abs(switched(source, order, "periodic", to_points)[0] - target).max())
    assert_allclose(np.log(errors[0] / errors[1]) / np.log(4 / 3), order + 1, rtol=0, atol=0.7)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(rough_lines(), st.floats(-40.0, 40.0), st.sampled_from(WALLS))
def test_mass_and_sign_of_the_widest(line, shift, wall):
    """Of rough lines, at any Courant number."""
    feet = np.arange(len(line) + 1.0) + shift
    new, out, _ = remapped(line, feet, 15, wall)
    assert new.min() >= 0.0
    assert_allclose(new.sum() + out.sum(), line.sum(), rtol=1e-13)
    for to_points in (True, False):
        new, _ = switched(line, 15, wall, to_points)
        assert new.min() >= 0.0
        assert_allclose(new.sum(), line.sum(), rtol=1e-13)
