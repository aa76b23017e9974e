"""How much a step does, counted: compiled loops that are started, and arrays that are made.

Counts do not depend on the machine, as times do. Where a method comes to need more, the table says
so: change it with the reason.
"""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

import mfpde as mf
from mfpde import flows, kernels, methods
from mfpde.loop.stepping import Loop

CELLS = 96
FIELD = 8 * CELLS**2  # bytes


@dataclass(frozen=True)
class Count:
    """Of one step on two axes.

    Attributes:
        launches: calls of compiled loops, and of which.
        fields: arrays of a number a cell that are alive at the peak, beyond those between steps.
    """

    method: mf.Method
    launches: dict[str, int]
    fields: float
    entropy: float = 0.0


DT = 0.02
COUNTS = {  # `python tests/methods/test_counts.py` counts anew
    "upwind": Count(mf.upwind(), {"emptying": 1, "transport": 1}, 0.2),
    "muscl": Count(mf.muscl(), {"emptying": 1, "transport": 2}, 0.3),
    "weno5": Count(
        mf.weno5(),
        {
            "emptying": 1, "switch_in_a_row": 9, "switch_abreast": 9, "reconstructed": 6,
            "beside": 6, "fluxes": 12, "spent": 12, "shares": 6, "given": 12, "delivered": 12,
            "tally": 4,
        },
        19.3,
    ),
    "semi_lagrangian": Count(
        mf.semi_lagrangian(9, dt=DT),
        {
            "switch_in_a_row": 2, "switch_abreast": 1, "shift_lines": 2, "remap_lines": 1,
            "trace": 1, "moments_of": 2, "taylor": 3, "tally": 2,
        },
        3.2,
    ),
    "semi_lagrangian, λ > 0": Count(
        mf.semi_lagrangian(9, dt=DT),
        {
            "switch_in_a_row": 4, "switch_abreast": 3, "remap_lines": 3, "trace": 1,
            "moments_of": 2, "taylor": 3, "tally": 2,
        },
        5.3,
        entropy=0.05,
    ),
    "semi_lagrangian, composed": Count(
        mf.semi_lagrangian(9, dt=DT, composed=True),
        {
            "switch_in_a_row": 2, "switch_abreast": 1, "shift_lines": 6, "remap_lines": 15,
            "trace": 15, "moments_of": 20, "taylor": 11, "tally": 2,
        },
        3.2,
    ),
    "scharfetter_gummel": Count(
        mf.scharfetter_gummel(dt=DT),
        {"rates": 6, "settle": 18, "tally": 4, "moments_of": 6},
        23.5,
        entropy=0.05,
    ),
    "scharfetter_gummel, explicit": Count(
        mf.scharfetter_gummel(implicit=False),
        {"rates": 2, "exchange": 2, "tally": 1},
        7.1,
        entropy=0.05,
    ),
    "pushforward": Count(mf.pushforward(DT), {"deposit": 1, "tally": 1}, 16.2),
}  # fmt: skip


def stepping(count: Count) -> Loop:
    """A loop that has made its first steps: all is compiled, tables are made."""
    x = np.linspace(-2, 2, 16)
    penalty = mf.ridge(0.1) if count.entropy else None
    problem = mf.two_layer(
        x, np.sin(2 * x), penalty=penalty, entropy=count.entropy, initial=mf.gaussian(std=0.6)
    )
    axis = mf.uniform(-4, 4, CELLS)
    flow = mf.WassersteinFlow(problem, mf.Grid(a=axis, w=axis), count.method.quadrature)
    loop = Loop(flow, count.method, 1e-3)
    for _ in range(2):
        loop.advance(1e3)
    return loop


@contextmanager
def counted_launches() -> Iterator[Counter[str]]:
    """Calls from Python of every compiled loop, wherever a module of ours holds it."""
    launches: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for package in (kernels, flows, methods):
            for info in iter_modules(package.__path__, f"{package.__name__}."):
                module = import_module(info.name)
                for name, loop in list(vars(module).items()):
                    if isinstance(loop, CPUDispatcher):
                        patch.setattr(module, name, counting(loop, launches))
        yield launches


def counting(loop: CPUDispatcher, launches: Counter[str]):
    name = loop.py_func.__name__.strip("_")

    def launched(*arguments):
        launches[name] += 1
        return loop(*arguments)

    return launched


@pytest.mark.parametrize("name", COUNTS)
def test_launches_of_a_step(name):
    loop = stepping(COUNTS[name])
    before = loop.rejected
    with counted_launches() as launches:
        loop.advance(1e3)
    assert loop.rejected == before, "a refused step counts twice"
    assert dict(launches) == COUNTS[name].launches


@pytest.mark.parametrize("name", COUNTS)
def test_memory_of_a_step(name):
    """At its peak as documented, to a quarter of a field; and steps leave nothing behind."""
    loop = stepping(COUNTS[name])
    tracemalloc.start()
    try:
        loop.advance(1e3)  # its own results take the place of those made unwatched
        held, peaks = [], []
        for _ in range(4):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            loop.advance(1e3)
            _, peak = tracemalloc.get_traced_memory()
            gc.collect()
            now, _ = tracemalloc.get_traced_memory()
            held.append(now)
            peaks.append(peak - before)
    finally:
        tracemalloc.stop()
    assert np.ptp(held[1:]) < 0.02 * FIELD
    assert max(peaks) <= (COUNTS[name].fields + 0.25) * FIELD


def test_a_launch_more_is_seen():
    loop = stepping(COUNTS["upwind"])
    step = loop.stepper.step

    def twice(*arguments):
        step(*arguments)
        return step(*arguments)

    loop.stepper.step = twice
    with counted_launches() as launches:
        loop.advance(1e3)
    assert dict(launches) != COUNTS["upwind"].launches


def counted(count: Count) -> tuple[dict[str, int], float]:
    """What belongs into the table."""
    loop = stepping(count)
    with counted_launches() as launches:
        loop.advance(1e3)
    tracemalloc.start()
    loop.advance(1e3)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    loop.advance(1e3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return dict(launches), (peak - before) / FIELD


if __name__ == "__main__":
    for name, count in COUNTS.items():
        print(name, *counted(count))
