"""Work against precision: ever finer grids until an error is met or a time is spent."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studies.bench import ours, peers
from studies.bench.cases import Case, case
from studies.bench.timing import processor_seconds, timed

TARGETS = (5e-2, 1e-2, 1e-3, 1e-6)
CELLS = (24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WORTH = 0.8  # an error that twice the steps lower by less is the grid's
WHOLE = 2.0  # seconds of a run, above which the whole call costs the same
STALLED = 0.95  # an error that a finer grid lowers by less is the tolerance's of the steps
GROWTH = 3  # seconds ∝ cells³: an axis' cells, squared, times steps


@dataclass(frozen=True)
class Point:
    """A run: its grid, steps, L1 error and processor seconds.

    Attributes:
        ready: seconds of set-up and compilation before it.
        whole: seconds of the whole call of ``mf.solve``; None for peers and for long runs.
    """

    cells: int
    steps: int
    error: float
    seconds: float
    ready: float
    whole: float | None = None


def measured(name: str, problem: Case, cells: int, steps: int, repeats: int) -> Point:
    """One run of ours or of a peer."""
    mine = name in ours.METHODS
    solver = ours.solver(name) if mine else peers.PEERS[name]
    ready, start = processor_seconds(lambda: solver(problem, cells, steps))
    run = timed(start, repeats)
    called = mine and run.seconds < WHOLE
    whole = ours.whole_call(name, problem, cells, steps) if called else None
    return Point(cells, run.steps, problem.error(run.rho), run.seconds, ready, whole)


def ladder(
    name: str,
    on: str,
    scratch: str,
    longest: float,
    cells: Iterable[int] = CELLS,
    repeats: int = 5,
) -> list[dict[str, Any]]:
    """All points of a solver on a case: until it meets the last target, stalls, or takes long.

    Where the solver takes any number of steps, on every grid these are doubled for as long as that
    lowers the error.
    """
    problem = case(on, Path(scratch))
    points: list[Point] = []
    fewest = 0
    for n in cells:
        if points and points[-1].seconds * (n / points[-1].cells) ** GROWTH > longest:
            break
        for steps in STEPS[fewest:] if name in ours.TAKES_STEPS else (0,):
            points.append(measured(name, problem, n, steps, repeats))
            before = points[-2] if len(points) > 1 else None
            if before and before.cells == n:
                if points[-1].error > WORTH * before.error or points[-1].seconds > longest / 4:
                    break
                fewest = max(fewest, STEPS.index(steps) - 2)
        best = [p.error for p in best_of_grids(points)]
        if best[-1] <= TARGETS[-1] or (len(best) > 1 and best[-1] > STALLED * best[-2]):
            break
    return [asdict(p) for p in points]


def frontier(points: list[Point]) -> list[Point]:
    """Those that no faster one is as precise as, by their seconds."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: p.seconds):
        if not best or point.error < best[-1].error:
            best.append(point)
    return best


@dataclass(frozen=True)
class Reach:
    """Seconds to a target.

    Attributes:
        mark: "" measured, "≤" by the coarsest grid already, "*" extrapolated with the observed
            order, cells and steps growing alike.
    """

    seconds: float
    mark: str
    whole: float | None = None


def reach(points: list[Point], target: float) -> Reach | None:
    """The fastest run that meets a target, or an extrapolation; None where errors do not fall."""
    good = [p for p in points if p.error <= target]
    if good:
        first = min(good, key=lambda p: p.seconds)
        coarsest = first.cells == min(p.cells for p in points)
        return Reach(first.seconds, "≤" if coarsest else "", first.whole)
    observed = observed_order(points)
    if observed is None or observed <= 0:
        return None
    fine = best_of_grids(points)[-1]
    return Reach(fine.seconds * (fine.error / target) ** (GROWTH / observed), "*")


def observed_order(points: list[Point]) -> float | None:
    """Between the two finest grids."""
    finest = best_of_grids(points)[-2:]
    if len(finest) < 2:
        return None
    coarse, fine = finest
    return math.log(coarse.error / fine.error) / math.log(fine.cells / coarse.cells)


def best_of_grids(points: list[Point]) -> list[Point]:
    """The most precise run on every grid, the finest last."""
    best = {p.cells: p for p in sorted(points, key=lambda p: -p.error)}
    return [best[n] for n in sorted(best)]


def truth(on: str, scratch: str) -> float:
    """Make a case's density, for the processes to come; its processor seconds."""
    return processor_seconds(lambda: case(on, Path(scratch)).density)[0]
