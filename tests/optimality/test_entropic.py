"""λ > 0: the dual on a grid's cells against the energy that density runs watch."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import rel_entr

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.optimality.entropic import MOST_ITERATIONS, Cells, dual_value, least_energy

X = np.linspace(-1.5, 1.5, 7)
Y = np.sin(3 * X)
SMALL = mf.gaussian(0.0, 0.3)
SQUARE = mf.Grid(a=mf.uniform(-3, 3, 14), w=mf.stretched(-3, 3, 12))
CUBE = mf.Grid(a=mf.uniform(-2, 2, 8), w=mf.uniform(-2, 2, 6), b=mf.uniform(-2, 2, 7))
PLAIN = mf.Grid(w=mf.uniform(-3, 3, 12), b=mf.uniform(-3, 3, 10))


def network(y=Y, loss=mf.square, entropy=0.1, penalty=0.1, **settings):
    return mf.two_layer(
        X, y, loss=loss, penalty=mf.ridge(penalty), entropy=entropy, initial=SMALL, **settings
    )


WORLDS = {
    "square": (network(), SQUARE),
    "logistic": (network(np.sign(Y + 0.1), mf.logistic, entropy=0.02), SQUARE),
    "huber": (network(loss=mf.huber(0.3), bias=True), CUBE),
    "plain": (network(activation=mf.erf, output_weight=False, bias=True, entropy=0.5), PLAIN),
}
every_world = pytest.mark.parametrize("world", WORLDS)


def random_masses(rng, shape):
    """Of sum 1, rough, with empty cells."""
    masses = rng.exponential(size=shape) ** rng.uniform(0.2, 4) * (rng.random(shape) < 0.9)
    return masses / masses.sum()


def kl(m, q):
    return float(rel_entr(m, q).sum())


@every_world
def test_the_energy_is_the_flows(world):
    problem, grid = WORLDS[world]
    cells, flow = Cells(problem, grid), mf.WassersteinFlow(problem, grid)
    masses = random_masses(np.random.default_rng(0), cells.volumes.shape)
    field = flow.field(masses.reshape(grid.shape) / grid.volumes)
    size = abs(field.risk) + abs(field.energy - field.risk)  # of either sign
    assert_allclose(cells.energy(masses), field.energy, rtol=0, atol=1e-14 * size)
    assert_allclose(cells.prediction(masses), field.prediction, rtol=0, atol=1e-14)


@every_world
def test_energy_less_dual_is_the_divergence_from_the_gibbs_state(world):
    """F(m) − D(ℓ'(f)) = λ KL(m | Gibbs), and D is below every energy, on 500 densities."""
    problem, grid = WORLDS[world]
    cells, rng = Cells(problem, grid), np.random.default_rng(1)
    least = least_energy(problem, grid)
    star = least.masses.reshape(cells.volumes.shape)
    for _ in range(500):
        m = random_masses(rng, cells.volumes.shape)
        u = problem.loss.residual(cells.prediction(m))
        D, gibbs = cells.dual(u)
        F, divergence = cells.energy(m), problem.entropy * kl(m, gibbs.masses)
        assert abs(F - D - divergence) <= 1e-13 * (1 + abs(F) + abs(D))
        assert least.value + 1e-13 >= D
        excess = F - least.value
        assert problem.entropy * kl(m, star) <= excess + 1e-13
        assert excess <= divergence + 1e-13


@every_world
@pytest.mark.parametrize("entropy", [1.0, 1e-2, 1e-4])
def test_the_optimum_meets_its_bound(world, entropy):
    problem, grid = WORLDS[world]
    loss = problem.loss.loss
    problem = mf.Problem(
        problem.coords, problem.phi, problem.dphi, loss(problem.y), problem.penalty, entropy,
        SMALL, problem.lifted,
    )  # fmt: skip
    least, cells = least_energy(problem, grid), Cells(problem, grid)
    masses = least.masses.reshape(cells.volumes.shape)
    size = 1 + sum(map(abs, cells.energies(masses)))
    assert 0 <= least.value - least.lower_bound <= 1e-13 * size
    assert_allclose(least.value, cells.energy(masses), rtol=1e-14)
    assert_allclose(masses.sum(), 1, rtol=1e-13)
    assert least.iterations < MOST_ITERATIONS  # it ended by itself
    own = cells.gibbs(problem.loss.residual(least.prediction))
    assert_allclose(own.masses, masses, rtol=0, atol=1e-10 * masses.max())


@every_world
def test_no_density_nearby_is_better(world):
    problem, grid = WORLDS[world]
    least, cells, rng = least_energy(problem, grid), Cells(problem, grid), np.random.default_rng(2)
    star = least.masses.reshape(cells.volumes.shape)
    for size in (1e-1, 1e-2, 1e-3):
        other = star * (1 + size * rng.uniform(-1, 1, star.shape))
        assert cells.energy(other / other.sum()) > least.value


@every_world
def test_the_covariance_is_the_slope_of_the_prediction(world):
    """∂f_i/∂u_j = −Cov_ij p_j/λ, by central differences."""
    problem, grid = WORLDS[world]
    cells, u, h = Cells(problem, grid), 0.1 * np.cos(np.arange(7.0)), 1e-5
    state = cells.gibbs(u)
    for j, e in enumerate(np.eye(7)):
        change = cells.gibbs(u + h * e).prediction - cells.gibbs(u - h * e).prediction
        expected = -cells.covariance(state)[:, j] * problem.weights[j] / problem.entropy
        assert_allclose(change / (2 * h), expected, rtol=0, atol=1e-8)


def test_without_data_to_fit_it_is_the_penalty_alone():
    """ψ = 0: F* = −λ log Σ |K| e^(−reg/λ), in one step."""
    problem = mf.Problem(
        ("a", "w"), lambda v: 0 * v, None, mf.square([2.0]), mf.ridge(1.0), 0.3, SMALL, lifted=True
    )
    expected = 2.0 - 0.3 * np.log(
        np.sum(SQUARE.volumes.ravel() * np.exp(-np.square(SQUARE.points()).sum(axis=1) / 0.6))
    )
    assert_allclose(least_energy(problem, SQUARE).value, expected, rtol=1e-14)
    assert_allclose(dual_value(problem, SQUARE, np.array([-2.0])), expected, rtol=1e-14)


def test_a_loss_without_conjugate_is_refused():
    bare = mf.Loss(lambda f, y: (f - y) ** 4, lambda f, y: 4 * (f - y) ** 3)
    with pytest.raises(InvalidInput, match="no conjugate"):
        least_energy(network(loss=bare), SQUARE)
