"""Lazy or active: the closed form of linear networks, and the tangent model against particles."""

import numpy as np
import pytest
import xarray as xr

import mfpde as mf
import particle_ref as pr
from mfpde.measures.regime import network_of, ridge_of, tangent_kernels, tangent_model
from mfpde.problems.activations import ACTIVATIONS

S2, B, STD = 1.0, 0.8, 0.6  # E x², E xy, and the start: U = E u² = E v² = STD²


def linear(scale, penalty=None):
    """f = scale·∫a w dρ x, the risk over scale²: the same flow with the target over scale."""
    x, p = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    return mf.two_layer(
        x,
        B * x / scale,
        activation=mf.identity,
        weights=p,
        initial=mf.gaussian(0.0, STD),
        penalty=penalty,
    )


def closed_form(scale):
    """Kernel change as t → ∞: K = xx'·E(a² + w²), E(a² + w²) = 2U cosh 2G, sinh 2G = b/(s2 U)."""
    return np.sqrt(1 + (B / (scale * S2 * STD**2)) ** 2) - 1


@pytest.mark.parametrize("scale", [0.5, 1.0, 8.0])
def test_the_closed_form_on_particles(scale):
    problem = linear(scale)
    cloud = pr.sample(problem, 16, kind="quadrature")
    flow = pr.run(problem, cloud, pr.GradientFlow(rtol=1e-10, atol=1e-12), [0, 10.0, 30.0])
    found = mf.regime(flow)
    assert found.kernel_change.values[-1] == pytest.approx(closed_form(scale), abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_the_closed_form_on_the_grid(scale):
    problem = linear(scale)
    grid = mf.Grid(a=mf.uniform(-7, 7, 80), w=mf.uniform(-7, 7, 80))
    run = mf.solve(problem, grid, mf.semi_lagrangian(), np.linspace(0, 6, 31), progress=False)
    found = mf.regime(run)
    assert found.kernel_change.values[-1] == pytest.approx(closed_form(scale), abs=1e-3)
    cloud = pr.Cloud(*mf.as_measure(run.isel(time=0)))
    flow = pr.run(problem, cloud, pr.GradientFlow(rtol=1e-8), run.time.values)
    np.testing.assert_allclose(found.weight_change, mf.regime(flow).weight_change, atol=2e-4)


def test_verdicts():
    """A large output scale is lazy, a small one active."""
    verdicts = []
    for scale in (0.3, 2.0, 30.0):
        problem = linear(scale)
        flow = pr.run(
            problem,
            pr.sample(problem, 16, kind="quadrature"),
            pr.GradientFlow(rtol=1e-8),
            np.linspace(0, 20, 11),
        )
        verdicts.append(mf.regime(flow).attrs["verdict"])
    assert verdicts == ["active", "between", "lazy"]


RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(6, 2)), RNG.normal(size=6)


def tanh_problem(penalty=None, **options):
    return mf.two_layer(X, Y, activation=mf.tanh, penalty=penalty, **options)


@pytest.mark.parametrize("penalty", [None, mf.ridge(0.3), mf.ridge((0.1, 0.5, 0.2, 0.4))])
def test_the_tangent_model_is_that_of_particles(penalty):
    """Its n·D numbers against neurons v' = −∇[linearised objective], each followed by itself."""
    problem = tanh_problem(penalty, bias=True)
    u = RNG.normal(size=(40, 4))
    p = RNG.dirichlet(np.ones(40))
    z = u[:, 1:] @ problem.directions.T
    jacobian = np.concatenate(
        [
            np.tanh(z)[:, :, None],
            (u[:, :1] / np.cosh(z) ** 2)[:, :, None] * problem.directions,
        ],
        axis=2,
    )
    f0 = (p * u[:, 0]) @ np.tanh(z)
    v, times, steps = np.zeros_like(u), np.array([0, 0.5, 1.0]), 400
    seen = [f0]
    dt = 1.0 / steps

    def rate(v):
        f = f0 + np.einsum("jnd,jd,j->n", jacobian, v, p)
        return -np.einsum("jnd,n->jd", jacobian, (f - Y) / 6) - problem.penalty.gradient(u + v)

    for k in range(steps):  # the midpoint rule, of order 2
        v = v + dt * rate(v + dt / 2 * rate(v))
        if (k + 1) % (steps // 2) == 0:
            seen.append(f0 + np.einsum("jnd,jd,j->n", jacobian, v, p))
    mu = ridge_of(problem)
    np.testing.assert_allclose(tangent_model(problem, mu, u, p, f0, times), seen, atol=2e-6)


def test_kernels_are_gram_matrices_of_gradients():
    problem = tanh_problem()
    u, p = RNG.normal(size=(30, 3)), RNG.dirichlet(np.ones(30))
    h = 1e-6

    def phi(u):
        return u[:, :1] * np.tanh(u[:, 1:] @ X.T)

    for k, kernel in enumerate(tangent_kernels(problem, u, p)):
        shift = h * np.eye(3)[k]
        slope = (phi(u + shift) - phi(u - shift)) / (2 * h)
        np.testing.assert_allclose(kernel, slope.T @ (p[:, None] * slope), atol=1e-8)


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (None, [0, 0, 0]),
        (mf.ridge(0.2), [0.2] * 3),
        (mf.ridge((0.1, 0.2, 0.3)), [0.1, 0.2, 0.3]),
        (mf.total_variation(0.1), None),
        (mf.ridge(0.1) + mf.total_variation(0.1), None),
        (mf.path_norm(0.1), None),
    ],
)
def test_ridges_are_known_by_their_gradients(penalty, expected):
    found = ridge_of(tanh_problem(penalty))
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_allclose(found, expected, atol=1e-14)


