"""How neurons see each other: what ρ shows (an observation) and the potential it exerts.

Three structures of one risk R(ρ), each with V_R = δR/δρ at the cell centres, exactly the derivative
of the discrete risk:

- lifted features, Φ(a, v) = a ψ(v): only the first moment A1(v) = ∫aρ da enters f, and V = a·g(v),
  so a pass costs O(n·N_v + N_cells), never samples × cells (Chizat & Bach 2018, §2.1);
- plain features Φ(θ): f = ∫Φ dρ, V = Φ·slope;
- a kernel: R = ½∬Kρρ − ∫Fρ + const, V = Kρ − F.

V_R is a fixed part (−F, or 0) and a part linear in the response z: the risk's slope, or Kρ. With
the mean response of two densities, risk(ρ') − risk(ρ) = ∫V_R d(ρ' − ρ) exactly: the mean-value form
of the chain rule, from which discrete energy laws are made.

``stiffness`` bounds how fast the observed residual can move: for the square loss r' = −M r with
M_ij = ∫∇Φ_i·∇Φ_j dρ p_j, and trace M ≥ λ_max(M). It is linear in ρ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InvalidInput
from mfpde.flows.table import FeatureTable
from mfpde.flows.tally import Tally, counted
from mfpde.grids.axis import Axis
from mfpde.grids.grid import Grid, along, tensor_points
from mfpde.kernels.moments import moments
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.losses import BoundLoss
from mfpde.problems.problem import Array, Problem

MOST_KERNEL_CELLS = 4096


@dataclass(frozen=True)
class Observation:
    """What a density shows.

    Attributes:
        prediction: f, (n,); empty for a kernel.
        risk: R(ρ).
        stiffness: an upper estimate of the residual's fastest rate, 1/time.
        response: what the potential is made of: the risk's slope (n,), or Kρ (cells,).
        size: of the terms that cancel in the response; its round-off is a part of this.
    """

    prediction: Array
    risk: float
    stiffness: float
    response: Array
    size: float


class Interaction(Protocol):
    """One of the three structures above."""

    @property
    def fixed(self) -> Array | float:
        """The part of V_R that no density moves, of the grid's shape or 0."""

    def observe(self, rho: Array, tally: Tally | None = None) -> Observation:
        """Prediction and risk of ``rho`` of the grid's shape; ``tally`` where it is known."""

    def exerted(self, response: Array) -> Array:
        """V_R without its fixed part at the cell centres, linear in the response."""

    def mean_response(self, before: Observation, after: Observation, theta: float = 0.5) -> Array:
        """A response between two densities' own: (2 − 2θ) times the mean, (2θ − 1) the later one.

        At θ = ½ its potential does exactly the work risk(after) − risk(before); at θ = 1 it is the
        later response, and does more by the risk's Bregman distance.
        """

    def mean_change(
        self, before: Observation, after: Observation, change: Array, theta: float = 0.5
    ) -> Array:
        """The derivative of ``mean_response`` as the later density moves along ``change``."""


def interaction_of(
    problem: Problem | KernelProblem, grid: Grid, walls: Sequence[str]
) -> Interaction:
    """The structure that fits the problem; ``walls`` of every axis."""
    if isinstance(problem, KernelProblem):
        return KernelPairs(problem, grid, walls)
    if problem.lifted:
        return LiftedFeatures(problem, grid, walls)
    return PlainFeatures(problem, grid, walls)


