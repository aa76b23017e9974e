"""Forecasts of memory against what runs take: one process a run, the table of all by

python tests/faults/memory.py [--full]
"""

import json
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import mfpde as mf

ROOT = Path(__file__).parents[2]
TINY = 12  # cells an axis of a run that loads and compiles all that the measured one needs
NOISE = 3 * 2**20  # bytes by which the resident set of the same run differs between processes
ALLOWED = 0.15
OF_FACTORS = 0.35  # a sparse factorisation grows its arrays by halves, and copies them

# method -> (its call, length of a step, λ)
METHODS = {
    "upwind": (mf.upwind, 0.0, 0.0),
    "muscl": (mf.muscl, 0.0, 0.0),
    "semi_lagrangian": (mf.semi_lagrangian, 0.02, 0.0),
    "window": (lambda: mf.semi_lagrangian(window=True), 0.02, 0.0),
    "lines": (mf.scharfetter_gummel, 0.01, 0.1),
    "direct": (lambda: mf.scharfetter_gummel(inside="direct"), 0.01, 0.1),
    "explicit": (lambda: mf.scharfetter_gummel(implicit=False), 0.0, 0.1),
}
STEPS = 3  # from one snapshot to the next, of methods whose steps are bounded


@dataclass(frozen=True)
class Case:
    """A run to be measured; ``plain`` neurons have no output weight."""

    method: str
    axes: int
    cells: int
    samples: int = 16
    keep: str = "density"
    snapshots: int = 4
    plain: bool = False

    def problem(self):
        """A tanh network with one coordinate for each axis."""
        d = self.axes - (not self.plain)
        bias = d > 1
        x = np.random.default_rng(0).uniform(-1, 1, (self.samples, d - bias))
        return mf.two_layer(
            x,
            np.sin(3 * x[:, 0]),
            bias=bias,
            output_weight=not self.plain,
            penalty=mf.ridge(0.1),
            entropy=METHODS[self.method][2],
            initial=mf.gaussian(0.0, 0.5),
        )

    def arguments(self, cells):
        """Problem, grid, method and times of ``mf.solve``."""
        make, step, _ = METHODS[self.method]
        problem, method = self.problem(), make()
        grid = mf.Grid(**{c: mf.uniform(-6, 6, cells) for c in problem.coords})
        if step == 0.0:  # bounded steps: about STEPS of the longest
            flow = mf.WassersteinFlow(problem, coarse(problem), method.quadrature)
            longest = method.begin(flow).longest(flow.start, flow.field(flow.start))
            ratio = cells / COARSE
            step = STEPS * longest / (ratio if self.method != "explicit" else ratio**2)
        return problem, grid, method, step * np.arange(self.snapshots)

    def run(self):
        """Bytes of the resident set's peak above what it was, and those forecast."""
        warnings.simplefilter("ignore")
        self.solve(*self.arguments(TINY))
        arguments = self.arguments(self.cells)
        told = mf.forecast(*arguments, keep=self.keep)
        before = resident("VmRSS")
        self.solve(*arguments)
        return {"measured": resident("VmHWM") - before, "forecast": told.memory}

    def solve(self, *arguments):
        """Without a word, whatever leaves the box."""
        return mf.solve(*arguments, keep=self.keep, escaped_tolerance=1.0, progress=False)


COARSE = 16


def coarse(problem):
    """A grid on which the longest step is looked at."""
    return mf.Grid(**{c: mf.uniform(-6, 6, COARSE) for c in problem.coords})


def resident(name):
    """VmRSS (now) or VmHWM (its peak in this process) in bytes, as Linux tells."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))


def measured(case):
    """(measured, forecast) bytes of a case, run in a process of its own."""
    command = [sys.executable, __file__, json.dumps(asdict(case))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    return found["measured"], found["forecast"]


def agrees(measured, forecast, allowed=ALLOWED):
    """Within ``allowed``, or what small runs differ by anyway."""
    return abs(forecast - measured) <= max(allowed * measured, NOISE)


def cases(full):
    """A few, or all that the forecast is promised for."""
    few = [
        Case("muscl", 2, 512, snapshots=12),
        Case("semi_lagrangian", 2, 512, 64, "last"),
        Case("lines", 2, 512, keep="marginals"),
        Case("window", 2, 512),
    ]
    if not full:
        return few
    many = [
        Case(method, 2, cells, samples, keep)
        for method in ("upwind", "muscl", "semi_lagrangian", "lines")
        for cells in (128, 512, 1024)
        for samples, keep in ((16, "density"), (64, "marginals"), (64, "last"))
    ]
    many += [
        Case(method, 2, 2048, samples, keep)
        for method in ("upwind", "muscl", "semi_lagrangian", "lines")
        for samples, keep in ((16, "last"), (64, "density"))
    ]
    many += [
        Case(method, 3, cells, samples, keep)
        for method in ("upwind", "muscl", "semi_lagrangian", "lines")
        for cells, samples, keep in ((64, 64, "density"), (128, 16, "last"), (128, 64, "marginals"))
    ]
    many += [Case("window", 2, cells, 64, "last") for cells in (128, 512, 1024)]
    many += [Case("window", 3, 64, 64, "last"), Case("window", 3, 96, 64, "density")]
    many += [Case("direct", 2, cells, keep=keep) for cells, keep in ((128, "last"), (512, "last"))]
    many += [Case("direct", 3, cells, keep="last") for cells in (16, 20, 24)]
    many += [Case("explicit", 2, 1024), Case("explicit", 3, 96)]
    many += [Case(method, 2, 512, 16, plain=True) for method in ("muscl", "semi_lagrangian")]
    many += [Case("muscl", 2, 1024, 64, "last", plain=True)]
    return few + many


def table(full):
    """Print every case with its error; how many miss."""
    missed = 0
    print("method           axes cells samples keep      plain | measured  forecast MiB  error")
    for case in cases(full):
        taken, told = measured(case)
        right = agrees(taken, told, OF_FACTORS if case.method == "direct" else ALLOWED)
        missed += not right
        print(
            f"{case.method:<16} {case.axes:>4} {case.cells:>5} {case.samples:>7} {case.keep:<9} "
            f"{case.plain!s:<5} | {taken / 2**20:8.1f} {told / 2**20:9.1f}     "
            f"{told / taken - 1:+7.1%}{'' if right else '  missed'}",
            flush=True,
        )
    return missed


if __name__ == "__main__":
    given = sys.argv[1:]
    if given and given[0].startswith("{"):
        print(json.dumps(Case(**json.loads(given[0])).run()))
    else:
        sys.exit(table("--full" in given) > 0)
