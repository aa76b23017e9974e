"""Comparing runs: what must vanish, what was planted must be found, what differs is refused."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import xarray as xr

import mfpde as mf
from mfpde.comparison import compare, order
from mfpde.errors import InvalidInput
from mfpde.measures import as_measure, drawn, energy, energy_distance, exact_w2, sliced_w2

X = np.linspace(-1.0, 1.0, 5)
WEIGHTS = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
TIMES = (0.0, 0.5, 1.0)
LENGTH = 2.0  # of the circle on which w lives
MARGINALS = ["w1_a", "w1_w", "w2_a", "w2_w"]
BETWEEN = [*MARGINALS, "sliced_w2", "energy_distance", "w2", "flat"]
EVERYTHING = ["prediction_gap", "risk_gap", *BETWEEN[:-1]]


def predicted(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Features a cos(pi (w - x)), of period LENGTH in w."""
    return weights @ (points[:, :1] * np.cos(np.pi * (points[:, 1:] - X)))


def risk(prediction: np.ndarray) -> float:
    return float(0.5 * WEIGHTS @ (prediction - np.sin(X)) ** 2)


def samples(prediction: np.ndarray) -> dict[str, object]:
    return {
        "prediction": (("time", "sample"), prediction),
        "risk": ("time", [risk(f) for f in prediction]),
        "x": ("sample", X),
        "y": ("sample", np.sin(X)),
    }


def density_run(
    times: Sequence[float] = TIMES, cells: int = 8, shift: float = 0.0, speed: float = 0.4
) -> xr.Dataset:
    """Bumps in (a, w) that travel in both; ``shift`` moves the grid in a, cells and all."""
    a_edges = np.linspace(-3, 3, cells + 1)
    w_edges = np.linspace(0, LENGTH, cells + 3)
    a, w = ((edges[1:] + edges[:-1]) / 2 for edges in (a_edges, w_edges))
    volume = (a_edges[1] - a_edges[0]) * (w_edges[1] - w_edges[0])
    rho = np.stack(
        [
            np.exp(-((a[:, None] - speed * t) ** 2) + np.cos(2 * np.pi / LENGTH * (w - speed * t)))
            for t in times
        ]
    )
    rho /= rho.sum(axis=(1, 2), keepdims=True) * volume
    points = np.stack(np.meshgrid(a + shift, w, indexing="ij"), axis=-1).reshape(-1, 2)
    prediction = np.stack([predicted(points, moment.ravel() * volume) for moment in rho])
    return xr.Dataset(
        {
            "rho": (("time", "a", "w"), rho),
            "a_edges": ("a_edge", a_edges + shift),
            "w_edges": ("w_edge", w_edges),
            "weight": ("sample", WEIGHTS),
        }
        | samples(prediction),
        coords={
            "time": list(times),
            "a": ("a", a + shift, {"geometry": "line", "low": -3 + shift, "high": 3 + shift}),
            "w": ("w", w, {"geometry": "circle", "low": 0.0, "high": LENGTH}),
        },
        attrs={
            "software": "mfpde",
            "problem": "one",
            "method": "synthetic",
            "quadrature": 2,
        },
    )


def particle_flow(
    position: np.ndarray, weight: np.ndarray, times: Sequence[float] = TIMES
) -> xr.Dataset:
    """Particles at ``position`` (time, particle, coord) with weights (particle,) for all times."""
    prediction = np.stack([predicted(points, weight) for points in position])
    return xr.Dataset(
        {
            "position": (("time", "particle", "coord"), position),
            "weight": (("time", "particle"), np.tile(weight, (len(times), 1))),
            "sample_weight": ("sample", WEIGHTS),
        }
        | samples(prediction),
        coords={"time": list(times), "coord": ["a", "w"]},
        attrs={
            "software": "particle_ref",
            "method": "synthetic",
            "problem": "one",
            "geometry_a": "line",
            "geometry_w": "circle",
            "length_w": LENGTH,
        },
    )


