"""THE LOOP: the only place where time moves."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mfpde.errors import (
    InvalidInput,
    MassEscaped,
    MfpdeError,
    NotAvailable,
    NumericalStop,
    StepRefused,
)
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.grids.grid import Grid
from mfpde.loop.box import holding_box
from mfpde.loop.guards import (
    WALL_MASS,
    State,
    broken_promise,
    mass_escaped,
    mass_mismatch,
    unsound,
    wall_mass,
    warn_of_walls,
)
from mfpde.loop.progress import Progress, chosen, silent
from mfpde.loop.record import Keep, Recorder, Watch
from mfpde.loop.store import Store
from mfpde.methods.muscl import muscl
from mfpde.methods.scharfetter_gummel import scharfetter_gummel
from mfpde.methods.semi_lagrangian import declared, obstacle, semi_lagrangian
from mfpde.methods.step import Method, Stepper
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

MOST_HALVINGS = 12
MOST_STEPS = 10**9  # from one instant to the next; more would never end


def solve(
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method | None = None,
    times: ArrayLike = (0.0, 1.0),
    watch: Sequence[Watch] = (),
    to: str | os.PathLike[str] | Store | None = None,
    keep: Keep = "density",
    escaped_tolerance: float = 1e-6,
    progress: Progress | bool | None = None,
) -> xr.Dataset:
    """Solve ∂_t ρ = ∇·(ρ∇V_ρ) + λΔρ from the problem's initial law on a grid.

    Args:
        problem: what is minimised.
        grid: where the density lives.
        method: how to step; None chooses ``mf.scharfetter_gummel()`` for λ > 0, at λ = 0
            ``mf.semi_lagrangian()`` where it can step, else ``mf.muscl()``.
        times: instants to keep, increasing, from 0 on; the law itself stands at time 0. Steps land
            on them exactly.
        watch: pure functions of a snapshot (a Dataset with rho, prediction, risk, …) that return
            a number; kept under their own names.
        to: a folder (or ``mf.store``) to write the run to; it must not exist.
        keep: "density" keeps rho at all times; "marginals" one density per coordinate and the last
            rho; "last" the last rho only.
        escaped_tolerance: mass that may leave through open walls before the run is stopped.
        progress: None shows a line at a terminal; False is silent; a function gets (state, end).

    Returns:
        Dataset with dims time, the coords and sample; rho (cell averages), prediction, risk,
        energy, dissipation, mass, escaped, escaped_energy, x, y, weight, and how it was made in
        the attributes. mass + escaped = 1.

    Raises:
        InvalidInput: when problem, grid, method and times do not fit; for λ > 0 also where nothing
            confines the mass along a coordinate and no closed wall was named.
        NotAvailable: for λ > 0 and a method that does not diffuse.
        NumericalStop: when a guard stops the run; ``error.last`` is the run up to the last good
            state, and it is written to ``to``.
        AlreadyExists: when ``to`` exists.
    """
    instants = checked_times(times)
    check_tolerance(escaped_tolerance)
    if not isinstance(grid, Grid):
        raise InvalidInput(f"grid = {grid!r} is not a grid", fix="mf.Grid(a=…, w=…)")
    chosen_method = chosen_for(problem, grid, method)
    check_stride(chosen_method, instants)
    target = None if to is None else to if isinstance(to, Store) else Store(to)
    if target is not None:
        target.check_free()
    show = chosen(progress)
    try:
        run = evolved(problem, grid, chosen_method, instants, watch, keep, escaped_tolerance, show)
    except NumericalStop as stop:
        if isinstance(stop, MassEscaped):
            name_box(stop, problem, grid, chosen_method, instants[-1])
        kept = f"last good state at t = {float(stop.last.time[-1]):.6g}, as error.last"
        if target is not None:
            kept += written(target, stop.last)
        stop.keep(kept)
        raise
    if target is not None:
        target.write(run)
    return run


def written(target: Store, run: xr.Dataset) -> str:
    """Write a stopped run; where that fails too, the stop stays the error that is raised."""
    try:
        target.write(run)
    except MfpdeError as error:
        return f" (not written: {error.what})"
    return f" and in {target.path}"


def evolved(
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method,
    instants: Array,
    watch: Sequence[Watch] = (),
    keep: Keep = "density",
    escaped_tolerance: float = 1e-6,
    show: Progress = silent,
) -> xr.Dataset:
    """The run itself; a stop carries it as far as it came."""
    flow = WassersteinFlow(problem, grid, method.quadrature)
    recorder = Recorder(flow, method, keep, watch, escaped_tolerance)
    clock = Loop(flow, method, escaped_tolerance)
    try:
        for instant in instants:
            while clock.state.t < instant:
                clock.advance(instant)
                show(clock.state, instants[-1])
            recorder.append(clock.state)
    except NumericalStop as stop:
        if not recorder.states or recorder.states[-1]["time"] < clock.state.t:
            recorder.append(clock.state)
        stop.last = clock.finish(recorder)
        raise
    return clock.finish(recorder)


def name_box(
    stop: MassEscaped,
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method,
    horizon: float,
) -> None:
    """Put into the error the box that holds the mass to the end, found by coarse pilots."""
    cells = dict(zip(grid.coords, grid.shape, strict=True))
    try:
        smeared = method if method.promise == "monotone" else muscl()
        box = holding_box(evolved, problem, stop.box, cells, horizon, smeared)
    except MfpdeError as error:
        stop.fix = error.fix
        return
    stop.box = {
        c: (min(low, grid.box[c][0]), max(high, grid.box[c][1])) for c, (low, high) in box.items()
    }
    stop.fix = "the box " + ", ".join(
        f"{c}=({low:.4g}, {high:.4g})" for c, (low, high) in stop.box.items()
    )


class Loop:
    """A state, and how it moves by one guarded step."""

    def __init__(self, flow: WassersteinFlow, method: Method, tolerance: float) -> None:
        self.flow, self.method, self.tolerance = flow, method, tolerance
        self.stepper: Stepper = method.begin(flow)
        field = flow.field(flow.start)
        self.state = State(
            0.0, 0, flow.start, field, dict.fromkeys(flow.grid.coords, (0.0, 0.0)), 0.0
        )
        self.scale = max(abs(field.energy), abs(field.risk), resting_risk(flow.problem))
        self.rejected, self.wall_mass = 0, 0.0
        trouble = unsound(self.state, flow, method, 0.0)
        if trouble is not None:
            raise InvalidInput(trouble.what, "the initial law or the features are not finite there")

    def advance(self, instant: float) -> None:
        """One step towards ``instant``, halved while a guard refuses it."""
        before = self.state
        longest = min(self.stepper.longest(before.rho, before.field), instant - before.t)
        for halvings in range(MOST_HALVINGS + 1):
            dt, t = paced(before.t, instant, longest * 0.5**halvings)
            after, error = self.stepped(before, dt, t)
            last = halvings == MOST_HALVINGS or self.method.stride is not None
            if error > 1.0 and not last:  # the method's own estimate of it
                self.rejected += 1
                continue
            trouble = unsound(after, self.flow, self.method, dt) or broken_promise(
                before, after, self.scale, self.method, dt
            )
            if np.isinf(error):
                trouble = step_refused(before, self.method, dt)
            if trouble is None or last:
                break
            self.rejected += 1
        final = trouble or mass_mismatch(after, self.flow)
        final = final or mass_escaped(after, self.flow, self.tolerance)
        if final is not None:
            raise final
        self.state = after
        self.watch_walls()

    def stepped(self, before: State, dt: float, t: float) -> tuple[State, float]:
        """The state after one step of the method, and the error it estimates."""
        with np.errstate(all="ignore"):  # the guards look at the outcome
            step = self.stepper.step(before.rho, before.field, dt)
            field = self.flow.field(step.rho)
        escaped = {
            c: (before.escaped[c][0] + low, before.escaped[c][1] + high)
            for c, (low, high) in step.escaped.items()
        }
        after = State(
            t,
            before.step + 1,
            step.rho,
            field,
            escaped,
            before.carried + step.carried,
            before.dissipated + step.dissipated,
        )
        return after, step.error

    def watch_walls(self) -> None:
        """Record, and say once, that mass lies at a closed wall of a line."""
        mass = wall_mass(self.state, self.flow)
        if mass > WALL_MASS >= self.wall_mass:
            warn_of_walls(mass, self.state)
        self.wall_mass = max(self.wall_mass, mass)

    def finish(self, recorder: Recorder) -> xr.Dataset:
        """The recorder's dataset with the loop's counts."""
        limited = getattr(self.stepper, "limited", {})
        return recorder.dataset(self.state.step, self.rejected, self.wall_mass, limited)


def step_refused(state: State, method: Method, dt: float) -> StepRefused:
    """The method found no step from a state."""
    return StepRefused(
        f"StepRefused: {method.call} found no step from t = {state.t:.6g}, step {state.step}",
        f"its equation was not solved, even with dt = {dt:.3g}",
        "check the loss's slope and curvature; a shorter dt",
    )


def resting_risk(problem: Problem | KernelProblem) -> float:
    """The risk of predicting nothing: what the energy's round-off is measured against."""
    if isinstance(problem, KernelProblem):
        return abs(problem.const)
    return abs(problem.loss.risk(np.zeros(len(problem.y))))


