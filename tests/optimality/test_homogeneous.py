"""Homogeneous networks: the reduction to the sphere, its dual, and the certified optimum."""

import numpy as np
import pytest
from scipy.optimize import nnls

import mfpde as mf
from mfpde.optimality.homogeneous import dual_bound, sphere_of
from mfpde.optimality.sectors import circle, sectors
from mfpde.optimality.sliding import Atoms, lasso, optimum_on_sphere, slid
from mfpde.optimality.sliding import energy as energy_of

MODULUS = mf.Activation(np.abs, np.sign, name="modulus", kinks=(0.0,))
LOSSES = {"square": mf.square, "logistic": mf.logistic, "huber": mf.huber(0.3)}
PENALTIES = {
    "ridge": mf.ridge(0.02),
    "ridges": mf.ridge((0.02, 0.01, 0.05)),
    "path norm": mf.path_norm(0.02),
}
SIGMAS = {s.name: s for s in (mf.relu, mf.leaky_relu, mf.identity, MODULUS)}


def data(seed=0, n=24):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-1.5, 1.5, n))
    return x, np.sin(3 * x) + 0.1 * rng.normal(size=n), rng.dirichlet(np.full(n, 5.0))


def network(sigma=mf.relu, loss=mf.square, penalty=PENALTIES["ridge"], seed=0):
    x, y, p = data(seed)
    y = np.where(y > 0, 1.0, -1.0) if loss is mf.logistic else y
    return mf.two_layer(x, y, activation=sigma, loss=loss, weights=p, penalty=penalty, bias=True)


def energy(problem, points, weights):
    """F of a cloud, by the definition."""
    f = weights @ (points[:, :1] * problem.phi(points[:, 1:]))
    return problem.loss.risk(f) + weights @ problem.penalty.value(points)


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_energies_are_at_least_those_on_the_sphere_and_equal_when_balanced(penalty):
    problem, rng = network(penalty=penalty), np.random.default_rng(1)
    sphere = sphere_of(problem)
    for _ in range(50):
        points, weights = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(6))
        scaled = points[:, 1:] * sphere.scales
        size = np.linalg.norm(scaled, axis=1)
        directions, masses = scaled / size[:, None], weights * points[:, 0] * size
        P = problem.loss.risk(masses @ sphere.fan(directions))
        P += sphere.alpha * np.abs(masses).sum()
        assert energy(problem, points, weights) >= P - 1e-14
        assert energy(problem, *sphere.neurons(directions, masses)) == pytest.approx(P, rel=1e-13)


def test_no_mass_is_a_neuron_at_the_origin():
    points, weights = sphere_of(network()).neurons(np.empty((0, 2)), np.empty(0))
    np.testing.assert_array_equal(points, np.zeros((1, 3)))
    np.testing.assert_array_equal(weights, [1.0])


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize("sigma", SIGMAS.values(), ids=SIGMAS)
def test_optima_are_certified(sigma, penalty, loss):
    problem = network(sigma, loss, penalty, seed=2)
    optimum = optimum_on_sphere(problem)
    assert -1e-12 <= optimum.gap <= 1e-9
    assert optimum.value - optimum.lower_bound == optimum.gap
    cloud = energy(problem, optimum.points, optimum.weights)
    assert cloud == pytest.approx(optimum.value, rel=1e-13)
    assert optimum.weights.sum() == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_optima_meet_the_conditions_of_optimality(loss):
    """|g| ≤ α on the sphere, by a dense set of it, and g = −α sign(m) at the atoms."""
    problem = network(loss=loss, seed=3)
    optimum, sphere = optimum_on_sphere(problem, 1e-12), sphere_of(problem)
    slope = problem.loss.slope(optimum.masses @ sphere.fan(optimum.directions))
    assert len(optimum.masses) >= 2
    g = sphere.fan(optimum.directions) @ slope
    np.testing.assert_allclose(g, -sphere.alpha * np.sign(optimum.masses), rtol=1e-6)
    around = circle(np.linspace(0, 2 * np.pi, 10001))
    assert np.abs(sphere.fan(around) @ slope).max() <= sphere.alpha * (1 + 1e-6)


