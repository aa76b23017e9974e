"""Particles on spheres: they stay there, along tangents, at the stated orders, and fill them.

False alarms: two-sided bounds of probability below 1e-4, at fixed seeds.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import particle_ref as pr
from particle_ref.force import Force
from particle_ref.methods.langevin import euler
from particle_ref.spaces import Space

ALARM = 1e-4
R = 1.5
X = np.cos(np.arange(15.0) ** 2).reshape(5, 3)
Y = np.sin(np.arange(5.0))
FAR = SimpleNamespace(from_uniform=lambda u: 2 * u - 1)

METHODS = {
    "flow": pr.GradientFlow(),
    "loose flow": pr.GradientFlow(rtol=1e-3, atol=1e-3, integrator="RK23"),
    "descent": pr.Descent(0.25),
    "noise": pr.Langevin(0.25, 1, scheme="euler"),
}


def on_sphere(*names, radius=R):
    return dict.fromkeys(
        names, SimpleNamespace(kind="sphere", low=-radius, high=radius, group=names)
    )


def network(toy, activation="tanh", **others):
    """a, w and a bias, with |w| = R."""
    others = {"penalty": toy.ridge(0.1), "initial": FAR} | others
    domain = on_sphere("w1", "w2", "w3")
    return toy.two_layer(X, Y, activation, bias=True, domain=domain, **others)


def drawn(toy, dimension, entropy, kappa, e=0, radius=1.0, **others):
    """The potential −κ w·e, whatever the cloud is, on a sphere of its own."""
    names = tuple(f"w{k}" for k in range(dimension))
    return toy.FeatureProblem(
        coords=names,
        phi=lambda u: -kappa * u[:, e : e + 1],
        dphi=lambda u: np.broadcast_to(-kappa * np.eye(1, dimension, e), (len(u), 1, dimension)),
        loss=SimpleNamespace(risk=np.sum, slope=np.ones_like, weights=np.ones(1)),
        x=np.zeros(1),
        y=np.zeros(1),
        entropy=entropy,
        domain=on_sphere(*names, radius=radius),
        **others,
    )


@pytest.mark.parametrize("name", METHODS)
def test_particles_stay_on_the_sphere_and_the_others_move_freely(toy, name):
    entropy = 0.3 if name == "noise" else 0.0
    problem = network(toy, entropy=entropy)
    flow = pr.run(problem, pr.sample(problem, 40, 2), METHODS[name], [0.0, 1.0, 5.0])
    u = flow.position.values
    np.testing.assert_allclose(np.linalg.norm(u[:, :, 1:4], axis=2), R, rtol=1e-12)
    assert (np.abs(u[2] - u[0]).max(axis=0) > 0.02).all()
    if not entropy:
        assert flow.energy[2] < flow.energy[1] < flow.energy[0]
    noted = {name: flow.attrs.get(name) for name in ("geometry_w2", "radius_w2", "radius_a")}
    assert noted == {"geometry_w2": "sphere", "radius_w2": R, "radius_a": None}


def test_the_law_is_projected_along_rays_and_a_gaussian_becomes_uniform(toy):
    """E w = 0 and E ww' = R²/3: 20000 directions, 9 bounds of 1e-4/9 each."""
    problem = drawn(toy, 3, 0.0, 1.0, radius=R)
    w, N = pr.sample(problem, 20000, 3).position / R, 20000
    ahead = problem.initial.from_uniform(np.full((1, 3), 0.9))
    np.testing.assert_allclose(
        pr.run(problem, pr.Cloud(ahead), pr.Descent(1.0), [0.0]).position[0],
        R * np.ones((1, 3)) / np.sqrt(3),
    )
    z = stats.norm.ppf(1 - ALARM / 18)
    assert (np.abs(w.mean(axis=0)) < z * np.sqrt(1 / 3 / N)).all()
    moments = w.T @ w / N  # var w_i² = 4/45, var w_i w_j = 1/15
    allowed = np.where(np.eye(3) > 0, np.sqrt(4 / 45), np.sqrt(1 / 15))
    assert (np.abs(moments - np.eye(3) / 3) < z * allowed / np.sqrt(N)).all()


