"""A box that holds the mass until the end, found by coarse pilot runs in ever wider boxes.

Used before a run (``fit_grid``) and after one that lost mass, to name the box that would have done.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from mfpde.errors import InvalidInput, MassEscaped, UnconfinedMass
from mfpde.grids.axis import Axis, periodic, uniform
from mfpde.grids.grid import Grid
from mfpde.loop.guards import WIDEN
from mfpde.methods.step import Method
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

Ends = dict[str, tuple[float, float]]
Solve = Callable[..., xr.Dataset]

PILOT_CELLS = {1: 256, 2: 64, 3: 32, 4: 16}
LOOKS = 9  # snapshots of a pilot
TAIL = 1e-8  # mass that may lie beyond each side of the box, on the pilot
LEAK = 1e-7  # mass that may leave the pilot's box
MOST_PILOTS = 12
BOLD = 3.0  # how much farther than named the pilot's leaking walls are moved
MARGIN = 0.05  # of the fitted length, on either side


def holding_box(
    solve: Solve,
    problem: Problem | KernelProblem,
    start: Ends,
    cells: Mapping[str, int],
    horizon: float,
    method: Method,
) -> Ends:
    """The box in which ``method`` keeps all but tails of the mass from time 0 to ``horizon``.

    Args:
        solve: the loop itself, handed in.
        problem: what is minimised.
        start: the box to begin with.
        cells: cells per axis of the run the box is for.
        horizon: the last time.
        method: how the run steps; what it smears, the pilot smears at least as far.

    Raises:
        InvalidInput: when every box leaks.
    """
    return held(problem, pilot(solve, problem, start, cells, horizon, method))


def grid_on(problem: Problem | KernelProblem, box: Ends, cells: Mapping[str, int]) -> Grid:
    """A uniform grid on a box, periodic on circles."""

    def axis(name: str) -> Axis:
        kind = periodic if problem.domain[name].kind == "circle" else uniform
        return kind(*box[name], cells[name])

    return Grid(**{name: axis(name) for name in problem.coords})


def pilot(
    solve: Solve,
    problem: Problem | KernelProblem,
    box: Ends,
    counts: Mapping[str, int],
    horizon: float,
    method: Method,
) -> xr.Dataset:
    """A coarse run whose box lost almost nothing, by widening the walls that leak."""
    if len(problem.coords) not in PILOT_CELLS:
        raise InvalidInput(
            f"a neuron has {len(problem.coords)} coordinates: {', '.join(problem.coords)}",
            f"a density is kept on at most {max(PILOT_CELLS)}",
            "fewer inputs, or particles (particle_ref) only",
        )
    finest = PILOT_CELLS[len(problem.coords)]
    cells = {c: min(finest, count) for c, count in counts.items()}  # never sharper than the run
    times = looks(method, horizon)
    for _ in range(MOST_PILOTS):
        grid = grid_on(problem, box, cells)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnconfinedMass)  # it is what is looked for
                run = solve(problem, grid, method, times, keep="marginals", escaped_tolerance=LEAK)
        except MassEscaped as stop:
            wider = stop.box
        else:
            wider = uncrowded(problem, run)
            if wider == grid.box:
                return run
        box = {c: extrapolated(ends, wider[c]) for c, ends in box.items()}
    raise InvalidInput(
        f"no box was found that holds the mass until t = {horizon:g}",
        f"{MOST_PILOTS} ever wider pilot boxes leaked; the last was {box}",
        "a shorter horizon, a penalty that confines, or closed walls",
    )


def looks(method: Method, horizon: float) -> Array:
    """Instants of a pilot: of a map in discrete time, its own."""
    if method.stride is None:
        return np.linspace(0, horizon, LOOKS)
    steps = max(1, round(horizon / method.stride))
    return np.unique(np.rint(np.linspace(0, steps, LOOKS))) * method.stride


def uncrowded(problem: Problem | KernelProblem, run: xr.Dataset) -> Ends:
    """The run's box, longer on every side where mass came to lie against an artificial wall."""
    box: Ends = {}
    for name in problem.coords:
        edges, geometry = run[f"{name}_edges"].values, problem.domain[name]
        outermost = run[f"marginal_{name}"].values[:, [0, -1]] * np.diff(edges)[[0, -1]]
        below, above = (float(heaviest) > TAIL for heaviest in outermost.max(axis=0))
        margin = WIDEN * (edges[-1] - edges[0])
        free = geometry.kind in ("line", "half_line")
        box[name] = (
            float(edges[0] - margin * (below and geometry.kind == "line")),
            float(edges[-1] + margin * (above and free)),
        )
    return box


def extrapolated(ends: tuple[float, float], wider: tuple[float, float]) -> tuple[float, float]:
    """Each end moved BOLD times as far: pilots are cheap, and the hull is fitted afterwards."""
    low, high = (old + BOLD * (new - old) for old, new in zip(ends, wider, strict=True))
    return low, high


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
