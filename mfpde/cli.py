"""The command line: ``mfpde run`` solves for the density, runs particles, and compares the two.

Exit codes: 0 done, 1 a check of a study failed, 2 bad arguments or input, 3 numerical stop, 4 a
result is in the way, 5 storage, 75 out of time, 130 and 143 interrupted; after the last three
``mfpde run`` goes on where it was. An error is one paragraph on standard error.
"""

from __future__ import annotations

import math
import os
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import mfpde as mf
import particle_ref as pr
from mfpde import catalogue, inspection, results, signals
from mfpde.errors import InvalidInput, MfpdeError, NumericalStop, Stopped
from mfpde.experiment import (
    LONGEST_STEP,
    METHODS,
    Plan,
    asked_of,
    computed,
    particle_method,
    settle,
)
from mfpde.loop.box import grid_on
from mfpde.processes import workers
from mfpde.question import MOVING, Question, widths_of
from mfpde.report import Outcome, findings, write
from mfpde.report.findings import Samples

DOUBLINGS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
SETTLED = 0.99  # of the risk, still there after a doubling of time
PROBES = 512  # particles that look for the horizon
MOST_SEEDS = 1000
SEVERAL = ("--x", "--particles")  # options that take several values
Seconds = Annotated[
    float | None,
    typer.Option(help="Stop after this time, loading included; exit code 75, and it goes on."),
]

NOISY = "scharfetter_gummel"
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
say = typer.echo


def main() -> None:
    """The entry point."""
    signals.install(loading=False)
    try:
        app(spread(sys.argv[1:]))
    except signals.Interrupted:
        signals.leave(signals.exit_code())
    except SystemExit as done:
        if signals.received.first and isinstance(done.code, int):
            signals.leave(done.code)
        raise


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
    except Stopped as stop:
        refuse(str(stop), signals.exit_code())
    except signals.Interrupted as stop:
        refuse(f"stopped: {stop}", signals.exit_code())
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


# The computation ----------------------------------------------------------------------------------


def horizon_of(problem: mf.Problem, asked: float | None) -> tuple[float, str]:
    """The time to end at, and why: the first whose doubling hardly lowers the risk."""
    if asked is not None:
        return asked, "as asked"
    cloud = pr.sample(problem, PROBES, kind="sobol")
    method = particle_method(problem, LONGEST_STEP, seed=0)
    risk = pr.run(problem, cloud, method, DOUBLINGS).risk.values
    for time_, now, doubled in zip(DOUBLINGS, risk, risk[1:], strict=False):
        if doubled > SETTLED * now:
            return time_, "its doubling lowers the risk by less than 1 %"
    return DOUBLINGS[-1], "the cap; the risk may still fall by 1 % per doubling of time"


