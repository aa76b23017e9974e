"""The command line: ``mfpde run`` solves for the density, runs particles, and compares the two.

Exit codes: 0 done, 2 bad arguments or input, 3 numerical stop, 4 a result is in the way, 5 storage,
130 and 143 interrupted. An error is one paragraph on standard error.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

import mfpde as mf
import particle_ref as pr
from mfpde.errors import InvalidInput, MfpdeError, NumericalStop
from mfpde.experiment import METHODS, Plan, asked_of, computed, gradient_flow
from mfpde.loop.solver import check_steppable
from mfpde.problems.activations import ACTIVATIONS
from mfpde.problems.data import motorcycle, read_csv
from mfpde.problems.losses import LOSSES
from mfpde.report import Outcome, findings, new_folder, next_free, write
from mfpde.report.findings import Samples

MOVING = {name: sigma for name, sigma in ACTIVATIONS.items() if sigma.slope is not None}
CELLS = {1: 64, 2: 64, 3: 64, 4: 24}  # along every axis, by their number
DOUBLINGS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
SETTLED = 0.99  # of the risk, still there after a doubling of time
PROBES = 512  # particles that look for the horizon
MOST_PARTICLES = 10**7
MOST_SEEDS = 1000
LATEST = 1e6  # horizon that may be asked for
MOST_WORKERS = 8
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
SEVERAL = ("--x", "--particles")  # options that take several values

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
say = typer.echo
T = TypeVar("T")


def main() -> None:
    """The entry point."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    app(spread(sys.argv[1:]))