class LiftedFeatures:
    """f = Σ_v ψ(v) A1(v), V = a g(v), g = ψ·slope."""

    def __init__(self, problem: Problem, grid: Grid, walls: Sequence[str]) -> None:
        first, *others = grid.axes.values()
        self.loss, self.shape = problem.loss, grid.shape
        self.a = first.centres
        centres = tuple(axis.centres for axis in others)
        widths = tuple(axis.widths for axis in others)
        points = tensor_points(centres)
        self.cells = tensor_points(widths).prod(axis=1)  # (N_v,) volumes
        self.table = FeatureTable(problem.phi, points, len(problem.y))
        self.rows = first.widths * np.stack([np.ones_like(self.a), self.a, self.a**2])
        self.fixed = 0.0
        # |∇Φ_i|² = ψ_i² + a²|∇ψ_i|², summed over samples with weights p_i
        self.values = self.table.squares(problem.weights)
        self.slopes = drop_squares(self.table, problem.weights, others, walls[1:])

    def observe(self, rho: Array, tally: Tally | None = None) -> Observation:
        known = counted(rho, self.rows) if tally is None else tally
        m0, m1, m2 = known.moments[:3] * self.cells
        prediction = self.table.integrate(m1)
        squares = float(m2 @ self.values)
        return feature_observation(
            self.loss, prediction, float(m0 @ self.values + m2 @ self.slopes), squares
        )

    def exerted(self, response: Array) -> Array:
        return np.multiply.outer(self.a, self.table.combine(response)).reshape(self.shape)

    def mean_response(self, before: Observation, after: Observation, theta: float = 0.5) -> Array:
        return mean_slope(self.loss, before, after, theta)

    def mean_change(
        self, before: Observation, after: Observation, change: Array, theta: float = 0.5
    ) -> Array:
        _, m1, _ = moments(change.reshape(len(self.a), -1), self.rows) * self.cells
        return mean_curvature(self.loss, before, after, theta) * self.table.integrate(m1)


class PlainFeatures:
    """f = Σ_θ Φ(θ) ρ(θ), V = Φ·slope."""

    def __init__(self, problem: Problem, grid: Grid, walls: Sequence[str]) -> None:
        self.loss, self.shape, self.fixed = problem.loss, grid.shape, 0.0
        self.volumes = grid.volumes.ravel()
        points = grid.points()
        self.table = FeatureTable(problem.phi, points, len(problem.y))
        self.values = self.table.squares(problem.weights)
        axes = tuple(grid.axes.values())
        self.slopes = drop_squares(self.table, problem.weights, axes, walls)

    def observe(self, rho: Array, tally: Tally | None = None) -> Observation:
        masses = rho.ravel() * self.volumes
        prediction = self.table.integrate(masses)
        return feature_observation(
            self.loss, prediction, float(masses @ self.slopes), float(masses @ self.values)
        )

    def exerted(self, response: Array) -> Array:
        return self.table.combine(response).reshape(self.shape)

    def mean_response(self, before: Observation, after: Observation, theta: float = 0.5) -> Array:
        return mean_slope(self.loss, before, after, theta)

    def mean_change(
        self, before: Observation, after: Observation, change: Array, theta: float = 0.5
    ) -> Array:
        seen = self.table.integrate(change.ravel() * self.volumes)
        return mean_curvature(self.loss, before, after, theta) * seen


class KernelPairs:
    """R = ½mᵀKm − F·m + const, V = Km − F, with the dense matrix of all pairs of cells."""

    def __init__(self, problem: KernelProblem, grid: Grid, walls: Sequence[str]) -> None:
        if grid.cells > MOST_KERNEL_CELLS:
            raise InvalidInput(
                f"a kernel between {grid.cells} cells",
                f"all pairs are kept; the limit is {MOST_KERNEL_CELLS} cells",
                "a coarser grid, or features (mf.Problem) instead of a kernel",
            )
        self.shape, self.const = grid.shape, problem.const
        self.volumes = grid.volumes.ravel()
        points = grid.points()
        self.K, self.F = problem.K(points, points), problem.F(points)
        self.fixed = -self.F.reshape(grid.shape)
        self.largest = float(np.abs(self.K).max())
        self.slopes = kernel_drop_squares(self.K, tuple(grid.axes.values()), walls)

    def observe(self, rho: Array, tally: Tally | None = None) -> Observation:
        masses = rho.ravel() * self.volumes
        seen = self.K @ masses
        risk = 0.5 * float(masses @ seen) - float(masses @ self.F) + self.const
        size = self.largest * float(masses.sum())
        return Observation(np.empty(0), risk, float(masses @ self.slopes), seen, size)

    def exerted(self, response: Array) -> Array:
        return response.reshape(self.shape)

    def mean_response(self, before: Observation, after: Observation, theta: float = 0.5) -> Array:
        return (1 - theta) * before.response + theta * after.response

    def mean_change(
        self, before: Observation, after: Observation, change: Array, theta: float = 0.5
    ) -> Array:
        return theta * (self.K @ (change.ravel() * self.volumes))


