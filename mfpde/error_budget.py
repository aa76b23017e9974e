"""What a gap between a density and its particles is made of: sampling, grid, time, truncation.

With d = f_m − f over replicas of m neurons, |·| weighted over the samples as in the loss,

    E|d|² = s²/m + b²    s²/m: the replicas' own variance    b² = |E d|²: what they share

Both are estimated at one m (``mfpde.measures.replicas``), whatever the law of s in m, so that b is
the gap that remains as m → ∞, at less noise than a fit over several m would give it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mfpde.arguments import number, shown
from mfpde.comparison import SAME_TIME, compare
from mfpde.errors import InvalidInput
from mfpde.measures import (
    as_measure,
    coordinates,
    energy_distance,
    estimated_error,
    periods,
    replicas,
)
from mfpde.measures.accuracy import Solution
from mfpde.measures.belonging import check_solved
from mfpde.measures.measure import check_dataset
from mfpde.measures.shares import Budget, estimate
from mfpde.problems.problem import Problem

Array = NDArray[np.float64]

SAME_START = 0.01  # energy distance of two starts that are one, of the size of the box
FEWEST = 3  # replicas of one width
FEWER_STEPS = 1.5  # the run that shows an error in time takes so many times fewer, at least
SLOWEST = -0.01  # exponent of sampling in m by which more neurons help at all
MOST_NEURONS = 1e12  # a number beyond it is none
BLOCK = 2**22  # features evaluated at once
ENDS = ("", "_low", "_high")


def budget(
    run: xr.Dataset,
    flows: Sequence[xr.Dataset] | Mapping[int, Sequence[xr.Dataset]],
    truth: Solution | None = None,
    coarse: xr.Dataset | Sequence[xr.Dataset] | None = None,
    fluctuations: xr.Dataset | None = None,
    tolerance: float | None = None,
    own: xr.Dataset | None = None,
    reference: xr.Dataset | None = None,
    problem: Problem | None = None,
) -> Budget:
    """How much of the gap between a density and particles is sampling, grid, time or truncation.

    What cannot be known from what is handed over is left out, never guessed.

    Args:
        run: a density run on samples.
        flows: particle flows of one or several widths, at least 3 independent replicas each, in
            a sequence or by width. Where widths have as many replicas each, those in the same
            place may share their seed.
        truth: ``particle_ref.Truth``, or any object with ``prediction(t)``: the density's error.
        coarse: a coarser run, or several. One on half the cells shows the error of the grid (see
            :func:`estimated_error`), one on the same cells with fewer, longer steps that of time:
            (run − coarse)/(ratio^q − 1) for the order q in time. Both are estimates, counted as
            right to a factor of 2.
        fluctuations: ``particle_ref.fluctuations`` at the shared times, for independent starts.
        tolerance: of the gap, to tell how many neurons would do, s²/(tolerance² − b²). The
            sampling that ``fluctuations`` tell, else that of the widest networks with the exponent
            −1/2, or the observed one where its interval does not hold that.
        own: the flow of the density's own cells, ``pr.Cloud(*mf.as_measure(run.isel(time=0)))``:
            the error of moving mass on the grid, counted as right to a factor of 2. That of
            placing the initial law on the grid is not in it. Where neither this nor a truth nor
            half the cells are given, what all of the widest networks share is the grid's.
        reference: a flow by a finer method, from the very start of one of ``flows``: their
            difference is the error of the flows in time.
        problem: what was solved, for the truncation: the escaped mass times the root mean square
            over samples of the largest |Φ| in the box. This is what is missing from the
            prediction if escaped neurons are no larger than any in the box; they may be, and the
            answer of those inside is not in it: an order of magnitude, no bound. The problem of
            ``truth`` by default.

    Raises:
        InvalidInput: for fewer than 3 replicas, or replicas that are all the same; runs of
            different problems or without common times, or without samples; a coarser run that is
            none; a reference from another start.
    """
    everyone = _replicas(flows)
    for posed in (problem, getattr(truth, "problem", None)):
        if posed is not None:
            check_solved(posed, run)
    if tolerance is not None and not 0 < number(tolerance) < math.inf:
        raise InvalidInput(f"tolerance = {shown(tolerance)}", "it is a gap above 0", "e.g. 0.01")
    times = compare(run, everyone, only=("prediction_gap",)).time.values
    widths = np.array(sorted({_width(flow) for flow in everyone}))
    d = [_differences(run, everyone, m, times) for m in widths]
    found = {
        "gap": np.stack([replicas.size_band(each) for each in d], axis=-1),
        "sampling": np.stack([replicas.sampling(each) for each in d], axis=-1),
        "slope": replicas.exponent(widths, d),
        "shared": replicas.common(d[-1]),
    }
    coarser = [coarse] if isinstance(coarse, xr.Dataset) else list(coarse or ())
    slower = [one for one in coarser if _same_cells(run, one)]
    grids = [one for one in coarser if not _same_cells(run, one)]
    grid_from, grid = _grid(run, times, truth, grids, own)
    found["grid"] = found["shared"] if grid is None else grid
    sampling, exponent = found["sampling"][:, :, -1], _exponent(*found["slope"])
    if fluctuations is not None:
        limit = replicas.normal_size(_covariance(run, fluctuations, times))
        found["central_limit"] = limit[:, :, None] / np.sqrt(widths)
        sampling, exponent = np.stack([found["central_limit"][0, :, -1]] * 3), np.array(-0.5)
    if tolerance is not None:
        room = float(tolerance) ** 2 - found["grid"][0] ** 2
        found["width_needed"] = _needed(widths[-1], sampling, exponent, room)

    named = {f"{name}{end}": v for name, x in found.items() for end, v in zip(ENDS, x, strict=True)}
    named |= _time(run, times, slower, everyone, reference)
    named |= _box(run, times, getattr(truth, "problem", None) if problem is None else problem)
    over = {1: ("time",), 2: ("time", "width")}
    attrs = {"grid_from": grid_from, "replicas": [each.shape[1] for each in d]}
    return Budget(
        xr.Dataset(
            {name: (over[values.ndim], values) for name, values in named.items()},
            coords={"time": times, "width": widths},
            attrs=attrs | ({} if tolerance is None else {"tolerance": float(tolerance)}),
        )
    )


# What is handed over ------------------------------------------------------------------------------


def _replicas(flows: object) -> list[xr.Dataset]:
    groups: list[Any] = list(flows.values()) if isinstance(flows, Mapping) else [flows]
    if not all(isinstance(group, list | tuple) for group in groups):
        raise InvalidInput(
            f"flows = {shown(flows)}",
            "they are replicas: a sequence, or a mapping of width to sequence",
            "[pr.run(problem, pr.sample(problem, m, seed), method, times) for seed in range(8)]",
        )
    return [flow for group in groups for flow in group]


def _width(flow: xr.Dataset) -> int:
    """The number of neurons that made a flow's predictions, kept or not."""
    return int(flow.attrs.get("particles", flow.sizes["particle"]))


