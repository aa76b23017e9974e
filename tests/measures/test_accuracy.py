"""Errors of density runs: against closed forms, and as a coarser run shows them."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from exact.cases import CASES, Case
from exact.solutions import Array, l1_norm
from orders.observed import observed_orders

import mfpde as mf
from mfpde.errors import InvalidInput

CELLS = (32, 64, 128)
METHODS = {"upwind": mf.upwind(), "muscl": mf.muscl()}


def truth_of(case: Case) -> SimpleNamespace:
    """A closed form with what true_error asks for."""
    return SimpleNamespace(
        density=lambda points, t: case.density(t)(points), prediction=case.prediction
    )


@cache
def run_of(name: str, method: str, cells: int) -> xr.Dataset:
    return CASES[name].run(METHODS[method], cells, instants=3)


@cache
def error_of(name: str, method: str, cells: int) -> xr.Dataset:
    return mf.true_error(run_of(name, method, cells), truth_of(CASES[name]))


# ------------------------------------------------------------------------------------ true errors


def test_errors_are_those_computed_by_hand() -> None:
    case, run = CASES["X1"], run_of("X1", "muscl", 32)
    error = error_of("X1", "muscl", 32)
    assert error.sizes == {"time": 3}
    for k, t in enumerate(run.time.values):
        difference = run.rho.values[k] - case.averages(case.grid(32), t)
        l1 = l1_norm(difference, [run.a_edges.values, run.w_edges.values])
        gap = run.prediction.values[k] - case.prediction(t)
        assert error.l1[k] == pytest.approx(l1, rel=1e-12, abs=1e-15)
        assert error.linf[k] == pytest.approx(np.abs(difference).max(), rel=1e-12, abs=1e-15)
        assert error.prediction[k] == pytest.approx(abs(gap[0]), rel=1e-12)


def test_samples_count_by_their_weights_and_cells_by_their_volumes() -> None:
    """On a stretched grid, with three samples of unequal weight."""
    case = CASES["X1 ridge"]
    grid = mf.Grid(a=mf.stretched(-4, 4, 24), w=mf.uniform(-4, 3.9, 20))
    run = mf.solve(case.problem, grid, mf.upwind(), [0.0, 0.1], escaped_tolerance=1e-3)
    error = mf.true_error(run, truth_of(case)).isel(time=1)
    gap = run.prediction.values[1] - case.prediction(0.1)
    assert error.prediction == pytest.approx(np.sqrt(case.problem.weights @ gap**2), rel=1e-12)
    difference = run.rho.values[1] - case.averages(grid, 0.1)
    assert error.l1 == pytest.approx(np.sum(np.abs(difference) * grid.volumes), rel=1e-12)


@pytest.mark.parametrize(("method", "order", "finest"), [("upwind", 1, 0.012), ("muscl", 2, 8e-4)])
def test_errors_fall_with_the_order_of_the_method(method: str, order: float, finest: float) -> None:
    for name in ("l1", "prediction"):
        errors = [float(error_of("X1", method, cells)[name][-1]) for cells in CELLS]
        np.testing.assert_allclose(observed_orders(errors, CELLS), order, rtol=0, atol=0.3)
        assert errors[-1] <= finest


def test_a_law_out_of_place_is_wrong_by_twice_its_mass() -> None:
    case, run = CASES["X1"], run_of("X1", "upwind", 32).isel(time=[0])
    moved = SimpleNamespace(
        density=lambda points, t: case.density(t)(points - [50.0, 0.0]),
        prediction=lambda t: case.prediction(t) + 0.25,
    )
    error = mf.true_error(run, moved)
    assert error.l1[0] == pytest.approx(1.0, abs=1e-6)  # the other half of it is not in the box
    assert error.prediction[0] == pytest.approx(0.25, abs=1e-3)


def test_more_nodes_see_cell_averages_better() -> None:
    """The initial averages are exact to 1e-9: what is left is this quadrature, O(h^2k)."""
    case, run = CASES["X1"], run_of("X1", "upwind", 32).isel(time=[0])
    left = [float(mf.true_error(run, truth_of(case), nodes=k).l1[0]) for k in (1, 2, 3, 4)]
    assert left[0] > 1e-3
    assert (np.diff(np.log10(left)) < -1.5).all(), left
    assert left[-1] < 1e-7


def test_problems_without_samples_have_no_prediction() -> None:
    case = CASES["X12 bowl"]
    error = mf.true_error(case.run(mf.upwind(), 64), truth_of(case))
    assert set(error.data_vars) == {"l1", "linf"}
    assert 1e-4 < error.l1[-1] < 0.05


# ------------------------------------------------------------------------------- estimated errors


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cells", [64, 128])
def test_estimates_are_right_within_a_factor_of_two(method: str, cells: int) -> None:
    found = mf.estimated_error(run_of("X1", method, cells), run_of("X1", method, cells // 2))
    true = error_of("X1", method, cells)
    for name in ("l1", "linf", "prediction"):
        ratio = found[name].values[1:] / true[name].values[1:]
        assert ((ratio > 0.5) & (ratio < 2)).all(), (name, ratio)


def test_on_the_torus_and_in_three_dimensions() -> None:
    for name, cells in (("X4", 64), ("X1 3-D", 32)):
        case = CASES[name]
        fine, coarse = (case.run(mf.muscl(), n) for n in (cells, cells // 2))
        ratio = mf.estimated_error(fine, coarse).l1[-1] / mf.true_error(fine, truth_of(case)).l1[-1]
        assert 0.5 < ratio < 2, name


def test_the_estimate_is_the_difference_over_two_to_the_order_less_one() -> None:
    """Averages over pairs are taken along every axis; one run is off by a constant."""
    fine, coarse = run_of("X1", "muscl", 64), run_of("X1", "muscl", 32)
    rho = fine.rho.values.reshape(3, 32, 2, 32, 2).mean(axis=(2, 4))
    shifted = coarse.assign(rho=(coarse.rho.dims, rho + 0.03), prediction=fine.prediction - 0.6)
    found = mf.estimated_error(fine, shifted)
    np.testing.assert_allclose(found.linf, 0.03 / 3, rtol=1e-12)
    np.testing.assert_allclose(found.l1, 0.03 * 64 / 3, rtol=1e-12)
    np.testing.assert_allclose(found.prediction, 0.6 / 3, rtol=1e-12)


def test_without_samples_densities_alone_are_estimated() -> None:
    """Two grids of one run: the density's difference of a first-order method."""
    fine, coarse = (CASES["X12 bowl"].run(mf.upwind(), cells) for cells in (64, 32))
    found = mf.estimated_error(fine, coarse)
    assert set(found.data_vars) == {"l1", "linf"}
    merged = fine.rho.values[-1].reshape(32, 2).mean(axis=1)
    expected = np.abs(merged - coarse.rho.values[-1]).max()
    np.testing.assert_allclose(found.linf[-1], expected, rtol=1e-12)


