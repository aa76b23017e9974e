"""Two solutions of one problem side by side: a density and particles, or any two runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import reduce

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from mfpde.arguments import check_flag, number, numbers, shown
from mfpde.errors import InvalidInput
from mfpde.measures import (
    as_measure,
    coordinates,
    drawn,
    energy_distance_each,
    exact_w2,
    flat,
    in_window,
    marginal_w1,
    marginal_w2,
    periods,
    sliced_w2_each,
)
from mfpde.measures.measure import check_dataset, check_real
from mfpde.measures.regime import geometries
from mfpde.measures.weighted import without_dust

Array = NDArray[np.float64]
Measure = tuple[Array, Array]
Distance = Callable[[Measure, Sequence[Measure]], ArrayLike]

MOST_DRAWS = 10_000
DUST = 1e-10  # of the mass: the lightest points, left out of exact transport
SAME_TIME = 1e-12
"""Two times are one if they differ by no more than this times max(1, t)."""


def compare(
    left: xr.Dataset,
    right: xr.Dataset | Sequence[xr.Dataset],
    exact: bool = False,
    only: Collection[str] | None = None,
    floor: int = 0,
) -> xr.Dataset:
    """How far two solutions of one problem are apart, at every time that both hold.

    Either side is a density run or a particle flow. A sequence on the right holds replicas, such
    as flows from several seeds; the times are then those that all of them share.

    Parameters
    ----------
    left, right
        Runs of one problem: the same coordinates, geometry and samples.
    exact
        Adds ``w2``, at most 5e7 pairs of points each time; the lightest points, 1e-10 of the mass,
        are left out, which moves its square by 1e-10 diameter² at most.
    only
        Names of what is to be computed, instead of everything but ``w2`` and ``flat``.
    floor
        Adds to every distance of a cloud a ``floor_<name>``: the mean over so many iid clouds of
        that size, drawn from the left measure, of their distance to it. A gap at its floor is
        sampling, or the width of the cells that the density is known on, and tells nothing else;
        16 draws know it to about 10 %.

    Returns
    -------
    Dataset over ``time``, and ``replica`` where ``right`` is a sequence, of

    - ``prediction_gap``: root of the mean squared difference of the predictions, samples weighted
      as in the loss. Problems without samples have none.
    - ``risk_gap``: risk of the right minus risk of the left
    - ``w1_<coord>``, ``w2_<coord>``: exact distances between the marginals of one coordinate;
      here and in all distances below a density is points at its cells' centres, which alone are
      about a quarter of a cell away from what they stand for
    - ``sliced_w2``, ``w2``, ``flat``: see ``mfpde.measures.transport``
    - ``energy_distance``: see ``mfpde.measures.energy``
    - ``l1``: ∫|ρ − ρ'| of the cells' averages, from 0 to 2, where both are densities; on unlike
      grids, those of windows among them, it holds what one cannot resolve of the other

    Distances are between the measures divided by their masses: mass that escaped is left out; but
    ``flat`` and ``l1`` count it.

    Raises
    ------
    InvalidInput
        If the runs are of different problems, share no time or hold no measure, or if ``only``
        has a name that is not known.
    """
    rights: list[xr.Dataset] = list(right) if isinstance(right, list | tuple) else [right]  # type: ignore[list-item]
    if not rights:
        raise InvalidInput("there is no run on the right", "the sequence is empty", "give one run")
    for run in (left, *rights):
        _check_run(run)
    for other in rights:
        _check_same_problem(left, other)
    names = _chosen(left, rights, exact, only)
    draws = _draws(floor)
    plain = {name: of for name, of in _NUMBERS.items() if name in names}
    distances = {name: distance for name, distance in _distances(left).items() if name in names}
    times, positions = _shared_times(left, rights)
    floors = [f"floor_{name}" for name in distances] if draws else []
    gaps = {name: np.full((len(times), len(rights)), np.nan) for name in [*names, *floors]}
    for row, position in enumerate(zip(*positions, strict=True)):
        pairs = zip([left, *rights], position, strict=True)
        moments = [in_window(run.isel(time=k)) for run, k in pairs]
        for name, of in plain.items():
            gaps[name][row] = [of(moments[0], other) for other in moments[1:]]
        measures = [as_measure(moment) for moment in moments] if distances else []
        for name, distance in distances.items():
            gaps[name][row] = distance(measures[0], measures[1:])
        if floors:
            for name, values in _floors(moments, measures[0], distances, draws).items():
                gaps[name][row] = values
    dims = ("time",) if isinstance(right, xr.Dataset) else ("time", "replica")
    shape = [len(times), len(rights)][: len(dims)]
    return xr.Dataset(
        {name: (dims, gap.reshape(shape), _about(name)) for name, gap in gaps.items()},
        coords={"time": times},
        attrs={"left": _label(left), "right": _label(rights[0])},
    )


def order(error: Callable[[int], float], cells: Sequence[int]) -> tuple[Array, Array]:
    """Observed orders of convergence, log(e_i / e_{i+1}) / log(n_{i+1} / n_i).

    Parameters
    ----------
    error
        Error of the computation on n cells per coordinate.
    cells
        The numbers n, (K,) and increasing.

    Returns
    -------
    orders (K - 1,), errors (K,)

    Raises
    ------
    InvalidInput
        For fewer than two numbers or a decrease, and for errors that are not finite and above 0.
    """
    n = numbers("cells", cells)
    increasing = n.ndim == 1 and n.size >= 2 and n[0] > 0 and n[-1] < np.inf
    if not increasing or not (np.diff(n) > 0).all():
        raise InvalidInput(
            f"cells = {shown(cells)}",
            "an order is seen between neighbouring grids, each finer than the one before",
            "e.g. cells=[32, 64, 128]",
        )
    if not callable(error):
        raise InvalidInput(f"error = {shown(error)}", "it is called with a number of cells")
    errors = numbers("the errors", [error(count) for count in cells])
    if errors.shape != n.shape:
        raise InvalidInput(f"the errors have shape {errors.shape}", "one number for each grid")
    if not (np.isfinite(errors).all() and (errors > 0).all()):
        raise InvalidInput(
            f"the errors {errors} have no order", "an order is a ratio of logarithms", "errors > 0"
        )
    return np.log(errors[:-1] / errors[1:]) / np.log(n[1:] / n[:-1]), errors


# What is computed ---------------------------------------------------------------------------------


def _prediction_gap(left: xr.Dataset, right: xr.Dataset) -> float:
    difference = right["prediction"].values - left["prediction"].values
    return math.sqrt(difference**2 @ _weights(left))


def _risk_gap(left: xr.Dataset, right: xr.Dataset) -> float:
    return float(right["risk"] - left["risk"])


def _l1(left: xr.Dataset, right: xr.Dataset) -> float:
    """∫|ρ − ρ'| of two densities that are constant on their cells, on the cells of both."""
    names, lengths = coordinates(left), periods(left)
    edges = [_edges_of_both(left, right, c, L) for c, L in zip(names, lengths, strict=True)]
    one, other = (_on(run, names, edges, lengths) for run in (left, right))
    volumes = reduce(np.multiply.outer, map(np.diff, edges))
    return float(np.abs(one - other).ravel() @ volumes.ravel())