def feature_observation(
    loss: BoundLoss, prediction: Array, trace: float, squares: float
) -> Observation:
    """Observation of a prediction.

    Args:
        loss, prediction: what is seen.
        trace: Σ_i p_i ∫|∇Φ_i|²dρ, which times the loss's curvature bounds its rates.
        squares: Σ_i p_i ∫Φ_i²dρ, the mean size of what a prediction is the sum of.
    """
    steepest, slope = steepest_curvature(loss, prediction), loss.slope(prediction)
    largest = float(loss.weights.max()) * steepest * math.sqrt(abs(squares))
    size = max(largest, float(np.abs(slope).max()))
    return Observation(prediction, loss.risk(prediction), trace * steepest, slope, size)


def mean_slope(loss: BoundLoss, before: Observation, after: Observation, theta: float) -> Array:
    """The risk's slope between two predictions; see ``Interaction.mean_response``."""
    mean = loss.mean_slope(before.prediction, after.prediction)
    return mean if theta == 0.5 else (2 - 2 * theta) * mean + (2 * theta - 1) * after.response


def mean_curvature(loss: BoundLoss, before: Observation, after: Observation, theta: float) -> Array:
    """Its derivative in the later prediction."""
    f, g = before.prediction, after.prediction
    mean = loss.mean_curvature(f, g)
    return mean if theta == 0.5 else (2 - 2 * theta) * mean + (2 * theta - 1) * loss.bend(g)


def steepest_curvature(loss: BoundLoss, prediction: Array) -> float:
    """sup ℓ'', or where the loss does not say its largest value at the prediction."""
    if loss.smoothness is not None:
        return loss.smoothness
    if loss.loss.curvature is None:
        raise InvalidInput(
            f"the loss {loss.name} has neither smoothness nor curvature",
            "the length of explicit steps is bounded by it",
            "mf.Loss(value, slope, smoothness=sup of d²ℓ/df²), or curvature=…",
        )
    return float(np.max(loss.loss.curvature(prediction, loss.y)))


def neighbours(axis: Axis, wall: str, end: int) -> NDArray[np.intp]:
    """The cell beyond the lower (−1) or upper (1) face of each; at a closed wall the cell itself.

    Beyond an open wall V goes on as inside: the drop is that to the neighbour inside.
    """
    beside = np.arange(axis.cells) + end
    if wall == "periodic":
        return beside % axis.cells
    if wall == "open":
        beside[-1 if end > 0 else 0] -= 2 * end
    return np.clip(beside, 0, axis.cells - 1)


def faces_of_cells(
    axes: Sequence[Axis], walls: Sequence[str]
) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """For every axis and end: the flat neighbour of each cell, and 1/(2·distance·width), (N,)."""
    shape = tuple(axis.cells for axis in axes)
    cells = np.arange(math.prod(shape)).reshape(shape)
    for k, (axis, wall) in enumerate(zip(axes, walls, strict=True)):
        for end, distances in ((-1, axis.distances[:-1]), (1, axis.distances[1:])):
            share = np.ones(shape) * along(0.5 / (distances * axis.widths), k, len(shape))
            yield np.take(cells, neighbours(axis, wall, end), axis=k).ravel(), share.ravel()


def drop_squares(
    table: FeatureTable, weights: Array, axes: Sequence[Axis], walls: Sequence[str]
) -> Array:
    """Σ_i p_i |∇φ_i|² per cell, by the squared drops through its faces, (N,).

    With these an upwind step's kernel obeys λ_max(M) ≤ 2∫Σ_i p_i|∇Φ_i|²dρ, whatever the features:
    mass in a cell moves through faces of that cell only.
    """
    cells = len(table.points)
    total = np.zeros(cells)
    rows = max(1, 2**22 // max(1, table.samples))
    for beside, share in faces_of_cells(axes, walls):
        for start in range(0, cells, rows):
            part = slice(start, start + rows)
            drop = table.at(beside[part]) - table.at(part)
            total[part] += share[part] * (np.square(drop) @ weights)
    return total


def kernel_drop_squares(K: Array, axes: Sequence[Axis], walls: Sequence[str]) -> Array:
    """K(r,r) − 2K(r,l) + K(l,l) over d·h, meaned over both faces, summed over axes; (N,)."""
    own, cells = np.diag(K), np.arange(len(K))
    total = np.zeros(len(K))
    for beside, share in faces_of_cells(axes, walls):
        total += share * (own[beside] - 2 * K[cells, beside] + own)
    return total
