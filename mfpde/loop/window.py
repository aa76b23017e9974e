"""A moving window: the grid that steps are made on follows the mass.

It has as many cells as the caller's grid and lies in its box. Along every axis but circles it holds
all but REST of the mass at either end, with some room to move. It changes where the mass has drawn
in, or comes near a rim that is no wall of the caller's; densities are carried over as steps move
them, conservatively and positively, and what lies outside is booked as escaped.

The precedent are velocity grids that are shifted by the bulk velocity and scaled by the thermal
speed (Taitano & Chacón, arXiv:1903.05467). Here the mass itself says where it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mfpde.flows.carrying import carried_over
from mfpde.flows.initial import checked_outside
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.grids.axis import Axis, uniform
from mfpde.grids.grid import Grid
from mfpde.loop.guards import State
from mfpde.methods.step import Method
from mfpde.problems.problem import Array

REST = 1e-12  # mass beyond each end of what is called the hull; cells resolve no steeper tails
MARGIN = 0.05  # of the hull's length, beside it in a new window
ROOM, NEAR = 4, 2  # cells beside the hull: in a new window at least, and before there is another
SLACK = 0.9  # of the present length: what needs less gets a shorter window
AHEAD = 4.0  # steps whose motion a new window has room for
TRAVEL = 0.25  # of the hull's length: how far its ends may move in a step, as they moved before
COLLAPSE = 0.5  # of the hull's length: the least that a step may leave of it
WIDEN = 0.5  # of the window's length, beyond a rim that mass has reached
LONGEST = 3.0  # hulls: rather than on a longer window a step is made shorter, PATIENCE times
PATIENCE = 8
FEW = 16  # cells: a hull of fewer is not resolved, and counts as that long
FINEST = 1e-9  # a cell's width over the box' distance from 0: faces are known to 1e-7 of it
OUTWARD = np.array([-1.0, 1.0])

Ends = NDArray[np.bool_]  # (D, 2), of every axis


class Window:
    """Where the mass is, how it moves, and the box to step in.

    Boxes are arrays (D, 2): the lower and the upper end of every axis.

    Attributes:
        flow: the equation on the caller's grid.
        box: that of the caller's grid.
        follows: (D, 1) along which axes the window moves; ``moves``: whether along any.
        hull: what leaves out REST of the mass at every end, as last seen.
        drift: velocities of the ends of the hull in the last step.
        count: how many windows there were.
        refused: how often the step in hand was.
        across: the fewest cells in a standard deviation of the mass, as last seen.
    """

    def __init__(self, flow: WassersteinFlow, method: Method) -> None:
        axes, cells = flow.grid.axes.values(), np.array(flow.grid.shape)[:, None]
        self.flow, self.order, self.box = flow, method.quadrature, box_of(flow.grid)
        follows = [method.window and axis.is_uniform and not axis.is_periodic for axis in axes]
        self.follows, self.moves = np.array(follows)[:, None], any(follows)
        self.margin = np.maximum(MARGIN, ROOM / np.maximum(cells - 2 * ROOM, 1))
        self.least = FINEST * cells * np.abs(self.box).max(axis=1, keepdims=True)
        self.hull, self.drift = self.box, np.zeros_like(self.box)
        self.count, self.refused, self.across = 1, 0, np.inf

    def first(self) -> WassersteinFlow:
        """The flow on the window of the initial law; refuses a law outside the caller's box."""
        if not self.moves:
            return self.flow
        law = self.flow.problem.initial
        checked_outside(law, self.flow.grid)
        reach = np.column_stack(law.reach(REST))
        is_atom = length(reach) == 0  # along this axis: as wide as the cells it is put into
        self.hull = np.where(is_atom, self.box, self.inside(reach))
        box = self.wanted(self.flow.grid, 0.0)
        flow = self.flow if box is None else self.flow_on(box)
        self.hull = hull_of(marginals(flow.start, flow.grid), flow.grid)
        return flow

    def flow_on(self, box: Array) -> WassersteinFlow:
        """The flow on a box within the caller's.

        Between two rims an axis is open, so that it shows what goes too far within a step; where
        mass diffuses it is closed, and where one end is a wall it is what that is.
        """
        if np.array_equal(box, self.box):
            return self.flow
        axes, still = {}, self.flow.entropy == 0
        ends = zip(self.flow.grid.axes.items(), box, self.rims(box), strict=True)
        for (name, axis), place, free in ends:
            walls = "open" if still and free.all() else self.flow.walls[name]
            axes[name] = part(axis, place, walls) if free.any() else axis
        return self.flow.within(Grid(**axes))

    def carried(self, state: State, box: Array) -> State:
        """A state on another box."""
        flow = self.flow_on(box)
        rho, outside = carried_over(state.rho, state.flow.grid, flow.grid, self.order)
        booked = (ends_left(state) + outside).tolist()
        escaped = {c: (low, high) for c, (low, high) in zip(state.escaped, booked, strict=True)}
        field = flow.field(rho)
        self.hull, self.count = hull_of(marginals(rho, flow.grid), flow.grid), self.count + 1
        return replace(state, flow=flow, rho=rho, field=field, escaped=escaped, tally=None)

    def longest(self, grid: Grid) -> float:
        """The longest step in which, at its drift, no end of the hull moves farther than TRAVEL."""
        if not self.moves:
            return np.inf
        rates = np.abs(self.drift) / (TRAVEL * resolved(self.hull, grid))
        fastest = float(rates.max(where=self.follows, initial=0.0))
        return 1.0 / fastest if fastest > 0 else np.inf

    def wanted(self, grid: Grid, dt: float) -> Array | None:
        """Another box for a step of length dt, along all axes along which that of ``grid`` is bad.

        Where it is but in the wrong place it is shifted by whole cells: nothing is interpolated.
        """
        if not self.moves:
            return None
        present, L = box_of(grid), length(self.hull)
        near = self.inside(extended(self.hull, dt * self.drift, NEAR * widths(grid)))
        ahead = np.clip(AHEAD * dt * self.drift, -TRAVEL * L, TRAVEL * L)
        needed = self.fitted(extended(self.hull, ahead, self.margin * L))
        shifted = self.shifted(present, needed, widths(grid))
        longer = np.where(holds(shifted, near), shifted, needed)
        box = np.where(holds(present, near), present, longer)
        shorter = length(needed) < SLACK * length(present)
        box = np.where(self.follows, np.where(shorter, needed, box), present)
        return None if np.array_equal(box, present) else box

    def shifted(self, present: Array, needed: Array, width: Array) -> Array:
        """The present box moved by whole cells towards the middle of the needed one."""
        away = 0.5 * (needed - present).sum(axis=1, keepdims=True)
        least, most = self.box[:, :1] - present[:, :1], self.box[:, 1:] - present[:, 1:]
        whole = np.clip(np.rint(away / width), np.ceil(least / width), np.floor(most / width))
        return present + whole * width

    def follow(self, before: State, after: State) -> Array | None:
        """Go along with a step; or the box on which to make a shorter one.

        That is a wider one where mass has reached a rim, as long as cells stay fine enough; else
        the present one, as also where mass has drawn in to a few cells.
        """
        if not self.moves:
            return None
        grid = after.flow.grid
        present, left = box_of(grid), ends_left(after) - ends_left(before)
        rims = self.rims(present)
        masses = marginals(after.rho, grid)
        hull = hull_of(masses, grid, rims * left)
        reached, self.refused = rims & (hull == present), self.refused + 1
        patient, resolvable = self.refused <= PATIENCE, resolved(self.hull, grid)
        if reached.any():
            wider = self.fitted(present + OUTWARD * reached * WIDEN * length(present))
            return np.where(patient & (length(wider) > LONGEST * resolvable), present, wider)
        collapsed = self.follows & (resolved(hull, grid) < COLLAPSE * resolvable)
        if patient and collapsed.any():
            return present
        self.drift, self.hull = (hull - self.hull) / (after.t - before.t), hull
        self.across = min(
            deviation(m) for m, moves in zip(masses, self.follows, strict=True) if moves
        )
        self.refused = 0
        return None

    def inside(self, box: Array) -> Array:
        """The part of a box within the caller's."""
        return np.clip(box, self.box[:, :1], self.box[:, 1:])

    def rims(self, box: Array) -> Ends:
        """Which ends of a box are no walls of the caller's."""
        return box != self.box

    def fitted(self, box: Array) -> Array:
        """A box within the caller's, no shorter than may be, and whole where nearly whole."""
        short = np.maximum(self.least - length(box), 0.0)
        fitting = self.inside(box + OUTWARD * 0.5 * short)
        return np.where(length(fitting) < SLACK * length(self.box), fitting, self.box)

    def saved(self, state: State) -> Array:
        """All that the windows to come depend on beside the state, (3, D, 2): box, hull, drift."""
        return np.stack([box_of(state.flow.grid), self.hull, self.drift])

    def restore(self, saved: Array) -> WassersteinFlow:
        """Go on from what was saved, and the flow on the window it was saved with."""
        box, self.hull, self.drift = saved
        return self.flow_on(box)


