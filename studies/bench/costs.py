"""What steps cost: nanoseconds a cell against the machine's bandwidth, and how costs grow.

Costs are the least of some repeats, of whole steps in the loop, guards and records of them
included. A process of its own measures each; arguments and results are plain, for JSON.
"""

from __future__ import annotations

import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import mfpde as mf
from mfpde.loop.stepping import Loop
from studies.bench import ours, particles, peers
from studies.bench.cases import case
from studies.bench.timing import ROOT, environment, least, processor_seconds

MEBI, GIBI = 2**20, 2**30
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of getrusage, in bytes
COPIED = {"L2": 2**18, "L3": 2**22, "DRAM": 2**27}  # bytes of one of the two arrays
DT = 0.02  # of the methods that take any step
LONG, MOST = 2.0, 200  # seconds of repeated steps, and how many: the least of them is undisturbed


@dataclass(frozen=True)
class Work:
    """A method, and what its formulas cost on two axes.

    Attributes:
        stages: evaluations of the right-hand side, or sweeps, in a step.
        numbers: that a cell and stage must at least read and write: ρ in, ρ out.
        flops: of a cell and stage, counted from the formulas: comparisons and choices included,
            guards and the step's length not.
    """

    method: Callable[[], mf.Method]
    stages: int
    flops: int
    entropy: float = 0.0
    numbers: int = 2


WORK = {
    "upwind": Work(mf.upwind, 1, 22),
    "muscl": Work(mf.muscl, 2, 50),
    "weno5": Work(mf.weno5, 3, 330),
    "semi_lagrangian(7, dt)": Work(lambda: mf.semi_lagrangian(7, dt=DT), 3, 60),
    "semi_lagrangian(9, dt)": Work(lambda: mf.semi_lagrangian(9, dt=DT), 3, 70),
    "semi_lagrangian(9, dt, composed)": Work(
        lambda: mf.semi_lagrangian(9, dt=DT, composed=True), 15, 70
    ),
    "scharfetter_gummel(dt)": Work(lambda: mf.scharfetter_gummel(dt=DT), 1, 80, entropy=0.05),
    "scharfetter_gummel(implicit=False)": Work(
        lambda: mf.scharfetter_gummel(implicit=False), 1, 60, entropy=0.05
    ),
    "pushforward(dt)": Work(lambda: mf.pushforward(DT), 1, 40),
}


def problem(samples: int, inputs: int = 1, entropy: float = 0.0) -> mf.Problem:
    """Case B with any number of samples and inputs."""
    x = np.linspace(-2, 2, samples)
    if inputs > 1:
        x = np.random.default_rng(0).uniform(-2, 2, (samples, inputs))
    y = np.sin(2 * x.reshape(samples, -1)[:, 0])
    law = mf.gaussian(std=np.sqrt(0.5))
    penalty = mf.ridge(0.1) if entropy else None
    return mf.two_layer(x, y, penalty=penalty, entropy=entropy, initial=law)


def loop_of(name: str, cells: int, samples: int = 64, inputs: int = 1) -> tuple[Loop, float]:
    """A loop of a method after its first step, and an instant it does not reach."""
    work = WORK[name]
    asked, method = problem(samples, inputs, work.entropy), work.method()
    axis = mf.uniform(-4, 4, cells)
    grid = mf.Grid(**dict.fromkeys(asked.coords, axis))
    loop = Loop(mf.WassersteinFlow(asked, grid, method.quadrature), method, 1.0)  # all may leave
    end = 1e3 if method.stride is None else DT * (MOST + 2)
    loop.advance(end)
    return loop, end


