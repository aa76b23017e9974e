"""The particle runs of an experiment: which integrator, what where it stops, who is counted."""

import io
import sys

import numpy as np
import pytest

import mfpde as mf
import particle_ref as pr
from mfpde import experiment

TIMES = np.array([0.0, 0.1, 0.2])


def network(activation):
    return mf.two_layer([-1.0, 0.5, 1.0], [0.2, -0.3, 0.6], activation)


@pytest.mark.parametrize(("activation", "integrator"), [(mf.tanh, "RK45"), (mf.relu, "RK23")])
def test_kinks_are_given_an_integrator_of_lower_order(activation, integrator):
    assert experiment.gradient_flow(network(activation)).integrator == integrator


def test_particles_that_slide_along_a_kink_go_on_by_small_steps(monkeypatch):
    """The flow of small Euler steps, near the one that no step was refused in; no kink, no help."""
    cloud, problem = pr.sample(network(mf.relu), 20), network(mf.relu)
    exact = pr.run(problem, cloud, pr.GradientFlow(), TIMES)
    run = pr.run

    def refusing(problem, cloud, method, times):
        if isinstance(method, pr.GradientFlow):
            raise pr.NumericalStop("steps fell below round-off", "particles slide along a kink")
        return run(problem, cloud, method, times)

    monkeypatch.setattr(pr, "run", refusing)
    flow = experiment.flow_of(problem, TIMES, (0, cloud))
    assert "Descent" in str(flow.attrs["method"])
    np.testing.assert_allclose(flow.position, exact.position, rtol=0, atol=0.01)
    with pytest.raises(pr.NumericalStop, match="round-off"):
        experiment.flow_of(network(mf.tanh), TIMES, (0, cloud))


@pytest.mark.parametrize("terminal", [True, False])
def test_particle_runs_are_counted_at_a_terminal_alone(monkeypatch, terminal):
    screen = io.StringIO()
    screen.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(experiment.counted("ab", 2)) == ["a", "b"]
    told = "\r  particle run 1 of 2\r  particle run 2 of 2\n"
    assert screen.getvalue() == (told if terminal else "")
