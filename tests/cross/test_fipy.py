"""FiPy, an implementation that shares nothing with ours, against our steps, rates and runs."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from contracts.promises import step_keeps_mass_and_sign
from contracts.worlds import CIRCLE, LINE, SAMPLES, WORLDS, Axes, rough, waves, world
from exact.cases import CASES, frozen_ridge
from exact.solutions import Array, Normal
from numpy.testing import assert_allclose
from orders.observed import observed_orders

import mfpde as mf
from mfpde.errors import InvalidInput, NotAvailable
from mfpde.methods.exchange import Exchange
from mfpde.methods.faces import faces_of
from mfpde.methods.fipy_backend import Witness, loaded

CLAMP = 1e-3  # of |ΔV/λ|, at and below which FiPy's weights are ½


@pytest.fixture
def fipy() -> ModuleType:
    """FiPy, unaware of this process's arguments."""
    return loaded()


# ------------------------------------------------------------------------------------ one step
def fipy_step(fipy: ModuleType, grid: mf.Grid, rho: Array, potential: Array, dt: float) -> Array:
    """∂_t ρ = ∇·(ρ∇V) on the same cells; FiPy's x runs fastest, and its walls are closed."""
    (a_cells, w_cells), widths = grid.shape, [axis.widths[0] for axis in grid.axes.values()]
    mesh = fipy.Grid2D(dx=widths[1], nx=w_cells, dy=widths[0], ny=a_cells)
    density = fipy.CellVariable(mesh=mesh, value=rho.ravel(), hasOld=True)
    V = fipy.CellVariable(mesh=mesh, value=potential.ravel())
    transport = fipy.ExplicitUpwindConvectionTerm(coeff=V.faceGrad)
    equation = fipy.TransientTerm() == transport
    equation.solve(var=density, dt=dt, solver=fipy.solvers.LinearLUSolver(tolerance=0.0))
    return density.value.reshape(grid.shape)


def test_explicit_upwind_steps_agree(fipy: ModuleType) -> None:
    x = np.linspace(-2, 2, 16)
    problem = mf.two_layer(
        x, 3 * np.sin(1.5 * x), penalty=mf.ridge(0.2), initial=mf.uniform_box(-1.5, 1.0)
    )
    grid = mf.Grid(a=mf.uniform(-2, 2.5, 20, "closed"), w=mf.uniform(-3, 2, 17, "closed"))
    flow = mf.WassersteinFlow(problem, grid)
    stepper = mf.upwind().begin(flow)
    rho = np.random.default_rng(3).random(grid.shape)
    rho /= flow.mass(rho)
    for _ in range(5):
        field = flow.field(rho)
        dt = stepper.longest(rho, field)
        ours = stepper.step(rho, field, dt).rho
        theirs = fipy_step(fipy, grid, rho, field.potential, dt)
        assert np.abs(ours - rho).max() > 1e-3
        assert_allclose(ours, theirs, rtol=0, atol=1e-12)
        rho = ours


def entropic_world(axes: Axes, entropy: float) -> mf.WassersteinFlow:
    """Waves on these axes with λ; every wall closed, as λ > 0 asks."""
    shut = {
        name: axis if axis.is_periodic else replace(axis, walls="closed")
        for name, (axis, _) in axes.items()
    }
    grid = mf.Grid(**shut)
    problem = mf.Problem(
        grid.coords,
        waves(axes, 0),
        None,
        mf.square(np.linspace(-3, 3, SAMPLES)),
        entropy=entropy,
        initial=mf.uniform_box(*np.array(list(grid.box.values())).T),
        domain={name: geometry for name, (_, geometry) in axes.items()},
    )
    return mf.WassersteinFlow(problem, grid)


