"""What a gap is made of: planted parts are found, intervals cover, and nothing is invented."""

import re

import numpy as np
import pytest
import xarray as xr

import mfpde as mf
import particle_ref as pr
from mfpde.measures import as_measure, replicas
from mfpde.measures.shares import SHARED, Part

X = np.linspace(-2, 2, 9)
LAW = mf.gaussian(mean=[0.3, 0.6], std=0.35)
PROBLEM = mf.two_layer(X, np.sin(1.5 * X), initial=LAW)
TIMES = [0.0, 0.5, 1.0]
BOX = {"a": (-1.9, 2.7), "w": (-1.6, 2.9)}


def solved(cells: int, method: mf.Method) -> xr.Dataset:
    grid = mf.Grid(**{c: mf.uniform(*ends, cells) for c, ends in BOX.items()})
    return mf.solve(PROBLEM, grid, method, TIMES, progress=False, escaped_tolerance=1e-3)


@pytest.fixture(scope="module")
def run() -> xr.Dataset:
    return solved(48, mf.semi_lagrangian(dt=0.25))


@pytest.fixture(scope="module")
def flows() -> dict[int, list[xr.Dataset]]:
    method = pr.GradientFlow(rtol=1e-6)
    return {
        m: [pr.run(PROBLEM, pr.sample(PROBLEM, m, seed), method, TIMES) for seed in range(8)]
        for m in (40, 160, 640)
    }


def moved_aside(run: xr.Dataset, by: float) -> xr.Dataset:
    """A run whose prediction is wrong by a known amount, of root mean square ``by``."""
    return run.assign(prediction=run.prediction + by * np.sign(X + 0.1))


# ---------------------------------------------------------------------------------- the estimates


def planted(rng: np.random.Generator, sets: int, R: int, s: float, b: float) -> np.ndarray:
    """Differences (sets, R, 3) with scatter s² and shared b, uneven among components."""
    spread = s * np.sqrt([0.7, 0.2, 0.1])
    return b * np.array([0.6, 0.8, 0.0]) + spread * rng.normal(size=(sets, R, 3))


def test_scatter_and_what_is_shared_are_unbiased():
    """Means over 4000 sets of 4 replicas within 5 standard errors: false alarms below 1e-5."""
    d = planted(np.random.default_rng(0), 4000, 4, 0.5, 0.3)
    scatter = np.exp(2 * replicas.estimates(replicas.log_scatter, d)[0])
    shared = replicas.estimates(replicas.shared, d)[0]
    for found, exact in ((scatter, 0.25), (shared, 0.09)):
        assert abs(found.mean() - exact) < 5 * found.std() / np.sqrt(4000)


def test_estimates_without_one_are_those_of_the_others():
    d = planted(np.random.default_rng(1), 1, 6, 0.5, 0.3)
    for statistic in (replicas.log_scatter, replicas.shared):
        _, without_one = replicas.estimates(statistic, d)
        for r in range(6):
            others = replicas.estimates(statistic, np.delete(d, r, axis=1))[0]
            np.testing.assert_allclose(without_one[r], others, rtol=1e-12)
    pairs = [d[0, r] @ d[0, q] for r in range(6) for q in range(6) if r != q]
    np.testing.assert_allclose(replicas.estimates(replicas.shared, d)[0], np.mean(pairs))
    scatter = np.exp(2 * replicas.estimates(replicas.log_scatter, d)[0])
    np.testing.assert_allclose(scatter, d[0].var(axis=0, ddof=1).sum())


@pytest.mark.parametrize("R", [3, 8, 32])
@pytest.mark.parametrize("b", [0.0, 0.1, 1.0])
def test_intervals_cover(R, b):
    """Nominal 90 %: of 2000 sets 83 % or more are covered, and of sampling no more than 97 %.

    Measured: 87 to 94 %, and up to 100 % for what is shared where it is 0. A share's standard error
    is 0.008 or less, so that false alarms are below 1e-5.
    """
    rng = np.random.default_rng(R)
    d, wider = planted(rng, 2000, R, 0.5, b), planted(rng, 2000, R, 0.25, b)
    found = {
        "sampling": (replicas.sampling(d), 0.5),
        "shared": (replicas.common(d), b),
        "slope": (replicas.exponent(np.array([100.0, 400.0]), [d, wider]), -0.5),
    }
    for name, ((_, low, high), exact) in found.items():
        covered = ((low <= exact) & (exact <= high)).mean()
        assert 0.83 < covered < (1.01 if name == "shared" else 0.97), name


