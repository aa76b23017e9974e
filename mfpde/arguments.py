"""What callers hand over: numbers, arrays and objects, refused in one paragraph when they are not.

Nothing here prints an array: of what is long, messages give the kind and the shape.
"""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import InvalidInput, MfpdeError

Array = NDArray[np.float64]

NUMERIC = "biufO"  # kinds of dtype; what objects hold is looked at one by one
KINDS = {"c": "complex numbers", "M": "dates", "m": "differences of dates"}


def number(value: Any) -> float:
    """``value`` as a float; nan, which fails every comparison, where it is not one real number."""
    several = isinstance(value, np.ndarray) and value.ndim > 0
    if several or isinstance(value, str | bytes | np.complexfloating | np.datetime64):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def numbers(name: str, value: ArrayLike) -> Array:
    """A fresh float array of ``value``; anything that NumPy takes: lists, pandas, xarray.

    Raises InvalidInput unless it is an array of real numbers: text that reads as a number, dates
    and masked entries are none.
    """
    try:
        if np.ma.is_masked(value):
            raise TypeError("it holds masked values, and what is under a mask is no datum")
        given = np.asarray(value)
        objects = given.flat if given.dtype.kind == "O" else ()  # which alone may hold text
        if given.dtype.kind not in NUMERIC or any(isinstance(v, str | bytes) for v in objects):
            raise TypeError(f"it holds {KINDS.get(given.dtype.kind, 'text')}")
        with np.errstate(over="ignore"):  # beyond a float's range is inf, and refused as such
            return np.array(given, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
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


def check_flag(name: str, value: object) -> None:
    """Raise InvalidInput unless ``value`` is True or False; "no" would count as True."""
    if not isinstance(value, bool | np.bool_):
        raise InvalidInput(f"{name} = {shown(value)}", "it is a yes or a no", "True or False")


def answer(name: str, function: Any, *arguments: Array) -> NDArray[Any]:
    """What a caller's function returns, as an array.

    Raises InvalidInput when it is no function, does not take arrays, or returns other than real
    numbers.
    """
    if not callable(function):
        raise InvalidInput(f"{name} = {shown(function)}", "it is not a function", "give a function")
    try:
        with np.errstate(all="ignore"):  # shape and kind of the answer alone are looked at
            returned = np.asarray(function(*(each.copy() for each in arguments)))
    except MfpdeError:
        raise
    except (TypeError, ValueError, IndexError) as error:  # all others are the caller's own
        shapes = " and ".join(str(each.shape) for each in arguments)
        raise InvalidInput(
            f"{name} fails on points {shapes}: {error}",
            "functions of a problem take many points at once",
            "np.maximum and np.where in place of max and if, np.tanh in place of math.tanh",
        ) from error
    if returned.dtype.kind not in "biuf":
        raise InvalidInput(
            f"{name} returns {returned.dtype} values",
            "real numbers are needed",
            "take real and imaginary parts as two samples",
        )
    return returned


def shown(value: object) -> str:
    """``value`` in short, for a message."""
    shape = np.shape(value) if isinstance(value, np.ndarray) else ()
    return f"an array of shape {shape}" if shape else reprlib.repr(value)
