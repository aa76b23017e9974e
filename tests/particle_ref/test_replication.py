"""Replicas: each is known by its seed alone."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import particle_ref as pr

TIMES = [0.0, 0.5, 1.0]


@pytest.fixture
def problem(toy):
    x = np.linspace(-1, 1, 5)
    return toy.two_layer(x, np.sin(x), entropy=0.1, penalty=toy.ridge(0.2))


@pytest.mark.parametrize("kind", ["iid", "sobol"])
@pytest.mark.parametrize("m", [4, 7, 33])
def test_a_smaller_cloud_is_the_head_of_a_larger(problem, kind, m):
    large = pr.sample(problem, 64, 5, kind).position
    np.testing.assert_array_equal(pr.sample(problem, m, 5, kind).position, large[:m])


def test_a_replica_is_a_run_of_its_seed(problem):
    quiet = replace(problem, entropy=0.0)
    flows = pr.replicas(quiet, 6, pr.Descent(0.25), TIMES, [3, 1])
    for flow, seed in zip(flows, (3, 1), strict=True):
        alone = pr.run(quiet, pr.sample(quiet, 6, seed), pr.Descent(0.25), TIMES)
        xr.testing.assert_equal(flow, alone)
        assert flow.seed == seed


def test_replicas_do_not_depend_on_each_other(problem):
    method = pr.Langevin(0.25, 8)
    several = pr.replicas(problem, 6, method, TIMES, range(4))
    others = pr.replicas(problem, 6, method, TIMES, [2, 0])
    xr.testing.assert_identical(several[2], others[0])
    xr.testing.assert_identical(several[0], others[1])


def test_noise_differs_between_replicas_and_between_studies(problem):
    flows = pr.replicas(problem, 6, pr.Langevin(0.25, 8), TIMES, [0, 1])
    other = pr.replicas(problem, 6, pr.Langevin(0.25, 9), TIMES, [0])[0]
    np.testing.assert_array_equal(flows[0].position[0], other.position[0])  # the same clouds
    assert (flows[0].position[1] != other.position[1]).all()
    steps = [flow.position.values[1] - flow.position.values[0] for flow in flows]
    assert (steps[0] != steps[1]).all()
    assert flows[1].method == "Langevin(dt=0.25, seed=(8, 1), scheme='splitting')"


def test_predictions_alone(problem):
    whole = pr.replicas(problem, 6, pr.Langevin(0.25, 8), TIMES, [0])[0]
    (light,) = pr.replicas(problem, 6, pr.Langevin(0.25, 8), TIMES, [0], keep="prediction")
    assert light.sizes["particle"] == 0
    assert all(light[name].values.base is None for name in ("position", "weight"))  # no view
    xr.testing.assert_identical(light, whole.isel(particle=slice(0)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "repeat"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": 3}, "range"),
        ({"seeds": "ab"}, "seeds"),
        ({"workers": 0}, "workers"),
        ({"keep": "risk"}, "keep"),
        ({"size": 0}, "m = 0"),
        ({"kind": "lattice"}, "lattice"),
    ],
    ids=str,
)
def test_what_makes_no_replicas_is_refused(problem, wrong, said):
    given = {"size": 3, "method": pr.Langevin(0.5, 0), "times": [0.5], "seeds": [0]} | wrong
    with pytest.raises(pr.InvalidInput, match=said):
        pr.replicas(problem, **given)
