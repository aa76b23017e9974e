"""Does a penalty have kinks, such as |a| at a = 0? Its proximal map tells.

prox solves q + ∇reg(q) = p. For a smooth reg every q comes from one p alone; a kink at q takes a
whole interval of p to that one q.
"""

from __future__ import annotations

import numpy as np

from particle_ref.problem import Penalty

TINY = 1e-150


def has_kinks(penalty: Penalty, dimension: int) -> bool:
    """Whether prox folds the two sides of 0 together along some coordinate axis.

    False where there is no prox: the penalty is then taken through its gradient.
    """
    if penalty.prox is None:
        return False
    beside = TINY * np.eye(dimension)
    above, below = penalty.prox(beside, 1.0), penalty.prox(-beside, 1.0)
    return bool((np.diag(above) == np.diag(below)).any())
