"""One axis of a grid: cells, their walls, and what happens there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InvalidInput

Array = NDArray[np.float64]
Walls = Literal["closed", "open"]
FEWEST_CELLS = 4


@dataclass(frozen=True, eq=False)
class Axis:
    """Cells between ``edges``; published constructors are uniform, stretched and periodic.

    Attributes:
        edges: (cells + 1,), increasing.
        walls: "closed" (no flux), "open" (what leaves is booked as escaped), "periodic", or
            "default": open on a line at λ = 0, closed on intervals, half lines and for λ > 0.
        is_uniform: whether all cells are equally wide.
        label: the call that made the axis.
    """

    edges: Array
    walls: str
    is_uniform: bool
    label: str

    @property
    def cells(self) -> int:
        """The number of cells."""
        return len(self.edges) - 1

    @property
    def low(self) -> float:
        """The lower end."""
        return float(self.edges[0])

    @property
    def high(self) -> float:
        """The upper end."""
        return float(self.edges[-1])

    @property
    def is_periodic(self) -> bool:
        """Whether the two ends are one point."""
        return self.walls == "periodic"

    @property
    def centres(self) -> Array:
        """Cell midpoints, (cells,)."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def widths(self) -> Array:
        """Cell widths, (cells,)."""
        if self.is_uniform:  # one number, free of the edges' round-off
            return np.full(self.cells, (self.high - self.low) / self.cells)
        return np.diff(self.edges)

    @property
    def distances(self) -> Array:
        """Distance between the centres on either side of every face, (cells + 1,).

        At the two ends: across the seam if periodic, else that of the next face inside.
        """
        widths = self.widths
        inner = 0.5 * (widths[1:] + widths[:-1])
        ends = [0.5 * (widths[0] + widths[-1])] * 2 if self.is_periodic else [inner[0], inner[-1]]
        return np.concatenate([ends[:1], inner, ends[1:]])

    def __repr__(self) -> str:
        return self.label


def uniform(lo: float, hi: float, cells: int, walls: Walls | None = None) -> Axis:
    """Equally wide cells on [lo, hi].

    Args:
        lo: lower end.
        hi: upper end, above ``lo``.
        cells: number of cells, at least 4.
        walls: "closed" or "open"; by default what the problem's geometry asks for.

    Raises:
        InvalidInput: for ends that are not finite and increasing, or too few cells.
    """
    lo, hi, cells = checked_ends(lo, hi, cells)
    edges = np.linspace(lo, hi, cells + 1)
    return Axis(edges, checked_walls(walls), True, axis_label("uniform", lo, hi, cells, walls))


def periodic(lo: float, hi: float, cells: int) -> Axis:
    """Equally wide cells on a circle of length hi − lo, cut at ``lo``.

    Raises:
        InvalidInput: for ends that are not finite and increasing, or too few cells.
    """
    lo, hi, cells = checked_ends(lo, hi, cells)
    edges = np.linspace(lo, hi, cells + 1)
    return Axis(edges, "periodic", True, axis_label("periodic", lo, hi, cells, None))


def stretched(
    lo: float,
    hi: float,
    cells: int,
    walls: Walls | None = None,
    focus: float | None = None,
    ratio: float = 4.0,
) -> Axis:
    """Cells that widen away from ``focus`` like cosh: edges = focus + s·sinh(ξ), ξ uniform.

    Args:
        lo, hi, cells, walls: as for :func:`uniform`.
        focus: where cells are narrowest; 0 if the box holds it, else its middle.
        ratio: width of cells at the farther end over width at the focus, above 1.

    Raises:
        InvalidInput: as :func:`uniform`, or for a focus outside [lo, hi] or a ratio ≤ 1.
    """
    lo, hi, cells = checked_ends(lo, hi, cells)
    middle = (0.0 if lo < 0 < hi else 0.5 * (lo + hi)) if focus is None else number(focus)
    if not lo <= middle <= hi:
        raise InvalidInput(f"focus = {focus} lies outside [{lo}, {hi}]", fix="a point of the box")
    if not 1 < number(ratio) < np.inf:
        raise InvalidInput(f"ratio = {ratio}", "it is widest over narrowest cell", "ratio > 1")
    farther = max(hi - middle, middle - lo)
    scale = farther / np.sqrt(ratio**2 - 1)  # cosh(ξ) = ratio where sinh(ξ)·scale = farther
    ends = np.arcsinh(np.array([lo - middle, hi - middle]) / scale)
    edges = middle + scale * np.sinh(np.linspace(ends[0], ends[1], cells + 1))
    edges[0], edges[-1] = lo, hi
    label = axis_label("stretched", lo, hi, cells, walls, f", focus={middle:g}, ratio={ratio:g}")
    return Axis(edges, checked_walls(walls), False, label)


def checked_ends(lo: float, hi: float, cells: int) -> tuple[float, float, int]:
    """The same, if the ends are finite and increasing and there are enough whole cells."""
    low, high, count = number(lo), number(hi), number(cells)
    if not -np.inf < low < high < np.inf:
        raise InvalidInput(
            f"an axis from {lo} to {hi}", "ends are finite and lo < hi", "mf.uniform(-6, 6, 128)"
        )
    if not (FEWEST_CELLS <= count < np.inf and count == int(count)):
        raise InvalidInput(f"cells = {cells}", f"an axis has at least {FEWEST_CELLS} whole cells")
    return low, high, int(count)


def number(value: Any) -> float:
    """``value`` as a float; nan, which fails every comparison, where it is not one real number."""
    try:
        return np.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return np.nan


def checked_walls(walls: str | None) -> str:
    """The name of the walls; None is "default"."""
    if walls not in ("closed", "open", None):
        raise InvalidInput(f"walls = {walls!r}", fix='walls="closed" or walls="open"')
    return walls or "default"


def axis_label(
    name: str, lo: float, hi: float, cells: int, walls: str | None, more: str = ""
) -> str:
    """The call that makes the axis."""
    tail = f', walls="{walls}"' if walls else ""
    return f"{name}({lo:.6g}, {hi:.6g}, {cells}{tail}{more})"
