"""The truth of a problem: density and prediction that hold together, and what has none."""

from types import SimpleNamespace

import numpy as np
import pytest

import particle_ref as pr
from particle_ref import activations, potential, truth

HORIZON = 1.0


def problem_with(toy, activation="tanh", **others):
    x = np.linspace(-2, 2, 9)
    law = others.pop("initial", toy.normal([0.3, 0.6], [0.35, 0.35]))
    return toy.two_layer(x, np.sin(1.5 * x), activation, initial=law, **others)


def lattice(half, cells, D=2):
    """Midpoints of a box and the volume of a cell: a spectral rule for what vanishes at its rim."""
    ticks = half * (2 * np.arange(cells) + 1 - cells) / cells
    axes = np.meshgrid(*[ticks] * D, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, D), (2 * half / cells) ** D


def mass_defect(found, half=4.5, cells=90):
    points, volume = lattice(half, cells)
    rho = found.density(points, HORIZON)
    assert (rho >= 0).all()
    return abs(rho.sum() * volume - 1)


@pytest.fixture(scope="module")
def tanh_truth(toy):
    return pr.Truth(problem_with(toy), HORIZON)


# ------------------------------------------------------------------------------ what holds together


def test_the_density_has_mass_one_and_predicts(tanh_truth):
    """∫ρ = 1 and ∫Φρ = f: the density, by paths back, agrees with the particles, by paths forth."""
    points, volume = lattice(4.5, 90)
    for t in (0.0, 0.37, HORIZON):
        rho = tanh_truth.density(points, t) * volume
        assert rho.sum() == pytest.approx(1, abs=1e-12)
        f = (rho * points[:, 0]) @ tanh_truth.problem.phi(points[:, 1:])
        np.testing.assert_allclose(f, tanh_truth.prediction(t), rtol=0, atol=1e-11)
    assert tanh_truth.reached <= tanh_truth.tolerance == 1e-12


def test_half_the_curvature_is_noticed(toy, monkeypatch):
    """Paths are then right and the density is not: its mass tells."""

    def halved(s):
        value, slope, curvature = activations._tanh_derivatives(s)
        return value, slope, curvature / 2

    monkeypatch.setitem(potential.DERIVATIVES_OF_VALUE, np.tanh, halved)
    assert mass_defect(pr.Truth(problem_with(toy), HORIZON, 1e-8)) > 1e-3


@pytest.mark.parametrize(
    ("activation", "options"),
    [
        ("erf", {"fast": False}),
        ("sigmoid", {"penalty": True}),
        ("softplus", {}),
        ("cos", {}),
    ],
)
def test_other_networks_have_mass_one(toy, activation, options):
    if "penalty" in options:
        options = {"penalty": toy.ridge(0.3)}
    assert mass_defect(pr.Truth(problem_with(toy, activation, **options), HORIZON, 1e-10)) < 1e-9


def test_characteristics_see_the_same_density(tanh_truth):
    """Forward along the particles' own paths, backward from where they are."""
    cloud = tanh_truth.cloud
    run = pr.run(tanh_truth.problem, cloud, pr.Characteristics(1e-12), [0.0, 0.5, HORIZON])
    for k, t in enumerate(run.time.values):
        back = tanh_truth.log_density(run.position.values[k], float(t))
        np.testing.assert_allclose(back, run.log_density[k], rtol=0, atol=1e-11)
        np.testing.assert_allclose(
            tanh_truth.prediction(float(t)), run.prediction[k], rtol=0, atol=1e-12
        )


def test_slope_is_that_of_the_risk(tanh_truth):
    f = tanh_truth.prediction(0.8)
    np.testing.assert_array_equal(tanh_truth.slope(0.8), tanh_truth.problem.loss.slope(f))


def test_at_the_start_it_is_the_law(tanh_truth):
    points = np.random.default_rng(0).normal(0.4, 1.0, (50, 2))
    expected = tanh_truth.problem.initial.log_density(points)
    np.testing.assert_allclose(tanh_truth.log_density(points, 0.0), expected, rtol=1e-15)


def test_blocks_do_not_matter(tanh_truth, monkeypatch):
    points, _ = lattice(3.0, 12)
    whole = tanh_truth.log_density(points, HORIZON)
    monkeypatch.setattr(truth, "BLOCK_FEATURES", 9 * 50)
    np.testing.assert_allclose(tanh_truth.log_density(points, HORIZON), whole, atol=1e-11)
    assert tanh_truth.density(np.empty((0, 2)), 0.5).shape == (0,)


