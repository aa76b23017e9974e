"""What is recorded of a cloud over time, and who keeps it: memory, or a writer handed in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import xarray as xr

from particle_ref.cloud import Cloud
from particle_ref.errors import NumericalStop
from particle_ref.force import Force
from particle_ref.methods.method import Memory, Method
from particle_ref.problem import Array, KernelProblem, Loss, Problem
from particle_ref.spaces import Space

LONGEST_NAME = 300

# Where a problem's functions are asked, to tell it from others.
SEED = 20180525
PLACES, TRIALS = 1000, 64  # neurons, and predictions
WIDER, REACH = 2.0, 3.0  # than the cloud, and than the targets

Row = dict[str, Any]
Column: TypeAlias = tuple[tuple[str, ...], Any]  # dimensions and values of a variable


class Book(Protocol):
    """Keeps one run, snapshot by snapshot."""

    @property
    def count(self) -> int:
        """Snapshots it holds already."""

    @property
    def state(self) -> Memory | None:
        """What was handed over with the last of them; None if there is none."""

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""

    def append(self, row: Row, state: Memory) -> None:
        """Keep the next snapshot, and what the one after it depends on."""

    def finish(self, attrs: Mapping[str, Any]) -> None:
        """There are no more."""

    def run(self) -> xr.Dataset:
        """The snapshots so far."""


class Writer(Protocol):
    """Opens books, such as the folder of ``mf.store("runs/y")``."""

    def opened(
        self, identity: Mapping[str, Any], template: xr.Dataset, times: Array
    ) -> AbstractContextManager[Book]:
        """The book of a run: a new one, or one that has come some way already.

        Args:
            identity: what is run, by named parts: plain values, and arrays.
            template: the run before its first snapshot: variables over time have length 0.
            times: the instants to come.
        """


class Blank(NamedTuple):
    """A run before its first snapshot: variables over time have length 0."""

    data: dict[str, Column]
    coords: dict[str, Column]
    attrs: dict[str, Any]


class Pages:
    """A book in memory."""

    state: Memory | None = None
    count, finished = 0, False

    def __init__(self, blank: Blank) -> None:
        self.blank = blank
        self.rows: list[Row] = []

    def append(self, row: Row, state: Memory) -> None:
        self.rows.append(row)

    def finish(self, attrs: Mapping[str, Any]) -> None:
        self.blank.attrs.update(attrs)

    def run(self) -> xr.Dataset:
        def filled(name: str, dims: tuple[str, ...], values: Any) -> Column:
            if "time" not in dims:
                return dims, values
            told = np.array([row[name] for row in self.rows], dtype=float)
            return dims, told.reshape(len(self.rows), *values.shape[1:])

        data, coords, attrs = self.blank  # named like their dimensions, coords are known
        columns = {name: filled(name, *column) for name, column in {**data, **coords}.items()}
        return xr.Dataset(columns, attrs=attrs)


def blank(problem: Problem, space: Space, method: Method, start: Cloud) -> Blank:
    """The run before its first snapshot, as ``xr.Dataset(*blank)`` takes it."""
    (N, D), n = start.position.shape, len(problem.y)
    x = np.asarray(problem.x, dtype=float)
    density: dict[str, Column] = {"log_density": (("time", "particle"), np.empty((0, N)))}
    return Blank(
        {
            "position": (("time", "particle", "coord"), np.empty((0, N, D))),
            "weight": (("time", "particle"), np.empty((0, N))),
            "risk": (("time",), np.empty(0)),
            "energy": (("time",), np.empty(0)),
            "dissipation": (("time",), np.empty(0)),
            "prediction": (("time", "sample"), np.empty((0, n))),
            "x": (("sample", "input")[: x.ndim], x),
            "y": (("sample",), np.asarray(problem.y, dtype=float)),
            "sample_weight": (("sample",), np.asarray(problem.weights, dtype=float)),
        }
        | (density if getattr(method, "carries_density", False) else {})
        | {name: (("time",), np.empty(0)) for name in _measured(method, problem)},
        {"time": (("time",), np.empty(0)), "coord": (("coord",), list(space.coords))},
        {
            "software": "particle_ref",
            "problem": named(problem),
            "penalty": named(problem.penalty),
            "method": repr(method),
            "particles": N,
            "entropy": float(problem.entropy),
            "energy_excludes_entropy": 1,
            **{f"geometry_{c}": kind for c, kind in zip(space.coords, space.kinds, strict=True)},
            **{f"length_{space.coords[k]}": length for k, length in space.length.items()},
            **{f"radius_{space.coords[k]}": radius for w, radius in space.spheres for k in w},
        },
    )


def snapshot(time: float, cloud: Cloud, force: Force, space: Space, method: Method) -> Row:
    """The cloud at one time and what is measured of it.

    Raises NumericalStop where that is not finite.
    """
    u, p = cloud.position, cloud.weight
    response = force(u, p)
    velocity = method.velocity(force, space, u, response.gradient)
    energy = force.energy(u, p, response.risk)
    dissipation = float(p @ (velocity**2).sum(axis=1))
    if not np.isfinite([*response.prediction, response.risk, energy, dissipation]).all():
        raise NumericalStop(
            f"at t = {time:g} risk = {response.risk:g}, energy = {energy:g}, "
            f"dissipation = {dissipation:g}",
            "the particles are at finite places, but their prediction or force is not finite",
            "end earlier, or look at the problem's features at the last cloud",
        )
    density = {} if cloud.log_density is None else {"log_density": cloud.log_density}
    row = density | {
        "time": time,
        "position": u,
        "weight": p,
        "risk": response.risk,
        "energy": energy,
        "dissipation": dissipation,
        "prediction": response.prediction,
    }
    measured = _measured(method, force.problem)
    return row | {name: float(getattr(cloud, name)) for name in measured}


def _measured(method: Method, problem: Problem) -> tuple[str, ...]:
    """Variables of time that a method measures by itself; its clouds have them as attributes."""
    return method.measured(problem) if hasattr(method, "measured") else ()


def identity(
    problem: Problem, space: Space, method: Method, start: Cloud, force: Force
) -> dict[str, Any]:
    """What is run, by named parts; functions by random sums of what they give round the start."""
    u, s = places(space, start), np.random.RandomState(SEED)  # whose stream never changes
    with np.errstate(all="ignore"):
        response = force(u, s.uniform(-1, 1, len(u)) / len(u))
        penalty = random_sum(problem.penalty.value(u))
    shown = [random_sum(response.prediction), response.risk]
    losses = [] if isinstance(problem, KernelProblem) else slopes(problem.loss, problem.y)
    at = start.position
    return {
        "problem": named(problem),
        "coords": space.coords,
        "domain": [
            *space.kinds,
            *map(str, [*space.low, *space.high, *space.length.values(), *space.spheres]),
        ],
        "x": np.asarray(problem.x, dtype=float),
        "y": np.asarray(problem.y, dtype=float),
        "weights": np.asarray(problem.weights, dtype=float),
        "entropy": float(problem.entropy),
        "penalty": [named(problem.penalty), {"at": at, "values": [[penalty]]}],
        "method": repr(method),
        "start": start.position,
        "start's weights": start.weight,
        "loss": {"at": problem.y, "values": [losses]},
        "prediction and risk": {"at": at, "values": [shown]},
        "force": {"at": at, "values": [[random_sum(response.gradient)]]},
        **(method.identity() if hasattr(method, "identity") else {}),
    }


def places(space: Space, start: Cloud) -> Array:
    """Where functions are asked: the start, and points all over a wider box around it."""
    low, high = start.position.min(axis=0), start.position.max(axis=0)
    half = WIDER * (0.5 * (high - low) + 1)
    u = np.random.RandomState(SEED).uniform(-1, 1, (PLACES, len(low)))
    around = space.wrap(space.project(0.5 * (low + high) + half * u))
    return np.concatenate([start.position, around])


def slopes(loss: Loss, y: Array) -> list[float]:
    """The loss's slope at predictions on both sides of the targets, summed over samples."""
    reach = REACH * (np.abs(y).max() or 1.0)
    f = y + reach * np.random.RandomState(SEED).uniform(-1, 1, (TRIALS, len(y)))
    with np.errstate(all="ignore"):
        return [random_sum(loss.slope(g)) for g in f]


def random_sum(values: Array) -> float:
    """The sum with fixed random weights, which a change in any one value changes."""
    return float(np.random.RandomState(SEED + 1).uniform(-1, 1, np.size(values)) @ np.ravel(values))


def named(thing: object) -> str:
    """How a thing names itself in a record: its repr, or its type where that is no name."""
    text = repr(thing)
    return text if len(text) <= LONGEST_NAME and " at 0x" not in text else type(thing).__name__
