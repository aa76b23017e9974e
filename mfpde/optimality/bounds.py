"""A certified infimum of the potential V(θ) = Σ_i r_i Φ_i(θ) + reg(θ) over a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfpde.problems.problem import Array, Problem


@dataclass(frozen=True)
class Infimum:
    """Where V is least on a box, and what it cannot be below.

    Attributes:
        lower: a rigorous lower bound of V over the box, round-off included; -inf where there is
            none.
        value: V(at), an upper bound of the infimum.
        at: (D,) the best point found.
        reason: why ``lower`` is not within the tolerance of ``value``; empty where it is.
    """

    lower: float
    value: float
    at: Array
    reason: str = ""


def infimum(
    problem: Problem, slope: Array, low: Array, high: Array, tolerance: float = 1e-12
) -> Infimum:
    """The infimum of V = Σ_i r_i Φ_i + reg over the box ``low`` <= θ <= ``high``.

    Args:
        problem: features Φ and penalty.
        slope: r (n,), the risk's slope ``problem.loss.slope(f)``, weights p_i included.
        low, high: (D,) ends of the box in the order of ``problem.coords``; infinite where it has
            none.
        tolerance: value − lower that is aimed at, in units of V.
    """
    at = 0.5 * (low + high)
    return Infimum(-np.inf, np.nan, at, "not yet")
