"""Noisy particles: exact laws, weak orders, walls. Orders come from exact expectations, not draws.

False alarms: two-sided p-values below 1e-4, at fixed seeds.
"""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.interpolate import make_interp_spline

import particle_ref as pr
from particle_ref.force import Force
from particle_ref.methods.langevin import euler, ridge_strengths, splitting
from particle_ref.methods.noise import stream
from particle_ref.spaces import Space

ALARM = 1e-4
LAMBDA = 0.3


def frozen(toy, U, slope, **others):
    """A problem of one coordinate q whose potential is U(q) + reg(q) whatever the cloud is."""
    return toy.FeatureProblem(
        coords=("q",),
        phi=U,
        dphi=lambda v: slope(v)[:, :, None],
        loss=SimpleNamespace(risk=np.sum, slope=np.ones_like, weights=np.ones(1)),
        entropy=LAMBDA,
        x=np.zeros(1),
        y=np.zeros(1),
        **others,
    )


def free(toy, **others):
    return frozen(toy, np.zeros_like, np.zeros_like, **others)


def parts(problem):
    return Force(problem), Space(problem.coords, problem.domain)


# ---------------------------------------------------------------------- exact laws
@pytest.mark.parametrize("scheme", ["splitting", "euler"])
def test_a_ridge_alone_is_ornstein_uhlenbeck(toy, scheme):
    """Mean m e^{−μt} and variance λ(1 − e^{−2μt})/μ after two long steps, by 4000 particles.

    The splitting has both exactly, the Euler map its own: (1 − μdt)² and 2λdt(1 + (1 − μdt)²).
    """
    mu, dt, m, N = 1.5, 0.4, 0.7, 4000
    problem = free(toy, penalty=toy.ridge(mu))
    flow = pr.run(
        problem, pr.Cloud(np.full((N, 1), m)), pr.Langevin(dt, 5, scheme=scheme), [2 * dt]
    )
    q = flow.position.values[0, :, 0]
    r = 1 - mu * dt
    exact = np.exp(-2 * mu * dt) * m, LAMBDA * -np.expm1(-4 * mu * dt) / mu
    mean, variance = exact if scheme == "splitting" else (r**2 * m, 2 * LAMBDA * dt * (1 + r**2))
    low, high = stats.chi2.ppf([ALARM / 2, 1 - ALARM / 2], N - 1) * variance / (N - 1)
    assert low < q.var(ddof=1) < high
    assert abs(q.mean() - mean) < stats.norm.ppf(1 - ALARM / 2) * np.sqrt(variance / N)
    assert stats.kstest((q - mean) / np.sqrt(variance), "norm").pvalue > ALARM


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("interval", -1.0, 2.0), ("circle", 0.0, 3.0)], ids=lambda v: str(v)
)
@pytest.mark.parametrize("scheme", ["splitting", "euler"])
def test_without_a_force_a_bounded_range_fills_evenly(toy, kind, low, high, scheme):
    """2000 particles from one point: e^{−λ(π/3)²t} < 1e-4 of the start is left at t = 30."""
    problem = free(toy, domain={"q": toy.geometry(kind, low, high)})
    start = pr.Cloud(np.full((2000, 1), 0.3))
    flow = pr.run(problem, start, pr.Langevin(2.0, 7, scheme=scheme), [30.0])
    q = flow.position.values[0, :, 0]
    assert low <= q.min() <= q.max() <= high
    assert stats.kstest((q - low) / (high - low), "uniform").pvalue > ALARM


def test_reflected_brownian_motion_on_a_half_line(toy):
    """From the wall |q| is half normal of variance 2λt, for steps of any length."""
    problem = free(toy, domain={"q": toy.geometry("half_line", 1.0, np.inf)})
    flow = pr.run(problem, pr.Cloud(np.ones((2000, 1))), pr.Langevin(0.5, 3), [1.0])
    q = flow.position.values[0, :, 0]
    scaled = (q - 1) / np.sqrt(2 * LAMBDA)
    assert stats.kstest(scaled, "halfnorm").pvalue > ALARM


def test_positions_are_folded_exactly():
    """Onto [0, 2] by the triangle wave, however far; points inside keep their bits."""
    geometry = SimpleNamespace(kind="interval", low=0.0, high=2.0)
    space = Space(("q",), {"q": geometry})
    q = np.linspace(-13, 13, 105)[:, None]
    wave = np.abs((q + 2) % 4 - 2)
    np.testing.assert_allclose(space.reflect(q), wave, atol=1e-14)
    inside = np.random.default_rng(0).uniform(0, 2, (50, 1))
    np.testing.assert_array_equal(space.reflect(inside), inside)
    below = Space(("q",), {"q": SimpleNamespace(kind="half_line", low=-np.inf, high=0.0)})
    np.testing.assert_array_equal(below.reflect(q), -np.abs(q))
    line = Space(("q",), {})
    np.testing.assert_array_equal(line.reflect(q), q)


