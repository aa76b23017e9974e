"""What holds at every step of every method, whatever the density: mass, sign, energy.

Methods are driven by hand, one of their own longest steps after another, so that no guard of the
loop stands between them and the claim.
"""

import numpy as np
import pytest
from exact.cases import rotation
from exact.solutions import Array
from scipy.stats import norm

import mfpde as mf

METHODS = [mf.upwind(), *(mf.muscl(limiter) for limiter in ("mc", "vanleer", "minmod"))]
AT_THE_LIMIT = [mf.upwind(cfl=1.0), *(mf.muscl(name, cfl=0.5) for name in ("mc", "minmod"))]
CELLS = {1: 64, 2: 16, 3: 9, 4: 6}  # by dimension


# --------------------------------------------------------------------------- mass and sign
def network_on(dimension: int, walls: str) -> mf.WassersteinFlow:
    """A network of 1 to 4 coordinates; far targets make it fast, so that the walls matter."""
    rng = np.random.default_rng(dimension)
    coords = {1: ("w",), 2: ("a", "w"), 3: ("a", "w1", "w2"), 4: ("a", "w1", "w2", "b")}[dimension]
    d = max(1, min(2, dimension - 1))
    x, y = rng.normal(size=(5, d)), 30 * rng.normal(size=5)
    periodic = walls == "periodic"
    low, high = (0.0, 2 * np.pi) if periodic else (-2.0, 2.0)
    x = np.rint(2 * x) if periodic else x
    cells = CELLS[dimension]
    axis = mf.periodic(low, high, cells) if periodic else mf.stretched(low, high, cells, walls)
    problem = mf.two_layer(
        x[:, 0] if d == 1 else x,
        y,
        activation=mf.cos if periodic else mf.tanh,
        penalty=mf.ridge(0.3),
        bias=dimension == 4,
        output_weight=dimension > 1,
        initial=mf.uniform_box(low, high),
        domain=dict.fromkeys(coords, mf.circle(2 * np.pi)) if periodic else None,
    )
    return mf.WassersteinFlow(problem, mf.Grid(**dict.fromkeys(coords, axis)))


def rough_density(flow: mf.WassersteinFlow, seed: int) -> Array:
    """Independent cells over eight decades, one in three empty; mass 1."""
    rng = np.random.default_rng(seed)
    rho = 10.0 ** rng.uniform(-8, 0, flow.grid.shape) * (rng.random(flow.grid.shape) < 2 / 3)
    return rho / flow.mass(rho)


def fastest_cell(flow: mf.WassersteinFlow) -> Array:
    """All mass in the cell from which the uniform density's velocity drives it fastest."""
    potential = flow.field(flow.start).potential
    slopes = np.gradient(potential, *flow.grid.centres)
    speed = sum(np.abs(slope) for slope in (slopes if potential.ndim > 1 else [slopes]))
    rho = np.zeros(flow.grid.shape)
    rho.flat[np.argmax(speed)] = 1.0
    return rho / flow.mass(rho)


def assert_promises(flow: mf.WassersteinFlow, method: mf.Method, least: float) -> None:
    """Mass and sign (above −least·max) over a dozen longest steps from rough densities."""
    stepper = method.begin(flow)
    leaks = False
    for rho in (rough_density(flow, seed=1), rough_density(flow, seed=2), fastest_cell(flow)):
        escaped = 0.0
        for _ in range(12):
            field = flow.field(rho)
            step = stepper.step(rho, field, stepper.longest(rho, field))
            leaving = np.array(list(step.escaped.values()))
            rho, escaped = step.rho, escaped + leaving.sum()
            assert leaving.min() >= 0  # open walls let nothing in
            assert rho.min() >= -least * rho.max(), method
            assert flow.mass(rho) + escaped == pytest.approx(1, abs=1e-12)
        leaks |= escaped > 0
    assert leaks == ("open" in flow.walls.values())


@pytest.mark.parametrize("walls", ["closed", "open", "periodic"])
@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_rough_densities_stay_positive_and_keep_their_mass(dimension: int, walls: str) -> None:
    flow = network_on(dimension, walls)
    for method in METHODS:
        assert_promises(flow, method, least=0.0)
    for method in AT_THE_LIMIT:  # where a cell empties wholly, up to rounding
        assert_promises(flow, method, least=1e-15)


