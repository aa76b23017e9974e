"""Do a problem and a grid speak of the same space? And what stands at the ends of every axis?"""

from __future__ import annotations

import math

from mfpde.errors import InvalidInput
from mfpde.grids.axis import Axis
from mfpde.grids.grid import Grid
from mfpde.problems.geometry import Geometry, refuse_spheres
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Problem

MOST_OUTSIDE = 1e-6  # mass of the law that may lie outside the box


def resolved_walls(problem: Problem | KernelProblem, grid: Grid) -> dict[str, str]:
    """What stands at the ends of every axis: "closed", "open" or "periodic".

    Where the axis does not say: open on a line at λ = 0, closed on intervals, half lines and for
    λ > 0.

    Raises:
        InvalidInput: when names or geometry of problem and grid disagree.
    """
    refuse_spheres(problem.domain)
    if grid.coords != problem.coords:
        raise InvalidInput(
            f"the grid's axes are {list(grid.coords)}",
            f"this problem's neurons have the coordinates {list(problem.coords)}, in this order",
            f"mf.Grid({', '.join(f'{c}=…' for c in problem.coords)})",
        )
    low, high = problem.initial.reach(MOST_OUTSIDE)
    for k, (name, axis) in enumerate(grid.axes.items()):
        check_geometry(name, axis, problem.domain[name])
        check_reach(name, float(low[k]), float(high[k]), problem.domain[name])
    if problem.entropy > 0:
        check_confinement(problem, grid)
    return {
        name: wall_of(axis, problem.domain[name], problem.entropy)
        for name, axis in grid.axes.items()
    }


def check_confinement(problem: Problem | KernelProblem, grid: Grid) -> None:
    """Raise InvalidInput where diffusing mass would spread along a line without end.

    ∫ρ log ρ is not bounded below there, and no Gibbs state exists (Chizat 2022, arXiv:2202.01009,
    assumes confinement); closed walls that the caller names make the box the domain.
    """
    confined = problem.penalty.confines(len(grid.coords))
    for (name, axis), holds in zip(grid.axes.items(), confined, strict=True):
        if axis.walls == "open":
            raise InvalidInput(
                f"axis {name} has open walls, and the problem entropy = {problem.entropy:g}",
                "diffusion through a wall depends on the density beyond it, which is not known",
                f'walls="closed" on {name}, or entropy=0.0',
            )
        free = problem.domain[name].kind in ("line", "half_line") and not holds
        if free and axis.walls != "closed":
            raise InvalidInput(
                f"entropy = {problem.entropy:g}, and nothing confines {name}",
                f"{problem.penalty!r} does not grow along it: diffusion spreads the mass without "
                "end and there is no steady state",
                "penalty=mf.ridge(0.1); or name closed walls to make the box the domain: "
                f'{name}=mf.uniform({axis.low:g}, {axis.high:g}, {axis.cells}, walls="closed"); '
                "or mf.Penalty(…, confines=…) if yours does grow",
            )


def check_reach(name: str, low: float, high: float, geometry: Geometry) -> None:
    """Raise InvalidInput where the initial law lies beyond the ends of the coordinate's space."""
    beyond = low < geometry.low or high > geometry.high
    if geometry.kind != "circle" and beyond:
        raise InvalidInput(
            f"the initial law reaches from {name} = {low:.4g} to {high:.4g}",
            f"the coordinate lives on {geometry!r}",
            "a law within it, such as mf.uniform_box(…), or another domain",
        )


def wall_of(axis: Axis, geometry: Geometry, entropy: float) -> str:
    """The walls of one axis, after the defaults."""
    if axis.walls != "default":
        return axis.walls
    return "open" if geometry.kind == "line" and entropy == 0 else "closed"


def check_geometry(name: str, axis: Axis, geometry: Geometry) -> None:
    """Raise InvalidInput unless the axis lies on the geometry as a density needs it."""

    def refuse(why: str, fix: str) -> InvalidInput:
        return InvalidInput(f"axis {name} = {axis!r} does not fit {geometry!r}", why, fix)

    ends = f"{geometry.low:g}, {geometry.high:g}"
    if geometry.kind == "circle":
        length = geometry.high - geometry.low
        if not axis.is_periodic or not math.isclose(axis.high - axis.low, length, rel_tol=1e-12):
            raise refuse(
                f"the coordinate lives on a circle of length {length:g}",
                f"{name}=mf.periodic({ends}, cells)",
            )
    elif axis.is_periodic:
        raise refuse(
            "the coordinate does not live on a circle", f'domain={{"{name}": mf.circle(…)}}'
        )
    elif geometry.kind == "interval":
        if (axis.low, axis.high) != (geometry.low, geometry.high) or axis.walls == "open":
            raise refuse("an interval is filled and closed", f"{name}=mf.uniform({ends}, cells)")
    elif geometry.kind == "half_line" and (axis.low != geometry.low or axis.walls == "open"):
        raise refuse("a half line starts at its end and is closed there", f"{name} from {ends}")
