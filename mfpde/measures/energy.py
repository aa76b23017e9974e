"""The energy distance: sums over all pairs of weighted points (``measures/weighted.py``).

It needs straight lines: a circle of length L is placed in the plane, at (L / 2 pi) (cos, sin), and
chords are measured. It is the maximum mean discrepancy of the kernel -|x - y| (Sejdinovic et al.,
Ann. Statist. 41 (2013) 2263). An iid cloud of N points is at the mean squared distance
E|X - X'| / N from the measure it is drawn from, in any dimension.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.spatial.distance import cdist

from mfpde.measures.weighted import (
    BLOCK,
    Array,
    Measure,
    Periods,
    cdf_gap,
    embedded,
    probabilities,
    squared_chord,
    without_dust,
)

DUST = 1e-12
"""Mass which the energy distance sweeps away, lightest points first."""
SITES_PER_POINT = 16
"""Sites of a lattice for each point on it above which it is not worth to be filled."""
LATTICE_ROUNDOFF = 2e-15
"""Distance of a point from a site of its lattice that counts as round-off, relative to its size."""


def energy_distance(
    x: ArrayLike, wx: ArrayLike, y: ArrayLike, wy: ArrayLike, periods: Periods = None
) -> float:
    """Energy distance sqrt(2 E|X - Y| - E|X - X'| - E|Y - Y'|).

    Székely & Rizzo, J. Stat. Plan. Inference 143 (2013) 1249; the root is taken, as SciPy does.

    Every pair counts, none is sampled: N M pairs between the measures, and N^2 / 2 within each, but
    N log N for points on a uniform lattice, where the sum is a convolution.

    The lightest points, up to a mass of 1e-12 in each measure, are left out. That moves the
    result by at most 2e-12 sqrt(2 diameter): a measure from which a part of mass e is taken moves
    by e times the distance between this part and the rest. Round-off of the three means leaves
    a floor of about 3e-8 sqrt(diameter); there is none on a single line, nor where both measures
    sit on the same points or on one lattice, because there they are subtracted first.
    """
    return float(energy_distance_each(x, wx, [(y, wy)], periods)[0])


def energy_distance_each(
    x: ArrayLike,
    wx: ArrayLike,
    others: Sequence[tuple[ArrayLike, ArrayLike]],
    periods: Periods = None,
) -> Array:
    """``energy_distance`` of one measure to each of ``others``; E|X - X'| is found only once."""
    lengths, measures = probabilities(periods, [(x, wx), *others])
    source, *targets = (swept(*measure) for measure in measures)

    @cache
    def spread_of_source() -> float:
        return _spread(*source, lengths)

    def squared(target: Measure) -> float:
        if lengths == (math.inf,):
            gap, widths = cdf_gap(source, target)
            return 2 * float(gap**2 @ widths)
        difference = _difference(source, target)
        if difference is not None:
            return -_spread(*difference, lengths)
        across = _mean_distance(source, target, lengths)
        return 2 * across - spread_of_source() - _spread(*target, lengths)

    return np.sqrt([max(0.0, squared(target)) for target in targets])


def swept(points: Array, weights: Array) -> Measure:
    """A probability without its dust."""
    kept, masses = without_dust(points, weights, DUST)
    return kept, masses / masses.sum()


# Sums over all pairs of points --------------------------------------------------------------------


def _difference(source: Measure, target: Measure) -> Measure | None:
    """source - target as one signed measure, where its own pairs are the cheapest way."""
    (x, wx), (y, wy) = source, target
    if np.array_equal(x, y):
        return x, wx - wy
    points, weights = np.concatenate([x, y]), np.concatenate([wx, -wy])
    return (points, weights) if _lattice(points, weights) else None