def random_flow(seed: int = 0, particles: int = 30, times: Sequence[float] = TIMES) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    position = rng.normal(size=(len(times), particles, 2))
    return particle_flow(position, np.full(particles, 1 / particles), times)


def own_cells(run: xr.Dataset) -> xr.Dataset:
    """The flow that starts on the cells of the run's first time and then drifts in a."""
    points, weights = as_measure(run.isel(time=0))
    drift = np.multiply.outer(run.time.values, [0.4, 0.0])[:, None, :]
    return particle_flow(points + drift, weights, run.time.values)


def test_a_run_and_the_cloud_of_its_own_cells_are_one() -> None:
    run = density_run()
    gap = compare(run, own_cells(run), exact=True)
    assert list(gap.data_vars) == EVERYTHING
    for name in EVERYTHING:
        roundoff = 1e-7 if name == "w2_w" else 1e-12  # the root of what the masses are off by
        assert abs(gap[name].values[0]) <= roundoff, name
        assert abs(gap[name].values[2]) > 1e-5, name


def test_a_grid_off_by_three_tenths_of_a_cell_is_found() -> None:
    h = 6 / 8
    gap = compare(density_run(), density_run(shift=0.3 * h), exact=True)
    np.testing.assert_allclose(gap.w1_a, 0.3 * h, rtol=1e-12)
    np.testing.assert_allclose(gap.w1_w, 0, atol=1e-14)
    np.testing.assert_allclose(gap.w2, 0.3 * h, rtol=1e-9)
    np.testing.assert_allclose(gap.sliced_w2, 0.3 * h / math.sqrt(3), rtol=1e-12)  # w is a circle


def test_a_shift_around_the_circle_is_measured_along_it() -> None:
    run = density_run()
    flow = own_cells(run)
    flow["position"] = flow.position + xr.DataArray([0.0, 1.9], dims="coord")  # 0.1 backwards
    gap = compare(run, flow, exact=True, only=("w1_a", "w1_w")).isel(time=0)
    assert float(gap.w2) == pytest.approx(0.1, rel=1e-9)
    assert 0 < float(gap.w1_w) <= 0.1
    assert float(gap.w1_a) == pytest.approx(0, abs=1e-14)


def test_prediction_gap_weighs_the_samples_and_risk_gap_has_a_sign() -> None:
    run, flow = density_run(), random_flow()
    gap, back = compare(run, flow), compare(flow, run)
    squares = ((run.prediction - flow.prediction) ** 2 * run.weight).sum("sample")
    np.testing.assert_allclose(gap.prediction_gap, np.sqrt(squares), rtol=1e-13)
    np.testing.assert_allclose(gap.risk_gap, flow.risk - run.risk, rtol=1e-13)
    for name in gap.data_vars:
        sign = -1 if name == "risk_gap" else 1
        np.testing.assert_allclose(back[name], sign * gap[name], rtol=1e-9, err_msg=str(name))


def test_between_two_flows_samples_weigh_as_in_the_loss() -> None:
    left, right = random_flow(0), random_flow(1)
    rms = np.sqrt((left.prediction - right.prediction) ** 2 @ left.sample_weight)
    np.testing.assert_allclose(compare(left, right).prediction_gap, rms, rtol=1e-13)


def test_the_distances_are_those_of_the_measures() -> None:
    run, flow = density_run(), random_flow()
    gap = compare(run, flow, exact=True).isel(time=1)
    pair = *as_measure(run.isel(time=1)), *as_measure(flow.isel(time=1))
    for name, distance in {
        "sliced_w2": sliced_w2,
        "energy_distance": energy_distance,
        "w2": exact_w2,
    }.items():
        assert float(gap[name]) == pytest.approx(distance(*pair, (math.inf, LENGTH)), rel=1e-12)


