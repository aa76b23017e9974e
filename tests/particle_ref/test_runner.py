"""What a run records, what it refuses, and how it stops."""

from contextlib import contextmanager

import numpy as np
import pytest

import mfpde as mf
import particle_ref as pr


@pytest.fixture
def problem(toy):
    x = np.linspace(-1, 1, 5)
    return toy.two_layer(x, np.sin(x), bias=True)


START = pr.Cloud(np.random.default_rng(0).normal(size=(7, 3)))


def test_the_record_of_a_run(toy, problem):
    run = pr.run(problem, START, pr.Descent(0.5), [0.0, 0.5, 2.0])
    assert dict(run.sizes) == {"time": 3, "particle": 7, "coord": 3, "sample": 5}
    assert run.position.dims == ("time", "particle", "coord")
    assert run.weight.dims == ("time", "particle")
    assert run.prediction.dims == ("time", "sample")
    assert run.risk.dims == run.energy.dims == run.dissipation.dims == ("time",)
    assert run.coord.values.tolist() == ["a", "w", "b"]
    assert run.time.values.tolist() == [0.0, 0.5, 2.0]
    np.testing.assert_array_equal(run.x, problem.x)
    np.testing.assert_array_equal(run.y, problem.y)
    np.testing.assert_array_equal(run.position[0], START.position)
    assert run.attrs == {
        "software": "particle_ref",
        "method": "Descent(dt=0.5, kinks='cross')",
        "particles": 7,
        "problem": "FeatureProblem",
        "penalty": "Penalty",
        "entropy": 0.0,
        "energy_excludes_entropy": 1,
        "geometry_a": "line",
        "geometry_w": "line",
        "geometry_b": "line",
    }


def test_inputs_of_several_dimensions_and_no_samples(toy):
    x = np.arange(6.0).reshape(3, 2)
    network = toy.two_layer(x, x[:, 0])
    run = pr.run(network, START, pr.GradientFlow(), [0.1])
    assert run.x.dims == ("sample", "input")
    kernel = toy.as_kernel(network)
    run = pr.run(kernel, START, pr.GradientFlow(), [0.1])
    assert run.sizes["sample"] == 0
    assert run.prediction.shape == (1, 0)


def test_the_start_is_the_state_at_time_zero(problem):
    later = pr.run(problem, START, pr.GradientFlow(), [0.5])
    both = pr.run(problem, START, pr.GradientFlow(), [0.0, 0.5])
    np.testing.assert_allclose(later.position[0], both.position[1], atol=1e-12)


@pytest.mark.parametrize(
    "times", [[], [1.0, 0.5], [0.0, 0.0], [-1.0], [0.0, np.nan], [np.inf], 1.0]
)
def test_times_out_of_order_are_refused(problem, times):
    with pytest.raises(pr.InvalidInput, match="times"):
        pr.run(problem, START, pr.Descent(0.5), times)


def test_times_that_no_step_reaches_are_listed(problem):
    with pytest.raises(pr.InvalidInput, match=r"0\.25.*0\.7[^5]") as refusal:
        pr.run(problem, START, pr.Descent(0.5), [0.0, 0.25, 0.5, 0.7])
    assert "0.5," not in str(refusal.value).splitlines()[0]
    pr.run(problem, START, pr.Descent(0.1), np.arange(4) * 0.1)  # 0.30000000000000004


@pytest.mark.parametrize("method", [pr.GradientFlow(), pr.Descent(0.5)])
def test_entropy_is_refused(toy, method):
    with pytest.raises(pr.InvalidInput, match="entropy"):
        pr.run(toy.two_layer([1.0], [1.0], entropy=0.1), pr.Cloud([[1.0, 1.0]]), method, [0.0])


def test_a_cloud_of_another_dimension_is_refused(problem):
    with pytest.raises(pr.InvalidInput, match="a, w, b"):
        pr.run(problem, pr.Cloud([[1.0, 1.0]]), pr.Descent(0.5), [0.0])


def test_a_cloud_outside_the_walls_is_refused(toy):
    box = {"w": toy.geometry("interval", -1.0, 1.0)}
    boxed = toy.two_layer([1.0], [1.0], domain=box)
    with pytest.raises(pr.InvalidInput, match=r"particle 1 starts at w = 1\.5"):
        pr.run(boxed, pr.Cloud([[9.0, 0.0], [0.0, 1.5]]), pr.Descent(0.5), [0.0])


