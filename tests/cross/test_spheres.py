"""Neurons on a sphere: the circle by its angle, what is kept of a run, and what refuses."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import mfpde as mf
import particle_ref as pr

X = np.cos(np.arange(12.0) ** 2).reshape(6, 2)
Y = np.sin(2 * np.arange(6.0))
SPHERE = {("w1", "w2"): mf.sphere()}
TURN = mf.circle(2 * np.pi)


def network(**others):
    return mf.two_layer(X, Y, domain=SPHERE, **others)


def arms(angle):
    """(cos φ, sin φ) and its derivative, (N, 2)."""
    return (
        np.column_stack([np.cos(angle), np.sin(angle)]),
        np.column_stack([-np.sin(angle), np.cos(angle)]),
    )


def by_angle():
    """The same network, its weights told by their angle φ."""

    def phi(v):
        return np.tanh(arms(v[:, 0])[0] @ X.T)

    def dphi(v):
        at, along = arms(v[:, 0])
        return (np.cosh(at @ X.T) ** -2 * (along @ X.T))[:, :, None]

    domain = {"angle": TURN}
    return mf.Problem(("a", "angle"), phi, dphi, mf.square(Y), lifted=True, domain=domain)


def test_on_two_coordinates_it_is_the_circle():
    """Under both flows; radius 1, so that arcs are angles."""
    rng = np.random.default_rng(3)
    a, angle = rng.normal(size=20), rng.uniform(0, 2 * np.pi, 20)
    times, flow = [0.0, 1.0, 4.0], pr.GradientFlow(1e-11)
    round_ = pr.run(by_angle(), pr.Cloud(np.column_stack([a, angle])), flow, times)
    start = pr.Cloud(np.column_stack([a, 7.0 * arms(angle)[0]]))  # of any length
    on = pr.run(network(), start, flow, times)
    for name in ("risk", "energy", "prediction"):
        np.testing.assert_allclose(on[name], round_[name], atol=1e-9)
    np.testing.assert_allclose(on.dissipation, round_.dissipation, atol=1e-8)
    for k in range(3):
        there = round_.position.values[k]
        expected = np.column_stack([there[:, 0], arms(there[:, 1])[0]])
        np.testing.assert_allclose(on.position[k], expected, atol=1e-9)
    assert np.abs(np.diff(round_.position[:, :, 1], axis=0)).max() > 0.1


def test_a_problem_holds_one_sphere_for_all_its_coordinates():
    problem = mf.two_layer(X, Y, bias=True, domain={("w2", "b"): mf.sphere(2), "a": mf.line()})
    held = problem.domain["w2"]
    assert held == problem.domain["b"]
    assert (held.kind, held.high, held.group) == ("sphere", 2.0, ("w2", "b"))
    assert problem.domain["w1"] == problem.domain["a"] == mf.line()
    assert replace(problem, entropy=0.1).domain == problem.domain
    assert pickle.loads(pickle.dumps(problem)).domain == problem.domain


@pytest.mark.parametrize(
    ("domain", "named"),
    [
        ({"w1": mf.sphere()}, "named together"),
        ({("w1",): mf.sphere()}, "two or more"),
        ({("w1", "w1"): mf.sphere()}, "two or more"),
        ({("w1", "w2"): mf.circle(1.0)}, "two or more"),
        ({("w1", "w2"): mf.sphere(), "w1": mf.line()}, "twice"),
        ({("w1", "w2"): mf.sphere(), ("w2", "a"): mf.sphere()}, "twice"),
        ({("w1", "w3"): mf.sphere()}, "w3"),
        ({("w1", "w2"): mf.sphere}, r"domain\[\('w1', 'w2'\)\]"),
        ({"w1": network().domain["w1"]}, "named together"),
    ],
)
def test_what_is_no_sphere_is_refused(domain, named):
    with pytest.raises(mf.InvalidInput, match=named):
        mf.two_layer(X, Y, domain=domain)


def test_a_run_goes_on_from_disk_and_knows_its_sphere(tmp_path):
    problem = network(entropy=0.2, penalty=mf.ridge([0.1, 0, 0]))
    cloud, method = pr.sample(problem, 9, 1), pr.Langevin(0.125, 3, scheme="euler")
    times = [0.25, 0.5, 1.0]
    whole, store = pr.run(problem, cloud, method, times), mf.store(tmp_path / "run")
    pr.run(problem, cloud, method, times[:1], to=store)
    longer = pr.run(problem, cloud, method, times, to=store)
    np.testing.assert_array_equal(longer.position, whole.position)
    wider = replace(problem, domain={("w1", "w2"): mf.sphere(2.0)})
    with pytest.raises(mf.InvalidInput, match="domain"):
        pr.run(wider, cloud, method, times, to=store)


def test_replicas_start_and_stay_on_it():
    for flow in pr.replicas(network(), 5, pr.Stochastic(0.25, 2, 1), [0.0, 1.0], range(3)):
        size = np.linalg.norm(flow.position[:, :, 1:], axis=2)
        np.testing.assert_allclose(size, 1.0, rtol=1e-12)


WIDE = mf.uniform(-3, 3, 8)
GRID = mf.Grid(a=WIDE, w1=WIDE, w2=WIDE)
TAKERS = {
    "solve": lambda problem, flow: mf.solve(problem, GRID, times=[0, 1], progress=False),
    "forecast": lambda problem, flow: mf.forecast(problem, GRID, None, [0, 1]),
    "fit_grid": lambda problem, flow: mf.fit_grid(problem),
    "optimum": lambda problem, flow: mf.optimum(problem, GRID),
    "optimum on neurons": lambda problem, flow: mf.optimum(problem, "sphere"),
    "certificate": lambda problem, flow: mf.certificate(problem, flow),
    "certificate on a box": lambda problem, flow: mf.certificate(problem, flow, over=GRID),
    "regime": lambda problem, flow: mf.regime(flow, problem),
}


@pytest.mark.parametrize("name", TAKERS)
def test_grids_and_bounds_refuse_a_sphere(name):
    problem = network()
    flow = pr.run(problem, pr.sample(problem, 4, 1), pr.Descent(0.5), [0.0, 1.0])
    with pytest.raises(mf.InvalidInput, match="w1, w2 live on") as refused:
        TAKERS[name](problem, flow)
    assert "angle" in str(refused.value)


def test_a_density_on_lines_is_not_that_of_neurons_on_a_sphere():
    free = mf.two_layer(X, Y, initial=mf.gaussian(0.0, 0.3))
    run = mf.solve(free, GRID, mf.upwind(), times=[0, 0.1], progress=False, escaped_tolerance=1)
    flow = pr.run(network(), pr.sample(network(), 4, 1), pr.Descent(0.1), [0.0, 0.1])
    with pytest.raises(mf.InvalidInput, match="sphere"):
        mf.compare(run, flow)


def test_limits_that_need_densities_refuse_a_sphere():
    with pytest.raises(pr.InvalidInput, match="has a sphere"):
        pr.fluctuations(network(), [1.0])
    with pytest.raises(pr.InvalidInput, match="has a sphere"):
        pr.Truth(network(), 1.0)