def test_replicas_are_the_comparisons_one_by_one() -> None:
    run, flows = density_run(), [random_flow(seed, particles=10 + seed) for seed in range(3)]
    gap = compare(run, flows)
    assert gap.sizes == {"time": 3, "replica": 3}
    for replica, flow in enumerate(flows):
        one = compare(run, flow)
        assert dict(one.sizes) == {"time": 3}
        for name in one.data_vars:
            np.testing.assert_array_equal(gap[name].isel(replica=replica), one[name])
    assert compare(run, flows[:1]).sizes == {"time": 3, "replica": 1}


def test_the_pairs_within_the_left_are_summed_once_per_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summed: list[int] = []
    spread = energy._spread
    monkeypatch.setattr(
        energy, "_spread", lambda x, *rest: summed.append(len(x)) or spread(x, *rest)
    )
    run, flows = density_run(), [random_flow(seed) for seed in range(4)]
    compare(run, flows, only=("energy_distance",))
    cells = 8 * 10
    assert summed.count(cells) == 3
    assert summed.count(30) == 3 * 4


def test_the_l1_of_densities_on_any_two_grids() -> None:
    """Halves of cells, shifted cells, and what lies beyond a box, against sums by hand."""
    run = density_run(times=(0.0,))
    same = compare(run, run, only=("l1",))
    assert same.l1.values[0] == 0
    fine = density_run(times=(0.0,), cells=16)
    volumes = np.outer(np.diff(fine.a_edges), np.full(18, LENGTH / 18))
    coarse_on_fine = run.rho.values[0].repeat(2, axis=0)
    points = (np.arange(180) + 0.5) * LENGTH / 180  # of both 10 and 18 cells of w
    at = np.searchsorted(run.w_edges, points) - 1, np.searchsorted(fine.w_edges, points) - 1
    gap = coarse_on_fine[:, at[0]] - fine.rho.values[0][:, at[1]]
    expected = np.abs(gap).sum() * (volumes[0, 0] / (LENGTH / 18)) * LENGTH / 180
    assert compare(run, fine).l1.values[0] == pytest.approx(expected, rel=1e-12)
    assert compare(run, density_run((0.0,), shift=50.0)).l1.values[0] == pytest.approx(2)
    assert "l1" not in compare(run, own_cells(run))
    with pytest.raises(InvalidInput, match="names for these runs"):
        compare(run, own_cells(run), only=("l1",))


@pytest.mark.parametrize("cut", [0.25, 0.1, -1.3])
def test_the_l1_around_a_circle_does_not_see_where_it_is_cut(cut: float) -> None:
    law = mf.product(t=mf.uniform_box(0.1, 0.6))
    problem = mf.Problem(
        ("t",),
        phi=lambda t: np.cos(2 * np.pi * t),
        dphi=None,
        loss=mf.square(np.array([0.0])),
        initial=law,
        domain={"t": mf.circle(1.0)},
    )
    one, other = (
        mf.solve(
            problem, mf.Grid(t=mf.periodic(low, low + 1, 60)), mf.upwind(), [0.0], progress=False
        )
        for low in (0.0, cut)
    )
    assert compare(one, other).l1.values[0] == pytest.approx(0, abs=1e-9)