def _edges_of_both(left: xr.Dataset, right: xr.Dataset, name: str, period: float) -> Array:
    """The edges of two axes; of circles from where the first is cut."""
    one, other = left[f"{name}_edges"].values, right[f"{name}_edges"].values
    if math.isfinite(period):
        other = one[0] + (other - one[0]) % period
    return np.union1d(one, other)


def _on(
    moment: xr.Dataset, names: Sequence[str], edges: Sequence[Array], lengths: Sequence[float]
) -> Array:
    """A density on finer cells, 0 beyond its box."""
    rho = np.pad(moment["rho"].transpose(*names).values, 1)
    cells = []
    for name, e, period in zip(names, edges, lengths, strict=True):
        middles, own = (e[1:] + e[:-1]) / 2, moment[f"{name}_edges"].values
        if math.isfinite(period):
            middles = own[0] + (middles - own[0]) % period
        cells.append(np.searchsorted(own, middles))
    return rho[np.ix_(*cells)]


_NUMBERS = {"prediction_gap": _prediction_gap, "risk_gap": _risk_gap, "l1": _l1}


def _weights(run: xr.Dataset) -> Array:
    """p_i of a run's samples; in a flow, `weight` belongs to the particles."""
    return run["sample_weight" if "sample_weight" in run else "weight"].values


