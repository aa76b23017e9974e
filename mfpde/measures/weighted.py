"""Weighted points on a product of lines and circles, checked, and how far apart they are.

A measure is given as points ``x`` (N, D) and weights ``wx`` (N,), the way ``as_measure`` returns
it. ``periods`` has one length per coordinate, ``inf`` for a line (the default for all); an interval
or a half line is part of a line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import InvalidInput

Array = NDArray[np.float64]
Measure = tuple[Array, Array]
Periods = Sequence[float] | None

MASS_TOLERANCE = 1e-2
"""Relative difference of two masses above which a distance of probabilities has no meaning."""
BLOCK = 65536
"""Numbers in a block of pairwise distances: 512 kB, so that it stays in the cache of a core."""


def checked(
    periods: Periods, measures: Sequence[tuple[ArrayLike, ArrayLike]]
) -> tuple[tuple[float, ...], list[Measure]]:
    """Periods and measures as arrays that have a meaning together."""
    arrays = [(np.asarray(p, np.float64), np.asarray(w, np.float64)) for p, w in measures]
    dimension = arrays[0][0].shape[-1] if arrays[0][0].ndim == 2 else 0
    for points, weights in arrays:
        check_measure(points, weights, dimension)
    lengths = (math.inf,) * dimension if periods is None else tuple(map(float, periods))
    if len(lengths) != dimension or not all(length > 0 for length in lengths):
        raise InvalidInput(
            f"periods = {periods}",
            f"points of {dimension} coordinates need one length > 0 each",
            "inf for a line, the length for a circle",
        )
    return lengths, arrays


def probabilities(
    periods: Periods, measures: Sequence[tuple[ArrayLike, ArrayLike]]
) -> tuple[tuple[float, ...], list[Measure]]:
    """The same, each measure divided by its mass; masses have to be about equal."""
    lengths, arrays = checked(periods, measures)
    masses = [float(weights.sum()) for _, weights in arrays]
    for mass in masses[1:]:
        if abs(mass - masses[0]) > MASS_TOLERANCE * masses[0]:
            raise InvalidInput(
                f"measures of mass {masses[0]:.6g} and {mass:.6g}",
                f"a distance compares shapes, and masses within {MASS_TOLERANCE:.0%}",
                "measures of one mass, or the flat distance; has mass left a box?",
            )
    return lengths, [(p, w / mass) for (p, w), mass in zip(arrays, masses, strict=True)]


def check_measure(points: Array, weights: Array, dimension: int) -> None:
    """Raise InvalidInput for arrays that are no measure of this dimension."""
    if points.ndim != 2 or points.shape != (weights.size, dimension) or weights.ndim != 1:
        raise InvalidInput(
            f"points of shape {points.shape} with weights of shape {weights.shape}",
            "a measure has points (N, D) and weights (N,), with the same D on both sides",
            "as_measure(run.isel(time=0)) returns such a pair",
        )
    if not (np.isfinite(points).all() and np.isfinite(weights).all()):
        raise InvalidInput("a measure has entries that are not finite", fix="an earlier time")
    if not (weights.size and weights.min() >= 0 and weights.any()):
        raise InvalidInput("a measure has negative weights or no mass", fix="weights >= 0")


def without_dust(points: Array, weights: Array, dust: float) -> Measure:
    """The measure without its lightest points, whose mass together is at most ``dust`` of it."""
    ascending = np.sort(weights)
    level = np.cumsum(ascending)
    kept = weights >= ascending[np.searchsorted(level, dust * level[-1], side="right")]
    return points[kept], weights[kept]


def arc(difference: Array, period: float) -> Array:
    """Signed length of the shortest way around."""
    if math.isinf(period):
        return difference
    return difference - period * np.rint(difference / period)


def squared_chord(difference: Array, period: float) -> Array:
    """Squared distance of two values of a coordinate, once a circle is placed in the plane."""
    if math.isinf(period):
        return difference**2
    return (period / np.pi * np.sin(np.pi / period * difference)) ** 2


def embedded(points: Array, lengths: Sequence[float]) -> Array:
    """Points with each circle placed in the plane: D plus one dimension for every circle."""
    columns = []
    for values, length in zip(points.T, lengths, strict=True):
        if math.isinf(length):
            columns += [values]
        else:
            angle, radius = 2 * np.pi / length * values, length / (2 * np.pi)
            columns += [radius * np.cos(angle), radius * np.sin(angle)]
    return np.stack(columns, axis=1)


def cdf_gap(source: Measure, target: Measure, period: float = math.inf) -> tuple[Array, Array]:
    """F - G between neighbouring points, and the distances of those neighbours."""
    (x, wx), (y, wy) = source, target
    values = np.concatenate([x[:, 0], y[:, 0]])
    if math.isfinite(period):
        values = values % period
    order = np.argsort(values, kind="stable")
    gap = np.cumsum(np.concatenate([wx, -wy])[order])
    ends = values[order]
    if math.isinf(period):
        return gap[:-1], np.diff(ends)
    return gap, np.diff(ends, append=ends[0] + period)