def tell_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        say(f"mfpde {mf.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
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
        elif option and not os.path.isfile(word):
            result.append(option)
        result.append(word)
    return result


# Errors -------------------------------------------------------------------------------------------


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
    except (MemoryError, BrokenExecutor) as error:
        refuse(f"out of memory: {error}\n  fix      fewer --cells or --particles", 2)
    except OSError as error:
        refuse(f"{error}\n  fix      another --out, or room on its disk", 5)


def refuse(paragraph: str, code: int) -> NoReturn:
    """The paragraph on standard error, and the exit code."""
    say(paragraph, err=True)
    raise typer.Exit(code)


# The question -------------------------------------------------------------------------------------


def samples_of(path: Path | None, x: Sequence[str], y: str | None, loss: mf.Loss) -> Samples:
    """The columns ``x`` and ``y`` of a file, or the bundled data, standardised.

    Targets of a loss that takes labels (logistic: −1 and +1) stay as they are.
    """
    labels = bool(loss.labels)
    if path is None and (x or y):
        fix = "mfpde run DATA.csv --x COL --y COL"
        raise InvalidInput("--x and --y name columns, but of no file", "", fix)
    if path is None:
        x, y = ["times_ms"], "accel_g"
        return findings.standardised("motorcycle", *motorcycle(), x, y, labels)
    if not (x and y):
        fix = "--x COL for every input and --y COL for the target"
        raise InvalidInput(f"which columns of {path}?", "", fix)
    return findings.standardised(path.stem, *read_csv(path, x, y), x, y, labels)


def posed(
    samples: Samples, activation: str, loss: mf.Loss, ridge: float, entropy: float, bias: bool
) -> mf.Problem:
    """The two-layer network on the samples, started from standard normal neurons."""
    problem = mf.two_layer(
        samples.x,
        samples.y,
        activation=one_of("activation", activation, MOVING),
        loss=loss,
        penalty=mf.ridge(ridge) if ridge else None,
        entropy=entropy,
        bias=bias,
    )
    if problem.dimension not in CELLS:
        raise InvalidInput(
            f"a neuron has {problem.dimension} coordinates: {', '.join(problem.coords)}",
            f"a density is kept on at most {max(CELLS)}",
            "at most two columns --x, or three with --no-bias",
        )
    return problem


def one_of(option: str, chosen: str, known: Mapping[str, T]) -> T:
    """The entry of a table, or an error that lists its names."""
    if chosen not in known:
        raise InvalidInput(f"--{option} {chosen}", "", f"one of {', '.join(known)}")
    return known[chosen]


def widths_of(words: Sequence[str]) -> tuple[int, ...]:
    """Whole numbers, increasing, from words that hold one or several."""
    numerals = re.split(r"[,\s]+", " ".join(words).strip(", "))
    whole = all(re.fullmatch(r"0*[1-9]\d{0,8}", numeral) for numeral in numerals)
    if not whole or max(map(int, numerals)) > MOST_PARTICLES:
        raise InvalidInput(
            f"--particles {' '.join(words)}",
            f"up to {MOST_PARTICLES:,} particles are compared with a density",
            "whole numbers, as in --particles 100 1000",
        )
    return tuple(sorted({int(numeral) for numeral in numerals}))


def cells_of(problem: mf.Problem, asked: int | None) -> int:
    """Cells along every axis; refused here, before anything is computed, where no grid has them."""
    cells = CELLS[problem.dimension] if asked is None else asked
    mf.Grid(**dict.fromkeys(problem.coords, mf.uniform(-1, 1, cells)))
    return cells


def check_horizon(asked: float | None) -> None:
    """Raise InvalidInput for a time at which no run ends."""
    if asked is not None and not 0 < asked <= LATEST:
        raise InvalidInput(f"--horizon {asked}", "", f"a time above 0, at most {LATEST:g}")


def horizon_of(problem: mf.Problem, asked: float | None) -> tuple[float, str]:
    """The time to end at, and why: the first whose doubling hardly lowers the risk."""
    if asked is not None:
        return asked, "as asked"
    cloud = pr.sample(problem, PROBES, kind="sobol")
    risk = pr.run(problem, cloud, gradient_flow(problem), DOUBLINGS).risk.values
    for time_, now, doubled in zip(DOUBLINGS, risk, risk[1:], strict=False):
        if doubled > SETTLED * now:
            return time_, "its doubling lowers the risk by less than 1 %"
    return DOUBLINGS[-1], "the cap; the risk may still fall by 1 % per doubling of time"


def show(pairs: Mapping[str, str]) -> None:
    """Names and values on standard output."""
    for name, value in pairs.items():
        say(f"  {name:<10} {value}")


# The computation ----------------------------------------------------------------------------------


@contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """Processes of one BLAS thread each: results do not depend on how many cores there are."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))  # read when a process loads NumPy
    executor = ProcessPoolExecutor(
        min(jobs, os.cpu_count() or 1, MOST_WORKERS),
        multiprocessing.get_context("spawn"),
        initializer=signal.signal,  # Ctrl-C ends a worker at once and without a word
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield executor
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        os.environ.clear()
        os.environ.update(before)


# The command --------------------------------------------------------------------------------------


@app.command()
def run(
    data: Annotated[Path | None, typer.Argument(metavar="DATA.csv")] = None,
    x: Annotated[list[str] | None, typer.Option(help="Columns of the inputs.")] = None,
    y: Annotated[str | None, typer.Option(help="Column of the target.")] = None,
    activation: Annotated[str, typer.Option(help=", ".join(MOVING))] = "tanh",
    loss: Annotated[str, typer.Option(help="square, or logistic for targets -1 and 1.")] = "square",
    ridge: Annotated[float, typer.Option(help="Penalty RIDGE/2 |neuron|^2.")] = 0.0,
    entropy: Annotated[float, typer.Option(help="Weight of the entropy (later versions).")] = 0.0,
    method: Annotated[str, typer.Option(help=", ".join(METHODS))] = "muscl",
    cells: Annotated[
        int | None, typer.Option(help="Cells along every axis.  [64; 24 on four axes]")
    ] = None,
    horizon: Annotated[
        float | None,
        typer.Option(help="Last time.  [once doubling it gains less than 1 %, at most 16]"),
    ] = None,
    particles: Annotated[
        list[str] | None,
        typer.Option(help="Widths: 100 1000, or 100,1000, or repeated.  [100 1000 10000]"),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=MOST_SEEDS, help="Particle runs of every width.")
    ] = 8,
    bias: Annotated[bool, typer.Option(help="Whether neurons have a bias.")] = True,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results.  [runs/NAME-1, -2, ...]")
    ] = None,
) -> None:
    """Solve for the density of neurons that fits DATA, run particles, and compare the two.

    Without DATA: the bundled motorcycle accident data. Inputs and target are standardised.
    """
    started = time.perf_counter()
    with explained():
        chosen_loss = one_of("loss", loss, LOSSES)
        samples = samples_of(data, x or (), y, chosen_loss)
        problem = posed(samples, activation, chosen_loss, ridge, entropy, bias)
        check_steppable(problem, one_of("method", method, METHODS)())
        widths = widths_of(particles or ["100 1000 10000"])
        counts = cells_of(problem, cells)
        check_horizon(horizon)
        folder = Path(os.path.normpath(out)) if out else next_free(samples.name)
        with new_folder(folder) as room, workers(len(widths) * seeds + 1) as executor:
            say(f"mfpde {mf.__version__}: density and particles, into {folder}")
            end, why = executor.submit(horizon_of, problem, horizon).result()
            grid = executor.submit(mf.fit_grid, problem, counts, end).result()
            plan = Plan(samples, problem, method, grid, end, why, widths, seeds)
            show(asked_of(plan))
            outcome = computed(plan, executor, folder.with_name(folder.name + "-stopped"), show)
            show_found(outcome)
            write(outcome, room)
        say(f"\n{folder / 'report.html'} after {time.perf_counter() - started:.1f} s")


def show_found(outcome: Outcome) -> None:
    """What was found, on standard output."""
    say(f"\n{textwrap.fill(findings.summary(outcome.run, outcome.gaps), 96)}\n")
    say(findings.aligned(*findings.gap_table(outcome.gaps)))
    took = ", ".join(f"{what} {seconds:.1f}" for what, seconds in outcome.seconds.items())
    say(f"\nseconds: {took}")
