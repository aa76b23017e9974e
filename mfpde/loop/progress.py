"""What looks on after every step: a line of progress at a terminal, and the limit in time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput, Stopped
from mfpde.loop.guards import State

Progress = Callable[[State, float], None]


def silent(state: State, end: float) -> None:
    """Say nothing."""


def progress_line() -> Progress:
    """A line on standard error, rewritten at most five times a second."""
    last = [0.0]

    def show(state: State, end: float) -> None:
        now, done = time.monotonic(), state.t >= end
        if now - last[0] > 0.2 or done:
            last[0] = now
            risk = state.field.risk
            line = f"\r  t = {state.t:.4g} of {end:.4g}, step {state.step}, risk {risk:.5g}   "
            print(line, end="\n" if done else "", file=sys.stderr, flush=True)

    return show


def chosen(progress: Progress | bool | None) -> Progress:
    """None: a line at a terminal; True: a line; False: silence; or the caller's own function.

    Raises InvalidInput for anything else.
    """
    if callable(progress):
        return progress
    if not (progress is None or isinstance(progress, bool)):
        fix = "True, False, or a function of (state, end)"
        raise InvalidInput(f"progress = {shown(progress)}", "it shows a run's progress", fix)
    wanted = sys.stderr.isatty() if progress is None else progress
    return progress_line() if wanted else silent


def within(max_seconds: float | None, show: Progress) -> Progress:
    """``show``, which after ``max_seconds`` from now raises Stopped unless the end is reached.

    Raises InvalidInput for what is no time.
    """
    if max_seconds is None:
        return show
    if not number(max_seconds) > 0:
        given = f"max_seconds = {shown(max_seconds)}"
        raise InvalidInput(given, "a time on the clock", "seconds above 0, or None")
    latest = time.monotonic() + max_seconds

    def limited(state: State, end: float) -> None:
        show(state, end)
        if time.monotonic() >= latest and state.t < end:
            raise Stopped(
                f"stopped at t = {state.t:.6g} of {end:.6g}, step {state.step}",
                f"max_seconds = {max_seconds:g} are over",
            )

    return limited
