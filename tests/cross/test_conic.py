"""Conic and Euclidean particles on the exact ReLU kernel, with a teacher of five neurons."""

import numpy as np
import pytest
from orders.observed import observed_orders
from scipy.integrate import solve_ivp

import mfpde as mf
import particle_ref as pr

TEACHER = np.deg2rad([-86.3, 53.1, 23.2, 141.2, -32.1])
TEACHERS = np.column_stack([np.ones(5), np.cos(TEACHER), np.sin(TEACHER)])
HORIZON = 20.0


def unit(w):
    size = np.linalg.norm(w, axis=1, keepdims=True)
    return size, np.divide(w, size, out=np.zeros(w.shape), where=size > 0)


def angles(u, v):
    """sin φ, cos φ and φ between all weights of u and of v."""
    s, t = unit(u[:, 1:])[1], unit(v[:, 1:])[1]
    sine = np.abs(np.outer(s[:, 0], t[:, 1]) - np.outer(s[:, 1], t[:, 0]))
    return sine, s @ t.T, np.arctan2(sine, s @ t.T)


def K(u, v):
    """E Φ(u; x) Φ(v; x), x uniform on the circle: a a' |w| |w'| [(π − φ) cos φ + sin φ] / 4π."""
    sine, cosine, phi = angles(u, v)
    sizes = np.outer(u[:, 0] * unit(u[:, 1:])[0][:, 0], v[:, 0] * unit(v[:, 1:])[0][:, 0])
    return sizes * ((np.pi - phi) * cosine + sine) / (4 * np.pi)


def dK(u, v):
    """∂_a: K / a. ∂_w: a a' |w'| [sin φ w/|w| + (π − φ) w'/|w'|] / 4π, (N, M, 3)."""
    sine, _, phi = angles(u, v)
    one = np.column_stack([np.ones(len(u)), u[:, 1:]])
    masses = np.outer(u[:, 0], v[:, 0] * unit(v[:, 1:])[0][:, 0])[:, :, None] / (4 * np.pi)
    ahead = sine[:, :, None] * unit(u[:, 1:])[1][:, None]
    other = (np.pi - phi)[:, :, None] * unit(v[:, 1:])[1]
    return np.concatenate([K(one, v)[:, :, None], masses * (ahead + other)], axis=2)


def relu_teacher():
    """Experiment B of Chizat & Bach 2018: the teacher's neurons have weight 1/5 each."""
    return mf.kernel_problem(
        ("a", "w1", "w2"),
        K,
        F=lambda u: K(u, TEACHERS).mean(axis=1),
        const=K(TEACHERS, TEACHERS).mean() / 2,
        dK=dK,
        dF=lambda u: dK(u, TEACHERS).mean(axis=1),
    )


def lift(u):
    """The neuron |a| = |w|, a > 0 of size |u| and direction u."""
    return np.column_stack([np.linalg.norm(u, axis=1), u]) / np.sqrt(2)


def pulled(gradient, u):
    """A gradient at lift(u) as one at u."""
    return (
        gradient[..., :1] * np.expand_dims(unit(u)[1], tuple(range(1, gradient.ndim - 1)))
        + gradient[..., 1:]
    ) / np.sqrt(2)


def balanced_teacher():
    """The same among balanced neurons: Φ(u) = |u| (u·x)_+ / 2."""
    full = relu_teacher()
    return mf.kernel_problem(
        ("u1", "u2"),
        lambda u, v: K(lift(u), lift(v)),
        F=lambda u: full.F(lift(u)),
        const=full.const,
        dK=lambda u, v: pulled(dK(lift(u), lift(v)), u),
        dF=lambda u: pulled(full.dF(lift(u)), u),
    )


def students(m=12, seed=0):
    """Half of each sign, |a| = |w|, |a||w| = 0.005."""
    phi = np.random.default_rng(seed).uniform(0, 2 * np.pi, m)
    size = np.sqrt(0.005)
    a = size * (-1.0) ** np.arange(m)
    return pr.Cloud(np.column_stack([a, size * np.cos(phi), size * np.sin(phi)]))


def test_the_kernel_is_the_mean_over_the_circle():
    x = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    x = np.column_stack([np.cos(x), np.sin(x)])
    u, v = np.random.default_rng(0).normal(size=(2, 6, 3))
    features = [q[:, :1] * np.maximum(q[:, 1:] @ x.T, 0) for q in (u, v)]
    np.testing.assert_allclose(K(u, v), features[0] @ features[1].T / len(x), rtol=0, atol=1e-7)


@pytest.mark.parametrize("problem", [relu_teacher(), balanced_teacher()], ids=["full", "balanced"])
def test_its_gradients_are_those_of_differences(problem):
    D = len(problem.coords)
    u, v = np.random.default_rng(1).normal(size=(2, 6, D))
    h = 1e-6
    for k, e in enumerate(h * np.eye(D)):
        slopes = (problem.K(u + e, v) - problem.K(u - e, v)) / (2 * h)
        np.testing.assert_allclose(problem.dK(u, v)[:, :, k], slopes, rtol=0, atol=1e-8)
        slopes = (problem.F(u + e) - problem.F(u - e)) / (2 * h)
        np.testing.assert_allclose(problem.dF(u)[:, k], slopes, rtol=0, atol=1e-8)


