"""The exact distance of two clouds."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput, NumericalStop

FARTHEST = 1e150  # from 0 that a point may lie
MOST_PIVOTS = 10**8  # of the network simplex, far beyond what it takes


def wasserstein_distance(points1: ArrayLike, points2: ArrayLike) -> float:
    """W_2 of two equal-sized clouds with uniform weights, by exact optimal transport.

    min over pairings π of (1/N Σ_j |u_j − v_π(j)|²)^{1/2}, by the network simplex of POT in memory
    O(N²) and about O(N³) time (N = 2000: a second). Distances are Euclidean in every coordinate: on
    a sphere chords.

    Args:
        points1: (N, D).
        points2: (N, D).

    Raises:
        InvalidInput: for shapes that differ or values that are not finite.
        NumericalStop: when no optimal plan was found.
    """
    import ot  # here alone, and late: few need it

    left, right = Cloud(points1), Cloud(points2)
    if left.position.shape != right.position.shape:
        raise InvalidInput(
            f"the clouds have shapes {left.position.shape} and {right.position.shape}",
            "the distance is that of two clouds of equal size in one space",
        )
    farthest = max(np.abs(left.position).max(), np.abs(right.position).max())
    if farthest > FARTHEST:
        raise InvalidInput(
            f"points as far out as {farthest:g}",
            f"squares of distances exist up to {FARTHEST:g}",
            "points in other units",
        )
    squares = cdist(left.position, right.position, "sqeuclidean")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT only warns of a plan that is none: an error below
        cost, report = ot.emd2(left.weight, right.weight, squares, numItermax=MOST_PIVOTS, log=True)
    if report["warning"] is not None:
        raise NumericalStop("no optimal plan was found", report["warning"])
    return float(np.sqrt(max(cost, 0.0)))
