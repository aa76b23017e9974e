"""What a gap between a density and its particles is made of: sampling, grid, time, truncation.

With d = f_m − f over replicas of m neurons, |·| weighted over the samples as in the loss,

    E|d|² = s²/m + b²    s²/m: the replicas' own variance    b² = |E d|²: what they share

Both are estimated at one m (``mfpde.measures.replicas``), whatever the law of s in m, so that b is
the gap that remains as m → ∞, at less noise than a fit over several m would give it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mfpde.arguments import number, shown
from mfpde.comparison import SAME_TIME, compare
from mfpde.errors import InvalidInput
from mfpde.measures import coordinates, estimated_error, replicas
from mfpde.measures.accuracy import Solution
from mfpde.measures.measure import check_dataset
from mfpde.problems.problem import Problem

Array = NDArray[np.float64]

FEWEST = 3  # replicas of one width
ESTIMATE = 2.0  # Richardson's estimates are taken to be right to this factor
FEWER_STEPS = 1.5  # the run that shows an error in time takes so many times fewer, at least
BLOCK = 2**22  # features evaluated at once
ENDS = ("", "_low", "_high")


class Part(NamedTuple):
    """A part of the gap, in units of the prediction, and the interval that holds it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class Budget:
    """Where the gap comes from; at the prompt, in a few lines.

    Attributes:
        dataset: over ``time`` and ``width``, the number m of neurons; all are root mean squares
            over the samples, and ``_low``, ``_high`` the ends of 5-95 % intervals:

            - ``gap``: over replicas too; its ends are quantiles over replicas
            - ``sampling``: what differs from replica to replica; ``slope``, ``_low``, ``_high``
              (time): its exponent in m, nan for a single width
            - ``central_limit``, ``_low``, ``_high``: what theory says of the gap by sampling alone
            - ``grid``, ``_low``, ``_high`` (time): the density's error; the attribute ``grid_from``
              says by what: ``"truth"``, ``"coarse"`` or ``"replicas"``
            - ``time_density``, ``time_flows`` (time): errors of finite time steps, where known
            - ``escaped`` (time): mass that left the box; ``truncation``: see :func:`budget`
            - ``width_needed``, ``_low``, ``_high`` (time): the m whose gap is the ``tolerance``;
              inf where the grid's part alone is above it
    """

    dataset: xr.Dataset

    def parts(self, time: int = -1) -> dict[str, Part]:
        """The known parts at a stored time, sampling that of the widest networks."""
        last = self.dataset.isel(time=time, width=-1)
        found = {name: _part(last, name) for name in ("sampling", "grid")}
        steps = [Part(v, v / ESTIMATE, v * ESTIMATE) for v in _values(last, "time_density")]
        steps += [Part(v, v, v) for v in _values(last, "time_flows")]
        if steps:
            found["time"] = max(steps)
        for value in _values(last, "truncation"):
            found["truncation"] = Part(value, 0.0, value)
        return found

    def dominant(self, time: int = -1) -> str | None:
        """Which part is the largest; None where its interval and another's overlap."""
        ranked = sorted(self.parts(time).items(), key=lambda item: -item[1].value)
        (name, first), *others = ranked
        return None if any(part.high >= first.low for _, part in others) else name

    @property
    def sentence(self) -> str:
        """What the gap at the last time is, and how many neurons would do."""
        last, dominant, parts = self.dataset.isel(time=-1), self.dominant(), self.parts()
        told = [f"{name} {_told(part)}" for name, part in _ranked(parts)]
        gap = f"the gap of {_count(last.width[-1])} neurons at t = {float(last.time):.3g}"
        size = f"root mean square {_short(last.gap[-1])}"
        if dominant is None:
            together = [name for name, part in _ranked(parts) if part.high >= _least(parts)]
            first = f"Of {gap} ({size}), {' and '.join(together)} cannot be told apart"
        else:
            first = f"Most of {gap} ({size}) is {dominant}"
        return " ".join([f"{first}: {', '.join(told)}.", *self._needed()])

    def _needed(self) -> list[str]:
        """How many neurons follow the density to the tolerance, in words."""
        last = self.dataset.isel(time=-1)
        if "width_needed" not in last:
            return []
        m, low, high = _part(last, "width_needed")
        within = f"within {last.attrs['tolerance']:.2g}"
        if math.isinf(m):
            return [f"No number of neurons follows this density {within}: refine the grid first."]
        return [f"About {_count(m)} ({_count(low)} to {_count(high)}) would follow it {within}."]

    def __repr__(self) -> str:
        last, parts = self.dataset.isel(time=-1), self.parts()
        widths = [
            f"m = {_count(m)}: {_told(_part(last.sel(width=m), 'sampling'))}"
            for m in last.width.values
        ]
        slope = f"; slope {_told(_part(last, 'slope'))}" if len(widths) > 1 else ""
        known = {name: _told(part) for name, part in parts.items()}
        lines = {
            "sampling": "; ".join(widths) + slope,
            "grid": f"{known['grid']} {FOUND_BY[last.attrs['grid_from']]}",
            "time": known.get("time", "not known: no run with longer steps, no finer flow"),
            "truncation": known.get("truncation", "not known without the problem")
            + f"; escaped mass {_short(last.escaped)}",
        }
        head = f"Budget of the prediction gap at t = {float(last.time):.3g}, 5-95 % intervals"
        return "\n".join([head, *(f"  {k:<11} {v}" for k, v in lines.items()), self.sentence])