# ---------------------------------------------------------------------- weak orders
def affine_map(step, shape, weight, draws):
    """M, b and N of one step u ← Mu + b + Nξ, read off by unit vectors in place of the noise."""
    size = int(np.prod(shape))

    def image(u, xi):
        given = iter(xi.reshape(draws, *shape))
        return step(u.reshape(shape), weight, lambda _: next(given)).ravel()

    b = image(np.zeros(size), np.zeros(draws * size))
    M = np.array([image(e, np.zeros(draws * size)) - b for e in np.eye(size)]).T
    N = np.array([image(np.zeros(size), e) - b for e in np.eye(draws * size)]).T
    return M, b, N


def gaussian_after(M, b, N, mean, steps):
    S = np.zeros_like(M)
    for _ in range(steps):
        mean, S = M @ mean + b, M @ S @ M.T + N @ N.T
    return mean, S


SCHEMES = {"euler": (euler, 1, 1), "splitting": (splitting, 2, 2)}  # scheme, draws a step, order


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weak_order_of_interacting_particles(toy, scheme):
    """Linear features, square loss: the particles are one Gaussian, whose law is known.

    du = −(Ku + c)dt + √(2λ)dB has mean e^{−Kt}(u_0 + K⁻¹c) − K⁻¹c and covariance
    2λ∫e^{−2Ks}ds; particles of equal weight make K symmetric.
    """
    make, draws, order = SCHEMES[scheme]
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 2))
    problem = toy.two_layer(
        x, x[:, 0] - 0.5, "identity", output_weight=False, penalty=toy.ridge(0.4), entropy=LAMBDA
    )
    force, space = parts(problem)
    shape, weight, T = (3, 2), np.full(3, 1 / 3), 1.0
    start = rng.normal(size=6)

    def velocity(u):
        return force.velocity(u.reshape(shape), weight).ravel()

    c = velocity(np.zeros(6))
    K = -np.array([velocity(e) - c for e in np.eye(6)]).T
    np.testing.assert_allclose(K, K.T, atol=1e-14)
    rest = linalg.solve(K, c)
    mean = linalg.expm(-K * T) @ (start - rest) + rest
    covariance = LAMBDA * linalg.solve(K, np.eye(6) - linalg.expm(-2 * K * T))
    errors = []
    for steps in (10, 20, 40):
        step = affine_map(make(force, space, T / steps), shape, weight, draws)
        found = gaussian_after(*step, start, steps)
        gaps = np.abs(found[0] - mean).max(), np.abs(found[1] - covariance).max()
        errors.append(gaps)
    orders = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    np.testing.assert_allclose(orders[-1], order, atol=0.15)
    assert np.max(errors[-1]) < (2e-2 if order == 1 else 3e-4)


def test_the_bias_of_m_particles_is_of_order_one_in_m_at_all_times(toy):
    """Linear features, square loss, from N(0, I): E F_m − F is c(t)/m exactly, and |c| ≤ |c(0)|.

    The mean is that of the limit for every m, where particles are independent: their covariance is
    that of the ridge alone.
    """
    rng, mu = np.random.default_rng(1), 0.4
    x, y = rng.normal(size=(5, 2)), rng.normal(size=5)
    others = {"output_weight": False, "penalty": toy.ridge(mu), "entropy": LAMBDA}
    problem = toy.two_layer(x, y, "identity", **others)
    free = toy.two_layer(0 * x, y, "identity", **others)

    def moments(problem, m):
        force, space = parts(problem)
        M, b, N = affine_map(splitting(force, space, 0.25), (m, 2), np.full(m, 1 / m), 2)
        mean, S = np.zeros(2 * m), np.eye(2 * m)
        for _ in range(200):
            yield mean, S
            mean, S = M @ mean + b, M @ S @ M.T + N @ N.T

    def energy(mean, S, m, variance):
        bias = np.tile(x, m) @ mean / m - y
        return np.mean(bias**2 + variance) / 2 + mu / 2 * (mean @ mean + np.trace(S)) / m

    def of_prediction(S, m):
        average = np.tile(x, m) / m
        return np.sum((average @ S) * average, axis=1)

    limit = [
        energy(mean, S, 1, 0.0)
        for (mean, _), (_, S) in zip(moments(problem, 1), moments(free, 1), strict=True)
    ]
    c = [
        [
            m * (energy(mean, S, m, of_prediction(S, m)) - F)
            for (mean, S), F in zip(moments(problem, m), limit, strict=True)
        ]
        for m in (1, 2, 8)
    ]
    np.testing.assert_allclose(c[1], c[0], atol=1e-12)
    np.testing.assert_allclose(c[2], c[0], atol=1e-11)
    assert c[0][0] > 0.1
    assert np.abs(c).max() <= c[0][0] * (1 + 1e-9)


