"""How far a run is from the global optimum, with a certificate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from mfpde.arguments import shown
from mfpde.errors import InvalidInput
from mfpde.grids import Axis, Grid
from mfpde.measures import coordinates
from mfpde.measures.belonging import check_solved
from mfpde.measures.measure import check_dataset
from mfpde.optimality.homogeneous import only_output_weights, reduced, sphere_of
from mfpde.optimality.sets import (
    A_SET,
    Ends,
    NeuronSet,
    Nowhere,
    OnBox,
    OnCells,
    OnFeatures,
    OnKernelCells,
    OnSphere,
    bounded,
    corners,
)
from mfpde.problems.geometry import refuse_spheres
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Problem
from mfpde.version import __version__

NO_CONJUGATE = "the loss has no conjugate, of which lower bounds are made"
NO_SET = (
    "nothing bounds the potential: the weights range over lines, and σ and the penalty do not "
    "reduce the problem to a sphere; a bound over a box takes over={coordinate: (low, high)}"
)
NO_ENTROPY = "particles have no finite entropy, and F is infinite at them"
NO_CELLS = NO_ENTROPY + "; over=Grid(…) gives the lower bound of F over its densities"
NO_BOUNDS = "the kernel K and the linear part F of a kernel problem have no known bounds"


def certificate(
    problem: Problem | KernelProblem,
    run: xr.Dataset,
    over: Grid | Ends | str | None = None,
) -> xr.Dataset:
    """Upper bounds of F(ρ_t) − inf F at every time of a run or flow.

    Args:
        problem: what was solved; its loss is convex in the prediction.
        run: a density run or a particle flow. Its prediction, risk and energy are used, and of
            kernel problems the measure.
        over: the set of measures that the infimum is taken over.

            - ``"sphere"``: all probability measures on neurons, for positively homogeneous
              networks with a ridge or path norm.
            - a box, from coordinate to (low, high), or a grid: all probability measures on the
              box. The output weight may be left out and then ranges over the line, and so may
              coordinates whose domain is bounded. For λ > 0 a grid: all densities on its cells.
            - None: what fits. For λ > 0 the cells of the run; for λ = 0 the sphere, else the box of
              the domain, else that of a density run, with any output weight where the penalty is
              s|a|.

    Returns:
        Dataset over ``time`` of

        - ``value``: F(ρ_t), the energy as the run itself integrates; inf for particles at λ > 0.
        - ``infimum``: of the potential V_ρ over a box; −λ log ∫e^(−V/λ) for λ > 0; α − sup|g| on
          the sphere and s − sup|g| for s|a|, the least V of neurons whose penalty is α or s. At
          an optimum these last two are 0; below 0, mass would still grow.
        - ``lower_bound``: of inf F, from ρ_t. The largest over time is a lower bound as well.
        - ``gap``: value − lower_bound ≥ F(ρ_t) − inf F, to round-off. (A run outside the box may
          lie below its infimum, and then the gap may be below 0.)

        and the attributes ``over``, ``reason`` (why a gap is inf, else empty) and ``summary``.
        On cells, sums are those of the midpoint rule.

    Raises:
        InvalidInput: for a run of another problem, a set that does not suit the problem, or
            neurons on a sphere.

    Sources: Chizat & Bach, arXiv:1805.09545, Proposition 3.1; Nitanda, Wu & Suzuki,
    arXiv:2201.10469, for λ > 0.
    """
    check_solved(problem, run)
    refuse_spheres(problem.domain)
    check_dataset(run, ["energy"])
    neurons = chosen(problem, run, over)
    moments = run if "time" in run.dims else run.expand_dims("time")
    bounds = [neurons.bound(moments.isel(time=k)) for k in range(moments.sizes["time"])]
    infinite = problem.entropy > 0 and "position" in run
    value = np.where(infinite, np.inf, moments.energy.values)
    lower = np.array([bound.lower for bound in bounds])
    reasons = [NO_ENTROPY] if infinite else []
    reasons = [bound.reason for bound in bounds if bound.lower == -np.inf] + reasons
    found = xr.Dataset(
        {
            "value": ("time", value),
            "infimum": ("time", [bound.infimum for bound in bounds]),
            "lower_bound": ("time", lower),
            "gap": ("time", value - lower),
        },
        {"time": moments["time"]} if "time" in moments.coords else None,
        {
            "title": "certificate of optimality",
            "software": f"mfpde {__version__}",
            "problem": repr(problem),
            "penalty": repr(problem.penalty),
            "over": neurons.over,
            "reason": reasons[0] if reasons else "",
        },
    )
    return found.assign_attrs(summary=summary(found))


def summary(found: xr.Dataset) -> str:
    """The last gap in words."""
    last = found.isel(time=-1)
    gap, value = float(last.gap), float(last.value)
    if gap == np.inf:
        return f"no finite gap: {found.attrs['reason']}"
    return f"F = {value:.6g} is within {gap:.2g} of the least over {found.attrs['over']}"


def chosen(problem: Problem | KernelProblem, run: xr.Dataset, over: object) -> NeuronSet:
    """The set asked for, or the one that fits."""
    if not (over is None or over == "sphere" or isinstance(over, Grid | Mapping)):
        raise InvalidInput(f"over = {shown(over)}", "no such set of neurons is known", A_SET)
    if problem.entropy > 0:
        return cells(problem, run, over)
    if isinstance(problem, KernelProblem):
        return Nowhere(NO_BOUNDS)
    if over == "sphere":
        return checked_dual(OnSphere(reduced(problem)))
    if over is not None:
        return box(problem, over.box if isinstance(over, Grid) else over)  # type: ignore[arg-type]
    sphere = sphere_of(problem)
    return checked_dual(OnSphere(sphere)) if sphere else fitting_box(problem, run)


def cells(problem: Problem | KernelProblem, run: xr.Dataset, over: object) -> NeuronSet:
    """The cells of the grid that is given, or of a density run."""
    if not (over is None or isinstance(over, Grid)):
        raise InvalidInput(
            f"over = {shown(over)} with entropy {problem.entropy:g}",
            "with entropy the optimum is one over the densities on cells",
            "over=None for the cells of a density run, or a Grid",
        )
    if over is None and "position" in run:
        return Nowhere(NO_CELLS)
    grid = over if isinstance(over, Grid) else grid_of(run)
    if grid.coords != problem.coords:
        raise InvalidInput(f"the grid has axes {grid.coords}", f"neurons have {problem.coords}")
    return (OnKernelCells if isinstance(problem, KernelProblem) else OnCells)(problem, grid)  # type: ignore[arg-type]


def grid_of(run: xr.Dataset) -> Grid:
    """The cells of a density run."""
    edges = {name: run[f"{name}_edges"].values for name in coordinates(run)}
    return Grid(
        **{name: Axis(e, "default", False, f"{name} of the run") for name, e in edges.items()}
    )


def fitting_box(problem: Problem, run: xr.Dataset) -> NeuronSet:
    """The box of the domain where that bounds the weights, or that of a density run."""
    weights = problem.coords[int(problem.lifted) :]
    if all(c in bounded(problem) for c in weights):
        return box(problem, {})
    if "position" in run:
        return Nowhere(NO_SET)
    named = weights if only_output_weights(problem.penalty) else problem.coords
    return box(problem, {c: (run[c].attrs["low"], run[c].attrs["high"]) for c in named})


def box(problem: Problem, ends: Ends) -> NeuronSet:
    """A box: the ends given, those of the domain, and the line for output weights.

    Where output weights range over the line at the price s|a|, by the dual.
    """
    free = {problem.coords[0]: (-np.inf, np.inf)} if problem.lifted else {}
    low, high = corners(problem, free | bounded(problem) | dict(ends), "over")
    s = only_output_weights(problem.penalty)
    if s and low[0] == -np.inf and high[0] == np.inf:
        return checked_dual(OnFeatures(problem, low, high, s))
    return OnBox(problem, low, high)


def checked_dual(neurons: OnSphere | OnFeatures) -> NeuronSet:
    """The set, if its bounds can be had from the loss."""
    return Nowhere(NO_CONJUGATE) if neurons.loss.loss.conjugate is None else neurons
