"""Sets of neurons, and lower bounds of F over the probability measures on them.

The risk is convex in ρ, so its tangent at ρ is below it. With V_ρ = ⟨risk', Φ⟩ + reg and any
probability measure μ on the set,

    F(μ)  ≥  risk(f_ρ) − ⟨risk'(f_ρ), f_ρ⟩ + ∫V_ρ dμ + λ∫μ log μ,

and the least value of the right side is a lower bound of inf F: with the infimum of V for λ = 0,
and with −λ log ∫e^(−V/λ) for λ > 0, when F(ρ) is above it by λ KL(ρ | e^(−V/λ)/Z).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from mfpde.arguments import numbers, shown
from mfpde.errors import InvalidInput
from mfpde.grids import Grid
from mfpde.measures import as_measure
from mfpde.optimality.bounds import infimum
from mfpde.optimality.entropic import Cells
from mfpde.optimality.homogeneous import Sphere, dual_bound
from mfpde.prediction import potential_at
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.losses import BoundLoss
from mfpde.problems.penalties import no_penalty
from mfpde.problems.problem import Array, Problem

Ends: TypeAlias = Mapping[str, tuple[float, float]]

A_SET = '"sphere", a Grid, or a box such as {"a": (-6, 6), "w": (-6, 6)}'


@dataclass(frozen=True)
class Bound:
    """What one moment of a run shows: inf F ≥ ``lower``, by what V is bounded below by."""

    infimum: float
    lower: float
    reason: str = ""  # why it is -inf


class NeuronSet(Protocol):
    """A set of neurons."""

    @property
    def over(self) -> str:
        """The set in words."""

    def bound(self, moment: xr.Dataset) -> Bound:
        """The lower bound by the tangent at one time of a run or flow."""


@dataclass(frozen=True)
class Nowhere:
    """No set on which V is known to be bounded below."""

    reason: str
    over: str = "no set"

    def bound(self, moment: xr.Dataset) -> Bound:
        return Bound(-np.inf, -np.inf, self.reason)


@dataclass(frozen=True)
class OnSphere:
    """All neurons of a homogeneous problem, seen from the sphere of their directions."""

    sphere: Sphere
    over: str = "the sphere"

    @property
    def loss(self) -> BoundLoss:
        """The loss with its data."""
        return self.sphere.loss

    def bound(self, moment: xr.Dataset) -> Bound:
        f, alpha = moment.prediction.values, self.sphere.alpha
        sup = self.sphere.supremum(self.loss.slope(f)).upper
        return Bound(alpha - sup, dual_bound(self.loss, self.loss.residual(f), alpha, sup))


@dataclass(frozen=True)
class Box:
    """Neurons in a box; the output weight may have no ends.

    Attributes:
        problem: the problem on it.
        low, high: (D,) its ends.
    """

    problem: Problem
    low: Array
    high: Array

    @property
    def loss(self) -> BoundLoss:
        """The loss with its data."""
        return self.problem.loss

    @property
    def over(self) -> str:
        return ", ".join(
            f"{c} in [{lo:g}, {hi:g}]" if np.isfinite(hi - lo) else f"any {c}"
            for c, lo, hi in zip(self.problem.coords, self.low, self.high, strict=True)
        )


@dataclass(frozen=True)
class OnBox(Box):
    """A box, by the infimum of V on it."""

    def bound(self, moment: xr.Dataset) -> Bound:
        f, loss = moment.prediction.values, self.loss
        slope = loss.slope(f)
        least = infimum(self.problem, slope, self.low, self.high)
        return Bound(least.lower, loss.risk(f) - float(slope @ f) + least.lower, least.reason)


@dataclass(frozen=True)
class OnFeatures(Box):
    """Any output weight, and all others in a box, for reg = s|a|: by the dual, |g| ≤ s."""

    s: float

    @cached_property
    def features(self) -> Problem:
        """The problem whose potential on |a| ≤ 1 is a g(v)."""
        return replace(self.problem, penalty=no_penalty)

    def bound(self, moment: xr.Dataset) -> Bound:
        f, loss = moment.prediction.values, self.loss
        low, high = self.low.copy(), self.high.copy()
        low[0], high[0] = -1.0, 1.0
        least = infimum(self.features, loss.slope(f), low, high)
        if least.lower == -np.inf:
            return Bound(-np.inf, -np.inf, least.reason)
        lower = dual_bound(loss, loss.residual(f), self.s, -least.lower)
        return Bound(self.s + least.lower, lower)


@dataclass(frozen=True)
class OnCells:
    """The cells of a grid, for λ > 0."""

    problem: Problem
    grid: Grid

    @property
    def over(self) -> str:
        return cells_in_words(self.grid)

    @cached_property
    def cells(self) -> Cells:
        """The features on the cells."""
        return Cells(self.problem, self.grid)

    def bound(self, moment: xr.Dataset) -> Bound:
        f, loss = moment.prediction.values, self.problem.loss
        least = self.cells.gibbs(loss.residual(f)).free_energy
        return Bound(least, loss.risk(f) - float(loss.slope(f) @ f) + least)


@dataclass(frozen=True)
class OnKernelCells:
    """The cells of a grid, for λ > 0 and a problem given by its kernel."""

    problem: KernelProblem
    grid: Grid

    @property
    def over(self) -> str:
        return cells_in_words(self.grid)

    def bound(self, moment: xr.Dataset) -> Bound:
        measure = points, weights = as_measure(moment)
        problem = self.problem
        V = potential_at(problem, moment, measure, self.grid.points())
        scaled = np.log(self.grid.volumes.ravel()) - V / problem.entropy
        least = -problem.entropy * float(logsumexp(scaled))
        V_here = potential_at(problem, moment, measure, points) - problem.penalty.value(points)
        return Bound(least, float(moment.risk) - float(weights @ V_here) + least)


def cells_in_words(grid: Grid) -> str:
    """How many cells, and where."""
    ends = ", ".join(f"{c} in [{low:g}, {high:g}]" for c, (low, high) in grid.box.items())
    return f"{grid.cells} cells of {ends}"


def corners(problem: Problem, ends: Ends, argument: str) -> tuple[Array, Array]:
    """A box, low (D,) and high (D,), from the ends of every coordinate.

    Raises InvalidInput, naming the ``argument``, where they are not those of a box.
    """
    unknown = [c for c in ends if c not in problem.coords]
    if unknown:
        why = f"the coordinates are {list(problem.coords)}"
        raise InvalidInput(f"{argument} names {unknown}", why)
    missing = [c for c in problem.coords if c not in ends]
    if missing:
        raise InvalidInput(f"{argument} has no ends for {missing}", "they lie on a line", A_SET)
    pairs = [numbers(f"{argument}[{c!r}]", ends[c]) for c in problem.coords]
    for c, pair in zip(problem.coords, pairs, strict=True):
        if pair.shape != (2,) or not pair[0] < pair[1]:
            at = f"{argument}[{c!r}] = {shown(ends[c])}"
            raise InvalidInput(at, "a box has ends low < high")
    low, high = np.array(pairs).T
    return low, high


def bounded(problem: Problem) -> dict[str, tuple[float, float]]:
    """Ends of the coordinates whose domain has ends."""
    return {c: (g.low, g.high) for c, g in problem.domain.items() if np.isfinite(g.high - g.low)}
