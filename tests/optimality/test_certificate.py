"""Certificates: never below the true gap, tight at optima, and honest where there is none."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import xlogy

import mfpde as mf
import particle_ref as pr
from mfpde.optimality.sliding import lasso, optimum_on_sphere

RNG = np.random.default_rng(0)
N = 20
X = np.sort(RNG.uniform(-1.5, 1.5, N))
Y = np.sin(3 * X) + 0.1 * RNG.normal(size=N)
SIGNS = np.where(Y > 0, 1.0, -1.0)
QUARTIC = mf.Loss(
    lambda f, y: (f - y) ** 4 / 4,
    lambda f, y: (f - y) ** 3,
    lambda f, y: 3 * (f - y) ** 2,
    name="quartic",
)
HOMOGENEOUS = {
    "ridge": {"penalty": mf.ridge(0.02)},
    "path norm": {"penalty": mf.path_norm(0.02)},
    "logistic": {"penalty": mf.ridge(0.02), "loss": mf.logistic},
    "huber": {"penalty": mf.ridge((0.02, 0.03, 0.01)), "loss": mf.huber(0.2)},
}


def relu_network(**given):
    y = SIGNS if given.get("loss") is mf.logistic else Y
    return mf.two_layer(X, y, activation=mf.relu, bias=True, **given)


def flow_of(problem, clouds):
    """A particle flow that goes through clouds (points, weights) of equal size."""
    points, weights = (np.stack(parts) for parts in zip(*clouds, strict=True))
    psi = np.array([problem.phi(each[:, int(problem.lifted) :]) for each in points])
    charge = weights * points[:, :, 0] if problem.lifted else weights
    f = np.einsum("tk,tki->ti", charge, psi)
    risk = np.array([problem.loss.risk(each) for each in f])
    reg = [w @ problem.penalty.value(each) for each, w in zip(points, weights, strict=True)]
    return xr.Dataset(
        {
            "position": (("time", "particle", "coord"), points),
            "weight": (("time", "particle"), weights),
            "prediction": (("time", "sample"), f),
            "risk": ("time", risk),
            "energy": ("time", risk + np.array(reg)),
        },
        {"time": np.arange(float(len(f))), "coord": list(problem.coords)},
        {"entropy": problem.entropy},
    )


def random_clouds(problem, count, size=6, seed=1):
    rng = np.random.default_rng(seed)
    D = len(problem.coords)
    return [
        (3.0 ** -(k % 5) * rng.normal(size=(size, D)), rng.dirichlet(np.ones(size)))
        for k in range(count)
    ]


@pytest.mark.parametrize("given", HOMOGENEOUS.values(), ids=HOMOGENEOUS)
def test_gaps_of_random_clouds_on_the_sphere(given):
    """Clouds around nothing and around the optimum: the gap is at least F − inf F."""
    problem, count = relu_network(**given), 50 if "loss" in given else 250
    optimum = optimum_on_sphere(problem)
    near = [
        (optimum.points * (1 + 10.0 ** -(k % 6) * np.sin(k)), optimum.weights) for k in range(count)
    ]
    for clouds in (random_clouds(problem, count), near):
        found = mf.certificate(problem, flow_of(problem, clouds))
        assert (found.gap >= found.value - optimum.lower_bound - 2 * optimum.gap - 1e-14).all()
        assert (found.gap == found.value - found.lower_bound).all()
        assert np.isfinite(found.gap).all()
    assert found.attrs["over"] == "the sphere"
    assert found.gap.min() < 1e-4 < found.gap.max()


@pytest.mark.parametrize("given", HOMOGENEOUS.values(), ids=HOMOGENEOUS)
def test_the_optimum_is_recognised(given):
    problem = relu_network(**given)
    optimum = optimum_on_sphere(problem, 1e-11)
    flow = flow_of(problem, [(optimum.points, optimum.weights)])
    for over in (None, "sphere"):
        found = mf.certificate(problem, flow, over=over).isel(time=0)
        assert float(found.value) == pytest.approx(optimum.value, rel=1e-13)
        assert -1e-12 <= float(found.gap) <= 1e-9
        assert abs(float(found.infimum)) <= 1e-6
        assert "is within" in found.attrs["summary"]


def test_a_run_that_looks_converged_and_is_not():
    """Chatter at the kink: the energy is 3e-4 from its least, and no shorter step falls as far."""
    problem = relu_network(penalty=mf.ridge(0.02))
    optimum, cloud = optimum_on_sphere(problem), pr.sample(problem, 100, seed=0)
    gaps = {}
    for dt in (0.5, 0.1):
        flow = pr.run(problem, cloud, pr.Descent(dt), times=[0.0, 400.0])
        last = mf.certificate(problem, flow).isel(time=-1)
        assert 0 < float(last.value) - optimum.value < 1e-3
        gaps[dt] = float(last.gap)
    assert gaps[0.5] > 0.02
    assert gaps[0.1] < gaps[0.5] / 10


BOX = {"w": (-3.0, 3.0), "b": (-2.0, 2.0)}
BOXED = {
    "tanh": {"activation": mf.tanh},
    "logistic": {"activation": mf.tanh, "loss": mf.logistic},
    "huber": {"activation": mf.sigmoid, "loss": mf.huber(0.2)},
}


def atoms_on_a_grid(problem, cells=24):
    """Candidates of a fine grid of the box with a unit of output weight of either sign."""
    axes = [np.linspace(*BOX[c], cells + 1) for c in ("w", "b")]
    v = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return v, problem.phi(v)


@pytest.mark.parametrize("given", BOXED.values(), ids=BOXED)
def test_total_variation_with_any_output_weight(given):
    """Lower bounds of random clouds are below energies of others, and meet at an optimum."""
    s, y = 0.03, SIGNS if given.get("loss") is mf.logistic else Y
    problem = mf.two_layer(X, y, bias=True, penalty=mf.total_variation(s), **given)
    v, psi = atoms_on_a_grid(problem)
    m = lasso(problem.loss, np.concatenate([psi, -psi]), s, np.zeros(2 * len(v)))
    m = m[: len(v)] - m[len(v) :]
    kept, total = m != 0, np.abs(m).sum()
    points = np.column_stack([np.sign(m[kept]) * total, v[kept]])
    best = mf.certificate(problem, flow_of(problem, [(points, np.abs(m[kept]) / total)]), over=BOX)
    assert best.attrs["over"] == "any a, w in [-3, 3], b in [-2, 2]"
    assert -1e-12 <= float(best.gap[0]) <= 2e-3
    clouds = [(np.clip(p, -2, 2), w) for p, w in random_clouds(problem, 8)]
    found = mf.certificate(problem, flow_of(problem, clouds), over=BOX)
    assert (found.lower_bound <= best.value[0]).all()
    assert float(best.lower_bound[0]) <= float(found.value.min())


@pytest.mark.parametrize("given", BOXED.values(), ids=BOXED)
@pytest.mark.parametrize("penalty", [mf.no_penalty, mf.ridge(0.05)], ids=str)
def test_weak_duality_on_a_box(given, penalty):
    """No lower bound on a box is above any energy of a measure on it."""
    y = SIGNS if given.get("loss") is mf.logistic else Y
    problem = mf.two_layer(X, y, bias=True, penalty=penalty, **given)
    box = {"a": (-2.0, 2.0), **BOX}
    clouds = [(np.clip(p, -2, 2), w) for p, w in random_clouds(problem, 8)]
    found = mf.certificate(problem, flow_of(problem, clouds), over=box)
    assert float(found.lower_bound.max()) <= float(found.value.min())
    assert np.isfinite(found.gap).all()


def test_the_gap_on_a_box_is_that_of_the_potential():
    """∫V dρ − inf V, with inf V from a fine grid of the box."""
    problem = mf.two_layer(
        X, Y, activation=mf.tanh, penalty=mf.ridge(0.1), initial=mf.gaussian(0.3, 0.5)
    )
    grid = mf.Grid(a=mf.uniform(-4, 4, 16), w=mf.uniform(-4, 4, 16))
    run = mf.solve(problem, grid, times=[0.0, 0.5])
    found = mf.certificate(problem, run)
    assert found.attrs["over"] == "a in [-4, 4], w in [-4, 4]"
    fine = mf.Grid(a=mf.uniform(-4, 4, 400), w=mf.uniform(-4, 4, 400)).points()
    for k in range(2):
        moment = run.isel(time=k)
        points, weights = mf.as_measure(moment)
        least = mf.potential(problem, moment, fine).min()
        assert float(found.infimum[k]) == pytest.approx(least, abs=1e-3)
        assert float(found.infimum[k]) <= least
        mean = weights @ mf.potential(problem, moment, points)
        assert float(found.gap[k]) == pytest.approx(mean - float(found.infimum[k]), abs=1e-12)
    again = mf.certificate(problem, run, over=grid)
    xr.testing.assert_equal(found, again)


def entropic(**given):
    problem = mf.two_layer(
        X,
        Y,
        activation=mf.tanh,
        penalty=mf.ridge(0.3),
        entropy=0.05,
        **given,
        initial=mf.gaussian(0.3, 0.5),
    )
    return problem, mf.Grid(a=mf.uniform(-4, 4, 24), w=mf.uniform(-4, 4, 24))


@pytest.mark.parametrize("loss", [mf.square, mf.huber(0.2), QUARTIC], ids=str)
def test_with_entropy_the_gap_is_the_divergence_from_the_gibbs_state(loss):
    """λ KL(ρ|Gibbs_ρ), an upper bound of F − inf F that ends at 0."""
    problem, grid = entropic(loss=loss)
    run = mf.solve(problem, grid, times=[0.0, 0.5, 2.0, 100.0])
    found = mf.certificate(problem, run)
    volume = float(grid.volumes[0, 0])
    for k in range(4):
        V = mf.potential(problem, run.isel(time=k)).values
        gibbs = np.exp(-(V - V.min()) / 0.05)
        gibbs, masses = gibbs / gibbs.sum(), run.rho[k].values * volume
        divergence = (xlogy(masses, masses) - xlogy(masses, gibbs)).sum()
        assert float(found.gap[k]) == pytest.approx(0.05 * divergence, abs=1e-12)
    assert float(found.gap[-1]) <= 1e-9
    assert (found.gap >= found.value - found.value[-1] - 1e-12).all()
    assert found.attrs["reason"] == ""


def test_a_kernel_problem_is_certified_as_its_network_is():
    """K and F of a square loss: the same infimum, lower bound and gap with and without samples."""
    problem, _ = entropic()
    p = problem.weights

    def features(points):
        return points[:, :1] * problem.phi(points[:, 1:])

    same = mf.kernel_problem(
        problem.coords,
        K=lambda u, v: (features(u) * p) @ features(v).T,
        F=lambda u: features(u) @ (p * Y),
        const=float(p @ Y**2) / 2,
        penalty=problem.penalty, entropy=0.05, initial=mf.gaussian(0.3, 0.5),
    )  # fmt: skip
    small = mf.Grid(a=mf.uniform(-4, 4, 12), w=mf.uniform(-4, 4, 12))
    found, other = (
        mf.certificate(each, mf.solve(each, small, times=[0.0, 0.3])) for each in (problem, same)
    )
    for name in ("infimum", "lower_bound", "gap"):
        np.testing.assert_allclose(found[name], other[name], rtol=1e-6)
    flow = flow_of(problem, random_clouds(problem, 3))
    at_flow = mf.certificate(problem, flow, over=small)
    bare = flow.isel(sample=slice(0))
    np.testing.assert_allclose(
        mf.certificate(same, bare, over=small).lower_bound, at_flow.lower_bound, rtol=1e-12
    )


@pytest.mark.parametrize("keep", ["marginals", "last"])
def test_runs_that_kept_no_densities(keep):
    problem, grid = entropic()
    run = mf.solve(problem, grid, times=[0.0, 0.5])
    less = mf.solve(problem, grid, times=[0.0, 0.5], keep=keep)
    xr.testing.assert_equal(mf.certificate(problem, run), mf.certificate(problem, less))


def test_one_time_of_a_run():
    problem = relu_network(penalty=mf.ridge(0.02))
    flow = flow_of(problem, random_clouds(problem, 3))
    found = mf.certificate(problem, flow)
    last = mf.certificate(problem, flow.isel(time=-1))
    np.testing.assert_array_equal(last.gap, found.gap[-1:])
    np.testing.assert_array_equal(found.time, flow.time)


USER = mf.Activation(lambda z: z / (1 + np.abs(z)), lambda z: (1 + np.abs(z)) ** -2.0)
NONE = {
    "tanh on the line": ({"activation": mf.tanh}, None, "weights range over lines"),
    "tanh, any a": ({"activation": mf.tanh}, {"w": (-1, 1)}, "falls without end"),
    "unknown bounds": (
        {"activation": USER, "penalty": mf.ridge(0.1)},
        {"a": (-1, 1), "w": (-1, 1)},
        "have no known bounds",
    ),
    "unknown bounds, |a|": (
        {"activation": USER, "penalty": mf.total_variation(0.1)},
        {"w": (-1, 1)},
        "have no known bounds",
    ),
    "particles with entropy": (
        {"penalty": mf.ridge(0.1), "entropy": 0.1},
        None,
        "particles have no finite entropy",
    ),
    "no conjugate": (
        {"activation": mf.relu, "penalty": mf.ridge(0.1), "loss": QUARTIC},
        None,
        "no conjugate",
    ),
    "no conjugate, |a|": (
        {"penalty": mf.total_variation(0.1), "loss": QUARTIC},
        {"w": (-1, 1)},
        "no conjugate",
    ),
}


@pytest.mark.parametrize(("given", "over", "reason"), NONE.values(), ids=NONE)
def test_no_finite_gap_has_its_reason(given, over, reason):
    problem = mf.two_layer(X, Y, **given)
    found = mf.certificate(problem, flow_of(problem, random_clouds(problem, 2)), over=over)
    assert (found.gap == np.inf).all()
    assert (found.lower_bound == -np.inf).all()
    assert reason in found.attrs["reason"]
    assert found.attrs["summary"] == f"no finite gap: {found.attrs['reason']}"


def test_particles_with_entropy_still_bound_the_optimum():
    """The dual of their prediction is below the energy of every density on the grid."""
    problem, grid = entropic()
    run = mf.solve(problem, grid, times=[0.0, 100.0])
    flow = flow_of(problem, random_clouds(problem, 20))
    found = mf.certificate(problem, flow, over=grid)
    assert np.isfinite(found.lower_bound).all()
    assert float(found.lower_bound.max()) <= float(run.energy[-1])
    assert (found.value == np.inf).all()
    assert (found.gap == np.inf).all()
    assert "particles have no finite entropy" in found.attrs["reason"]


def test_a_kernel_problem_without_entropy_has_no_bounds():
    problem = mf.kernel_problem(("u",), K=lambda u, v: u @ v.T, F=lambda u: u[:, 0])
    flow = flow_of(mf.two_layer(X, Y, output_weight=False), [(np.ones((2, 1)), np.full(2, 0.5))])
    flow = flow.assign_coords(coord=["u"]).isel(sample=slice(0))
    found = mf.certificate(problem, flow)
    assert (found.gap == np.inf).all()
    assert "kernel problem" in found.attrs["reason"]


def test_a_bounded_domain_is_its_own_box():
    """Weights on an interval: |a| leaves a free, and without output weights there is no other."""
    low, high = -2.0, 2.0
    domain = {"w": mf.interval(low, high)}
    law = mf.uniform_box(low, high)
    for output_weight, over, penalty in (
        (True, "any a, w in [-2, 2]", mf.total_variation(0.1)),
        (False, "w in [-2, 2]", mf.no_penalty),
    ):
        initial = mf.product(a=mf.gaussian(), w=law) if output_weight else law
        problem = mf.two_layer(
            X, Y, penalty=penalty, output_weight=output_weight, initial=initial, domain=domain
        )
        clouds = [(np.clip(p, low, high), w) for p, w in random_clouds(problem, 5)]
        found = mf.certificate(problem, flow_of(problem, clouds))
        assert found.attrs["over"] == over
        assert np.isfinite(found.gap).all()
        assert float(found.lower_bound.max()) <= float(found.value.min())


def test_features_on_a_circle():
    """cos(2πkθ) at θ on a circle of length 1, with the price s|a|: any a, all of the circle."""
    law = mf.product(a=mf.gaussian(), w=mf.uniform_box(0.0, 1.0))
    k = np.arange(8.0)
    problem = mf.two_layer(
        2 * np.pi * k, np.cos(2 * np.pi * k * 0.3), activation=mf.cos, initial=law,
        penalty=mf.total_variation(0.05), domain={"w": mf.circle(1.0)},
    )  # fmt: skip
    spike = np.array([[1 - 0.05 / 0.55, 0.3]])  # ½·(1 − a)² E cos² + .05 a is nearly least there
    clouds = [(spike, np.ones(1)), (np.array([[0.5, 0.1]]), np.ones(1))]
    found = mf.certificate(problem, flow_of(problem, clouds))
    assert found.attrs["over"] == "any a, w in [0, 1]"
    assert float(found.gap[0]) < 1e-2 < float(found.gap[1])
    assert float(found.lower_bound.max()) <= float(found.value.min())


def test_a_density_on_the_sphere():
    """A grid's density is bounded like any measure, and falls towards the optimum."""
    problem = mf.two_layer(
        X, Y, activation=mf.relu, penalty=mf.ridge(0.1), initial=mf.gaussian(0.3, 0.5)
    )
    grid = mf.Grid(a=mf.uniform(-4, 4, 16), w=mf.uniform(-4, 4, 16))
    run = mf.solve(problem, grid, times=[0.0, 1.0, 4.0], method=mf.upwind())
    found, optimum = mf.certificate(problem, run), optimum_on_sphere(problem)
    assert found.attrs["over"] == "the sphere"
    assert (found.gap >= found.value - optimum.value).all()
    assert float(found.gap[0]) > float(found.gap[-1]) > 0


