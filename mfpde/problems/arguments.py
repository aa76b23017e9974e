"""What callers hand over: numbers, arrays and objects, refused in one paragraph when they are not.

Nothing here prints an array: of what is long, messages give the kind and the shape.
"""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import InvalidInput

Array = NDArray[np.float64]


def number(value: Any) -> float:
    """``value`` as a float; nan, which fails every comparison, where it is not one real number."""
    if isinstance(value, str | np.complexfloating):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def numbers(name: str, value: ArrayLike) -> Array:
    """A fresh float array of ``value``.

    Raises InvalidInput unless it is an array of real numbers.
    """
    try:
        if np.iscomplexobj(value):
            raise TypeError("it holds complex numbers")
        return np.array(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{name} is not an array of numbers: {shown(value)}",
            str(error)[:120],
            "real numbers, in rows of one length",
        ) from error


def finite_array(name: str, value: ArrayLike, dimensions: tuple[int, ...]) -> Array:
    """``value`` as a float array with one of the given numbers of dimensions, all finite."""
    array = numbers(name, value)
    if array.ndim not in dimensions or array.size == 0:
        column = array.ndim == 2 and array.shape[1] == 1 and dimensions == (1,)
        raise InvalidInput(
            f"{name} has shape {array.shape}",
            f"it needs {' or '.join(map(str, dimensions))} dimension(s) and at least one element",
            f"{name}.ravel()" if column else "",
        )
    if not np.isfinite(array).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInput(f"{name}{list(first)} = {array[first]}", "every value must be finite")
    return array


def frozen(array: Array) -> Array:
    """The same array, read-only from now on."""
    array.flags.writeable = False
    return array


def check_kind(name: str, value: object, kind: type, fix: str) -> None:
    """Raise InvalidInput unless ``value`` is of its kind."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise InvalidInput(f"{name} = {shown(value)}", f"it must be {article} {kind.__name__}", fix)


def shown(value: object) -> str:
    """``value`` in short, for a message."""
    shape = np.shape(value) if isinstance(value, np.ndarray) else ()
    return f"an array of shape {shape}" if shape else reprlib.repr(value)