@pytest.mark.parametrize("method", [mf.upwind(cfl=1.0), mf.muscl(cfl=0.5)], ids=["upwind", "muscl"])
def test_the_step_limit_is_needed(method: mf.Method) -> None:
    """Four times the longest step empties the fastest cell more than once."""
    flow = network_on(2, "closed")
    rho, stepper = fastest_cell(flow), method.begin(flow)
    field = flow.field(rho)
    too_long = 4 * stepper.longest(rho, field)
    assert stepper.step(rho, field, too_long).rho.min() < 0


# ------------------------------------------------------------------------------------- energy
def tanh_with_ridge() -> mf.WassersteinFlow:
    """Its least energy is positive, and all mass ends in a cell or two."""
    x = np.linspace(-2, 2, 16)
    problem = mf.two_layer(
        x, np.sin(1.5 * x), penalty=mf.ridge(0.05), initial=mf.gaussian(mean=[0.3, 0.6], std=0.5)
    )
    return mf.WassersteinFlow(problem, mf.Grid(a=mf.uniform(-4, 4, 32), w=mf.uniform(-4, 4, 32)))


def case_a_in_a_wide_box() -> mf.WassersteinFlow:
    """Its least energy is 0: the velocity vanishes and the step would grow without end."""
    case = rotation(std=0.35, angle=-0.6, half=6.0)
    return mf.WassersteinFlow(case.problem, case.grid(48))


@pytest.mark.parametrize("method", [mf.upwind(), mf.muscl()], ids=["upwind", "muscl"])
@pytest.mark.parametrize(
    ("flow", "steps", "bottom"),
    [(case_a_in_a_wide_box(), 10_000, 1e-28), (tanh_with_ridge(), 3_000, 0.2)],
    ids=["case A", "tanh with ridge"],
)
def test_energy_never_rises(
    flow: mf.WassersteinFlow, steps: int, bottom: float, method: mf.Method
) -> None:
    stepper, rho = method.begin(flow), flow.start
    field = flow.field(rho)
    first, worst = field.energy, -np.inf
    for _ in range(steps):
        step = stepper.step(rho, field, stepper.longest(rho, field))
        rho, after = step.rho, flow.field(step.rho)
        worst = max(worst, after.energy + step.carried - field.energy)
        field = after
    assert worst <= 1e-14
    assert field.energy < min(bottom, first)


def test_a_longer_step_than_the_stiff_one_raises_the_energy() -> None:
    """Near the minimum the residual obeys r' = −Mr: beyond 2/M upwind's energy must rise."""
    flow = case_a_in_a_wide_box()
    stepper, rho = mf.upwind().begin(flow), flow.start
    for _ in range(40):
        field = flow.field(rho)
        rho = stepper.step(rho, field, stepper.longest(rho, field)).rho
    field = flow.field(rho)
    assert field.energy > 0
    step = stepper.step(rho, field, 2.5 / field.stiffness)
    assert flow.field(step.rho).energy + step.carried > field.energy


@pytest.mark.parametrize("method", [mf.upwind(), mf.muscl()], ids=["upwind", "muscl"])
def test_a_run_books_what_leaves(method: mf.Method) -> None:
    """V = −w: all neurons move up by 1 per time, and past w = 2 they are gone with V = −2.

    While inside they lose energy at rate |∇V|² = 1 each, so F + carried = F_0 − ∫mass dt.
    """
    tilt = mf.kernel_problem(
        ("w",),
        K=lambda u, v: np.zeros((len(u), len(v))),
        F=lambda u: u[:, 0],
        initial=mf.gaussian(mean=0.0, std=0.4),
    )
    times = np.linspace(0, 2.5, 251)
    box = mf.Grid(w=mf.uniform(-3, 2, 200))
    run = mf.solve(tilt, box, method, times, escaped_tolerance=1.0)
    inside = norm.cdf(2 - times, scale=0.4)
    h = 5 / 200
    np.testing.assert_allclose(run.mass + run.escaped, 1, atol=1e-12)
    np.testing.assert_allclose(run.mass, inside, atol=1.2 * h if method.order == 1 else 2 * h**2)
    lost = np.r_[0, np.cumsum(0.5 * (inside[1:] + inside[:-1]) * np.diff(times))]
    kept = run.energy + run.escaped_energy - run.energy[0]
    np.testing.assert_allclose(kept, -lost, atol=h)
