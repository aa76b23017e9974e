"""Does a penalty have kinks, such as |a| at a = 0?

Its proximal map tells: prox solves q + ∇reg(q) = p. For a smooth reg every q comes from one p
alone; a kink at q takes a whole interval of p to that one q. Without a proximal map the gradient
tells: at a kink it jumps. Kinks are looked for where a coordinate is 0, and nowhere else.
"""

from __future__ import annotations

import numpy as np

from particle_ref.problem import Penalty

TINY = 1e-150
SMALL = 1e-140  # a kink's jump is the same here; a pole's, as of 1/r, is not
ROUNDING = 1e-9  # of the gradient


def has_kinks(penalty: Penalty, dimension: int) -> bool:
    """Whether reg has a kink across θ_k = 0 for some k, by its prox, or else by its gradient.

    The gradient is looked at with the other coordinates at 0, where |w| has its kink, and at 1, for
    that of |a||w| in a.
    """
    if penalty.prox is not None:
        beside = TINY * np.eye(dimension)
        above, below = penalty.prox(beside, 1.0), penalty.prox(-beside, 1.0)
        return bool((np.diag(above) == np.diag(below)).any())
    with np.errstate(all="ignore"):  # poles are none
        return any(_jumps(penalty, dimension, others) for others in (0.0, 1.0))


def _jumps(penalty: Penalty, dimension: int, others: float) -> bool:
    """Whether some ∂_k reg jumps across θ_k = 0 where the other coordinates are ``others``."""
    rest, axes = others * (1 - np.eye(dimension)), np.eye(dimension)
    near, far = (
        np.diag(penalty.gradient(rest + h * axes) - penalty.gradient(rest - h * axes))
        for h in (TINY, SMALL)
    )
    return bool(((np.abs(near) > ROUNDING) & np.isclose(near, far, rtol=ROUNDING)).any())