def _spread(points: Array, weights: Array, lengths: Sequence[float]) -> float:
    """Sum over all pairs (i, j) of w_i w_j |x_i - x_j|; the weights may be signed."""
    lattice = _lattice(points, weights)
    if lattice is not None:
        return _lattice_spread(lattice, lengths)
    x = embedded(points, lengths)
    rows = max(1, BLOCK // len(x))
    total = 0.0
    for start in range(0, len(x), rows):
        block = slice(start, start + rows)
        later = 2 * weights[start:]  # a pair of two blocks is met once, but counts twice
        later[:rows] = weights[block]
        total += weights[block] @ (cdist(x[block], x[start:]) @ later)
    return float(total)


def _mean_distance(source: Measure, target: Measure, lengths: Sequence[float]) -> float:
    """E|X - Y|."""
    for (x, wx), (y, wy) in ((source, target), (target, source)):
        lines = _lines(x, wx)
        if lines is not None:
            return float(wy @ _potential(lines, y, lengths))
    (x, wx), (y, wy) = source, target
    x, y = embedded(x, lengths), embedded(y, lengths)
    rows = max(1, BLOCK // len(y))
    blocks = (slice(start, start + rows) for start in range(0, len(x), rows))
    return float(sum(wx[block] @ (cdist(x[block], y) @ wy) for block in blocks))


class _Lines(NamedTuple):
    """Masses (L, n) on parallel lines, each crossing the other coordinates at ``feet`` (L, D-1)."""

    feet: Array
    along: Array
    mass: Array


def _lines(points: Array, weights: Array) -> _Lines | None:
    """Points that come line by line, as those of a grid do; None where lines would be half empty.

    On a line all but the last term of |x - y|^2 are shared, which halves the cost of a distance.
    """
    feet = points[:, :-1]
    first = np.append(True, (feet[1:] != feet[:-1]).any(axis=1))
    along, position = np.unique(points[:, -1], return_inverse=True)
    shape = int(first.sum()), len(along)
    if math.prod(shape) > 2 * len(points):
        return None
    cell = np.ravel_multi_index((np.cumsum(first) - 1, position), shape)
    return _Lines(feet[first], along, _filled(shape, cell, weights))


def _potential(lines: _Lines, targets: Array, lengths: Sequence[float]) -> Array:
    """U(y) = sum of m |x - y| over the points x of the lines, at each of the targets (M, D)."""
    *across, period = lengths
    columns = max(1, BLOCK // len(lines.along))
    result = np.zeros(len(targets))
    for start in range(0, len(targets), columns):
        *y, last = np.ascontiguousarray(targets[start : start + columns].T)
        along = squared_chord(np.subtract.outer(lines.along, last), period)
        distance = np.empty_like(along)
        for foot, mass in zip(lines.feet, lines.mass, strict=True):
            height = sum(map(squared_chord, foot[:, None] - y, across))
            np.sqrt(np.add(along, height, out=distance), out=distance)
            result[start : start + columns] += mass @ distance
    return result


def _filled(shape: tuple[int, ...], cell: NDArray[np.intp], weights: Array) -> Array:
    """An array of this shape with the sum of the weights in each cell."""
    mass = np.bincount(cell, weights, math.prod(shape)).astype(np.float64)
    return mass.reshape(shape)


class _Lattice(NamedTuple):
    """Masses on a box of a uniform lattice."""

    steps: tuple[float, ...]
    mass: Array


def _lattice(points: Array, weights: Array) -> _Lattice | None:
    """The coarsest lattice through all points; None where there is none, or it is mostly empty."""
    most = SITES_PER_POINT * len(points)
    steps, indices, shape = [], [], []
    for values in points.T:
        sites, position = np.unique(values, return_inverse=True)
        extent = sites[-1] - sites[0]
        intervals = round(extent / np.diff(sites).min()) if extent > 0 else 0
        if intervals >= most:
            return None
        step = extent / max(intervals, 1)
        index = np.rint((sites - sites[0]) / (step or 1.0)).astype(np.intp)
        if np.abs(sites[0] + step * index - sites).max() > LATTICE_ROUNDOFF * np.abs(sites).max():
            return None
        steps.append(step)
        indices.append(index[position])
        shape.append(intervals + 1)
    if math.prod(shape) > most:
        return None
    cell = np.ravel_multi_index(indices, shape)
    return _Lattice(tuple(steps), _filled(tuple(shape), cell, weights))


def _lattice_spread(lattice: _Lattice, lengths: Sequence[float]) -> float:
    """Sum over pairs of sites of m_i m_j |x_i - x_j|: a convolution, by a padded FFT."""
    mass = lattice.mass
    shape = [fft.next_fast_len(2 * n - 1, real=True) for n in mass.shape]
    apart = [np.minimum(np.arange(n), n - np.arange(n)) for n in shape]
    chords = map(squared_chord, map(np.multiply, lattice.steps, apart), lengths)
    distance = np.sqrt(reduce(np.add.outer, chords))
    spectrum = fft.rfftn(distance) * fft.rfftn(mass, shape)
    potential = fft.irfftn(spectrum, shape)[tuple(map(slice, mass.shape))]
    return float(np.vdot(mass, potential))
