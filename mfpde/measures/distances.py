"""Distances between weighted points on a product of lines and circles.

A measure is given as points ``x`` (N, D) and weights ``wx`` (N,), the way ``as_measure`` returns
it. ``periods`` has one length per coordinate, ``inf`` for a line (the default for all); an interval
or a half line is part of a line.

Weights are divided by their sum, so mass that left a box (or the mass of an unbalanced flow) does
not count as distance; two masses that differ by more than 1 % are refused.

Mass that is off by round-off still has to travel, and W2 is a root: where the weights of two equal
measures differ in their last digits, ``exact_w2`` and ``sliced_w2`` are about 1e-8, not 0.

The transport distances ``marginal_w1`` and ``exact_w2`` measure a circle along its arc. The sliced
distance and the energy distance need straight lines: a circle of length L is placed in the plane,
at (L / 2 pi) (cos, sin), and chords are measured.

Every function raises InvalidInput for measures without a meaning (shapes that do not fit, numbers
that are not finite, negative weights) and for masses that differ.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import cache, reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.spatial.distance import cdist
from scipy.special import ndtri

from mfpde.errors import InvalidInput

Array = NDArray[np.float64]
Measure = tuple[Array, Array]
Periods = Sequence[float] | None

MASS_TOLERANCE = 1e-2
"""Relative difference of two masses above which a distance of probabilities has no meaning."""
DIRECTIONS = 64
"""Directions of the sliced distance, rounded up to whole orthonormal frames."""
DUST = 1e-12
"""Mass which the energy distance sweeps away, lightest points first."""
TRANSPORT_LIMIT = 50_000_000
"""Largest N * M of exact transport: it then needs about 2 GB, 400 MB of them for the costs."""
SITES_PER_POINT = 16
"""Sites of a lattice for each point on it above which it is not worth to be filled."""
LATTICE_ROUNDOFF = 2e-15
"""Distance of a point from a site of its lattice that counts as round-off, relative to its size."""
BLOCK = 65536
"""Numbers in a block of pairwise distances: 512 kB, so that it stays in the cache of a core."""


def marginal_w1(
    x: ArrayLike, wx: ArrayLike, y: ArrayLike, wy: ArrayLike, period: float = math.inf
) -> float:
    """Exact W1 between two measures of one coordinate, ``x`` (N,) and ``y`` (M,).

    On a line this is the integral of |F - G|, with F and G the distribution functions. On a circle
    some mass s may pass through the origin: the least integral of |F - G - s| over s, attained at
    a median of F - G (Delon, Salomon & Sobolevski, SIAM J. Appl. Math. 70 (2010) 2239).
    """
    columns = [(np.asarray(x)[:, None], wx), (np.asarray(y)[:, None], wy)]
    _, (source, target) = _probabilities((period,), columns)
    gap, widths = _cdf_gap(source, target, period)
    flow = gap if math.isinf(period) else gap - _median(gap, widths)
    return float(np.abs(flow) @ widths)


def exact_w2(
    x: ArrayLike, wx: ArrayLike, y: ArrayLike, wy: ArrayLike, periods: Periods = None
) -> float:
    """Exact W2, a circle measured along its arc, by the network simplex of POT.

    Raises InvalidInput above N * M = 5e7, and where no optimal plan is found.
    """
    import ot

    lengths, ((u, wu), (v, wv)) = _probabilities(periods, [(x, wx), (y, wy)])
    if len(u) * len(v) > TRANSPORT_LIMIT:
        raise InvalidInput(
            f"exact_w2 between {len(u)} and {len(v)} points",
            f"its matrix of costs may have {TRANSPORT_LIMIT:.0e} entries",
            "fewer points, as_measure(..., prune=1e-9) leaves out light cells; or sliced_w2",
        )
    cost = np.zeros((len(u), len(v)))
    for u_k, v_k, length in zip(u.T, v.T, lengths, strict=True):
        cost += _arc(np.subtract.outer(u_k, v_k), length) ** 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT goes on with a zero plan and a mere warning
        squared, log = ot.emd2(wu, wv, cost, numItermax=10_000_000, log=True)
    if log["warning"] is not None:
        raise InvalidInput(
            f"exact_w2 found no optimal plan between {len(u)} and {len(v)} points",
            f"POT says: {log['warning']}",
            "fewer points, as_measure(..., prune=1e-9) leaves out light cells; or sliced_w2",
        )
    return math.sqrt(max(0.0, squared))


def sliced_w2(
    x: ArrayLike, wx: ArrayLike, y: ArrayLike, wy: ArrayLike, periods: Periods = None
) -> float:
    """Sliced W2: the root of the mean squared W2 of the projections onto fixed directions.

    The directions are equally spaced in a plane and orthonormal frames in more dimensions, so that
    on lines a translation by v is at distance |v| / sqrt(D), whichever way v points.
    """
    return float(sliced_w2_each(x, wx, [(y, wy)], periods)[0])


def sliced_w2_each(
    x: ArrayLike,
    wx: ArrayLike,
    others: Sequence[tuple[ArrayLike, ArrayLike]],
    periods: Periods = None,
) -> Array:
    """``sliced_w2`` of one measure to each of ``others``; its projections are sorted only once."""
    lengths, measures = _probabilities(periods, [(x, wx), *others])
    embedded = [(_embedded(points, lengths), weights) for points, weights in measures]
    directions = _directions(embedded[0][0].shape[1])
    squared = np.zeros(len(others))
    for direction in directions:
        source, *targets = (_quantiles(points @ direction, w) for points, w in embedded)
        squared += [_squared_w2(source, target) for target in targets]
    return np.sqrt(squared / len(directions))


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
    lengths, measures = _probabilities(periods, [(x, wx), *others])
    source, *targets = (_without_dust(*measure) for measure in measures)

    @cache
    def spread_of_source() -> float:
        return _spread(*source, lengths)

    def squared(target: Measure) -> float:
        if lengths == (math.inf,):
            gap, widths = _cdf_gap(source, target)
            return 2 * float(gap**2 @ widths)
        difference = _difference(source, target)
        if difference is not None:
            return -_spread(*difference, lengths)
        across = _mean_distance(source, target, lengths)
        return 2 * across - spread_of_source() - _spread(*target, lengths)

    return np.sqrt([max(0.0, squared(target)) for target in targets])


# Measures -----------------------------------------------------------------------------------------


def _probabilities(
    periods: Periods, measures: Sequence[tuple[ArrayLike, ArrayLike]]
) -> tuple[tuple[float, ...], list[Measure]]:
    """Periods and measures, checked; each measure divided by its mass."""
    arrays = [(np.asarray(p, np.float64), np.asarray(w, np.float64)) for p, w in measures]
    dimension = arrays[0][0].shape[-1] if arrays[0][0].ndim == 2 else 0
    for points, weights in arrays:
        _check_measure(points, weights, dimension)
    masses = [float(weights.sum()) for _, weights in arrays]
    for mass in masses[1:]:
        if abs(mass - masses[0]) > MASS_TOLERANCE * masses[0]:
            raise InvalidInput(
                f"measures of mass {masses[0]:.6g} and {mass:.6g}",
                f"a distance compares shapes, and masses within {MASS_TOLERANCE:.0%}",
                "measures of one mass: is one of the runs unbalanced, or has mass left its box?",
            )
    lengths = (math.inf,) * dimension if periods is None else tuple(map(float, periods))
    if len(lengths) != dimension or not all(length > 0 for length in lengths):
        raise InvalidInput(
            f"periods = {periods}",
            f"points of {dimension} coordinates need one length > 0 each",
            "inf for a line, the length for a circle",
        )
    return lengths, [(p, w / mass) for (p, w), mass in zip(arrays, masses, strict=True)]


def _check_measure(points: Array, weights: Array, dimension: int) -> None:
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


def _without_dust(points: Array, weights: Array) -> Measure:
    """The measure without its lightest points, whose mass together is at most DUST."""
    ascending = np.sort(weights)
    lightest_kept = ascending[np.searchsorted(np.cumsum(ascending), DUST, side="right")]
    kept = weights >= lightest_kept
    return points[kept], weights[kept] / weights[kept].sum()


def _arc(difference: Array, period: float) -> Array:
    """Signed length of the shortest way around."""
    if math.isinf(period):
        return difference
    return difference - period * np.rint(difference / period)


def _squared_chord(difference: Array, period: float) -> Array:
    """Squared distance of two values of a coordinate, once a circle is placed in the plane."""
    if math.isinf(period):
        return difference**2
    return (period / np.pi * np.sin(np.pi / period * difference)) ** 2


def _embedded(points: Array, lengths: Sequence[float]) -> Array:
    """Points with each circle placed in the plane: D plus one dimension for every circle."""
    columns = []
    for values, length in zip(points.T, lengths, strict=True):
        if math.isinf(length):
            columns += [values]
        else:
            angle, radius = 2 * np.pi / length * values, length / (2 * np.pi)
            columns += [radius * np.cos(angle), radius * np.sin(angle)]
    return np.stack(columns, axis=1)


# One coordinate: distribution and quantile functions ----------------------------------------------


def _cdf_gap(source: Measure, target: Measure, period: float = math.inf) -> tuple[Array, Array]:
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


def _median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    level = np.cumsum(weights[order])
    return values[order][np.searchsorted(level, level[-1] / 2)]


def _quantiles(values: Array, weights: Array) -> Measure:
    """The quantile function: sorted values, each with the level up to which it is taken."""
    order = np.argsort(values)
    return values[order], np.cumsum(weights[order])


def _squared_w2(source: Measure, target: Measure) -> float:
    """Integral over the levels of the squared difference of two quantile functions."""
    (u, u_levels), (v, v_levels) = source, target
    of_u = np.ones(len(u) + len(v), dtype=bool)
    of_u[np.searchsorted(u_levels, v_levels, side="right") + np.arange(len(v))] = False
    levels = np.empty(len(of_u))
    levels[of_u], levels[~of_u] = u_levels, v_levels
    i = np.cumsum(of_u) - of_u  # the atoms of u and of v that hold the levels just below
    j = np.arange(len(of_u)) - i
    difference = u[np.minimum(i, len(u) - 1)] - v[np.minimum(j, len(v) - 1)]
    return float(difference**2 @ np.diff(levels, prepend=0.0))


def _directions(dimension: int) -> Array:
    """Fixed unit vectors (K, dimension) whose mean of (theta . v)^2 is |v|^2 / dimension exactly.

    In more than two dimensions they are the rows of orthogonal matrices: normal matrices from the
    additive sequence of Roberts (2018), which fills the unit cube evenly, made orthogonal.
    """
    if dimension == 1:
        return np.ones((1, 1))
    if dimension == 2:
        angles = np.pi * (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    entries, frames = dimension**2, math.ceil(DIRECTIONS / dimension)
    ratio = 2.0  # tends to the root of r^(entries + 1) = r + 1
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (entries + 1))
    cube = (0.5 + np.outer(np.arange(1, frames + 1), ratio ** -np.arange(1.0, entries + 1))) % 1
    orthogonal, _ = np.linalg.qr(ndtri(cube).reshape(frames, dimension, dimension))
    return orthogonal.reshape(-1, dimension)


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
    x = _embedded(points, lengths)
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
    x, y = _embedded(x, lengths), _embedded(y, lengths)
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
        along = _squared_chord(np.subtract.outer(lines.along, last), period)
        distance = np.empty_like(along)
        for foot, mass in zip(lines.feet, lines.mass, strict=True):
            height = sum(map(_squared_chord, foot[:, None] - y, across))
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
    chords = map(_squared_chord, map(np.multiply, lattice.steps, apart), lengths)
    distance = np.sqrt(reduce(np.add.outer, chords))
    spectrum = fft.rfftn(distance) * fft.rfftn(mass, shape)
    potential = fft.irfftn(spectrum, shape)[tuple(map(slice, mass.shape))]
    return float(np.vdot(mass, potential))