def test_the_size_of_a_normal_vector():
    """Of one component the quantiles of |z|; of two equal ones those of Rayleigh's law.

    From 20,000 draws, fixed: the bounds are 4 standard errors or more.
    """
    rms, low, high = replicas.normal_size(np.array([[[0.04]]]))[:, 0]
    assert rms == pytest.approx(0.2)
    assert low == pytest.approx(0.2 * 0.0627, rel=0.15)
    assert high == pytest.approx(0.2 * 1.96, rel=0.05)
    rms, low, high = replicas.normal_size(np.eye(2)[None])[:, 0]
    assert rms == pytest.approx(np.sqrt(2))
    assert low == pytest.approx(np.sqrt(-2 * np.log(0.95)), rel=0.1)
    assert high == pytest.approx(np.sqrt(-2 * np.log(0.05)), rel=0.05)


# ------------------------------------------------------------------------------------- the budget


def test_gaps_are_those_of_compare(run, flows):
    found = mf.budget(run, flows).dataset
    assert found.width.values.tolist() == [40, 160, 640]
    for m, several in flows.items():
        each = mf.compare(run, several, only=("prediction_gap",)).prediction_gap
        of_m = found.sel(width=m)
        np.testing.assert_allclose(of_m.gap, np.sqrt((each**2).mean("replica")))
        np.testing.assert_allclose(of_m.gap_low, each.quantile(0.05, "replica"))
        np.testing.assert_allclose(of_m.gap_high, each.quantile(0.95, "replica"))
    listed = mf.budget(run, [flow for several in flows.values() for flow in several[::-1]])
    np.testing.assert_allclose(listed.dataset.sampling, found.sampling)


def test_sampling_is_what_the_central_limit_says(run, flows):
    """Within the interval of 8 replicas, at its lowest level; the gap's theory beside it."""
    theory = pr.fluctuations(PROBLEM, TIMES)
    told = mf.budget(run, flows, fluctuations=theory, tolerance=1e-3)
    found = told.dataset
    variance = (theory.variance.values / len(X)).sum(axis=1)
    exact = np.sqrt(variance[:, None] / found.width.values)
    np.testing.assert_allclose(found.central_limit, exact, rtol=1e-6)
    assert (found.central_limit_low < found.central_limit).all()
    assert (found.central_limit < found.central_limit_high).all()
    assert (abs(np.log(found.sampling / exact)) < 1.2).all()
    assert (abs(found.slope + 0.5) < 0.35).all()
    assert "in theory" in repr(told)
    room = 1e-6 - found.grid.values**2
    needed = np.where(room > 0, variance / np.where(room > 0, room, 1), np.inf)
    np.testing.assert_allclose(found.width_needed, needed, rtol=1e-6)


def test_a_planted_error_of_the_density_is_found_and_named(run, flows):
    """Sampling is 0.01 at the widest: an error of 0.1 is the grid's, one of 1e-4 is not seen."""
    wrong = mf.budget(moved_aside(run, 0.1), flows, tolerance=0.05)
    last = wrong.dataset.isel(time=-1)
    assert float(last.grid) == pytest.approx(0.1, rel=0.1)
    assert wrong.dominant() == SHARED
    assert f"is {SHARED}" in wrong.sentence
    assert np.isinf(last.width_needed)
    assert "the grid's part is larger" in wrong.sentence
    right = mf.budget(run, flows)
    assert float(right.dataset.grid_low[-1]) < 1e-3
    np.testing.assert_allclose(wrong.dataset.sampling, right.dataset.sampling)


def test_a_truth_decides(run, flows):
    truth = pr.Truth(PROBLEM, 1.0, 1e-10)
    found = mf.budget(run, flows, truth=truth)
    error = mf.true_error(run, truth).prediction
    np.testing.assert_allclose(found.dataset.grid, error, rtol=1e-9)
    assert found.dominant() == "sampling"
    assert "sampling" in found.sentence
    assert "truncation" in found.parts()
    assert SHARED not in found.sentence