def test_optimum_against_fixed_directions():
    """Masses ≥ 0 at the kinks and 800 directions, of either sign, by SciPy's nnls.

    A row of ε and a target −α/ε add α Σm to ½|Bm − b|², up to ε²(Σm)²/2. What fixed directions
    miss is of second order in their step.
    """
    problem = network(seed=4)
    sphere, optimum = sphere_of(problem), optimum_on_sphere(problem)
    kinks, _ = sectors(sphere.fan, np.ones(24))
    A = sphere.fan(circle(np.append(kinks, 2 * np.pi * np.arange(800) / 800)))
    A = np.concatenate([A, -A])
    root, epsilon = np.sqrt(problem.weights), 1e-4
    B = np.vstack([(A * root).T, np.full(len(A), epsilon)])
    m, _ = nnls(B, np.append(root * problem.y, -sphere.alpha / epsilon))
    P = problem.loss.risk(m @ A) + sphere.alpha * m.sum()
    assert optimum.value - 1e-12 <= P <= optimum.value + 1e-6


@pytest.mark.parametrize("mu", [0.05, 0.3, 5.0])
def test_linear_network_of_one_input_is_a_soft_threshold(mu):
    """min over v of ½E(xv − y)² + μ|v|: v = soft(Exy, μ)/Ex²."""
    x, _, p = data(5)
    y = 0.7 * x + 0.1
    problem = mf.two_layer(x, y, activation=mf.identity, weights=p, penalty=mf.ridge(mu))
    xy, xx, yy = p @ (x * y), p @ x**2, p @ y**2
    soft = max(xy - mu, 0.0)
    optimum = optimum_on_sphere(problem)
    assert optimum.value == pytest.approx(yy / 2 - soft**2 / (2 * xx), rel=1e-13)
    assert optimum.gap <= 1e-12
    f = optimum.weights @ (optimum.points[:, :1] * problem.phi(optimum.points[:, 1:]))
    np.testing.assert_allclose(f, soft / xx * x, atol=1e-12)


def test_three_dimensions_to_the_width_of_the_enclosure():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(20, 2))
    y = np.sin(2 * X[:, 0]) * X[:, 1]
    problem = mf.two_layer(X, y, activation=mf.relu, bias=True, penalty=mf.ridge(0.05))
    optimum = optimum_on_sphere(problem)
    assert -1e-12 <= optimum.gap <= 1e-5
    assert energy(problem, optimum.points, optimum.weights) == pytest.approx(optimum.value)


def test_sliding_keeps_the_prediction_and_does_not_raise_the_energy():
    """40 atoms of both signs among the 48 sectors: those that share sector and sign become one."""
    sphere, rng = sphere_of(network()), np.random.default_rng(9)
    directions = circle(rng.uniform(0, 2 * np.pi, 40))
    atoms = Atoms(directions, rng.choice([-1.0, 1.0], 40), rng.uniform(0, 1, 40))
    moved = slid(sphere, atoms)
    assert len(moved.sizes) < 40
    np.testing.assert_allclose(moved.prediction(sphere), atoms.prediction(sphere), atol=1e-13)
    assert energy_of(sphere, moved) < energy_of(sphere, atoms)
    np.testing.assert_allclose(np.linalg.norm(moved.directions, axis=1), 1, atol=1e-14)
    again = slid(sphere, moved)
    assert len(again.sizes) == len(moved.sizes)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_masses_meet_the_conditions_of_optimality(loss):
    """Derivatives in the masses are 0 where m > 0 and at least 0 elsewhere."""
    problem, rng = network(loss=loss), np.random.default_rng(10)
    A, alpha = rng.normal(size=(60, 24)), 0.05
    m = lasso(problem.loss, A, alpha, np.zeros(60))
    slope = A @ problem.loss.slope(m @ A) + alpha
    assert (m > 0).sum() > 3
    assert (m >= 0).all()
    assert np.abs(slope[m > 0]).max() <= 1e-12
    assert slope.min() >= -1e-12


