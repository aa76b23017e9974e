"""What is aimed at, row by row, against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from studies.bench.ladders import Point, Reach, reach
from studies.bench.plan import EXPLICIT, OURS, PEERS, SPACES

Results = dict[str, Any]
BOXES = {3: "256³", 4: "64⁴"}


@dataclass(frozen=True)
class Row:
    """A goal, what was measured, and whether that reaches it; None: not measured."""

    figure: str
    goal: str
    measured: str
    reached: bool | None


def got(results: Results, *key: object) -> Any:
    """A job's result, or None."""
    return results.get(" | ".join(str(part) for part in key))


def points_of(results: Results, case: str, name: str) -> list[Point]:
    """Of a ladder; none where it was not measured."""
    return [Point(**point) for point in got(results, "ladder", case, name) or []]


def fastest(results: Results, case: str, names: Sequence[str], target: float) -> Reach | None:
    """The best of some solvers; measured ones before extrapolations."""
    reaches = [reach(points_of(results, case, name), target) for name in names]
    known = [r for r in reaches if r is not None]
    return min(known, key=lambda r: (r.mark == "*", r.seconds), default=None)


def time_row(results: Results, case: str, target: float, most: float, cells: int = 0) -> Row:
    """Seconds to an error; on at most so many cells an axis, if any."""
    figure = f"case {case}, L1 ≤ {target:.0e}" + (f", at most {cells}²" if cells else "")
    goal = f"≤ {duration(most)}"
    ladders = [points_of(results, case, name) for name in OURS]
    allowed = [[p for p in points if not cells or p.cells <= cells] for points in ladders]
    reaches = [r for points in allowed if (r := reach(points, target))]
    if not any(ladders):
        return Row(figure, goal, "", None)
    met = [r.seconds for r in reaches if r.mark != "*"]
    if not met:
        least = min((p.error for points in allowed for p in points), default=float("nan"))
        return Row(figure, goal, f"not met; least error {least:.1e}", False)
    return Row(figure, goal, duration(min(met)), min(met) <= most)


def ratio_row(results: Results, peers: Sequence[str], least: float, whom: str) -> Row:
    """Case A at 1e-3 against peers."""
    figure, goal = f"case A, L1 ≤ 1e-03, against {whom}", f"≥ {least:g} times faster"
    ours, theirs = (fastest(results, "A", names, 1e-3) for names in (OURS, peers))
    if ours is None or theirs is None:
        return Row(figure, goal, "", None)
    ratio = theirs.seconds / ours.seconds
    return Row(figure, goal, f"{ratio:.3g}{'*' if theirs.mark == '*' else ''}", ratio >= least)


def rate(step: dict[str, float]) -> float:
    """Millions of cells a second."""
    return 1e-6 * step["cells"] / step["processor"]


def step_row(
    results: Results,
    figure: str,
    goal: str,
    key: Sequence[object],
    value: Callable[[Any], float],
    shown: str,
    good: Callable[[float], bool],
) -> Row:
    """A number made of one result."""
    found = got(results, *key)
    if found is None:
        return Row(figure, goal, "", None)
    number = value(found)
    return Row(figure, goal, shown.format(number), good(number))


def rows(results: Results) -> list[Row]:
    """All goals."""
    bandwidth = got(results, "bandwidth") or {}
    ceiling = 1e3 * bandwidth.get("DRAM", float("nan")) / 16  # millions of cells a second
    return [
        time_row(results, "A", 1e-3, 1e-3),
        ratio_row(results, PEERS, 100, "the best peer"),
        ratio_row(results, [p for p in PEERS if "FiPy" in p], 1e5, "FiPy"),
        time_row(results, "A", 1e-6, 0.5),
        time_row(results, "B", 1e-3, 1e-3),
        time_row(results, "B", 1e-6, 0.3, cells=128),
        step_row(
            results, "upwind step out of cache, 2048²", "≥ 60 % of the ceiling of copies",
            ("step", "upwind", 2048), lambda s: 100 * rate(s) / ceiling, "{:.0f} %",
            lambda share: share >= 60,
        ),
        step_row(
            results, "upwind step in cache, 512²", "≥ 400 Mcells/s",
            ("step", "upwind", 512), rate, "{:.0f} Mcells/s", lambda v: v >= 400,
        ),
        step_row(
            results, "muscl stage, 512²", "≥ 350 Mcells/s",
            ("step", "muscl", 512), lambda s: 2 * rate(s), "{:.0f} Mcells/s", lambda v: v >= 350,
        ),
        step_row(
            results, "semi-Lagrangian step of order 7, limited, 512²", "≤ 20 ns a cell",
            ("step", "semi_lagrangian(7, dt)", 512), lambda s: 1e3 / rate(s), "{:.3g} ns",
            lambda v: v <= 20,
        ),
        *(samples_row(results, name) for name in EXPLICIT),
        *(space_row(results, D) for D in BOXES),
        particle_row(results, (10**4, 64, 1), 1.5),
        particle_row(results, (1000, 256, 100), 3.0),
        linear_row(results),
        step_row(
            results, "start to report, small run, warm installation", "≤ 5 s",
            ("start",), lambda s: s["run"], "{:.1f} s", lambda v: v <= 5,
        ),
    ]  # fmt: skip


def samples_row(results: Results, name: str) -> Row:
    """64 to 640 samples."""
    figure, goal = f"{name} step at 256², 64 → 640 samples", "less than doubles"
    few, many = (got(results, "samples", name, n) for n in (64, 640))
    if few is None or many is None or few["cells"] != 256**2:
        return Row(figure, goal, "", None)
    ratio = many["processor"] / few["processor"]
    return Row(figure, goal, f"{ratio:.2f} times", ratio < 2)


def space_row(results: Results, dimension: int) -> Row:
    """50 steps on two cores."""
    figure = f"50 steps, {dimension}-D {BOXES[dimension]}, two cores"
    taken = {
        name: 50 * found["clock"]
        for name in EXPLICIT
        if (found := got(results, "dimension", name, dimension))
        and found["cells"] == SPACES[dimension] ** dimension
    }
    if not taken:
        return Row(figure, "< 30 s", "", None)
    told = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in taken.items())
    return Row(figure, "< 30 s", told, max(taken.values()) < 30)


def particle_row(results: Results, size: tuple[int, int, int], most: float) -> Row:
    """A descent's step."""
    m, n, d = size
    return step_row(
        results, f"particle step, m = {m}, n = {n}, d = {d}", f"≤ {most:g} ms",
        ("particles", m, n, d), lambda found: found["milliseconds"], "{:.3g} ms",
        lambda v: v <= most,
    )  # fmt: skip


def linear_row(results: Results) -> Row:
    """In the number of particles."""
    figure, goal = "a particle's cost, m = 10⁴ → 10⁶", "the same, to 20 %"
    few, many = (got(results, "particles", m, 64, 1) for m in (10**4, 10**6))
    if few is None or many is None:
        return Row(figure, goal, "", None)
    ratio = many["milliseconds"] / few["milliseconds"] / 100
    return Row(figure, goal, f"{ratio:.2f} times", ratio <= 1.2)


def duration(seconds: float) -> str:
    """In the unit that reads best."""
    for unit, size in (
        ("years", 3.156e7),
        ("days", 86400.0),
        ("h", 3600.0),
        ("min", 60.0),
        ("s", 1.0),
    ):
        if seconds >= 2 * size or (unit == "s" and seconds >= 1):
            return f"{seconds / size:.3g} {unit}"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"
