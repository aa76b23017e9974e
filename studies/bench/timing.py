"""How things are timed: in processor seconds, warm, each package in a process of its own.

A solver is called with a case, cells along an axis and steps (0: its own choice), sets everything
up and compiles; what it returns makes a fresh start, which is not timed either; and what that
returns runs to the horizon. Time is that of the run alone, for everybody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from numpy import float64
from numpy.typing import NDArray

Array = NDArray[float64]
Run = Callable[[], tuple[Array, int]]  # cell averages at the horizon, and steps
Start = Callable[[], Run]

ROOT = Path(__file__).parents[2]
ENOUGH = 0.5  # seconds of repeats, after which no more are made
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA")


def processor_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Of this process, and what the work returned."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


@dataclass(frozen=True)
class Timed:
    """A median over repeats, and what the last run returned."""

    seconds: float
    rho: Array
    steps: int


def timed(start: Start, repeats: int) -> Timed:
    """Runs from fresh starts; the first of short ones only warms caches."""
    first, (rho, steps) = processor_seconds(start())
    taken = []
    while len(taken) < repeats and first + sum(taken) < ENOUGH:
        seconds, (rho, steps) = processor_seconds(start())
        taken.append(seconds)
    return Timed(median(taken or [first]), rho, steps)


def least(work: Callable[[], Any], repeats: int) -> float:
    """Least processor seconds of some repeats: what the work costs undisturbed."""
    return min(processor_seconds(work)[0] for _ in range(repeats))


def environment(threads: int) -> dict[str, str]:
    """Of a process with so many threads."""
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    counts = {f"{name}_NUM_THREADS": str(threads) for name in THREADS}
    return os.environ | counts | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"}


def in_child(work: str, arguments: dict[str, Any], threads: int = 1, **extra: str) -> Any:
    """What ``module.function`` of this folder returns in a fresh process.

    Raises:
        RuntimeError: with the end of its error output, where it failed.
    """
    call = [sys.executable, "-m", "studies.bench", "work", work, json.dumps(arguments)]
    child = subprocess.run(
        call, cwd=ROOT, env=environment(threads) | extra, capture_output=True, text=True
    )
    if child.returncode:
        raise RuntimeError(f"{work}({arguments}) failed:\n{child.stderr[-2000:]}")
    return json.loads(child.stdout.splitlines()[-1])


def here(work: str, arguments: dict[str, Any]) -> Any:
    """The same in this process."""
    module, function = work.split(".")
    return getattr(import_module(f"studies.bench.{module}"), function)(**arguments)