FOUND_BY = {
    "truth": "(by the truth; with time steps and box)",
    "coarse": "(by a coarser run)",
    "replicas": "(what all replicas share; with time steps and box)",
}


def budget(
    run: xr.Dataset,
    flows: Sequence[xr.Dataset] | Mapping[int, Sequence[xr.Dataset]],
    truth: Solution | None = None,
    coarse: xr.Dataset | Sequence[xr.Dataset] | None = None,
    reference: xr.Dataset | None = None,
    problem: Problem | None = None,
    fluctuations: xr.Dataset | None = None,
    tolerance: float | None = None,
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
            right to a factor of 2. Without it and without a truth, what all replicas of the
            widest networks share counts as the grid's: with their O(1/m) mean shift and with
            errors in time that they have in common.
        reference: a flow by a finer method, from the very start of one of ``flows``: their
            difference is the error of the flows in time.
        problem: what was solved, for the truncation: the escaped mass times the root mean square
            over samples of the largest |Φ| in the box. This is what is missing from the
            prediction if escaped neurons are no larger than any in the box; they may be, and the
            answer of those inside is not in it: an order of magnitude, no bound. The problem of
            ``truth`` by default.
        fluctuations: ``particle_ref.fluctuations`` at the shared times, for independent starts.
        tolerance: of the gap, to tell how many neurons would do, s²/(tolerance² − b²). The
            sampling of the widest networks goes on with the exponent −1/2, or the observed one
            where its interval does not hold that.

    Raises:
        InvalidInput: for fewer than 3 replicas, or replicas that are all the same; runs of
            different problems or without common times, or without samples; a coarser run that is
            none; a reference from another start.
    """
    everyone = _replicas(flows)
    if tolerance is not None and not 0 < number(tolerance) < math.inf:
        raise InvalidInput(f"tolerance = {shown(tolerance)}", "it is a gap above 0", "e.g. 0.01")
    shared = compare(run, everyone, only=("prediction_gap",))
    times, scale = shared.time.values, np.sqrt(run["weight"].values)
    f = _predicted(run, times)
    widths = np.array(sorted({flow.sizes["particle"] for flow in everyone}))
    d = [_differences(everyone, m, times, f) * scale for m in widths]  # (T, R, n) of every width
    found = {
        "gap": np.stack([replicas.size_band(each) for each in d], axis=-1),
        "sampling": np.stack([replicas.sampling(each) for each in d], axis=-1),
        "slope": replicas.exponent(widths, d),
    }
    coarser = [coarse] if isinstance(coarse, xr.Dataset) else list(coarse or ())
    grids = [one for one in coarser if not _same_cells(run, one)]
    if truth is not None:
        exact = np.stack([truth.prediction(float(t)) for t in times])
        grid_from, found["grid"] = "truth", np.stack([_length(scale * (f - exact))] * 3)
    elif grids:
        estimates = [_held(estimated_error(run, one).prediction, times) for one in grids]
        grid_from, found["grid"] = (
            "coarse",
            np.multiply.outer([1, 1 / ESTIMATE, ESTIMATE], np.max(estimates, axis=0)),
        )
    else:
        grid_from, found["grid"] = "replicas", replicas.common(d[-1])
    if fluctuations is not None:
        limit = replicas.normal_size(_covariance(fluctuations, times, scale))
        found["central_limit"] = limit[:, :, None] / np.sqrt(widths)
    if tolerance is not None:
        found["width_needed"] = _needed(widths[-1], found, float(tolerance))

    named = {f"{name}{end}": v for name, x in found.items() for end, v in zip(ENDS, x, strict=True)}
    slower = [one for one in coarser if _same_cells(run, one)]
    if slower:
        named["time_density"] = np.max([_step_error(run, one, times) for one in slower], axis=0)
    if reference is not None:
        twin = next((flow for flow in everyone if _same_start(flow, reference)), None)
        named["time_flows"] = _length(scale * _difference(twin, reference, times))
    named["escaped"] = run["escaped"].sel(time=times, method="nearest").values
    posed = getattr(truth, "problem", None) if problem is None else problem
    if posed is not None:
        named["truncation"] = named["escaped"] * _largest_feature(posed, run, scale)
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


def _differences(flows: Sequence[xr.Dataset], m: int, times: Array, f: Array) -> Array:
    """What the flows of m neurons predict beyond f (T, n), (T, R, n)."""
    predicted = [_predicted(flow, times) for flow in flows if flow.sizes["particle"] == m]
    if len(predicted) < FEWEST:
        raise InvalidInput(
            f"there are {len(predicted)} replicas of {m} neurons",
            "how much they scatter is not seen from so few",
            f"at least {FEWEST} flows of every width, from as many seeds",
        )
    d = np.stack(predicted, axis=1) - f[:, None]
    if any(len(np.unique(each, axis=0)) < len(each) for each in d):
        raise InvalidInput(
            f"two replicas of {m} neurons are the same", "they have one start", "a seed for each"
        )
    return d


def _predicted(run: xr.Dataset, times: Array) -> Array:
    return run["prediction"].sel(time=times, method="nearest").values


def _held(values: xr.DataArray, times: Array) -> Array:
    """The values at all of ``times``; refused where one is missing."""
    nearest = values.sel(time=times, method="nearest")
    if (np.abs(nearest.time.values - times) > SAME_TIME * np.maximum(1, np.abs(times))).any():
        raise InvalidInput(
            f"one part is known at times {values.time.values}, the others at {times}",
            "a budget needs all parts at every time that the run and its flows share",
            "the same `times` for all",
        )
    return nearest.values


def _covariance(fluctuations: xr.Dataset, times: Array, scale: Array) -> Array:
    check_dataset(fluctuations, ["covariance"])
    C = _held(fluctuations["covariance"], times)
    if C.shape[1:] != (len(scale), len(scale)):
        raise InvalidInput(
            f"the covariance has shape {C.shape[1:]}", f"there are {len(scale)} samples"
        )
    return C * np.outer(scale, scale)


# Grid, time and box -------------------------------------------------------------------------------


def _length(difference: Array) -> Array:
    return np.sqrt((difference**2).sum(axis=1))


def _same_cells(run: xr.Dataset, other: xr.Dataset) -> bool:
    check_dataset(other, ["prediction"])
    edges = [f"{name}_edges" for name in coordinates(run)]
    return all(name in other and np.array_equal(run[name], other[name]) for name in edges)


def _step_error(run: xr.Dataset, slower: xr.Dataset, times: Array) -> Array:
    """What a run on the same cells with fewer steps shows of the error in time, (T,)."""
    compare(run, slower, only=("prediction_gap",))  # refuses those of another problem
    ratio = run.attrs["steps"] / slower.attrs["steps"]
    if ratio < FEWER_STEPS:
        raise InvalidInput(
            f"the runs took {run.attrs['steps']} and {slower.attrs['steps']} steps",
            "a coarser run on the same cells is coarser in time",
            "the same method with a longer dt or a larger tolerance, or half the cells",
        )
    order = float(run.attrs.get("order_in_time", run.attrs["order"]))
    difference = np.sqrt(run["weight"].values) * _difference(run, slower, times)
    return _length(difference) / (ratio**order - 1)


def _difference(one: xr.Dataset | None, other: xr.Dataset, times: Array) -> Array:
    if one is None:
        raise InvalidInput(
            "the reference starts where no flow does",
            "an error in time is the difference of two flows of one cloud",
            "pr.run(problem, the same cloud, a finer method, times)",
        )
    return _held(one["prediction"], times) - _held(other["prediction"], times)


def _same_start(flow: xr.Dataset, other: xr.Dataset) -> bool:
    one, two = (each[["position", "weight"]].isel(time=0) for each in (flow, other))
    return one.equals(two)


def _largest_feature(problem: Problem, run: xr.Dataset, scale: Array) -> float:
    """Root mean square over the samples of sup |Φ| over the box, seen at the cells' edges."""
    edges = [run[f"{name}_edges"].values for name in problem.coords]
    factor, axes = (np.abs(edges[0]).max(), edges[1:]) if problem.lifted else (1.0, edges)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    bounds = [*range(0, len(points), max(1, BLOCK // len(scale))), len(points)]
    blocks = [np.abs(problem.phi(points[i:j])).max(axis=0) for i, j in pairwise(bounds)]
    return float(factor * np.linalg.norm(scale * np.max(blocks, axis=0)))


def _needed(m: int, found: Mapping[str, Array], tolerance: float) -> Array:
    """The width whose gap is the tolerance, by the sampling of the widest m, (3, T)."""
    slope, low, high = found["slope"]
    observed = (low > -0.5) | (high < -0.5)  # no for a single width, where they are nan
    power = 1 / np.where(observed & (slope < 0), slope, -0.5)
    room = tolerance**2 - found["grid"][0] ** 2
    target = np.sqrt(np.where(room > 0, room, 1))
    return np.where(room > 0, m * (target / found["sampling"][:, :, -1]) ** power, np.inf)


# In words -----------------------------------------------------------------------------------------


def _part(moment: xr.Dataset, name: str) -> Part:
    return Part(*(float(moment[f"{name}{end}"]) for end in ("", "_low", "_high")))


def _values(moment: xr.Dataset, name: str) -> list[float]:
    return [float(moment[name])] if name in moment else []


def _ranked(parts: Mapping[str, Part]) -> list[tuple[str, Part]]:
    return sorted(parts.items(), key=lambda item: -item[1].value)


def _least(parts: Mapping[str, Part]) -> float:
    """The lower end of the largest part."""
    return max(parts.values()).low


def _told(part: Part) -> str:
    if part.low == part.high:
        return _short(part.value)
    return f"{_short(part.value)} [{_short(part.low)}, {_short(part.high)}]"


def _short(value: float | xr.DataArray) -> str:
    return f"{float(value):.2g}"


def _count(m: float | xr.DataArray) -> str:
    """A number of neurons, in two digits where it is an estimate."""
    value = float(m)
    return f"{int(value):,}" if value == int(value) else f"{int(float(f'{value:.2g}')):,}"
