"""Geometry: the space in which one coordinate of a neuron lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arguments import number
from mfpde.errors import InvalidInput

Kind = Literal["line", "circle", "half_line", "interval"]


@dataclass(frozen=True, repr=False)
class Geometry:
    """One coordinate's space: a line, a circle, a half line or an interval.

    Raises InvalidInput unless the ends suit the kind.
    """

    kind: Kind
    low: float  # lower end, in units of the coordinate; 0 on a circle; -inf where unbounded
    high: float  # upper end; the circumference on a circle; +inf where unbounded

    def __post_init__(self) -> None:
        low, high = number(self.low), number(self.high)
        suits = {
            "line": low == -np.inf and high == np.inf,
            "circle": low == 0 < high < np.inf,
            "half_line": low == 0 and high == np.inf,
            "interval": -np.inf < low < high < np.inf,
        }
        if not isinstance(self.kind, str) or not suits.get(self.kind, False):
            raise InvalidInput(
                f"no {self.kind} runs from {low} to {high}",
                "a circle needs a finite length > 0, an interval finite ends lo < hi",
                "use line(), circle(length), half_line() or interval(lo, hi)",
            )

    def wrap(self, x: ArrayLike) -> NDArray[np.float64]:
        """Representatives of the points x (...): in [0, length) on a circle, else x itself."""
        x = np.asarray(x, dtype=float)
        if self.kind != "circle":
            return x
        wrapped = np.mod(x, self.high)
        return np.where(wrapped < self.high, wrapped, 0.0)  # mod(-1e-20, 1) rounds to 1

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Which x (...) are points of the space, ends included; on a circle every finite number."""
        x = np.asarray(x, dtype=float)
        if self.kind == "circle":
            return np.isfinite(x)
        return np.isfinite(x) & (self.low <= x) & (x <= self.high)

    def __repr__(self) -> str:
        ends = {"circle": f"{self.high!r}", "interval": f"{self.low!r}, {self.high!r}"}
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