def _differences(run: xr.Dataset, flows: Sequence[xr.Dataset], m: int, times: Array) -> Array:
    """√p (f_m − f) of the flows of m neurons, (T, R, n)."""
    predicted = [_held(flow, times) for flow in flows if _width(flow) == m]
    if len(predicted) < FEWEST:
        raise InvalidInput(
            f"there are {len(predicted)} replicas of {m} neurons",
            "how much they scatter is not seen from so few",
            f"at least {FEWEST} flows of every width, from as many seeds",
        )
    d = np.stack(predicted, axis=1) - _held(run, times)[:, None]
    if not np.isfinite(d).all():
        raise InvalidInput(
            f"predictions of {m} neurons are not finite", "", "times before a flow went wrong"
        )
    if any(len(np.unique(each, axis=0)) < len(each) for each in d):
        raise InvalidInput(
            f"two replicas of {m} neurons are the same", "they have one start", "a seed for each"
        )
    return d * np.sqrt(run["weight"].values)


def _held(values: xr.Dataset, times: Array, name: str = "prediction") -> Array:
    """A variable at all of ``times``; refused where one is missing."""
    nearest = values[name].sel(time=times, method="nearest")
    if (np.abs(nearest.time.values - times) > SAME_TIME * np.maximum(1, np.abs(times))).any():
        raise InvalidInput(
            f"one part is known at times {values.time.values}, the others at {times}",
            "a budget needs all parts at every time that the run and its flows share",
            "the same `times` for all",
        )
    return nearest.values


def _distance(one: xr.Dataset, other: xr.Dataset, times: Array) -> Array:
    """Root mean square difference of the predictions of two runs of one problem, (T,)."""
    return _held(compare(one, other, only=("prediction_gap",)), times, "prediction_gap")


def _covariance(run: xr.Dataset, fluctuations: xr.Dataset, times: Array) -> Array:
    """√p C √p, (T, n, n)."""
    check_dataset(fluctuations, ["covariance"])
    C, p = _held(fluctuations, times, "covariance"), run["weight"].values
    if C.shape[1:] != (len(p), len(p)):
        raise InvalidInput(f"the covariance has shape {C.shape[1:]}", f"there are {len(p)} samples")
    return C * np.sqrt(np.outer(p, p))


# Grid, time and box -------------------------------------------------------------------------------


def _same_cells(run: xr.Dataset, other: xr.Dataset) -> bool:
    check_dataset(other, ["prediction"])
    edges = [f"{name}_edges" for name in coordinates(run)]
    return all(name in other and np.array_equal(run[name], other[name]) for name in edges)


