"""Planted errors, and the check that finds each: it passes on the right object and fails here.

A slope that is half its size is wrong for densities and particles alike, and no comparison of the
two would show it. So every check below is one that the contracts run on every member.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from contracts.promises import (
    sampler_draws_from_density,
    step_keeps_mass_and_sign,
    upwind_changes_energy_as_stated,
)
from contracts.worlds import WORLDS, rough, waves, world

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.methods import flux
from mfpde.problems.laws import Gaussian

AXES = WORLDS["circle × open"]


def halved(loss):
    return replace(loss, slope=lambda f, y: loss.slope(f, y) / 2)


@pytest.mark.parametrize("loss", [mf.square, mf.logistic, mf.huber(0.5)], ids=str)
def test_a_loss_slope_of_half_its_size(loss):
    """A density and particles would both follow it, and agree."""
    loss([1.0, -1.0, 1.0])
    with pytest.raises(InvalidInput, match="where differences give"):
        halved(loss)([1.0, -1.0, 1.0])


def test_a_wrong_curvature():
    wrong = replace(mf.logistic, curvature=lambda f, y: -mf.logistic.curvature(f, y))
    with pytest.raises(InvalidInput, match="curvature of the loss"):
        wrong([1.0, -1.0])


@pytest.mark.parametrize("factor", [-1.0, 0.5, 1.001])
def test_a_wrong_slope_of_an_activation(factor):
    wrong = replace(mf.tanh, slope=lambda z: factor * mf.tanh.slope(z))
    mf.two_layer([0.5, -1.0], [1.0, 2.0], mf.tanh)
    with pytest.raises(InvalidInput, match="dphi is"):
        mf.two_layer([0.5, -1.0], [1.0, 2.0], wrong)


@pytest.mark.parametrize("law", [mf.point(0.0), mf.gaussian()], ids=str)
@pytest.mark.parametrize("activation", [mf.relu, mf.leaky_relu, mf.cos, mf.quadratic], ids=str)
def test_right_slopes_are_never_refused(activation, law):
    """Not even at kinks, where differences say something else."""
    mf.two_layer([0.0, 0.5, -1.0], [1.0, 2.0, 0.0], activation, initial=law, bias=True)


def test_a_wrong_gradient_of_a_penalty():
    wrong = mf.Penalty(lambda q: (q**2).sum(axis=1), lambda q: q)
    with pytest.raises(InvalidInput, match="penalty's gradient"):
        mf.two_layer([1.0], [1.0], penalty=wrong)


def test_features_that_do_not_close_round_a_circle():
    """The density would depend on where the circle is cut."""
    domain = {"t": mf.circle(2 * np.pi)}
    mf.Problem(("t",), lambda t: np.cos(t), None, mf.square([1.0]), domain=domain)
    with pytest.raises(InvalidInput, match="once round"):
        mf.Problem(("t",), lambda t: np.cos(0.5 * t), None, mf.square([1.0]), domain=domain)


@dataclass(frozen=True, repr=False)
class Wider(Gaussian):
    """Draws with a standard deviation 5 % above that of its density."""

    def _from_uniform(self, u):
        mean = np.asarray(self.mean)
        return mean + 1.05 * (super()._from_uniform(u) - mean)


def test_a_sampler_that_disagrees_with_its_density():
    coords = ("a", "w")
    sampler_draws_from_density(mf.gaussian(0.3, 0.8).on(coords))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        sampler_draws_from_density(Wider(0.3, 0.8, coords=coords))


@pytest.mark.parametrize("name", ["closed", "circle × open", "all four"])
def test_a_distance_of_faces_off_by_30_percent(name, monkeypatch):
    """Mass and sign are kept all the same: only the energy's identity sees it."""
    right = flux.FluxDivergence.__init__

    def wrong(self, flow, limiter):
        right(self, flow, limiter)
        cells, walls, first, per_distance, *others = self.faces
        self.faces = (cells, walls, first / 1.3, per_distance / 1.3, *others)

    flow = world(WORLDS[name])
    features, rho = waves(WORLDS[name], 0)(flow.grid.points()), rough(flow, 0)
    upwind_changes_energy_as_stated(flow, features, mf.upwind(), rho)
    monkeypatch.setattr(flux.FluxDivergence, "__init__", wrong)
    step_keeps_mass_and_sign(flow, mf.upwind(), rho)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        upwind_changes_energy_as_stated(flow, features, mf.upwind(), rho)
