"""How neurons see each other: what ρ shows (an observation) and the potential it exerts.

Three structures of one risk R(ρ), each with V_R = δR/δρ at the cell centres, exactly the derivative
of the discrete risk:

- lifted features, Φ(a, v) = a ψ(v): only the first moment A1(v) = ∫aρ da enters f, and V = a·g(v),
  so a pass costs O(n·N_v + N_cells), never samples × cells (Chizat & Bach 2018, §2.1);
- plain features Φ(θ): f = ∫Φ dρ, V = Φ·slope;
- a kernel: R = ½∬Kρρ − ∫Fρ + const, V = Kρ − F.

``stiffness`` bounds how fast the observed residual can move: for the square loss r' = −M r with
M_ij = ∫∇Φ_i·∇Φ_j dρ p_j, and trace M ≥ λ_max(M). It is linear in ρ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mfpde.errors import InvalidInput
from mfpde.flows.table import FeatureTable
from mfpde.grids.grid import Grid, tensor_points
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
    """

    prediction: Array
    risk: float
    stiffness: float
    response: Array


class Interaction(Protocol):
    """One of the three structures above."""

    def observe(self, rho: Array) -> Observation:
        """Prediction and risk of cell averages ``rho`` of the grid's shape."""

    def potential(self, seen: Observation) -> Array:
        """V without the penalty at the cell centres, of the grid's shape."""


def interaction_of(problem: Problem | KernelProblem, grid: Grid) -> Interaction:
    """The structure that fits the problem."""
    if isinstance(problem, KernelProblem):
        return KernelPairs(problem, grid)
    return LiftedFeatures(problem, grid) if problem.lifted else PlainFeatures(problem, grid)


class LiftedFeatures:
    """f = Σ_v ψ(v) A1(v), V = a g(v), g = ψ·slope."""

    def __init__(self, problem: Problem, grid: Grid) -> None:
        first, *others = grid.axes.values()
        self.loss, self.shape = problem.loss, grid.shape
        self.a = first.centres
        centres = tuple(axis.centres for axis in others)
        widths = tuple(axis.widths for axis in others)
        points = tensor_points(centres)
        self.cells = tensor_points(widths).prod(axis=1)  # (N_v,) volumes
        self.table = FeatureTable(problem.phi, points, len(problem.y))
        self.rows = first.widths * np.stack([np.ones_like(self.a), self.a, self.a**2])
        # |∇Φ_i|² = ψ_i² + a²|∇ψ_i|², summed over samples with weights p_i
        self.values = self.table.squares(problem.weights)
        self.slopes = drop_squares(problem, points, tensor_points(widths))

    def observe(self, rho: Array) -> Observation:
        m0, m1, m2 = moments(rho.reshape(len(self.a), -1), self.rows) * self.cells
        prediction = self.table.integrate(m1)
        return feature_observation(
            self.loss, prediction, float(m0 @ self.values + m2 @ self.slopes)
        )

    def potential(self, seen: Observation) -> Array:
        g = self.table.combine(seen.response)
        return np.multiply.outer(self.a, g).reshape(self.shape)


class PlainFeatures:
    """f = Σ_θ Φ(θ) ρ(θ), V = Φ·slope."""

    def __init__(self, problem: Problem, grid: Grid) -> None:
        self.loss, self.shape = problem.loss, grid.shape
        self.volumes = grid.volumes.ravel()
        points = grid.points()
        self.table = FeatureTable(problem.phi, points, len(problem.y))
        widths = tensor_points(tuple(axis.widths for axis in grid.axes.values()))
        self.slopes = drop_squares(problem, points, widths)

    def observe(self, rho: Array) -> Observation:
        masses = rho.ravel() * self.volumes
        prediction = self.table.integrate(masses)
        return feature_observation(self.loss, prediction, float(masses @ self.slopes))

    def potential(self, seen: Observation) -> Array:
        return self.table.combine(seen.response).reshape(self.shape)


class KernelPairs:
    """R = ½mᵀKm − F·m + const, V = Km − F, with the dense matrix of all pairs of cells."""

    def __init__(self, problem: KernelProblem, grid: Grid) -> None:
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
        widths = tensor_points(tuple(axis.widths for axis in grid.axes.values()))
        self.slopes = kernel_drop_squares(problem, points, widths)

    def observe(self, rho: Array) -> Observation:
        masses = rho.ravel() * self.volumes
        seen = self.K @ masses
        risk = 0.5 * float(masses @ seen) - float(masses @ self.F) + self.const
        return Observation(np.empty(0), risk, float(masses @ self.slopes), seen)

    def potential(self, seen: Observation) -> Array:
        return (seen.response - self.F).reshape(self.shape)


def feature_observation(loss: BoundLoss, prediction: Array, trace: float) -> Observation:
    """Observation of a prediction; ``trace`` is Σ_i p_i ∫|∇Φ_i|²dρ, times the loss's curvature."""
    bound = loss.smoothness
    steepest = float(np.max(loss.curvature(prediction) / loss.weights)) if bound is None else bound
    return Observation(prediction, loss.risk(prediction), trace * steepest, loss.slope(prediction))


def drop_squares(problem: Problem, points: Array, widths: Array) -> Array:
    """Σ_i p_i |∇φ_i|² at ``points`` (N, k), from drops across cells of ``widths`` (N, k); (N,)."""
    total = np.zeros(len(points))
    rows = max(1, 2**22 // max(1, len(problem.y)))
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        for k in range(points.shape[1]):
            step = np.zeros_like(widths[part])
            step[:, k] = 0.5 * widths[part, k]
            drop = problem.phi(points[part] + step) - problem.phi(points[part] - step)
            total[part] += np.square(drop / widths[part, k : k + 1]) @ problem.weights
    return total


def kernel_drop_squares(problem: KernelProblem, points: Array, widths: Array) -> Array:
    """Σ_k [K(r,r) − 2K(r,l) + K(l,l)]/h_k², r and l the faces of a cell along axis k; (N,)."""
    total = np.zeros(len(points))
    for row, (point, width) in enumerate(zip(points, widths, strict=True)):
        for k in range(len(point)):
            ends = np.repeat(point[None], 2, axis=0)
            ends[:, k] += np.array([-0.5, 0.5]) * width[k]
            gram = problem.K(ends, ends)
            total[row] += (gram[0, 0] - gram[0, 1] - gram[1, 0] + gram[1, 1]) / width[k] ** 2
    return total
