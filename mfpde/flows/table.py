"""Features at many points: Ψ (N, n), kept while small, evaluated block by block otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mfpde.flows.arrays import aligned
from mfpde.kernels.sharing import shared
from mfpde.problems.problem import Array, Features

BLOCK = 2**22  # numbers in one block
KEPT = 2**26  # numbers kept in memory; above this they are evaluated anew at every pass
PIECE = 2**20  # numbers kept in a row: what a thread takes at a time

FEW = 64  # samples: the matrix of all pairs costs less than ten sums over points and back
PAIRS = 2**20  # products in a matrix that is soon put together
PANEL = 2**17  # numbers that stay in a cache


class FeatureTable:
    """Ψ_ki = ψ_i(point_k); sums over points and over samples, never more than BLOCK at once."""

    def __init__(self, phi: Features, points: Array, samples: int) -> None:
        self.phi, self.points, self.samples = phi, points, samples
        small = len(points) * samples <= KEPT
        self.kept = [p for _, block in self._evaluated() for p in pieces(block)] if small else []

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

    def each(self, made: Callable[[slice, Array], Array]) -> list[Array]:
        """What is made of every block, in order; blocks that are kept are shared by threads."""
        if len(self.kept) < 2:
            return [made(part, block) for part, block in self.blocks()]
        blocks = list(self.blocks())
        results = [np.empty(0)] * len(blocks)

        def some(begin: int, end: int) -> int:
            for k in range(begin, end):
                results[k] = made(*blocks[k])
            return 0

        shared(some, (), len(blocks), len(self.points) * self.samples)
        return results

    def integrate(self, measure: Array) -> Array:
        """Σ_k measure_k ψ_i(point_k), (n,)."""
        if len(self.kept) == 1:
            return measure @ self.kept[0]
        return total(self.each(lambda part, block: measure[part] @ block))

    def combine(self, slope: Array) -> Array:
        """Σ_i slope_i ψ_i(point_k), (N,)."""
        result = aligned((len(self.points),))
        if len(self.kept) == 1:
            return np.matmul(self.kept[0], slope, out=result)
        self.each(lambda part, block: np.matmul(block, slope, out=result[part]))
        return result

    @property
    def pairs_easily(self) -> bool:
        """Whether the matrix of :meth:`paired` is soon put together."""
        pairs = len(self.points) * self.samples**2
        return bool(self.kept) and (self.samples <= FEW or pairs <= PAIRS)

    def paired(self, measure: Array) -> Array:
        """Σ_k measure_k ψ_i(point_k) ψ_j(point_k), (n, n)."""
        return total(self.each(lambda part, block: pairs(measure[part], block)))

    def squares(self, weights: Array) -> Array:
        """Σ_i weights_i ψ_i(point_k)², (N,)."""
        result = np.empty(len(self.points))
        for part, block in self.blocks():
            result[part] = np.square(block) @ weights
        return result


def pieces(block: Array) -> Iterator[Array]:
    """Views of some rows each."""
    rows = max(1, PIECE // max(1, block.shape[1]))
    return (block[start : start + rows] for start in range(0, len(block), rows))


def pairs(measure: Array, block: Array) -> Array:
    """Σ_k measure_k block_ki block_kj, a panel of rows at a time."""
    rows = max(1, PANEL // block.shape[1])
    panels = [slice(start, start + rows) for start in range(0, len(block), rows)]
    return total([block[part].T @ (measure[part, None] * block[part]) for part in panels])


def total(terms: list[Array]) -> Array:
    """Their sum, from the first to the last."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result
