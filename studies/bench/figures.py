"""Pictures of the benchmarks: marks and shades tell lines apart in grey, names stand outside."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from studies.bench.goals import Results, got
from studies.bench.ladders import Point, frontier
from studies.bench.plan import EXPLICIT, OURS, PARTICLES, PEERS, SPACES

# Ours: dark and full; peers: lighter and dashed; every one with its own mark.
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
DARK = ("#08306b", "#7a0177", "#00441b", "#000000", "#7f2704", "#2171b5", "#5a5a00", "#b30000")
LIGHT = ("#e08214", "#d6604d", "#35978f", "#8c6bb1", "#878787", "#bf812d")


def look(name: str) -> dict[str, Any]:
    """Of a solver's line, the same in all pictures."""
    if name in PEERS:
        k = PEERS.index(name)
        return {
            "color": LIGHT[k % len(LIGHT)], "marker": MARKS[6 + k], "ls": "--",
            "mfc": "white", "lw": 1.2, "ms": 6,
        }  # fmt: skip
    ours = [*OURS, *(n for n in EXPLICIT if n not in OURS)]
    k = ours.index(name) if name in ours else len(name) % len(DARK)
    return {"color": DARK[k % len(DARK)], "marker": MARKS[k % len(MARKS)], "lw": 1.8, "ms": 5}


def work_precision(about: str, case: str, ladders: dict[str, list[Point]]) -> Figure:
    """Error against seconds: what no faster run of the same solver is as precise as."""
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, points in ladders.items():
        if points:
            best = frontier(points)
            axes.plot([p.seconds for p in best], [p.error for p in best], label=name, **look(name))
    logarithmic(axes)
    axes.set_xlabel("processor seconds of the run")
    axes.set_ylabel("L1 error of the density")
    figure.suptitle(f"Case {case}: {about}", fontsize=9, x=0.01, ha="left")
    axes.grid(which="major", color="0.9")
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    return figure


def costs(results: Results) -> Figure:
    """A step against samples, cells, dimension and particles: what of it was measured."""
    figure = Figure(figsize=(8.4, 6.2), layout="constrained")
    (samples, cells), (dimension, swarm) = figure.subplots(2, 2)
    growing(samples, results, "samples", (64, 640), "samples, 256²")
    growing(cells, results, "cells", (32, 64, 128, 256, 512, 1024), "cells an axis, 2-D")
    growing(dimension, results, "dimension", tuple(SPACES), "coordinates", clock="clock")
    samples.set_ylabel("ns a cell and step")
    dimension.set_ylabel("ns a cell and step, two cores")
    swarming(swarm, results)
    lines, names = samples.get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def growing(
    axes: Axes,
    results: Results,
    kind: str,
    sizes: tuple[int, ...],
    label: str,
    clock: str = "processor",
) -> None:
    """Nanoseconds a cell of some methods."""
    measured = [s for s in sizes if any(got(results, kind, name, s) for name in EXPLICIT)]
    for name in EXPLICIT:
        found = [(s, step) for s in measured if (step := got(results, kind, name, s))]
        if found:
            costs = [1e9 * step[clock] / step["cells"] for _, step in found]
            axes.plot([s for s, _ in found], costs, label=name, **look(name))
    if measured:
        logarithmic(axes)
        axes.set_xticks(measured, [str(s) for s in measured])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def swarming(axes: Axes, results: Results) -> None:
    """Particles' steps."""
    sizes = [
        (m, found["milliseconds"])
        for m, n, d in PARTICLES
        if d == 1 and (found := got(results, "particles", m, n, d))
    ]
    if sizes:
        axes.plot(*zip(*sizes, strict=True), "o-", color="black", label="particles")
        (m, first), (last, _) = sizes[0], sizes[-1]
        axes.plot([m, last], [first, first * last / m], ":", color="0.5", label="linear")
        axes.legend(fontsize=8, frameon=False)
        logarithmic(axes)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("particles, 64 samples")
    axes.set_ylabel("ms a step of descent")


def logarithmic(axes: Axes) -> None:
    """Both ways, without a frame."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.spines[["top", "right"]].set_visible(False)
