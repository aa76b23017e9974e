"""The particles' truth of a problem, against closed forms and against densities on grids."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from exact.cases import CASES
from exact.solutions import Array, CosineTorus, Normal, poisson_kernel
from orders.observed import observed_orders

import mfpde as mf
import particle_ref as pr

X = np.linspace(-2, 2, 16)


def case_t(initial: mf.Law | None = None, **options: object) -> mf.Problem:
    law = mf.gaussian(mean=[0.3, 0.6], std=0.35) if initial is None else initial
    return mf.two_layer(X, np.sin(1.5 * X), activation=mf.tanh, initial=law, **options)


def scattered(box: dict[str, tuple[float, float]], count: int = 500) -> Array:
    """Points of the box, uniformly at random."""
    low, high = np.array(list(box.values())).T
    return np.random.default_rng(5).uniform(low, high, (count, len(low)))


# ------------------------------------------------------------------------- against closed forms


@pytest.mark.parametrize("name", ["X1", "X1 case A", "X1 ridge", "X1 3-D", "X2"])
def test_density_and_prediction_of_exact_cases(name: str) -> None:
    case = CASES[name]
    truth = pr.Truth(case.problem, case.horizon)
    points = scattered(case.box)
    for t in (0.0, 0.4 * case.horizon, case.horizon):
        exact = case.density(t)(points)
        np.testing.assert_allclose(truth.density(points, t), exact, rtol=0, atol=1e-11)
        seen = exact > 1e-12 * exact.max()
        np.testing.assert_allclose(truth.density(points, t)[seen], exact[seen], rtol=1e-10)
        np.testing.assert_allclose(truth.prediction(t), case.prediction(t), rtol=0, atol=1e-11)


def test_the_cosine_torus() -> None:
    """X4 from the uniform law, which fills its circle, and towards a Poisson kernel."""
    solution = CosineTorus(target=0.7 * np.exp(0.9j), start=0.0)
    x = 2 * np.pi * np.arange(5) / 5
    length = 2 * np.pi
    problem = mf.Problem(
        ("w",),
        phi=lambda w: np.cos(x - w),
        dphi=lambda w: np.sin(x - w)[:, :, None],
        d2phi=lambda w: -np.cos(x - w)[:, :, None, None],
        loss=mf.square(np.real(np.exp(1j * x) * np.conj(solution.target))),
        initial=mf.uniform_box(0.0, length),
        domain={"w": mf.circle(length)},
    )
    truth = pr.Truth(problem, 4.0)
    assert truth.rule == "tensor"
    w = length * np.arange(33)[:, None] / 32  # both ends of the period
    for t, z in zip((1.5, 4.0), solution.centroids([1.5, 4.0]), strict=True):
        np.testing.assert_allclose(truth.density(w, t), poisson_kernel(z)(w), rtol=1e-10)
    np.testing.assert_allclose(truth.density(w, 0.0), 1 / length, rtol=1e-13)


def test_characteristics_in_closed_form() -> None:
    case = CASES["X1 ridge"]
    cloud = pr.sample(case.problem, 100, kind="quadrature")
    run = pr.run(case.problem, cloud, pr.Characteristics(1e-12), [0.0, case.horizon])
    exact = case.density(case.horizon)(run.position.values[1])
    np.testing.assert_allclose(np.exp(run.log_density[1]), exact, rtol=1e-10)


# ------------------------------------------------------------------------- against itself


def moved(problem: mf.Problem, cloud: pr.Cloud, t: float) -> Array:
    return pr.run(problem, cloud, pr.GradientFlow(1e-13, 1e-14), [t]).prediction.values[0]


def test_gauss_hermite_on_the_tanh_problem() -> None:
    """f of case T by 24 x 24 nodes, by 40 x 40, and by the truth's own rule."""
    problem = case_t()
    few, many = (moved(problem, pr.sample(problem, k**2, kind="quadrature"), 1.0) for k in (24, 40))
    assert np.abs(few - many).max() < 1e-10
    truth = pr.Truth(problem, 1.0)
    assert np.abs(truth.prediction(1.0) - many).max() < 1e-12


def test_the_wide_law_of_case_b() -> None:
    """By the truth's rule, and by a trapezoid rule on ±7.2 deviations and another integrator;
    48 x 48 Gauss-Hermite nodes are off by 1e-5."""
    x, std = np.linspace(-2, 2, 64), np.sqrt(0.5)
    problem = mf.two_layer(x, np.sin(2 * x), initial=mf.gaussian(mean=0.0, std=std))
    truth = pr.Truth(problem, 2.0, tolerance=1e-10)
    assert truth.rule == "tensor"
    ticks = 7.2 * std * np.linspace(-1, 1, 96)
    points = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = Normal.isotropic([0.0, 0.0], std).density(points)
    cloud = pr.Cloud(points, weight / weight.sum())
    flow = pr.run(problem, cloud, pr.GradientFlow(1e-12, 1e-13), [1.0, 2.0])
    for t, f in zip((1.0, 2.0), flow.prediction.values, strict=True):
        assert np.abs(truth.prediction(t) - f).max() < 1e-10
    assert problem.loss.risk(truth.prediction(0.0)) == pytest.approx(0.22030, abs=5e-6)
    assert problem.loss.risk(truth.prediction(2.0)) == pytest.approx(0.18328, abs=5e-6)
    gauss = moved(problem, pr.sample(problem, 48**2, kind="quadrature"), 2.0)
    assert 1e-6 < np.abs(gauss - truth.prediction(2.0)).max() < 1e-4


