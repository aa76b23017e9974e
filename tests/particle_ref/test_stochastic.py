"""Stochastic gradient descent: unbiased, and of its orders, by enumerating every draw."""

from dataclasses import replace
from itertools import combinations, product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import particle_ref as pr
from particle_ref.force import Force
from particle_ref.methods.stochastic import batch_gradient
from particle_ref.spaces import Space

ALARM = 1e-4
SQUARE = SimpleNamespace(value=lambda f, y: (f - y) ** 2 / 2, slope=lambda f, y: f - y)


def network(toy, x, y, p=None, **others):
    """A network whose bound loss says which pointwise loss it is."""
    problem = toy.two_layer(x, y, **others)
    p = np.full(len(y), 1 / len(y)) if p is None else np.asarray(p)
    return replace(
        problem,
        loss=SimpleNamespace(
            loss=SQUARE,
            y=problem.y,
            weights=p,
            risk=lambda f: p @ SQUARE.value(f, problem.y),
            slope=lambda f: p * SQUARE.slope(f, problem.y),
        ),
    )


X = np.array([-1.0, -0.3, 0.2, 0.7, 1.1])
START = pr.Cloud(np.random.default_rng(0).normal(size=(6, 3)))


@pytest.fixture
def problem(toy):
    return network(toy, X, np.sin(2 * X), bias=True, penalty=toy.ridge(0.2))


def parts(problem):
    return Force(problem), Space(problem.coords, problem.domain)


# ---------------------------------------------------------------------- the force
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("b", [1, 2, 4, 5])
def test_the_force_is_right_on_average(toy, fast, b):
    """Over all batches of b of 5 samples of unequal weight, one of them 0."""
    p = np.array([0.1, 0.0, 0.4, 0.2, 0.3])
    problem = network(toy, X, np.sin(2 * X), p, bias=True, fast=fast)
    draw = pr.Stochastic(0.1, b, 0).draws(problem)
    gradients = []
    for batch in combinations(range(5), b):
        rng = SimpleNamespace(choice=lambda n, size, batch=batch, **_: np.array(batch))
        gradients.append(batch_gradient(problem, draw(rng), START.position, START.weight))
    whole = Force(problem)(START.position, START.weight).gradient
    np.testing.assert_allclose(np.mean(gradients, axis=0), whole, atol=1e-15)
    assert b == 5 or np.std(gradients, axis=0).max() > 0.01


def test_every_batch_is_as_likely_as_any_other(problem):
    """4000 batches of 2 of 5 samples: χ² of the 10 pairs, none of which repeats a sample."""
    draw, rng = pr.Stochastic(0.1, 2, 0).draws(problem), np.random.default_rng(1)
    pairs = dict.fromkeys(combinations(sorted(problem.y.tolist()), 2), 0)
    for _ in range(4000):
        pairs[tuple(sorted(draw(rng).y.tolist()))] += 1
    assert len(pairs) == 10
    assert stats.chisquare(list(pairs.values())).pvalue > ALARM


def test_all_samples_at_once_are_descent(problem):
    """But for the order of the sums."""
    flows = [pr.run(problem, START, m, [1.0]) for m in (pr.Stochastic(0.1, 5, 0), pr.Descent(0.1))]
    np.testing.assert_allclose(flows[0].position, flows[1].position, rtol=0, atol=1e-13)


# ---------------------------------------------------------------------- orders
def end_points(problem, steps, T):
    """Where a cloud ends for every sequence of single samples out of two, all as likely."""
    force, space = parts(problem)
    ends = []
    for path in product([0, 1], repeat=steps):
        samples = iter(path)

        def data(rng, size, samples=samples):
            i = [next(samples)]
            return problem.x[i], problem.y[i]

        method = pr.Stochastic(T / steps, 1, 0, data)
        (cloud,) = method.flow(force, space, CLOUD, np.array([T]))
        ends.append(cloud.position)
    return np.array(ends)


CLOUD = pr.Cloud([[0.4, 0.8], [-0.3, 1.2], [0.6, -0.5]])


def test_it_follows_the_flow_within_the_root_of_dt_and_in_the_mean_within_dt(toy):
    """Exactly, by all 2^K sequences of samples."""
    problem, T = network(toy, np.array([0.5, -1.0]), np.array([1.0, 0.2])), 0.5
    flow = pr.run(problem, CLOUD, pr.GradientFlow(rtol=1e-11), [T]).position.values[0]
    steps = np.array([2, 4, 8])
    gaps = [end_points(problem, K, T) - flow for K in steps]
    rms = [np.sqrt((gap**2).mean()) for gap in gaps]
    bias = [np.sqrt((gap.mean(axis=0) ** 2).mean()) for gap in gaps]
    np.testing.assert_allclose(np.log2(rms[1] / rms[2]), 0.5, atol=0.05)
    np.testing.assert_allclose(np.log2(bias[1] / bias[2]), 1.0, atol=0.1)
    assert bias[2] < 0.2 * rms[2]


def test_a_stream_of_fresh_samples(toy):
    """Its mean force is that of the population it is drawn from: 400 draws, 4 standard errors."""
    problem = network(toy, X, np.sin(2 * X))
    x, p = np.polynomial.legendre.leggauss(20)
    population = network(toy, x, np.sin(2 * x), p / 2)
    draw = pr.Stochastic(0.1, 50, 0, uniform).draws(problem)
    rng = np.random.default_rng(2)
    drawn = [batch_gradient(problem, draw(rng), CLOUD.position, CLOUD.weight) for _ in range(400)]
    z = np.mean(drawn, axis=0) - Force(population)(CLOUD.position, CLOUD.weight).gradient
    z /= np.std(drawn, axis=0) / 20
    assert np.abs(z).max() < stats.norm.ppf(1 - ALARM / 12)


