"""One coordinate moves, the others rest: the parts a semi-Lagrangian step is split into.

While the output weight a moves, ρ(·, w) is shifted rigidly by −∫g(w) dt, and as ∫ρ da rests the
prediction obeys a closed equation: the sweep is exact in time, its nonlocal coupling included.
While w_k moves, w_k' = −a ∂_k g, with g driven by the mean slope of the sweep.

Ridge and entropy are an Ornstein-Uhlenbeck process along every axis, solved exactly: of a after its
shift, as noise moves neither ∫ρ da nor ∫aρ da; of w_k in two halves around the flow of −a ∂_k g.

A sweep along one axis needs averages along it and point values along the others; with averages
everywhere the scheme would be of order 2 whatever the remap. Between sweeps along different axes a
density is point values along all of them, and a kernel converts its lines as they come and go.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from functools import partial

import numpy as np

from mfpde.errors import InvalidInput
from mfpde.flows.interaction import LiftedFeatures, PlainFeatures, steepest_curvature
from mfpde.flows.quadrature import CENTRES, converted
from mfpde.flows.table import FeatureTable
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.grids.axis import Axis
from mfpde.grids.grid import tensor_points
from mfpde.kernels.moments import moments
from mfpde.kernels.remap import remap_along
from mfpde.kernels.shift import shift
from mfpde.kernels.tiles import WALL, axis_view
from mfpde.methods.characteristics import (
    Kinks,
    PiecewiseFlow,
    SmoothFlow,
    grown,
    kinks_along,
    output_feet,
)
from mfpde.methods.diffusion import diffused
from mfpde.methods.residual import Drive, Kernel
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.losses import BoundLoss, square
from mfpde.problems.problem import Array, Problem

ROUNDING = 1e-12  # of a strength read off a gradient
EMPTY = 1e-16  # mass that all lines together may hold which rest because they hold next to none
UNSEEN = 1e-18  # mass too little to ask what energy it has


@dataclass(frozen=True)
class Density:
    """A density under way.

    Attributes:
        values: of the grid's shape.
        pointwise: per axis, whether ``values`` are point values along it, or averages.
        field: what the density exerted when the step began.
        escaped: mass that left, by coordinate: (lower wall, upper wall).
        carried: the energy it took along, by that field.
        limited: how often remaps, conversions and diffusion had to keep the sign.
    """

    values: Array
    pointwise: list[bool]
    field: Field
    escaped: dict[str, tuple[float, float]]
    carried: float = 0.0
    limited: dict[str, int] = dataclass_field(
        default_factory=lambda: {"remaps": 0, "conversions": 0, "diffusions": 0}
    )


@dataclass(frozen=True)
class Drift:
    """The penalty's own motion: reg = Σ_k μ_k θ_k²/2 + s|θ_0|."""

    mu: Array  # (D,)
    s: float


