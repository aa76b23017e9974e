"""What every problem promises. A new one is a line in a table here.

Derivatives are held to differences, the loss's slope to its risk, the potential to the energy: a
mistake here would be shared by densities and particles, and no comparison of the two would see it.
"""

import itertools
import pickle

import numpy as np
import pytest
from contracts.promises import (
    differences,
    gradient_is_derivative,
    potential_is_derivative_of_energy,
    slope_is_derivative_of_risk,
)
from numpy.testing import assert_allclose

import mfpde as mf

ACTIVATIONS = (
    mf.identity,
    mf.relu,
    mf.leaky_relu,
    mf.tanh,
    mf.sigmoid,
    mf.softplus,
    mf.erf,
    mf.cos,
    mf.quadratic,
    mf.heaviside,
    mf.Activation(np.sin, np.cos),
)
LOSSES = (mf.square, mf.logistic, mf.huber(0.7))
SHAPES = tuple(itertools.product((1, 2), (False, True), (True, False)))  # d, bias, output weight
PENALTY = mf.ridge(0.3) + mf.Penalty(
    lambda q: np.cos(q[:, 0]), lambda q: -np.sin(q[:, :1]) * np.eye(1, q.shape[1])
)
CELLS = (6, 5, 7, 5)


def two_layer(activation, loss, d, bias, output_weight):
    rng = np.random.default_rng(d)
    x = rng.normal(size=(6, d) if d > 1 else 6)
    y = rng.choice([-1.0, 1.0], 6) * (1.0 if loss.labels else rng.uniform(0.5, 2, 6))
    p = rng.uniform(0.2, 1, 6)
    return mf.two_layer(
        x,
        y,
        activation,
        loss,
        weights=p / p.sum(),
        penalty=PENALTY,
        bias=bias,
        output_weight=output_weight,
        initial=mf.gaussian(0.1, 0.8),
    )


TWO_LAYER = [
    pytest.param(*member, id="{}-{}-d{}-bias={}-a={}".format(*member))
    for member in ((s, loss, *shape) for s in ACTIVATIONS for loss in LOSSES for shape in SHAPES)
]
two_layers = pytest.mark.parametrize(
    ("activation", "loss", "d", "bias", "output_weight"), TWO_LAYER
)


def away_from_kinks(problem, count=12):
    """Feature coordinates (N, k) at which no z = w·x + b lies within 0.02 of zero."""
    k = len(problem.coords) - problem.lifted
    points = np.random.default_rng(3).normal(size=(8 * count, k))
    directions = np.column_stack([problem.inputs, np.ones(len(problem.y))])[:, :k]
    return points[np.abs(points @ directions.T).min(axis=1) > 0.02][:count]


@two_layers
def test_two_layer_features_have_the_stated_derivatives(activation, loss, d, bias, output_weight):
    problem = two_layer(activation, loss, d, bias, output_weight)
    points = away_from_kinks(problem)
    z = points[:, :d] @ problem.inputs.T + (points[:, -1:] if bias else 0.0)
    assert_allclose(problem.phi(points), activation.value(z), rtol=1e-13, atol=1e-14)
    assert (problem.dphi is None) == (activation.slope is None)
    assert (problem.d2phi is None) == (activation.curvature is None)
    if problem.dphi is not None:
        gradient_is_derivative(problem.phi, problem.dphi, points)
    if problem.d2phi is not None:
        gradient_is_derivative(problem.dphi, problem.d2phi, points)


@two_layers
def test_two_layer_potential_is_the_derivative_of_the_energy(
    activation, loss, d, bias, output_weight
):
    problem = two_layer(activation, loss, d, bias, output_weight)
    holds_to_its_potential(problem, lines(problem))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_slope_of_a_loss_is_the_derivative_of_its_risk(loss):
    bound = two_layer(mf.tanh, loss, 1, False, True).loss
    for shift in (-3.0, -0.2, 0.31, 2.0):
        slope_is_derivative_of_risk(bound, bound.y + shift * np.linspace(0.3, 1.1, 6))


def lines(problem):
    """A grid of a few cells per axis that holds the problem's law."""
    low, high = problem.initial.reach(1e-8)
    return mf.Grid(
        **{
            c: mf.uniform(lo - 0.1, hi + 0.1, n)
            for c, lo, hi, n in zip(problem.coords, low, high, CELLS[: len(low)], strict=True)
        }
    )


