"""Particles that move at half speed in w, and the two checks that find them."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import particle_ref as pr
from particle_ref.force import Force

X, Y = np.array([-1.0, 0.4, 1.5]), np.array([-0.5, 1.0, 2.0])
TIMES = np.linspace(0, 1, 201)


def loss():
    return SimpleNamespace(
        risk=lambda f: float(np.mean((f - Y) ** 2) / 2), slope=lambda f: (f - Y) / 3
    )


# A linear network a·w·x, made by hand: nothing here is shared with the density solver.
PROBLEM = SimpleNamespace(
    coords=("a", "w"),
    lifted=True,
    phi=lambda w: w * X,
    dphi=lambda w: np.broadcast_to(X[:, None], (len(w), 3, 1)),
    loss=loss(),
    penalty=SimpleNamespace(value=lambda u: 0 * u[:, 0], gradient=lambda u: 0 * u, prox=None),
    entropy=0.0,
    initial=SimpleNamespace(from_uniform=lambda u: 2 * u - 1),
    domain={},
    x=X,
    y=Y,
    weights=np.full(3, 1 / 3),
    activation=None,
    inputs=None,
    bias=False,
)
START = pr.Cloud(np.random.default_rng(0).normal(0.3, 0.8, (40, 2)))


def dissipates_as_stated(flow):
    """dF/dt = −Σ p|u'|² between the stored times, by Simpson's rule over two intervals."""
    d, dt = flow.dissipation.values, np.diff(flow.time)[0]
    spent = dt / 3 * (d[:-2:2] + 4 * d[1:-1:2] + d[2::2])
    assert_allclose(np.diff(flow.energy.values[::2]), -spent, rtol=1e-6, atol=1e-12)


def keeps_its_invariant(flow):
    """a² − w² of every particle, for 1-homogeneous features without a penalty (SCIENCE I3)."""
    a, w = flow.position.values[..., 0], flow.position.values[..., 1]
    assert_allclose(a**2 - w**2, (a**2 - w**2)[:1].repeat(len(a), 0), rtol=0, atol=1e-7)


class Slow(pr.GradientFlow):
    """Half the velocity in w, wherever it is asked for."""

    def velocity(self, force, space, position, gradient):
        return super().velocity(force, space, position, gradient) * [1.0, 0.5]


@pytest.mark.parametrize("check", [dissipates_as_stated, keeps_its_invariant])
def test_half_speed_in_w(check, monkeypatch):
    right = pr.run(PROBLEM, START, pr.GradientFlow(rtol=1e-11), TIMES)
    assert right.energy[-1] < 0.5 * right.energy[0]
    check(right)
    velocity = Force.velocity
    monkeypatch.setattr(Force, "velocity", lambda *a: velocity(*a) * np.array([1.0, 0.5]))
    wrong = pr.run(PROBLEM, START, Slow(rtol=1e-11), TIMES)
    assert (np.diff(wrong.energy) < 0).all(), "the energy falls all the same"
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(wrong)