def _grid(
    run: xr.Dataset,
    times: Array,
    truth: Solution | None,
    grids: Sequence[xr.Dataset],
    own: xr.Dataset | None,
) -> tuple[str, Array | None]:
    """By what the density's error is known, and the error, (3, T); None: by the replicas alone."""
    if truth is not None:
        error = _held(run, times) - [truth.prediction(float(t)) for t in times]
        return "truth", np.stack([np.sqrt(error**2 @ run["weight"].values)] * 3)
    if grids:
        estimates = [_held(estimated_error(run, one), times) for one in grids]
        return "coarse", estimate(np.max(estimates, axis=0))
    if own is not None:
        _check_own(run, own)
        return "own", estimate(_distance(run, own, times))
    return "replicas", None


def _check_own(run: xr.Dataset, own: xr.Dataset) -> None:
    """Raise InvalidInput unless a flow starts from the cells of the run, but for the lightest."""
    cells, masses = as_measure(run.isel(time=0))
    start, weights = as_measure(own.isel(time=0))
    apart = energy_distance(cells, masses, start, weights, periods(run))
    if apart > SAME_START * float(np.linalg.norm(cells.std(axis=0))):
        raise InvalidInput(
            "own does not start from the density's cells",
            f"its start is at the energy distance {apart:.2g}",
            "pr.run(problem, pr.Cloud(*mf.as_measure(run.isel(time=0))), method, times)",
        )


def _time(
    run: xr.Dataset,
    times: Array,
    slower: Sequence[xr.Dataset],
    flows: Sequence[xr.Dataset],
    reference: xr.Dataset | None,
) -> dict[str, Array]:
    """Errors of finite steps, of the density and of the flows, as far as they are shown."""
    found = {}
    if slower:
        errors = [_distance(run, one, times) / _less(run, one) for one in slower]
        found["time_density"] = np.max(errors, axis=0)
    if reference is not None:
        twins = [flow for flow in flows if _same_start(flow, reference)]
        if not twins:
            raise InvalidInput(
                "the reference starts where no flow does",
                "an error in time is the difference of two flows of one cloud",
                "pr.run(problem, the same cloud, a finer method, times)",
            )
        if twins[0].attrs["method"] == reference.attrs["method"]:
            raise InvalidInput(
                "the reference is of the flows' own method", "it shows no error", "a finer one"
            )
        found["time_flows"] = _distance(twins[0], reference, times)
    return found


def _less(run: xr.Dataset, slower: xr.Dataset) -> float:
    """ratio^q − 1: by how much an error in time is less than what it adds to a slower run."""
    ratio = run.attrs["steps"] / slower.attrs["steps"]
    names = [str(one.attrs["method"]).split("(")[0] for one in (run, slower)]
    if ratio < FEWER_STEPS or names[0] != names[1]:
        raise InvalidInput(
            f"{names[0]} took {run.attrs['steps']} steps, and {names[1]} {slower.attrs['steps']}",
            "a coarser run on the same cells is coarser in time",
            "the same method with a longer dt or a larger tolerance, or half the cells",
        )
    return float(ratio ** run.attrs.get("order_in_time", run.attrs["order"]) - 1)


def _same_start(flow: xr.Dataset, other: xr.Dataset) -> bool:
    one, two = (each[["position", "weight"]].isel(time=0) for each in (flow, other))
    return one.equals(two)


def _box(run: xr.Dataset, times: Array, problem: Problem | None) -> dict[str, Array]:
    """The escaped mass and, where the problem is known, what it takes from the prediction."""
    escaped = _held(run, times, "escaped")
    if problem is None:
        return {"escaped": escaped}
    return {"escaped": escaped, "truncation": escaped * _largest_feature(problem, run)}


def _largest_feature(problem: Problem, run: xr.Dataset) -> float:
    """Root mean square over the samples of sup |Φ| over the box, seen at the cells' edges."""
    edges, p = [run[f"{name}_edges"].values for name in problem.coords], run["weight"].values
    factor, axes = (np.abs(edges[0]).max(), edges[1:]) if problem.lifted else (1.0, edges)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    bounds = [*range(0, len(points), max(1, BLOCK // len(p))), len(points)]
    blocks = [np.abs(problem.phi(points[i:j])).max(axis=0) for i, j in pairwise(bounds)]
    return float(factor * np.sqrt(np.max(blocks, axis=0) ** 2 @ p))


def _exponent(slope: Array, low: Array, high: Array) -> Array:
    """−1/2, or the observed exponent of sampling in m where its interval does not hold that."""
    observed = (low > -0.5) | (high < -0.5)  # no for a single width, where they are nan
    return np.where(observed, np.minimum(slope, SLOWEST), -0.5)


def _needed(m: int, sampling: Array, exponent: Array, room: Array) -> Array:
    """The width whose sampling is √room, by that of m neurons, (3, T)."""
    target = np.sqrt(np.where(room > 0, room, 1))
    with np.errstate(over="ignore"):
        needed = m * (target / sampling) ** (1 / exponent)
    return np.where((room > 0) & (needed < MOST_NEURONS), needed, np.inf)
