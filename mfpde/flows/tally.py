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
    """Of a density of cell averages.

    Attributes:
        moments: (m, M), Σ_i weights_mi ρ_iv over the layers i of the first axis; the first are
            integrals along it.
        least: (M,) the least value in every column of cells, NaN aside.
    """

    moments: Array
    least: Array


def counted(rho: Array, weights: Array) -> Tally:
    """The tally of a density with the given weights (m, N)."""
    cells = np.ascontiguousarray(layers(rho))
    blank = blank_tally(weights, cells.shape[1])
    tally(cells, weights, blank.moments, blank.least)
    return blank


def blank_tally(weights: Array, columns: int) -> Tally:
    """Room for one."""
    room = aligned((len(weights) + 1, columns))
    return Tally(room[:-1], room[-1])