GRIDS: dict[str, Axes] = {
    "line": {"u": (mf.uniform(-1.2, 1.0, 40), LINE)},
    "stretched": {"u": (mf.stretched(-1.2, 1.0, 41), LINE)},
    "circle": {"u": (mf.periodic(0, 1.5, 40), CIRCLE)},
    "plane": {"u": (mf.uniform(-1, 1, 9), LINE), "v": (mf.uniform(-2, 1, 7), LINE)},
    "stretched²": {"u": (mf.stretched(-1, 1, 9), LINE), "v": (mf.stretched(-2, 1, 7), LINE)},
    "circle × stretched": {
        "u": (mf.periodic(0, 1.5, 9), CIRCLE),
        "v": (mf.stretched(-1, 1, 7), LINE),
    },
    "line × circle": {"u": (mf.uniform(-1, 1, 6), LINE), "v": (mf.periodic(0, 1.5, 8), CIRCLE)},
    "space": {
        "u": (mf.uniform(-1, 1, 6), LINE),
        "v": (mf.stretched(-1, 1, 5), LINE),
        "w": (mf.uniform(-2, 1, 4), LINE),
    },
    "circle × line × circle": {
        "u": (mf.periodic(0, 1.5, 4), CIRCLE),
        "v": (mf.uniform(-1, 1, 5), LINE),
        "w": (mf.periodic(0, 1.5, 6), CIRCLE),
    },
}
every_grid = pytest.mark.parametrize("name", GRIDS)


def assembled(flow: mf.WassersteinFlow, scheme: str, potential: Array) -> Array:
    """The rates of masses that FiPy makes of densities, (cells, cells)."""
    witness, dt = mf.fipy(scheme).begin(flow), 1e3
    assert isinstance(witness, Witness)
    witness.equation.cacheMatrix()
    field = replace(flow.field(flow.start), exerted=lambda: potential)
    witness.step(flow.start, field, dt)
    return np.diag(flow.volumes.ravel() / dt) - witness.equation.matrix.numpyArray


def of_densities(flow: mf.WassersteinFlow, potential: Array, entropy: float) -> Array:
    """Our Q(V), applied to densities."""
    exchange = Exchange(faces_of(flow), potential, entropy)
    return exchange.matrix().toarray() * flow.volumes.ravel()


@every_grid
def test_exponential_weights_are_our_rates(name):
    """To 1e-12 of a face's larger rate; at |ΔV/λ| ≤ 1e-3 FiPy takes means, off by (ΔV/λ)²/12.

    Above 100, where its formula is clamped too, only the exponentially small rate uphill is lost.
    """
    entropy = 0.05
    flow, rng = entropic_world(GRIDS[name], entropy), np.random.default_rng(0)
    seen = np.zeros(3, dtype=bool)
    for size in (3e-4, 1e-2, 1.0, 30.0, 1e3):
        V = size * entropy * rng.normal(size=flow.grid.shape)
        ours, theirs = of_densities(flow, V, entropy), assembled(flow, "exponential", V)
        peclet = np.abs(np.subtract.outer(V.ravel(), V.ravel())) / entropy
        face = np.maximum(np.abs(ours), np.abs(ours.T))
        apart = ~np.eye(len(face), dtype=bool)
        beside = apart & (face > 0)
        error = np.abs(theirs - ours)[beside] / face[beside]
        clamped = peclet[beside] <= CLAMP
        assert_allclose(error[~clamped], 0, atol=1e-12)
        assert_allclose(error[clamped], peclet[beside][clamped] ** 2 / 12, rtol=1e-3, atol=1e-13)
        assert not theirs[apart & (face == 0)].any()
        assert_allclose(theirs.sum(axis=0), 0, atol=1e-14 * face.sum(axis=0).max())
        seen |= [clamped.any(), (~clamped).any(), (peclet[beside] > 101).any()]
    assert seen.all()


@every_grid
@pytest.mark.parametrize("entropy", [0.0, 0.3])
def test_upwind_weights_are_our_rates_as_entropy_vanishes(name, entropy):
    """FiPy's upwind and diffusion terms add up: Q_0(V) + Q_λ(0)."""
    flow = entropic_world(GRIDS[name], entropy)
    V = np.random.default_rng(1).normal(size=flow.grid.shape)
    ours = of_densities(flow, V, 0.0) + of_densities(flow, 0 * V, entropy)
    theirs = assembled(flow, "upwind", V)
    assert_allclose(theirs, ours, rtol=1e-12, atol=1e-13 * np.abs(ours).max())


