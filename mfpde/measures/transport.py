"""Transport distances between weighted points (``measures/weighted.py``).

``marginal_w1``, ``marginal_w2``, ``exact_w2`` and ``flat`` measure a circle along its arc. The
sliced distance needs straight lines: a circle of length L is placed in the plane, at
(L / 2 pi) (cos, sin), and chords are measured, as they are everywhere on spheres.

Weights are divided by their sum, so mass that left a box does not count as distance, and masses
that differ by more than 1 % are refused; ``flat`` alone compares measures of any two masses.

Mass that is off by round-off still has to travel, and W2 is a root: where the weights of two equal
measures differ in their last digits, W2 is some 1e-8, not 0.

An iid cloud of N points is at a distance from the measure it is drawn from: about N^(-1/2) for the
W1 of marginals, (log N / N)^(1/2) for W1 in the plane and N^(-1/D) beyond (Fournier & Guillin,
Probab. Theory Relat. Fields 162 (2015) 707). ``mf.compare(..., floor=16)`` says how far.

Every function raises InvalidInput for measures without a meaning (shapes that do not fit, numbers
that are not finite, negative weights) and for masses that differ.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from mfpde.errors import InvalidInput
from mfpde.measures.weighted import (
    Array,
    Measure,
    Periods,
    arc,
    cdf_gap,
    checked,
    embedded,
    probabilities,
)

DIRECTIONS = 64
"""Directions of the sliced distance, rounded up to whole orthonormal frames."""
TRANSPORT_LIMIT = 50_000_000
"""Largest N * M of exact transport: it then needs about 2 GB, 400 MB of them for the costs."""
MOST_PIVOTS = 10_000_000
"""Of the network simplex."""
FEWER = "fewer points, as_measure(..., prune=1e-9) leaves out light cells; or sliced_w2"


def marginal_w1(
    x: ArrayLike, wx: ArrayLike, y: ArrayLike, wy: ArrayLike, period: float = math.inf
) -> float:
    """Exact W1 between two measures of one coordinate, ``x`` (N,) and ``y`` (M,).

    On a line this is the integral of |F - G|, with F and G the distribution functions. On a circle
    some mass s may pass through the origin: the least integral of |F - G - s| over s, attained at
    a median of F - G (Delon, Salomon & Sobolevski, SIAM J. Appl. Math. 70 (2010) 2239).
    """
    columns = [(np.asarray(x)[:, None], wx), (np.asarray(y)[:, None], wy)]
    _, (source, target) = probabilities((period,), columns)
    gap, widths = cdf_gap(source, target, period)
    flow = gap if math.isinf(period) else gap - median(gap, widths)
    return float(np.abs(flow) @ widths)


def marginal_w2(
    x: ArrayLike, wx: ArrayLike, y: ArrayLike, wy: ArrayLike, period: float = math.inf
) -> float:
    """Exact W2 between two measures of one coordinate, ``x`` (N,) and ``y`` (M,).

    On a line the root of the integral of (F^-1 - G^-1)^2. On a circle some mass s may pass through
    the origin: the least integral of (F^-1(l) - G^-1(l + s))^2 over s, convex and piecewise linear
    in s (Delon, Salomon & Sobolevski, SIAM J. Appl. Math. 70 (2010) 2239, §4).
    """
    columns = [(np.asarray(x)[:, None], wx), (np.asarray(y)[:, None], wy)]
    _, ((u, wu), (v, wv)) = probabilities((period,), columns)
    if math.isinf(period):
        squared = squared_w2(quantiles(u[:, 0], wu), quantiles(v[:, 0], wv))
    else:
        source, target = quantiles(u[:, 0] % period, wu), quantiles(v[:, 0] % period, wv)
        squared = squared_w2_around(source, target, period)
    return math.sqrt(max(0.0, squared))


def squared_w2_around(source: Measure, target: Measure, period: float) -> float:
    """The squared W2 of two quantile functions on a circle, by bisection for the root in s."""
    (u, u_levels), (v, v_levels) = source, target
    following = np.append(v[1:], v[0] + period)

    def slope(s: float) -> float:
        """As s grows, what faces the end of an atom of v comes to face the atom after it."""
        turn, level = np.divmod(v_levels - s, 1.0)
        facing = u[np.minimum(np.searchsorted(u_levels, level), len(u) - 1)] + turn * period
        return float(((facing - following) ** 2 - (facing - v) ** 2).sum())

    low, high = -1.5, 1.5  # an optimal plan moves nothing more than once around
    while low < (s := (low + high) / 2) < high:
        low, high = (low, s) if slope(s) > 0 else (s, high)
    turns = np.repeat(np.arange(-2.0, 3.0), len(v))
    levels = np.clip(np.tile(v_levels, 5) + turns - s, 0.0, 1.0)
    return squared_w2(source, (np.tile(v, 5) + turns * period, levels))


def exact_w2(
    x: ArrayLike, wx: ArrayLike, y: ArrayLike, wy: ArrayLike, periods: Periods = None
) -> float:
    """Exact W2, a circle measured along its arc, by the network simplex of POT.

    Raises InvalidInput above N * M = 5e7, and where no optimal plan is found.
    """
    lengths, ((u, wu), (v, wv)) = probabilities(periods, [(x, wx), (y, wy)])
    return math.sqrt(max(0.0, transported(wu, wv, squared_distances(u, v, lengths))))


def flat(
    x: ArrayLike,
    wx: ArrayLike,
    y: ArrayLike,
    wy: ArrayLike,
    radius: float = 1.0,
    periods: Periods = None,
) -> float:
    """The flat distance of measures of any two masses: moving costs its length, ±mass ``radius``.

        min over plans pi <= (x, y) of  int |u - v| d pi + radius (|x - pi_1| + |y - pi_2|)
        = sup of int h d(x - y) over |h| <= radius and Lip h <= 1,

    so that mass travels at most 2 radius, and mass that is too much costs radius
    (Piccoli & Rossi, Arch. Ration. Mech. Anal. 211 (2014) 335, with p = 1; Hanin, Proc. AMS 115
    (1992) 345). It is exact transport with one more point on either side, a bank at distance
    ``radius`` from all others.

    Raises InvalidInput above N * M = 5e7, and for a radius that is not above 0.
    """
    if not 0 < radius < math.inf:
        raise InvalidInput(f"radius = {radius!r}", "mass is made and lost at a price", "radius=1.0")
    lengths, ((u, wu), (v, wv)) = checked(periods, [(x, wx), (y, wy)])
    cost = np.full((len(u) + 1, len(v) + 1), float(radius))
    cost[:-1, :-1] = np.sqrt(squared_distances(u, v, lengths))
    cost[-1, -1] = 0.0
    banks = np.append(wu, wv.sum()), np.append(wv, wu.sum())
    total = wu.sum() + wv.sum()
    return max(0.0, total * transported(banks[0] / total, banks[1] / total, cost))


def squared_distances(u: Array, v: Array, lengths: Sequence[float]) -> Array:
    """|u_i - v_j|^2, (N, M), circles measured along their arcs."""
    check_size(len(u), len(v))
    squares = np.zeros((len(u), len(v)))
    for u_k, v_k, length in zip(u.T, v.T, lengths, strict=True):
        squares += arc(np.subtract.outer(u_k, v_k), length) ** 2
    return squares


def check_size(N: int, M: int) -> None:
    """Raise InvalidInput for costs that memory may not hold."""
    if N * M > TRANSPORT_LIMIT:
        raise InvalidInput(
            f"exact transport between {N} and {M} points",
            f"its matrix of costs may have {TRANSPORT_LIMIT:.0e} entries",
            FEWER,
        )


def transported(source: Array, target: Array, cost: Array) -> float:
    """The least cost of moving one mass to another, by the network simplex of POT."""
    import ot  # late: few need it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT goes on with a zero plan and a mere warning
        least, log = ot.emd2(source, target, cost, numItermax=MOST_PIVOTS, log=True)
    if log["warning"] is not None:
        raise InvalidInput(
            f"no optimal plan was found between {len(source)} and {len(target)} points",
            f"POT says: {log['warning']}",
            FEWER,
        )
    return float(least)


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
    lengths, measures = probabilities(periods, [(x, wx), *others])
    placed = [(embedded(points, lengths), weights) for points, weights in measures]
    fan = directions(placed[0][0].shape[1])
    squared = np.zeros(len(others))
    for direction in fan:
        source, *targets = (quantiles(points @ direction, w) for points, w in placed)
        squared += [squared_w2(source, target) for target in targets]
    return np.sqrt(squared / len(fan))


# One coordinate: distribution and quantile functions ----------------------------------------------


def median(values: Array, weights: Array) -> float:
    """A value with half of the weight on either side."""
    order = np.argsort(values)
    level = np.cumsum(weights[order])
    return values[order][np.searchsorted(level, level[-1] / 2)]


def quantiles(values: Array, weights: Array) -> Measure:
    """The quantile function: sorted values, each with the level up to which it is taken."""
    order = np.argsort(values)
    return values[order], np.cumsum(weights[order])


def squared_w2(source: Measure, target: Measure) -> float:
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


def directions(dimension: int) -> Array:
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
