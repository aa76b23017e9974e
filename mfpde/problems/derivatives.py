"""Is a slope that a caller gives the slope of the function beside it?

A slope of half its size or of the wrong sign leaves mass, sign and every comparison of density and
particles intact: both solve the wrong problem. So it is compared once with differences.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mfpde.arguments import Array
from mfpde.errors import InvalidInput
from mfpde.problems.geometry import Geometry

Map = Callable[[Array], Array]

ASIDE = np.sqrt([0.02, 0.03, 0.05, 0.07])  # from a point to one beside it: no kink is at both
STEP = 1e-5  # of the differences, relative
CLOSE = 1e-4  # what they may differ by, relative
ROUND_OFF = 1e-8  # and of the function's size
PERIOD = 1e-9  # by which a function on a circle may fail to close, relative


def check_slope(name: str, value: Map, slope: Map, points: Array, fix: str) -> None:
    """Raise InvalidInput where ``slope`` is nowhere near the differences of ``value``.

    Some component must be off at all probes: at a kink one of them may lie.

    Args:
        name: of the slope, for the message.
        value: (N, k) -> (N, …).
        slope: (N, k) -> (N, …, k).
        points: (N, k).
        fix: what to do.
    """
    k = points.shape[1]
    probes = np.concatenate([points, points + np.resize(ASIDE, k) * (1 + np.abs(points))])
    with np.errstate(all="ignore"):
        given = np.asarray(slope(probes.copy()), dtype=float)
        size = np.abs(np.asarray(value(probes.copy()), dtype=float)).max(initial=0.0)
        for j in range(k):
            h = np.zeros_like(probes)
            h[:, j] = STEP * (1 + np.abs(probes[:, j]))
            rise = np.asarray(value(probes + h) - value(probes - h), dtype=float)
            across = 2 * h[:, j].reshape(-1, *[1] * (rise.ndim - 1))
            found = rise / across
            allowed = CLOSE * (np.abs(found) + np.abs(given[..., j])) + ROUND_OFF * size / STEP
            off = np.abs(given[..., j] - found) > allowed  # False where one is no number
            wrong = off.reshape(len(probes), -1).all(axis=0)
            if wrong.any():
                i = int(np.argmax(wrong))
                told = given[..., j].reshape(len(probes), -1)[0, i]
                seen = found.reshape(len(probes), -1)[0, i]
                raise InvalidInput(
                    f"{name} is {told:.6g} where differences give {seen:.6g}",
                    f"it is not the derivative of what it belongs to, at {probes[0].tolist()}",
                    fix,
                )


def check_circles(name: str, value: Map, points: Array, spaces: list[Geometry]) -> None:
    """Raise InvalidInput where a function of points (N, k) differs once round a circle."""
    with np.errstate(all="ignore"):
        here = np.asarray(value(points.copy()), dtype=float)
        for j, space in enumerate(spaces):
            if space.kind != "circle":
                continue
            round_ = points.copy()
            round_[:, j] += space.high - space.low
            gap = np.abs(np.asarray(value(round_), dtype=float) - here)
            if (gap > PERIOD * (1 + np.abs(here))).any():
                raise InvalidInput(
                    f"{name} changes by {np.nanmax(gap):.3g} once round {space!r}",
                    f"coordinate {j} lives on that circle, where both ends are one point",
                    "periodic features, or a domain that is no circle",
                )
