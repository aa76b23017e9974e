"""Guarded steps: the only place where time moves."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from mfpde.errors import InvalidInput, NumericalStop, StepRefused
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.loop.guards import (
    LEFT_OUT,
    RESOLVED,
    WALL_MASS,
    State,
    broken_promise,
    mass_escaped,
    mass_mismatch,
    unsound,
    wall_mass,
    warn_of_cells,
    warn_of_walls,
)
from mfpde.loop.window import Window, box_of
from mfpde.methods.step import Method, Stepper
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

MOST_REFUSALS = 12
MOST_STEPS = 10**9  # from one instant to the next; more would never end


class Loop:
    """A state, and how it moves by one guarded step."""

    def __init__(self, flow: WassersteinFlow, method: Method, tolerance: float) -> None:
        self.flow, self.method, self.tolerance = flow, method, tolerance
        self.window = Window(flow, method)
        self.bound = self.window.first()
        self.stepper: Stepper = method.begin(self.bound)
        start, nothing = self.bound.start, dict.fromkeys(flow.grid.coords, (0.0, 0.0))
        field = self.bound.field(start)
        self.state = State(0.0, 0, self.bound, start, field, nothing, 0.0)
        self.scale = max(abs(field.energy), abs(field.risk), resting_risk(flow.problem))
        self.rejected, self.wall_mass, self.cells_across = 0, 0.0, math.inf
        trouble = unsound(self.state, method, 0.0)
        if trouble is not None:
            raise InvalidInput(trouble.what, "the initial law or the features are not finite there")

    def advance(self, instant: float) -> None:
        """One step towards ``instant``, halved while it is refused.

        By the method's own estimate of its error and by the window as often as they take, by a
        guard a few times.
        """
        refusals, grid = 0, self.state.flow.grid
        longest = self.stepper.longest(self.state.rho, self.state.field)
        length = min(longest, self.window.longest(grid), instant - self.state.t)
        box = self.window.wanted(grid, length)
        if box is not None:
            self.place(box)
        while True:
            dt, t = paced(self.state.t, instant, length, self.method.adaptive)
            after, error = self.stepped(self.state, dt, t)
            trouble, length = None, 0.5 * dt
            if not 1.0 < error < math.inf:
                trouble = self.trouble(self.state, after, error, dt)
                refusals += trouble is not None
                if refusals > MOST_REFUSALS or (trouble and self.method.stride is not None):
                    break
                if trouble is None and self.holds(after):
                    break
            self.rejected += 1
        final = trouble or mass_mismatch(after)
        tolerance = self.tolerance + (LEFT_OUT if self.window.moves else 0.0)
        final = final or mass_escaped(after, self.flow.grid, tolerance)
        if final is not None:
            raise final
        self.state = after
        self.watch_walls()
        self.watch_cells()

    def holds(self, after: State) -> bool:
        """Whether the window holds the mass after a step; else it is widened where it leaks."""
        box = self.window.follow(self.state, after)
        if box is not None and not np.array_equal(box, box_of(self.state.flow.grid)):
            self.place(box)
        return box is None

    def place(self, box: Array) -> None:
        """Carry the state over to another window, and the stepper with its memory."""
        self.state = self.window.carried(self.state, box)
        self.bind(self.state.flow)

    def bind(self, flow: WassersteinFlow) -> None:
        """Step on the grid of ``flow`` from now on."""
        if flow is self.bound:
            return
        before, self.bound, self.stepper = self.stepper, flow, self.method.begin(flow)
        for kept in ("memory", "limited"):
            if hasattr(before, kept):
                setattr(self.stepper, kept, getattr(before, kept))

    def trouble(self, before: State, after: State, error: float, dt: float) -> NumericalStop | None:
        """What is wrong with a step that a shorter one may cure."""
        if not math.isfinite(error):
            return step_refused(before, self.method, dt)
        return unsound(after, self.method, dt) or broken_promise(
            before, after, self.scale, self.method, dt
        )

    def stepped(self, before: State, dt: float, t: float) -> tuple[State, float]:
        """The state after one step of the method, and the error it estimates."""
        with np.errstate(all="ignore"):  # the guards look at the outcome
            step = self.stepper.step(before.rho, before.field, dt)
            rho = np.ascontiguousarray(step.rho)  # in what order sums run must not depend on steps
            tally = step.tally
            if tally is None or tally.rho is not rho:
                tally = before.flow.tally(rho)
            field = before.flow.field(rho, tally)
        escaped = {
            c: (before.escaped[c][0] + low, before.escaped[c][1] + high)
            for c, (low, high) in step.escaped.items()
        }
        after = State(
            t,
            before.step + 1,
            before.flow,
            rho,
            field,
            escaped,
            before.carried + step.carried,
            before.dissipated + step.dissipated,
            tally,
        )
        return after, step.error

    def watch_walls(self) -> None:
        """Record, and say once, that mass lies at a closed wall of a line."""
        mass = wall_mass(self.state, self.flow.grid)
        if mass > WALL_MASS >= self.wall_mass:
            warn_of_walls(mass, self.state)
        self.wall_mass = max(self.wall_mass, mass)

    def watch_cells(self) -> None:
        """Record, and say once, that a window does not resolve what it follows."""
        count = self.window.across
        if count < RESOLVED <= self.cells_across:
            warn_of_cells(count, self.state)
        self.cells_across = min(self.cells_across, count)

    def counts(self) -> dict[str, Any]:
        """What a run says of its steps, in the end."""
        return (
            {
                "steps": self.state.step,
                "steps_repeated": self.rejected,
                "largest_wall_mass": self.wall_mass,
            }
            | self.counts_of_windows()
            | {f"limited_{name}": int(n) for name, n in self.limited.items()}
        )

    def counts_of_windows(self) -> dict[str, Any]:
        """How many there were, and the fewest of their cells in a standard deviation."""
        if not self.method.window:
            return {}
        return {"windows": self.window.count, "fewest_cells_across": self.cells_across}

    @property
    def limited(self) -> dict[str, int]:
        """How often the method's limiters acted."""
        return getattr(self.stepper, "limited", {})

    def saved(self) -> dict[str, Any]:
        """All that the steps to come depend on, as arrays and plain numbers."""
        memory = getattr(self.stepper, "memory", None)
        return {
            "t": self.state.t,
            "step": self.state.step,
            "rho": self.state.rho,
            "escaped": self.state.escaped,
            "carried": self.state.carried,
            "dissipated": self.state.dissipated,
            "rejected": self.rejected,
            "wall_mass": self.wall_mass,
            "limited": {name: int(n) for name, n in self.limited.items()},
            "memory": None if memory is None else asdict(memory),
            "window": self.window.saved(self.state),
            "windows": self.window.count,
            "cells_across": None if math.isinf(self.cells_across) else self.cells_across,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what was saved, bit for bit."""
        escaped = {c: (low, high) for c, (low, high) in saved["escaped"].items()}
        flow, rho = self.window.restore(saved["window"]), saved["rho"]
        self.bind(flow)
        self.state = State(
            saved["t"],
            saved["step"],
            flow,
            rho,
            flow.field(rho),
            escaped,
            saved["carried"],
            saved["dissipated"],
        )
        self.rejected, self.wall_mass = saved["rejected"], saved["wall_mass"]
        self.window.count, across = saved["windows"], saved["cells_across"]
        self.cells_across = math.inf if across is None else across
        self.limited.update(saved["limited"])
        for name, value in (saved["memory"] or {}).items():
            setattr(self.stepper.memory, name, value)  # type: ignore[attr-defined]


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


def paced(t: float, instant: float, longest: float, adaptive: bool = False) -> tuple[float, float]:
    """A step of at most ``longest`` so that equal steps land on ``instant`` exactly.

    Adaptive steps may grow: how many the first would make says nothing.
    """
    remaining = instant - t
    endless = not remaining / MOST_STEPS <= longest and not (adaptive and longest > 0)
    count = math.inf if endless else max(1.0, math.ceil(remaining / longest * (1 - 1e-12)))
    dt = remaining / count
    if t + dt == t:
        raise NumericalStop(
            f"the step vanished at t = {t:.6g}",
            f"the method allows dt ≤ {longest:.3g}: velocities grow without bound, or an error "
            "stays above the tolerance however short the step",
            "a smaller box, a problem whose potential stays bounded in it, or a larger tolerance",
        )
    return (dt, instant) if count == 1 else (dt, t + dt)
