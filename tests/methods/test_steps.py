"""The compiled steps against the same formulas written cell by cell in naive.py."""

import numpy as np
import pytest
from contracts.worlds import WORLDS, rough, waves, world
from methods import naive
from numpy.testing import assert_allclose, assert_array_equal

import mfpde as mf
from mfpde.flows import tally
from mfpde.kernels import sharing
from mfpde.methods.flux import FluxDivergence, explicit_limit
from mfpde.methods.muscl import LIMITERS

CODES = {"none": 0} | LIMITERS
every_world = pytest.mark.parametrize("name", WORLDS)


@every_world
@pytest.mark.parametrize("limiter", CODES)
def test_one_euler_step(name, limiter):
    flow = world(WORLDS[name])
    for seed in range(2):
        rho = rough(flow, seed)
        field = flow.field(rho)
        flux = FluxDivergence(flow, CODES[limiter])
        step = flux.euler(rho, field, 0.01)
        expected, escaped = naive.euler(flow, rho, field.potential, 0.01, limiter)
        assert_allclose(step.rho, expected, rtol=0, atol=1e-14 * rho.max())
        assert abs(step.rho - rho).max() > 1e-4 * rho.max()
        for c in flow.grid.coords:
            assert_allclose(step.escaped[c], escaped[c], rtol=1e-12, atol=1e-16)


@every_world
def test_the_potential(name):
    flow = world(WORLDS[name], penalty=mf.ridge(0.4), loss=mf.huber(0.5))
    rho = rough(flow, 3)
    V = naive.potential(flow, rho)
    assert_allclose(flow.field(rho).potential, V, rtol=0, atol=1e-14 * abs(V).max())


@pytest.mark.parametrize("name", ["open × interval", "all four"])
@pytest.mark.parametrize("limiter", [*LIMITERS, "none"])
def test_a_whole_step(name, limiter):
    flow = world(WORLDS[name], penalty=mf.ridge(0.1), loss=mf.logistic)
    method = mf.upwind() if limiter == "none" else mf.muscl(limiter)
    stepper, rho = method.begin(flow), rough(flow, 5)
    field = flow.field(rho)
    dt = 0.9 * stepper.longest(rho, field)
    step = stepper.step(rho, field, dt)
    if limiter == "none":
        expected, escaped = naive.euler(flow, rho, naive.potential(flow, rho), dt, limiter)
    else:
        expected, escaped = naive.heun(flow, rho, dt, limiter)
    assert_allclose(step.rho, expected, rtol=0, atol=1e-14 * rho.max())
    for c in flow.grid.coords:
        assert_allclose(step.escaped[c], escaped[c], rtol=1e-11, atol=1e-16)


def test_lifted_features_step_like_full_features():
    """A1(w) and a·g(w) against all features of all cells."""
    rng = np.random.default_rng(8)
    problem = mf.two_layer(
        rng.normal(size=(5, 2)), rng.normal(size=5), mf.relu, initial=mf.gaussian(0.2, 0.6)
    )
    axes = {"a": mf.stretched(-4, 4, 9), "w1": mf.uniform(-4, 4, 8), "w2": mf.uniform(-4, 4, 7)}
    flow = mf.WassersteinFlow(problem, mf.Grid(**axes))
    stepper, field = mf.muscl().begin(flow), flow.field(flow.start)
    step = stepper.step(flow.start, field, 0.05)
    expected, _ = naive.heun(flow, flow.start, 0.05, "mc")
    assert_allclose(step.rho, expected, rtol=0, atol=1e-14 * flow.start.max())


@every_world
def test_the_longest_step(name):
    """min(cfl over the fastest emptying, 1/stiffness), the rate counted face by face."""
    flow = world(WORLDS[name])
    rho = rough(flow, 6)
    field = flow.field(rho)
    fastest = naive.rates(flow, rho, field.potential, "none").emptying.max()
    assert_allclose(FluxDivergence(flow, 0).emptying(field), fastest, rtol=1e-12)
    for method, cfl in ((mf.upwind(), 0.9), (mf.muscl(cfl=0.2), 0.2)):
        longest = method.begin(flow).longest(rho, field)
        assert longest == pytest.approx(min(cfl / fastest, 1 / field.stiffness), rel=1e-11)
    assert explicit_limit(0.9, 0.0, 4.0) == pytest.approx(0.25, rel=1e-11)
    assert explicit_limit(0.9, 0.0, 0.0) == np.inf


