"""A stored time as weighted points that reproduce what the run integrates."""

import numpy as np
import pytest
import xarray as xr

from mfpde.errors import InvalidInput
from mfpde.measures import as_measure, coordinates, periods

A_EDGES = np.array([-2.0, -1.5, -0.5, 1.0, 3.0])  # cells of different widths
W_EDGES = np.linspace(0.0, 1.0, 6)


def density(rho: np.ndarray, **attrs: object) -> xr.Dataset:
    """A density run at times 0, 1, ... on the edges above, w on a circle of length 1."""
    centres = [(edges[1:] + edges[:-1]) / 2 for edges in (A_EDGES, W_EDGES)]
    return xr.Dataset(
        {
            "rho": (("time", "a", "w"), rho),
            "a_edges": ("a_edge", A_EDGES),
            "w_edges": ("w_edge", W_EDGES),
        },
        coords={
            "time": np.arange(len(rho)),
            "a": ("a", centres[0], {"geometry": "line", "low": -2.0, "high": 3.0}),
            "w": ("w", centres[1], {"geometry": "circle", "low": 0.0, "high": 1.0}),
        },
        attrs={"quadrature": 2} | attrs,
    )


def flow(position: np.ndarray, weight: np.ndarray) -> xr.Dataset:
    """A particle flow in the same coordinates."""
    return xr.Dataset(
        {
            "position": (("time", "particle", "coord"), position),
            "weight": (("time", "particle"), weight),
        },
        coords={"coord": ["a", "w"], "time": np.arange(len(position))},
        attrs={"geometry_a": "line", "geometry_w": "circle", "length_w": 1.0},
    )


def random_density(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((2, 4, 5))


def test_density_becomes_masses_at_the_centres_in_c_order() -> None:
    run = density(random_density())
    points, weights = as_measure(run.isel(time=1))
    k = 2 * 5 + 3  # cell (2, 3)
    assert points.shape == (20, 2)
    assert points[k] == pytest.approx([0.25, 0.7], abs=1e-15)
    assert weights[k] == pytest.approx(float(run.rho[1, 2, 3]) * 1.5 * 0.2, rel=1e-14)


def test_points_reproduce_the_integrals_of_the_run() -> None:
    run = density(random_density())
    points, weights = as_measure(run.isel(time=0))
    volume = xr.DataArray(np.diff(A_EDGES), dims="a") * xr.DataArray(np.diff(W_EDGES), dims="w")
    mass = (run.rho[0] * volume).sum()
    integral = (run.rho[0] * volume * run.a * np.cos(3 * run.w)).sum()
    assert weights.sum() == pytest.approx(float(mass), rel=1e-13)
    reproduced = weights @ (points[:, 0] * np.cos(3 * points[:, 1]))
    assert reproduced == pytest.approx(float(integral), rel=1e-12, abs=1e-12)


def test_particles_are_returned_as_they_are() -> None:
    rng = np.random.default_rng(1)
    position, weight = rng.normal(size=(3, 7, 2)), rng.random((3, 7))
    points, weights = as_measure(flow(position, weight).isel(time=2))
    np.testing.assert_array_equal(points, position[2])
    np.testing.assert_array_equal(weights, weight[2])


def test_points_without_mass_are_left_out() -> None:
    rho = random_density()
    rho[0, 1, 2] = 0.0
    rho[0, 3, 0] = -1e-16  # round-off of a conservative remap
    points, weights = as_measure(density(rho).isel(time=0))
    assert len(points) == len(weights) == 18
    assert (weights > 0).all()
    assert [-1.0, 0.5] not in points.tolist()


def test_prune_leaves_out_light_points_and_only_these() -> None:
    run = density(random_density())
    points, weights = as_measure(run.isel(time=0))
    cut = np.median(weights)
    kept_points, kept = as_measure(run.isel(time=0), prune=cut)
    np.testing.assert_array_equal(kept, weights[weights >= cut])
    np.testing.assert_array_equal(kept_points, points[weights >= cut])


def test_a_time_dimension_of_length_one_is_a_single_time() -> None:
    run = density(random_density())
    for kept, dropped in zip(
        as_measure(run.isel(time=[1])), as_measure(run.isel(time=1)), strict=True
    ):
        np.testing.assert_array_equal(kept, dropped)


def test_coordinates_and_periods_of_both_kinds_of_run() -> None:
    for run in (density(random_density()), flow(np.zeros((1, 3, 2)), np.ones((1, 3)))):
        assert coordinates(run) == ("a", "w")
        assert periods(run) == (np.inf, 1.0)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (density(random_density()), "2 times"),
        (density(random_density()[:1], quadrature="gauss"), "gauss"),
        (density(-random_density()[:1]), "negative"),
        (density(np.full((1, 4, 5), np.nan)), "not finite"),
        (flow(np.zeros((1, 2, 2)), np.array([[0.5, -0.5]])), "negative"),
        (density(random_density()[:1]).drop_vars("rho"), "no measure"),
    ],
)
def test_what_is_no_measure_is_refused(broken: xr.Dataset, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        as_measure(broken)


@pytest.mark.parametrize("prune", [-1.0, np.nan, np.inf, 1e3])
def test_a_prune_that_makes_no_sense_is_refused(prune: float) -> None:
    with pytest.raises(InvalidInput, match="prune"):
        as_measure(density(random_density()[:1]), prune=prune)
