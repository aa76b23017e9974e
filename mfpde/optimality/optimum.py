"""The least energy over a grid's box or over all neurons, and what certifies it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput, NotAvailable
from mfpde.flows.agreement import resolved_walls
from mfpde.flows.quadrature import CENTRES
from mfpde.grids.grid import Grid
from mfpde.optimality import entropic, exchange
from mfpde.optimality.sets import A_SET, Ends, bounded, corners
from mfpde.optimality.sliding import optimum_on_sphere
from mfpde.problems.geometry import refuse_spheres
from mfpde.problems.problem import Array, Problem
from mfpde.version import __version__


@dataclass(frozen=True, repr=False)
class Optimum:
    """The least energy F* of a problem, enclosed: lower_bound <= F* <= value.

    Attributes:
        value: F of the minimiser.
        lower_bound: what no measure can be below, round-off included.
        minimiser: a snapshot that ``mf.as_measure``, ``mf.predict`` and ``mf.potential`` take. For
            λ > 0 as of a density run: ``rho`` at the cell centres, which times the cell volumes
            are masses. For λ = 0 as of a particle flow: ``position`` and ``weight``. Both hold
            ``prediction``, ``risk`` and ``energy``.
        iterations: steps of Newton's method (λ > 0), or rounds of exchange (λ = 0).
        over: the densities or measures that were minimised over, in words.
    """

    value: float
    lower_bound: float
    minimiser: xr.Dataset
    iterations: int
    over: str

    @property
    def gap(self) -> float:
        """value − lower_bound: how far the minimiser can be from the optimum, in units of F."""
        return self.value - self.lower_bound

    def __repr__(self) -> str:
        return (
            f"Optimum: {self.lower_bound:.15g} <= min F <= {self.value:.15g} over {self.over}, "
            f"gap {self.gap:.1e} after {self.iterations} iterations"
        )


def optimum(
    problem: Problem, grid: Grid | Ends | Literal["sphere"], tolerance: float = 1e-12
) -> Optimum:
    """The least energy F(ρ) = risk + ∫reg dρ + λ∫ρ log ρ over a grid's box, certified.

    For λ > 0 over densities on the grid's cells, by the grid's own quadrature, as a density run
    watches it: damped Newton ascent of the concave dual, to round-off. For λ = 0 over all
    probability measures on the box, whatever its cells: exchange with sliding, certified by
    F(ρ) − F* <= ∫V dρ − inf V with a rigorous infimum. Over all probability measures on neurons
    (grid ``"sphere"``) for homogeneous networks (relu, …) with a ridge or path norm at λ = 0:
    sliding Frank-Wolfe steps on the sphere of directions, certified by the dual.

    Args:
        problem: a problem with features. For λ > 0 its loss has a conjugate; for λ = 0 it is a
            two-layer network with a named or piecewise linear activation and a penalty made of
            mf.ridge and mf.total_variation, or mf.spikes.
        grid: the box, and the cells of a density; for λ = 0 also a box from coordinate to
            (low, high), where those whose domain is bounded may be left out; or ``"sphere"``.
        tolerance: the gap at which exchange (λ = 0) ends, in units of F; where it cannot get
            there, the gap says how far it got.

    Raises:
        InvalidInput: where grid and problem disagree, the loss has no conjugate, or neurons live
            on a sphere.
        NotAvailable: for kernel problems, and at λ = 0 where V has no certified infimum.
    """
    if not isinstance(problem, Problem):
        raise NotAvailable(
            f"no optimum of {shown(problem)}",
            "duals and bounds are made of features and a loss",
            "a problem of mf.two_layer or mf.Problem",
        )
    refuse_spheres(problem.domain)
    if not (isinstance(grid, Grid | Mapping) or (isinstance(grid, str) and grid == "sphere")):
        raise InvalidInput(f"grid = {shown(grid)}", "no such set of neurons is known", A_SET)
    if not 0 < number(tolerance) < np.inf:
        raise InvalidInput(f"tolerance = {shown(tolerance)}", "it is a gap", "a number > 0")
    if isinstance(grid, str):
        return best_neurons(problem, float(tolerance))
    if isinstance(grid, Mapping):
        return best_measure(problem, *box_within(problem, grid), float(tolerance))
    walls = resolved_walls(problem, grid)
    if problem.entropy > 0:
        return best_density(problem, grid, walls)
    low, high = np.array(list(grid.box.values())).T
    return best_measure(problem, low, high, float(tolerance))


def box_within(problem: Problem, ends: Ends) -> tuple[Array, Array]:
    """The corners of a box of neurons, λ = 0.

    Raises InvalidInput unless it is finite and part of the problem's domain.
    """
    if problem.entropy > 0:
        raise InvalidInput(
            f"grid = {shown(ends)} with entropy {problem.entropy:g}",
            "with entropy the optimum is one over the densities on cells",
            "a Grid",
        )
    low, high = corners(problem, bounded(problem) | dict(ends), "grid")
    for c, lo, hi in zip(problem.coords, low, high, strict=True):
        space = problem.domain[c]
        beyond = space.kind != "circle" and not space.low <= lo < hi <= space.high
        if beyond or not np.isfinite(hi - lo):
            raise InvalidInput(
                f"grid[{c!r}] = ({lo:g}, {hi:g})", f"a finite box is asked for, within {space!r}"
            )
    return low, high


def best_density(problem: Problem, grid: Grid, walls: Mapping[str, str]) -> Optimum:
    """The optimum over densities on the cells, λ > 0."""
    least = entropic.least_energy(problem, grid)
    cells = " × ".join(map(str, grid.shape))
    edges = {f"{c}_edges": (f"{c}_edge", axis.edges) for c, axis in grid.axes.items()}
    data = {"rho": (grid.coords, least.masses / grid.volumes)} | edges
    data |= seen(problem, least.prediction, least.value)
    coords = {
        name: (name, axis.centres, described(problem, grid, name, walls[name]))
        for name, axis in grid.axes.items()
    }
    minimiser = xr.Dataset(data, coords, named(problem) | {"quadrature": CENTRES})
    over = f"densities on {cells} cells"
    return Optimum(least.value, least.lower_bound, minimiser, least.iterations, over)


def best_measure(problem: Problem, low: Array, high: Array, tolerance: float) -> Optimum:
    """The optimum over probability measures on the box, λ = 0."""
    least = exchange.least_energy(problem, low, high, tolerance)
    atoms, value = least.atoms, least.atoms.energy
    minimiser = cloud(problem, atoms.points, atoms.weights, atoms.prediction, value)
    box = " × ".join(f"[{lo:g}, {hi:g}]" for lo, hi in zip(low, high, strict=True))
    over = f"probability measures on {box}"
    return Optimum(value, value - least.gap, minimiser, least.iterations, over)


def best_neurons(problem: Problem, tolerance: float) -> Optimum:
    """The optimum over probability measures on all neurons of a homogeneous problem."""
    least = optimum_on_sphere(problem, tolerance)
    a, v = least.points[:, 0], least.points[:, 1:]
    prediction = (least.weights * a) @ problem.phi(v)
    minimiser = cloud(problem, least.points, least.weights, prediction, least.value)
    over = "probability measures on all neurons"
    return Optimum(least.value, least.lower_bound, minimiser, least.iterations, over)


def cloud(
    problem: Problem, points: Array, weights: Array, prediction: Array, energy: float
) -> xr.Dataset:
    """Weighted neurons as a snapshot of a particle flow."""
    data: dict[str, Any] = {
        "position": (("particle", "coord"), points),
        "weight": ("particle", weights),
    }
    data |= seen(problem, prediction, energy)
    attrs = named(problem) | {f"geometry_{c}": g.kind for c, g in problem.domain.items()}
    attrs |= {f"length_{c}": g.high for c, g in problem.domain.items() if g.kind == "circle"}
    return xr.Dataset(data, {"coord": list(problem.coords)}, attrs)


def seen(problem: Problem, prediction: Array, energy: float) -> dict[str, Any]:
    """What both kinds of minimiser show."""
    return {
        "prediction": ("sample", prediction),
        "risk": problem.loss.risk(prediction),
        "energy": energy,
        "x": (("sample", "input")[: problem.x.ndim], problem.x),
        "y": ("sample", problem.y),
    }


def named(problem: Problem) -> dict[str, Any]:
    """What a minimiser notes of itself."""
    return {
        "title": "minimiser",
        "software": f"mfpde {__version__}",
        "problem": repr(problem),
        "penalty": repr(problem.penalty),
        "entropy": problem.entropy,
    }


def described(problem: Problem, grid: Grid, name: str, wall: str) -> dict[str, Any]:
    """Geometry, box and walls of one axis, as density runs note them."""
    axis = grid.axes[name]
    ends = {"low": axis.low, "high": axis.high, "wall_low": wall, "wall_high": wall}
    return {"geometry": problem.domain[name].kind} | ends