class Sweeps:
    """Moves of a flow's density along each of its coordinates."""

    def __init__(self, flow: WassersteinFlow, order: int) -> None:
        problem = flow.problem
        assert isinstance(problem, Problem)
        self.flow, self.problem, self.order = flow, problem, order
        self.room = flow.room
        self.names, self.axes = flow.grid.coords, list(flow.grid.axes.values())
        self.widths = [float(axis.widths[0]) for axis in self.axes]  # uniform, all of them
        self.walls = [flow.walls[name] for name in self.names]
        self.views = [axis_view(flow.volumes, k).shape for k in range(len(self.axes))]
        self.first = 1 if problem.lifted else 0  # the first coordinate that features depend on
        self.drift = drift_of(problem)
        self.axes_of_features = self.axes[self.first :]
        a = self.axes[0].centres if problem.lifted else np.ones(1)
        width = self.widths[0] if problem.lifted else 1.0
        self.a, self.rows = a, width * np.stack([np.ones_like(a), a, a**2])
        self.cell = math.prod(self.widths)
        self.volume = math.prod(self.widths[self.first :])
        assert isinstance(flow.interaction, LiftedFeatures | PlainFeatures)
        self.features = flow.interaction.table
        self.trace = self.features.squares(problem.weights)
        self.along = {
            k: Along(problem, self.axes_of_features, k - self.first)
            for k in range(self.first, len(self.axes))
        }

    @property
    def has_kinks(self) -> bool:
        """Whether features are piecewise linear."""
        return any(along.kinks is not None for along in self.along.values())

    def start(self, rho: Array, field: Field) -> Density:
        """A density with the field it exerts, as sweeps want it."""
        nothing = dict.fromkeys(self.names, (0.0, 0.0))
        if rho.ndim == 1:  # the only axis moves again and again
            return Density(np.ascontiguousarray(rho), [False], field, nothing)
        pointwise = [self.flow.quadrature > CENTRES] * rho.ndim
        density = Density(field.values, pointwise, field, nothing)
        return self.everywhere(density, to_points=True)

    def move(
        self, density: Density, k: int, dt: float, iterations: int = 0, stays: bool = False
    ) -> Density:
        """Coordinate k moves for a time dt.

        ``iterations`` > 0 replaces the predicted slope by the mean of those before and after the
        sweep, that many times over: the move is then symmetric in time, as a composition needs.
        The density ``stays`` averages along k where it moves along k again, or no more.
        """
        if k < self.first:
            return self.move_output(density, dt, stays)
        noise, mu = self.noise(k, 0.5 * dt), float(self.drift.mu[k])
        # contraction shrinks it to the noise of the first half: the remap contracts in both halves
        start = self.spread(density, k, noise * np.exp(mu * dt))
        along = self.along[k]
        masses, prediction = self.observed(start)
        contracted = prediction if mu == 0 else prediction - 0.5 * dt * mu * along.pull(masses)
        mean = along.drive(self.problem.loss, masses, prediction).over(dt, contracted) / dt
        moved = self.move_weight(start, k, dt, mean, stays)
        for _ in range(iterations):
            after = self.observed(moved)[1]
            loss = self.problem.loss
            mean = 0.5 * (loss.slope(prediction) + loss.slope(after))
            moved = self.move_weight(start, k, dt, mean, stays)
        return self.spread(moved, k, noise)

    def move_output(self, density: Density, dt: float, stays: bool = False) -> Density:
        """a' = −g − μa − s sign(a).

        With |a| the moving first moment no longer closes the equation of the prediction: what
        crosses or rests at 0 is only estimated, and the sweep is made twice, the second time with
        the mean slope of before and after, which keeps order 2.
        """
        mu, s = float(self.drift.mu[0]), self.drift.s
        # what sticks at 0 is rough there: its moments are those of averages
        start = self.converted(density, 0, to_points=False) if s > 0 else density
        (m0, _, _), prediction = self.observed(start)
        drive = Drive(
            self.problem.loss,
            kernel=tangent(self.features, m0, self.problem.loss),
            rate=float(m0 @ self.trace) * steepest_curvature(self.problem.loss, prediction),
            decay=mu,
        )
        # S carries e^{−μ(dt − τ)}; a constant drift does the same over the step
        constant = dt if mu == 0 else -np.expm1(-mu * dt) / mu
        slope = drive.over(dt, prediction) / constant
        moved = self.shifted(start, self.features.combine(slope), dt, stays or s > 0)
        if s > 0:
            before, after = prediction, self.observed(moved)[1]
            loss = self.problem.loss
            slope = 0.5 * (loss.slope(before) + loss.slope(after))
            moved = self.shifted(start, self.features.combine(slope), dt, stays)
        return self.spread(moved, 0, self.noise(0, dt))

    def shifted(self, start: Density, drift: Array, dt: float, stays: bool) -> Density:
        """a' = −drift(w) − μa − s sign(a)."""
        if not math.isfinite(drift.sum()):  # the loop sees it and stops
            return replace(start, values=np.full_like(start.values, np.nan))
        axis, width = self.axes[0], self.widths[0]
        mu, s = float(self.drift.mu[0]), self.drift.s
        if mu == s == 0 and self.walls[0] != "periodic":
            cells = drift[None] * (dt / width)
            return self.moved(start, 0, stays, partial(shift, shifts=cells))
        if s == 0:  # feet are sums of what a face and what a line adds
            faces = (grown(axis.edges, np.zeros(1), mu, dt) - axis.low) / width
            offsets = grown(np.zeros(1), drift, mu, dt) / width
            nodes = np.stack([faces, np.ones_like(faces)])[:, None, :, None]
            weights = np.column_stack([np.ones_like(offsets), offsets])
            return self.remapped(start, nodes, weights, 0, stays)
        feet = (output_feet(axis.edges, drift, mu, s, dt) - axis.low) / width
        return self.remapped(start, feet[None, None], np.ones((1, 1)), 0, stays)

    def move_weight(self, start: Density, k: int, dt: float, slope: Array, stays: bool) -> Density:
        """w_k' = −a ∂_k g − μ_k w_k, the ridge in two halves around the flow of −a ∂_k g."""
        if not math.isfinite(slope.sum()):  # there are no feet: the loop refuses the step
            return replace(start, values=np.full_like(start.values, np.nan))
        axis, growth = self.axes[k], math.exp(0.5 * float(self.drift.mu[k]) * dt)
        field = self.along[k].field(slope, axis.low, self.widths[k], self.walls[k], self.order)
        faces = self.grown(np.arange(axis.cells + 1.0), k, growth)
        if isinstance(field, SmoothFlow):
            weights, nodes = field.interpolated(faces, self.a, dt)
        else:
            weights, nodes = np.ones((1, 1)), field.feet(faces, self.a, dt)
            nodes = nodes.reshape(1, -1, *nodes.shape[2:])
        return self.remapped(start, self.grown(nodes, k, growth), weights, k, stays)

    def grown(self, places: Array, k: int, growth: float) -> Array:
        """Places along axis k, in cells, that many times as far from 0."""
        if growth == 1.0:
            return places
        centre = -self.axes[k].low / self.widths[k]
        return (places - centre) * growth + centre

    def noise(self, k: int, dt: float) -> float:
        """Variance λ(1 − e^{−2μdt})/μ that coordinate k gathers in a time dt under its ridge."""
        mu = float(self.drift.mu[k])
        return self.flow.entropy * (2.0 * dt if mu == 0 else -float(np.expm1(-2.0 * mu * dt)) / mu)

    def spread(self, density: Density, k: int, variance: float) -> Density:
        """The density convolved along axis k with a Gaussian."""
        if variance == 0:
            return density
        in_cells = variance / self.widths[k] ** 2
        values, count = diffused(density.values, k, self.walls[k], self.order, in_cells)
        limited = density.limited | {"diffusions": density.limited["diffusions"] + count}
        return replace(density, values=values, limited=limited)

    def everywhere(self, density: Density, to_points: bool) -> Density:
        """The density as point values, or as averages, along all axes."""
        for k in range(len(self.axes)):
            density = self.converted(density, k, to_points)
        return density

    def converted(self, density: Density, k: int, to_points: bool) -> Density:
        """The density as point values or as averages along axis k."""
        if density.pointwise[k] == to_points:
            return density
        wall, result = self.walls[k], self.room.empty()
        values, count = converted(density.values, k, wall, self.order, to_points, result=result)
        pointwise = [to_points if j == k else p for j, p in enumerate(density.pointwise)]
        limited = density.limited | {"conversions": density.limited["conversions"] + count}
        return replace(density, values=values, pointwise=pointwise, limited=limited)

    def observed(self, density: Density) -> tuple[Array, Array]:
        """Moments ∫a^m ρ da (3, N_v), m = 0, 1, 2, as masses at the points, and the prediction."""
        tally = density.field.tally
        if self.first and density.values is tally.rho:
            of_a = tally.moments[:3]
        else:
            of_a = moments(density.values.reshape(len(self.a), -1), self.rows)
        for j in range(self.first, len(self.axes)):
            if not density.pointwise[j]:
                there = of_a.reshape(3, *(axis.cells for axis in self.axes_of_features))
                wall, k = self.walls[j], j - self.first + 1
                of_a, _ = converted(there, k, wall, self.order, to_points=True, limited=False)
        masses = of_a.reshape(3, -1) * self.volume
        return masses, self.features.integrate(masses[1])

    def remapped(
        self, start: Density, nodes: Array, weights: Array, k: int, stays: bool
    ) -> Density:
        """The density whose faces come from feet Σ_c weights[:, c] nodes[c], in cells."""
        if not math.isfinite(nodes.sum()):  # as above
            return replace(start, values=np.full_like(start.values, np.nan))
        faces = nodes.shape[2]
        lines = np.ascontiguousarray(nodes.swapaxes(2, 3)).reshape(len(nodes), -1, faces)
        remap = partial(remap_along, nodes=lines, weights=weights)
        return self.moved(start, k, stays, remap)

    def moved(
        self, start: Density, k: int, stays: bool, remap: Callable[..., tuple[int, int]]
    ) -> Density:
        """The density that a kernel makes of it along axis k."""
        values, (outer, cells, inner) = self.room.empty(), self.views[k]
        out = np.zeros((2, outer * inner))
        remaps, conversions = remap(
            start.values.reshape(outer, cells, inner),
            order=self.order,
            wall=WALL[self.walls[k]],
            result=values.reshape(outer, cells, inner),
            out=out.reshape(2, outer, inner),
            enters=start.pointwise[k],
            leaves=not stays,
            empty=EMPTY * cells / (self.cell * values.size),
        )
        escaped, carried, limited = start.escaped, start.carried, start.limited.copy()
        low, high = (self.cell * out.sum(axis=1)).tolist()
        if low + high > 0:
            before = escaped[self.names[k]]
            escaped = escaped | {self.names[k]: (before[0] + low, before[1] + high)}
        if low + high > UNSEEN:
            V_low, V_high = start.field.at_walls[k]
            carried += self.cell * float(out[0] @ V_low + out[1] @ V_high)
        limited["remaps"] += remaps
        limited["conversions"] += conversions
        pointwise = start.pointwise.copy()
        pointwise[k] = not stays
        return Density(values, pointwise, start.field, escaped, carried, limited)


