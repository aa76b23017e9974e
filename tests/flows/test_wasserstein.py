"""The flow on a grid: what its field says, its dissipation, and the kernel's limits."""

import numpy as np
import pytest
from contracts.worlds import WORLDS, rough, world
from methods import naive
from numpy.testing import assert_allclose

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.flows.table import FeatureTable
from mfpde.kernels import sharing


@pytest.mark.parametrize("name", WORLDS)
def test_dissipation_is_the_mean_square_of_a_velocity_linear_in_the_cell(name):
    """∫|∇V|²dρ: per cell and axis from its two faces, written cell by cell."""
    flow = world(WORLDS[name])
    rho = rough(flow, 0)
    V = naive.potential(flow, rho)
    total = 0.0
    for k, (c, axis) in enumerate(flow.grid.axes.items()):
        x = axis.centres
        length = axis.high - axis.low
        for index in naive.lines(V.shape, k):
            u = -np.diff(V[index]) / np.diff(x)
            ends = {
                "closed": (max(u[0], 0), min(u[-1], 0)),
                "open": (u[0], u[-1]),
                "periodic": 2 * ((V[index][-1] - V[index][0]) / (length - (x[-1] - x[0])),),
            }[flow.walls[c]]
            faces = [ends[0], *u, ends[1]]
            masses = (rho * flow.volumes)[index]
            for m, lower, upper in zip(masses, faces, faces[1:], strict=False):
                if lower < 0 or upper > 0:
                    total += m * (lower**2 + lower * upper + upper**2) / 3
    assert_allclose(flow.dissipation(rho, flow.field(rho)), total, rtol=1e-12)


def test_dissipation_is_the_rate_of_the_energy():
    """dF/dt = −∫|∇V|²dρ: a small step of the flow, the error halved with the cells' squares."""
    problem = mf.two_layer([-0.5, 0.3, 1.0], [1.0, 0, -1], mf.tanh, initial=mf.gaussian(0.4, 0.5))
    errors = []
    for cells in (24, 48):
        grid = mf.Grid(a=mf.uniform(-4, 4.8, cells), w=mf.uniform(-4, 4.8, cells))
        flow = mf.WassersteinFlow(problem, grid)
        field = flow.field(flow.start)
        step = mf.muscl().begin(flow).step(flow.start, field, 1e-5)
        rate = (flow.field(step.rho).energy - field.energy) / 1e-5
        errors.append(abs(rate + flow.dissipation(flow.start, field)) / abs(rate))
    assert errors[0] < 0.05
    assert errors[1] < 0.4 * errors[0]


def test_mass_at_rest_in_a_kink_does_not_dissipate():
    """|a| pulls mass into a = 0 from both sides: dF/dt and −dissipation die together."""
    x = np.linspace(-1, 1, 7)
    problem = mf.two_layer(
        x, np.sin(2 * x), penalty=mf.total_variation(0.5), initial=mf.gaussian(0, 0.5)
    )
    grid = mf.Grid(a=mf.uniform(-3.5, 3.5, 64), w=mf.uniform(-3.5, 3.5, 64))
    run = mf.solve(problem, grid, mf.muscl(), times=[0, 3.98, 4.0, 4.02])
    rate = float(run.energy[3] - run.energy[1]) / 0.04
    assert 0 < -rate < 0.01
    assert abs(float(run.dissipation[2]) + rate) < 1e-3


@pytest.mark.parametrize("cells", [32, 64])
def test_mass_pressed_on_a_wall_does_not_dissipate(cells):
    """Targets that drive w against the ends of its interval."""
    x = np.linspace(-1, 1, 7)
    problem = mf.two_layer(
        x,
        4 * np.tanh(3 * x),
        initial=mf.product(a=mf.gaussian(0.5, 0.3), w=mf.uniform_box(-1, 1)),
        domain={"w": mf.interval(-1, 1)},
    )
    grid = mf.Grid(a=mf.uniform(-4, 8, 2 * cells), w=mf.uniform(-1, 1, cells))
    run = mf.solve(problem, grid, mf.muscl(), times=[0, 1.99, 2.0, 2.01])
    rate = float(run.energy[3] - run.energy[1]) / 0.02
    assert abs(float(run.dissipation[2]) / -rate - 1) < 0.02


@pytest.mark.parametrize("output_weight", [True, False])
def test_dissipation_of_a_high_order_quadrature(output_weight):
    """dF/dt of runs at high order, and |∇V|² against differences of V between the centres."""
    x = np.linspace(-2, 2, 9)
    problem = mf.two_layer(
        x,
        np.sin(1.5 * x),
        penalty=mf.ridge(0.2),
        output_weight=output_weight,
        bias=not output_weight,
        initial=mf.gaussian(0.3, 0.5),
    )
    axis = mf.uniform(-4, 4, 64)
    grid = mf.Grid(**dict.fromkeys(problem.coords, axis))
    method = mf.semi_lagrangian(9, dt=0.1, composed=True)
    run = mf.solve(problem, grid, method, times=[0.0, 0.45, 0.5, 0.55])
    rate = float(run.energy[3] - run.energy[1]) / 0.1
    curved = (0.05**2 / 6) * 5 * abs(rate)  # of the central difference
    assert abs(float(run.dissipation[2]) + rate) < curved
    order_two = mf.WassersteinFlow(problem, grid)
    low = order_two.dissipation(run.rho[2].values, order_two.field(run.rho[2].values))
    assert 1e-5 < abs(low / float(run.dissipation[2]) - 1) < 2e-2
    points, masses = mf.as_measure(run.isel(time=2))
    slope = problem.loss.slope(run.prediction[2].values)
    v, a = (points[:, 1:], points[:, 0]) if output_weight else (points, np.ones(len(points)))
    gradient = 0.2 * points
    if output_weight:
        gradient[:, 0] += problem.phi(v) @ slope
    gradient[:, int(output_weight) :] += a[:, None] * (slope @ problem.dphi(v))
    assert masses @ (gradient**2).sum(axis=1) == pytest.approx(float(run.dissipation[2]), rel=1e-12)


