"""One axis of a grid: cells, their walls, and what happens there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput

Array = NDArray[np.float64]
Walls = Literal["closed", "open"]
FEWEST_CELLS = 4
MOST_CELLS = 2**20  # along one axis
FARTHEST = 1e100  # from 0 that an end may lie: squares of lengths stay finite
WIDEST = 1e6  # ratio of a stretched axis
WALLS = ("closed", "open", "periodic", "default")
SAME_WIDTH = 1e-6  # relative difference of two cells that count as equally wide


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

    def __post_init__(self) -> None:
        """Raises InvalidInput unless the edges make cells of positive width."""
        edges = np.asarray(self.edges)
        if edges.dtype.kind not in "iuf" or edges.ndim != 1 or len(edges) <= FEWEST_CELLS:
            raise InvalidInput(
                f"{self.label}: edges of shape {edges.shape} and type {edges.dtype}",
                f"an axis has at least {FEWEST_CELLS} cells",
                "an array of numbers, (cells + 1,)",
            )
        if not (np.abs(edges) <= FARTHEST).all() or not (np.diff(edges) > 0).all():
            raise InvalidInput(
                f"{self.label}: edges that are not finite and increasing",
                "cells have a width above the round-off of their places",
                "fewer cells, or a box nearer to 0",
            )
        widths = np.diff(edges)
        if self.is_uniform and np.ptp(widths) > SAME_WIDTH * widths.max():
            raise InvalidInput(
                f"{self.label}: cells {widths.min():g} to {widths.max():g} wide",
                "a uniform axis has equal cells, up to round-off",
                "a box nearer to 0, fewer cells, or is_uniform=False",
            )
        if not isinstance(self.walls, str) or self.walls not in WALLS:
            raise InvalidInput(f"{self.label}: walls = {self.walls!r}", fix=f"one of {WALLS}")
        own = np.array(edges, dtype=float)
        own.setflags(write=False)  # runs hand it out
        object.__setattr__(self, "edges", own)

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
        cells: number of cells, from 4 to 2^20.
        walls: "closed" or "open"; by default what the problem's geometry asks for.

    Raises:
        InvalidInput: for ends that are not finite and increasing, too few cells or too many.
    """
    lo, hi, cells = checked_ends(lo, hi, cells)
    edges = np.linspace(lo, hi, cells + 1)
    return Axis(edges, checked_walls(walls), True, axis_label("uniform", lo, hi, cells, walls))


def periodic(lo: float, hi: float, cells: int) -> Axis:
    """Equally wide cells on a circle of length hi − lo, cut at ``lo``.

    Raises:
        InvalidInput: for ends that are not finite and increasing, too few cells or too many.
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
        ratio: width of cells at the farther end over width at the focus, above 1, at most 1e6.

    Raises:
        InvalidInput: as :func:`uniform`, or for a focus outside [lo, hi] or another ratio.
    """
    lo, hi, cells = checked_ends(lo, hi, cells)
    middle = (0.0 if lo < 0 < hi else 0.5 * (lo + hi)) if focus is None else number(focus)
    if not lo <= middle <= hi:
        raise InvalidInput(
            f"focus = {shown(focus)} lies outside [{lo}, {hi}]", fix="a point of the box"
        )
    if not 1 < number(ratio) <= WIDEST:
        raise InvalidInput(
            f"ratio = {shown(ratio)}",
            "it is widest over narrowest cell",
            f"1 < ratio <= {WIDEST:g}",
        )
    farther = max(hi - middle, middle - lo)
    scale = farther / np.sqrt(ratio**2 - 1)  # cosh(ξ) = ratio where sinh(ξ)·scale = farther
    ends = np.arcsinh(np.array([lo - middle, hi - middle]) / scale)
    edges = middle + scale * np.sinh(np.linspace(ends[0], ends[1], cells + 1))
    edges[0], edges[-1] = lo, hi
    label = axis_label("stretched", lo, hi, cells, walls, f", focus={middle:g}, ratio={ratio:g}")
    return Axis(edges, checked_walls(walls), False, label)


def checked_ends(lo: float, hi: float, cells: int) -> tuple[float, float, int]:
    """The same, if the ends are finite and increasing and there are enough whole cells."""
    low, high = number(lo), number(hi)
    if not -FARTHEST <= low < high <= FARTHEST:
        raise InvalidInput(
            f"an axis from {shown(lo)} to {shown(hi)}",
            f"ends are finite, lo < hi, and within {FARTHEST:g} of 0",
            "mf.uniform(-6, 6, 128)",
        )
    return low, high, checked_cells(cells)


def checked_cells(cells: Any) -> int:
    """The number of cells of one axis, a whole one."""
    count = number(cells)
    if not (FEWEST_CELLS <= count <= MOST_CELLS and count == int(count)):
        raise InvalidInput(
            f"cells = {shown(cells)}",
            f"an axis has at least {FEWEST_CELLS} whole cells, and at most {MOST_CELLS}",
            "cells=128",
        )
    return int(count)


def checked_walls(walls: str | None) -> str:
    """The name of the walls; None is "default"."""
    if walls is not None and not (isinstance(walls, str) and walls in ("closed", "open")):
        raise InvalidInput(f"walls = {shown(walls)}", fix='walls="closed" or walls="open"')
    return walls or "default"


def axis_label(
    name: str, lo: float, hi: float, cells: int, walls: str | None, more: str = ""
) -> str:
    """The call that makes the axis."""
    tail = f', walls="{walls}"' if walls else ""
    return f"{name}({lo:.6g}, {hi:.6g}, {cells}{tail}{more})"