class Along:
    """What a move along one coordinate of the features needs: their slopes along it."""

    def __init__(self, problem: Problem, axes: list[Axis], k: int) -> None:
        n = len(problem.y)
        centres = [axis.centres for axis in axes]
        slopes = partial(slopes_along, problem, k)
        self.at_centres = FeatureTable(slopes, tensor_points(tuple(centres)), n)
        self.trace = self.at_centres.squares(problem.weights)
        self.place = tensor_points(tuple(centres))[:, k]
        self.k, self.shape = k, tuple(axis.cells + (j == k) for j, axis in enumerate(axes))
        self.kinks: Kinks | None = None
        if problem.activation is not None and problem.activation.kinks:
            self.kinks = kinks_of(problem, axes, k)
        else:
            at_faces = tuple(axes[j].edges if j == k else c for j, c in enumerate(centres))
            self.at_faces = FeatureTable(slopes, tensor_points(at_faces), n)

    def drive(self, loss: BoundLoss, masses: Array, prediction: Array) -> Drive:
        """The prediction's equation while this coordinate moves: K_ij = ∫a² ∂_kψ_i ∂_kψ_j dρ."""
        second = masses[2]
        return Drive(
            loss,
            kernel=tangent(self.at_centres, second, loss),
            rate=float(second @ self.trace) * steepest_curvature(loss, prediction),
        )

    def pull(self, masses: Array) -> Array:
        """How fast a unit ridge here lowers the prediction: ∫a w_k ∂_kψ_i dρ, (n,)."""
        return self.at_centres.integrate(masses[1] * self.place)

    def field(
        self, slope: Array, low: float, width: float, wall: str, order: int
    ) -> SmoothFlow | PiecewiseFlow:
        """v = −∂_k g in cells per unit of τ."""
        if self.kinks is not None:
            return self.kinks.flow(slope, low, width)
        v = self.at_faces.combine(slope).reshape(self.shape) / -width
        return SmoothFlow(axis_view(v, self.k), WALL[wall], order)


