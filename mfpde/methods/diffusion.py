"""Diffusion along one axis by a given variance: convolution with a Gaussian, positive, high order.

A convolution commutes with averaging over cells: it acts alike on averages and on point values. On
closed axes lines are mirrored at the walls: no flux, the slope of the density is zero there.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.convolution import convolve
from mfpde.kernels.stencils import heat_polynomials
from mfpde.kernels.switch import switch
from mfpde.kernels.tiles import WALL, axis_view
from mfpde.problems.problem import Array

# Below this variance, in squared cells, a stencil that matches moments; from there on the Gaussian
# itself at the cells: positive, of any width, one pass. Sampling errs by 2exp(−2π²s²): at s² = 1.5
# the variance is off by 2e-11, later by less. The error of matched moments, per variance, falls
# from s = 0 on, is least at s² = 0.7 (order 5) to 1 (order 9), at 1.5 at most twice that at 0; no
# wave grows. Above 0.4 (order 5) to 0.8 (order 9) these weights are positive too.
SAMPLED = 1.5
TAIL = 8.6  # standard deviations: beyond lies 1e-16
UNIFORM = 3.0  # standard deviations per period: the slowest wave has fallen by exp(−2π²·9)


def diffused(field: Array, k: int, wall: str, order: int, variance: float) -> tuple[Array, int]:
    """``field`` along axis k spread by a variance, in squared cells; how many cells were limited.

    For ``order`` p the error is of order p + 1 in the cells' width. Stencils without negative
    weights keep the sign by themselves; at small variances, below 0.4 for order 5 and 0.8 for
    order 9, some are negative, and fluxes are limited where a cell would lose more than it holds.
    """
    period = field.shape[k] if wall == "periodic" else 2 * field.shape[k]
    small = variance < SAMPLED
    weights = matched(variance, (order + 1) // 2) if small else sampled(variance, period)
    result = np.empty(field.shape)
    source, target = axis_view(field, k), axis_view(result, k)
    if weights.min() >= 0:
        convolve(source, weights, WALL[wall], target)
        return result, 0
    fluxes = np.cumsum(weights[:0:-1])[::-1]  # through a face: all that reaches beyond it
    return result, switch(source, np.ascontiguousarray(fluxes), WALL[wall], True, target)


def matched(variance: float, reach: int) -> Array:
    """Weights (c_0, …, c_reach) with the Gaussian's moments of order 0 to 2·reach."""
    sides = heat_polynomials(reach) @ variance ** np.arange(1, reach + 1)
    return np.r_[1.0 - 2.0 * sides.sum(), sides]


def sampled(variance: float, period: int) -> Array:
    """The Gaussian at the cells' distances from 0 to at most half a period, folded onto it."""
    variance = min(variance, (UNIFORM * period) ** 2)
    reach = int(np.ceil(TAIL * np.sqrt(variance)))
    distance = np.arange(-reach, reach + 1)
    density = np.exp(-0.5 * distance**2 / variance)
    half = density[reach:]
    if 2 * reach >= period:
        half = np.bincount(distance % period, density)[: period // 2 + 1]
        half[-1] *= 1.0 if period % 2 else 0.5  # half a period is as far on either side
    sides = half[1:] / (half[0] + 2.0 * half[1:].sum())
    return np.r_[1.0 - 2.0 * sides.sum(), sides]
