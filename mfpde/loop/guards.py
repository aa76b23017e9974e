"""What is checked after every step, and the paragraph that stops a run.

A guard returns the error it found, or None; the loop decides whether a shorter step may cure it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from mfpde.errors import (
    EnergyMismatch,
    EnergyRise,
    MassEscaped,
    MassMismatch,
    NegativeDensity,
    NonFinite,
    NumericalStop,
    UnconfinedMass,
    UnresolvedMass,
)
from mfpde.flows.tally import Tally
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.grids.grid import Grid
from mfpde.methods.step import Method
from mfpde.problems.problem import Array

MASS_SLACK = 1e-10  # round-off of 10⁶ steps; a wrong flux shows at once
ENERGY_SLACK = 1e-12  # of the energy's scale
WALL_MASS = 1e-6  # mass in the outermost cells at a closed wall of a line
RESOLVED = 2.0  # cells in a standard deviation; on fewer, remaps smear what they move
LEFT_OUT = 1e-9  # mass that all windows of a run may leave out: 1e-12 at an end of each at most
WIDEN = 0.3  # of the axis' length, on the side that leaks


@dataclass(frozen=True)
class State:
    """Where a run stands.

    Attributes:
        t: time.
        step: steps taken.
        flow: the equation on the grid of ``rho``.
        rho: cell averages.
        field: what ``rho`` exerts.
        escaped: mass that left so far, by coordinate: (lower wall, upper wall).
        carried: the energy it took along.
        dissipated: the energy lost since time 0 by the steps' own account.
        tally: what was counted of ``rho``.
    """

    t: float
    step: int
    flow: WassersteinFlow
    rho: Array
    field: Field
    escaped: dict[str, tuple[float, float]]
    carried: float
    dissipated: float = 0.0
    tally: Tally | None = None

    @property
    def lost(self) -> float:
        """Mass that left through all walls."""
        return float(sum(sum(pair) for pair in self.escaped.values()))


def counted(state: State) -> Tally:
    """What a pass over the density counts, where none has yet."""
    tally = state.tally
    return tally if tally is not None and tally.rho is state.rho else state.flow.tally(state.rho)


def where(state: State, index: int) -> str:
    """The cell with the flat ``index``, the time and the step, for a reader."""
    grid = state.flow.grid
    cell = np.unravel_index(index, grid.shape)
    place = ", ".join(f"{c[k]:.4g}" for c, k in zip(grid.centres, cell, strict=True))
    return f"({', '.join(grid.coords)}) = ({place}), t = {state.t:.6g}, step {state.step}"


def unsound(state: State, method: Method, dt: float) -> NumericalStop | None:
    """A density or an account that is not finite, or below zero; a shorter step may cure it."""
    field, tally = state.field, counted(state)
    lowest, accounts = float(tally.least.min()), [state.carried, state.dissipated]
    with np.errstate(invalid="ignore", over="ignore"):  # inf − inf, which is what is looked for
        sums = [np.sum(tally.moments[0]), np.sum(field.response)]
    numbers = [*sums, field.energy, field.stiffness, *accounts]
    if not np.isfinite(numbers).all():
        sound = np.isfinite(state.rho)
        if sound.all():  # one bad cell spoils all of V: rho is asked first
            sound = np.isfinite(field.potential)
        name = "rho or V" if np.isfinite(accounts).all() else "the energy of what left"
        return NonFinite(
            f"NonFinite: {name} is not a number at {where(state, int(np.argmin(sound)))}",
            f"a step dt = {dt:.3g} of {method.call} overflowed, or a feature or slope is no number",
            "check phi and the loss at large neurons; a smaller box; a smaller cfl",
        )
    if lowest < 0:
        return NegativeDensity(
            f"NegativeDensity: rho = {lowest:.2e} at {where(state, int(np.argmin(state.rho)))}",
            f"dt = {dt:.3g} exceeds the positivity bound of {method.call}",
            "leave dt out (automatic), or a smaller cfl",
        )
    return None


def broken_promise(
    before: State, after: State, scale: float, method: Method, dt: float
) -> NumericalStop | None:
    """What the energy did, with what left through walls, against what the method promises."""
    rise = (after.field.energy + after.carried) - (before.field.energy + before.carried)
    size = max(scale, abs(before.field.energy), abs(before.carried))  # of what round-off is a part
    if method.promise == "exact":
        dissipated = after.dissipated - before.dissipated
        defect = rise + dissipated
        if np.isfinite(defect) and abs(defect) <= ENERGY_SLACK * max(size, abs(dissipated)):
            return None
        return EnergyMismatch(
            f"EnergyMismatch: the energy changed by {rise:.6e}, the step dissipated "
            f"{dissipated:.6e}, at t = {after.t:.6g}, step {after.step}",
            f"{method.call} promises that they cancel, and dt = {dt:.3g} was halved many times; "
            "the loss's slope may be wrong",
            "check the loss's slope against its value",
        )
    if method.promise != "monotone" or rise <= ENERGY_SLACK * size:
        return None
    return EnergyRise(
        f"EnergyRise: the energy rose by {rise:.2e} at t = {after.t:.6g}, step {after.step}",
        f"{method.call} promises that it never does, and dt = {dt:.3g} was halved many times; "
        "the loss may be non-convex or its slope wrong",
        "check the loss's slope against its value; a smaller cfl",
    )


def mass_mismatch(state: State) -> NumericalStop | None:
    """Mass inside plus mass escaped is not one."""
    error = float(counted(state).moments[0] @ state.flow.cells) + state.lost - 1.0
    if abs(error) <= MASS_SLACK:
        return None
    return MassMismatch(
        f"MassMismatch: mass + escaped − 1 = {error:.2e} at t = {state.t:.6g}, step {state.step}",
        "a conservative method cannot lose mass: this is a defect of the method",
        "please report it with the run's attributes",
    )


def mass_escaped(state: State, grid: Grid, tolerance: float) -> NumericalStop | None:
    """More than ``tolerance`` left through open walls of the caller's grid."""
    if state.lost <= tolerance * (1 + MASS_SLACK):  # all of the mass is 1 to round-off
        return None
    error = MassEscaped(
        f"MassEscaped: {state.lost:.2e} of the mass left the box by t = {state.t:.6g}, "
        f"step {state.step}",
        f"escaped_tolerance = {tolerance:g}; "
        + ", ".join(
            f"{c}: {lo:.1e} below, {hi:.1e} above" for c, (lo, hi) in state.escaped.items()
        ),
        "a wider box: mf.fit_grid(problem, horizon=…)",
    )
    error.box = wider_box(grid, state.escaped)
    return error


