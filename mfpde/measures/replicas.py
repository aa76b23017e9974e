"""What replicas of one computation have in common, and what differs from one to the next.

For differences d_r, r = 1…R, of independent replicas from anything that is fixed,

    E|d|² = E|d − E d|² + |E d|²

Both are estimated without bias: by the variance over replicas, and by the mean of ⟨d_r, d_q⟩ over
pairs r ≠ q. Intervals are those of the jackknife over replicas with Student's quantiles (Efron &
Tibshirani, An Introduction to the Bootstrap (1993), chapter 11): 5 to 95 %. Differences are arrays
(T, R, n) over times, replicas and components, |·|² the sum of squares over components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]
Statistic = Callable[[Array, Array, int], Array]  # Σ_rq ⟨d_r, d_q⟩, Σ_r |d_r|², R -> a number

BAND = (0.05, 0.95)
DRAWS = 20_000  # of the central limit's law


def size_band(d: Array) -> Array:
    """Root mean square of |d_r| over replicas and its quantiles, (3, T)."""
    size = np.sqrt((d**2).sum(axis=2))
    return np.stack([np.sqrt((size**2).mean(axis=1)), *np.quantile(size, BAND, axis=1)])


def sampling(d: Array) -> Array:
    """The root of E|d − E d|² and its interval, (3, T)."""
    centre, without_one = estimates(log_scatter, d)
    half = half_interval(without_one)
    return np.exp([centre, centre - half, centre + half])


def common(d: Array) -> Array:
    """|E d| and its interval, (3, T); 0 where nothing is seen of it."""
    centre, without_one = estimates(shared, d)
    half = half_interval(without_one)
    return np.sqrt(np.maximum([centre, centre - half, centre + half], 0))


def exponent(sizes: Array, differences: Sequence[Array]) -> Array:
    """Exponent of sampling in the size (W,) of what is replicated, and its interval, (3, T).

    Least squares of the logarithms. Where all sizes have as many replicas, those in the same place
    may depend on each other: they are left out together. A single size has none: nan.
    """
    x = np.log(sizes) - np.log(sizes).mean()
    if len(x) == 1:
        return np.full((3, len(differences[0])), np.nan)
    fit = x / (x @ x)
    found = [estimates(log_scatter, d) for d in differences]
    centre = np.stack([all_of_them for all_of_them, _ in found], axis=-1) @ fit
    left = [without_one for _, without_one in found]
    if len({len(each) for each in left}) == 1:
        half = half_interval(np.stack(left, axis=-1) @ fit)
    else:
        half = np.linalg.norm(
            [w * half_interval(e) for w, e in zip(fit, left, strict=True)], axis=0
        )
    return np.stack([centre, centre - half, centre + half])


def log_scatter(total: Array, trace: Array, R: int) -> Array:
    """Logarithm of the root of the variance over replicas."""
    return np.log((trace - total / R) / (R - 1)) / 2


def shared(total: Array, trace: Array, R: int) -> Array:
    """The mean of ⟨d_r, d_q⟩ over r ≠ q; it may fall below 0."""
    return (total - trace) / (R * (R - 1))


def estimates(statistic: Statistic, d: Array) -> tuple[Array, Array]:
    """A statistic of all replicas, (T,), and of all but one, for each that is left out, (R, T)."""
    R, whole = d.shape[1], d.sum(axis=1)
    squares, along = (d**2).sum(axis=2).T, np.einsum("trn,tn->rt", d, whole)
    total, trace = along.sum(axis=0), squares.sum(axis=0)
    left = statistic(total - 2 * along + squares, trace - squares, R - 1)
    return statistic(total, trace, R), left


def half_interval(without_one: Array) -> Array:
    """Half of the 5-95 % interval, from the estimates (R, …) that leave one replica out."""
    R = len(without_one)
    return stdtrit(R - 1, BAND[1]) * np.sqrt((R - 1) * without_one.var(axis=0))


def normal_size(covariance: Array) -> Array:
    """Root mean square and quantiles of |N(0, C)|, (3, T), from C (T, n, n).

    The square is Σ λ_k z_k² with the eigenvalues λ_k and independent standard normal z_k.
    """
    eigenvalues = np.maximum(np.linalg.eigvalsh(covariance), 0)
    z = np.random.default_rng(0).standard_normal((DRAWS, eigenvalues.shape[1]))
    quantiles = np.quantile(np.sqrt(z**2 @ eigenvalues.T), BAND, axis=0)
    return np.stack([np.sqrt(eigenvalues.sum(axis=1)), *quantiles])
