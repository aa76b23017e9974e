"""Data sets: the one that comes with the package, and a strict reader of comma-separated files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib import resources
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arguments import numbers
from mfpde.errors import InvalidInput

Array = NDArray[np.float64]
Row = tuple[int, list[str]]  # line of the file (from 1), its fields

LARGEST_FILE = 100_000_000  # bytes


def motorcycle() -> tuple[Array, Array]:
    """Head acceleration in a simulated motorcycle accident: x (133,) in ms, y (133,) in g.

    Silverman, J. R. Stat. Soc. B 47 (1985) 1-52. Times repeat, and so do they in the data.
    """
    with resources.as_file(resources.files("mfpde.data") / "mcycle.csv") as path:
        return read_csv(path, ["times_ms"], "accel_g")


def read_csv(path: str | PathLike[str], x: Sequence[str], y: str) -> tuple[Array, Array]:
    """Inputs and targets from the named columns of a comma-separated file with a header line.

    Returns x (n,) for one input column, (n, d) for d of them, and y (n,), in the file's order and
    units. Repeated rows are data. Raises InvalidInput, naming the place, unless the file is a
    regular UTF-8 text of at most 100 MB with every named column once, at least two rows, as many
    fields in each as in the header, and finite numbers in the named columns.
    """
    inputs = [x] if isinstance(x, str) else list(x)
    header, rows = _table(_text(Path(path)), path)
    columns = [_column(header, name, path) for name in _distinct([*inputs, y])]
    values = np.array([_numbers(row, header, columns, path) for row in rows])
    return (values[:, 0] if len(inputs) == 1 else values[:, :-1]), values[:, -1]


def standardise(v: ArrayLike) -> tuple[Array, Array, Array]:
    """Centre and scale each column of ``v``, (n,) or (n, d), to mean 0 and standard deviation 1.

    Returns z of v's shape, and the mean and standard deviation (of the n values, not n − 1) that
    were removed, () or (d,): v = mean + std z. Raises InvalidInput for a column that is constant,
    holds a value that is not finite, or has squares beyond the range of floats.
    """
    values = numbers("v", v)
    if values.ndim not in (1, 2) or values.size == 0:
        raise InvalidInput(
            f"cannot standardise an array of shape {values.shape}",
            "it takes one column (n,) or several (n, d), with at least one value",
        )
    finite = np.asarray(np.isfinite(values).all(axis=0))
    if not finite.all():
        raise InvalidInput(
            f"{_which(~finite)} holds a value that is not finite",
            "its mean and standard deviation do not exist",
            "remove those rows",
        )
    constant = np.asarray(values.max(axis=0) == values.min(axis=0))
    if constant.any():
        raise InvalidInput(
            f"{_which(constant)} is constant",
            "its standard deviation is 0",
            "leave it out; bias=True gives a constant input",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = values.mean(axis=0), values.std(axis=0)
    lost = np.asarray(~((std > 0) & np.isfinite(std)))
    if lost.any():
        raise InvalidInput(
            f"{_which(lost)} holds values as {values.flat[np.argmax(np.abs(values))]:g}",
            "its standard deviation lies beyond the range of floating-point numbers",
            "give it in other units",
        )
    return (values - mean) / std, mean, std


def _which(flags: NDArray[np.bool_]) -> str:
    return f"column {int(np.argmax(flags))}" if flags.ndim else "the column"


def _text(path: Path) -> str:
    """The whole file, if it is a regular text file of reasonable size."""
    try:
        if not path.exists():
            raise InvalidInput(f"there is no file {path}", "", "check the name and the directory")
        if not path.is_file():
            raise InvalidInput(f"{path} is not a regular file", "data are read from files only")
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise InvalidInput(
                f"{path} has {size / 1e6:.0f} MB",
                f"at most {LARGEST_FILE / 1e6:.0f} MB are read",
                "take a sample of its rows",
            )
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path} is not UTF-8 text: byte {error.start} cannot be decoded",
            "",
            "save it as UTF-8 CSV",
        ) from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read", str(error.strerror)) from error
    if "\0" in text:
        raise InvalidInput(f"{path} is not text", "it holds NUL characters", "save it as UTF-8 CSV")
    return text


def _table(text: str, path: str | PathLike[str]) -> tuple[list[str], list[Row]]:
    """The column names, and the rows after them, all of the same length."""
    reader = csv.reader(io.StringIO(text.rstrip(), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InvalidInput(f"{path}, line {reader.line_num}: {error}", "", "mend it") from error
    if not header:
        raise InvalidInput(f"{path} is empty", "", "its first line names the columns")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        separator = "semicolons" if ";" in header[0] else "tabs"
        raise InvalidInput(
            f"{path} has no comma in its header line",
            f"its columns seem to be separated by {separator}; only commas are read",
            "save it with commas, and with decimal points",
        )
    for line, row in rows:
        if len(row) != len(header):
            raise InvalidInput(
                f"{path}, line {line}: {len(row)} field(s) where the header has {len(header)}",
                "",
                "mend the line, or quote fields that contain a comma",
            )
    if len(rows) < 2:
        raise InvalidInput(
            f"{path} has {len(rows)} row(s) of data", "a fit needs two or more", "add rows"
        )
    return header, rows


def _distinct(names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(
                f"column {name!r} is asked for twice", "", "name each input and the target once"
            )
    if len(names) == 1:
        raise InvalidInput("no input column is named", "", "give x at least one column")
    return names


def _column(header: list[str], name: str, path: str | PathLike[str]) -> int:
    if name not in header:
        known = ", ".join(header[:20]) + (", ..." if len(header) > 20 else "")
        raise InvalidInput(f"{path} has no column {name!r}", f"it has {known}", "use one of these")
    if header.count(name) > 1:
        raise InvalidInput(
            f"{path} has {header.count(name)} columns {name!r}", "", "rename all but one"
        )
    return header.index(name)


def _numbers(
    row: Row, header: list[str], columns: list[int], path: str | PathLike[str]
) -> list[float]:
    line, fields = row
    values = []
    for column in columns:
        field = fields[column]
        try:
            value = float(field.replace("_", "?"))  # float reads 1_000, a data file means a typo
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise InvalidInput(
                f"{path}, line {line}, column {header[column]!r}: {field.strip()[:40]!r}",
                "every value must be a finite number",
                "mend or remove the row",
            )
        values.append(value)
    return values
