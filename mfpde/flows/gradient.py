"""∇V at the cell centres from the features' own slopes, for quadratures of high order."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from mfpde.flows.quadrature import CENTRES
from mfpde.grids.grid import Grid, tensor_points
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

BLOCK = 2**22  # numbers in one block of features
TINY = 1e-150


def takes_gradient(
    problem: Problem | KernelProblem, quadrature: int, walls: Collection[str]
) -> bool:
    """Whether a dissipation is made of ∇V itself: of high order, λ = 0, and no wall stops it."""
    free = "closed" not in walls and problem.entropy == 0
    return quadrature > CENTRES and free and has_smooth_gradient(problem)


def has_smooth_gradient(problem: Problem | KernelProblem) -> bool:
    """Whether V has a gradient everywhere: smooth features, and a penalty without kinks at 0."""
    if isinstance(problem, KernelProblem) or problem.d2phi is None:
        return False
    beside = TINY * np.eye(problem.dimension)
    return bool((np.abs(problem.penalty.gradient(beside)) < 1e-100).all())


def squared_gradient(problem: Problem, grid: Grid, slope: Array) -> Array:
    """|∇V|², of the grid's shape; V = a g(v) + reg or g(θ) + reg, g = Σ_i slope_i ψ_i."""
    centres = grid.centres[1:] if problem.lifted else grid.centres
    points = tensor_points(centres)
    g, dg = features_along(problem, points, slope)
    penalty = problem.penalty.gradient(grid.points()).reshape(*grid.shape, -1)
    if not problem.lifted:
        return np.square(dg.reshape(penalty.shape) + penalty).sum(axis=-1)
    a = grid.centres[0].reshape(-1, *[1] * len(centres))
    inner = grid.shape[1:]
    squares = np.square(g.reshape(inner) + penalty[..., 0])
    for k in range(len(centres)):
        squares += np.square(a * dg[:, k].reshape(inner) + penalty[..., k + 1])
    return squares


def features_along(problem: Problem, points: Array, slope: Array) -> tuple[Array, Array]:
    """g (N,) and ∇g (N, k) at points (N, k), block by block."""
    assert problem.dphi is not None
    g, dg = np.empty(len(points)), np.empty(points.shape)
    rows = max(1, BLOCK // max(1, len(slope) * points.shape[1]))
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        g[part] = problem.phi(points[part]) @ slope
        dg[part] = np.einsum("pik,i->pk", problem.dphi(points[part]), slope)
    return g, dg
