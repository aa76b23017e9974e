"""THE LOOP: from a problem, a grid and a method to a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mfpde.arguments import number, numbers, shown
from mfpde.errors import (
    InvalidInput,
    MassEscaped,
    MfpdeError,
    NumericalStop,
    Stopped,
)
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.grids.grid import Grid
from mfpde.loop.box import holding_box
from mfpde.loop.choice import chosen_for
from mfpde.loop.forecast import check_room
from mfpde.loop.identity import check_watched, identity
from mfpde.loop.progress import Progress, chosen, silent, within
from mfpde.loop.record import Keep, Pages, Recorder, Watch
from mfpde.loop.stepping import Loop
from mfpde.loop.store import Book, Store
from mfpde.loop.threads import one_thread
from mfpde.methods.muscl import muscl
from mfpde.methods.step import Method
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem


def solve(
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method | None = None,
    times: ArrayLike = (0.0, 1.0),
    watch: Sequence[Watch] = (),
    to: str | os.PathLike[str] | Store | None = None,
    keep: Keep = "density",
    escaped_tolerance: float = 1e-6,
    progress: Progress | bool | None = None,
    max_seconds: float | None = None,
) -> xr.Dataset:
    """Solve ∂_t ρ = ∇·(ρ∇V_ρ) + λΔρ from the problem's initial law on a grid.

    Args:
        problem: what is minimised.
        grid: where the density lives.
        method: how to step; None chooses ``mf.scharfetter_gummel()`` for λ > 0, at λ = 0
            ``mf.semi_lagrangian()`` where features declare that they are smooth (a second
            derivative) or piecewise linear and it can step, else ``mf.muscl()``.
        times: instants to keep, increasing, from 0 on; the law itself stands at time 0. Steps land
            on them exactly.
        watch: pure functions of a snapshot (a Dataset with rho, prediction, risk, …) that return
            a number; kept under their own names.
        to: a folder (or ``mf.store``) the run is written to snapshot by snapshot. The same call
            again goes on from there, bit for bit, or returns the finished run; so do more
            ``times`` that begin like those before. Numbers stay on disk until they are asked for.
        keep: "density" keeps rho at all times; "single" does so in single precision, to 6e-8 of
            every cell average; "marginals" one density per coordinate and the last rho; "last" the
            last rho only. Steps are made in double precision whatever is kept.
        escaped_tolerance: mass that may leave through open walls before the run is stopped.
        progress: None shows a line at a terminal; False is silent; a function gets (state, end)
            after every step, and may raise ``mfpde.errors.Stopped`` to end the run there.
        max_seconds: stop after the first step that ends later than this, counted from the call;
            one step at least is made. No part of what is run: the same call again goes on.

    Returns:
        Dataset with dims time, the coords and sample: rho (cell averages), prediction, risk,
        energy (with λ∫ρ log ρ), dissipation (the rate ∫|∇(V + λ log ρ)|²dρ), mass, escaped and
        escaped_energy (what left open walls, by wall in escaped_through), x, y, weight, the cells'
        edges as a_edges, …; methods of exact energy add dissipated (the energy lost by their own
        account: energy + escaped_energy + dissipated is constant). Methods with a window add its
        ends, ``window`` (time, wall), and what is kept of rho on its own cells too, rho_in_window
        (see ``mf.in_window``); all numbers are taken there, and of what a window leaves out, 1e-12
        at an end at most, escaped tells. How it was made is in the attributes. mass + escaped = 1.

    Raises:
        InvalidInput: when problem, grid, method and times do not fit; for λ > 0 also where nothing
            confines the mass along a coordinate and no closed wall was named; and when ``to`` holds
            another run, with the differences.
        NotAvailable: for λ > 0 and a method that does not diffuse.
        NumericalStop: when a guard stops the run; ``error.last`` is the run up to the last good
            state, or what ``to`` holds of it.
        Stopped: when ``max_seconds`` are over, or ``progress`` ended the run; ``to`` then goes on
            from the last step, and ``error.last`` holds what is committed there (without ``to``:
            the run up to the last step). A KeyboardInterrupt leaves the last checkpoint, which the
            same call goes on from too.
        AlreadyExists: when ``to`` holds something else, or is being written (``Busy``).
        StorageError: when ``to`` cannot be written or is damaged; what was committed stays.
    """
    instants = checked_times(times)
    check_tolerance(escaped_tolerance)
    show = within(max_seconds, chosen(progress))
    if not isinstance(grid, Grid):
        raise InvalidInput(f"grid = {grid!r} is not a grid", fix="mf.Grid(a=…, w=…)")
    chosen_method = chosen_for(problem, grid, method)
    check_stride(chosen_method, instants)
    target = None if to is None else to if isinstance(to, Store) else Store(to)
    folder = None if target is None else target.path
    check_room(problem, grid, chosen_method, instants, keep, folder)
    try:
        return evolved(
            problem, grid, chosen_method, instants, watch, keep, escaped_tolerance, show, target
        )
    except NumericalStop as stop:
        if isinstance(stop, MassEscaped):
            name_box(stop, problem, grid, chosen_method, instants[-1])
        stop.keep(what_is_kept(stop.last, target))
        raise
    except KeyboardInterrupt as stop:
        if target is not None:
            stop.add_note(f"kept in {target.path}: the same call again goes on")
        raise
    except Stopped as stop:
        here = "the run so far, as error.last; with to=… the same call would go on"
        stop.kept = here if target is None else f"{target.path}: the same call again goes on"
        raise


def what_is_kept(run: xr.Dataset, target: Store | None) -> str:
    """Where a stopped run is, and how far it came."""
    if run.sizes["time"] == 0:
        return "no snapshot"
    reached = f"t = {float(run.time[-1]):.6g}"
    if target is None:
        return f"last good state at {reached}, as error.last"
    return f"snapshots until {reached}, as error.last and in {target.path}"


def evolved(
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method,
    instants: Array,
    watch: Sequence[Watch] = (),
    keep: Keep = "density",
    escaped_tolerance: float = 1e-6,
    show: Progress = silent,
    to: Store | None = None,
) -> xr.Dataset:
    """The run itself; a stop carries it as far as it came."""
    with one_thread():
        return followed(problem, grid, method, instants, watch, keep, escaped_tolerance, show, to)


def followed(
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method,
    instants: Array,
    watch: Sequence[Watch],
    keep: Keep,
    escaped_tolerance: float,
    show: Progress,
    to: Store | None,
) -> xr.Dataset:
    """Snapshot by snapshot."""
    flow = WassersteinFlow(problem, grid, method.quadrature)
    recorder = Recorder(flow, method, keep, watch, escaped_tolerance)
    clock = Loop(flow, method, escaped_tolerance)
    template = recorder.template()
    with ExitStack() as held:
        book: Pages | Book = Pages(template)
        if to is not None:
            parts = identity(flow, clock.bound, method, keep, escaped_tolerance)
            book = held.enter_context(to.opened(parts, xr.Dataset(*template), instants))
        if book.state is not None:
            clock.restore(book.state)
        if watch and book.count:
            check_watched(recorder, book.run(), clock.state)
        if book.finished:
            return book.run()
        try:
            for instant in instants[book.count :]:
                while clock.state.t < instant:
                    clock.advance(instant)
                    book.pause(clock.saved)
                    show(clock.state, instants[-1])
                book.append(recorder.row(clock.state), clock.saved())
        except (NumericalStop, Stopped) as stop:
            if isinstance(stop, Stopped) and isinstance(book, Book):
                book.checkpoint(clock.saved())
            last = recorder.last(clock.state)
            stop.last = book.stopped(recorder.row(clock.state), clock.counts(), last)
            raise
        book.finish(clock.counts(), recorder.last(clock.state))
        return book.run()


def name_box(
    stop: MassEscaped,
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method,
    horizon: float,
) -> None:
    """Put into the error the box that holds the mass to the end, found by coarse pilots."""
    cells = dict(zip(grid.coords, grid.shape, strict=True))
    try:
        follows = method.promise == "monotone" or method.stride is not None
        smeared = method if follows else muscl()
        box = holding_box(evolved, problem, stop.box, cells, horizon, smeared)
    except MfpdeError as error:
        stop.fix = error.fix
        return
    stop.box = {
        c: (min(low, grid.box[c][0]), max(high, grid.box[c][1])) for c, (low, high) in box.items()
    }
    stop.fix = "the box " + ", ".join(
        f"{c}=({low:.4g}, {high:.4g})" for c, (low, high) in stop.box.items()
    )


def checked_times(times: ArrayLike) -> Array:
    """Instants as an array: finite, at least 0, increasing."""
    instants = np.atleast_1d(numbers("times", times))
    good = instants.ndim == 1 and instants.size > 0 and bool(np.isfinite(instants).all())
    if not good or instants[0] < 0 or (np.diff(instants) <= 0).any():
        raise InvalidInput(
            f"times = {few(instants)}",
            "they are finite, increasing and start at 0 or later; the law stands at time 0",
            "times=np.linspace(0, 2, 21)",
        )
    return instants


def few(times: Array) -> str:
    """The first and last of many times, for a message."""
    return np.array2string(times, threshold=6, separator=", ")


def check_tolerance(tolerance: float) -> None:
    """A fraction of the mass."""
    if not 0 <= number(tolerance) <= 1:
        given = f"escaped_tolerance = {shown(tolerance)}"
        raise InvalidInput(given, "a fraction of the mass, 0 to 1")


STRIDE_SLACK = 1e-9  # of t/dt from a whole number, relative


def check_stride(method: Method, instants: Array) -> None:
    """Raise unless a map in discrete time is asked for at its own times."""
    if method.stride is None:
        return
    steps = np.rint(instants / method.stride)
    astray = np.abs(steps * method.stride - instants) > STRIDE_SLACK * instants
    astray[1:] |= np.diff(steps) == 0
    if astray.any():
        near = np.unique(np.maximum(steps, instants > 0)) * method.stride
        raise InvalidInput(
            f"the times {few(instants[astray])} are no multiples of dt = {method.stride:g}",
            f"{method.call} is at k·dt after k steps and nowhere else",
            f"times={few(near)}, or another dt",
        )