def stepped(
    name: str, cells: int, samples: int = 64, inputs: int = 1, steps: int = 3
) -> dict[str, float]:
    """Seconds of a step: the processor's and the clock's, the least of at least some."""
    loop, end = loop_of(name, cells, samples, inputs)
    taken: list[float] = []
    clock: list[float] = []
    while len(taken) < steps or (sum(clock) < LONG and len(clock) < MOST):
        start = time.perf_counter()
        taken.append(processor_seconds(lambda: loop.advance(end))[0])
        clock.append(time.perf_counter() - start)
    cells_in_all = float(math.prod(loop.flow.grid.shape))
    return {"processor": min(taken), "clock": min(clock), "cells": cells_in_all}


def bandwidth(repeats: int = 5) -> dict[str, float]:
    """Gigabytes a second, read and written, of copies that stay in L2, in L3 and in neither."""
    result = {}
    for level, size in COPIED.items():
        source, sink = np.ones(size // 8), np.zeros(size // 8)
        times = max(1, COPIED["DRAM"] // size)

        def copies(source: Any = source, sink: Any = sink, times: int = times) -> None:
            for _ in range(times):
                np.copyto(sink, source)

        result[level] = 2e-9 * size * times / least(copies, repeats)
    return result


def compiled(name: str, cells: int = 32) -> float:
    """Seconds by which the first step of a process takes longer than its second.

    In a process with an empty cache of numba's that is compilation.
    """
    first = processor_seconds(lambda: stepped(name, cells, steps=1))[0]
    return first - processor_seconds(lambda: stepped(name, cells, steps=1))[0]


def peak_memory(name: str, cells: int) -> dict[str, float]:
    """Peak of this process in MiB: with what all load, and after a few steps of case B."""
    short, before = replace(case("B"), horizon=DT), peak()
    solver = ours.solver(name) if name in ours.METHODS else peers.PEERS[name]
    solver(short, cells, 2)()()
    return {"loaded": before, "peak": peak()}


def peak() -> float:
    """Of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT / MEBI


def particle_step(m: int, n: int, d: int, repeats: int) -> dict[str, float]:
    """Milliseconds of a descent's step, and the peak in MiB."""
    size = next(s for s in particles.SIZES if (s.m, s.n, s.d) == (m, n, d))
    taken, peak = particles.measured(size, "descent", repeats)
    return {"milliseconds": taken, "peak": peak}


def start_up(repeats: int = 3) -> dict[str, float]:
    """Clock seconds: of importing, and of a small ``mfpde run`` with its report, once warm."""
    with tempfile.TemporaryDirectory() as folder:
        small = ["--no-bias", "--cells", "48", "--particles", "100", "--seeds", "1"]
        out = Path(folder) / "out"
        run = [sys.executable, "-m", "mfpde.cli", "run", *small, "--horizon", "1", "--out", out]

        def fresh() -> None:
            shutil.rmtree(out, ignore_errors=True)
            called(run)

        return {
            "python": shortest(lambda: called([sys.executable, "-c", ""]), repeats),
            "libraries": shortest(
                lambda: called([sys.executable, "-c", "import numpy, xarray"]), repeats
            ),
            "import": shortest(lambda: called([sys.executable, "-c", "import mfpde"]), repeats),
            "run": shortest(fresh, 2),
        }


def called(command: list[Any]) -> None:
    """A command, that must not fail."""
    subprocess.run(command, cwd=ROOT, env=environment(1), check=True, capture_output=True)


def shortest(work: Callable[[], None], repeats: int) -> float:
    """By the clock."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


PACKAGES = ("numpy", "scipy", "numba", "fipy", "py-pde", "jax")


def machine() -> dict[str, Any]:
    """Plain facts."""
    return {
        "processor": model(),
        "cores": os.cpu_count(),
        "memory": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBI),
        "versions": {"Python": platform.python_version()} | {p: release(p) for p in PACKAGES},
    }


def release(package: str) -> str:
    """Its version, or that it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def model() -> str:
    """The processor's name."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def works() -> dict[str, dict[str, int]]:
    """Stages, numbers and flops of all methods, for the page."""
    return {
        name: {k: v for k, v in asdict(work).items() if k in ("stages", "numbers", "flops")}
        for name, work in WORK.items()
    }