def part(axis: Axis, ends: Array, walls: str) -> Axis:
    """As many cells on a part of an axis."""
    return uniform(float(ends[0]), float(ends[1]), axis.cells, walls)  # type: ignore[arg-type]


def box_of(grid: Grid) -> Array:
    """The box of a grid."""
    return np.array(list(grid.box.values()))


def widths(grid: Grid) -> Array:
    """Widths of the cells of uniform axes, (D, 1)."""
    return length(box_of(grid)) / np.array(grid.shape)[:, None]


def length(box: Array) -> Array:
    """Lengths of a box, (D, 1)."""
    return box[:, 1:] - box[:, :1]


def resolved(hull: Array, grid: Grid) -> Array:
    """Lengths of a hull, (D, 1), not below those of FEW cells."""
    return np.maximum(length(hull), FEW * widths(grid))


def holds(box: Array, inner: Array) -> Ends:
    """Along which axes one box holds another, (D, 1)."""
    return np.all(OUTWARD * (box - inner) >= 0, axis=1, keepdims=True)


def extended(box: Array, motion: Array, margin: Array) -> Array:
    """What holds a box now and after its ends have moved, and a margin."""
    return box + OUTWARD * (np.maximum(OUTWARD * motion, 0.0) + margin)


def ends_left(state: State) -> Array:
    """Mass that left so far, (D, 2)."""
    return np.array(list(state.escaped.values()))


def marginals(rho: Array, grid: Grid) -> list[Array]:
    """Masses in the layers of cells across every axis."""
    cell, every = float(np.prod(widths(grid))), range(rho.ndim)
    return [cell * rho.sum(axis=tuple(j for j in every if j != k)) for k in every]


def hull_of(masses: list[Array], grid: Grid, left: Array | None = None) -> Array:
    """The box of cells beyond which, with what has ``left`` already, lies REST of the mass."""
    D = len(masses)
    hull, (below, above) = np.empty((D, 2)), np.zeros((2, D)) if left is None else left.T
    for k, (axis, mass) in enumerate(zip(grid.axes.values(), masses, strict=True)):
        first = int(np.argmax(below[k] + np.cumsum(mass) > REST))
        last = axis.cells - int(np.argmax(above[k] + np.cumsum(mass[::-1]) > REST))
        hull[k] = axis.edges[[first, last]]
    return hull


def deviation(mass: Array) -> float:
    """Standard deviation of masses in cells, in cells; inf where all mass has left."""
    if not mass.any():
        return np.inf
    cells = np.arange(len(mass))
    mean = np.average(cells, weights=mass)
    return float(np.sqrt(np.average((cells - mean) ** 2, weights=mass)))
