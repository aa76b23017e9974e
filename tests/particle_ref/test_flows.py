"""The flows of clouds: closed forms, identities, orders, symmetries."""

import numpy as np
import pytest

import particle_ref as pr

TIMES = np.array([0.0, 0.3, 1.0])


@pytest.fixture
def tanh_problem(toy):
    x = np.linspace(-2, 2, 16)
    return toy.two_layer(x, np.sin(1.5 * x), "tanh")


def cloud(m=12, D=2, seed=0):
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 1.5, m)
    return pr.Cloud(rng.normal(0.3, 0.5, (m, D)), weight / weight.sum())


def positions(run):
    return run.position.values


# ---------------------------------------------------------------------- closed forms


def test_linear_activation_closed_form(toy):
    """Φ = aw x with one sample: u = (a+w)/√2 and v = (a−w)/√2 scale by e^{−G} and e^{G}, where
    z = e^{−2G} solves a Riccati equation with the cloud's own second moments."""
    b, s2 = 0.8, 1.0
    start = pr.Cloud(np.random.default_rng(3).normal((0.2, 0.3), 0.35, (40, 2)))
    flow = pr.run(toy.two_layer([1.0], [b], "identity"), start, pr.GradientFlow(), TIMES)
    a, w = start.position.T
    u, v = (a + w) / np.sqrt(2), (a - w) / np.sqrt(2)
    U, W = start.weight @ u**2, start.weight @ v**2
    kappa = np.sqrt(b**2 + s2**2 * U * W)
    above, below = (b + kappa) / (s2 * U), (b - kappa) / (s2 * U)
    for t, moved, f in zip(TIMES, positions(flow), flow.prediction.values[:, 0], strict=True):
        q = (1 - above) / (1 - below) * np.exp(-2 * kappa * t)
        z = (above - below * q) / (1 - q)
        ut, vt = u * np.sqrt(z), v / np.sqrt(z)
        exact = np.stack([ut + vt, ut - vt], axis=1) / np.sqrt(2)
        np.testing.assert_allclose(moved, exact, atol=1e-9)
        assert f == pytest.approx((U * z - W / z) / 2, abs=1e-9)