def test_a_ridge_alone_has_no_error_in_the_mean_or_covariance(toy):
    force, space = parts(free(toy, penalty=toy.ridge(1.5)))
    for dt in (0.1, 3.0):
        M, b, N = affine_map(splitting(force, space, dt), (1, 1), np.ones(1), 2)
        mean, S = gaussian_after(M, b, N, np.array([0.7]), 3)
        np.testing.assert_allclose(mean, 0.7 * np.exp(-4.5 * dt), rtol=1e-13)
        np.testing.assert_allclose(S, LAMBDA * -np.expm1(-9 * dt) / 1.5, rtol=1e-13)


def expectation(step, draws, q, values, xi, p, period=None):
    """E v(step(q)) at the grid q: independent draws at nodes xi of weights p."""
    spline = make_interp_spline(q, values, 5)
    nodes = np.stack(np.meshgrid(*[xi] * draws, indexing="ij"), -1).reshape(-1, draws)
    weights = np.prod(np.stack(np.meshgrid(*[p] * draws, indexing="ij"), -1), -1).ravel()
    given = iter(np.repeat(nodes[:, k, None], len(q), 1).reshape(-1, 1) for k in range(draws))
    u = np.tile(q, len(nodes))[:, None]
    moved = step(u, np.full(len(u), 1 / len(u)), lambda _: next(given))[:, 0]
    return weights @ spline(moved).reshape(len(nodes), len(q))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weak_order_on_a_circle(toy, scheme):
    """V = cos 2q + sin q: E h(q_T) for every start, by Gauss–Hermite rules of each step's noise."""
    make, draws, order = SCHEMES[scheme]
    length = 2 * np.pi
    problem = frozen(
        toy,
        lambda q: np.cos(2 * q) / 2 + np.sin(q),
        lambda q: np.cos(q) - np.sin(2 * q),
        domain={"q": toy.geometry("circle", 0.0, length)},
    )
    force, space = parts(problem)
    q = np.linspace(0, length, 121)
    xi, p = np.polynomial.hermite_e.hermegauss(14)
    found = []
    for steps in (4, 8, 16, 32):
        step, values = make(force, space, 0.5 / steps), np.sin(q)
        for _ in range(steps):
            values = expectation(step, draws, q, values, xi, p / p.sum())
        found.append(values)
    gaps = [np.abs(coarse - fine).max() for coarse, fine in pairwise(found)]
    assert np.log2(gaps[-2] / gaps[-1]) == pytest.approx(order, abs=0.2)
    assert gaps[-1] < (2e-2 if order == 1 else 1e-3)


def last_draw(step, q, values, zeros=0):
    """E v(step(q)) over the last draw of a step, those before it 0; v linear between points.

    By the trapezoid rule, since v has kinks.
    """
    xi = np.linspace(-6, 6, 97)
    p = stats.norm.pdf(xi)
    u = np.tile(q, len(xi))[:, None]
    draws = iter([np.zeros_like(u)] * zeros + [np.repeat(xi, len(q))[:, None]])
    moved = step(u, np.full(len(u), 1 / len(u)), lambda _: next(draws))[:, 0]
    return p / p.sum() @ np.interp(moved, q, values).reshape(len(xi), len(q))


def mean_square(problem, scheme, q, steps):
    """E q_1² for every start q."""
    make, draws, _ = SCHEMES[scheme]
    force, space = parts(problem)
    step, values = make(force, space, 1 / steps), q**2

    def first(u, _, noise):  # the draw that begins a step of the splitting: Brownian motion of dt/2
        return space.reflect(u + np.sqrt(LAMBDA / steps) * noise(u.shape))

    for _ in range(steps):
        values = last_draw(step, q, values, draws - 1)
        if draws == 2:
            values = last_draw(first, q, values)
    return values


@pytest.mark.parametrize(("scheme", "order"), [("euler", 1), ("splitting", 2)])
def test_even_functions_keep_the_order_at_a_kink(toy, scheme, order):
    """V = |a|/2 + a²/5 + sin a/4, from a = 1."""
    problem = frozen(
        toy,
        lambda a: a * a / 5 + np.sin(a) / 4,
        lambda a: 2 * a / 5 + np.cos(a) / 4,
        penalty=toy.total_variation(0.5),
    )
    a = np.linspace(-9, 9, 1801)
    coarse, middle, fine = (mean_square(problem, scheme, a, steps)[1000] for steps in (4, 8, 16))
    assert np.log2((middle - coarse) / (fine - middle)) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize(("scheme", "low", "high"), [("euler", 0.9, 1.3), ("splitting", 1.5, 2.1)])