def test_a_density_with_any_output_weight():
    """|a| on a grid: the bound is over the weights of the box, whatever a."""
    problem = mf.two_layer(X, Y, penalty=mf.total_variation(0.1), initial=mf.gaussian(0.3, 0.5))
    grid = mf.Grid(a=mf.uniform(-4, 4, 16), w=mf.uniform(-4, 4, 16))
    run = mf.solve(problem, grid, times=[0.0, 0.5], method=mf.upwind())
    found = mf.certificate(problem, run)
    assert found.attrs["over"] == "any a, w in [-4, 4]"
    assert (found.gap > 0).all()
    assert float(found.gap[-1]) < np.inf


WRONG = {
    "word": ("circle", "no such set"),
    "unknown name": ({"a": (-1, 1), "w": (-1, 1), "c": (0, 1)}, "names \\['c'\\]"),
    "missing": ({"a": (-1, 1)}, "no ends for \\['w'\\]"),
    "reversed": ({"w": (1, -1)}, "low < high"),
    "not a pair": ({"w": (1, 2, 3)}, "low < high"),
    "sphere": ("sphere", "no form on the sphere"),
}


@pytest.mark.parametrize(("over", "message"), WRONG.values(), ids=WRONG)
def test_sets_that_make_no_sense(over, message):
    problem = mf.two_layer(X, Y)
    with pytest.raises(mf.InvalidInput, match=message):
        mf.certificate(problem, flow_of(problem, random_clouds(problem, 1)), over=over)