def test_quadratic_activation_closed_form(toy):
    """Φ = (wx)² without output weight: S = ∫w²dρ is logistic and w = w_0 √(S/S_0)."""
    x, p = np.array([0.5, 1.0, 1.5]), np.array([0.2, 0.5, 0.3])
    y = np.array([0.4, 0.9, 1.3])
    network = toy.two_layer(x, y, "quadratic", output_weight=False, weights=p)
    start = cloud(D=1)
    m4, b2 = p @ x**4, p @ (y * x**2)
    S0, limit = start.weight @ start.position[:, 0] ** 2, b2 / m4
    S = limit / (1 + (limit / S0 - 1) * np.exp(-4 * b2 * TIMES))
    exact = start.position * np.sqrt(S / S0)[:, None, None]
    flow = pr.run(network, start, pr.GradientFlow(), TIMES)
    np.testing.assert_allclose(positions(flow), exact, atol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_one_homogeneous_neurons_keep_their_balance(toy, activation, mu):
    """a² − |w|² − b² is constant for ReLU and identity, times e^{−2μt} under a ridge."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (6, 2))
    problem = toy.two_layer(x, x[:, 0] * x[:, 1], activation, bias=True, penalty=toy.ridge(mu))
    start = pr.Cloud(rng.normal(0.3, 0.5, (12, 4)))
    flow = pr.run(problem, start, pr.GradientFlow(rtol=1e-8), TIMES)
    active = positions(flow)[..., 1:3] @ x.T + positions(flow)[..., 3:] > 0
    assert (active[0] != active[-1]).any()  # kinks were crossed
    balance = positions(flow)[..., 0] ** 2 - (positions(flow)[..., 1:] ** 2).sum(axis=2)
    expected = balance[0] * np.exp(-2 * mu * TIMES)[:, None]
    np.testing.assert_allclose(balance, expected, atol=1e-7)


# ---------------------------------------------------------------------- identities


def energy_defect(problem, start, duration=1.0):
    """|F(0) − F(T) − ∫₀ᵀ dissipation dt|, the integral by 12 Gauss points."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    times = np.concatenate([[0.0], duration * (nodes + 1) / 2, [duration]])
    flow = pr.run(problem, start, pr.GradientFlow(), times)
    lost = duration / 2 * weights @ flow.dissipation.values[1:-1]
    return abs(float(flow.energy[0] - flow.energy[-1]) - lost)


@pytest.mark.parametrize("loss", ["square", "logistic"])
def test_energy_falls_by_the_dissipation(toy, loss):
    x = np.linspace(-1, 1, 8)
    problem = toy.two_layer(x, np.sign(x), "tanh", loss, bias=True, penalty=toy.ridge(0.1))
    assert energy_defect(problem, cloud(D=3)) < 1e-10
    assert energy_defect(toy.as_kernel(toy.two_layer(x, np.sign(x))), cloud()) < 1e-10


def test_half_speed_in_w_breaks_the_energy_identity(tanh_problem, plant_half_speed_in_w):
    assert energy_defect(tanh_problem, cloud()) < 1e-10
    plant_half_speed_in_w()
    assert energy_defect(tanh_problem, cloud()) > 1e-4


def test_energy_is_risk_plus_penalty_and_falls(toy):
    x = np.linspace(-2, 2, 16)
    problem = toy.two_layer(x, np.sin(1.5 * x), "tanh", penalty=toy.ridge(0.1))
    for method in (pr.GradientFlow(), pr.Descent(0.1)):
        run = pr.run(problem, cloud(), method, np.arange(11) / 10)
        square = (run.position**2).sum("coord")
        np.testing.assert_allclose(
            run.energy, run.risk + 0.05 * (run.weight * square).sum("particle")
        )
        assert (np.diff(run.energy) < 0).all()


# ---------------------------------------------------------------------- time and weights


def test_twice_as_many_particles_move_in_the_same_time(tanh_problem):
    once = cloud()
    twice = pr.Cloud(np.tile(once.position, (2, 1)), np.tile(once.weight / 2, 2))
    for method in (pr.GradientFlow(), pr.Descent(0.1)):
        few = pr.run(tanh_problem, once, method, TIMES)
        many = pr.run(tanh_problem, twice, method, TIMES)
        np.testing.assert_allclose(positions(many), np.tile(positions(few), (1, 2, 1)), atol=1e-9)
        np.testing.assert_allclose(many.energy, few.energy, atol=1e-10)
        np.testing.assert_allclose(many.dissipation, few.dissipation, atol=1e-9)


def test_coincident_particles_are_one_of_their_joint_weight(tanh_problem):
    one = cloud()
    share = np.linspace(0.1, 0.9, len(one))
    two = pr.Cloud(
        np.vstack([one.position] * 2), np.hstack([share, 1 - share]) * np.tile(one.weight, 2)
    )
    joint = pr.run(tanh_problem, one, pr.GradientFlow(), TIMES)
    split = pr.run(tanh_problem, two, pr.GradientFlow(), TIMES)
    np.testing.assert_allclose(positions(split)[:, : len(one)], positions(joint), atol=1e-9)
    np.testing.assert_allclose(split.prediction, joint.prediction, atol=1e-9)


def test_particles_without_weight_are_carried_along(tanh_problem):
    heavy = cloud()
    light = np.array([[0.4, -1.2]])
    both = pr.Cloud(np.vstack([heavy.position, light]), np.append(heavy.weight, 0.0))
    alone = pr.run(tanh_problem, heavy, pr.GradientFlow(), TIMES)
    carried = pr.run(tanh_problem, both, pr.GradientFlow(), TIMES)
    np.testing.assert_allclose(positions(carried)[:, :-1], positions(alone), atol=1e-9)
    assert np.abs(positions(carried)[-1, -1] - light).max() > 1e-2


def test_weights_are_kept_as_given(tanh_problem):
    weight = np.array([0.25, 0.75 + 8e-6])
    run = pr.run(tanh_problem, pr.Cloud([[0.1, 1], [0.2, -1]], weight), pr.Descent(0.5), [0.0, 0.5])
    np.testing.assert_array_equal(run.weight, [weight, weight])


# ---------------------------------------------------------------------- orders


def test_descent_is_of_order_one(tanh_problem):
    start = cloud()
    exact = positions(pr.run(tanh_problem, start, pr.GradientFlow(), [1.0]))[-1]
    errors = [
        np.abs(positions(pr.run(tanh_problem, start, pr.Descent(1 / k), [1.0]))[-1] - exact).max()
        for k in (16, 32, 64)
    ]
    orders = np.log2(errors[:-1]) - np.log2(errors[1:])
    assert ((orders > 0.93) & (orders < 1.07)).all(), (errors, orders)
    assert errors[-1] < 2e-3


def test_forward_backward_is_of_order_one(toy):
    """With s|a| and one feature ψ ≡ 1, particles that never meet 0 drift by −s sign(a)."""
    problem = constant_feature(toy, y=0.0, s=0.2)
    start = pr.Cloud([[1.0, 0.0], [-1.4, 0.0]])
    mean = -0.2 * np.exp(-1.0)  # f' = −f, the two signs cancel in the mean
    exact = np.array([1.0 - 0.2, -1.4 + 0.2]) + (mean + 0.2)
    errors = [
        np.abs(positions(pr.run(problem, start, pr.Descent(1 / k), [1.0]))[-1, :, 0] - exact).max()
        for k in (8, 16, 32)
    ]
    orders = np.log2(errors[:-1]) - np.log2(errors[1:])
    assert ((orders > 0.93) & (orders < 1.07)).all(), (errors, orders)
    assert errors[-1] < 2e-3


@pytest.mark.parametrize("integrator", ["RK45", "RK23"])
def test_integrators_agree(tanh_problem, integrator):
    fine = pr.run(tanh_problem, cloud(), pr.GradientFlow(), TIMES)
    other = pr.run(tanh_problem, cloud(), pr.GradientFlow(1e-7, 1e-9, integrator), TIMES)
    assert 0 < np.abs(positions(other) - positions(fine)).max() < 1e-5


def test_times_in_between_do_not_matter(tanh_problem):
    direct = pr.run(tanh_problem, cloud(), pr.GradientFlow(), [1.0])
    by_way = pr.run(tanh_problem, cloud(), pr.GradientFlow(), np.linspace(0, 1, 7))
    np.testing.assert_allclose(positions(direct)[-1], positions(by_way)[-1], atol=1e-9)


# ---------------------------------------------------------------------- kinks and walls


def constant_feature(toy, y, s, **others):
    """Φ = a on one sample: V = a (∫a dρ − y) + s|a|."""
    return toy.FeatureProblem(
        coords=("a", "w"),
        phi=lambda v: np.ones((len(v), 1)),
        dphi=lambda v: np.zeros((len(v), 1, 1)),
        loss=toy.Loss(np.array([y]), np.ones(1), "square"),
        lifted=True,
        penalty=toy.total_variation(s),
        x=np.zeros(1),
        y=np.array([y]),
        **others,
    )


def test_descent_takes_the_kink_by_its_proximal_map(toy, tanh_problem):
    """One step is the soft threshold of the plain step; the kink holds particles exactly."""
    s, dt = 0.4, 0.25
    kinked = toy.two_layer(tanh_problem.x, tanh_problem.y, penalty=toy.total_variation(s))
    start = cloud(40)
    plain = positions(pr.run(tanh_problem, start, pr.Descent(dt), [dt]))[-1]
    moved = positions(pr.run(kinked, start, pr.Descent(dt), [dt]))[-1]
    a = plain[:, 0]
    shrunk = np.where(np.abs(a) <= s * dt, 0.0, a - s * dt * np.sign(a))
    np.testing.assert_allclose(moved, np.stack([shrunk, plain[:, 1]], axis=1), atol=1e-15)
    assert 0 < (moved[:, 0] == 0).sum() < len(start)


def test_a_kink_is_left_or_not_by_the_size_of_the_force(toy):
    """From a = 0: a = (y−s)(1 − (1−dt)^k) where y > s, and rest without dissipation elsewhere."""
    start = pr.Cloud([[0.0, 1.0]])
    leaving = pr.run(constant_feature(toy, y=1.0, s=0.25), start, pr.Descent(0.125), [0, 0.5, 1])
    k = np.array([0, 4, 8])
    np.testing.assert_allclose(leaving.position[:, 0, 0], 0.75 * (1 - 0.875**k), atol=1e-14)
    np.testing.assert_allclose(leaving.dissipation, (0.75 * 0.875**k) ** 2, rtol=1e-12)
    resting = pr.run(constant_feature(toy, y=1.0, s=1.25), start, pr.Descent(0.125), [0, 0.5, 1])
    assert (resting.position[:, 0, 0] == 0).all()
    assert (resting.dissipation == 0).all()


def test_gradient_flow_refuses_a_kink_but_no_smooth_penalty(toy, tanh_problem):
    with pytest.raises(pr.InvalidInput, match="Descent"):
        pr.run(constant_feature(toy, 1.0, 0.1), cloud(), pr.GradientFlow(), [0.0])
    silent = toy.total_variation(0.0)  # has no kink to meet
    smooth = toy.two_layer(tanh_problem.x, tanh_problem.y, penalty=silent)
    np.testing.assert_array_equal(
        positions(pr.run(smooth, cloud(), pr.GradientFlow(), TIMES)),
        positions(pr.run(tanh_problem, cloud(), pr.GradientFlow(), TIMES)),
    )


def test_gradient_flow_stops_where_it_would_slide_along_a_kink(toy):
    """reg = |a − 0.04|, a kink that nobody looks for: from a = 0.3 it is met at t = 0.26."""
    penalty = toy.Penalty(
        lambda u: np.abs(u[:, 0] - 0.04), lambda u: np.sign(u - 0.04) * [1.0, 0.0], prox=None
    )
    problem = toy.two_layer([0.0], [0.0], penalty=penalty)
    with pytest.raises(pr.NumericalStop, match="slide") as stop:
        pr.run(problem, pr.Cloud([[0.3, 1.0]]), pr.GradientFlow(), [0.0, 0.25, 1.0])
    np.testing.assert_allclose(stop.value.last.position[:, 0, 0], [0.3, 0.05], atol=1e-12)


def norm_gradient(u):
    size = np.linalg.norm(u, axis=1, keepdims=True)
    return np.divide(u, size, out=np.zeros(u.shape), where=size > 0)


KINKED = {
    "|a|": (lambda u: np.abs(u[:, 0]), lambda u: np.sign(u) * [1.0, 0.0, 0.0]),
    "|a||w|": (
        lambda u: np.abs(u[:, 0]) * np.linalg.norm(u[:, 1:], axis=1),
        lambda u: np.hstack(
            [
                np.sign(u[:, :1]) * np.linalg.norm(u[:, 1:], axis=1, keepdims=True),
                np.abs(u[:, :1]) * norm_gradient(u[:, 1:]),
            ]
        ),
    ),
    "|θ|": (lambda u: np.linalg.norm(u, axis=1), norm_gradient),
}
SMOOTH = {
    "a⁴": (lambda u: u[:, 0] ** 4, lambda u: 4 * u**3 * [1.0, 0.0, 0.0]),
    "a pole": (lambda u: -np.log(np.abs(u[:, 2])), lambda u: -(np.abs(u) ** -1) * np.sign(u)),
    "|a|^{3/2}": (
        lambda u: np.abs(u[:, 0]) ** 1.5,
        lambda u: 1.5 * np.sqrt(np.abs(u)) * np.sign(u) * [1.0, 0.0, 0.0],
    ),
}


@pytest.mark.parametrize("method", [pr.GradientFlow(), pr.Descent(0.25)])
@pytest.mark.parametrize("name", KINKED)
def test_kinks_without_a_proximal_map_are_refused(toy, method, name):
    problem = toy.two_layer([0.0], [0.0], bias=True, penalty=toy.Penalty(*KINKED[name], prox=None))
    with pytest.raises(pr.InvalidInput, match=r"(?s)kinks and no proximal map.*mf\.muscl\(\)"):
        pr.run(problem, pr.Cloud([[0.3, 1.0, 0.2]]), method, [0.0, 0.25])


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_penalties_and_poles_need_no_proximal_map(toy, name):
    problem = toy.two_layer([0.0], [0.0], bias=True, penalty=toy.Penalty(*SMOOTH[name], prox=None))
    assert pr.run(problem, pr.Cloud([[0.3, 1.0, 0.2]]), pr.Descent(0.01), [0.01]).sizes["time"] == 1


def test_descent_takes_a_smooth_penalty_by_its_gradient(toy):
    x, mu, dt = np.array([0.5, -1.0]), 0.5, 0.25
    start = cloud()
    plain = pr.run(toy.two_layer(x, x), start, pr.Descent(dt), [dt])
    ridged = pr.run(toy.two_layer(x, x, penalty=toy.ridge(mu)), start, pr.Descent(dt), [dt])
    np.testing.assert_allclose(
        positions(ridged), positions(plain) - dt * mu * start.position, atol=1e-15
    )


def drift(toy, speed, kind, **ends):
    """V = −speed·q: every particle moves at ``speed`` along its one coordinate q."""
    return toy.KernelProblem(
        coords=("q",),
        K=lambda u, v: np.zeros((len(u), len(v))),
        dK=lambda u, v: np.zeros((len(u), len(v), 1)),
        F=lambda u: speed * u[:, 0],
        dF=lambda u: np.full_like(u, speed),
        domain={"q": toy.geometry(kind, **ends)},
    )


@pytest.mark.parametrize("method", [pr.GradientFlow(), pr.Descent(0.25)])
def test_circles_are_wrapped(toy, method):
    problem = drift(toy, -1.0, "circle", low=0.0, high=2.0)
    run = pr.run(problem, pr.Cloud([[0.3], [7.9], [-0.1]]), method, [0.0, 0.25, 1.0, 4.75])
    start = np.array([0.3, 1.9, 1.9])
    for t, at in zip(run.time.values, run.position.values[..., 0], strict=True):
        np.testing.assert_allclose(at, np.mod(start - t, 2.0), atol=1e-9)
        assert ((at >= 0) & (at < 2)).all()
    np.testing.assert_allclose(run.dissipation, 1.0)
    assert run.attrs["geometry_q"] == "circle"
    assert run.attrs["length_q"] == 2.0


def test_features_of_a_circle_see_wrapped_angles_only(toy):
    seen = []
    problem = drift(toy, 1.0, "circle", low=0.0, high=2.0)
    watched = toy.KernelProblem(
        **{**vars(problem), "dF": lambda u: seen.append((u.min(), u.max())) or np.ones_like(u)}
    )
    pr.run(watched, pr.Cloud([[0.3], [1.7]]), pr.GradientFlow(), [0.0, 5.0])
    assert 0 <= np.min(seen) <= np.max(seen) < 2


def test_a_whole_turn_back_is_zero_and_not_the_length(toy):
    problem = drift(toy, 0.0, "circle", low=0.0, high=2.0)
    run = pr.run(problem, pr.Cloud([[-1e-20], [2.0]]), pr.Descent(1.0), [0.0])
    assert (run.position == 0).all()


def test_descent_stops_at_walls(toy):
    problem = drift(toy, -1.0, "half_line", low=0.0)
    run = pr.run(problem, pr.Cloud([[0.6], [9.0]]), pr.Descent(0.25), [0.0, 0.5, 1.0])
    np.testing.assert_allclose(run.position[:, 0, 0], [0.6, 0.1, 0.0], atol=1e-15)
    np.testing.assert_allclose(run.dissipation, [1.0, (0.16 + 1) / 2, 0.5])  # the last step is .1
    boxed = drift(toy, 1.0, "interval", low=-1.0, high=1.0)
    run = pr.run(boxed, pr.Cloud([[-1.0]]), pr.Descent(0.25), [0.0, 1.0, 5.0])
    np.testing.assert_array_equal(run.position[:, 0, 0], [-1.0, 0.0, 1.0])


def test_gradient_flow_ends_at_a_wall_it_meets_and_only_there(toy):
    problem = drift(toy, -1.0, "half_line", low=0.0)
    start = pr.Cloud([[0.6], [9.0]])
    flow = pr.run(problem, start, pr.GradientFlow(), [0.0, 0.5])
    np.testing.assert_allclose(flow.position[:, 0, 0], [0.6, 0.1], atol=1e-9)
    with pytest.raises(pr.InvalidInput, match="wall"):
        pr.run(problem, start, pr.GradientFlow(), [0.0, 0.5, 1.0])
    at_rest = drift(toy, 0.0, "half_line", low=0.0)
    assert pr.run(at_rest, pr.Cloud([[0.0]]), pr.GradientFlow(), [1.0]).position.item() == 0.0
