"""docs/BENCHMARKS.md and its figures, from stored numbers alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studies.bench import figures
from studies.bench.attempts import ACCOUNTS, Account, account_of
from studies.bench.goals import Results, duration, fastest, got, points_of, rate, rows
from studies.bench.ladders import TARGETS, Reach, observed_order, reach
from studies.bench.plan import (
    CASES,
    ENTROPIC,
    EXPLICIT,
    OURS,
    PARTICLES,
    PEERS,
    PROFILED,
    SPACES,
    STEPPED,
)

ABOUT = {
    "A": "linear activation, one sample, [−3, 3]², until ∫(risk slope) dt = −0.6: closed form",
    "B": "tanh, 64 samples of sin 2x, N(0, I/2) on [−4, 4]², until t = 2: characteristics",
    "T": "tanh, 16 samples of sin 1.5x, narrow start, [−4, 4]², until t = 1: characteristics",
    "E": "linear activation, ridge, λ = 0.05, [−4, 4]², until t = 0.2: closed form",
}
QUOTED = {  # of PyClaw 5.14, measured elsewhere before: seconds to the targets
    "A": (9e-3, 12e-3, 0.29, None),
    "B": (None, None, 0.67, None),
}
POWER = {2: "²", 3: "³", 4: "⁴"}
FALLS = 0.5  # an order below which errors do not fall with the cells
LEVEL = {128: "L2", 512: "L3", 2048: "DRAM"}  # where a field of so many cells an axis lies


def draw(results: Results, docs: Path) -> None:
    """Write the page and its figures into a folder."""
    (docs / "figures").mkdir(parents=True, exist_ok=True)
    for name, picture in pictures(results).items():
        picture.savefig(docs / "figures" / f"{name}.png", dpi=110, metadata={"Software": None})
    (docs / "BENCHMARKS.md").write_text(text(results), encoding="utf-8")


def pictures(results: Results) -> dict[str, Any]:
    """By file name."""
    drawn = {}
    for case in CASES:
        names = ENTROPIC if case == "E" else OURS + PEERS
        ladders = {name: points_of(results, case, name) for name in names}
        if any(ladders.values()):
            drawn[f"work-precision-{case}"] = figures.work_precision(ABOUT[case], case, ladders)
    drawn["costs"] = figures.costs(results)
    return drawn


def text(results: Results) -> str:
    """The page."""
    parts = [introduction(results), goals(results)]
    parts += [precision(results, case) for case in CASES]
    parts += [steps(results), profiles(results), growth(results), surroundings(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """In Markdown."""
    head = list(head)
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def introduction(results: Results) -> str:
    """What, where and how."""
    machine = got(results, "machine") or {}
    versions = ", ".join(f"{k} {v}" for k, v in machine.get("versions", {}).items())
    return f"""# Benchmarks

`make bench` measures everything on this page in one run and writes it from
`studies/bench/results/results.json`; `python -m studies.bench page` draws it again.

Machine: {machine.get("processor", "unknown")}, {machine.get("cores", "?")} cores, \
{machine.get("memory", "?")} GiB. {versions}.

Seconds are the processor's, of one thread, in double precision, compiled code warm, set-up and
compilation apart: from the initial density to the last, guards of every step included for ours.
Each package runs in its own process. Peers know that V = a g(w), so that none pays for the samples
in every cell; NumPy and JAX run the same lines. Compare ratios: seconds differ between machines.
Where two cores are named, or the clock, seconds are the clock's."""