def test_without_need_of_neurons():
    problem = network(penalty=mf.ridge(10.0))
    optimum = optimum_on_sphere(problem)
    assert optimum.value == pytest.approx(problem.loss.risk(np.zeros(24)), rel=1e-15)
    assert optimum.gap <= 1e-14
    assert len(optimum.masses) == 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_weak_duality_whatever_the_response(loss):
    """210 random predictions: no bound exceeds the optimum, and those near it come close."""
    problem = network(loss=loss, seed=7)
    optimum, sphere = optimum_on_sphere(problem), sphere_of(problem)
    best = optimum.masses @ sphere.fan(optimum.directions)
    rng = np.random.default_rng(8)
    for k in range(210):
        f = best + 10.0 ** -(k % 7) * rng.normal(size=len(best))
        sup = sphere.supremum(problem.loss.slope(f)).upper
        bound = dual_bound(problem.loss, problem.loss.residual(f), sphere.alpha, sup)
        assert bound <= optimum.value + 1e-14
        if k % 7 == 6:
            assert bound >= optimum.value - 1e-4


def test_the_multiple_of_the_response_is_the_best():
    """Against 2000 multiples; the square loss has a closed form, the others a search."""
    for loss in LOSSES.values():
        problem = network(loss=loss)
        residual = problem.loss.residual(np.full(24, 0.2))
        for sup in (0.1, 1.0, 1e-3):
            longest = min(0.02 / sup, 4.0)
            D = [-problem.loss.conjugate(t * residual) for t in np.linspace(0, longest, 2001)]
            found = dual_bound(problem.loss, residual, 0.02, sup)
            assert found >= max(D) - 1e-12
            assert found <= max(D) + 1e-4


OTHERS = {
    "smooth": {"activation": mf.tanh},
    "kink unknown": {"activation": mf.Activation(np.abs, np.sign)},
    "kink elsewhere": {
        "activation": mf.Activation(
            lambda z: np.maximum(z, 1), lambda z: 1.0 * (z > 1), kinks=(1.0,)
        )
    },
    "no penalty": {"penalty": None},
    "free weight": {"penalty": mf.ridge((0.1, 0.0, 0.1))},
    "both penalties": {"penalty": mf.ridge(0.1) + mf.total_variation(0.1)},
    "|a|": {"penalty": mf.total_variation(0.1)},
    "entropy": {"entropy": 0.1},
    "no output weight": {"output_weight": False},
    "half line": {
        "domain": {"w": mf.half_line()},
        "initial": mf.product(a=mf.gaussian(), w=mf.uniform_box(0.0, 1.0), b=mf.gaussian()),
    },
}


@pytest.mark.parametrize("differs", OTHERS.values(), ids=OTHERS)
def test_what_is_not_on_the_sphere(differs):
    x, y, _ = data()
    given = {"activation": mf.relu, "penalty": mf.ridge(0.1), "bias": True} | differs
    problem = mf.two_layer(x, y, **given)
    assert sphere_of(problem) is None
    with pytest.raises(mf.InvalidInput, match="has no form on the sphere"):
        optimum_on_sphere(problem)


def test_losses_without_a_conjugate():
    x, y, _ = data()
    loss = mf.Loss(lambda f, y: (f - y) ** 4, lambda f, y: 4 * (f - y) ** 3, name="quartic")
    problem = mf.two_layer(x, y, activation=mf.relu, loss=loss, penalty=mf.ridge(0.1))
    with pytest.raises(mf.InvalidInput, match="conjugate"):
        optimum_on_sphere(problem)