def test_conic_particles_are_euclidean_ones():
    """From |a||w| = 0.005 until the teacher is learnt, in angles as far as in sizes."""
    problem, times = relu_teacher(), [0.0, HORIZON / 2, HORIZON, 5 * HORIZON]
    conic = pr.run(problem, students(), pr.Conic(rtol=1e-11), times)
    flow = pr.run(problem, students(), pr.GradientFlow(rtol=1e-12, atol=1e-14), times)
    assert conic.risk[-1] < 0.01 * conic.risk[0]
    np.testing.assert_allclose(conic.position, flow.position, rtol=0, atol=1e-8)
    np.testing.assert_allclose(conic.risk, flow.risk, rtol=0, atol=1e-9)
    np.testing.assert_allclose(conic.dissipation, flow.dissipation, rtol=0, atol=1e-9)


@pytest.mark.parametrize("retraction", ["mirror", "canonical"])
def test_conic_steps_are_of_order_1(retraction):
    problem, end = relu_teacher(), HORIZON / 2
    exact = pr.run(problem, students(), pr.Conic(), [end]).position.values
    counts = (40, 80, 160)
    errors = [
        np.abs(pr.run(problem, students(), pr.Conic(end / n, retraction), [end]).position - exact)
        for n in counts
    ]
    orders = observed_orders([float(e.max()) for e in errors], counts)
    np.testing.assert_allclose(orders, 1.0, rtol=0, atol=0.1)


def balanced_students():
    u = np.random.default_rng(3).normal(size=(8, 2))
    return pr.Cloud(0.3 * u)


def test_beta_2_turns_balanced_neurons_by_the_angle_of_their_weights():
    """Neurons |a| = |w| as vectors of the plane move as they do in the space of (a, w)."""
    start, times = balanced_students(), [5.0, HORIZON]
    plane = pr.run(balanced_teacher(), start, pr.Conic(beta=2.0), times)
    lifted = pr.Cloud(lift(start.position))
    space = pr.run(relu_teacher(), lifted, pr.Conic(), times)
    for u, full in zip(plane.position.values, space.position.values, strict=True):
        np.testing.assert_allclose(lift(u), full, rtol=0, atol=1e-8)
    one = pr.run(balanced_teacher(), start, pr.Conic(beta=1.0), times)
    assert np.abs(one.position - plane.position).max() > 0.01


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 2.0), (0.5, 3.0)])
def test_rates_are_those_of_the_equations_in_angles(alpha, beta):
    """(log r)' = −2αJ'(φ), φ' = −β∂_φJ', J' = Σ_k p r_k² h(φ − φ_k)/4 − mean h(φ − teacher)/2."""

    def h(phi):
        phi = np.abs(np.mod(phi + np.pi, 2 * np.pi) - np.pi)
        return ((np.pi - phi) * np.cos(phi) + np.sin(phi)) / (4 * np.pi)

    def slope(phi):
        phi = np.mod(phi + np.pi, 2 * np.pi) - np.pi
        return -(np.pi - np.abs(phi)) * np.sin(phi) / (4 * np.pi)

    def rate(t, state):
        size, phi = state.reshape(2, -1)
        mass = np.exp(2 * size) / len(size)
        own, other = phi[:, None] - phi, phi[:, None] - TEACHER
        J = h(own) @ mass / 4 - h(other).mean(axis=1) / 2
        turn = slope(own) @ mass / 4 - slope(other).mean(axis=1) / 2
        return np.concatenate([-2 * alpha * J, -beta * turn])

    start, end = balanced_students(), 10.0
    z = start.position @ [1, 1j]
    state = np.concatenate([np.log(np.abs(z)), np.angle(z)])
    solved = solve_ivp(rate, (0, end), state, method="LSODA", rtol=1e-11, atol=1e-12)
    size, phi = solved.y[:, -1].reshape(2, -1)
    expected = np.exp(size)[:, None] * np.column_stack([np.cos(phi), np.sin(phi)])
    run = pr.run(balanced_teacher(), start, pr.Conic(alpha=alpha, beta=beta), [end])
    np.testing.assert_allclose(run.position[0], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", [pr.Conic(), pr.Conic(0.25)])
def test_stored_conic_runs_go_on_by_the_same_bits(method, tmp_path):
    problem, times = balanced_teacher(), [0.0, 2.0, 5.0]
    with pytest.raises(pr.Stopped):
        pr.run(problem, balanced_students(), method, times, mf.store(tmp_path / "x"), 1e-9)
    stored = pr.run(problem, balanced_students(), method, times, mf.store(tmp_path / "x"))
    straight = pr.run(problem, balanced_students(), method, times)
    np.testing.assert_array_equal(stored.position, straight.position)


def test_stored_runs_with_kinks_go_on_with_their_chatter(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2))
    problem = mf.two_layer(x, np.abs(x[:, 0]), mf.relu, penalty=mf.ridge(0.05))
    start, times = pr.Cloud(rng.normal(size=(50, 3))), [0.0, 4.0, 5.0, 8.0]
    for kinks in ("cross", "slide"):
        method, folder = pr.Descent(0.5, kinks), tmp_path / kinks
        with pytest.raises(pr.Stopped):
            pr.run(problem, start, method, times, mf.store(folder), max_seconds=1e-9)
        stored = pr.run(problem, start, method, times, mf.store(folder))
        straight = pr.run(problem, start, method, times)
        for name in ("position", "chatter", "dissipation"):
            np.testing.assert_array_equal(stored[name], straight[name])
        assert (straight.chatter[2:] > 0).all() == (kinks == "cross")
