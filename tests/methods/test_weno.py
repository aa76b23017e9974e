"""weno5: its fluxes against ∇·(ρ∇V) on the torus, its order in time, its limits."""

import itertools
from functools import cache

import numpy as np
import pytest
from exact.cases import CASES
from numpy.polynomial.legendre import leggauss
from numpy.testing import assert_allclose
from orders.observed import observed_orders

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.methods.weno import WenoFluxes


def averages(function, cells):
    """Cell averages on [0, 2π]² by six Gauss nodes per axis."""
    h, (nodes, shares) = 2 * np.pi / cells, leggauss(6)
    centres, total = (np.arange(cells) + 0.5) * h, np.zeros((cells, cells))
    for (s, p), (t, q) in itertools.product(zip(nodes, shares, strict=True), repeat=2):
        total += p * q / 4 * function(centres[:, None] + s * h / 2, centres + t * h / 2)
    return total


def rho(x, y):
    return 2 + 0.3 * np.sin(x) * np.cos(y)


def V(x, y):
    return np.sin(3 * x - 2 * y)


def divergence(x, y):
    """∇·(ρ∇V)."""
    slope, bend = np.cos(3 * x - 2 * y), -13 * np.sin(3 * x - 2 * y)
    along = 3 * np.cos(x) * np.cos(y) + 2 * np.sin(x) * np.sin(y)
    return 0.3 * along * slope + rho(x, y) * bend


def test_the_rate_of_change_is_of_order_five():
    """V has three waves for each of ρ, so its differences are what is seen, and the switches."""
    errors, cells, dt = [], (24, 32, 48), 1e-4
    for n in cells:
        circle = mf.circle(2 * np.pi)
        axis = mf.periodic(0, 2 * np.pi, n)
        problem = mf.Problem(
            ("u", "v"),
            lambda q: q[:, :1] * 0,
            None,
            mf.square([0.0]),
            initial=mf.uniform_box(0, 2 * np.pi),
            domain={"u": circle, "v": circle},
        )
        fluxes = WenoFluxes(mf.WassersteinFlow(problem, mf.Grid(u=axis, v=axis), 5))
        start, x = averages(rho, n), axis.centres
        step = fluxes.step(start, V(x[:, None], x), dt, fluxes.densities(start))
        assert fluxes.limited["donors"] == 0
        rate = (step.rho - start) / dt
        errors.append(abs(rate - averages(divergence, n)).max())
    orders = observed_orders(errors, cells)
    assert (orders > 4.8).all()
    assert (orders < 6.2).all()
    assert errors[-1] < 7e-5


@cache
def exact_in_time():
    """Steps eight times shorter than the shortest below."""
    return CASES["X4"].run(mf.weno5(0.00625), 24).rho.values[-1]


@pytest.mark.parametrize(("exact", "order"), [(None, 3), ("relaxed", 3), ("averaged", 2)], ids=str)
def test_order_in_time_of_weno5(exact, order):
    """On one grid of the circle."""
    case = CASES["X4"]

    def density(cfl):
        return case.run(mf.weno5(cfl, exact), 24).rho.values[-1]

    errors = [abs(density(cfl) - exact_in_time()).max() for cfl in (0.2, 0.1, 0.05)]
    assert_allclose(observed_orders(errors, (1, 2, 4)), order, atol=0.35)


@pytest.mark.parametrize(
    "axis", [mf.stretched(-3, 3, 40), mf.uniform(-3, 3, 9)], ids=["stretched", "few cells"]
)
def test_weno5_needs_uniform_axes_of_ten_cells(axis):
    problem = mf.two_layer([1.0], [0.5], output_weight=False, initial=mf.gaussian(0, 0.4))
    with pytest.raises(InvalidInput, match=r"(?s)axes \['w'\].*mf\.muscl\(\)"):
        mf.solve(problem, mf.Grid(w=axis), mf.weno5(), [0, 0.1])


def test_weno5_touches_no_smooth_density():
    """On the circle of X4 the limiter never acts."""
    run = CASES["X4"].run(mf.weno5(), 48)
    assert run.attrs["limited_donors"] == 0