def wider_box(
    grid: Grid, escaped: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """The grid's box, longer by WIDEN on every side through which a tenth of the loss went."""
    most = max(max(pair) for pair in escaped.values())
    box = {}
    for name, (low, high) in grid.box.items():
        margin = WIDEN * (high - low)
        below, above = (leak > 0.1 * most for leak in escaped[name])
        box[name] = (low - margin * below, high + margin * above)
    return box


def wall_mass(state: State, grid: Grid) -> float:
    """The largest mass in the outermost cells at a closed wall of a line, of the caller's grid.

    Where mass diffuses and the caller named the wall, the box is the domain: mass belongs there.
    """
    flow, heaviest = state.flow, 0.0
    for k, (name, axis) in enumerate(grid.axes.items()):
        is_domain = flow.entropy > 0 and axis.walls == "closed"
        if (
            flow.walls[name] == "closed"
            and flow.problem.domain[name].kind == "line"
            and not is_domain
        ):
            for end in (0, -1):
                if flow.grid.axes[name].edges[end] == axis.edges[end]:  # no rim of a window
                    layer = np.take(state.rho, end, axis=k)
                    volumes = np.take(flow.volumes, end, axis=k)
                    heaviest = max(heaviest, float(np.vdot(layer, volumes)))
    return heaviest


def warn_of_walls(mass: float, state: State) -> None:
    """Say once that a closed wall holds mass that the flow would carry on."""
    warnings.warn(
        UnconfinedMass(
            f"{mass:.1e} of the mass lies in the outermost cells at a closed wall of a line, "
            f"t = {state.t:.6g}: the wall holds it there, not the flow; use a wider box"
        ),
        stacklevel=7,  # the line that called solve
    )


def warn_of_cells(count: float, state: State) -> None:
    """Say once that a window's cells no longer resolve what they follow."""
    warnings.warn(
        UnresolvedMass(
            f"{count:.2g} cells lie in a standard deviation of the mass, t = {state.t:.6g}: its "
            "window does not resolve it, and the density is smeared; use more cells or a higher "
            "order"
        ),
        stacklevel=7,  # the line that called solve
    )