def goals(results: Results) -> str:
    """Reached or not."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    lines = [[r.figure, r.goal, r.measured, words[r.reached]] for r in rows(results)]
    parts = ["## Goals", table(("figure", "goal", "measured", "reached"), lines)]
    missed = [r.figure for r in rows(results) if r.reached is False]
    accounts = [a for a in ACCOUNTS if a in map(account_of, missed)]
    told = [account(a, [f for f in missed if account_of(f) is a]) for a in accounts]
    head = ["### Missed: why, and what was tried", BEFORE] if told else []
    return "\n\n".join(parts + head + told)


BEFORE = """Nanoseconds and milliseconds in this part are of the time when it was tried, before and
after one behind the other; where the time of a step goes is measured below."""


def account(of: Account, figures: list[str]) -> str:
    """Why some goals are missed, in a paragraph and a list."""
    tried = [f"- kept: {each}." for each in of.kept]
    tried += [f"- dropped: {each}." for each in of.dropped]
    return f"**{'; '.join(figures)}.** {of.why}\n\n" + "\n".join(tried)


def precision(results: Results, case: str) -> str:
    """Seconds to errors, with ratios to the best of ours."""
    names = ENTROPIC if case == "E" else OURS + PEERS
    ladders = {name: points_of(results, case, name) for name in names}
    ladders = {name: points for name, points in ladders.items() if points}
    if not ladders:
        return ""
    mine = ENTROPIC if case == "E" else OURS
    best = {t: fastest(results, case, mine, t) for t in TARGETS}
    lines = []
    for name, points in ladders.items():
        order = observed_order(points)
        label = f"`{name}`" if name in mine else name
        cells = [told(reach(points, t), best[t]) for t in TARGETS]
        whole = reach(points, 1e-3)
        call = duration(whole.whole) if whole and whole.whole else ""
        known = order is not None and order > FALLS
        lines.append([label, f"{order:.1f}" if known else "", *cells, call])
    for seconds in [QUOTED[case]] if case in QUOTED else []:
        quoted = [told(None if s is None else Reach(s, ""), None) for s in seconds]
        lines.append(["PyClaw 5.14 (quoted: another run)", "2.1", *quoted, ""])
    head = ("", "order", *(f"L1 ≤ {t:.0e}" for t in TARGETS), "whole `mf.solve` to 1e-03")
    return f"""## Case {case}: {ABOUT[case]}

![Error against seconds, case {case}](figures/work-precision-{case}.png)

{table(head, lines)}

In brackets: times the best of ours. ≤: the coarsest grid meets it already. *: extrapolated with the
order observed on the two finest grids; where errors no longer fall, as with a tolerance for the
steps, there is no order and nothing to extrapolate."""


def told(found: Reach | None, best: Reach | None) -> str:
    """Seconds, mark, ratio."""
    if found is None:
        return ""
    ratio = f" ({found.seconds / best.seconds:.3g})" if best else ""
    prefix, suffix = ("≤ ", "") if found.mark == "≤" else ("", found.mark)
    return f"{prefix}{duration(found.seconds)}{suffix}{ratio}"


def steps(results: Results) -> str:
    """Nanoseconds a cell, against the bandwidth."""
    bandwidth, work = got(results, "bandwidth"), got(results, "work")
    if not bandwidth or not work:
        return ""
    lines = []
    for name in STEPPED:
        for cells in (64, *LEVEL):
            step = got(results, "step", name, cells)
            if step is None:
                continue
            stages, numbers, flops = (work[name][k] for k in ("stages", "numbers", "flops"))
            level = LEVEL.get(cells, "L2")
            stage = 1e3 / rate(step) / stages
            share = 8 * numbers / stage / bandwidth[level]
            lines.append([
                f"`{name}`", f"{cells}²", f"{1e3 / rate(step):.3g}", str(stages), f"{stage:.3g}",
                f"{8 * numbers}", f"{flops}", f"{flops / stage:.2g}",
                f"{level} {100 * share:.0f} %",
            ])  # fmt: skip
    copies = ", ".join(f"{level} {value:.0f}" for level, value in bandwidth.items())
    head = ("", "grid", "ns a cell and step", "stages", "ns a cell and stage", "bytes", "flops",
            "Gflop/s", "of the bandwidth")  # fmt: skip
    return f"""## A step

Copies of arrays, GB/s read and written: {copies}. Bytes are the least that a cell and stage must
move (ρ in, ρ out); flops are counted from the formulas on two axes, guards and the choice of dt
apart. Times are whole steps in the loop, the least of many, with 64 samples.