def holds_to_its_potential(problem, grid):
    flow = mf.WassersteinFlow(problem, grid)
    rng = np.random.default_rng(5)
    rho = flow.start * rng.exponential(size=grid.shape) + 0.01 * flow.start.mean()
    rho /= flow.mass(rho)
    potential_is_derivative_of_energy(flow, rho, rng.integers(0, grid.cells, 3))
    field = flow.field(rho)
    penalties = float(np.sum(problem.penalty.value(grid.points()) * (rho * flow.volumes).ravel()))
    assert_allclose(field.energy, field.risk + penalties, rtol=1e-12, atol=1e-14)


def test_full_features_give_the_prediction():
    """f = ∫Φ dρ with Φ = a·ψ written out, against what the flow makes of A1(w)."""
    problem = two_layer(mf.tanh, mf.square, 2, True, True)
    flow = mf.WassersteinFlow(problem, lines(problem))
    points, masses = flow.grid.points(), (flow.start * flow.volumes).ravel()
    f = masses @ (points[:, :1] * problem.phi(points[:, 1:]))
    assert_allclose(flow.field(flow.start).prediction, f, rtol=1e-12, atol=1e-14)


# Features of other kinds --------------------------------------------------------------------------

ANGLES = np.arange(5) / 5
FINE = 2e-4  # step of differences for features with three waves on [0, 1]


def dirichlet(t, order=3):
    j = np.arange(1, order + 1)
    return 1 + 2 * np.cos(2 * np.pi * t[..., None] * j).sum(axis=-1)


def dirichlet_slope(t, order=3):
    j = np.arange(1, order + 1)
    return -4 * np.pi * (j * np.sin(2 * np.pi * t[..., None] * j)).sum(axis=-1)


CUSTOM = {
    "cosines on the circle": mf.Problem(
        ("w",),
        lambda q: np.cos(2 * np.pi * (ANGLES - q)),
        lambda q: 2 * np.pi * np.sin(2 * np.pi * (ANGLES - q))[..., None],
        mf.square(np.sin(ANGLES)),
        initial=mf.gaussian(0.3, 0.1),
        domain={"w": mf.circle(1.0)},
        d2phi=lambda q: -4 * np.pi**2 * np.cos(2 * np.pi * (ANGLES - q))[..., None, None],
    ),
    "spikes": mf.Problem(
        ("a", "theta"),
        lambda q: dirichlet(q - ANGLES),
        lambda q: dirichlet_slope(q - ANGLES)[..., None],
        mf.square(np.array([1.0, -2.0, 0.0, 0.5, 1.0])),
        mf.total_variation(1.0) + mf.path_norm(0.2),
        initial=mf.product(a=mf.point(0.1), theta=mf.uniform_box(0, 1)),
        lifted=True,
        domain={"theta": mf.circle(1.0)},
    ),
    "mf.spikes": mf.spikes(([0.1, 0.63], [1.0, -0.4]), mf.dirichlet(3), fidelity=0.2),
    "radius and height": mf.Problem(
        ("r", "h"),
        lambda q: np.tanh(q[:, :1] * ANGLES) * q[:, 1:],
        lambda q: np.stack(
            [
                ANGLES / np.cosh(q[:, :1] * ANGLES) ** 2 * q[:, 1:],
                np.tanh(q[:, :1] * ANGLES) * np.ones_like(q[:, 1:]),
            ],
            axis=-1,
        ),
        mf.huber(0.4)(np.cos(3 * ANGLES)),
        mf.ridge([0.2, 0.3]),
        initial=mf.uniform_box([0.5, -1.0], [1.5, 1.0]),
        domain={"r": mf.half_line(), "h": mf.interval(-1, 1)},
    ),
    "gaussian kernel": mf.kernel_problem(
        ("u", "v"),
        lambda p, q: np.exp(-((p[:, None] - q) ** 2).sum(-1) / 2),
        lambda p: np.cos(p[:, 0]) * p[:, 1],
        const=2.0,
        dK=lambda p, q: -(p[:, None] - q) * np.exp(-((p[:, None] - q) ** 2).sum(-1) / 2)[..., None],
        dF=lambda p: np.column_stack([-np.sin(p[:, 0]) * p[:, 1], np.cos(p[:, 0])]),
        penalty=mf.ridge([0.1, 0.2]),
        initial=mf.gaussian(0.0, 0.5),
    ),
    "kernel on the circle": mf.kernel_problem(
        ("w",),
        lambda p, q: np.cos(2 * np.pi * (p - q.T)) / 2,
        lambda p: np.sin(2 * np.pi * p[:, 0]),
        dK=lambda p, q: -np.pi * np.sin(2 * np.pi * (p - q.T))[..., None],
        dF=lambda p: 2 * np.pi * np.cos(2 * np.pi * p),
        initial=mf.uniform_box(0, 1),
        domain={"w": mf.circle(1.0)},
    ),
}
GRIDS = {
    "cosines on the circle": mf.Grid(w=mf.periodic(0, 1, 12)),
    "spikes": mf.Grid(a=mf.stretched(-1, 1, 9), theta=mf.periodic(0, 1, 8)),
    "mf.spikes": mf.Grid(a=mf.stretched(-1, 1, 9), theta=mf.periodic(0, 1, 8)),
    "radius and height": mf.Grid(r=mf.uniform(0, 3, 8), h=mf.uniform(-1, 1, 6)),
    "gaussian kernel": mf.Grid(u=mf.uniform(-3.2, 3.2, 9), v=mf.stretched(-3.2, 3.2, 8)),
    "kernel on the circle": mf.Grid(w=mf.periodic(0, 1, 9)),
}
everyone = pytest.mark.parametrize("name", CUSTOM)