def _distances(run: xr.Dataset) -> dict[str, Distance]:
    """Distances of one measure to each of several, under the names they are stored by."""
    lengths = periods(run)

    def w1(k: int) -> Distance:
        return lambda source, targets: [
            marginal_w1(source[0][:, k], source[1], y[:, k], wy, lengths[k]) for y, wy in targets
        ]

    def w2(k: int) -> Distance:
        return lambda source, targets: [
            marginal_w2(source[0][:, k], source[1], y[:, k], wy, lengths[k]) for y, wy in targets
        ]

    marginals = (("w1", w1), ("w2", w2))
    marginal: dict[str, Distance] = {
        f"{name}_{c}": of(k) for name, of in marginals for k, c in enumerate(coordinates(run))
    }
    joint: dict[str, Distance] = {
        "sliced_w2": lambda source, targets: sliced_w2_each(*source, targets, lengths),
        "energy_distance": lambda source, targets: energy_distance_each(*source, targets, lengths),
        "w2": lambda source, targets: [
            exact_w2(*without_dust(*source, DUST), *without_dust(*each, DUST), lengths)
            for each in targets
        ],
        "flat": lambda source, targets: [flat(*source, *each, 1.0, lengths) for each in targets],
    }
    return marginal | joint


def _floors(
    moments: Sequence[xr.Dataset], measure: Measure, distances: dict[str, Distance], draws: int
) -> dict[str, Array]:
    """The mean distance of clouds as large as each of the right, drawn from the left; nan if none.

    Particles of unequal weights count as (Σp)²/Σp² equal ones (Kish, Survey Sampling, 1965).
    """
    weights = [other["weight"].values if "position" in other else None for other in moments[1:]]
    sizes = np.array([0 if p is None else round(p.sum() ** 2 / (p**2).sum()) for p in weights])
    found = {f"floor_{name}": np.full(len(sizes), np.nan) for name in distances}
    rng = np.random.default_rng(0)
    for size in sorted(set(sizes) - {0}):
        clouds = [drawn(moments[0], int(size), rng) for _ in range(draws)]
        for name, distance in distances.items():
            found[f"floor_{name}"][sizes == size] = np.asarray(distance(measure, clouds)).mean()
    return found


def _draws(floor: object) -> int:
    if not (number(floor) == int(number(floor)) and 0 <= number(floor) <= MOST_DRAWS):
        raise InvalidInput(f"floor = {shown(floor)}", f"a number of draws, 0 to {MOST_DRAWS}", "16")
    return int(number(floor))


def _chosen(
    left: xr.Dataset, rights: Sequence[xr.Dataset], exact: bool, only: Collection[str] | None
) -> list[str]:
    """The names to compute, in the order in which they are stored."""
    check_flag("exact", exact)
    known = [*_NUMBERS, *_distances(left)]
    if not left.sizes["sample"]:
        known.remove("prediction_gap")
    if not all("rho" in run for run in (left, *rights)):
        known.remove("l1")
    chosen = isinstance(only, list | tuple | set | frozenset)
    wanted = set(map(str, only or ())) if chosen else set(known) - {"w2", "flat"}
    if not (only is None or chosen) or not wanted <= set(known):
        raise InvalidInput(
            f"only = {only!r}",
            f"the names for these runs are {', '.join(known)}",
            'a tuple of these, e.g. only=("risk_gap",)',
        )
    return [name for name in known if name in wanted or (exact and name == "w2")]


