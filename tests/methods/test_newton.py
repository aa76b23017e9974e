"""Newton's method without matrices: roots that are known, and equations it must give up."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde.methods.newton import newton


def arctan(z):
    """arctan z_k and its derivative: full steps from |z| > 1.4 run away."""
    return np.arctan(z), 1 / (1 + z**2)


def scaled(factor, change):
    return factor * change


def test_steps_are_halved_where_full_ones_run_away():
    z, factor = newton(arctan, scaled, np.array([3.0, -20.0, 0.5]), 1.0)
    assert_allclose(z, 0, atol=1e-14)
    assert_allclose(factor, 1, rtol=1e-14)


def test_without_unknowns_there_is_nothing_to_solve():
    z, state = newton(lambda z: (z, "its state"), scaled, np.empty(0), 1.0)
    assert (z.size, state) == (0, "its state")


@pytest.mark.parametrize("scale", [1.0, 1e-40])
def test_a_root_of_high_order_is_reached_slowly_or_given_up(scale):
    """z ← (1 − 1/20) z: 50 steps leave z²⁰ = 0.95^1000 = 5e-23."""
    found = newton(lambda z: (z**20, 20 * z**19), scaled, np.array([1.0]), scale)
    if scale == 1.0:
        assert found is not None
        assert found[0] ** 20 <= 1e-14
    else:
        assert found is None


def test_an_equation_without_a_root_is_given_up():
    assert newton(lambda z: (1 + z**2, 2 * z), scaled, np.array([0.7]), 1.0) is None
