"""Sparse deconvolution: its kernel, its norm, its optimum and what it refuses."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

import mfpde as mf
import particle_ref as pr
from mfpde.errors import InvalidInput
from mfpde.optimality.bounds import infimum

POSITIONS, WEIGHTS = [0.13, 0.41, 0.77], [0.5, -0.3, 0.2]
ROUGH = mf.Kernel([0.3, 1.0, -0.2, 0.5])
TWO = mf.spikes(([0.13, 0.63], [0.6, -0.4]), mf.dirichlet(3), fidelity=0.5)
BOX = mf.Grid(a=mf.uniform(-2, 2, 4), theta=mf.periodic(0, 1, 8))

REFUSED = {
    "a kernel's coefficients in words": (lambda: mf.Kernel("ones"), "coefficients is not an array"),
    "a constant kernel": (lambda: mf.Kernel([1.0]), "a constant sees no positions"),
    "half a wave": (lambda: mf.dirichlet(2.5), "a whole number ≥ 1"),
    "no wave": (lambda: mf.dirichlet(0), "a whole number ≥ 1"),
    "a kernel by its order": (lambda: mf.spikes(([0.1], [1.0]), kernel=7), "kernel = 7"),
    "no fidelity": (lambda: mf.spikes(([0.1], [1.0]), fidelity=0.0), "a number > 0"),
    "positions and weights that do not pair": (
        lambda: mf.spikes(([0.1, 0.2], [1.0])),
        "truth is not an array of numbers",
    ),
    "pairs the other way round": (
        lambda: mf.spikes([(0.1, 1.0), (0.2, 2.0), (0.3, 1.0)]),
        "truth has shape (3, 2)",
    ),
    "weights that are not finite": (lambda: mf.spikes(([0.1], [np.inf])), "must be finite"),
    "too few samples": (lambda: mf.spikes(np.ones(14)), "need 15 equispaced samples"),
    "too few samples asked for": (
        lambda: mf.spikes(([0.1], [1.0]), samples=14),
        "samples = 14",
    ),
    "another number of samples": (
        lambda: mf.spikes(np.ones(16), samples=17),
        "truth has shape (16,) for 17 samples",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    call, text = REFUSED[name]
    with pytest.raises(InvalidInput) as caught:
        call()
    assert text in str(caught.value)


def test_the_dirichlet_kernel_is_a_quotient_of_sines():
    t = np.linspace(0.01, 0.99, 50)
    quotient = np.sin(15 * np.pi * t) / np.sin(np.pi * t)
    assert_allclose(mf.dirichlet(7).value(t), quotient, rtol=1e-12, atol=1e-13)
    assert mf.dirichlet(7).value(np.zeros(1)) == 15


@pytest.mark.parametrize("kernel", [mf.dirichlet(7), ROUGH], ids=str)
def test_slopes_of_kernels_and_how_steep_they_are(kernel):
    t, h = np.linspace(0, 1, 4001), 1e-6
    for lower, upper in ((kernel.value, kernel.slope), (kernel.slope, kernel.curvature)):
        differences = (lower(t + h) - lower(t - h)) / (2 * h)
        assert_allclose(upper(t), differences, rtol=0, atol=1e-7 * np.abs(differences).max())
    third = (kernel.curvature(t + h) - kernel.curvature(t - h)) / (2 * h)
    for order, found in ((1, kernel.slope(t)), (2, kernel.curvature(t)), (3, third)):
        assert np.abs(found).max() <= kernel.steepest(order) * (1 + 1e-12)
    assert_allclose(-mf.dirichlet(7).curvature(np.zeros(1)), mf.dirichlet(7).steepest(2))


@pytest.mark.parametrize("samples", [None, 15, 16, 40])
def test_the_risk_is_an_integral_over_the_circle(samples):
    """‖y − f‖²/(2δ) by adaptive quadrature, for three spikes against two others."""
    psi, delta = mf.dirichlet(7), 0.3
    problem = mf.spikes((POSITIONS, WEIGHTS), psi, delta, samples)
    points = np.array([[0.7, 0.2], [-1.1, 0.9]])
    f = points[:, 0] @ problem.phi(points[:, 1:])

    def square(x):
        spikes = np.concatenate([POSITIONS, points[:, 1]]), np.append(WEIGHTS, -points[:, 0])
        return float(spikes[1] @ psi.value(x - spikes[0])) ** 2 / (2 * delta)

    exact = sum(quad(square, k / 8, (k + 1) / 8, epsabs=1e-12)[0] for k in range(8))
    assert_allclose(problem.loss.risk(f), exact, rtol=1e-12)


def test_samples_are_taken_as_they_are():
    exact = mf.spikes((POSITIONS, WEIGHTS), ROUGH, samples=9)
    given = mf.spikes(exact.y, ROUGH)
    assert np.array_equal(given.y, exact.y)
    assert np.array_equal(given.x, np.arange(9) / 9)
    assert given.coords == ("a", "theta")
    assert given.domain["theta"] == mf.circle(1.0)


def test_one_spike_shrinks_by_what_the_penalty_takes():
    """y = wψ(· − θ): |a|‖ψ‖²/δ balances |w|‖ψ‖²/δ − 1, so a = w − δ sign(w)/(2K + 1)."""
    problem = mf.spikes(([0.3], [-0.8]), fidelity=0.5)
    best = mf.optimum(problem, BOX, 1e-9)
    a = -0.8 + 0.5 / 15
    assert_allclose(best.value, 15 * (0.8 + a) ** 2 / (2 * 0.5) + abs(a), atol=1e-9)
    assert 0 <= best.gap <= 1e-8
    position, weight = best.minimiser.position.values, best.minimiser.weight.values
    assert_allclose(weight @ position[:, 0], a, atol=1e-4)
    assert_allclose(position[np.abs(position[:, 0]) > 0.01, 1], 0.3, atol=1e-3)


def test_the_supremum_of_g_is_certified():
    """Against the roots of the trigonometric polynomial g' (companion matrix)."""
    problem = mf.spikes((POSITIONS, WEIGHTS), mf.dirichlet(5))
    slope = np.random.default_rng(1).normal(size=11) / 11
    found = infimum(problem, slope, np.array([-1.0, 0.0]), np.array([1.0, 1.0]))
    waves = np.exp(-2j * np.pi * np.outer(np.arange(1, 6), problem.x)) @ slope  # g = c_0 + 2Re Σ…
    powers = 2j * np.pi * np.arange(1, 6) * waves
    roots = np.roots(np.concatenate([powers[::-1], [0.0], np.conj(powers)]))
    critical = np.angle(roots[np.abs(np.abs(roots) - 1) < 1e-6])[:, None] / (2 * np.pi)
    g = problem.phi(critical) @ slope
    least = 1 - np.abs(g).max()  # |a| = 1 costs 1
    assert len(g) >= 2
    assert found.reason == ""
    assert_allclose([found.lower, found.value], min(least, 0.0), atol=1e-11)
    assert found.lower <= min(least, 0.0) + 1e-15