def _about(name: str) -> dict[str, str]:
    long_names = {
        "prediction_gap": "root mean squared difference of the predictions",
        "risk_gap": "risk of the right minus risk of the left",
        "sliced_w2": "sliced W2",
        "energy_distance": "energy distance",
        "w2": "W2",
        "flat": "flat distance",
        "l1": "L1 distance of the densities",
    }
    if name.startswith("floor_"):
        return {"long_name": f"{_about(name[6:])['long_name']}, of iid clouds of that size"}
    return {"long_name": long_names.get(name, f"{name[:2].upper()} of the marginals in {name[3:]}")}


def _label(run: xr.Dataset) -> str:
    return f"{run.attrs.get('software')}, {run.attrs.get('method')}"


# Which times, and what is refused -----------------------------------------------------------------


def _shared_times(
    left: xr.Dataset, rights: Sequence[xr.Dataset]
) -> tuple[Array, list[NDArray[np.intp]]]:
    """The times that all runs hold, in the left's digits, and where each run holds them."""
    times = _times(left)
    positions = [np.arange(len(times))]
    for right in rights:
        others = _times(right)
        nearest = np.abs(np.subtract.outer(times, others)).argmin(axis=1)
        same = np.abs(others[nearest] - times) <= SAME_TIME * np.maximum(1, np.abs(times))
        if not same.any():
            before = "the left" if len(positions) == 1 else "the left and the replicas before"
            raise InvalidInput(
                "the runs share no time",
                f"{before}: {_listed(times)}; the right: {_listed(others)}",
                "give both the same `times`",
            )
        times = times[same]
        positions = [index[same] for index in (*positions, nearest)]
    return times, positions


def _times(run: xr.Dataset) -> Array:
    if "time" not in run.dims:
        raise InvalidInput(
            f"a run of {_label(run)} has no dimension `time`",
            "one moment was selected from it",
            "keep the dimension: run.isel(time=[0])",
        )
    return run["time"].values


def _listed(times: Array) -> str:
    shown = [f"{time:.15g}" for time in times]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:5], "...", *shown[-2:]])


def _check_run(run: xr.Dataset) -> None:
    """Raise InvalidInput unless ``run`` holds what two runs are compared by."""
    coordinates(run)
    flow = ["weight"] if "position" in run else []
    check_dataset(run, ["time", "x", "y", "risk", "prediction", *flow])
    if "sample_weight" not in run:
        check_dataset(run, ["weight"])
    for name in ("time", "risk", "prediction"):
        check_real(run[name])


def _check_same_problem(left: xr.Dataset, right: xr.Dataset) -> None:
    names, others = coordinates(left), coordinates(right)
    if names != others:
        raise InvalidInput(
            f"the runs have coordinates {names} and {others}",
            "measures on different spaces have no distance",
            "runs of one problem",
        )
    if not all(map(math.isclose, periods(left), periods(right))):
        raise InvalidInput(
            f"{names} have periods {periods(left)} and {periods(right)}",
            "a circle is neither a line (period inf) nor a circle of another length",
            "runs of one problem, with one domain",
        )
    if geometries(left) != geometries(right):
        raise InvalidInput(
            f"{names} live on {geometries(left)} and {geometries(right)}",
            "a neuron on a sphere or between walls is not free",
            "runs of one problem, with one domain",
        )
    for name in ("problem", "penalty"):
        one, other = left.attrs.get(name), right.attrs.get(name)
        if one is not None and other is not None and one != other:
            raise InvalidInput(
                f"the runs are of different problems: `{name}`",
                f"left: {one}; right: {other}",
                "run both with one problem",
            )
    for name, (one, other) in {
        "x": (left["x"].values, right["x"].values),
        "y": (left["y"].values, right["y"].values),
        "weights": (_weights(left), _weights(right)),
    }.items():
        if not np.array_equal(one, other):
            raise InvalidInput(
                f"the runs have different `{name}`",
                "predictions and risks on different samples do not compare",
                "runs of one problem",
            )