def test_only_shared_times_are_estimated() -> None:
    fine, coarse = run_of("X1", "upwind", 64), run_of("X1", "upwind", 32)
    both = mf.estimated_error(fine, coarse.isel(time=[1, 2]))
    np.testing.assert_array_equal(both.time, fine.time[1:])
    np.testing.assert_array_equal(both.l1, mf.estimated_error(fine, coarse).l1[1:])
    with pytest.raises(InvalidInput, match="share no time"):
        mf.estimated_error(fine.isel(time=[0]), coarse.isel(time=[1]))


# ---------------------------------------------------------------------------------- what is refused


def test_what_holds_no_densities_is_refused() -> None:
    case, run = CASES["X1"], run_of("X1", "upwind", 32)
    for broken in (run.isel(time=0), run.drop_vars("rho"), xr.Dataset()):
        with pytest.raises(InvalidInput, match="no densities"):
            mf.true_error(broken, truth_of(case))
        with pytest.raises(InvalidInput, match="no densities"):
            mf.estimated_error(run, broken)
    with pytest.raises(InvalidInput, match="nodes"):
        mf.true_error(run, truth_of(case), nodes=0)


def test_runs_that_are_no_pair_are_refused() -> None:
    fine, coarse = run_of("X1", "upwind", 64), run_of("X1", "upwind", 32)

    def with_edges(edges: Array) -> xr.Dataset:
        return coarse.assign(a_edges=("a_edge", edges))

    stretched = np.sinh(np.linspace(-1, 1, 33)) / np.sinh(1) * 4
    for other, reason in [
        (fine, "embedded"),
        (run_of("X1", "upwind", 128), "embedded"),
        (with_edges(stretched), "embedded"),
        (with_edges(coarse.a_edges.values + 1e-3), "embedded"),
        (CASES["X2"].run(mf.upwind(), 32), "embedded"),
        (coarse.assign(y=coarse.y + 1), "`y`"),
        (run_of("X1", "muscl", 32), "methods"),
    ]:
        with pytest.raises(InvalidInput, match=reason):
            mf.estimated_error(fine, other)
    with pytest.raises(InvalidInput, match="methods"):
        mf.estimated_error(fine.drop_attrs(), coarse.drop_attrs())


def test_a_run_is_no_truth() -> None:
    with pytest.raises(InvalidInput, match="is no truth"):
        mf.true_error(xr.Dataset(), object())