def test_what_replicas_share_beyond_the_known_error_is_told(run, flows):
    """A density that claims to be exact, and is 0.3 away from all of its particles."""
    wrong = moved_aside(run, 0.3)
    told = mf.budget(wrong, flows, own=wrong).sentence
    assert re.search(rf"Most of the gap .* is {SHARED}: 0\.\d+ \[.* their own steps", told)


def test_what_overlaps_is_not_told_apart(run, flows):
    last = mf.budget(run, flows).dataset.isel(time=-1)
    near = mf.budget(moved_aside(run, 2 * float(last.sampling[-1])), flows)
    assert near.dominant() is None
    assert "cannot be told apart" in near.sentence


def test_coarser_runs_show_the_errors_of_grid_and_time(run, flows):
    """Against the truth: Richardson's estimates are right to the factor that is claimed."""
    truth = pr.Truth(PROBLEM, 1.0, 1e-10)
    fine, coarse = (solved(cells, mf.muscl()) for cells in (48, 24))
    found = mf.budget(fine, flows, coarse=coarse).dataset
    error = mf.true_error(fine, truth).prediction
    assert found.attrs["grid_from"] == "coarse"
    assert (found.grid_low[1:] < error[1:]).all()
    assert (error[1:] < found.grid_high[1:]).all()

    slow, slower = (solved(48, mf.semi_lagrangian(dt=dt)) for dt in (0.25, 0.5))
    both = mf.budget(slow, flows, coarse=[slower]).dataset
    error = mf.true_error(slow, truth).prediction[-1]
    assert both.attrs["grid_from"] == "replicas"
    assert float(error) / 2 < float(both.time_density[-1]) < 2 * float(error)


def test_a_finer_flow_shows_the_error_of_the_flows_in_time(run):
    cloud = pr.sample(PROBLEM, 50, 0)
    euler = [pr.run(PROBLEM, cloud, pr.Descent(0.05), TIMES)]
    euler += [pr.run(PROBLEM, pr.sample(PROBLEM, 50, s), pr.Descent(0.05), TIMES) for s in (1, 2)]
    exact = pr.run(PROBLEM, cloud, pr.GradientFlow(), TIMES)
    found = mf.budget(run, euler, reference=exact)
    gap = mf.compare(euler[0], exact, only=("prediction_gap",)).prediction_gap
    np.testing.assert_allclose(found.dataset.time_flows, gap)
    assert found.parts()["time"] == pytest.approx(Part(*[float(gap[-1])] * 3))
    elsewhere = pr.run(PROBLEM, pr.sample(PROBLEM, 50, 9), pr.GradientFlow(), TIMES)
    with pytest.raises(mf.InvalidInput, match="starts where no flow does"):
        mf.budget(run, euler, reference=elsewhere)


def test_own_cells_show_the_error_of_moving_mass(run, flows):
    cells = pr.Cloud(*as_measure(run.isel(time=0)))
    own = pr.run(PROBLEM, cells, pr.GradientFlow(rtol=1e-9), TIMES)
    found = mf.budget(run, flows, own=own)
    moved = mf.compare(run, own, only=("prediction_gap",)).prediction_gap
    np.testing.assert_allclose(found.dataset.grid, moved)
    assert found.dominant() == "sampling"


def test_truncation_is_the_escaped_mass_times_the_largest_feature(run, flows):
    found = mf.budget(run, flows, problem=PROBLEM)
    largest = 2.7 * np.tanh(2.9 * abs(X))
    np.testing.assert_allclose(
        found.dataset.truncation, run.escaped * np.sqrt((largest**2).mean()), rtol=1e-12
    )
    np.testing.assert_array_equal(found.dataset.escaped, run.escaped)


def test_nothing_is_invented(run, flows):
    found = mf.budget(run, flows)
    assert set(found.parts()) == {"sampling", SHARED}
    assert not {"time_density", "time_flows", "truncation", "width_needed"} & set(found.dataset)
    told = repr(found)
    assert told.count("not known") == 3
    assert len(told.splitlines()) == 7
    single = mf.budget(run, flows[40], tolerance=0.01)
    assert np.isnan(single.dataset.slope).all()
    assert "slope" not in repr(single)


