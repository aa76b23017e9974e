"""The network at new inputs: at the training inputs it is the run's own prediction."""

import numpy as np
import pytest

import mfpde as mf
import mfpde.prediction
import particle_ref as pr
from mfpde.errors import InvalidInput
from mfpde.prediction import predict

TIMES = [0.0, 0.3]


def network(d: int = 1, **options: object) -> mf.Problem:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(9, d)) if d > 1 else rng.normal(size=9)
    return mf.two_layer(x, rng.normal(size=9), initial=mf.gaussian(0.2, 0.5), **options)


def density(problem: mf.Problem) -> object:
    grid = mf.Grid(**{c: mf.uniform(-4, 4, 14) for c in problem.coords})
    return mf.solve(problem, grid, times=TIMES, escaped_tolerance=1e-3, progress=False)


@pytest.mark.parametrize(
    "problem",
    [network(), network(bias=True), network(output_weight=False), network(2)],
    ids=["a,w", "a,w,b", "w", "a,w1,w2"],
)
def test_at_the_training_inputs_it_is_the_prediction_of_run_and_flow(problem: mf.Problem) -> None:
    cloud = pr.sample(problem, 30, seed=1)
    for run in (density(problem), pr.run(problem, cloud, pr.GradientFlow(), TIMES)):
        for time in range(2):
            f = predict(problem, run.isel(time=time), problem.x)
            np.testing.assert_allclose(f, run.prediction[time], rtol=0, atol=1e-12)


def test_at_a_new_input_it_is_the_sum_over_the_neurons() -> None:
    problem = network(bias=True)
    cloud = pr.sample(problem, 20, seed=3)
    flow = pr.run(problem, cloud, pr.GradientFlow(), TIMES)
    a, w, b = flow.position.values[-1].T
    expected = [np.mean(a * np.tanh(w * x + b)) for x in (-1.7, 0.4)]
    np.testing.assert_allclose(predict(problem, flow.isel(time=-1), [-1.7, 0.4]), expected)


def test_blocks_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, x = network(), np.linspace(-2, 2, 5)
    start = density(problem).isel(time=0)
    whole = predict(problem, start, x)
    monkeypatch.setattr(mfpde.prediction, "BLOCK", 17)
    np.testing.assert_allclose(predict(problem, start, x), whole, rtol=0, atol=1e-14)


def test_inputs_of_another_dimension_and_other_features_are_refused() -> None:
    flow = pr.run(network(2), pr.sample(network(2), 5), pr.GradientFlow(), TIMES)
    with pytest.raises(InvalidInput, match="takes 2 input"):
        predict(network(2), flow.isel(time=0), np.zeros(3))
    wave = mf.Problem(
        ("w",),
        lambda w: np.cos(w - np.arange(3)),
        lambda w: -np.sin(w - np.arange(3))[..., None],
        mf.square(np.ones(3)),
    )
    flow = pr.run(wave, pr.sample(wave, 5), pr.GradientFlow(), TIMES)
    with pytest.raises(InvalidInput, match=r"mf\.two_layer"):
        predict(wave, flow.isel(time=0), [0.0])


def test_a_snapshot_of_other_neurons_is_refused() -> None:
    snapshot = density(network(1)).isel(time=0)
    with pytest.raises(InvalidInput, match=r"(?s)'a', 'w'\).*'w1', 'w2'"):
        predict(network(2), snapshot, np.zeros((1, 2)))
    with pytest.raises(InvalidInput, match=r"(?s)'a', 'w'\).*'w1', 'w2'"):
        mf.potential(network(2), snapshot)