{table(head, lines)}"""


def profiles(results: Results) -> str:
    """Where the time of steps goes."""
    lines = []
    for name, cells, inputs in PROFILED:
        found, grid = got(results, "profile", name, cells, inputs), f"{cells}{POWER[inputs + 1]}"
        lines += [profile(f"`{name}`, {grid}", found)] if found else []
    for m, n, d in PARTICLES:
        found = got(results, "profile", "particles", m, n, d)
        lines += [profile(f"particles, m = {m}, n = {n}, d = {d}", found)] if found else []
    if not lines:
        return ""
    head = ("a step of", "milliseconds", "compiled loops and matrix products", "the rest")
    return f"""## Where the time goes

By the clock, one thread: the shortest of some steps, the loops that it starts (how often) with
their milliseconds, and what is left: Python, NumPy, and the clocks themselves.

{table(head, lines)}"""


def profile(what: str, found: Any) -> list[str]:
    """A line of the table, the longest loops first."""
    loops = sorted(found["loops"].items(), key=lambda item: -item[1][1])
    told = ", ".join(f"{name} ({n:g}) {1e3 * seconds:.3g}" for name, (n, seconds) in loops)
    rest = found["seconds"] - sum(seconds for _, (_, seconds) in loops)
    return [what, f"{1e3 * found['seconds']:.3g}", told, f"{1e3 * rest:.3g}"]


def growth(results: Results) -> str:
    """How costs grow."""
    parts = ["## How costs grow\n\n![Costs](figures/costs.png)"]
    kinds = {
        "samples": ("samples", (64, 640), "processor"),
        "cells": ("cells an axis", (32, 64, 128, 256, 512, 1024), "processor"),
        "dimension": ("coordinates, two cores", tuple(SPACES), "clock"),
        "threads": ("threads, 1024²", (1, 2), "clock"),
    }
    for kind, (label, sizes, clock) in kinds.items():
        there = [s for s in sizes if any(got(results, kind, n, s) for n in EXPLICIT)]
        lines = [
            [f"`{name}`", *(step_cost(got(results, kind, name, s), clock) for s in there)]
            for name in EXPLICIT
        ]
        if there:
            head = (f"milliseconds a step (ns a cell), {label}:", *map(str, there))
            parts.append(table(head, lines))
    lines = [
        [f"{m}", f"{n}", f"{d}", f"{found['milliseconds']:.3g}", f"{found['peak']:.0f}"]
        for m, n, d in PARTICLES
        if (found := got(results, "particles", m, n, d))
    ]
    parts.append(table(("particles", "samples", "inputs", "ms a step", "peak MiB"), lines))
    return "\n\n".join(parts)


def step_cost(step: dict[str, float] | None, clock: str) -> str:
    """Milliseconds and nanoseconds a cell."""
    if step is None:
        return ""
    return f"{1e3 * step[clock]:.3g} ({1e9 * step[clock] / step['cells']:.3g})"


def surroundings(results: Results) -> str:
    """Start, compilation, memory."""
    parts = []
    if start := got(results, "start"):
        parts.append(
            "## Start, compilation, memory\n\n"
            f"By the clock: Python {start['python']:.2f} s, with numpy and xarray "
            f"{start['libraries']:.2f} s, with mfpde {start['import']:.2f} s; a small `mfpde run` "
            f"with its report {start['run']:.1f} s."
        )
    cold = {name: got(results, "compile", name) for name in STEPPED}
    lines = [[f"`{name}`", f"{s:.1f}"] for name, s in cold.items() if s is not None]
    parts.append(table(("first step ever", "seconds of compilation"), lines))
    peaks = {name: got(results, "memory", name) for name in OURS + PEERS}
    lines = [
        [name, f"{m['peak'] - m['loaded']:.0f}", f"{m['peak']:.0f}"]
        for name, m in peaks.items()
        if m
    ]
    head = ("a few steps at 512²", "MiB beyond NumPy, SciPy and mfpde", "peak MiB")
    parts.append(table(head, lines))
    return "\n\n".join(parts)
