"""Our methods as solvers: steps with all guards, without what surrounds them in ``mf.solve``."""

from __future__ import annotations

from collections.abc import Callable

import mfpde as mf
from mfpde.loop.stepping import Loop
from studies.bench.cases import Case
from studies.bench.timing import Array, Run, Start, processor_seconds

ESCAPES = 1e-3  # mass that smeared densities may lose through the walls
MethodAt = Callable[[Case, int, int], mf.Method]  # case, cells, steps
H_SQUARED = 0.05 * 24**2  # dt·cells² of steps of order 1 in time: their error stays below space's


def fixed(order: int, composed: bool = False) -> MethodAt:
    """Equal semi-Lagrangian steps."""
    return lambda case, cells, steps: mf.semi_lagrangian(
        order, dt=case.horizon / steps, composed=composed
    )


CHOOSES_STEPS: dict[str, MethodAt] = {
    "upwind": lambda *_: mf.upwind(),
    "muscl": lambda *_: mf.muscl(),
    "weno5": lambda *_: mf.weno5(),
    "semi_lagrangian": lambda *_: mf.semi_lagrangian(),
}
TAKES_STEPS: dict[str, MethodAt] = {
    "semi_lagrangian(9, dt)": fixed(9),
    "semi_lagrangian(9, dt, composed)": fixed(9, composed=True),
    "semi_lagrangian(15, dt, composed)": fixed(15, composed=True),
}
ENTROPIC: dict[str, MethodAt] = {
    "scharfetter_gummel(dt)": lambda _, n, __: mf.scharfetter_gummel(dt=H_SQUARED / n**2),
    "scharfetter_gummel(implicit=False)": lambda *_: mf.scharfetter_gummel(implicit=False),
    "fipy('exponential', dt)": lambda _, n, __: mf.fipy("exponential", dt=H_SQUARED / n**2),
}
METHODS = CHOOSES_STEPS | TAKES_STEPS | ENTROPIC


def solver(name: str) -> Callable[[Case, int, int], Start]:
    """A method by its name."""

    def ready(case: Case, cells: int, steps: int = 0) -> Start:
        method = METHODS[name](case, cells, steps)
        flow = mf.WassersteinFlow(case.problem, case.grid(cells), method.quadrature)

        def start() -> Run:
            return marching(Loop(flow, method, ESCAPES), case.horizon)

        Loop(flow, method, ESCAPES).advance(case.horizon)  # compiles
        return start

    return ready


def marching(loop: Loop, horizon: float) -> Run:
    """Steps to the horizon."""

    def run() -> tuple[Array, int]:
        while loop.state.t < horizon:
            loop.advance(horizon)
        return loop.state.rho, loop.state.step

    return run


def whole_call(name: str, case: Case, cells: int, steps: int) -> float:
    """Processor seconds of ``mf.solve``, with its set-up, forecast and Dataset."""
    method = METHODS[name](case, cells, steps)
    return processor_seconds(
        lambda: mf.solve(
            case.problem, case.grid(cells), method, [case.horizon],
            escaped_tolerance=ESCAPES, keep="last", progress=False,
        )
    )[0]  # fmt: skip