def planned(
    question: Question,
    samples: Samples,
    problem: mf.Problem,
    cells: Mapping[str, int],
    executor: Executor,
    folder: Path,
) -> Plan:
    """Horizon and box are found once: who goes on reads them."""

    def plan(grid: mf.Grid, end: float, why: str, widened: int = 0) -> Plan:
        widths, seeds = question.particles, question.seeds
        return Plan(samples, problem, question.method, grid, end, why, widths, seeds, widened)

    found = results.chosen_in(folder)
    if found is not None:
        grid = grid_on(problem, found["box"], found["cells"])
        return plan(grid, found["horizon"], found["why"], found["widened"])
    end, why = executor.submit(horizon_of, problem, question.horizon).result()
    first = plan(executor.submit(mf.fit_grid, problem, cells, end).result(), end, why)
    settle(first, folder)
    return first


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Says of whatever stops a run on the way how to go on."""
    again = f"{folder}; mfpde resume {folder} goes on, bit for bit"
    try:
        yield
    except signals.Interrupted as stop:
        raise Stopped("stopped between steps", str(stop), kept=again) from None
    except Stopped as stop:
        stop.kept = again
        raise
    except NumericalStop as stop:
        stop.keep(f"the density until t = {float(stop.last.time[-1]):.4g} in {folder / 'density'}")
        raise


def answer(question: Question, out: Path | None, max_seconds: float | None) -> None:
    """Everything that a question asks for, into a folder, from wherever it was left."""
    started = time.perf_counter()
    if max_seconds is not None and not 0 < max_seconds < math.inf:
        raise InvalidInput(f"--max-seconds {max_seconds}", "", "a time above 0")
    samples, problem, cells = question.posed()
    folder = out or results.next_free(samples.name)
    record = question.record()
    if results.is_finished(folder, record):
        results.verify(folder)
        say(f"{folder} holds the answer: {folder / 'report.html'}")
        return
    jobs = len(question.particles) * question.seeds + 1
    with (
        signals.alarm(max_seconds),
        results.opened(folder, record),
        resumable(folder),
        workers(jobs) as executor,
    ):
        say(f"mfpde {mf.__version__}: density and particles, into {folder}")
        plan = planned(question, samples, problem, cells, executor, folder)
        show_pairs(asked_of(plan))
        outcome = computed(plan, executor, folder, show_pairs)
        show_found(outcome)
        with results.room(folder) as room:
            write(outcome, room)
    say(f"\n{folder / 'report.html'} after {time.perf_counter() - started:.1f} s")


def show_pairs(pairs: Mapping[str, str]) -> None:
    """Names and values on standard output."""
    for name, value in pairs.items():
        say(f"  {name:<10} {value}")


def show_found(outcome: Outcome) -> None:
    """What was found, on standard output."""
    say(f"\n{textwrap.fill(findings.summary(outcome.run, outcome.gaps, outcome.budget), 96)}\n")
    say(findings.aligned(*findings.gap_table(outcome.gaps)))
    took = ", ".join(f"{what} {seconds:.1f}" for what, seconds in outcome.seconds.items())
    say(f"\nseconds: {took}")


# The commands -------------------------------------------------------------------------------------


@app.command()
def run(
    data: Annotated[Path | None, typer.Argument(metavar="DATA.csv")] = None,
    x: Annotated[list[str] | None, typer.Option(help="Columns of the inputs.")] = None,
    y: Annotated[str | None, typer.Option(help="Column of the target.")] = None,
    activation: Annotated[str, typer.Option(help=", ".join(MOVING))] = "tanh",
    loss: Annotated[str, typer.Option(help="square, or logistic for targets -1 and 1.")] = "square",
    ridge: Annotated[float, typer.Option(help="Penalty RIDGE/2 |neuron|^2.")] = 0.0,
    entropy: Annotated[
        float, typer.Option(help="Weight of the entropy: the temperature of particles' noise.")
    ] = 0.0,
    method: Annotated[
        str | None, typer.Option(help=f"{', '.join(METHODS)}.  [muscl; {NOISY} with entropy]")
    ] = None,
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
        Path | None,
        typer.Option(help="Folder for the results; where some are, go on.  [runs/NAME-1, -2, ...]"),
    ] = None,
    max_seconds: Seconds = None,
) -> None:
    """Solve for the density of neurons that fits DATA, run particles, and compare the two.

    Without DATA: the bundled motorcycle accident data. Inputs and target are standardised.
    """
    with explained():
        question = Question(
            data="" if data is None else str(data),
            x=tuple(x or ()),
            y=y or "",
            activation=activation,
            loss=loss,
            ridge=ridge,
            entropy=entropy,
            bias=bias,
            method=(NOISY if entropy > 0 else "muscl") if method is None else method,
            cells=cells,
            horizon=horizon,
            particles=widths_of(particles or ["100 1000 10000"]),
            seeds=seeds,
        )
        answer(question, Path(os.path.normpath(out)) if out else None, max_seconds)


Folder = Annotated[Path, typer.Argument(metavar="DIR")]


@app.command()
def resume(folder: Folder, max_seconds: Seconds = None) -> None:
    """Go on with what ``mfpde run`` left in DIR: the same results, bit for bit."""
    with explained():
        place = Path(os.path.normpath(folder))
        answer(Question.recorded(results.plan_in(place)), place, max_seconds)


@app.command()
def show(folder: Folder) -> None:
    """What DIR holds: a density run, a particle run, or the results of ``mfpde run``."""
    with explained():
        show_pairs(inspection.shown(folder))


@app.command()
def check(folder: Folder) -> None:
    """Compare every file in DIR with its hash; exit code 5 names one that changed or went."""
    with explained():
        say(inspection.verified(folder))


@app.command()
def compare(left: Folder, right: Folder) -> None:
    """How far apart the runs in two folders are, at the times that both hold."""
    with explained():
        gaps = mf.compare(inspection.run_in(left), inspection.run_in(right))
        say(findings.aligned(*inspection.gap_rows(gaps)))


@app.command("list")
def list_studies() -> None:
    """The studies: what each claims, and what it found."""
    with explained():
        studies = catalogue.studies()
        say("\n\n".join(studies.read(path).in_brief() for path in studies.files()))


@app.command()
def study(
    name: str,
    quick: Annotated[bool, typer.Option("--quick", help="A small version, in seconds.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A parameter.")
    ] = None,
    fields: Annotated[bool, typer.Option("--fields", help="List the parameters, and end.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder.  [runs/NAME-1, -2, ...]")] = None,
) -> None:
    """Run the study NAME: its claim, its checks, its figures, as a report."""
    with explained():
        studies = catalogue.studies()
        chosen = studies.named(name)
        if fields:
            say(chosen.fields())
            return
        folder = Path(os.path.normpath(out)) if out else results.next_free(name)
        config = chosen.config(set_ or (), quick)
        result = studies.perform(chosen, config, folder, studies.Progress(sys.stderr.isatty()))
        say(f"{chosen.title}\n\n{findings.aligned(*studies.table(result.checks))}\n")
        say(f"{folder / 'report.html'} after {result.seconds:.1f} s")
        if result.failed:
            version = chosen.version_of(config)
            bounds = "" if version in ("full", "quick") else "\n  because  bounds fit the defaults"
            refuse(f"failed: {'; '.join(check.name for check in result.failed)}{bounds}", 1)


@app.command()
def doctor() -> None:
    """Versions, threads, memory, disk: what a report of trouble should tell."""
    show_pairs(inspection.machine())