def test_particles_descend_to_the_certified_optimum():
    best = mf.optimum(TWO, BOX, 1e-9)
    flow = pr.run(TWO, row(12), pr.Descent(2e-4), times=[0.0, 0.1, 2.0])
    above = mf.certificate(TWO, flow).gap.values
    assert (np.diff(flow.energy) < 0).all()
    assert (above >= flow.energy.values - best.value - 1e-12).all()
    assert flow.energy[-1] - best.value < 1e-5
    assert above[-1] < 1e-2


def test_the_density_descends_as_particles_do():
    """It is of first order across the kink of |a|, where all of it starts."""
    true = pr.run(TWO, row(100), pr.Descent(2e-4), times=[0.05]).energy[0]
    errors = []
    for cells, angles in ((41, 24), (161, 96)):
        grid = mf.Grid(a=mf.uniform(-2, 2, cells), theta=mf.periodic(0, 1, angles))
        run = mf.solve(TWO, grid, mf.semi_lagrangian(dt=0.0025), times=[0.0, 0.05])
        assert_allclose(run.energy[0], TWO.loss.risk(np.zeros(7)), rtol=1e-12)
        errors.append(abs(float(run.energy[1] - true)))
    assert 0.8 < np.log(errors[0] / errors[1]) / np.log(4) < 1.3


def row(m):
    """Particles at a = 0, all around the circle."""
    return pr.Cloud(np.column_stack([np.zeros(m), (np.arange(m) + 0.5) / m]))


def test_it_survives_pickling():
    problem = mf.spikes((POSITIONS, WEIGHTS), ROUGH)
    twin = pickle.loads(pickle.dumps(problem))
    points = np.linspace(0, 1, 5)[:, None]
    assert np.array_equal(twin.phi(points), problem.phi(points))
    assert twin.loss.risk(twin.y + 1) == problem.loss.risk(problem.y + 1)