def paced(t: float, instant: float, longest: float) -> tuple[float, float]:
    """A step of at most ``longest`` so that equal steps land on ``instant`` exactly."""
    remaining = instant - t
    count = max(1.0, math.ceil(remaining / longest * (1 - 1e-12))) if longest > 0 else math.inf
    dt = remaining / count
    if t + dt == t or count > MOST_STEPS:
        raise NumericalStop(
            f"the step vanished at t = {t:.6g}",
            f"the method allows dt ≤ {longest:.3g}: velocities grow without bound",
            "a smaller box, or a problem whose potential stays bounded in it",
        )
    return (dt, instant) if count == 1 else (dt, t + dt)


def checked_times(times: ArrayLike) -> Array:
    """Instants as an array: finite, at least 0, increasing."""
    try:
        instants = np.atleast_1d(np.asarray(times, dtype=float))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"times = {times!r} are not numbers", str(error)) from error
    good = instants.ndim == 1 and instants.size > 0 and bool(np.isfinite(instants).all())
    if not good or instants[0] < 0 or (np.diff(instants) <= 0).any():
        raise InvalidInput(
            f"times = {np.array2string(instants, threshold=6)}",
            "they are finite, increasing and start at 0 or later; the law stands at time 0",
            "times=np.linspace(0, 2, 21)",
        )
    return instants