def uniform(rng, size):
    x = rng.uniform(-1, 1, size)
    return x, np.sin(2 * x)


# ---------------------------------------------------------------------- time
@pytest.mark.parametrize("power", [0.5, 0.75, 1.0])
def test_times_of_decaying_steps(power):
    method = pr.Stochastic(0.2, 1, 0, decay=(1.5, power))
    for k in (0, 1, 7, 40):
        exact = quad(lambda s: (1 + s / 1.5) ** -power, 0, 0.2 * k, epsabs=1e-13)[0]
        assert method.time(k) == pytest.approx(exact, abs=1e-12)
    assert pr.Stochastic(0.2, 1, 0).time(7) == 7 * 0.2


@pytest.mark.parametrize("decay", [None, (0.5, 0.7)])
def test_times_change_nothing(problem, decay):
    """Off the steps a cloud is that of a shorter last step, and the run goes on regardless."""
    method = pr.Stochastic(0.25, 2, 4, decay=decay)
    t = [method.time(k) for k in (2, 3, 8)]
    steps = pr.run(problem, START, method, t).position.values
    h = 0.3 * (t[1] - t[0])
    asked = pr.run(problem, START, method, [t[0] / 3, t[0], t[0] + h, t[2]]).position.values
    np.testing.assert_array_equal(asked[[1, 3]], steps[[0, 2]])
    np.testing.assert_allclose(asked[2], 0.7 * steps[0] + 0.3 * steps[1], atol=1e-14)


# ---------------------------------------------------------------------- kinks and walls
def test_particles_rest_on_kinks_and_at_walls(toy):
    box = {"w": toy.geometry("interval", -0.5, 0.5), "b": toy.geometry("circle", 0.0, 1.0)}
    problem = network(
        toy, X, np.sin(2 * X), bias=True, domain=box, penalty=toy.total_variation(0.3)
    )
    start = pr.Cloud(np.clip(START.position, -0.5, 0.5))
    flow = pr.run(problem, start, pr.Stochastic(0.25, 3, 1), [0.0, 5.0])
    a, w, b = flow.position.values[1].T
    assert (a == 0).any()
    assert np.abs(w).max() <= 0.5
    assert 0 <= b.min() <= b.max() < 1


def test_dissipation_is_that_of_the_mean_motion(problem):
    flow = pr.run(problem, START, pr.Stochastic(0.25, 2, 4), [0.0, 1.0])
    drift = Force(problem).velocity(flow.position.values[1], START.weight)
    assert flow.dissipation[1] == pytest.approx(START.weight @ (drift**2).sum(axis=1), rel=1e-12)


# ---------------------------------------------------------------------- what is refused, and told
def test_a_kernel_has_no_samples(toy, problem):
    with pytest.raises(pr.InvalidInput, match="no samples to draw"):
        pr.run(toy.as_kernel(problem), START, pr.Stochastic(0.5, 1, 0), [0.5])


def test_entropy_is_refused(problem):
    with pytest.raises(pr.InvalidInput, match="Langevin"):
        pr.run(replace(problem, entropy=0.1), START, pr.Stochastic(0.5, 1, 0), [0.5])


def test_batches_larger_than_the_data_are_refused(problem):
    with pytest.raises(pr.InvalidInput, match="batch = 6 of 5"):
        pr.run(problem, START, pr.Stochastic(0.5, 6, 0), [0.5])


@pytest.mark.parametrize(
    "data",
    [
        lambda rng, size: (np.zeros(size + 1), np.zeros(size + 1)),
        lambda rng, size: (np.zeros((size, 2)), np.zeros(size)),
        lambda rng, size: (np.zeros(size), np.zeros((size, 1))),
    ],
)
def test_streams_of_other_shapes_are_refused(problem, data):
    with pytest.raises(pr.InvalidInput, match="the stream gave"):
        pr.run(problem, START, pr.Stochastic(0.5, 3, 0, data), [0.5])


def test_streams_need_a_network(toy):
    general = network(toy, X, X, bias=True, fast=False)
    with pytest.raises(pr.InvalidInput, match="fresh samples"):
        pr.run(general, START, pr.Stochastic(0.5, 3, 0, uniform), [0.5])


@pytest.mark.parametrize(
    "wrong",
    [
        {"dt": -1.0},
        {"batch": 0},
        {"batch": 1.5},
        {"seed": None},
        {"data": 3},
        {"decay": (0.0, 0.5)},
        {"decay": (1.0, 1.5)},
        {"decay": 0.5},
    ],
    ids=str,
)
def test_arguments_that_are_none_are_refused(wrong):
    with pytest.raises(pr.InvalidInput, match=next(iter(wrong))):
        pr.Stochastic(**({"dt": 0.5, "batch": 1, "seed": 0} | wrong))


def test_a_stream_is_told_by_its_name_and_its_first_batch():
    one, other = pr.Stochastic(0.5, 3, 0, uniform), pr.Stochastic(0.5, 3, 0, lambda r, n: (0, 0))
    assert repr(one) == "Stochastic(dt=0.5, batch=3, seed=0, data=uniform)"
    assert " at 0x" not in repr(other)
    first, again = one.identity(), one.identity()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert pr.Stochastic(0.5, 3, 0).identity() == {}