@pytest.mark.parametrize("name", ["open", "open, stretched", "circle × open", "open × interval"])
def test_open_walls_take_what_our_rates_say(name):
    """Both ends of every open axis, with the velocity of the next face inside."""
    flow = world(WORLDS[name])
    V = 0.1 * np.random.default_rng(2).normal(size=flow.grid.shape)
    V -= 3 * np.sum(flow.grid.points() ** 2, axis=1).reshape(V.shape)  # down to every wall
    ours = of_densities(flow, V, 0.0)
    assert_allclose(assembled(flow, "upwind", V), ours, rtol=1e-12, atol=1e-13 * abs(ours).max())
    rho, dt = flow.start, 0.1
    field = replace(flow.field(rho), exerted=lambda: V)
    step = mf.fipy().begin(flow).step(rho, field, dt)
    explicit = mf.upwind().begin(flow).step(step.rho, field, dt)  # leaves at the rates of step.rho
    for coord, pair in step.escaped.items():
        assert_allclose(pair, explicit.escaped[coord], rtol=1e-12)
        assert (min(pair) > 1e-3) == (flow.walls[coord] == "open")
    assert_allclose(step.carried, explicit.carried, rtol=1e-12)


@every_grid
def test_one_implicit_step_is_ours(name):
    """(1 − dt·Q)⁻¹ m by two eliminations, at a dt far beyond the explicit limit."""
    flow = entropic_world(GRIDS[name], 0.1)
    rho = rough(flow, 2)
    field, stepper = flow.field(rho), mf.fipy("exponential").begin(flow)
    dt = 10 * stepper.longest(rho, field)
    Q = Exchange(faces_of(flow), field.potential, flow.entropy).matrix().toarray()
    masses = np.linalg.solve(np.eye(len(Q)) - dt * Q, (rho * flow.volumes).ravel())
    ours = masses.reshape(rho.shape) / flow.volumes
    assert_allclose(stepper.step(rho, field, dt).rho, ours, rtol=0, atol=1e-12 * ours.max())


def suits(scheme: str, axes: Axes) -> bool:
    return len(axes) <= 3 and (scheme != "vanleer" or all(a.is_uniform for a, _ in axes.values()))


@pytest.mark.parametrize(
    ("scheme", "name"),
    [(s, name) for s in ("upwind", "vanleer") for name in WORLDS if suits(s, WORLDS[name])],
)
def test_mass_and_sign_of_rough_densities(scheme, name):
    """Open walls among them: what leaves is booked to 1e-13."""
    flow = world(WORLDS[name], penalty=mf.ridge(0.5))
    step_keeps_mass_and_sign(flow, mf.fipy(scheme), rough(flow, 0))


@pytest.mark.parametrize("scheme", ["exponential", "powerlaw", "upwind", "vanleer"])
def test_mass_and_sign_with_entropy(scheme):
    flow = entropic_world(GRIDS["line × circle"], 0.2)
    step_keeps_mass_and_sign(flow, mf.fipy(scheme), rough(flow, 1, 0.2))


# ---------------------------------------------------------------------------------- whole runs
def network(inputs: int, entropy: float) -> mf.Problem:
    x = np.random.default_rng(5).normal(size=(6, inputs))
    return mf.two_layer(
        x[:, 0] if inputs == 1 else x,
        np.sin(2 * x[:, 0]),
        penalty=mf.ridge(0.3),
        entropy=entropy,
        initial=mf.gaussian(0.2, 0.7),
    )


def phases(entropy: float) -> mf.Problem:
    """Fit cosines on the circle."""
    torus = CASES["X4"].problem
    return mf.Problem(
        torus.coords, torus.phi, torus.dphi, torus.loss, entropy=entropy,
        initial=mf.gaussian(2.0, 0.6), domain=torus.domain,
    )  # fmt: skip


