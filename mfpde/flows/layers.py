"""A potential by the layers of its first axis: V = a⊗g + tilt + level.

Of lifted features V_R = a·g(v), and most penalties are sums of a function of a and one of v: then
V on the grid is made of vectors, and who runs through the cells need not read it. Any other part
of V is a level of its own for every layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mfpde.flows.arrays import aligned
from mfpde.problems.problem import Array

BLOCK = 2**14  # numbers that are compared at once
SAME = 4e-16  # of the numbers in a cell: what a sum of two parts is told by, cell by cell


@dataclass(frozen=True)
class Layers:
    """V_iv = a_i g_v + tilt_i + level_iv for the layers i of the first of several axes.

    Attributes:
        a, tilt: (N,), a number for every layer. A line of cells is one layer.
        g: (M,) for the cells of a layer, in C order.
        level: (N, M), or (1, M) where it is the same in all layers.
        shape: of the grid.
    """

    a: Array
    g: Array
    tilt: Array
    level: Array
    shape: tuple[int, ...]

    def __call__(self) -> Array:
        """V, of the grid's shape."""
        V = np.multiply.outer(self.a, self.g)
        V += self.tilt[:, None]
        V += self.level
        return V.reshape(self.shape)

    def slice(self, k: int, index: int) -> Layers:
        """The same in the cells that have one index along axis k."""
        shape = tuple(1 if j == k else n for j, n in enumerate(self.shape))
        if len(shape) > 1 and k == 0:
            level = self.level if len(self.level) == 1 else self.level[[index]]
            return Layers(self.a[[index]], self.g, self.tilt[[index]], level, shape)
        cells = np.arange(len(self.g)).reshape(self.shape[-len(shape[1:]) or None :])
        there = cells.take(index, axis=k - (len(shape) > 1)).ravel()
        return Layers(self.a, self.g[there], self.tilt, self.level[:, there], shape)


def layers(field: Array) -> Array:
    """A field as (N, M): the layers of its first axis, or one layer of a single axis."""
    return field.reshape(len(field) if field.ndim > 1 else 1, -1)


def levelled(field: Array) -> Layers:
    """A field that is given cell by cell: every layer its own level."""
    level = np.ascontiguousarray(layers(field))
    still = np.zeros(len(level))
    return Layers(still, np.zeros(level.shape[1]), still, level, field.shape)


def separated(field: Array) -> Layers:
    """The same, but tilt and one level where the field is a sum of two such parts."""
    whole = levelled(field)
    lowest = int(np.abs(whole.level).max(axis=0).argmin())  # a column where no level hides the tilt
    first = int(np.abs(whole.level[:, lowest]).argmin())
    tilt, level = whole.level[:, lowest] - whole.level[first, lowest], whole.level[first]
    some = max(1, BLOCK // len(level))
    for start in range(0, len(tilt), some):
        here, rise = whole.level[start : start + some], tilt[start : start + some, None]
        sizes = np.abs(here) + np.abs(rise) + np.abs(level)
        if not (np.abs(here - (rise + level)) <= SAME * sizes).all():
            return whole
    one = aligned((1, len(level)))
    one[:] = level
    return replace(whole, tilt=tilt, level=one)