@everyone
def test_custom_derivatives(name):
    problem = CUSTOM[name]
    points = np.random.default_rng(2).uniform(0.1, 0.9, (7, problem.dimension))
    if isinstance(problem, mf.KernelProblem):
        others = points[:4] + 0.3

        def kernel(p):
            return problem.K(p, others)

        gradient_is_derivative(kernel, lambda p: problem.dK(p, others), points, FINE)
        gradient_is_derivative(problem.F, problem.dF, points, FINE)
        assert_allclose(problem.K(points, others), problem.K(others, points).T, rtol=1e-14)
        return
    points = points[:, problem.lifted :]
    gradient_is_derivative(problem.phi, problem.dphi, points, FINE)
    if problem.d2phi is not None:
        gradient_is_derivative(problem.dphi, problem.d2phi, points, FINE)
    assert problem.phi(points).shape == (7, len(problem.y))


@everyone
def test_custom_potential_is_the_derivative_of_the_energy(name):
    holds_to_its_potential(CUSTOM[name], GRIDS[name])


def test_kernel_and_features_of_one_problem_agree():
    """K = Σ p ΦΦ, F = Σ p yΦ, const = Σ p y²/2: the same risk, potential and stiffness."""
    features = CUSTOM["cosines on the circle"]
    p, y, phi = features.weights, features.y, features.phi
    kernel = mf.kernel_problem(
        ("w",),
        lambda u, v: (phi(u) * p) @ phi(v).T,
        lambda u: phi(u) @ (p * y),
        const=float(p @ y**2 / 2),
        initial=mf.gaussian(0.3, 0.1),
        domain={"w": mf.circle(1.0)},
    )
    left, right = (
        mf.WassersteinFlow(q, GRIDS["cosines on the circle"]) for q in (features, kernel)
    )
    one, other = left.field(left.start), right.field(right.start)
    assert_allclose(one.potential, other.potential, rtol=1e-12, atol=1e-14)
    assert_allclose([one.risk, one.stiffness], [other.risk, other.stiffness], rtol=1e-11)


PENALTIES = (
    mf.ridge(0.7),
    mf.ridge([0.1, 0.0, 2.0]),
    mf.total_variation(0.4),
    mf.path_norm(0.9),
    mf.ridge(0.2) + mf.total_variation(1.0),
)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_penalty_gradients(penalty):
    points = np.random.default_rng(4).normal(size=(20, 3))
    points = points[np.abs(points).min(axis=1) > 0.05]
    assert len(points) > 5
    gradient_is_derivative(penalty.value, penalty.gradient, points)


@pytest.mark.parametrize("name", ["two-layer", *CUSTOM])
def test_what_is_promised_of_the_record(name):
    """Weights sum to 1; x, y, weights are arrays of one length; the law is bound to the coords."""
    problem = CUSTOM.get(name) or two_layer(mf.relu, mf.logistic, 2, True, True)
    assert problem.initial.coords == problem.coords
    assert set(problem.domain) == set(problem.coords)
    assert len(problem.x) == len(problem.y) == len(problem.weights)
    if not isinstance(problem, mf.KernelProblem):
        assert abs(problem.weights.sum() - 1) <= 1e-12


def test_a_two_layer_problem_survives_pickling():
    """It travels to other processes (problems/activations.py says so of its functions)."""
    problem = mf.two_layer(np.linspace(-1, 1, 4), np.ones(4), penalty=mf.ridge(0.1))
    twin = pickle.loads(pickle.dumps(problem))
    points = np.linspace(-2, 2, 5)[:, None]
    assert np.array_equal(twin.phi(points), problem.phi(points))
    assert np.array_equal(differences(twin.phi, points), differences(problem.phi, points))
