"""mf.optimum: what runs and particles end at, and never fall below."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mfpde as mf
import particle_ref as pr
from mfpde.errors import InvalidInput, NotAvailable

X = np.linspace(-2, 2, 9)
Y = np.sin(2 * X)
START = mf.gaussian(0.3, 0.4)
BOX = {"a": mf.interval(-3, 3), "w": mf.interval(-3, 3)}
GRID = mf.Grid(a=mf.uniform(-3, 3, 16), w=mf.uniform(-3, 3, 18))
KERNEL = mf.kernel_problem(
    ("w",), lambda u, v: np.exp(-((u - v.T) ** 2)), lambda u: u[:, 0], initial=START
)


def network(entropy=0.0, penalty=0.05, **settings):
    return mf.two_layer(X, Y, penalty=mf.ridge(penalty), entropy=entropy, initial=START, **settings)


@pytest.mark.parametrize("loss", [mf.square, mf.huber(0.2)], ids=repr)
def test_a_long_entropic_run_ends_there(loss):
    problem = network(0.1, loss=loss, domain=BOX)
    best = mf.optimum(problem, GRID)
    run = mf.solve(problem, GRID, mf.scharfetter_gummel(dt=50.0), times=[0, 1, 2000])
    assert_allclose(run.rho[-1], best.minimiser.rho, rtol=0, atol=1e-6)  # its root solver's
    assert_allclose(run.energy[-1], best.value, rtol=0, atol=1e-12)
    assert np.all(run.energy >= best.lower_bound)
    assert run.energy[1] > best.value + 1e-3


def test_nothing_falls_below_the_optimum_of_measures():
    problem = network()
    best = mf.optimum(problem, GRID)
    run = mf.solve(problem, GRID, mf.muscl(), times=[0, 2, 20])
    flow = pr.run(problem, pr.sample(problem, 40, seed=0), pr.GradientFlow(), times=[0, 2, 60])
    assert best.gap <= 1e-10
    assert np.all(run.energy >= best.lower_bound)
    assert np.abs(flow.position).max() < 3
    assert best.lower_bound <= flow.energy[-1] <= best.value + 1e-3


def test_entropy_raises_the_optimum_of_the_rest():
    """F*_λ − λ∫ρ log ρ >= F*_0: a density is a measure on the box, with its centres in it."""
    below = mf.optimum(network(), GRID)
    problem = network(1e-3)
    best = mf.optimum(problem, GRID).minimiser
    points, weights = mf.as_measure(best)
    rest = float(best.risk) + weights @ problem.penalty.value(points)
    assert below.lower_bound <= rest <= below.value + 0.05


@pytest.mark.parametrize("entropy", [0.0, 0.1])
def test_the_minimiser_is_a_snapshot(entropy):
    problem = network(entropy)
    best = mf.optimum(problem, GRID)
    points, weights = mf.as_measure(best.minimiser)
    f = weights @ (points[:, :1] * problem.phi(points[:, 1:]))
    assert_allclose(weights.sum(), 1, rtol=1e-14)
    assert_allclose(f, best.minimiser.prediction, rtol=0, atol=1e-14)
    assert_allclose(mf.predict(problem, best.minimiser, X), f, rtol=0, atol=1e-14)
    V = mf.potential(problem, best.minimiser, points)
    if entropy == 0:
        assert np.ptp(V) <= 1e-9
        assert V.min() <= mf.potential(problem, best.minimiser, GRID.points()).min() + 1e-12
    else:
        assert np.ptp(V + entropy * np.log(weights)) <= 1e-7
    assert best.gap == best.value - best.lower_bound
    assert float(best.minimiser.energy) == best.value


def test_on_a_circle():
    problem = mf.Problem(
        ("a", "theta"),
        lambda v: np.cos(v - 2 * np.pi * np.arange(5.0) / 5),
        lambda v: -np.sin(v - 2 * np.pi * np.arange(5.0) / 5)[:, :, None],
        mf.square(np.cos(np.arange(5.0))),
        mf.ridge((0.2, 0.0)),
        0.05,
        mf.product(a=mf.gaussian(0, 0.3), theta=mf.uniform_box(0, 2 * np.pi)),
        lifted=True,
        domain={"a": BOX["a"], "theta": mf.circle(2 * np.pi)},
    )
    grid = mf.Grid(a=mf.uniform(-3, 3, 24), theta=mf.periodic(0, 2 * np.pi, 32))
    best = mf.optimum(problem, grid)
    assert 0 <= best.gap <= 1e-13
    assert best.minimiser.theta.attrs["geometry"] == "circle"
    run = mf.solve(problem, grid, mf.scharfetter_gummel(dt=0.2), times=[0, 2])
    assert np.all(run.energy >= best.lower_bound)


def test_it_says_what_it_is():
    text = repr(mf.optimum(network(0.1), GRID))
    assert "min F" in text
    assert "16 × 18 cells" in text
    assert "gap" in text
    assert "[-3, 3] × [-3, 3]" in repr(mf.optimum(network(), GRID))


def test_a_box_by_its_ends_is_the_grid_s():
    """Whatever the domain leaves open has to be named, the rest may be."""
    named = mf.optimum(network(), {"w": (-3, 3), "a": (-3, 3)})
    held = mf.optimum(network(domain={"w": BOX["w"]}), {"a": (-3, 3)})
    for best in (named, held):
        assert repr(best) == repr(mf.optimum(network(), GRID))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: mf.optimum(network(), "Sphere"), InvalidInput, '"sphere", a Grid'),
        (lambda: mf.optimum(network(), {"a": (-3, 3)}), InvalidInput, "no ends for .'w'"),
        (lambda: mf.optimum(network(), {"w": (-3, 3), "a": (-9, np.inf)}), InvalidInput, "finite"),
        (lambda: mf.optimum(network(domain=BOX), {"w": (-4, 3)}), InvalidInput, "within interval"),
        (lambda: mf.optimum(network(), {"u": (-4, 3)}), InvalidInput, "grid names .'u'"),
        (lambda: mf.optimum(network(), {"w": 3, "a": (0, 1)}), InvalidInput, "low < high"),
        (lambda: mf.optimum(network(0.1), {"w": (-3, 3)}), InvalidInput, "with entropy"),
        (lambda: mf.optimum(KERNEL, mf.Grid(w=mf.uniform(-2, 2, 8))), NotAvailable, "features"),
        (lambda: mf.optimum(network(), "grid"), InvalidInput, "Grid"),
        (lambda: mf.optimum(network(), GRID, tolerance=0), InvalidInput, "tolerance"),
        (lambda: mf.optimum(network(bias=True), GRID), InvalidInput, "axes"),
        (lambda: mf.optimum(network(activation=mf.heaviside), GRID), NotAvailable, "heaviside"),
    ],
)
def test_refusals(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_the_optimum_over_all_neurons():
    """The sphere's optimum as any other: its snapshot is understood, and certified at its value."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    problem = mf.two_layer(x, y, activation=mf.relu, penalty=mf.ridge(0.05))
    best = mf.optimum(problem, "sphere", 1e-10)
    assert 0 <= best.gap <= 1e-10
    points, weights = mf.as_measure(best.minimiser)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    f = (weights * points[:, 0]) @ np.maximum(points[:, 1:] @ x.T, 0)
    np.testing.assert_allclose(best.minimiser.prediction, f, atol=1e-13)
    energy = ((f - y) ** 2).mean() / 2 + 0.025 * weights @ (points**2).sum(axis=1)
    assert best.value == pytest.approx(energy, abs=1e-13)
    assert float(mf.certificate(problem, best.minimiser).gap[0]) <= 1e-9
    with pytest.raises(InvalidInput):
        mf.optimum(problem, "ball")
