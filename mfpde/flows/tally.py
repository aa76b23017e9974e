"""What one pass over a density counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfpde.flows.arrays import aligned
from mfpde.flows.layers import layers
from mfpde.kernels.tally import tally
from mfpde.problems.problem import Array


@dataclass(frozen=True)
class Tally:
    """Of a density.

    Attributes:
        rho: that density itself; of any other array this says nothing.
        moments: (m, M), Σ_i weights_mi ρ_iv over the layers i of the first axis; the first are
            integrals along it.
        least: (M,) the least value in every column of cells, NaN aside.
    """

    rho: Array
    moments: Array
    least: Array


def counted(rho: Array, weights: Array) -> Tally:
    """The tally of a density with the given weights (m, N)."""
    cells = np.ascontiguousarray(layers(rho))
    blank = blank_tally(rho, weights)
    tally(cells, weights, blank.moments, blank.least)
    return blank


def blank_tally(rho: Array, weights: Array) -> Tally:
    """Room for one."""
    count, layers_of_cells = weights.shape
    room = aligned((count + 1, rho.size // layers_of_cells))
    return Tally(rho, room[:-1], room[-1])