def test_walls_hold_the_paths():
    """With closed walls neurons of the density rest where particles do."""
    domain = {"a": mf.interval(-1, 1), "w": mf.interval(-1, 1)}
    problem = mf.two_layer(
        [1.0, 2.0], [3.0, 5.0], domain=domain, initial=mf.uniform_box((-1, -1), (1, 1))
    )
    grid = mf.Grid(a=mf.uniform(-1, 1, 48), w=mf.uniform(-1, 1, 48))
    run = mf.solve(problem, grid, mf.muscl(), np.linspace(0, 2, 11), progress=False)
    cloud = pr.Cloud(*mf.as_measure(run.isel(time=0)))
    flow = pr.run(problem, cloud, pr.Descent(0.01), run.time.values)
    np.testing.assert_allclose(
        mf.regime(run, problem).weight_change, mf.regime(flow, problem).weight_change, atol=0.02
    )


def test_the_problem_of_a_record():
    """Every named activation, both losses with a name, bias and no output weight."""
    for sigma in ACTIVATIONS.values():
        for loss in (mf.square, mf.logistic):
            for bias, output in ((False, True), (True, False)):
                problem = mf.two_layer(
                    X, np.sign(Y), activation=sigma, loss=loss, bias=bias, output_weight=output
                )
                again = network_of(recorded(problem))
                assert repr(again) == repr(problem)
                assert again.coords == problem.coords
                np.testing.assert_array_equal(again.weights, problem.weights)


def recorded(problem):
    """What a flow notes of its problem."""
    return xr.Dataset(
        {
            "position": (("time", "particle", "coord"), np.zeros((0, 1, len(problem.coords)))),
            "x": (("sample", "input"), problem.inputs),
            "y": ("sample", problem.y),
            "weight": ("sample", problem.weights),
        },
        coords={"coord": list(problem.coords)},
        attrs={"problem": repr(problem), "penalty": repr(problem.penalty), "entropy": 0.0}
        | {f"geometry_{c}": "line" for c in problem.coords},
    )


def test_what_is_not_defined_says_why():
    problem = tanh_problem(mf.total_variation(0.01))
    flow = pr.run(problem, pr.sample(problem, 8, seed=0), pr.Descent(0.1), [0, 0.5, 1.0])
    found = mf.regime(flow, problem)
    assert np.isnan(found.linear_gap).all()
    assert "ridge" in found.attrs["linear_gap"]
    assert np.isfinite(found.kernel_change).all()


def test_angles_go_the_short_way():
    problem = mf.Problem(
        ("t",),
        phi=lambda t: np.cos(t),
        dphi=lambda t: -np.sin(t)[:, :, None],
        loss=mf.square(np.array([-5.0])),
        initial=mf.uniform_box(0.0, 2 * np.pi),
        domain={"t": mf.circle(2 * np.pi)},
    )
    cloud = pr.Cloud(np.array([[6.2], [6.0]]))  # they move to π, over less than half a circle
    flow = pr.run(problem, cloud, pr.Descent(0.01), [0, 0.01])
    assert mf.regime(flow, problem).weight_change.values[-1] < 0.1


def test_refusals():
    problem = tanh_problem()
    flow = pr.run(problem, pr.sample(problem, 8, seed=0), pr.Descent(0.1), [0, 0.5])
    with pytest.raises(mf.InvalidInput, match="later time"):
        mf.regime(flow.isel(time=[0]))
    others = (linear(1.0), mf.two_layer(X, Y, mf.sigmoid), mf.two_layer(2 * X, Y))
    for wrong in others:
        with pytest.raises(mf.InvalidInput, match="not one of"):
            mf.regime(flow, wrong)
    other = mf.two_layer(X, Y, activation=mf.Activation(np.tanh, lambda z: 1 / np.cosh(z) ** 2))
    unnamed = pr.run(other, pr.sample(other, 8, seed=0), pr.Descent(0.1), [0, 0.5])
    for run in (unnamed, flow.assign_attrs(geometry_w1="circle")):
        with pytest.raises(mf.InvalidInput, match=r"mf\.regime\(run, problem\)"):
            mf.regime(run)
    mf.regime(unnamed, other)