LAWS = {
    "box": (mf.uniform_box(-1.0, 0.5), "gauss"),
    "shell": (mf.shell(1.0, 0.1), None),
    "correlated": (mf.gaussian(0.2, cov=[[0.2, 0.1], [0.1, 0.3]]), None),
    "mixture": (mf.mixture([0.6, 0.4], [mf.gaussian(0.5, 0.2), mf.uniform_box(-1, 0)]), "gauss"),
    "narrow and wide": (
        mf.mixture([0.5, 0.5], [mf.gaussian(0.9, 0.02), mf.gaussian(0, 0.5)]),
        "gauss",
    ),
    "product": (mf.product(a=mf.uniform_box(-1, 1), w=mf.gaussian(0.5, 0.4)), None),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_of_every_kind(name: str) -> None:
    """The prediction against that of 2¹⁵ Sobol' points, scrambled with a fixed seed."""
    law, rule = LAWS[name]
    problem = case_t(initial=law)
    truth = pr.Truth(problem, 0.5, tolerance=1e-6)
    assert truth.reached <= 1e-6
    assert rule in (truth.rule, None)
    many = pr.sample(problem, 2**15, kind="sobol", seed=1)
    flow = pr.run(problem, many, pr.GradientFlow(1e-6), [0.5])
    assert np.abs(flow.prediction[0] - truth.prediction(0.5)).max() < 5e-5


def test_a_law_of_points_has_a_prediction_and_no_density() -> None:
    law = mf.product(a=mf.point(0.5), w=mf.gaussian(0.5, 0.5))
    truth = pr.Truth(case_t(initial=law), 1.0, tolerance=1e-8)
    reference = moved(truth.problem, pr.sample(truth.problem, 200, kind="quadrature"), 1.0)
    assert np.abs(truth.prediction(1.0) - reference).max() < 1e-8
    with pytest.raises(ValueError, match="no density"):
        truth.density(np.zeros((1, 2)), 1.0)


def test_two_inputs() -> None:
    """Three coordinates: ∫ρ = 1 and ∫Φρ = f on a lattice."""
    x = np.random.default_rng(0).normal(size=(6, 2))
    problem = mf.two_layer(x, np.sin(x[:, 0]), initial=mf.gaussian([0.2, 0.1, -0.1], 0.3))
    truth = pr.Truth(problem, 1.0, tolerance=1e-6)
    ticks = 2.2 * (2 * np.arange(40) - 39) / 40
    points = np.stack(np.meshgrid(*[ticks] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    rho = truth.density(points, 1.0) * 0.11**3
    assert rho.sum() == pytest.approx(1, abs=1e-6)
    f = (rho * points[:, 0]) @ problem.phi(points[:, 1:])
    np.testing.assert_allclose(f, truth.prediction(1.0), rtol=0, atol=1e-5)


# ------------------------------------------------------------------------- against densities


@cache
def truth_of_t() -> pr.Truth:
    return pr.Truth(case_t(), 1.0, tolerance=1e-10)


def test_true_errors_are_those_against_the_closed_form() -> None:
    case = CASES["X1"]
    truth = pr.Truth(case.problem, case.horizon)
    known = SimpleNamespace(
        density=lambda points, t: case.density(t)(points), prediction=case.prediction
    )
    run = case.run(mf.muscl(), 64)
    left, right = mf.true_error(run, truth), mf.true_error(run, known)
    for name in ("l1", "linf", "prediction"):
        np.testing.assert_allclose(left[name], right[name], rtol=1e-9, atol=1e-12)


def test_muscl_is_of_order_two_on_the_tanh_problem() -> None:
    cells = (48, 96)
    errors = []
    for n in cells:
        grid = mf.Grid(a=mf.uniform(-2.5, 2.5, n), w=mf.uniform(-2.5, 3.5, n))
        run = mf.solve(case_t(), grid, mf.muscl(), [1.0], escaped_tolerance=1e-5)
        errors.append(mf.true_error(run, truth_of_t(), nodes=2))
    for name in ("l1", "prediction"):
        order = observed_orders([float(e[name][0]) for e in errors], cells)
        np.testing.assert_allclose(order, 2.0, rtol=0, atol=0.3)
    assert errors[-1].l1[0] < 5e-3


def test_richardson_of_split_steps_needs_half_the_steps_and_has_their_order() -> None:
    x = np.linspace(-2, 2, 16)
    problem = mf.two_layer(x, np.sin(2 * x), initial=mf.gaussian(0, 0.6))

    def run(cells: int, dt: float) -> xr.Dataset:
        axis = mf.uniform(-4, 4, cells)
        return mf.solve(problem, mf.Grid(a=axis, w=axis), mf.semi_lagrangian(dt=dt), [1.0])

    fine = run(128, 0.125)
    estimate = float(mf.estimated_error(fine, run(64, 0.25)).l1[0])
    true = float(mf.true_error(fine, pr.Truth(problem, 1.0, tolerance=1e-9)).l1[0])
    assert 0.5 < estimate / true < 2
    with pytest.raises(mf.InvalidInput, match="steps"):
        mf.estimated_error(fine, run(64, 0.125))