def test_velocities_are_tangent_and_give_the_energy_s_rate(toy):
    """dF/dt = −Σ p|P∇V|² by central differences of the flow's energy."""
    problem, h = network(toy), 1e-3
    cloud = pr.sample(problem, 12, 4)
    times = [0.5 - h, 0.5, 0.5 + h]
    flow = pr.run(problem, cloud, pr.GradientFlow(1e-12), times)
    before, _, after = flow.energy.values
    np.testing.assert_allclose((after - before) / (2 * h), -flow.dissipation[1], rtol=1e-5)
    u, p = flow.position.values[1], cloud.weight
    force, space = Force(problem), Space(problem.coords, problem.domain)
    slope = toy.complex_step(lambda v: toy.objective(problem, v, p), u) / p[:, None]
    w = u[:, 1:4] / R
    slope[:, 1:4] -= (slope[:, 1:4] * w).sum(axis=1, keepdims=True) * w
    for method in (pr.GradientFlow(), pr.Descent(0.1), pr.Stochastic(0.1, 2, 1)):
        velocity = method.velocity(force, space, u, force(u, p).gradient)
        np.testing.assert_allclose(velocity, -slope, atol=1e-12)
    np.testing.assert_allclose(flow.dissipation[1], p @ (slope**2).sum(axis=1), rtol=1e-12)


def test_a_ridge_or_its_proximal_map_does_not_move_what_lies_on_a_sphere(toy):
    kinked = toy.Penalty(  # |w|, by its proximal map
        lambda u: np.linalg.norm(u, axis=1), np.sign, lambda u, h: u * (1 - h)
    )
    for penalty in (toy.ridge(2.0), kinked):
        problem = drawn(toy, 3, 0.0, 0.0, penalty=penalty)
        start = pr.sample(problem, 5, 1)
        flow = pr.run(problem, start, pr.Descent(0.2), [1.0])
        np.testing.assert_allclose(flow.position[0], start.position, atol=1e-15)
        assert float(flow.dissipation[0]) < 1e-28


@pytest.mark.parametrize("method", [pr.GradientFlow(1e-11), pr.Descent(0.01)], ids=["flow", "step"])
def test_a_constant_pull_turns_every_particle_to_it(toy, method):
    """V = −κ w·e: the height h = w·e/R obeys h' = (κ/R)(1 − h²), so artanh h grows by κt/R."""
    kappa, t = 0.8, 1.0
    problem = drawn(toy, 4, 0.0, kappa, e=2, radius=R)
    cloud = pr.sample(problem, 8, 5)
    flow = pr.run(problem, cloud, method, [0.0, t])
    height = flow.position.values[:, :, 2] / R
    exact = np.tanh(np.arctanh(height[0]) + kappa * t / R)
    error = np.abs(height[1] - exact).max()
    assert error < 1e-10 if isinstance(method, pr.GradientFlow) else 1e-4 < error < 2e-3