def test_an_unknown_range_is_refused(toy):
    odd = toy.two_layer([1.0], [1.0], domain={"w": toy.geometry("torus", 0.0, 1.0)})
    with pytest.raises(pr.InvalidInput, match="torus"):
        pr.run(odd, pr.Cloud([[9.0, 0.0]]), pr.Descent(0.5), [0.0])


def test_the_refusal_of_entropy_sends_nobody_to_the_density(toy):
    """No method of the density steps it either."""
    noisy = toy.two_layer([1.0], [1.0], entropy=0.1)
    with pytest.raises(pr.InvalidInput) as refusal:
        pr.run(noisy, pr.Cloud([[1.0, 1.0]]), pr.Descent(0.5), [0.0])
    assert "density" not in str(refusal.value)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"method": pr.GradientFlow}, r"write pr\.GradientFlow\(\)"),
        ({"method": pr.Descent}, r"write pr\.Descent\(dt\)"),
        ({"method": "descent"}, "method = 'descent'"),
        ({"cloud": np.zeros((3, 3))}, "not a cloud"),
        ({"times": "long"}, "times is not an array of numbers"),
        ({"times": None}, "times"),
        ({"to": "runs/y"}, r"to=mf\.store"),
    ],
    ids=str,
)
def test_arguments_of_another_kind_are_refused(problem, parts, said):
    given = {"cloud": START, "method": pr.Descent(0.5), "times": [0.0]} | parts
    with pytest.raises(pr.InvalidInput, match=said):
        pr.run(problem, **given)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: pr.GradientFlow("a"),
        lambda: pr.GradientFlow(atol="a"),
        lambda: pr.GradientFlow(integrator=["RK45"]),
        lambda: pr.Descent("a"),
        lambda: pr.Cloud("a"),
        lambda: pr.MeanFieldTwoLayerNN("a", 1),
        lambda: pr.MeanFieldTwoLayerNN(4, 1).forward("a"),
        lambda: pr.MeanFieldTwoLayerNN(4, 1).train_gradient_descent([[1.0]], [1.0], "a", 2),
    ],
)
def test_words_are_no_numbers(wrong):
    with pytest.raises(pr.InvalidInput):
        wrong()


def test_a_sample_of_words_is_none(problem):
    for m in ("a", np.inf, 2.5):
        with pytest.raises(pr.InvalidInput, match="m = "):
            pr.sample(problem, m)


class Notebook:
    """A writer that remembers what it was asked to keep, and may have come some way already."""

    def __init__(self, rows=(), state=None):
        self.rows, self.state, self.finished = list(rows), state, False
        self.states = []

    @contextmanager
    def opened(self, identity, template, times):
        self.identity, self.template, self.times = identity, template, times
        yield self

    @property
    def count(self):
        return len(self.rows)

    def append(self, row, state):
        self.rows.append(row)
        self.states.append(state)

    def finish(self, attrs):
        self.finished = True

    def run(self):
        return self


def test_a_run_is_kept_snapshot_by_snapshot(problem):
    to = Notebook()
    assert pr.run(problem, START, pr.Descent(0.5), [0.0, 0.5], to=to) is to
    run = pr.run(problem, START, pr.Descent(0.5), [0.0, 0.5])
    assert to.finished
    assert to.times.tolist() == [0.0, 0.5]
    over_time = {name for name, v in to.template.variables.items() if "time" in v.dims}
    for k, row in enumerate(to.rows):
        assert set(row) == over_time
        for name, value in row.items():
            np.testing.assert_array_equal(value, run[name].values[k])
    assert to.template.attrs == run.attrs


@pytest.mark.parametrize("method", [pr.Descent(0.25), pr.GradientFlow(rtol=1e-6)])
def test_a_run_goes_on_from_what_was_kept(problem, method):
    """Bit for bit, and from there: what was kept is not computed again."""
    times = [0.0, 0.5, 1.0, 1.5]
    whole = Notebook()
    pr.run(problem, START, method, times, to=whole)
    part = Notebook(whole.rows[:2], whole.states[1])
    pr.run(problem, START, method, times, to=part)
    assert len(part.rows) == 4
    for row, again in zip(whole.rows, part.rows, strict=True):
        for name in row:
            np.testing.assert_array_equal(row[name], again[name])


