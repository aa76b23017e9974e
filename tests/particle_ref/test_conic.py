"""Conic particles: polar coordinates of the flow, the metric, the steps, and what they refuse."""

from types import SimpleNamespace

import numpy as np
import pytest

import particle_ref as pr
from particle_ref.cone import along_geodesic, polar
from particle_ref.force import Force
from particle_ref.spaces import Space

TIMES = np.array([0.0, 0.4, 1.0])


def cloud(D, m=12, seed=0):
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 1.5, m)
    return pr.Cloud(rng.normal(0.2, 0.6, (m, D)), weight / weight.sum())


@pytest.fixture
def linear(toy):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, 2))
    return toy.two_layer(x, x[:, 0] - 0.5, "identity", bias=True, penalty=toy.ridge(0.1))


def positions(run):
    return run.position.values


# ---------------------------------------------------------------------- the flow itself


@pytest.mark.parametrize("as_kernel", [False, True])
def test_polar_coordinates_change_nothing(toy, linear, as_kernel):
    problem = toy.as_kernel(linear) if as_kernel else linear
    start = cloud(4)
    conic = pr.run(problem, start, pr.Conic(), TIMES)
    flow = pr.run(problem, start, pr.GradientFlow(rtol=1e-12), TIMES)
    np.testing.assert_allclose(positions(conic), positions(flow), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(positions(conic)[0], start.position)
    for name in ("risk", "energy", "dissipation"):
        np.testing.assert_allclose(conic[name], flow[name], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(conic.weight, flow.weight)


def test_rays_of_relu_keep_what_is_on_one_side_of_every_kink(toy):
    """From ReLU neurons that no kink is met by: the same as a linear network on active samples."""
    x = np.array([0.5, 1.0, 2.0])
    start = pr.Cloud(np.abs(cloud(2).position) + 0.5)
    relu = pr.run(toy.two_layer(x, 0.8 * x, "relu"), start, pr.Conic(), TIMES)
    linear = pr.run(toy.two_layer(x, 0.8 * x, "identity"), start, pr.GradientFlow(1e-12), TIMES)
    assert (positions(relu)[..., 1] > 0).all()
    np.testing.assert_allclose(positions(relu), positions(linear), rtol=0, atol=1e-9)


def test_kinks_are_crossed_where_the_euclidean_flow_crosses_them(toy):
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (6, 2))
    problem = toy.two_layer(x, x[:, 0] * x[:, 1], "relu", bias=True, penalty=toy.ridge(0.3))
    start = pr.Cloud(rng.normal(0.3, 0.5, (12, 4)))
    conic = pr.run(problem, start, pr.Conic(rtol=1e-10), TIMES)
    flow = pr.run(problem, start, pr.GradientFlow(rtol=1e-10), TIMES)
    active = positions(flow)[..., 1:3] @ x.T + positions(flow)[..., 3:] > 0
    assert (active[0] != active[-1]).any()
    np.testing.assert_allclose(positions(conic), positions(flow), rtol=0, atol=1e-8)


def test_particles_at_zero_stay_and_count_for_nothing(linear):
    start = cloud(4)
    with_zero = pr.Cloud(np.vstack([np.zeros(4), start.position]), np.append(0.5, start.weight / 2))
    for method in (pr.Conic(), pr.Conic(0.1), pr.Conic(0.1, "canonical")):
        run = pr.run(linear, with_zero, method, TIMES)
        assert (positions(run)[:, 0] == 0).all()
        assert np.isfinite(run.dissipation).all()
        assert (positions(run)[-1, 1:] != start.position).all()


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.4, 3.0)])
def test_dissipation_is_the_fall_of_the_energy_in_the_cones_metric(linear, alpha, beta):
    h = 1e-3
    method = pr.Conic(alpha=alpha, beta=beta, rtol=1e-12)
    run = pr.run(linear, cloud(4), method, [0.5 - h, 0.5, 0.5 + h])
    before, _, after = run.energy.values
    np.testing.assert_allclose((before - after) / (2 * h), run.dissipation[1], rtol=1e-5)


def test_dissipation_is_that_of_the_plain_flow_for_equal_rates(linear):
    force, space, start = Force(linear), Space(linear.coords, {}), cloud(4)
    gradient = force(start.position, start.weight).gradient
    velocity = pr.Conic().velocity(force, space, start.position, gradient)
    np.testing.assert_allclose(
        velocity, force.velocity(start.position, start.weight), rtol=0, atol=1e-14
    )


# ---------------------------------------------------------------------- steps


@pytest.mark.parametrize("retraction", ["mirror", "canonical"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0)])
def test_steps_are_of_order_1(linear, retraction, alpha, beta):
    start, rates = cloud(4), {"alpha": alpha, "beta": beta}
    exact = positions(pr.run(linear, start, pr.Conic(**rates), [1.0]))
    errors = [
        np.abs(positions(pr.run(linear, start, pr.Conic(dt, retraction, **rates), [1.0])) - exact)
        for dt in (1 / 40, 1 / 80, 1 / 160)
    ]
    sizes = [e.max() for e in errors]
    np.testing.assert_allclose(np.log2(np.divide(sizes[:-1], sizes[1:])), 1.0, rtol=0, atol=0.1)


