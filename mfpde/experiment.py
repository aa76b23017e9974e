"""The main job: the density and particles of several widths on one data set, compared."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import xarray as xr

import mfpde as mf
import particle_ref as pr
from mfpde import error_budget, results
from mfpde.errors import MassEscaped, Stopped
from mfpde.loop.box import grid_on
from mfpde.loop.guards import State
from mfpde.loop.progress import chosen
from mfpde.measures import as_measure
from mfpde.problems.problem import Array
from mfpde.report import Outcome, findings
from mfpde.report.findings import Samples
from mfpde.signals import patiently, told

METHODS: dict[str, Callable[[], mf.Method]] = {
    "semi_lagrangian": mf.semi_lagrangian,
    "muscl": mf.muscl,
    "weno5": mf.weno5,
    "upwind": mf.upwind,
    "scharfetter_gummel": mf.scharfetter_gummel,
}
TIMES = 21
SHOWN = (0, 5, 10, 20)  # of the times: those that are drawn, and at which positions are kept
WIDER_BOXES = 3
TOLERANCE = 0.01  # to which networks should follow the density, of targets of scale 1
LONGEST_STEP = 0.01  # of particles under noise or on kinks, in units of time
T = TypeVar("T")
Tell = Callable[[Mapping[str, str]], None]


@dataclass(frozen=True)
class Plan:
    """What will be computed.

    ``why`` says where the horizon comes from, ``widened`` how often the box was.
    """

    samples: Samples
    problem: mf.Problem
    method: str
    grid: mf.Grid
    horizon: float
    why: str
    widths: tuple[int, ...]
    seeds: int
    widened: int = 0

    @property
    def times(self) -> Array:
        """The instants that are kept, from 0 to the horizon."""
        return np.linspace(0, self.horizon, TIMES)


def gradient_flow(problem: mf.Problem) -> pr.GradientFlow:
    """Of the order that the force's smoothness deserves; within 1e-5 in f, below the gaps."""
    if problem.activation is None or problem.activation.curvature is None:  # a kink, as of relu
        return pr.GradientFlow(rtol=1e-4, atol=1e-7, integrator="RK23")
    return pr.GradientFlow(rtol=1e-5, atol=1e-8, integrator="RK45")


def particle_method(problem: mf.Problem, dt: float, seed: int) -> pr.GradientFlow | pr.Langevin:
    """How particles follow the problem: under noise by steps of ``dt``."""
    return pr.Langevin(dt, seed) if problem.entropy > 0 else gradient_flow(problem)


def asked_of(plan: Plan) -> dict[str, str]:
    """The plan in words, line by line."""
    grid, samples = plan.grid, plan.samples
    scaled = "inputs" if plan.problem.loss.loss.labels else "inputs and target"
    megabytes = 8 * grid.cells / 2**20
    box = (f"{c} in [{low:.3g}, {high:.3g}]" for c, (low, high) in grid.box.items())
    widths = ", ".join(f"{m:,}" for m in plan.widths)
    return {
        "data": f"{samples.name}: {samples.target} from {', '.join(samples.inputs)}; "
        f"{scaled} standardised",
        "problem": repr(plan.problem),
        "penalty": repr(plan.problem.penalty),
        **({"entropy": f"λ = {plan.problem.entropy:g}"} if plan.problem.entropy else {}),
        "neurons": f"({', '.join(plan.problem.coords)}), at first {plan.problem.initial!r}",
        "box": ", ".join(box),
        "cells": f"{' × '.join(map(str, grid.shape))} = {grid.cells:,}",
        "memory": f"{megabytes:.3g} MiB a density, {TIMES * megabytes:.3g} MiB for {TIMES} times",
        "method": repr(METHODS[plan.method]()),
        "horizon": f"t = {plan.horizon:g}: {plan.why}",
        "particles": f"{widths} by {plan.seeds} seeds, and the density's own cells",
    }


def density_of(plan: Plan, folder: Path) -> xr.Dataset:
    """The density on the plan's grid, kept in a folder; a signal ends it after the step in hand."""
    line = chosen(None)
    with patiently() as received:

        def show(state: State, end: float) -> None:
            line(state, end)
            if received.first and state.t < end:
                raise Stopped(f"stopped at t = {state.t:.6g} of {end:.6g}", told())

        method = METHODS[plan.method]()
        run = mf.solve(plan.problem, plan.grid, method, plan.times, to=folder, progress=show)
    return run.load()


