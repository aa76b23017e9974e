"""∇⟨risk', Φ⟩ at the nodes of a grid, from the features' or the kernel's own slopes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from mfpde.errors import InvalidInput
from mfpde.flows.gradient import BLOCK, features_along
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.grids.grid import tensor_points
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

Columns = tuple[Array, ...]  # nodes along each axis
Slopes = Callable[[Columns, Array, Array], Array]  # nodes, response, masses -> (*nodes, D)


def slopes_of(flow: WassersteinFlow) -> Slopes:
    """∇⟨risk', Φ⟩ at all combinations of nodes.

    Raises:
        InvalidInput: where features or kernel come without their slopes.
    """
    problem = flow.problem
    if isinstance(problem, KernelProblem):
        return kernel_slopes(problem, flow.grid.points())
    if problem.dphi is None:
        raise InvalidInput(
            f"pushforward on {problem!r}",
            "neurons move along the features' slopes, and these have none",
            "give them: mf.Activation(value, slope) or dphi; or method=mf.muscl()",
        )
    return partial(lifted_slopes if problem.lifted else plain_slopes, problem)


def lifted_slopes(problem: Problem, columns: Columns, slope: Array, masses: Array) -> Array:
    """∂_a = g(v), ∂_v = a ∇g(v): features at the nodes of v alone."""
    a, *others = columns
    g, dg = features_along(problem, tensor_points(tuple(others)), slope)
    inner = tuple(len(column) for column in others)
    result = np.empty((len(a), *inner, len(columns)))
    result[..., 0] = g.reshape(inner)
    result[..., 1:] = np.multiply.outer(a, dg.reshape(*inner, -1))
    return result


def plain_slopes(problem: Problem, columns: Columns, slope: Array, masses: Array) -> Array:
    """∇g(θ)."""
    points = tensor_points(columns)
    _, dg = features_along(problem, points, slope)
    return dg.reshape(*(len(column) for column in columns), -1)


def kernel_slopes(problem: KernelProblem, centres: Array) -> Slopes:
    """∫∂K(θ, v)ρ(dv) − ∇F(θ)."""
    dK, dF = problem.dK, problem.dF
    if dK is None or dF is None:
        raise InvalidInput(
            f"pushforward on {problem!r}",
            f"neurons move along the kernel's slopes: {'dK' if dK is None else 'dF'} is missing",
            "mf.kernel_problem(…, dK=…, dF=…); or method=mf.muscl()",
        )

    def slopes(columns: Columns, response: Array, masses: Array) -> Array:
        points, weights = tensor_points(columns), masses.ravel()
        result = -dF(points)
        rows = max(1, BLOCK // (len(centres) * len(columns)))
        for start in range(0, len(points), rows):
            part = slice(start, start + rows)
            result[part] += np.einsum("pvk,v->pk", dK(points[part], centres), weights)
        return result.reshape(*(len(column) for column in columns), -1)

    return slopes