def test_order_at_walls_against_which_particles_are_driven(toy, scheme, low, high):
    """V = q on [0, 3/2], from everywhere."""
    box = {"q": toy.geometry("interval", 0.0, 1.5)}
    problem = frozen(toy, np.positive, np.ones_like, domain=box)
    q = np.linspace(0, 1.5, 301)
    coarse, middle, fine = (mean_square(problem, scheme, q, steps) for steps in (8, 16, 32))
    rate = np.log2(np.abs(middle - coarse).max() / np.abs(fine - middle).max())
    assert low < rate < high


def test_the_linear_part_is_that_of_ridges_alone(toy):
    assert ridge_strengths(toy.ridge(0.3), 2).tolist() == [0.3, 0.3]
    assert ridge_strengths(toy.Penalty(), 2).tolist() == [0.0, 0.0]
    mixed = toy.Penalty(gradient=lambda u: u * [2.0, 0.0] + np.array([0.0, 4.0]) * u**3)
    assert ridge_strengths(mixed, 2).tolist() == [2.0, 0.0]


# ---------------------------------------------------------------------- what is refused, and kept
@pytest.fixture
def noisy(toy):
    x = np.linspace(-1, 1, 5)
    return toy.two_layer(x, np.sin(x), entropy=0.1, penalty=toy.ridge(0.2))


START = pr.Cloud(np.random.default_rng(0).normal(size=(7, 2)))


def test_no_entropy_no_noise(toy):
    with pytest.raises(pr.InvalidInput, match="Descent"):
        pr.run(toy.two_layer([1.0], [1.0]), START, pr.Langevin(0.5, 0), [0.5])


def test_entropy_without_noise_is_sent_here(noisy):
    with pytest.raises(pr.InvalidInput, match="Langevin"):
        pr.run(noisy, START, pr.Descent(0.5), [0.5])


@pytest.mark.parametrize(
    "wrong",
    [
        {"dt": 0.0},
        {"dt": np.nan},
        {"seed": -1},
        {"seed": "a"},
        {"seed": ()},
        {"seed": (1, 0.5)},
        {"scheme": "Euler"},
        {"scheme": ["euler"]},
    ],
    ids=str,
)
def test_arguments_that_are_none_are_refused(wrong):
    with pytest.raises(pr.InvalidInput, match=next(iter(wrong))):
        pr.Langevin(**({"dt": 0.5, "seed": 0} | wrong))


def test_times_between_steps_are_refused(noisy):
    with pytest.raises(pr.InvalidInput, match="Langevin is at"):
        pr.run(noisy, START, pr.Langevin(0.5, 0), [0.5, 0.7])


def test_a_seed_is_a_run_and_times_change_nothing(noisy):
    long = pr.run(noisy, START, pr.Langevin(0.25, 4), [0.5, 1.0, 2.0])
    again = pr.run(noisy, START, pr.Langevin(0.25, 4), [1.0, 1.25, 2.0])
    np.testing.assert_array_equal(long.position[1:], again.position[::2])
    other = pr.run(noisy, START, pr.Langevin(0.25, 5), [2.0])
    assert (long.position[2] != other.position[0]).all()


def test_the_noise_is_not_the_clouds_own_randomness():
    """The cloud of a seed and the noise of that seed begin with different bits."""
    ours = stream(3).bit_generator.random_raw(8)
    assert not np.intersect1d(ours, np.random.default_rng(3).bit_generator.random_raw(8)).size
    assert not np.intersect1d(ours, stream((3, 0)).bit_generator.random_raw(8)).size


def test_dissipation_is_that_of_the_drift(noisy):
    flow = pr.run(noisy, START, pr.Langevin(0.25, 4), [0.0, 1.0])
    for k in (0, 1):
        drift = Force(noisy).velocity(flow.position.values[k], START.weight)
        expected = START.weight @ (drift**2).sum(axis=1)
        assert flow.dissipation[k] == pytest.approx(expected, rel=1e-12)


def test_kernel_problems_have_noise_too(toy, noisy):
    """The same forces by a kernel: the same paths to rounding."""
    kernel = replace(toy.as_kernel(noisy), entropy=noisy.entropy)
    flows = [pr.run(p, START, pr.Langevin(0.25, 4), [1.0]) for p in (noisy, kernel)]
    np.testing.assert_allclose(flows[0].position, flows[1].position, atol=1e-12)


def test_no_two_seeds_are_spelled_alike():
    """Also where their numbers are longer than a word."""
    seeds = [(5, 2**32), (5, 0, 1), (5,), (5, 0), (2**32, 5), (0, 1, 5), (2**100, 3), 5 + 2**32]
    drawn = {stream(seed).integers(2**63) for seed in seeds}
    assert len(drawn) == len(seeds)
