"""A box that holds the mass: from the law's own reach and a coarse pilot run to the horizon."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from mfpde.errors import InvalidInput, NumericalStop
from mfpde.grids.axis import Axis, periodic, uniform
from mfpde.grids.grid import Grid
from mfpde.loop.solver import solve
from mfpde.problems.geometry import Geometry
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Problem

Ends = dict[str, tuple[float, float]]

PILOT_CELLS = {1: 256, 2: 64, 3: 32, 4: 16}
TAIL = 1e-8  # mass that may lie beyond each side of the box, on the pilot
LEAK = 1e-7  # mass that may leave the pilot's box
MOST_PILOTS = 12
BOLD = 3.0  # how much farther than named the pilot's leaking walls are moved
MARGIN = 0.05  # of the fitted length, on either side


def fit_grid(
    problem: Problem | KernelProblem,
    cells: int | Mapping[str, int] = 128,
    horizon: float = 2.0,
) -> Grid:
    """A grid whose box holds the density from time 0 to ``horizon``.

    A coarse run in a box that is widened until nothing leaves it; then, per line coordinate, the
    hull over time of where the marginal lies, up to a tail of 1e-8, with a margin. Circles and
    intervals are taken whole. The pilot's numerical diffusion makes the box somewhat too large.

    Args:
        problem: what is minimised.
        cells: cells along every axis, or by coordinate.
        horizon: the last time the grid will be used for, at least 0.

    Raises:
        InvalidInput: when no box of two thousand times the law's reach holds the mass, or for
            arguments without meaning.
    """
    if not (np.isfinite(horizon) and horizon >= 0):
        raise InvalidInput(f"horizon = {horizon}", "a finite time, 0 or later")
    counts = cells_by_coordinate(problem, cells)
    low, high = problem.initial.reach(TAIL)
    start = {
        c: around(lo, hi, problem.domain[c])
        for c, lo, hi in zip(problem.coords, low, high, strict=True)
    }
    if horizon == 0:
        return grid_on(problem, start, counts)
    return grid_on(problem, held(problem, pilot(problem, start, counts, horizon)), counts)


def cells_by_coordinate(
    problem: Problem | KernelProblem, cells: int | Mapping[str, int]
) -> dict[str, int]:
    """The number of cells of every axis."""
    counts = dict(cells) if isinstance(cells, Mapping) else dict.fromkeys(problem.coords, cells)
    if set(counts) != set(problem.coords):
        raise InvalidInput(f"cells names {sorted(counts)}", f"the axes are {list(problem.coords)}")
    return counts


def around(low: float, high: float, geometry: Geometry) -> tuple[float, float]:
    """The whole of a circle or interval; on lines a box a tenth longer than the law's reach."""
    if geometry.kind in ("circle", "interval"):
        return geometry.low, geometry.high
    margin = max(0.1 * (high - low), 1e-2)
    return (geometry.low if geometry.kind == "half_line" else low - margin), high + margin


def grid_on(problem: Problem | KernelProblem, box: Ends, cells: Mapping[str, int]) -> Grid:
    """A uniform grid on a box, periodic on circles."""

    def axis(name: str) -> Axis:
        kind = periodic if problem.domain[name].kind == "circle" else uniform
        return kind(*box[name], cells[name])

    return Grid(**{name: axis(name) for name in problem.coords})


def extrapolated(ends: tuple[float, float], wider: tuple[float, float]) -> tuple[float, float]:
    """Each end moved BOLD times as far: pilots are cheap, and the hull is fitted afterwards."""
    low, high = (old + BOLD * (new - old) for old, new in zip(ends, wider, strict=True))
    return low, high


def pilot(
    problem: Problem | KernelProblem, box: Ends, counts: Mapping[str, int], horizon: float
) -> xr.Dataset:
    """A coarse run whose box lost almost nothing, by widening the walls that leak."""
    finest = PILOT_CELLS[len(problem.coords)]
    cells = {c: min(finest, count) for c, count in counts.items()}  # never sharper than the run
    times = np.linspace(0, horizon, 9)
    for _ in range(MOST_PILOTS):
        grid = grid_on(problem, box, cells)
        try:
            return solve(
                problem,
                grid,
                times=times,
                keep="marginals",
                escaped_tolerance=LEAK,
                progress=False,
            )
        except NumericalStop as stop:
            wider = getattr(stop, "box", None)
            if wider is None:
                raise
            box = {c: extrapolated(ends, wider[c]) for c, ends in box.items()}
    raise InvalidInput(
        f"no box was found that holds the mass until t = {horizon:g}",
        f"{MOST_PILOTS} ever wider pilot boxes leaked; the last was {box}",
        "a shorter horizon, a penalty that confines, or closed walls",
    )


def held(problem: Problem | KernelProblem, run: xr.Dataset) -> Ends:
    """Per coordinate the hull over time of all but TAIL of the marginal on either side."""
    box: Ends = {}
    for name in problem.coords:
        geometry, edges = problem.domain[name], run[f"{name}_edges"].values
        masses = run[f"marginal_{name}"].values * np.diff(edges)
        below, above = np.cumsum(masses, axis=1), np.cumsum(masses[:, ::-1], axis=1)
        first = int((below <= TAIL).sum(axis=1).min())
        last = masses.shape[1] - int((above <= TAIL).sum(axis=1).min())
        margin = MARGIN * (edges[last] - edges[first])
        low, high = float(edges[first] - margin), float(edges[last] + margin)
        if geometry.kind in ("circle", "interval"):
            low, high = geometry.low, geometry.high
        elif geometry.kind == "half_line":
            low = geometry.low
        box[name] = (low, high)
    return box