def test_stiffness_is_the_trace_of_the_tangent_kernel():
    """Σ p_i ∫|∇Φ_i|²dρ: exact for features linear in θ, in equal cells."""
    slopes = np.array([[0.3, -1.0, 2.0, 0.1, 0.5], [1.0, 0.2, -0.7, 0.4, 1.1]])
    axes = {c: (mf.uniform(-1, 1, n), mf.line()) for c, n in (("u", 6), ("v", 9))}
    flow = world(axes, features=lambda points: points @ slopes)
    trace = float((slopes**2).sum(axis=0) @ flow.problem.weights)
    assert_allclose(flow.field(rough(flow, 7)).stiffness, trace, rtol=1e-12)


@every_world
@pytest.mark.parametrize("jumping", [False, True])
def test_stiffness_bounds_the_tangent_kernel(name, jumping):
    """dt = 1/stiffness ≤ 2/λ_max(M), M the kernel of one upwind step: its energy bound."""
    axes = WORLDS[name]
    smooth = waves(axes, 3)
    flow = world(axes, features=(lambda q: np.sign(smooth(q))) if jumping else smooth)
    for seed in range(4):
        rho = rough(flow, seed, (0.1, 0.3, 0.6, 1)[seed])
        field = flow.field(rho)
        M = naive.tangent_kernel(flow, rho, field.potential)
        root = np.sqrt(flow.problem.weights)
        fastest = np.linalg.eigvalsh(root[:, None] * M * root)[-1]
        assert fastest <= 2 * field.stiffness * (1 + 1e-12)


@pytest.mark.parametrize("method", [mf.upwind(), mf.muscl()], ids=str)
def test_fortran_ordered_densities_step_alike(method):
    """A view that copies must not lose what is added to it."""
    flow = world(WORLDS["circle × half line × open"])
    rho = rough(flow, 2)
    stepper, field = method.begin(flow), flow.field(rho)
    dt = stepper.longest(rho, field)
    other = stepper.step(np.asfortranarray(rho), field, dt)
    assert np.array_equal(other.rho, stepper.step(rho, field, dt).rho)


@pytest.mark.parametrize("name", [name for name, axes in WORLDS.items() if len(axes) > 1])
@pytest.mark.parametrize("limiter", CODES)
@pytest.mark.parametrize("cores", [1, 3])
def test_slabs_change_no_density(monkeypatch, name, limiter, cores):
    """Fluxes between slabs are those inside; sums differ by rounding, not by who makes them."""
    flow = world(WORLDS[name])
    rho = rough(flow, 0)
    field = flow.field(rho)
    whole = FluxDivergence(flow, CODES[limiter]).euler(rho, field, 1e-3)
    monkeypatch.setattr(tally, "MANY", 0)
    monkeypatch.setattr(sharing, "LARGE", 0)
    monkeypatch.setattr(sharing, "CORES", cores)
    sharing.team.cache_clear()
    parts = FluxDivergence(flow, CODES[limiter]).euler(rho, field, 1e-3)
    assert_array_equal(parts.rho, whole.rho)
    again = flow.tally(parts.rho)
    assert_array_equal(parts.tally.moments, again.moments)
    assert_array_equal(parts.tally.least, again.least)
    assert_allclose(again.moments, whole.tally.moments, rtol=1e-13, atol=1e-15)
    assert_array_equal(again.least, whole.tally.least)
    assert_allclose(parts.carried, whole.carried, rtol=1e-12, atol=1e-18)
    for c, escaped in whole.escaped.items():
        assert_allclose(parts.escaped[c], escaped, rtol=1e-12, atol=1e-18)
    if cores > 1:
        sharing.team().shutdown()
    sharing.team.cache_clear()