def check_tolerance(tolerance: float) -> None:
    """A fraction of the mass."""
    if not 0 <= tolerance <= 1:
        raise InvalidInput(f"escaped_tolerance = {tolerance}", "a fraction of the mass, 0 to 1")


STRIDE_SLACK = 1e-9  # of t/dt from a whole number, relative


def check_stride(method: Method, instants: Array) -> None:
    """Raise unless a map in discrete time is asked for at its own times."""
    if method.stride is None:
        return
    near = np.rint(instants / method.stride) * method.stride
    astray = np.abs(near - instants) > STRIDE_SLACK * instants
    if astray.any():
        raise InvalidInput(
            f"the times {instants[astray].tolist()} are no multiples of dt = {method.stride:g}",
            f"{method.call} is at k·dt after k steps and nowhere else",
            f"ask for {near[astray].tolist()}, or choose another dt",
        )


def check_steppable(problem: Problem | KernelProblem, method: Method) -> None:
    """Raise where the method does not step the problem's diffusion."""
    if problem.entropy > 0 and not method.diffuses:
        raise NotAvailable(
            f"entropy = {problem.entropy:g} with {method.call}",
            "it does not step the diffusion λΔρ",
            "mf.scharfetter_gummel(), which does, or mf.semi_lagrangian() under ridge",
        )


def chosen_for(problem: Problem | KernelProblem, grid: Grid, method: Method | None) -> Method:
    """The caller's method, or the one that suits the problem."""
    if not isinstance(problem, Problem | KernelProblem):
        raise InvalidInput(f"problem = {problem!r} is not a problem", fix="mf.two_layer(x, y)")
    if method is not None and not isinstance(method, Method):
        raise InvalidInput(
            f"method = {method!r} is not a method",
            "a method is what its constructor returns, called",
            "mf.semi_lagrangian(), mf.muscl() or mf.upwind()",
        )
    if method is not None:
        check_steppable(problem, method)
        return method
    if problem.entropy > 0:
        return scharfetter_gummel()
    suits = isinstance(problem, Problem) and declared(problem)
    return semi_lagrangian() if suits and obstacle(problem, grid) is None else muscl()