def test_with_entropy_only_cells():
    problem, _ = entropic()
    flow = flow_of(problem, random_clouds(problem, 1))
    for over in ("sphere", {"a": (-1, 1), "w": (-1, 1)}):
        with pytest.raises(mf.InvalidInput, match="densities on cells"):
            mf.certificate(problem, flow, over=over)
    with pytest.raises(mf.InvalidInput, match="the grid has axes"):
        mf.certificate(problem, flow, over=mf.Grid(w=mf.uniform(-1, 1, 8)))


def test_runs_of_other_problems_are_refused():
    problem = relu_network(penalty=mf.ridge(0.02))
    flow = pr.run(problem, pr.sample(problem, 3, seed=0), pr.Descent(0.1), [0, 0.5])
    others = {
        "coordinates": mf.two_layer(X, Y),
        "samples": mf.two_layer(X[1:], Y[1:], bias=True),
        "its problem is": relu_network(penalty=mf.ridge(0.02), loss=mf.huber(0.2)),
        "its penalty": relu_network(penalty=mf.ridge(0.1)),
        "its problem": mf.two_layer(X, Y, mf.leaky_relu, penalty=mf.ridge(0.02), bias=True),
        "other x": mf.two_layer(2 * X, Y, mf.relu, penalty=mf.ridge(0.02), bias=True),
        "its entropy": relu_network(penalty=mf.ridge(0.02), entropy=0.1),
    }
    for message, other in others.items():
        with pytest.raises(mf.InvalidInput, match=message):
            mf.certificate(other, flow)
    with pytest.raises(mf.InvalidInput, match="another risk"):
        mf.certificate(problem, flow.assign(prediction=flow.prediction + 0.1))
    with pytest.raises(mf.InvalidInput, match="is not a problem"):
        mf.certificate("problem", flow)
    with pytest.raises(mf.InvalidInput, match="not a run"):
        mf.certificate(problem, "run")


