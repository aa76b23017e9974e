"""The density that particles see on their way: Jacobians, identities, refusals."""

from types import SimpleNamespace

import numpy as np
import pytest

import particle_ref as pr
from particle_ref import activations, potential

TIMES = [0.0, 0.4, 1.0]
STEP = 4e-3  # of the differences, order 6: truncation and rounding/STEP both below 1e-11


def smooth(toy, activation="tanh", D=2, **others):
    x = np.linspace(-1.5, 2, 7)
    law = toy.normal(np.linspace(0.3, 0.6, D), 0.5)
    return toy.two_layer(x, np.where(x > 0.2, 1.0, -1.0), activation, initial=law, **others)


def with_stencils(cloud, places):
    """The cloud, then massless particles at (places, ±m·STEP along each axis), m = 1, 2, 3."""
    D = places.shape[1]
    shifts = [m * STEP * e for e in np.eye(D) for m in (1, -1, 2, -2, 3, -3)]
    stencils = (places[:, None] + np.array(shifts)).reshape(-1, D)
    weightless = np.zeros(len(stencils))
    return pr.Cloud(np.vstack([cloud.position, stencils]), np.append(cloud.weight, weightless))


def log_determinants(moved, places, D):
    """log |det ∂u_t/∂u_0| at the places, from where their stencils (last rows) went."""
    u = moved[-places * 6 * D :].reshape(places, D, 6, D)
    near, mid, far = (u[:, :, k] - u[:, :, k + 1] for k in (0, 2, 4))
    return np.linalg.slogdet((45 * near - 9 * mid + far) / (60 * STEP))[1]


def jacobian_defect(problem):
    """The density along paths against the Jacobian of the flow map, by differences."""
    cloud = pr.sample(problem, 300, seed=2)
    places = cloud.position[:5]
    stencils = with_stencils(cloud, places)
    moved = pr.run(problem, stencils, pr.GradientFlow(rtol=1e-13, atol=1e-14), TIMES)
    carried = pr.run(problem, cloud, pr.Characteristics(rtol=1e-12), TIMES).log_density.values
    jacobians = np.array([log_determinants(u, 5, places.shape[1]) for u in moved.position.values])
    assert np.abs(jacobians[-1]).max() > 0.02  # volumes did change
    return np.abs(carried[:, :5] - carried[0, :5] + jacobians).max()


@pytest.mark.parametrize(
    ("activation", "D", "options"),
    [
        ("tanh", 2, {}),
        ("sigmoid", 3, {"bias": True, "loss": "logistic"}),
        ("erf", 2, {"fast": False}),
        ("cos", 1, {"output_weight": False}),
        ("quadratic", 2, {}),
    ],
)
def test_densities_change_by_the_jacobian_of_the_flow(toy, activation, D, options):
    assert jacobian_defect(smooth(toy, activation, D, **options)) < 1e-9


def test_half_the_curvature_is_noticed(toy, monkeypatch):
    def halved(s):
        value, slope, curvature = activations._tanh_derivatives(s)
        return value, slope, curvature / 2

    monkeypatch.setitem(potential.DERIVATIVES_OF_VALUE, np.tanh, halved)
    assert jacobian_defect(smooth(toy)) > 1e-3


def test_particles_move_as_in_the_gradient_flow(toy):
    problem = smooth(toy, penalty=toy.ridge(0.2))
    cloud = pr.sample(problem, 49, kind="quadrature")
    left = pr.run(problem, cloud, pr.GradientFlow(rtol=1e-12), TIMES)
    right = pr.run(problem, cloud, pr.Characteristics(rtol=1e-12), TIMES)
    for name in ("position", "prediction", "risk", "energy", "dissipation"):
        np.testing.assert_allclose(right[name], left[name], rtol=1e-10, atol=1e-11)
    assert right.log_density.dims == ("time", "particle")
    assert "log_density" not in left
    assert right.attrs["method"] == "Characteristics(rtol=1e-12)"


