"""Numbers that callers hand over, refused in one paragraph when they are none."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from particle_ref.errors import InvalidInput
from particle_ref.problem import Array

POSED = ("coords", "domain", "initial", "penalty", "entropy", "x", "y", "weights")


def number(value: Any) -> float:
    """``value`` as a float; nan, which fails every comparison, where it is not one real number."""
    several = isinstance(value, np.ndarray) and value.ndim > 0
    if several or isinstance(value, str | bytes | np.complexfloating | np.datetime64):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def whole(value: Any, least: int, most: float) -> bool:
    """Whether ``value`` is a whole number between two others."""
    return least <= number(value) <= most and value == int(value)


def numbers(name: str, value: ArrayLike) -> Array:
    """A fresh float array of ``value``, in C order.

    Raises InvalidInput unless it is an array of real numbers: text that reads as a number, dates
    and masked entries are none.
    """
    try:
        if np.ma.is_masked(value):
            raise TypeError("it holds masked values, and what is under a mask is no datum")
        given = np.asarray(value)
        objects = given.flat if given.dtype.kind == "O" else ()  # which alone may hold text
        if given.dtype.kind not in "biufO" or any(isinstance(v, str | bytes) for v in objects):
            raise TypeError(f"it holds values of type {given.dtype}")
        with np.errstate(over="ignore"):  # beyond a float's range is inf
            return np.array(given, dtype=float, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{name} is not an array of numbers", str(error)[:200]) from error


def generator(seed: Any) -> np.random.Generator:
    """The random numbers of a seed, a whole number ≥ 0; None: fresh ones.

    Raises InvalidInput for any other seed.
    """
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"seed = {reprlib.repr(seed)}", str(error), "a whole number ≥ 0"
        ) from error


def check_problem(problem: Any) -> None:
    """Raise InvalidInput where the problem lacks what every cloud needs."""
    lacking = [name for name in POSED if not hasattr(problem, name)]
    if lacking:
        raise InvalidInput(
            f"particles cannot read the problem {reprlib.repr(problem)}",
            f"it lacks {lacking}",
            "see particle_ref.problem for what is asked of a problem",
        )