def moments(entropy: float) -> mf.Problem:
    """One coordinate, two features."""
    return mf.Problem(
        ("w",),
        lambda w: np.hstack([w, np.tanh(2 * w)]),
        None,
        mf.square([0.8, -0.5]),
        penalty=mf.ridge(0.2),
        entropy=entropy,
        initial=mf.gaussian(0.2, 0.6),
    )


def box(names: str, cells: int, half: float = 4.5) -> mf.Grid:
    return mf.Grid(**{c: mf.uniform(-half, half, cells + k) for k, c in enumerate(names.split())})


RUNS = {
    "line": (moments, mf.Grid(w=mf.uniform(-4, 4, 32))),
    "stretched": (moments, mf.Grid(w=mf.stretched(-4, 4, 32))),
    "circle": (phases, mf.Grid(w=mf.periodic(0, 2 * np.pi, 32))),
    "plane": (lambda e: network(1, e), box("a w", 14)),
    "space": (lambda e: network(2, e), box("a w1 w2", 9, 6.0)),
}
PAIRS = {"exponential": (0.05, mf.scharfetter_gummel()), "upwind": (0.0, mf.upwind())}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("scheme", PAIRS)
def test_runs_meet_as_time_steps_shrink(scheme, name):
    """On one grid both discretise space alike: their gap is that of the steps, of order 1.

    Instants pace both to the same steps.
    """
    entropy, method = PAIRS[scheme]
    make, grid = RUNS[name]
    problem, gaps, counts = make(entropy), [], (8, 16)
    for count in counts:
        times = np.linspace(0, 0.3, count + 1)
        ours, theirs = (
            mf.solve(problem, grid, m, times, keep="last", escaped_tolerance=1e-3)
            for m in (method, mf.fipy(scheme))
        )
        assert theirs.sizes == ours.sizes
        assert np.abs(theirs.mass + theirs.escaped - 1).max() <= 1e-12
        volumes = grid.volumes
        gaps.append(float(np.sum(np.abs(theirs.rho_last - ours.rho_last).values * volumes)))
    assert gaps[-1] <= 3.5e-3
    (order,) = observed_orders(gaps, counts)
    assert 0.95 <= order <= 1.4


def test_what_leaves_through_open_walls():
    """Hill-climbing mass: escaped mass and its energy are upwind's as steps shrink."""
    problem = mf.Problem(("w",), lambda w: w, None, mf.square([4.0]), initial=mf.gaussian(0.3, 0.4))
    grid = mf.Grid(w=mf.uniform(-2, 2.5, 18))
    gaps = []
    for count in (32, 64):
        times = np.linspace(0, 0.8, count + 1)
        ours, theirs, limited = (
            mf.solve(problem, grid, m, times, keep="last", escaped_tolerance=1)
            for m in (mf.upwind(), mf.fipy("upwind"), mf.fipy("vanleer"))
        )
        for run in (theirs, limited):
            assert 0.3 < run.escaped[-1] < 1
            assert np.abs(run.mass + run.escaped - 1).max() <= 1e-12
        gaps.append(
            [float(abs(theirs[z][-1] - ours[z][-1])) for z in ("escaped", "escaped_energy")]
        )
    assert_allclose(np.divide(*gaps), 2, atol=0.3)
    assert abs(float(limited.escaped[-1] - theirs.escaped[-1])) < 0.1


# ------------------------------------------------------------------------------------- orders
OU = replace(frozen_ridge([0.5], 0.5, Normal.isotropic([0.3], 0.7), half=5.0), horizon=0.1)
X4 = replace(CASES["X4"], horizon=1.0)


