"""Geometry: the space in which a coordinate of a neuron lives, alone or with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arguments import number
from mfpde.errors import InvalidInput

Kind = Literal["line", "circle", "half_line", "interval", "sphere"]


@dataclass(frozen=True, repr=False)
class Geometry:
    """One coordinate's space: a line, a circle, a half line or an interval; or several's: a sphere.

    Raises InvalidInput unless the ends suit the kind.
    """

    kind: Kind
    low: float  # lower end, in units of the coordinate; 0 on a circle; -inf where unbounded
    high: float  # upper end; the circumference on a circle, a sphere's radius; +inf where unbounded
    group: tuple[str, ...] = ()  # the coordinates on one sphere, once a problem has named them

    def __post_init__(self) -> None:
        low, high = number(self.low), number(self.high)
        suits = {
            "line": low == -np.inf and high == np.inf,
            "circle": low == 0 < high < np.inf,
            "half_line": low == 0 and high == np.inf,
            "interval": -np.inf < low < high < np.inf,
            "sphere": -low == high and 0 < high < np.inf,
        }
        if not isinstance(self.kind, str) or not suits.get(self.kind, False):
            raise InvalidInput(
                f"no {self.kind} runs from {low} to {high}",
                "a circle needs a finite length > 0, an interval finite ends lo < hi, a sphere a "
                "finite radius > 0",
                "use line(), circle(length), half_line(), interval(lo, hi) or sphere(radius)",
            )

    def wrap(self, x: ArrayLike) -> NDArray[np.float64]:
        """Representatives of the points x (...): in [0, length) on a circle, else x itself."""
        x = np.asarray(x, dtype=float)
        if self.kind != "circle":
            return x
        wrapped = np.mod(x, self.high)
        return np.where(wrapped < self.high, wrapped, 0.0)  # mod(-1e-20, 1) rounds to 1

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Which x (...) are points of the space, ends included; on a circle every finite number.

        Of a sphere, which may be one coordinate of a point.
        """
        x = np.asarray(x, dtype=float)
        if self.kind == "circle":
            return np.isfinite(x)
        return np.isfinite(x) & (self.low <= x) & (x <= self.high)

    def __repr__(self) -> str:
        ends = dict.fromkeys(("circle", "sphere"), f"{self.high!r}")
        ends["interval"] = f"{self.low!r}, {self.high!r}"
        return f"{self.kind}({ends.get(self.kind, '')})"


def line() -> Geometry:
    """The real line."""
    return Geometry("line", -np.inf, np.inf)


def circle(length: float) -> Geometry:
    """R modulo ``length`` > 0, represented by [0, length)."""
    return Geometry("circle", 0.0, number(length))


def half_line() -> Geometry:
    """The numbers >= 0."""
    return Geometry("half_line", 0.0, np.inf)


def interval(lo: float, hi: float) -> Geometry:
    """The numbers from ``lo`` to ``hi``, both finite and included."""
    return Geometry("interval", number(lo), number(hi))


def sphere(radius: float = 1.0) -> Geometry:
    """The vectors of length ``radius`` > 0 of two or more coordinates, named together.

    ``domain={("w1", "w2"): mf.sphere()}`` keeps |w| = 1. Particles alone move there, by the part of
    −∇V that is tangent to the sphere, in the metric of the space around it, and distances are
    chords. The initial law is projected along rays from 0: a gaussian of mean 0 and equal standard
    deviations becomes the uniform law. Grids, optima and certificates refuse: with two coordinates
    they take an angle on ``mf.circle(2 * np.pi)``.
    """
    return Geometry("sphere", -number(radius), number(radius))


def refuse_spheres(domain: Mapping[str, Geometry]) -> None:
    """Raise InvalidInput where coordinates share a sphere, which is no product of axes."""
    for geometry in domain.values():
        if geometry.kind == "sphere":
            raise InvalidInput(
                f"{', '.join(geometry.group)} live on {geometry!r}",
                "a sphere has no grid here, and neither bounds nor tangent kernels: particles "
                "alone move there",
                "pr.run(problem, pr.sample(problem, 1000), pr.GradientFlow(), times); or, for two "
                "coordinates, features of an angle on mf.circle(2 * np.pi)",
            )
