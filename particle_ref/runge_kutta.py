"""Runge-Kutta steps of order 8 for many paths at once, the worst of which rules the error.

The pair DOP853 of Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, §II.5, with
scipy's table of its coefficients. A driver that measures errors in the mean over all components
lets one path in 10⁵ go astray; here the largest error of any component counts, and the step found
lasts across the times asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from particle_ref.errors import NumericalStop
from particle_ref.problem import Array

Rate = Callable[[float, Array], Array]  # t, state (N, k) -> its time derivative (N, k)
Mask = NDArray[np.bool_]

FINEST_TOLERANCE = 1e-13  # below, rounding rules the error estimate
FEWEST_STEPS = 6  # the first is this part of the whole time
SHORTEST = 1e-10  # step, as a part of the whole time
MOST_STEPS = 20_000  # to the end; a flow that needs more is too stiff for explicit steps
A, B, C, E3, E5 = DOP853.A, DOP853.B, DOP853.C, DOP853.E3, DOP853.E5


def integrate(
    rate: Rate,
    start: Array,
    times: Sequence[float],
    tolerance: float,
    lost: Callable[[Array], Mask] | None = None,
) -> Iterator[Array]:
    """The states at ``times[1:]`` of state' = rate(t, state), from ``start`` at ``times[0]``.

    Args:
        rate: t, state (N, k) -> (N, k).
        start: (N, k).
        times: increasing, or decreasing to go back; neighbours may be equal.
        tolerance: of one step, in every component y relative to 1 + |y|; at least 1e-13.
        lost: state (N, k) -> (N,) which paths are followed no further; they stay where they are.

    Raises:
        NumericalStop: when steps become ever shorter, or numbers are not finite.
    """
    moving = np.ones((len(start), 1)) if lost is None else 1.0 - lost(start)[:, None]

    def velocity(t: float, state: Array) -> Array:
        return moving * rate(t, state)

    duration = abs(times[-1] - times[0])
    longest, state, slope = duration / FEWEST_STEPS, start, velocity(times[0], start)
    steps = 0
    for begin, end in pairwise(times):
        t = begin
        while t != end:
            remaining = ceil(abs(end - t) / longest)
            h = (end - t) / remaining
            later, its_slope, error = _step(velocity, t, state, slope, h, tolerance)
            steps, factor = steps + 1, _growth(error)
            longest = abs(h) * factor if factor < 1 else max(longest, abs(h) * factor)
            if error <= 1:
                t, state, slope = (end if remaining == 1 else t + h), later, its_slope
                if lost is not None:
                    moving[lost(state)] = 0
                    slope = moving * slope
            if longest < SHORTEST * duration or steps == MOST_STEPS:
                raise NumericalStop(
                    f"paths cannot be followed beyond t = {t:g}",
                    f"no step longer than {longest:.1e} is right to {tolerance:.1e}: the flow "
                    "blows up or is stiff, or its force jumps where paths are",
                    "a shorter time, or points nearer to where the mass is",
                )
        yield state


def _step(
    rate: Rate, t: float, y: Array, slope: Array, h: float, tolerance: float
) -> tuple[Array, Array, float]:
    """One step: the state, its derivative, and the error in units of the tolerance."""
    K = np.empty((len(B) + 1, y.size))
    K[0] = slope.ravel()
    for s in range(1, len(B)):
        stage = y + h * (A[s, :s] @ K[:s]).reshape(y.shape)
        K[s] = rate(t + C[s] * h, stage).ravel()
    later = y + h * (B @ K[:-1]).reshape(y.shape)
    its_slope = rate(t + h, later)
    K[-1] = its_slope.ravel()
    scale = tolerance * (1 + np.maximum(np.abs(y), np.abs(later)).ravel())
    fifth, third = (float(np.max(np.abs(E @ K) / scale, initial=0.0)) for E in (E5, E3))
    if not np.isfinite(fifth + third):
        return later, its_slope, np.inf
    error = abs(h) * fifth * (fifth / np.hypot(fifth, 0.1 * third)) if fifth > 0 else 0.0
    return later, its_slope, float(error)


def _growth(error: float) -> float:
    """By what factor the next step may be longer: errors go as h⁸."""
    return float(np.clip(0.9 * error ** (-1 / 8), 0.2, 6.0)) if error > 0 else 6.0
