"""Planted errors, and the check that finds each: it passes on the right object and fails here.

A slope that is half its size is wrong for densities and particles alike, and no comparison of the
two would show it. So every check below is one that the contracts run on every member.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from contracts.promises import (
    gradient_is_derivative,
    potential_is_derivative_of_energy,
    sampler_draws_from_density,
    slope_is_derivative_of_risk,
    step_keeps_mass_and_sign,
    upwind_changes_energy_as_stated,
)
from contracts.worlds import WORLDS, rough, waves, world

import mfpde as mf
from mfpde.methods import flux
from mfpde.problems.laws import Gaussian

AXES = WORLDS["circle × open"]


def halved(loss):
    return replace(loss, slope=lambda f, y: loss.slope(f, y) / 2)


def test_a_loss_slope_of_half_its_size():
    f, y = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.5, -0.4])
    slope_is_derivative_of_risk(mf.square(y), f)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        slope_is_derivative_of_risk(halved(mf.square)(y), f)


def test_a_loss_slope_of_half_its_size_is_seen_by_the_flow_too():
    cells = np.array([3, 17, 40])
    for loss in (mf.square, mf.logistic, mf.huber(0.5)):
        right, wrong = world(AXES, loss=loss), world(AXES, loss=halved(loss))
        potential_is_derivative_of_energy(right, rough(right, 0), cells)
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            potential_is_derivative_of_energy(wrong, rough(wrong, 0), cells)


@pytest.mark.parametrize("factor", [-1.0, 0.5, 1.001])
def test_a_wrong_slope_of_an_activation(factor):
    points = np.array([[0.4], [-1.3], [2.0]])
    wrong = replace(mf.tanh, slope=lambda z: factor * mf.tanh.slope(z))
    for activation, found in ((mf.tanh, False), (wrong, True)):
        problem = mf.two_layer([0.5, -1.0], [1.0, 2.0], activation)
        if not found:
            gradient_is_derivative(problem.phi, problem.dphi, points)
            continue
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            gradient_is_derivative(problem.phi, problem.dphi, points)


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
    right = flux.faces_of

    def wrong(flow):
        return [replace(faces, per_distance=faces.per_distance / 1.3) for faces in right(flow)]

    flow = world(WORLDS[name])
    features, rho = waves(WORLDS[name], 0)(flow.grid.points()), rough(flow, 0)
    upwind_changes_energy_as_stated(flow, features, mf.upwind(), rho)
    monkeypatch.setattr(flux, "faces_of", wrong)
    step_keeps_mass_and_sign(flow, mf.upwind(), rho)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        upwind_changes_energy_as_stated(flow, features, mf.upwind(), rho)