GRID = mf.Grid(a=mf.uniform(-4, 4, 16), w=mf.uniform(-4, 4, 16))
MINIMA = {
    "ridge": {"penalty": mf.ridge(0.05)},
    "logistic": {"penalty": mf.ridge(0.05), "loss": mf.logistic},
    "entropy": {"penalty": mf.ridge(0.05), "entropy": 0.05},
}


@pytest.mark.parametrize("given", MINIMA.values(), ids=MINIMA)
def test_minimisers_found_otherwise_have_no_gap(given):
    """The minimiser on a box or on cells, by methods that do not use the certificate."""
    problem = mf.two_layer(X, SIGNS if "loss" in given else Y, **given)
    optimum = mf.optimum(problem, GRID, tolerance=1e-10)
    found = mf.certificate(problem, optimum.minimiser, over=GRID)
    assert -1e-12 <= float(found.gap[0]) <= 1e-9
    assert float(found.lower_bound[0]) == pytest.approx(optimum.lower_bound, abs=1e-9)


def test_gaps_on_a_box_against_its_optimum():
    """40 random clouds in the box: the gap is at least F − inf F."""
    problem = mf.two_layer(X, Y, penalty=mf.ridge(0.05))
    optimum = mf.optimum(problem, GRID, tolerance=1e-10)
    clouds = [(np.clip(p, -4, 4), w) for p, w in random_clouds(problem, 40)]
    found = mf.certificate(problem, flow_of(problem, clouds), over=GRID)
    assert (found.gap >= found.value - optimum.lower_bound - 2 * optimum.gap).all()


def test_the_optimum_on_the_sphere_is_that_of_a_box_which_holds_its_neurons():
    problem = mf.two_layer(X, Y, activation=mf.relu, penalty=mf.ridge(0.05))
    boxed, free = mf.optimum(problem, GRID, tolerance=1e-10), optimum_on_sphere(problem)
    assert np.abs(free.points).max() < 4
    assert boxed.value == pytest.approx(free.value, abs=1e-9)
    found = mf.certificate(problem, boxed.minimiser)
    assert found.attrs["over"] == "the sphere"
    assert -1e-12 <= float(found.gap[0]) <= 1e-8
