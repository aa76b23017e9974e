"""Observed orders of convergence."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def observed_orders(errors: Sequence[float], cells: Sequence[int]) -> NDArray[np.float64]:
    """−Δlog(error)/Δlog(cells) over every interval of the refinement, (len(cells) − 1,)."""
    return -np.diff(np.log(errors)) / np.diff(np.log(cells))
