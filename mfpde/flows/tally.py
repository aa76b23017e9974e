"""What one pass over a density counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mfpde.flows.arrays import aligned
from mfpde.flows.layers import layers
from mfpde.kernels.sharing import shared
from mfpde.kernels.tally import MANY, SLABS, tally
from mfpde.problems.problem import Array


@dataclass(frozen=True)
class Tally:
    """Of a density.

    Attributes:
        rho: that density itself; of any other array this says nothing.
        moments: (m, M), Σ_i weights_mi ρ_iv over the layers i of the first axis; the first are
            integrals along it.
        least: (M,) the least value in every column of cells without a NaN.
    """

    rho: Array
    moments: Array
    least: Array


def counted(rho: Array, weights: Array) -> Tally:
    """The tally of a density with the given weights (4, N)."""
    cells, room = np.ascontiguousarray(layers(rho)), blank(rho, weights)
    shared(tally, (cells, weights, *room), len(room[0]), rho.size)
    return together(rho, *room)


def slabs_of(shape: tuple[int, ...]) -> int:
    """Parts that a field of this shape is taken in: by its size alone, for the same bits."""
    return SLABS if len(shape) > 1 and math.prod(shape) >= MANY else 1


def blank(rho: Array, weights: Array) -> tuple[Array, Array]:
    """Room for moments (slabs, 4, M) and least values (slabs, M)."""
    count, of_layers = weights.shape
    room = aligned((slabs_of(rho.shape), count + 1, rho.size // of_layers))
    return room[:, :-1], room[:, -1]


def together(rho: Array, moments: Array, least: Array) -> Tally:
    """The tally that all slabs make, one after the other."""
    for s in range(1, len(least)):
        moments[0] += moments[s]
        np.minimum(least[0], least[s], out=least[0])
    return Tally(rho, moments[0], least[0])
