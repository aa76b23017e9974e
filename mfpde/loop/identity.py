"""What makes a run this run and no other: named parts that can be compared in words.

Arrays are told by their hashes. Functions, which a user may have written, are told by sketches of
their values: sums over all cells with fixed random weights (Alon, Matias & Szegedy 1999), which a
change in any one cell changes. Equal to nine digits is equal, as libraries differ in the last ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from mfpde.errors import InvalidInput
from mfpde.flows.interaction import KernelPairs, LiftedFeatures, PlainFeatures
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.loop.files import digest
from mfpde.loop.guards import State
from mfpde.loop.record import Recorder
from mfpde.methods.step import Method
from mfpde.problems.activations import Activation
from mfpde.problems.losses import Loss
from mfpde.problems.problem import Array, Problem

BLOCK = 2**20  # values that are sketched at once
POINTS = 2048  # where functions of a number are asked
MOST_VALUES = 2**14  # of a derivative, which is asked in some of the cells
REACH = 3.0  # how far predictions are from the targets, in sizes of these
DIGITS = 1e-9  # that values of one function share, relative to the largest
LONGEST = 80  # of a part in a message

Parts = dict[str, Any]


def identity(
    flow: WassersteinFlow, first: WassersteinFlow, method: Method, keep: str, tolerance: float
) -> Parts:
    """The parts of a density run; ``first`` is the flow on the grid that it begins on."""
    problem, grid = flow.problem, flow.grid
    penalty, law = problem.penalty, problem.initial
    edges = [axis.edges for axis in grid.axes.values()]
    of_law = [axis.edges for axis in first.grid.axes.values()]
    gradient = asked(penalty.gradient, some(grid.points(), problem.dimension))
    parts: Parts = {
        "coords": problem.coords,
        "domain": {c: repr(geometry) for c, geometry in problem.domain.items()},
        "x": problem.x,
        "y": problem.y,
        "weights": problem.weights,
        "penalty": [repr(penalty), told(edges, sketch(flow.penalty), gradient)],
        "entropy": problem.entropy,
        "initial": [repr(law), told(of_law, sketch(first.start))],
        "grid": {c: [repr(axis), axis.edges] for c, axis in grid.axes.items()},
        "method": method.call,
        "keep": keep,
        "escaped_tolerance": tolerance,
    }
    interaction = flow.interaction
    if isinstance(interaction, KernelPairs):
        return parts | of_kernel(interaction, edges)
    return parts | of_features(problem, interaction, edges)  # type: ignore[arg-type]


def of_features(
    problem: Problem, interaction: LiftedFeatures | PlainFeatures, edges: list[Array]
) -> Parts:
    """The parts of a problem with samples."""
    table, loss, n = interaction.table, problem.loss.loss, len(problem.y)
    cells = len(table.points)
    seen: list[list[float] | None] = [
        sketch(table.integrate(weights(0, cells)[0] / np.sqrt(cells)))
    ]
    few = some(table.points, n * table.points.shape[1] ** 2)
    seen += [asked(problem.dphi, few), asked(problem.d2phi, few)]
    if problem.activation is not None:
        seen += of_activation(problem.activation, problem.directions, table.points)
    features = repr(problem.activation) if problem.activation else "features"
    return {
        "activation": [features, told([*edges, problem.x], *seen)],
        "lifted": problem.lifted,
        "bias": problem.bias,
        "loss": [repr(loss), told(problem.y, *of_loss(loss, problem.y))],
    }


def of_activation(activation: Activation, directions: Array, points: Array) -> list[Any]:
    """Sketches of σ and its derivatives, as far as z = w·x reaches."""
    reach = np.abs(points).max(axis=0) @ np.abs(directions).max(axis=0)
    z = np.linspace(-reach, reach, POINTS)
    return [asked(part, z) for part in (activation.value, activation.slope, activation.curvature)]


def of_loss(loss: Loss, y: Array) -> list[Any]:
    """Sketches of ℓ and its derivatives, at predictions on both sides of the targets."""
    targets = np.resize(y, POINTS)
    f = targets + REACH * (np.abs(y).max() or 1.0) * weights(0, POINTS)[0]
    return [asked(part, f, targets) for part in (loss.value, loss.slope, loss.curvature)]


def of_kernel(pairs: KernelPairs, edges: list[Array]) -> Parts:
    """The parts of a problem without samples."""
    cells = len(pairs.F)
    return {
        "K": told(edges, sketch(weights(0, cells)[0] / np.sqrt(cells) @ pairs.K)),
        "F": told(edges, sketch(pairs.F)),
        "const": pairs.const,
    }


def told(at: Any, *sketches: list[float] | None) -> Parts:
    """Sketches of functions, and what tells where they were asked: others are not comparable."""
    return {"at": at, "values": list(sketches)}


def asked(function: Callable[..., Array] | None, *points: Array) -> list[float] | None:
    """The sketch of what a function gives at points; None where there is none."""
    if function is None:
        return None
    with np.errstate(all="ignore"):
        return sketch(np.asarray(function(*(p.copy() for p in points)), dtype=float))


def sketch(values: Array) -> list[float]:
    """Two sums Σ_k s_k v_k/√N with fixed random weights s."""
    flat, total = values.ravel(), np.zeros(2)
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, BLOCK):
            part = flat[start : start + BLOCK]
            total += weights(start, part.size) @ part
        return (total / np.sqrt(flat.size)).tolist()


def weights(start: int, count: int) -> Array:
    """Two numbers of (−1, 1) for every place from ``start`` on, (2, count), the same for ever.

    The halves of splitmix64 of the place (Steele, Lea & Flood 2014).
    """
    z = np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    halves = np.stack([z >> np.uint64(32), z & np.uint64(0xFFFFFFFF)])
    return (halves + 0.5) / 2.0**31 - 1.0


def some(points: Array, width: int) -> Array:
    """As many points, drawn from all, as have at most MOST_VALUES values of ``width`` numbers."""
    count = max(1, MOST_VALUES // width)
    if count >= len(points):
        return points
    u = 0.5 * (1 + weights(0, count)[0])
    return points[(u * len(points)).astype(int)]


def recorded(parts: Mapping[str, Any]) -> Parts:
    """The parts as JSON holds them: arrays by shape and hash."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            hash_ = digest(np.ascontiguousarray(value).tobytes())
            return f"array {value.shape} of hash {hash_[:16]}"
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        return value

    return json.loads(json.dumps(plain(parts)))


