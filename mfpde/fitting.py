"""A grid whose box holds the mass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput
from mfpde.grids.axis import checked_cells
from mfpde.grids.grid import Grid
from mfpde.loop.box import TAIL, grid_on, holding_box
from mfpde.loop.solver import evolved
from mfpde.methods.muscl import muscl
from mfpde.methods.scharfetter_gummel import scharfetter_gummel
from mfpde.methods.step import Method
from mfpde.problems.geometry import Geometry, refuse_spheres
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Problem


def fit_grid(
    problem: Problem | KernelProblem,
    cells: int | Mapping[str, int] = 128,
    horizon: float = 2.0,
    method: Method | None = None,
) -> Grid:
    """A grid whose box holds the density from time 0 to ``horizon``.

    A coarse run in a box that is widened until nothing leaves it or lies against its walls; then,
    per line coordinate, the hull over time of where the marginal lies, up to a tail of 1e-8, with a
    margin. Circles and intervals are taken whole. The pilot's numerical diffusion makes the box
    somewhat too large.

    Args:
        problem: what is minimised.
        cells: cells along every axis, or by coordinate.
        horizon: the last time the grid will be used for, at least 0.
        method: how the pilot steps; None is right for every method that follows the flow. A map in
            discrete time goes farther: ``mf.pushforward(dt)`` needs to be named.

    Raises:
        InvalidInput: when no box of two thousand times the law's reach holds the mass, or for
            arguments without meaning.
    """
    if not isinstance(problem, Problem | KernelProblem):
        raise InvalidInput(f"problem = {shown(problem)} is not a problem", fix="mf.two_layer(x, y)")
    refuse_spheres(problem.domain)
    if not 0 <= number(horizon) < np.inf:
        raise InvalidInput(f"horizon = {shown(horizon)}", "a finite time, 0 or later")
    counts = cells_by_coordinate(problem, cells)
    low, high = problem.initial.reach(TAIL)
    start = {
        c: around(lo, hi, problem.domain[c])
        for c, lo, hi in zip(problem.coords, low, high, strict=True)
    }
    if horizon == 0:
        return grid_on(problem, start, counts)
    pilot = method or (scharfetter_gummel() if problem.entropy > 0 else muscl())
    box = holding_box(evolved, problem, start, counts, horizon, pilot)
    return grid_on(problem, box, counts)


def cells_by_coordinate(
    problem: Problem | KernelProblem, cells: int | Mapping[str, int]
) -> dict[str, int]:
    """The number of cells of every axis."""
    counts = dict(cells) if isinstance(cells, Mapping) else dict.fromkeys(problem.coords, cells)
    if set(counts) != set(problem.coords):
        named = sorted(map(str, counts))
        raise InvalidInput(f"cells names {named}", f"the axes are {list(problem.coords)}")
    return {name: checked_cells(count) for name, count in counts.items()}


def around(low: float, high: float, geometry: Geometry) -> tuple[float, float]:
    """The whole of a circle or interval; on lines a box a tenth longer than the law's reach."""
    if geometry.kind in ("circle", "interval"):
        return geometry.low, geometry.high
    margin = max(0.1 * (high - low), 1e-2)
    return (geometry.low if geometry.kind == "half_line" else low - margin), high + margin
