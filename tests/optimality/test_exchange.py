"""λ = 0: best weights on the simplex, closed-form optima, and certified gaps."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import mfpde as mf
from mfpde.errors import NotAvailable
from mfpde.optimality.exchange import Atoms, least_energy, potential, slid
from mfpde.optimality.simplex import best_weights

X = np.linspace(-2, 2, 12)
Y = np.sin(3 * X)


def best(problem, size=3.0, tolerance=1e-11):
    high = np.full(problem.dimension, size)
    return least_energy(problem, -high, high, tolerance)


@pytest.mark.parametrize("loss", [mf.square, mf.logistic, mf.huber(0.3)], ids=repr)
@pytest.mark.parametrize("K", [3, 12, 40])
def test_best_weights_meet_the_conditions_of_optimality(loss, K):
    """V is constant where weights are, and nowhere less; no solver for comparison is as exact."""
    rng = np.random.default_rng(K)
    bound = loss(np.sign(rng.normal(size=12)))
    features, cost = rng.normal(size=(K, 12)), 0.1 * rng.random(K)
    features[1] = features[0]  # twins, one of them dearer
    cost[1] = cost[0] + 0.05
    w = best_weights(bound, features, cost, np.full(K, 1 / K))
    V = features @ bound.slope(w @ features) + cost
    assert w.min() >= 0
    assert_allclose(w.sum(), 1, rtol=1e-15)
    assert np.ptp(V[w > 0]) <= 1e-13
    assert V.min() >= V[w > 0].max() - 1e-13
    assert w[1] == 0
    start = minimize(
        lambda w: bound.risk(w @ features) + w @ cost,
        np.full(K, 1 / K),
        bounds=[(0, 1)] * K,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
    )
    assert bound.risk(w @ features) + w @ cost <= start.fun + 1e-12


def test_more_neurons_than_samples_fit_exactly():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8))
    loss = mf.square(0.1 * rng.normal(size=8))
    w = best_weights(loss, features, np.zeros(60), np.full(60, 1 / 60))
    assert_allclose(w @ features, loss.y, rtol=0, atol=1e-14)


@pytest.mark.parametrize("mu", [0.1, 0.4, 2.0])
def test_a_linear_network_with_ridge(mu):
    """f = ∫aw dρ at x = 1 costs μ|f| at least: F* is that of (f − y)²/2 + μ|f|."""
    y = 1.0
    problem = mf.two_layer([1.0], [y], mf.identity, penalty=mf.ridge(mu))
    expected = mu * y - mu**2 / 2 if mu < y else y**2 / 2
    least = best(problem)
    assert least.gap <= 1e-11
    assert_allclose(least.atoms.energy, expected, rtol=0, atol=1e-11)


def test_total_variation_is_the_lasso_of_its_dictionary():
    """Without ridge on w, F* = min over A of risk(∫σ dA) + s|A|(w): convex on a fine dictionary."""
    s = 0.05
    problem = mf.two_layer(X, Y, penalty=mf.total_variation(s))
    least = best(problem, 4.0)
    w = np.linspace(-4, 4, 801)[:, None]
    columns = 4.0 * problem.phi(w)
    features = np.vstack([columns, -columns, np.zeros((1, 12))])
    cost = np.append(np.full(1602, 4.0 * s), 0.0)
    start = np.zeros(1603)
    start[-1] = 1.0
    weights = best_weights(problem.loss, features, cost, start)
    on_grid = problem.loss.risk(weights @ features) + weights @ cost
    assert least.gap <= 1e-11
    assert 0 <= on_grid - least.atoms.energy <= 1e-5  # O(h²): the dictionary has cells


def test_a_teacher_within_reach_is_fitted():
    points = np.array([[2.0, 1.0], [-1.5, -0.4], [1.0, 2.2]])
    weights = np.array([0.5, 0.2, 0.3])
    y = weights @ (points[:, :1] * np.tanh(points[:, 1:] * X))
    least = best(mf.two_layer(X, y))
    assert least.atoms.energy <= least.gap <= 1e-9


@pytest.mark.parametrize(
    "problem",
    [
        mf.two_layer(X, Y),
        mf.two_layer(X, Y, mf.erf, penalty=mf.ridge(0.02)),
        mf.two_layer(X, Y, mf.relu, penalty=mf.ridge(0.02)),
        mf.two_layer(X, Y, mf.tanh, penalty=mf.ridge(0.02), bias=True),
        mf.two_layer(X, Y, mf.relu, penalty=mf.total_variation(0.05), bias=True),
        mf.two_layer(X, Y, mf.relu, penalty=mf.ridge(0.02), bias=True),
        mf.two_layer(X, np.sign(Y + 0.1), mf.sigmoid, mf.logistic, penalty=mf.ridge(0.01)),
        mf.two_layer(X, Y, mf.cos, mf.huber(0.2), output_weight=False, bias=True),
    ],
    ids=["tanh", "erf", "relu", "bias", "kinks", "valleys", "logistic", "huber"],
)
def test_the_gap_closes(problem):
    least = best(problem, tolerance=1e-10)
    atoms = least.atoms
    assert 0 <= least.gap <= 1e-10
    assert_allclose(atoms.weights.sum(), 1, rtol=1e-14)
    assert np.all((atoms.weights > 0) & (np.abs(atoms.points) <= 3).all(axis=1))
    rng = np.random.default_rng(1)
    for _ in range(20):  # mixing in another neuron never helps
        other = Atoms(
            problem,
            np.vstack([atoms.points, rng.uniform(-3, 3, (1, problem.dimension))]),
            np.append(0.99 * atoms.weights, 0.01),
        )
        assert other.energy >= atoms.energy - least.gap


def test_sliding_descends_and_its_gradient_is_that_of_v():
    problem = mf.two_layer(X, Y, penalty=mf.ridge(0.02), bias=True)
    rng = np.random.default_rng(2)
    atoms = Atoms(problem, rng.uniform(-2, 2, (4, 3)), np.full(4, 0.25))
    V, slopes = potential(atoms)
    for k in range(4):
        for j, e in enumerate(1e-5 * np.eye(3)):
            step = np.zeros((4, 3))
            step[k] = e
            up, down = (Atoms(problem, atoms.points + s * step, atoms.weights) for s in (1, -1))
            assert_allclose((up.energy - down.energy) / 2e-5, slopes[k, j] / 4, atol=1e-9)
    high = np.full(3, 3.0)
    end = slid(atoms, -high, high)
    assert end.energy < atoms.energy - 1e-3
    assert np.abs(end.points).max() <= 3
    f = atoms.prediction
    assert_allclose(
        atoms.weights @ V,
        problem.loss.slope(f) @ f + atoms.weights @ problem.penalty.value(atoms.points),
        rtol=1e-12,
    )


def test_without_a_certified_infimum_it_is_refused():
    with pytest.raises(NotAvailable, match="path_norm"):
        best(mf.two_layer(X, Y, penalty=mf.path_norm(0.1)))