def test_a_linear_network_keeps_densities_but_for_its_ridge(toy):
    """I2: the flow of a linear network has no divergence; a ridge μ adds Dμ to log ρ per time."""
    for mu in (0.0, 0.3):
        problem = smooth(toy, "identity", penalty=toy.ridge(mu))
        run = pr.run(problem, pr.sample(problem, 20), pr.Characteristics(), TIMES)
        expected = run.log_density.values[0] + 2 * mu * np.array(TIMES)[:, None]
        np.testing.assert_allclose(run.log_density, expected, rtol=0, atol=1e-12)


def test_at_the_start_it_is_the_density_of_the_law(toy):
    problem = smooth(toy)
    cloud = pr.Cloud(np.array([[0.1, 2.0], [-3.0, 0.4]]))
    run = pr.run(problem, cloud, pr.Characteristics(), [0.0])
    np.testing.assert_array_equal(run.log_density[0], problem.initial.log_density(cloud.position))


def test_on_a_circle_the_law_is_wrapped(toy):
    x = np.linspace(0, 2 * np.pi, 6)[:-1]
    around = {"w": toy.geometry("circle", 0.0, 2 * np.pi)}
    problem = toy.FeatureProblem(
        coords=("w",),
        phi=lambda w: np.cos(x - w),
        dphi=lambda w: np.sin(x - w)[:, :, None],
        d2phi=lambda w: -np.cos(x - w)[:, :, None, None],
        loss=toy.Loss(np.cos(x - 0.4), np.full(5, 0.2), "square"),
        initial=toy.normal([0.1], [0.5]),
        domain=around,
        x=x,
        y=np.cos(x - 0.4),
    )
    here, there = np.array([[6.2], [0.3]]), np.array([[6.2 - 2 * np.pi], [0.3 + 4 * np.pi]])
    runs = [pr.run(problem, pr.Cloud(w), pr.Characteristics(), TIMES) for w in (here, there)]
    np.testing.assert_allclose(runs[0].log_density, runs[1].log_density, rtol=0, atol=1e-10)
    np.testing.assert_allclose(runs[0].position, runs[1].position, rtol=0, atol=1e-10)
    assert (runs[0].position.values < 2 * np.pi).all()
    z = (np.array([6.2, 6.2 - 2 * np.pi]) - 0.1) / 0.5
    summed = np.log(np.exp(-(z**2) / 2).sum() / np.sqrt(2 * np.pi) / 0.5)
    assert runs[0].log_density.values[0, 0] == pytest.approx(summed, rel=1e-12)


def test_what_has_no_density_along_paths_is_refused(toy):
    cloud = pr.Cloud(np.full((3, 2), 0.1))
    boxed = smooth(toy, domain={"w": toy.geometry("interval", -9.0, 9.0)})
    for problem, reason in [
        (smooth(toy, "relu"), "curvature"),
        (smooth(toy, penalty=toy.total_variation(0.1)), "quadratic"),
        (toy.as_kernel(smooth(toy)), "kernel"),
        (boxed, "walls"),
        (toy.two_layer([1.0], [1.0], initial=SimpleNamespace()), "log_density"),
    ]:
        with pytest.raises(pr.InvalidInput, match=reason):
            pr.run(problem, cloud, pr.Characteristics(), TIMES)
    for rtol in (0.0, 1e-14, 1.0, np.nan, None):
        with pytest.raises(pr.InvalidInput, match="rtol"):
            pr.Characteristics(rtol)


def test_a_flow_that_is_not_finite_stops(toy):
    broken = toy.FeatureProblem(
        coords=("w",),
        phi=lambda w: w,
        dphi=lambda w: np.full((len(w), 1, 1), np.nan),
        d2phi=lambda w: np.zeros((len(w), 1, 1, 1)),
        loss=toy.Loss(np.ones(1), np.ones(1), "square"),
        initial=toy.normal([0.0], [1.0]),
        x=np.ones(1),
        y=np.ones(1),
    )
    with pytest.raises(pr.NumericalStop, match="not finite at t = 0"):
        pr.run(broken, pr.Cloud([[0.5]]), pr.Characteristics(), TIMES)
