"""What makes a run this run and no other: named parts that can be compared in words.

Arrays are told by their hashes. Functions, which a user may have written, are told by their values
at fixed points: equal to nine digits, as libraries differ in the last ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mfpde.grids.grid import Grid
from mfpde.loop.files import digest
from mfpde.methods.step import Method
from mfpde.problems.geometry import Geometry
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

PROBES = 7  # points where functions are asked
REACH = 3.0  # how far from 0 they lie on a line
DIGITS = 1e-9  # that values of one function share, relative to the largest
LONGEST = 80  # of a part in a message

Parts = dict[str, Any]


def identity(
    problem: Problem | KernelProblem, grid: Grid, method: Method, keep: str, tolerance: float
) -> Parts:
    """The parts of a density run."""
    cube = scattered(PROBES, len(problem.coords))
    points = np.column_stack(
        [within(problem.domain[c], u) for c, u in zip(problem.coords, cube.T, strict=True)]
    )
    penalty, law = problem.penalty, problem.initial
    parts: Parts = {
        "coords": problem.coords,
        "domain": {c: repr(geometry) for c, geometry in problem.domain.items()},
        "x": problem.x,
        "y": problem.y,
        "weights": problem.weights,
        "penalty": [repr(penalty), told(penalty.value, points), told(penalty.gradient, points)],
        "entropy": problem.entropy,
        "initial": [repr(law), told(law.from_uniform, cube)],
        "grid": {c: [repr(axis), axis.edges] for c, axis in grid.axes.items()},
        "method": method.call,
        "keep": keep,
        "escaped_tolerance": tolerance,
    }
    if isinstance(problem, KernelProblem):
        return parts | of_kernel(problem, points)
    return parts | of_features(problem, points)


def of_features(problem: Problem, points: Array) -> Parts:
    """The parts of a problem with samples."""
    loss, at = problem.loss.loss, points[:, int(problem.lifted) :]
    y = np.repeat(problem.y[:PROBES], PROBES)
    f = y + np.resize(np.linspace(-2.3, 2.9, PROBES), y.shape)
    features = repr(problem.activation) if problem.activation else "features"
    return {
        "activation": [features, told(problem.phi, at), told(problem.dphi, at)],
        "lifted": problem.lifted,
        "bias": problem.bias,
        "loss": [repr(loss), told(loss.value, f, y), told(loss.slope, f, y)],
    }


def of_kernel(problem: KernelProblem, points: Array) -> Parts:
    """The parts of a problem without samples."""
    return {
        "K": told(problem.K, points, points),
        "F": told(problem.F, points),
        "const": problem.const,
    }


def within(geometry: Geometry, u: Array) -> Array:
    """Points of a coordinate, from points u of the unit interval."""
    low = geometry.low if np.isfinite(geometry.low) else -REACH
    high = geometry.high if np.isfinite(geometry.high) else low + 2 * REACH
    return low + u * (high - low)


def scattered(count: int, dimension: int) -> Array:
    """Points of the open unit cube, (count, dimension), the same for ever."""
    k, j = np.arange(1, count + 1)[:, None], np.arange(1, dimension + 1)
    return (k * np.sqrt(2.0) ** j / np.e) % 1.0


def told(function: Callable[..., Array] | None, *points: Array) -> list[float] | None:
    """Values at points, summed against a fixed pattern over all that is not the first axis."""
    if function is None:
        return None
    with np.errstate(all="ignore"):
        values = np.asarray(function(*(p.copy() for p in points)), dtype=float)
        rows = values.reshape(len(values), -1)
        return (rows @ np.cos(1.0 + np.arange(rows.shape[1]))).tolist()


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
    if isinstance(stored, dict) and isinstance(asked, dict):
        return [
            line
            for key in stored | asked
            for line in differences(stored.get(key), asked.get(key), f"{name} {key}".strip())
        ]
    if is_told(stored) and is_told(asked):
        if stored[0] == asked[0]:
            return [f"{name}: {in_words(stored[0])} with other values"]
        stored, asked = stored[0], asked[0]
    return [f"{name}: {in_words(stored)}, now {in_words(asked)}"]


def is_told(part: Any) -> bool:
    """Whether a part is what a thing calls itself, followed by its values."""
    return isinstance(part, list) and bool(part) and isinstance(part[0], str)


def alike(one: Any, other: Any) -> bool:
    """Equal, and lists of numbers up to what libraries may differ in."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        if all(isinstance(v, float | int) for v in one + other):
            scale = max([1.0, *(abs(v) for v in one if np.isfinite(v))])
            return bool(np.allclose(one, other, rtol=0, atol=DIGITS * scale, equal_nan=True))
        return all(alike(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def in_words(part: Any) -> str:
    """A part in short; values of functions say little by themselves."""
    if isinstance(part, list) and part and all(isinstance(v, float | int) for v in part):
        return f"values such as {part[0]:.6g}"
    text = ", ".join(part) if isinstance(part, list) else str(part)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