def test_descent_is_of_order_one(toy):
    problem = network(toy)
    cloud = pr.sample(problem, 10, 6)
    exact = pr.run(problem, cloud, pr.GradientFlow(1e-12), [1.0]).position.values
    errors = [
        np.abs(pr.run(problem, cloud, pr.Descent(dt), [1.0]).position.values - exact).max()
        for dt in (0.1, 0.05, 0.025)
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert ((orders > 0.9) & (orders < 1.1)).all()


def test_the_noisy_step_has_the_generator_of_the_sphere(toy):
    """(E f(u') − f(u))/dt → λΔf − ∇V·∇f with order 1, by Gauss–Hermite nodes for the noise.

    Of w it is κ(e − (e·w)w/R²) − 2λw/R², and Δ(w_0 w_1) = −6 w_0 w_1/R².
    """
    lam, kappa = 0.4, 0.7
    problem = drawn(toy, 3, lam, kappa, e=2, radius=R)
    force, space = Force(problem), Space(problem.coords, problem.domain)
    z, weight = np.polynomial.hermite_e.hermegauss(12)
    xi = np.stack(np.meshgrid(z, z, z), axis=-1).reshape(-1, 3)
    p = np.einsum("i,j,k->ijk", *[weight / weight.sum()] * 3).ravel()
    w = R * np.array([2.0, -1.0, 2.0]) / 3
    pull = kappa * (np.eye(3)[2] - w[2] * w / R**2)
    exact = [*(pull - 2 * lam * w / R**2)]
    exact += [w[0] * pull[1] + w[1] * pull[0] - 6 * lam * w[0] * w[1] / R**2]

    def rates(dt):
        u = euler(force, space, dt)(np.tile(w, (len(p), 1)), p, lambda shape: xi)
        change = [*(p @ u - w), p @ (u[:, 0] * u[:, 1]) - w[0] * w[1]]
        return np.array(change) / dt

    errors = [np.abs(rates(dt) - exact) for dt in (0.02, 0.01, 0.005)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert ((orders > 0.9) & (orders < 1.1)).all()
    assert (errors[-1] < 0.01).all()


def test_noise_alone_keeps_the_uniform_law(toy):
    """E ww' = R²/3 after 25 steps: 6 bounds on 10000 particles, 1e-4/6 each; no bias is expected.

    From one point instead the mean height is R e^{−2λt/R²}, the first harmonic's decay; the map's
    own factor is 1 − 2x + 12x² + O(x³) a step where that is 1 − 2x + 2x², with x = λdt/R².
    """
    lam, N, dt = 0.4, 10000, 0.02
    problem = drawn(toy, 3, lam, 0.0, radius=R)
    noise = pr.Langevin(dt, 9, scheme="euler")
    w = pr.run(problem, pr.sample(problem, N, 8), noise, [0.5]).position.values[0] / R
    z = stats.norm.ppf(1 - ALARM / 12)
    allowed = np.where(np.eye(3) > 0, np.sqrt(4 / 45), np.sqrt(1 / 15))
    assert (np.abs(w.T @ w / N - np.eye(3) / 3) < z * allowed / np.sqrt(N)).all()
    pole = pr.Cloud(np.tile([0.0, 0.0, R], (N, 1)))
    height = pr.run(problem, pole, noise, [0.5]).position.values[0, :, 2] / R
    exact = np.exp(-2 * lam * 0.5 / R**2)
    reach = stats.norm.ppf(1 - ALARM / 2) * height.std(ddof=1) / np.sqrt(N)
    bias = 10 * (lam * dt / R**2) * (lam * 0.5 / R**2)
    assert abs(height.mean() - exact) < reach + bias


def test_a_constant_pull_under_noise_gives_von_mises_fisher(toy):
    """V = −κ w·e on the unit sphere of R³: the mean is coth κ' − 1/κ', κ' = κ/λ.

    20000 particles at t = 3 from the uniform law, whose mean has come as near as e^{−2λt}/20; the
    bias of the map's own stationary mean is 0.28 dt, by quadrature of its kernel.
    """
    lam, kappa, N, dt = 0.5, 1.0, 20000, 0.02
    problem = drawn(toy, 3, lam, kappa, e=1)
    noise = pr.Langevin(dt, 11, scheme="euler")
    w = pr.run(problem, pr.sample(problem, N, 10), noise, [3.0]).position.values[0]
    strength = kappa / lam
    mean = 1 / np.tanh(strength) - 1 / strength
    reach = stats.norm.ppf(1 - ALARM / 6) * w.std(axis=0, ddof=1) / np.sqrt(N)
    known = 0.28 * dt + np.exp(-2 * lam * 3.0) / 20
    assert (np.abs(w.mean(axis=0) - mean * np.eye(3)[1]) < reach + known * np.eye(3)[1]).all()


def test_two_spheres_at_once(toy):
    both = on_sphere("p", "q", radius=2.0) | on_sphere("r", "s", "t")
    space = Space(("p", "r", "s", "q", "t"), both)
    u = np.cos(np.arange(20.0)).reshape(4, 5) + 0.1
    on = space.wrap(u)
    np.testing.assert_allclose(np.hypot(on[:, 0], on[:, 3]), 2.0, rtol=1e-15)
    np.testing.assert_allclose(np.linalg.norm(on[:, [1, 2, 4]], axis=1), R, rtol=1e-15)
    tangent = space.tangent(on, u)
    np.testing.assert_allclose((tangent * on)[:, [0, 3]].sum(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(tangent, space.tangent(on, tangent), atol=1e-15)
    assert space.clearance(10 * u) == np.inf


def test_what_does_not_serve_a_sphere_says_so(toy):
    problem, noisy = network(toy), network(toy, entropy=0.2)
    kinked = network(toy, "relu")
    kinked.activation.kinks = (0.0,)
    start = pr.sample(problem, 3, 1)

    def started(sizes):
        cloud = pr.Cloud(np.outer(sizes, np.ones(5)))
        return pr.run(problem, cloud, pr.Descent(1.0), [1.0])

    refused = {
        "has a sphere": lambda: pr.run(problem, start, pr.Characteristics(), [1.0]),
        "and a, w1, w2, w3, b has": lambda: pr.Truth(problem, 1.0),
        "w1, w2, w3 is no line": lambda: pr.run(problem, start, pr.Conic(), [1.0]),
        "euler": lambda: pr.run(noisy, start, pr.Langevin(0.5, 1), [1.0]),
        "slide along": lambda: pr.run(kinked, start, pr.Descent(0.5, kinks="slide"), [1.0]),
        r"particle 1 starts at w1, w2, w3 = \[0.0, 0.0, 0.0\]": lambda: started([1.0, 0.0]),
        "no ray": lambda: started([1e-200]),
        "no ray leads": lambda: started([1e200]),
    }
    for words, call in refused.items():
        with pytest.raises(pr.InvalidInput, match=words):
            call()