def flow_of(problem: mf.Problem, times: Array, start: tuple[int, pr.Cloud]) -> xr.Dataset:
    """The flow of a seed and its cloud; by small steps under noise, or along a kink."""
    seed, cloud = start
    span = float(times[1] - times[0])
    dt = span / math.ceil(span / LONGEST_STEP)
    try:
        return pr.run(problem, cloud, particle_method(problem, dt, seed), times)
    except pr.NumericalStop:
        if problem.entropy > 0 or not (problem.activation and problem.activation.kinks):
            raise
        return pr.run(problem, cloud, pr.Descent(dt), times)


def solved(plan: Plan, folder: Path, tell: Tell) -> tuple[Plan, xr.Dataset]:
    """The density, in a few wider boxes where mass escapes, and the plan with the last."""
    try:
        return plan, density_of(plan, folder / results.DENSITY)
    except MassEscaped as stop:
        if plan.widened == WIDER_BOXES:
            raise
        cells = dict(zip(plan.grid.coords, plan.grid.shape, strict=True))
        grid = grid_on(plan.problem, stop.box, cells)
        wider = replace(plan, grid=grid, widened=plan.widened + 1)
        tell({"again": f"{stop.what}; now {asked_of(wider)['box']}"})
        settle(wider, folder)
    return solved(wider, folder, tell)


def settle(plan: Plan, folder: Path) -> None:
    """Record what was chosen on the way to a plan, for those who go on."""
    results.choose(
        folder,
        horizon=plan.horizon,
        why=plan.why,
        box=plan.grid.box,
        cells=dict(zip(plan.grid.coords, plan.grid.shape, strict=True)),
        widened=plan.widened,
    )


def moved(
    plan: Plan, run: xr.Dataset, executor: Executor
) -> tuple[dict[int, list[xr.Dataset]], xr.Dataset]:
    """Particle flows by width, one for each seed, and that of the density's own cells."""
    widths = np.repeat(plan.widths, plan.seeds).tolist()
    starts = [(seed, pr.sample(plan.problem, m, seed)) for seed, m in enumerate(widths)]
    cells = pr.Cloud(*as_measure(findings.without_dust(run).isel(time=0)))
    starts += [(len(starts), cells)]
    found = executor.map(partial(flow_of, plan.problem, plan.times), reversed(starts))
    *drawn, own = reversed(list(counted(found, len(starts))))  # the longest came first
    groups = {m: drawn[k * plan.seeds :][: plan.seeds] for k, m in enumerate(plan.widths)}
    return groups, own


def budget_of(
    plan: Plan, run: xr.Dataset, flows: Mapping[int, list[xr.Dataset]], own: xr.Dataset
) -> mf.Budget | None:
    """What the gap is made of, from enough seeds; the own cells show the grid's part."""
    if plan.seeds < error_budget.FEWEST:
        return None
    quiet = None if plan.problem.entropy > 0 else own  # under noise its gap is not the grid's
    return mf.budget(run, flows, own=quiet, problem=plan.problem, tolerance=TOLERANCE)


def counted(flows: Iterable[T], total: int) -> Iterator[T]:
    """The same flows, counted at a terminal."""
    for done, flow in enumerate(flows, 1):
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r  particle run {done} of {total}", end=end, file=sys.stderr, flush=True)
        yield flow


def computed(plan: Plan, executor: Executor, folder: Path, tell: Tell) -> Outcome:
    """Density, particles and gaps.

    Args:
        plan: what to compute.
        executor: where; results do not depend on its workers.
        folder: where the density is kept.
        tell: called with names and values when the plan changes under way.
    """
    clock = [time.perf_counter()]
    plan, run = solved(plan, folder, tell)
    clock.append(time.perf_counter())
    flows, own = moved(plan, run, executor)
    clock.append(time.perf_counter())
    gaps = findings.gathered(run, flows, own, executor.map)
    clock.append(time.perf_counter())
    return Outcome(
        samples=plan.samples,
        asked=asked_of(plan),
        problem=plan.problem,
        run=run,
        flows=flows,
        own=own,
        gaps=gaps,
        budget=budget_of(plan, run, flows, own),
        shown=SHOWN,
        seconds=dict(zip(("density", "particles", "comparison"), np.diff(clock), strict=True)),
    )