@pytest.mark.parametrize(
    ("case", "scheme", "cells", "coarsest", "order", "within", "finest"),
    [
        (OU, "exponential", (40, 80, 160), None, 1.9, 0.1, 2.5e-4),
        (OU, "powerlaw", (40, 80, 160), None, 1.9, 0.1, 2.5e-4),
        (OU, "upwind", (60, 120, 240), None, 0.9, 0.1, 1.6e-3),
        (X4, "upwind", (64, 128, 256), None, 0.95, 0.1, 2.3e-3),
        (X4, "vanleer", (32, 64, 128), 0.1, 2.0, 0.1, 2.1e-4),
    ],
)
def test_order(case, scheme, cells, coarsest, order, within, finest):
    """L1 against the closed form; vanleer's steps ∝ h², as in time its order is 1."""
    errors = []
    for n in cells:
        dt = None if coarsest is None else coarsest * (cells[0] / n) ** 2
        run, grid = case.run(mf.fipy(scheme, dt=dt), n), case.grid(n)
        missed = np.abs(run.rho.values[-1] - case.averages(grid, case.horizon))
        errors.append(float(np.sum(missed * grid.volumes)))
    assert_allclose(observed_orders(errors, cells), order, atol=within)
    assert errors[-1] <= finest


# ------------------------------------------------------------------------------------- promises
def test_exponential_never_gains_energy():
    """With steps far beyond the explicit limit, too."""
    grid = box("a w", 14)
    for dt in (None, 0.5):
        run = mf.solve(network(1, 0.05), grid, mf.fipy("exponential", dt), np.linspace(0, 4, 9))
        assert (np.diff(run.energy) <= 1e-12).all()
        assert run.energy[-1] < run.energy[0] - 0.05


def test_upwind_promises_less_as_it_leaves_gibbs_states():
    """exp(−V/λ) rests under exponential weights; upwind spreads it and raises the energy."""
    flow = entropic_world(GRIDS["line"], 0.3)
    flat = replace(flow.field(flow.start), exerted=lambda: 3 * flow.grid.centres[0] ** 2)
    gibbs = np.exp(-flat.potential / flow.entropy)
    gibbs /= flow.mass(gibbs)

    def free_energy(rho):
        return flow.mass(rho * (flat.potential + flow.entropy * np.log(rho)))

    rise = {}
    for scheme in ("exponential", "powerlaw", "upwind"):
        after = mf.fipy(scheme).begin(flow).step(gibbs, flat, 0.1).rho
        rise[scheme] = free_energy(after) - free_energy(gibbs)
    assert abs(rise["exponential"]) < 1e-14
    assert rise["powerlaw"] > 1e-8
    assert rise["upwind"] > 5e-4
    assert mf.fipy("exponential").promise == "monotone"
    assert mf.fipy("upwind").promise == mf.fipy("powerlaw").promise == "order"


@pytest.mark.parametrize("scheme", ["exponential", "powerlaw", "upwind", "vanleer"])
def test_the_record_says_what_it_is(scheme):
    method = mf.fipy(scheme, dt=0.25)
    assert method.call == f"fipy(scheme='{scheme}', dt=0.25)"
    assert method.order_in_time == 1
    assert method.diffuses
    assert "dt = 0.25" in method.limit
    assert "emptying" in mf.fipy(scheme).limit
    run = mf.solve(moments(0.05), mf.Grid(w=mf.uniform(-4, 4, 16)), mf.fipy(scheme, dt=0.1), [0.5])
    assert run.attrs["method"] == mf.fipy(scheme, dt=0.1).call
    assert run.attrs["steps"] == 5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: mf.fipy("central"), "fipy(scheme='central')"),
        (lambda: mf.fipy(["upwind"]), "fipy(scheme=['upwind'])"),
        (lambda: mf.fipy(dt=0), "fipy(dt=0)"),
        (lambda: mf.fipy(dt="long"), "fipy(dt='long')"),
        (lambda: mf.fipy(dt=np.inf), "positive and finite"),
        (lambda: mf.fipy("exponential").begin(world(WORLDS["closed"])), "entropy = 0"),
        (lambda: mf.fipy("powerlaw").begin(world(WORLDS["closed"])), 'mf.fipy("upwind")'),
        (lambda: mf.fipy("vanleer").begin(world(WORLDS["open, stretched"])), "narrower"),
        (lambda: mf.fipy().begin(world(WORLDS["all four"])), "one to three dimensions"),
    ],
)
def test_refusals(wrong, said):
    with pytest.raises((InvalidInput, NotAvailable)) as refusal:
        wrong()
    assert said in str(refusal.value)