def test_mass_counts_volumes():
    flow = world(WORLDS["open × interval"])
    assert_allclose(flow.mass(np.ones(flow.grid.shape)), 2.3 * 1.3, rtol=1e-14)
    assert_allclose(flow.mass(flow.start), 1.0, rtol=1e-14)


def test_a_dense_kernel_has_its_limit():
    problem = mf.kernel_problem(
        ("w",), lambda p, q: p @ q.T, lambda p: p[:, 0], initial=mf.gaussian(0, 0.5)
    )
    assert mf.WassersteinFlow(problem, mf.Grid(w=mf.uniform(-4, 4, 300))).start.shape == (300,)
    with pytest.raises(InvalidInput) as refusal:
        mf.WassersteinFlow(problem, mf.Grid(w=mf.uniform(-4, 4, 4097)))
    assert "4097" in str(refusal.value)
    assert "4096" in str(refusal.value)


def test_tables_that_are_not_kept_give_the_same_sums(monkeypatch):
    rng = np.random.default_rng(0)
    points, k = rng.normal(size=(50, 2)), rng.normal(size=(2, 7))
    measure, slope = rng.normal(size=50), rng.normal(size=7)

    def phi(q):
        return np.sin(q @ k)

    kept = FeatureTable(phi, points, 7)
    monkeypatch.setattr("mfpde.flows.table.PIECE", 60)
    monkeypatch.setattr("mfpde.flows.table.PANEL", 20)
    pieces = FeatureTable(phi, points, 7)
    assert len(pieces.kept) == 7
    monkeypatch.setattr("mfpde.flows.table.KEPT", 0)
    monkeypatch.setattr("mfpde.flows.table.BLOCK", 100)
    blocks = FeatureTable(phi, points, 7)
    assert not blocks.kept
    assert len(list(blocks.blocks())) == 4
    pairs = np.einsum("k,ki,kj", measure, phi(points), phi(points))
    for table in (kept, pieces, blocks):
        assert_allclose(table.paired(measure), pairs, rtol=1e-12, atol=1e-14)
        assert_allclose(table.integrate(measure), measure @ phi(points), rtol=1e-12)
        assert_allclose(table.combine(slope), phi(points) @ slope, rtol=1e-12)
        assert_allclose(table.squares(slope), phi(points) ** 2 @ slope, rtol=1e-12)


@pytest.mark.parametrize("cores", [2, 3])
def test_threads_change_no_bit_of_a_sum(monkeypatch, cores):
    """Pieces of a table are added up in order, whoever took them."""
    rng = np.random.default_rng(1)
    k, measure, slope = rng.normal(size=(2, 7)), rng.random(500), rng.normal(size=7)
    monkeypatch.setattr("mfpde.flows.table.PIECE", 300)
    table = FeatureTable(lambda q: np.sin(q @ k), rng.normal(size=(500, 2)), 7)
    results = []
    for threads in (1, cores):
        monkeypatch.setattr(sharing, "CORES", threads)
        monkeypatch.setattr(sharing, "LARGE", 0)
        sharing.team.cache_clear()
        results.append((table.integrate(measure), table.combine(slope), table.paired(measure)))
    sharing.team().shutdown()
    sharing.team.cache_clear()
    for alone, together in zip(*results, strict=True):
        np.testing.assert_array_equal(together, alone)


def without(part):
    """The square loss without a curvature, or without a bound of it."""
    curvature = None if part == "curvature" else lambda f, y: np.ones_like(f)
    return mf.Loss(lambda f, y: (f - y) ** 2 / 2, lambda f, y: f - y, curvature)


def test_a_loss_that_does_not_state_its_smoothness():
    """Its curvature at the prediction takes its place, also where a sample has no weight."""
    x, y, p = np.linspace(-1, 1, 4), np.ones(4), np.array([0.0, 0.5, 0.25, 0.25])
    grid = mf.Grid(a=mf.uniform(-6, 6, 16), w=mf.uniform(-6, 6, 16))
    plain, stated = (
        mf.WassersteinFlow(mf.two_layer(x, y, loss=loss, weights=p), grid)
        for loss in (without("smoothness"), mf.square)
    )
    one, other = plain.field(plain.start), stated.field(stated.start)
    assert_allclose(one.stiffness, other.stiffness, rtol=1e-13)


def test_a_loss_without_any_curvature_is_refused_where_steps_need_it():
    problem = mf.two_layer([0.0, 1.0], [1.0, 2.0], loss=without("curvature"))
    with pytest.raises(InvalidInput) as refusal:
        mf.solve(problem, mf.Grid(a=mf.uniform(-6, 6, 16), w=mf.uniform(-6, 6, 16)))
    assert "curvature" in str(refusal.value)
    assert "smoothness" in str(refusal.value)  # either of the two would do
