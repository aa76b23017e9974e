"""Kinks of the activation: valleys that particles slide along, and chatter seen and ended."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import particle_ref as pr
from particle_ref import sliding
from particle_ref.force import Force
from particle_ref.spaces import Space

N = np.array([0.6, 0.8])  # across the valley of the example below
T = np.array([-0.8, 0.6])  # along it


def bent(problem, level=0.0, low=0.0):
    """The problem with σ(z) = max(z − κ, low (z − κ)), which says where its kink is."""
    activation = SimpleNamespace(
        value=lambda z: np.maximum(z - level, low * (z - level)),
        slope=lambda z: np.where(z > level, 1.0, low),
        kinks=(level,),
    )
    return replace(problem, activation=activation)


def valley(toy, level=0.0):
    """Φ = (w·x − κ)_+ at x = n and τ, and a wind k: for s = w·n and q = w·τ

        s' = k·n − (s − κ + 6)/2 [s > κ],        q' = k·τ − (q − κ − 1)/2     where q > κ.

    With k·n = 1 both sides drive s to κ, and q goes on as if nothing had happened.
    """
    wind = 1.0 * N + 0.25 * T
    penalty = toy.Penalty(lambda u: -u @ wind, lambda u: np.tile(-wind, (len(u), 1)), prox=None)
    network = toy.two_layer([N, T], [-6.0, 1.0], "relu", output_weight=False, penalty=penalty)
    return bent(network, level)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_valley_is_met_and_slid_along(toy, level):
    start, dt = pr.Cloud([(level - 0.7) * N + (level + 2.0) * T]), 0.125
    times = dt * np.arange(17)
    run = pr.run(valley(toy, level), start, pr.Descent(dt, "slide"), times)
    s, q = run.position.values[:, 0] @ N - level, run.position.values[:, 0] @ T - level
    np.testing.assert_allclose(s, np.minimum(times - 0.7, 0.0), rtol=0, atol=1e-14)
    np.testing.assert_allclose(q, 1.5 + 0.5 * (1 - dt / 2) ** np.arange(17), rtol=0, atol=1e-14)
    assert (run.chatter == 0).all()
    along = (0.25 - (q - 1) / 2) ** 2
    across = np.where(times <= 0.5, 1.0, np.where(times < 0.7, (0.075 / dt) ** 2, 0.0))
    np.testing.assert_allclose(run.dissipation, across + along, rtol=0, atol=1e-12)


def test_crossing_it_never_comes_to_rest_and_says_so(toy):
    start, dt = pr.Cloud([-0.1875 * N + 2 * T]), 0.125
    run = pr.run(valley(toy), start, pr.Descent(dt), dt * np.arange(41))
    s = run.position.values[:, 0] @ N
    assert np.abs(s[20:]).max() > 0.05
    assert run.attrs["method"] == "Descent(dt=0.125, kinks='cross')"
    side = np.sign(s)
    back = (side[2:] * side[1:-1] < 0) & (side[1:-1] * side[:-2] < 0)
    np.testing.assert_allclose(run.chatter, np.append([0, 0], 0.5 * back), rtol=0, atol=1e-15)
    assert run.chatter[20:].sum() > 1
    later = pr.run(valley(toy), start, pr.Descent(dt), [2.5, 5.0])
    np.testing.assert_allclose(later.chatter[1], run.chatter[21:].mean(), rtol=1e-12)


def test_chatter_goes_on_from_its_memory(toy):
    problem, start, method = valley(toy), pr.Cloud([-0.1875 * N + 2 * T]), pr.Descent(0.125)
    force, space, memory = Force(problem), Space(problem.coords, {}), {}
    times = 0.125 * np.arange(33)
    straight = [c.chatter for c in method.flow(force, space, start, times)]
    first = [c.chatter for c in method.resumed(force, space, start, times[:20], memory)]
    rest = [c.chatter for c in method.resumed(force, space, start, times[20:], dict(memory))]
    assert first + rest == straight
    assert sum(rest) > 0


def test_of_large_clouds_a_part_is_watched(toy, monkeypatch):
    one = [-0.1875 * N + 2 * T]
    few, many = (
        pr.run(valley(toy), pr.Cloud(one * m), pr.Descent(0.125), [1.0, 4.0]) for m in (1, 50)
    )
    monkeypatch.setattr(sliding, "WATCHED", 8)
    part = pr.run(valley(toy), pr.Cloud(one * 50), pr.Descent(0.125), [1.0, 4.0])
    np.testing.assert_allclose(many.chatter, few.chatter, rtol=1e-12)
    np.testing.assert_allclose(part.chatter, few.chatter, rtol=1e-12)
    planes = sliding.hyperplanes(valley(toy))
    watched = sliding.Chatter(planes, pr.Cloud(one * 50), np.array([0.5, 0.5]))
    assert watched.sides.size <= 2 * 8


def test_a_valley_whose_slope_at_the_kink_is_between_is_left_when_the_wind_is_stronger(toy):
    """|z|, of slope 0 at its kink: from s = 0, with s' = wind − (s + 6)/2, 0 for a wind up to 3."""
    for wind in (2.9, 3.5):
        penalty = toy.Penalty(
            lambda u, k=wind: -k * u @ N, lambda u, k=wind: np.tile(-k * N, (len(u), 1)), prox=None
        )
        network = toy.two_layer([N, T], [-6.0, 1.0], output_weight=False, penalty=penalty)
        absolute = SimpleNamespace(value=np.abs, slope=np.sign, kinks=(0.0,))
        problem = replace(network, activation=absolute)
        run = pr.run(problem, pr.Cloud([np.zeros(2)]), pr.Descent(0.25, "slide"), [0.25])
        s = run.position.values[0, 0] @ N
        np.testing.assert_allclose(s, 0.25 * max(wind - 3, 0.0), rtol=0, atol=1e-12)


