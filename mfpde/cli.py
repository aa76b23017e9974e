"""The command line: ``mfpde run`` solves for the density, runs particles, and compares the two.

Exit codes: 0 done, 2 bad arguments or input, 3 numerical stop, 4 a result is in the way, 5 storage,
130 and 143 interrupted. An error is one paragraph on standard error.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
import typer
import xarray as xr

import mfpde as mf
import particle_ref as pr
from mfpde.errors import AlreadyExists, InvalidInput, MassEscaped, MfpdeError, NumericalStop
from mfpde.fitting import grid_on
from mfpde.loop.solver import chosen_for
from mfpde.measures import as_measure
from mfpde.problems.activations import ACTIVATIONS
from mfpde.problems.data import motorcycle, read_csv, standardise
from mfpde.problems.losses import LOSSES
from mfpde.problems.problem import Array
from mfpde.report import figures
from mfpde.report.findings import Units, fitted, gathered, numbers, summary, width_table, without_dust
from mfpde.report.page import Table, html_page, run_page

METHODS: dict[str, Callable[[], mf.Method]] = {"muscl": mf.muscl, "upwind": mf.upwind}
MOST_COORDS = 4
CELLS_OF_MANY = 24  # along each of four axes; of fewer:
CELLS = 64
DOUBLINGS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
SETTLED = 0.99  # of the risk, still there after a doubling of time
PROBES = 512  # particles that look for the horizon
TIMES = 21
SHOWN = (0, 5, 10, 20)  # of the times: those that are drawn, and at which positions are kept
WIDER_BOXES = 3
DRAWN_WIDTH = 1000  # particles on top of the density, or the width nearest to it
FLOW = pr.GradientFlow(rtol=1e-6, atol=1e-9, integrator="RK45")  # 1e-8 in f, below any gap
SEVERAL = ("--x", "--particles")  # options that take several values

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
say = typer.echo


def main() -> None:
    """The entry point."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    app(spread(sys.argv[1:]))


@app.callback()
def about() -> None:
    """The mean-field limit of two-layer networks, solved as a continuity equation on grids."""


def spread(arguments: Sequence[str]) -> list[str]:
    """``--x A B`` as ``--x A --x B``, up to the next option or file; likewise --particles."""
    result: list[str] = []
    option = ""  # the one whose further values may follow
    for word in arguments:
        if word.startswith("--"):
            option = ""
        elif result and result[-1] in SEVERAL:
            option = result[-1]
        elif option and not Path(word).is_file():
            result.append(option)
        result.append(word)
    return result


# Errors ---------------------------------------------------------------------------------------------


@contextmanager
def explained() -> Iterator[None]:
    """Turns every error that explains itself into its paragraph and its exit code."""
    try:
        yield
    except MfpdeError as error:
        refuse(str(error), error.exit_code)
    except pr.InvalidInput as error:
        refuse(str(error), InvalidInput.exit_code)
    except pr.NumericalStop as error:
        refuse(str(error), NumericalStop.exit_code)
    except MemoryError as error:
        refuse(f"{error or 'out of memory'}\n  fix      fewer --cells or --particles", 2)
    except OSError as error:
        refuse(f"{error}\n  fix      another --out, or room on its disk", 5)


def refuse(paragraph: str, code: int) -> NoReturn:
    """The paragraph on standard error, and the exit code."""
    say(paragraph, err=True)
    raise typer.Exit(code)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write to, which takes its place ``path`` when all is written, or vanishes."""
    beside = path.with_name(path.name + ".unfinished")
    if path.exists():
        raise AlreadyExists(f"{path} exists", "a result is never overwritten", "another --out")
    missing = [parent for parent in beside.parents if not parent.exists()]
    try:
        beside.mkdir(parents=True)
    except FileExistsError:
        raise AlreadyExists(
            f"{beside} exists",
            "another run writes there, or was killed while it did",
            "wait for it, or remove that folder",
        ) from None
    try:
        yield beside
        beside.rename(path)
    except BaseException:
        shutil.rmtree(beside)
        for parent in missing:
            parent.rmdir()
        raise


def next_free(name: str) -> Path:
    """The first of runs/NAME-1, -2, … that nobody has taken."""
    for number in itertools.count(1):
        path = Path("runs") / f"{name}-{number}"
        if not (path.exists() or path.with_name(path.name + ".unfinished").exists()):
            return path
    raise AssertionError("numbers do not end")


# The question ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Samples:
    """Standardised data: x (n,) or (n, d), y (n,), and the units they had."""

    name: str
    x: Array
    y: Array
    units: Units


@dataclass(frozen=True)
class Plan:
    """What will be computed."""

    samples: Samples
    problem: mf.Problem
    method: mf.Method
    horizon: float
    why_horizon: str
    widths: tuple[int, ...]
    seeds: int

    @property
    def times(self) -> Array:
        """The instants that are kept, from 0 to the horizon."""
        return np.linspace(0, self.horizon, TIMES)


def samples_of(path: Path | None, x: Sequence[str], y: str | None, loss: str) -> Samples:
    """The columns ``x`` and ``y`` of a file, or the bundled data, standardised.

    Labels of a loss that knows only some (logistic: −1 and +1) stay as they are.
    """
    if path is None and (x or y):
        raise InvalidInput(
            "--x and --y name columns, but of no file", "", "mfpde run DATA.csv --x COL --y COL"
        )
    if path is None:
        (inputs, targets), names, target, name = motorcycle(), ["times_ms"], "accel_g", "motorcycle"
    elif not x or not y:
        raise InvalidInput(f"which columns of {path}?", "", "--x COL for each input and --y COL")
    else:
        (inputs, targets), names, target, name = read_csv(path, x, y), list(x), y, path.stem
    columns = inputs.reshape(len(inputs), -1).T
    z, mean, std = zip(*map(standardised, columns, names), strict=True)
    labels = bool(LOSSES[loss].labels)
    own = (targets, 0.0, 1.0) if labels else standardised(targets, target)
    units = Units(tuple(names), target, np.array(mean), np.array(std), float(own[1]), float(own[2]))
    return Samples(name, z[0] if len(z) == 1 else np.stack(z, axis=1), own[0], units)


def standardised(values: Array, name: str) -> tuple[Array, Array, Array]:
    """A column with mean 0 and standard deviation 1; a constant one is refused by its name."""
    try:
        return standardise(values)
    except InvalidInput as error:
        why = f"{error.what}: {error.why}"
        raise InvalidInput(f"column {name!r} cannot be standardised", why, error.fix) from error


def one_of[T](name: str, chosen: str, known: Mapping[str, T]) -> T:
    """The entry of a table, or an error that lists its names."""
    if chosen not in known:
        raise InvalidInput(f"--{name} {chosen}", "", f"one of {', '.join(known)}")
    return known[chosen]