def test_what_was_reached_is_kept_when_a_run_stops(toy):
    to = Notebook()
    with pytest.raises(pr.NumericalStop) as stop:
        pr.run(exploding(toy), pr.Cloud([[1.0, 0.0]]), pr.Descent(0.25), [0.0, 0.5, 9.0], to=to)
    assert stop.value.last is to
    assert [row["time"] for row in to.rows] == [0.0, 0.5]
    assert not to.finished


def test_a_place_that_is_taken_is_noticed_before_anything_moves(problem):
    class Taken(Notebook):
        def opened(self, identity, template, times):
            raise FileExistsError("runs/y")

    class Still(pr.Descent):
        def resumed(self, *arguments):
            raise AssertionError("particles moved")

    with pytest.raises(FileExistsError, match="runs/y"):
        pr.run(problem, START, Still(0.5), [0.0, 0.5], to=Taken())


@pytest.mark.parametrize("dt", [0.0, -1.0, np.nan, np.inf])
def test_steps_that_are_none_are_refused(dt):
    with pytest.raises(pr.InvalidInput, match="dt"):
        pr.Descent(dt)


@pytest.mark.parametrize(
    "options", [{"rtol": 0.0}, {"rtol": np.nan}, {"atol": -1.0}, {"integrator": "Euler"}]
)
def test_integrators_that_are_none_are_refused(options):
    with pytest.raises(pr.InvalidInput, match=next(iter(options))):
        pr.GradientFlow(**options)


def exploding(toy):
    """reg = −a⁴/4: a' = a³, so a = (a_0^{−2} − 2t)^{−1/2}, until t = a_0^{−2}/2."""
    penalty = toy.Penalty(lambda u: -(u[:, 0] ** 4) / 4, lambda u: u * [-1.0, 0.0] * u**2, None)
    return toy.two_layer([0.0], [0.0], penalty=penalty)


def test_a_blow_up_stops_the_gradient_flow_and_keeps_what_was_reached(toy):
    with pytest.raises(pr.NumericalStop) as stop:
        pr.run(exploding(toy), pr.Cloud([[1.0, 0.0]]), pr.GradientFlow(), [0.0, 0.25, 0.45, 0.6])
    last = stop.value.last
    assert last.time.values.tolist() == [0.0, 0.25, 0.45]
    exact = (1 - 2 * last.time.values) ** -0.5
    np.testing.assert_allclose(last.position[:, 0, 0], exact, rtol=1e-8)


def test_a_blow_up_stops_descent_and_keeps_what_was_reached(toy):
    with pytest.raises(pr.NumericalStop, match="after step") as stop:
        pr.run(exploding(toy), pr.Cloud([[1.0, 0.0]]), pr.Descent(0.25), [0.0, 0.25, 0.5, 9.0])
    np.testing.assert_allclose(stop.value.last.position[:, 0, 0], [1.0, 1.25, 1.25 + 1.25**3 / 4])


def test_a_force_that_is_not_finite_stops_the_run(toy):
    """A kernel infinite at one point: positions stay finite and nothing is silently recorded."""
    broken = toy.KernelProblem(
        coords=("q",),
        K=lambda u, v: np.zeros((len(u), len(v))),
        dK=lambda u, v: np.zeros((len(u), len(v), 1)),
        F=lambda u: np.where(u[:, 0] > 0.5, np.nan, u[:, 0]),
        dF=lambda u: np.where(u > 0.5, np.nan, 1.0),
    )
    for method in (pr.GradientFlow(), pr.Descent(0.5)):
        with pytest.raises(pr.NumericalStop) as stop:
            pr.run(broken, pr.Cloud([[0.0]]), method, [0.0, 0.5, 1.0, 1.5])
        assert set(stop.value.last.time.values) <= {0.0, 0.5}
        assert stop.value.last.time.values[0] == 0.0
        with pytest.raises(pr.NumericalStop) as stop:
            pr.run(broken, pr.Cloud([[0.7]]), method, [0.5])
        assert stop.value.last.sizes["time"] == 0


@pytest.mark.parametrize("method", [pr.Descent(100.0), pr.Stochastic(20.0, 8, seed=0)])
def test_what_blows_up_is_stopped_while_its_numbers_are_finite(method):
    x = np.linspace(-2, 2, 16)
    problem = mf.two_layer(x, np.sin(2 * x))
    times = [0.0, 10 * method.dt]
    with pytest.raises(pr.NumericalStop, match="energy grew") as stop:
        pr.run(problem, pr.sample(problem, 50, seed=0), method, times)
    assert stop.value.last.sizes["time"] == 1
