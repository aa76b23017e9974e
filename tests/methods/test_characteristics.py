"""Feet of the output weight, and the kinks of piecewise linear networks."""

import numpy as np
import pytest

import mfpde as mf
from mfpde.methods.characteristics import kinks_along, output_feet


def forwards(a, G, alpha, s, dt, steps=4000):
    """a' = −G − αa − s sign(a) by the proximal Euler method, tiny steps."""
    h = dt / steps
    for _ in range(steps):
        a = a - h * G - h * alpha * a
        a = np.sign(a) * np.maximum(np.abs(a) - h * s, 0.0)
    return a


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("s", [0.0, 0.4])
@pytest.mark.parametrize("G", [-1.1, -0.2, 0.0, 0.3, 0.9])
def test_a_foot_moves_back_to_its_face(G, s, alpha):
    faces = np.array([-2.0, -0.7, -0.1, 0.1, 0.7, 2.0])
    feet = output_feet(faces, np.array([G]), alpha, s, 0.8)[:, 0]
    assert (np.diff(feet) > 0).all()
    np.testing.assert_allclose(forwards(feet, G, alpha, s, 0.8), faces, rtol=0, atol=1e-3)


def test_what_rests_at_zero_came_from_both_sides():
    """|G| ≤ s: the face at 0 stays, and everything between the feet beside it ends at 0."""
    faces = np.array([-1e-12, 0.0, 1e-12])
    lower, middle, upper = output_feet(faces, np.array([0.1]), 0.0, 0.4, 1.0)[:, 0]
    assert middle == 0
    assert (lower, upper) == (pytest.approx(-0.3), pytest.approx(0.5))
    np.testing.assert_allclose(
        forwards(np.array([-0.29, 0.2, 0.49]), 0.1, 0.0, 0.4, 1.0), 0, atol=1e-12
    )


@pytest.mark.parametrize("activation", [mf.relu, mf.leaky_relu], ids=repr)
@pytest.mark.parametrize("k", [0, 1])
def test_the_field_between_kinks_is_minus_the_gradient_of_g(activation, k):
    """Two coordinates (w, b): −∂_k g by central differences of Σ slope_i σ(w x_i + b)."""
    rng = np.random.default_rng(5)
    x, slope = np.array([-1.3, -0.4, 0.0, 0.6, 1.1]), rng.normal(size=5)
    directions = np.column_stack([x, np.ones(5)])
    other = rng.normal(size=3)
    others = np.zeros((1, 3, 2))
    others[0, :, 1 - k] = other
    kinks = kinks_along(activation, directions, k, others)
    flow = kinks.flow(slope, low=-3.0, width=0.5)

    def g(v):
        return activation.value(v @ directions.T) @ slope

    for j in range(3):
        places = flow.kinks[0, j]
        for position in rng.uniform(-5, 15, 40):
            if np.abs(places - position).min() < 1e-3:
                continue
            v = others[0, j].copy()
            v[k] = -3.0 + 0.5 * position
            step = np.eye(2)[k] * 1e-5
            expected = -(g(v + step) - g(v - step)) / 2e-5 / 0.5
            found = flow.pieces[0, j][np.searchsorted(places, position)]
            assert found == pytest.approx(expected, abs=1e-8)