def test_where_valleys_meet_particles_slide_along_the_line(toy):
    """d = 3, two valleys that are not at right angles: what is left is the wind along the line."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3))
    wind = x[0] / (x[0] @ x[0]) + x[1] / (x[1] @ x[1]) + np.cross(*x)
    assert (x @ wind > 0).all()
    penalty = toy.Penalty(lambda u: -u @ wind, lambda u: np.tile(-wind, (len(u), 1)), prox=None)
    network = toy.two_layer(x, [-20.0, -20.0], "relu", output_weight=False, penalty=penalty)
    run = pr.run(bent(network), pr.Cloud([-0.3 * wind]), pr.Descent(0.25, "slide"), [2.0, 4.0])
    np.testing.assert_allclose(run.position.values[:, 0] @ x.T, 0.0, rtol=0, atol=1e-10)
    line = np.cross(*x) / np.linalg.norm(np.cross(*x))
    travelled = np.diff(run.position.values[:, 0] @ line)[0]
    np.testing.assert_allclose(travelled, 2.0 * wind @ line, rtol=1e-12)


@pytest.mark.parametrize(("level", "low", "bias"), [(0.0, 0.0, False), (0.4, 0.2, True)])
def test_a_step_minimises_what_it_says(toy, level, low, bias):
    """No neuron nearby has less of the valleys, the linear rest and the distance together."""
    rng = np.random.default_rng(4)
    x, dt = rng.normal(size=(6, 2)), 0.7
    network = toy.two_layer(x, 2 * rng.normal(size=6), "relu", bias=bias, penalty=toy.ridge(0.2))
    problem = bent(network, level, low)
    D = 4 if bias else 3
    u = rng.normal(size=(20, D))
    p = np.full(20, 0.05)
    force, planes = Force(problem), sliding.hyperplanes(problem)
    response, rest = force(u, p), problem.penalty.gradient(u)
    r = problem.loss.slope(response.prediction)
    settled = sliding.sliding_gradient(planes, u, response.gradient, rest, r, dt)
    np.testing.assert_array_equal(settled[:, 0], response.gradient[:, 0])
    new = (u - dt * (settled + rest))[:, 1:]
    X = np.column_stack([x, np.ones(6)]) if bias else x
    depth, slope = u[:, :1] * r, problem.activation.slope(u[:, 1:] @ X.T)
    linear = (np.where(depth > 0, 0.0, depth) * slope) @ X + rest[:, 1:]

    def objective(q):
        valleys = np.maximum(depth, 0.0) * problem.activation.value(q @ X.T)
        distance = ((q - u[:, 1:]) ** 2).sum(axis=1)
        return valleys.sum(axis=1) + (linear * q).sum(axis=1) + distance / (2 * dt)

    least = objective(new)
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(100):
            assert (objective(new + size * rng.normal(size=new.shape)) >= least - 1e-11).all()
    plain = (u - dt * (response.gradient + rest))[:, 1:]
    assert (objective(plain) > least + 1e-6).sum() > 5


def floor(X, y, mu, flow):
    """A lower bound of the least energy of any cloud, ReLU in d = 2 under the ridge μ: the dual.

    u = τ(f − y) with |Σ p_i u_i σ(s·x_i)| ≤ μ on the circle; between kinks that sum is G·s.
    """
    p, u = 1 / len(y), flow.prediction.values[-1] - y
    kinks = np.sort(np.mod(np.add.outer([0.5, 1.5], np.arctan2(*X.T[::-1]) / np.pi).ravel(), 2))
    most = 0.0
    for low, high in zip(kinks, np.append(kinks[1:], kinks[0] + 2), strict=True):
        middle = np.pi * (low + high) / 2
        G = p * u @ (X * (X @ [np.cos(middle), np.sin(middle)] > 0)[:, None])
        top = np.mod(np.arctan2(*G[::-1]) - middle + np.pi / 2, np.pi) - np.pi / 2
        nearest = np.clip(top, np.pi * (low - high) / 2, np.pi * (high - low) / 2)
        most = max(most, np.abs(np.linalg.norm(G) * np.cos(top - nearest)))
    tau = min(-(u @ y) / (u @ u), mu / most)
    return -p * ((tau * u) ** 2 / 2 + tau * u * y).sum()


def test_the_energy_of_long_steps_is_that_of_short_ones(toy):
    """Certified: the least energy there is, where steps across the kinks stay far above it."""
    rng = np.random.default_rng(1)
    X, mu = rng.normal(size=(20, 2)), 0.05
    y = np.maximum(X @ [1.0, 0.5], 0) - np.maximum(X @ [-0.3, 1.0], 0) + 0.1 * rng.normal(size=20)
    problem = bent(toy.two_layer(X, y, "relu", penalty=toy.ridge(mu)))
    start = pr.Cloud(np.random.default_rng(0).normal(size=(400, 3)))
    slide, cross = (pr.run(problem, start, pr.Descent(0.5, k), [300.0]) for k in ("slide", "cross"))
    above_slide, above_cross = (float(r.energy[-1]) - floor(X, y, mu, r) for r in (slide, cross))
    assert -1e-14 < above_slide < 1e-9
    assert above_cross > 1e-5
    assert slide.dissipation[-1] < 1e-9 < 1e-5 < cross.dissipation[-1]
    assert slide.chatter[-1] < 1e-4 < 1e-3 < cross.chatter[-1]


@pytest.mark.parametrize("kinks", ["cross", "slide"])
def test_smooth_problems_move_by_the_same_bits(toy, kinks):
    x = np.linspace(-2, 2, 9)
    problem = toy.two_layer(x, np.sin(x), "tanh", bias=True, penalty=toy.ridge(0.1))
    start = pr.Cloud(np.random.default_rng(0).normal(size=(30, 3)))
    run = pr.run(problem, start, pr.Descent(0.1, kinks), [1.0])
    force, u = Force(problem), start.position
    for _ in range(10):
        u = u - 0.1 * (force(u, start.weight).gradient + problem.penalty.gradient(u))
    np.testing.assert_array_equal(run.position[0], u)
    assert "chatter" not in run


def test_away_from_kinks_sliding_changes_no_bit(toy):
    x = np.array([[0.5], [1.0], [2.0]])
    problem = bent(toy.two_layer(x, x[:, 0], "relu", penalty=toy.ridge(0.1)))
    start = pr.Cloud(0.5 + np.random.default_rng(0).uniform(size=(30, 2)))
    one, other = (
        pr.run(problem, start, pr.Descent(0.1, kinks), [1.0]) for kinks in ("cross", "slide")
    )
    np.testing.assert_array_equal(one.position, other.position)
    np.testing.assert_array_equal(one.dissipation, other.dissipation)


def test_steps_are_proximal_in_the_absolute_value_of_a_as_well(toy):
    """A neuron that falls to a kink, flat beyond, stops there; one without force loses s t of a."""
    problem = bent(toy.two_layer([N, T], [-6.0, 1.0], "relu", penalty=toy.total_variation(0.1)))
    start = pr.Cloud([[1.0, *(0.05 * N + 2 * T)], [0.5, *(-N - T)]])
    run = pr.run(problem, start, pr.Descent(0.25, "slide"), [0.0, 1.0, 2.0])
    np.testing.assert_allclose(run.position.values[:, 0, 1:] @ N, [0.05, 0, 0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(run.position[:, 1, 0], [0.5, 0.4, 0.3], rtol=1e-12)
    crossing = pr.run(problem, start, pr.Descent(0.25), [2.0])
    assert crossing.position.values[0, 0, 1:] @ N < -0.1


@pytest.mark.parametrize("kinks", ["stop", None, 3])
def test_other_words_are_refused(kinks):
    with pytest.raises(pr.InvalidInput, match="kinks"):
        pr.Descent(0.1, kinks)
