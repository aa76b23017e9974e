"""Where a step's time goes: every compiled loop that Python starts, and what is left to Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules
from time import perf_counter
from typing import Any

import numpy as np
from numba.core.registry import CPUDispatcher

import particle_ref as pr
from mfpde import flows, kernels, methods
from studies.bench import particles
from studies.bench.costs import loop_of
from studies.bench.timing import Array
from studies.bench.timing import least as quickest

Spent = dict[str, list[float]]  # by the loop's name: how often started, and its seconds


@contextmanager
def watched(packages: tuple[Any, ...]) -> Iterator[Spent]:
    """Starts and clock seconds of every compiled loop, wherever a module holds it."""
    spent: Spent = {}
    held = [
        (module, name, loop)
        for package in packages
        for info in iter_modules(package.__path__, f"{package.__name__}.")
        for module in [import_module(info.name)]
        for name, loop in list(vars(module).items())
        if isinstance(loop, CPUDispatcher)
    ]
    for module, name, loop in held:
        setattr(module, name, clocked(loop, spent))
    try:
        yield spent
    finally:
        for module, name, loop in held:
            setattr(module, name, loop)


def clocked(loop: CPUDispatcher, spent: Spent) -> Callable[..., Any]:
    """The loop, with an account of its calls."""
    account = spent.setdefault(loop.py_func.__name__.strip("_"), [0, 0.0])

    def called(*arguments: Any) -> Any:
        start = perf_counter()
        result = loop(*arguments)
        account[1] += perf_counter() - start
        account[0] += 1
        return result

    return called


def step(name: str, cells: int, inputs: int = 1, least: int = 20) -> dict[str, Any]:
    """The shortest of some steps: its seconds, and those of the loops it started."""
    loop, end = loop_of(name, cells, inputs=inputs)
    return shortest(lambda: loop.advance(end), (kernels, flows, methods), least)


def particle_step(m: int, n: int, d: int, least: int = 5, steps: int = 20) -> dict[str, Any]:
    """The same of a descent's steps, a part of a run; products of matrices are timed alone."""
    size = next(s for s in particles.SIZES if (s.m, s.n, s.d) == (m, n, d))
    problem, dt = size.problem(0.0), 0.01
    cloud = pr.sample(problem, m)
    found = shortest(lambda: pr.run(problem, cloud, pr.Descent(dt), [steps * dt]), (pr,), least)
    loops = {name: [n / steps, t / steps] for name, (n, t) in found["loops"].items()}
    if d > 1:  # the products of matrices, alone
        loops["x·w"] = [1, product(np.ones((m, d)), np.ones((d, n)))]
        loops["its transpose"] = [1, product(np.ones((d, n)), np.ones((n, m)))]
    return {"seconds": found["seconds"] / steps, "loops": loops}


def product(left: Array, right: Array) -> float:
    """Seconds of a product of matrices."""
    out = np.empty((len(left), right.shape[1]))
    return quickest(lambda: np.matmul(left, right, out=out), 50)


def shortest(work: Callable[[], object], packages: tuple[Any, ...], least: int) -> dict[str, Any]:
    """Of so many calls, the first apart."""
    found: list[tuple[float, Spent]] = []
    work()
    for _ in range(least):
        with watched(packages) as spent:
            start = perf_counter()
            work()
            found.append((perf_counter() - start, {k: v for k, v in spent.items() if v[0]}))
    seconds, loops = min(found, key=lambda each: each[0])
    return {"seconds": seconds, "loops": loops}
