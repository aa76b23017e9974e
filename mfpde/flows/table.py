"""Features at many points: Ψ (N, n), kept while small, evaluated block by block otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mfpde.flows.arrays import aligned
from mfpde.problems.problem import Array, Features

BLOCK = 2**22  # numbers in one block
KEPT = 2**26  # numbers kept in memory; above this they are evaluated anew at every pass

PAIRS = 2**20  # products in a matrix that is soon put together


class FeatureTable:
    """Ψ_ki = ψ_i(point_k); sums over points and over samples, never more than BLOCK at once."""

    def __init__(self, phi: Features, points: Array, samples: int) -> None:
        self.phi, self.points, self.samples = phi, points, samples
        small = len(points) * samples <= KEPT
        self.kept = [block for _, block in self._evaluated()] if small else []

    def _evaluated(self) -> Iterator[tuple[slice, Array]]:
        rows = max(1, BLOCK // max(1, self.samples))
        for start in range(0, len(self.points), rows):
            part = slice(start, min(start + rows, len(self.points)))
            yield part, np.ascontiguousarray(self.phi(self.points[part]))

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Slices of the points with their features."""
        start = 0
        for block in self.kept:
            yield slice(start, start + len(block)), block
            start += len(block)
        if not self.kept:
            yield from self._evaluated()

    def at(self, places: slice | NDArray[np.intp]) -> Array:
        """Ψ at some of the points."""
        return self.kept[0][places] if len(self.kept) == 1 else self.phi(self.points[places])

    def integrate(self, measure: Array) -> Array:
        """Σ_k measure_k ψ_i(point_k), (n,)."""
        if len(self.kept) == 1:
            return measure @ self.kept[0]
        total = np.zeros(self.samples)
        for part, block in self.blocks():
            total += measure[part] @ block
        return total

    def combine(self, slope: Array) -> Array:
        """Σ_i slope_i ψ_i(point_k), (N,)."""
        result = aligned((len(self.points),))
        for part, block in self.blocks():
            result[part] = block @ slope
        return result

    @property
    def pairs_easily(self) -> bool:
        """Whether the matrix of :meth:`paired` is soon put together."""
        return len(self.kept) == 1 and self.kept[0].size * self.samples <= PAIRS

    def paired(self, measure: Array) -> Array:
        """Σ_k measure_k ψ_i(point_k) ψ_j(point_k), (n, n)."""
        total = np.zeros((self.samples, self.samples))
        for part, block in self.blocks():
            total += block.T @ (measure[part, None] * block)
        return total

    def squares(self, weights: Array) -> Array:
        """Σ_i weights_i ψ_i(point_k)², (N,)."""
        result = np.empty(len(self.points))
        for part, block in self.blocks():
            result[part] = np.square(block) @ weights
        return result
