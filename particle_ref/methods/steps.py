"""Steps of one length: which of them end at the times that are asked for."""

from __future__ import annotations

import numpy as np

from particle_ref.arguments import number
from particle_ref.errors import InvalidInput
from particle_ref.problem import Array

TIME_TOLERANCE = 1e-9  # of a time from the end of a step, relative


def check_step(dt: float) -> None:
    """Raise InvalidInput unless 0 < dt < inf."""
    if not 0 < number(dt) < np.inf:
        raise InvalidInput(f"dt = {dt!r}", "a step is a finite PDE time > 0")


def steps_to(times: Array, dt: float, method: object) -> list[int]:
    """The numbers k with k·dt = t for each of the ``times`` (T,).

    Raises InvalidInput where there is none.
    """
    steps = np.rint(times / dt)
    astray = np.abs(steps * dt - times) > TIME_TOLERANCE * times
    if astray.any():
        raise InvalidInput(
            f"the times {few(times[astray])} are no multiples of dt = {dt}",
            f"{type(method).__name__} is at k·dt after k steps and nowhere else",
            f"ask for {few((steps * dt)[astray])}, or choose another dt",
        )
    return [int(k) for k in steps]


def few(times: Array) -> str:
    """The first and last of many times, for a message."""
    return np.array2string(times, threshold=6, separator=", ")