def differences(stored: Any, asked: Any, name: str = "") -> list[str]:
    """What differs, part by part, for a reader."""
    if alike(stored, asked):
        return []
    if isinstance(stored, dict) and isinstance(asked, dict) and not is_told(stored):
        return [
            line
            for key in stored | asked
            for line in differences(stored.get(key), asked.get(key), f"{name} {key}".strip())
        ]
    if is_named(stored) and is_named(asked):
        if stored[0] == asked[0]:
            return [f"{name}: {in_words(stored[0])} with other values"]
        stored, asked = stored[0], asked[0]
    return [f"{name}: {in_words(stored)}, now {in_words(asked)}"]


def is_told(part: Any) -> bool:
    """Whether a part is the values of functions, and where these were asked."""
    return isinstance(part, dict) and set(part) == {"at", "values"}


def is_named(part: Any) -> bool:
    """Whether a part is what a thing calls itself, followed by its values."""
    return isinstance(part, list) and bool(part) and isinstance(part[0], str)


def alike(one: Any, other: Any) -> bool:
    """Equal, and lists of numbers up to what libraries may differ in.

    Where functions were asked is a part by itself: values at other places say nothing more.
    """
    if is_told(one) and is_told(other):
        return one["at"] != other["at"] or alike(one["values"], other["values"])
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        if all(isinstance(v, float | int) for v in one + other):
            scale = max((abs(v) for v in one if np.isfinite(v)), default=0.0)
            return bool(np.allclose(one, other, rtol=0, atol=DIGITS * scale, equal_nan=True))
        return all(alike(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def in_words(part: Any) -> str:
    """A part in short; values of functions say little by themselves."""
    if is_told(part):
        first = next(v for values in part["values"] if values for v in values)
        return f"values such as {first:.6g}"
    text = ", ".join(map(str, part)) if isinstance(part, list) else str(part)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def check_watched(recorder: Recorder, run: xr.Dataset, state: State) -> None:
    """Ask the observers again about the last snapshot that is stored, if its density is.

    Raises:
        InvalidInput: for an observer that gives another number than was stored.
    """
    last = run.isel(time=-1)
    densities = densities_of(recorder, last, state)
    if densities is None:
        return
    then = recorder.restored(last, densities)
    for name, number in recorder.watched(then).items():
        if not alike([float(last[name])], [number]):
            raise InvalidInput(
                f"the observer {name} gives {number!r} at t = {float(last.time):g}",
                f"the one of this name that was kept gave {float(last[name])!r}",
                "watch what was watched before, or another folder",
            )


def densities_of(recorder: Recorder, last: xr.Dataset, state: State) -> dict[str, Array] | None:
    """The density of the last snapshot, from wherever it was kept; None where it was not."""
    names = recorder.dims_of_densities()
    for kept in ("rho", "rho_last"):
        if kept in last and last[kept].dtype == np.float64:
            return {name: last[name.replace("rho", kept)].values for name in names}
    return recorder.densities(state) if state.t == float(last.time) else None