def test_floors_are_those_of_iid_clouds() -> None:
    """E[energy distance²] = E|X − X'| / N, here by 200 clouds of 50 points.

    The square of one cloud scatters by less than its mean, so that the mean of 200 is right to
    0.29 but for a false alarm of 1e-4 at most (four standard deviations of a normal).
    """
    run = density_run(times=(0.0,), cells=40)
    points, weights = as_measure(run.isel(time=0))
    flow = own_cells(run).isel(particle=slice(50))
    flow["weight"] = flow["weight"] * 0 + 0.02
    gap = compare(run, flow, only=("energy_distance", "w1_a", "risk_gap"), floor=200)
    assert set(gap) == {
        "risk_gap", "w1_a", "energy_distance", "floor_w1_a", "floor_energy_distance"
    }  # fmt: skip
    angle = 2 * np.pi / LENGTH * points[:, 1]
    radius = LENGTH / (2 * np.pi)
    placed = np.stack([points[:, 0], radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    apart = np.sqrt(((placed[:, None] - placed) ** 2).sum(axis=2))
    expected = np.sqrt(weights @ apart @ weights / 50)
    assert gap.floor_energy_distance.values[0] == pytest.approx(expected, rel=0.29)
    order = np.argsort(points[:, 0])
    F = np.cumsum(weights[order])[:-1]
    w1 = np.sqrt(2 * F * (1 - F) / (np.pi * 50)) @ np.diff(points[order, 0])  # normal fluctuations
    assert gap.floor_w1_a.values[0] == pytest.approx(w1, rel=0.29)


def test_floors_follow_the_size_of_each_cloud() -> None:
    """Unequal weights count as fewer points; densities have no floor."""
    run = density_run(times=(0.0,))
    flow = own_cells(run)
    few = flow.copy()
    few["weight"] = few["weight"] * 0 + np.where(np.arange(flow.sizes["particle"]) < 20, 0.05, 0.0)
    gap = compare(run, [flow, few, run], only=("w1_a",), floor=16)
    many, less, none = gap.floor_w1_a.values[0]
    assert 0 < many < less
    assert np.isnan(none)
    with pytest.raises(InvalidInput, match="floor"):
        compare(run, flow, floor=-1)


def test_a_cloud_drawn_from_a_density_lies_in_its_cells() -> None:
    """Counts in cells against their masses: χ² of 8 classes below its 1 − 1e-4 quantile."""
    run = density_run(times=(0.0,)).isel(time=0)
    points, weights = drawn(run, 4000, np.random.default_rng(3))
    assert weights.sum() == pytest.approx(as_measure(run)[1].sum())
    counts, _ = np.histogram(points[:, 0], run.a_edges)
    masses = run.rho.values.sum(axis=1)
    expected = 4000 * masses / masses.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 29.9
    assert len(np.unique(points[:, 0])) == 4000  # not at the centres


def test_only_the_shared_times_are_compared() -> None:
    run = density_run(times=(0.0, 0.3, 0.5, 1.0))
    late = [0.5 * (1 + 1e-14), 1.0, 2.0]
    gap = compare(run, [random_flow(times=late), random_flow(times=(0.3, 1.0 + 1e-13))])
    assert gap.time.values.tolist() == [1.0]
    gap = compare(run, random_flow(times=late))
    assert gap.time.values.tolist() == [0.5, 1.0]
    expected = random_flow(times=late).risk.values[:2] - run.risk.values[2:]
    np.testing.assert_array_equal(gap.risk_gap, expected)


def test_runs_without_a_common_time_are_refused_with_both_lists() -> None:
    run = density_run(times=(0.0, 0.125))
    with pytest.raises(InvalidInput, match=r"0, 0\.125; the right: 0\.25, 0\.375"):
        compare(run, random_flow(times=(0.25, 0.375)))
    with pytest.raises(InvalidInput, match="share no time"):
        compare(run, random_flow(times=(1e-11, 0.5)))
    with pytest.raises(InvalidInput, match="replicas"):
        compare(run, [random_flow(times=(0.0, 1.0)), random_flow(times=(0.125, 1.0))])


def test_only_computes_what_is_named() -> None:
    run, flow = density_run(), random_flow()
    everything = compare(run, flow)
    gap = compare(run, flow, only=("energy_distance", "risk_gap"))
    assert list(gap.data_vars) == ["risk_gap", "energy_distance"]
    xr.testing.assert_identical(gap, everything[["risk_gap", "energy_distance"]])
    assert list(everything.data_vars) == EVERYTHING[:-1]
    assert list(compare(run, flow, only=("w2",)).data_vars) == ["w2"]


@pytest.mark.parametrize("only", [("slicedw2",), ("w1_b",), "risk_gap"])
def test_a_misspelt_name_is_answered_with_the_names(only: tuple[str, ...] | str) -> None:
    with pytest.raises(InvalidInput, match=r"prediction_gap, risk_gap, w1_a, .*, w2"):
        compare(density_run(), random_flow(), only=only)


def test_problems_without_samples_have_no_prediction_gap() -> None:
    run, flow = (each.isel(sample=slice(0)) for each in (density_run(), random_flow()))
    assert list(compare(run, flow).data_vars) == EVERYTHING[1:-1]
    with pytest.raises(InvalidInput, match="risk_gap"):
        compare(run, flow, only=("prediction_gap",))


def test_numbers_need_no_measure() -> None:
    run = density_run()
    run.attrs["quadrature"] = "of a higher order"
    gap = compare(run, random_flow(), only=("risk_gap", "prediction_gap"))
    assert list(gap.data_vars) == ["prediction_gap", "risk_gap"]


def test_mass_that_escaped_is_no_distance() -> None:
    run = density_run()
    leaky = run.assign(rho=run.rho * 0.999)
    gap = compare(run, leaky, only=("w1_a", "sliced_w2", "energy_distance"))
    np.testing.assert_allclose(gap.w1_a, 0, atol=1e-12)
    np.testing.assert_allclose(gap.energy_distance, 0, atol=1e-12)
    np.testing.assert_allclose(gap.sliced_w2, 0, atol=1e-7)  # the root of the weights' round-off
    with pytest.raises(InvalidInput, match="mass"):
        compare(run, run.assign(rho=run.rho * 0.9))


def circle_of_another_length() -> xr.Dataset:
    flow = random_flow()
    flow.attrs["length_w"] = 1.0
    return flow


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (random_flow().assign_coords(coord=["a", "b"]).assign_attrs(geometry_b="line"), "coord"),
        (circle_of_another_length(), "periods"),
        (random_flow().assign_attrs(geometry_w="line"), "periods"),
        (random_flow().assign(y=("sample", np.cos(X))), "different `y`"),
        (random_flow().assign(x=("sample", X + 1e-9)), "different `x`"),
        (density_run().assign(weight=("sample", WEIGHTS[::-1] ** 2)), "different `weights`"),
        (random_flow().assign(sample_weight=("sample", WEIGHTS**2)), "different `weights`"),
        (random_flow().isel(time=0), "dimension `time`"),
        (random_flow().assign_attrs(problem="another"), "different problems"),
        ([], "empty"),
        (random_flow().drop_vars("position"), "no measure"),
    ],
)
def test_runs_of_different_problems_are_refused(other: xr.Dataset, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        compare(density_run(), other)


def test_results_say_what_they_are() -> None:
    gap = compare(density_run(), random_flow())
    assert gap.attrs == {"left": "mfpde, synthetic", "right": "particle_ref, synthetic"}
    assert gap.w1_w.attrs["long_name"] == "W1 of the marginals in w"


def test_order_is_the_slope_between_neighbours() -> None:
    orders, errors = order(lambda n: 3.0 * n**-2.5, cells=[10, 20, 60])
    np.testing.assert_allclose(orders, [2.5, 2.5], rtol=1e-12)
    np.testing.assert_allclose(errors, [3.0 * n**-2.5 for n in (10, 20, 60)], rtol=1e-15)
    orders, _ = order(lambda n: {32: 4.0, 64: 1.0, 128: 0.5}[n], cells=(32, 64, 128))
    np.testing.assert_allclose(orders, [2.0, 1.0], rtol=1e-12)


@pytest.mark.parametrize("cells", [[32], [], [64, 32], [0, 2], [32, 32]])
def test_order_needs_finer_and_finer_grids(cells: list[int]) -> None:
    with pytest.raises(InvalidInput, match="cells"):
        order(lambda n: 1 / n, cells)


@pytest.mark.parametrize("error", [0.0, -1.0, np.nan, np.inf])
def test_an_error_of_no_size_has_no_order(error: float) -> None:
    with pytest.raises(InvalidInput, match="errors"):
        order(lambda n: error, [32, 64])