def tangent(table: FeatureTable, measure: Array, loss: BoundLoss) -> Kernel:
    """K_ij = ∫ψ_i ψ_j: its matrix where it is small and a series takes it, else a function."""
    if loss.loss is square and table.pairs_easily:
        return table.paired(measure)
    return lambda slope: table.integrate(measure * table.combine(slope))


def slopes_along(problem: Problem, k: int, points: Array) -> Array:
    """∂_k ψ_i, (N, n)."""
    assert problem.dphi is not None
    return problem.dphi(points)[:, :, k]


def kinks_of(problem: Problem, axes: list[Axis], k: int) -> Kinks:
    """Kinks of a piecewise linear network along coordinate k, on the lines through the centres."""
    assert problem.activation is not None
    at_zero = tuple(np.zeros(1) if j == k else axis.centres for j, axis in enumerate(axes))
    outer = int(np.prod([axis.cells for axis in axes[:k]], dtype=int))
    others = tensor_points(at_zero).reshape(outer, -1, len(axes))
    return kinks_along(problem.activation, problem.directions, k, others)


def substitute(problem: Problem | KernelProblem) -> str:
    """The method that steps what semi_lagrangian cannot."""
    return "mf.scharfetter_gummel()" if problem.entropy > 0 else "mf.muscl()"


def drift_of(problem: Problem) -> Drift:
    """Ridge strengths and the strength of |a|, read off the penalty's gradient.

    Raises:
        InvalidInput: for any other penalty.
    """
    D, gradient = problem.dimension, problem.penalty.gradient
    once, twice = (np.diag(gradient(m * np.eye(D))) for m in (1.0, 2.0))
    mu = twice - once
    s = float(once[0] - mu[0]) if problem.lifted else 0.0
    s = 0.0 if abs(s) <= ROUNDING * abs(once[0]) else s
    normal = np.random.default_rng(0).normal(size=(16, D))
    probes = np.concatenate([scale * normal for scale in (1e-3, 1.0, 1e3)])
    expected = probes * mu
    expected[:, 0] += s * np.sign(probes[:, 0])
    if s < 0 or not np.allclose(gradient(probes), expected, rtol=1e-9, atol=1e-12):
        raise InvalidInput(
            f"semi_lagrangian cannot follow the penalty {problem.penalty!r}",
            "its steps are closed forms of ridge and |a| penalties",
            f"method={substitute(problem)}",
        )
    return Drift(mu, s)