@pytest.mark.parametrize("retraction", ["mirror", "canonical"])
def test_one_step_is_the_retraction(linear, retraction):
    """u − dt∇V to second order; r by its own formula; θ by an angle dt|∇_S J'|."""
    start, dt = cloud(4), 0.25
    moved = positions(pr.run(linear, start, pr.Conic(dt, retraction), [dt]))[0]
    r, theta = polar(start.position)
    gradient = -Force(linear).velocity(start.position, start.weight) / r[:, None]  # at θ
    radial = (theta * gradient).sum(axis=1)  # 2J'
    factor = np.exp(-dt * radial) if retraction == "mirror" else 1 - dt * radial
    later, turned = polar(moved)
    np.testing.assert_allclose(later, factor * r, rtol=1e-13)
    tangent = gradient - radial[:, None] * theta
    angle = dt * np.linalg.norm(tangent, axis=1)
    np.testing.assert_allclose((theta * turned).sum(axis=1), np.cos(angle), rtol=0, atol=1e-14)
    sideways = -(turned * tangent).sum(axis=1) / np.linalg.norm(tangent, axis=1)
    np.testing.assert_allclose(sideways, np.sin(angle), rtol=0, atol=1e-14)


def test_geodesics_are_great_circles():
    theta, tangent = np.eye(3)[[0, 0, 0]], np.array([[0, 0.3, 0.4], [0, 0, 0], [0, np.pi, 0]])
    ends = along_geodesic(theta, tangent)
    expected = [[np.cos(0.5), 0.6 * np.sin(0.5), 0.8 * np.sin(0.5)], [1, 0, 0], [-1, 0, 0]]
    np.testing.assert_allclose(ends, expected, rtol=0, atol=1e-15)


def test_a_canonical_step_through_0_stops_and_a_mirror_step_goes_on(toy):
    problem = toy.two_layer([1.0], [-9.0], "identity")
    start = pr.Cloud([[1.0, 1.0]])
    with pytest.raises(pr.NumericalStop, match="mirror"):
        pr.run(problem, start, pr.Conic(0.5, "canonical"), [0.5])
    assert np.isfinite(pr.run(problem, start, pr.Conic(0.5), [0.5]).position).all()


@pytest.mark.parametrize("method", [pr.Conic(), pr.Conic(0.2), pr.Conic(0.2, "canonical")])
def test_the_memory_is_all_a_flow_goes_on_from(linear, method):
    force, space, start = Force(linear), Space(linear.coords, {}), cloud(4)
    memory = {}
    with np.errstate(divide="ignore"):
        straight = list(method.flow(force, space, start, TIMES))
        first = list(method.resumed(force, space, start, TIMES[:2], memory))
        kept = {k: np.array(v) if isinstance(v, np.ndarray) else v for k, v in memory.items()}
        rest = list(method.resumed(force, space, start, TIMES[2:], kept))
    for one, other in zip(straight, first + rest, strict=True):
        np.testing.assert_array_equal(one.position, other.position)


# ---------------------------------------------------------------------- refusals


def shifted(toy):
    return toy.Penalty(
        lambda u: ((u - 0.1) ** 2).sum(axis=1), lambda u: 2 * (u - 0.1), lambda u, h: u
    )


def refused(toy):
    x = np.array([0.5, -1.0])
    yield "Φ", toy.two_layer(x, x, "tanh")
    yield "Φ", toy.two_layer(x, x, "identity", output_weight=False)
    yield "Φ", toy.two_layer(x, x, "quadratic")
    yield "penalty", toy.two_layer(x, x, "relu", penalty=shifted(toy))
    yield "penalty", toy.two_layer(x, x, "relu", penalty=toy.total_variation(0.1))
    yield "kernel", toy.as_kernel(toy.two_layer(x, x, "tanh"))
    circle = {"w": toy.geometry("circle", low=0.0, high=1.0)}
    yield "w is no line", toy.two_layer(x, x, "relu", domain=circle)


@pytest.mark.parametrize("which", range(7))
def test_only_cones_are_walked_on(toy, which):
    why, problem = list(refused(toy))[which]
    with pytest.raises(pr.InvalidInput, match=why):
        pr.run(problem, cloud(len(problem.coords)), pr.Conic(), [1.0])


def test_features_that_are_2_homogeneous_without_an_output_weight(toy):
    """(wx)², which grows along rays: S = ∫w²dρ is logistic."""
    problem = toy.two_layer([1.0], [0.9], "quadratic", output_weight=False)
    start = cloud(1)
    S0 = start.weight @ start.position[:, 0] ** 2
    S = 0.9 / (1 + (0.9 / S0 - 1) * np.exp(-4 * 0.9 * TIMES))
    run = pr.run(problem, start, pr.Conic(), TIMES)
    exact = start.position * np.sqrt(S / S0)[:, None, None]
    np.testing.assert_allclose(positions(run), exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "arguments",
    [
        {"dt": 0.0},
        {"dt": np.inf},
        {"retraction": "induced"},
        {"alpha": 0.0},
        {"beta": -1.0},
        {"beta": np.nan},
        {"rtol": 1e-20},
        {"retraction": SimpleNamespace()},
    ],
)
def test_values_without_meaning_are_refused(arguments):
    with pytest.raises(pr.InvalidInput):
        pr.Conic(**arguments)


def test_times_between_steps_are_refused(linear):
    with pytest.raises(pr.InvalidInput, match="multiples"):
        pr.run(linear, cloud(4), pr.Conic(0.25), [0.3])