def test_rules_agree_on_a_wide_law(toy, monkeypatch):
    """A wide law takes the tensor rule; the Gauss rule, forced, nears the same prediction."""
    wide = problem_with(toy, initial=toy.normal([0.0, 0.0], [0.7, 0.7]))
    chosen = pr.Truth(wide, HORIZON, 1e-9)
    assert chosen.rule == "tensor"
    found = truth.rules
    monkeypatch.setattr(truth, "rules", lambda *given: {"gauss": found(*given)["gauss"]})
    forced = pr.Truth(wide, HORIZON, 1e-5)
    assert forced.rule == "gauss"
    gaps = [np.abs(forced.prediction(t) - chosen.prediction(t)).max() for t in (0.3, 0.7, 1.0)]
    assert max(gaps) < 1e-5


def test_paths_from_infinity_bring_no_mass(toy):
    """With Φ = a(wx)² distant paths come from infinity within the horizon."""
    found = pr.Truth(problem_with(toy, "quadratic"), HORIZON, 1e-9)
    far = np.array([[-20.0, 20.0], [20.0, 20.0], [20.0, -20.0]])
    np.testing.assert_array_equal(found.density(far, HORIZON), 0.0)
    assert mass_defect(found, half=6.0, cells=240) < 1e-8


def test_circles(toy):
    """Any representative of a point will do, and the period holds all of the mass."""
    x = 2 * np.pi * np.arange(5) / 5
    y = 0.7 * np.cos(x - 0.9)
    ring = toy.FeatureProblem(
        coords=("w",),
        phi=lambda w: np.cos(x - w),
        dphi=lambda w: np.sin(x - w)[:, :, None],
        d2phi=lambda w: -np.cos(x - w)[:, :, None, None],
        loss=toy.Loss(y, np.full(5, 0.2), "square"),
        initial=toy.normal([1.0], [1.3]),
        domain={"w": toy.geometry("circle", 0.0, 2 * np.pi)},
        x=x,
        y=y,
    )
    found = pr.Truth(ring, 4.0)
    w = 2 * np.pi * np.arange(80)[:, None] / 80
    rho = found.density(w, 4.0)
    assert rho.mean() * 2 * np.pi == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found.density(w - 6 * np.pi, 4.0), rho, rtol=1e-11)


# ------------------------------------------------------------------------------ what is refused


def test_problems_without_truth_are_refused(toy):
    for problem, reason in [
        (problem_with(toy, entropy=0.1), "entropy"),
        (problem_with(toy, "relu"), "curvature"),
        (toy.as_kernel(problem_with(toy)), "kernel"),
        (problem_with(toy, penalty=toy.total_variation(0.1)), "quadratic"),
        (problem_with(toy, domain={"a": toy.geometry("half_line", 0.0)}), "walls"),
        (problem_with(toy, initial=SimpleNamespace()), "log_density"),
    ]:
        with pytest.raises(pr.InvalidInput, match=reason):
            pr.Truth(problem, HORIZON)


@pytest.mark.parametrize("horizon", [0.0, -1.0, np.inf, np.nan, "1"])
def test_horizons_that_are_none_are_refused(toy, horizon):
    with pytest.raises(pr.InvalidInput, match="horizon"):
        pr.Truth(problem_with(toy), horizon)


@pytest.mark.parametrize("tolerance", [0.0, 1e-14, 1.0, np.nan, None])
def test_tolerances_that_are_none_are_refused(toy, tolerance):
    with pytest.raises(pr.InvalidInput, match="tolerance"):
        pr.Truth(problem_with(toy), HORIZON, tolerance)


def test_a_tolerance_out_of_reach_says_what_was_reached(toy, monkeypatch):
    monkeypatch.setattr(truth, "MOST_FEATURES", 9 * 900)
    with pytest.raises(pr.NumericalStop, match=r"out of reach.*within \d\.\de-\d+"):
        pr.Truth(problem_with(toy), 6.0, 1e-9)
    monkeypatch.setattr(truth, "MOST_FEATURES", 9 * 50)
    with pytest.raises(pr.NumericalStop, match="not even"):
        pr.Truth(problem_with(toy), HORIZON, 1e-9)


def test_points_and_times_it_does_not_know_are_refused(tanh_truth):
    for t in (-0.1, 1.0001, np.nan, [0.5]):
        with pytest.raises(pr.InvalidInput, match="horizon"):
            tanh_truth.prediction(t)
        with pytest.raises(pr.InvalidInput, match="horizon"):
            tanh_truth.density(np.zeros((1, 2)), t)
    for points in (np.zeros(2), np.zeros((3, 3)), np.full((1, 2), np.nan)):
        with pytest.raises(pr.InvalidInput, match="a, w"):
            tanh_truth.density(points, 0.5)
    with pytest.raises(pr.InvalidInput, match="numbers"):
        tanh_truth.density([["a", "w"]], 0.5)


def test_it_says_what_it_is(tanh_truth):
    assert f"{len(tanh_truth.cloud)} {tanh_truth.rule} nodes" in repr(tanh_truth)
