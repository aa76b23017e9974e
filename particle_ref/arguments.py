"""Numbers that callers hand over, refused in one paragraph when they are none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from particle_ref.errors import InvalidInput
from particle_ref.problem import Array


def number(value: Any) -> float:
    """``value`` as a float; nan, which fails every comparison, where it is not one real number."""
    try:
        return np.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return np.nan


def numbers(name: str, value: ArrayLike) -> Array:
    """A fresh float array of ``value``, in C order.

    Raises InvalidInput unless it is an array of numbers.
    """
    try:
        return np.array(value, dtype=float, order="C")
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} is not an array of numbers", str(error)) from error
