"""SIGINT, SIGTERM and the time limit on the command line: nothing half done, no traceback.

The first ends the step in hand, commits it, and the process; the second ends everything at once.
On the command line this module is loaded before all others: what they import takes long.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

RESUMABLE = 75  # exit code when the time is over
MODULE = re.compile(r"-[a-zA-Z]*?m(?P<name>.*)")  # -m, alone or behind options without a value
LIMIT = "--max-seconds"
LONGEST = 1e8  # seconds that a timer takes
OVER = f"the time given by {LIMIT} is over"
AT_ONCE = 1e-6  # seconds
QUIT = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal arrived where nothing had to be waited for."""


class Received:
    """What has arrived, and what is going on.

    Attributes:
        first: the first signal; 0 before.
        loading: whether the command is still being imported.
        patient: whether a step is in hand that looks at ``first`` when it is done.
        began: when the command did, in seconds of the clock ``time.monotonic``; None in a script.
    """

    first, loading, patient = 0, False, False
    began: float | None = None


received = Received()


def install(loading: bool) -> None:
    """Handle the signals that ask to end."""
    received.loading = loading
    for number in QUIT:
        signal.signal(number, receive)


def receive(number: int, frame: FrameType | None) -> None:
    """The handler."""
    if number == signal.SIGALRM and received.first:
        return  # asked already
    if number == signal.SIGALRM and received.loading:
        os.write(sys.stderr.fileno(), f"stopped: {OVER}\n".encode())
    if received.first or received.loading:
        end(number)
    received.first = number
    if not received.patient:
        raise Interrupted(told())


def end(number: int) -> None:
    """Leave at once, with all processes that this one started."""
    if "multiprocessing" in sys.modules:
        from multiprocessing import active_children  # late: nothing may load before this module

        for child in active_children():
            child.kill()
    os._exit(code_of(number))


def leave(code: int) -> None:
    """The end of a process that was asked to end: all is written, and nothing is taken apart.

    That takes the interpreter longer than all the rest: seconds on a busy machine.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def code_of(number: int) -> int:
    """The exit code after a signal."""
    return RESUMABLE if number == signal.SIGALRM else 128 + number


def exit_code() -> int:
    """The exit code of a process that stops on the way."""
    return code_of(received.first) if received.first else RESUMABLE


def told() -> str:
    """What has arrived, in words."""
    if received.first == signal.SIGALRM:
        return OVER
    return f"{signal.Signals(received.first).name} was received"


@contextmanager
def patiently() -> Iterator[Received]:
    """Within it the first signal only sets ``first``; whoever works looks there between steps."""
    received.patient = True
    try:
        yield received
    finally:
        received.patient = False
    if received.first:  # it came after the last look
        raise Interrupted(told())


@contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """Within it the end of the time, from the command's start on, is a signal as the others are."""
    if seconds is None:
        yield
        return
    if received.began is not None:
        seconds = max(seconds - (time.monotonic() - received.began), AT_ONCE)
    before = signal.signal(signal.SIGALRM, receive)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_command() -> bool:
    """Whether this process was started as ``mfpde …`` or ``python -m mfpde …``."""
    program = sys.argv[0] if sys.argv else ""
    if program != "-m":
        return os.path.basename(program) == "mfpde"
    for word, following in itertools.pairwise([*sys.orig_argv, ""]):
        found = MODULE.fullmatch(word)
        if found:
            return (found["name"] or following) == "mfpde"
    return False


def asked_limit(words: list[str]) -> float:
    """The seconds on the command line, read before there is anything to read them with; or 0."""
    for word, following in itertools.pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        if option == LIMIT:
            with suppress(ValueError):  # the command will say what is wrong
                seconds = float(value if equals else following)
                return seconds if 0 < seconds < LONGEST else 0.0
    return 0.0


if is_command():
    received.began = time.monotonic()
    install(loading=True)
    signal.signal(signal.SIGALRM, receive)
    signal.setitimer(signal.ITIMER_REAL, asked_limit(sys.argv))