def test_the_width_needed_would_do(run, flows):
    """m (s_m/tolerance)² where sampling goes like m^−1/2, and b takes its share."""
    found = mf.budget(run, flows, tolerance=0.02).dataset.isel(time=-1)
    assert found.slope_low < -0.5 < found.slope_high
    room = 0.02**2 - float(found.grid) ** 2
    assert float(found.width_needed) == pytest.approx(640 * float(found.sampling[-1]) ** 2 / room)
    assert found.width_needed_low < found.width_needed < found.width_needed_high


def test_where_width_does_not_help_no_number_is_named(run, flows):
    """Wide networks that scatter as the small ones do: the exponent is 0."""
    stuck = [
        wide.assign(prediction=small.prediction)
        for wide, small in zip(flows[640], flows[40], strict=True)
    ]
    found = mf.budget(run, [*flows[40], *stuck], own=run, tolerance=1e-3)
    assert float(found.dataset.slope[-1]) == pytest.approx(0.0, abs=1e-12)
    assert np.isinf(found.dataset.width_needed).all()
    assert "sampling hardly falls" in found.sentence


def test_flows_may_have_left_their_particles_out(run):
    """Their widths are still known."""
    method, seeds = pr.GradientFlow(rtol=1e-6), range(4)
    found = [
        mf.budget(
            run,
            {m: pr.replicas(PROBLEM, m, method, TIMES, seeds, keep=keep) for m in (10, 40)},
        )
        for keep in ("flow", "prediction")
    ]
    assert found[1].dataset.width.values.tolist() == [10, 40]
    for name in ("gap", "sampling", "slope"):
        np.testing.assert_array_equal(found[0].dataset[name], found[1].dataset[name])


def test_what_makes_no_budget_is_refused(run, flows):
    with pytest.raises(mf.InvalidInput, match="2 replicas of 40"):
        mf.budget(run, flows[40][:2])
    with pytest.raises(mf.InvalidInput, match="the same"):
        mf.budget(run, [*flows[40][:3], flows[40][0]])
    with pytest.raises(mf.InvalidInput, match="sequence"):
        mf.budget(run, flows[40][0])
    with pytest.raises(mf.InvalidInput, match="tolerance"):
        mf.budget(run, flows, tolerance=0.0)
    with pytest.raises(mf.InvalidInput, match="steps"):
        mf.budget(run, flows, coarse=run)
    cells = pr.Cloud(*mf.as_measure(run.isel(time=0)))
    own = pr.run(PROBLEM, cells, pr.Descent(0.5), TIMES)
    with pytest.raises(mf.InvalidInput, match="same `times`"):
        mf.budget(run, flows, own=own.isel(time=[0, 1]))
    with pytest.raises(mf.InvalidInput, match="does not start from the density's cells"):
        mf.budget(run, flows, own=flows[40][0])
    other = mf.two_layer(X, -3 * np.sin(1.5 * X), initial=LAW)
    for wrong in ({"truth": pr.Truth(other, 1.0, 1e-6)}, {"problem": other}):
        with pytest.raises(mf.InvalidInput, match="not one of this problem"):
            mf.budget(run, flows, **wrong)
    fewer = solved(48, mf.upwind()).assign_attrs(steps=1)
    with pytest.raises(mf.InvalidInput, match="upwind"):
        mf.budget(run, flows, coarse=fewer)
    with pytest.raises(mf.InvalidInput, match="own method"):
        mf.budget(run, flows, reference=flows[40][0])
    broken = flows[40][0].copy(deep=True)
    broken.prediction[-1, 0] = np.nan
    with pytest.raises(mf.InvalidInput, match="not finite"):
        mf.budget(run, [broken, *flows[40][1:]])
    theory = pr.fluctuations(mf.two_layer(X[:4], X[:4], initial=LAW), TIMES, tolerance=1e-3)
    with pytest.raises(mf.InvalidInput, match="samples"):
        mf.budget(run, flows, fluctuations=theory)
