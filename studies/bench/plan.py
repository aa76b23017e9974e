"""What is measured: one table of jobs, each a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CASES = "ABTE"
OURS = (
    "upwind", "muscl", "weno5", "semi_lagrangian",
    "semi_lagrangian(9, dt)", "semi_lagrangian(9, dt, composed)",
    "semi_lagrangian(15, dt, composed)",
)  # fmt: skip
ENTROPIC = (
    "scharfetter_gummel(dt)", "scharfetter_gummel(implicit=False)", "fipy('exponential', dt)",
    "semi_lagrangian(9, dt)",
)  # fmt: skip
PEERS = (
    "NumPy upwind", "NumPy MUSCL", "JAX MUSCL", "py-pde central RK4", "FiPy upwind", "FiPy VanLeer",
)  # fmt: skip
NEEDS = {"JAX MUSCL": "jax", "py-pde central RK4": "pde"}  # modules of the extra `bench`
COMPILES_LONG = (64, 128, 256)  # half a minute a grid: py-pde's grids
EXPLICIT = ("upwind", "muscl", "semi_lagrangian(7, dt)")
STEPPED = (
    *EXPLICIT, "weno5", "semi_lagrangian(9, dt)", "semi_lagrangian(9, dt, composed)",
    "scharfetter_gummel(dt)", "scharfetter_gummel(implicit=False)", "pushforward(dt)",
)  # fmt: skip
PARTICLES = ((1000, 64, 1), (10**4, 64, 1), (10**5, 64, 1), (10**6, 64, 1), (1000, 256, 100))
PROFILED = (  # with cells an axis, and inputs
    ("upwind", 512, 1), ("upwind", 2048, 1), ("muscl", 512, 1), ("semi_lagrangian(7, dt)", 512, 1),
    ("semi_lagrangian(9, dt, composed)", 48, 1), ("semi_lagrangian(7, dt)", 96, 2),
    ("muscl", 32, 3), ("semi_lagrangian(7, dt)", 32, 3),
)  # fmt: skip
SPACES = {2: 512, 3: 256, 4: 64}  # cells an axis, by dimension


@dataclass(frozen=True)
class Job:
    """A function of this folder, and where its result is kept.

    Attributes:
        key: parts of the result's name.
        work: ``module.function``.
        arguments: its own, fit for JSON.
        threads: of its process.
        needs: a module without which the job is left out.
        cold: with an empty cache of compiled code.
    """

    key: tuple[str, ...]
    work: str
    arguments: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    needs: str = "numpy"
    cold: bool = False

    @property
    def name(self) -> str:
        """Its key in one line."""
        return " | ".join(self.key)


def jobs(scratch: str, quick: bool) -> list[Job]:
    """All of them; ``quick`` ones take a minute, and show that everything works."""
    plan = [Job(("machine",), "costs.machine"), Job(("work",), "costs.works")]
    plan += [
        Job(("truth", c), "ladders.truth", {"on": c, "scratch": scratch}) for c in "BT" if not quick
    ]
    plan += (
        ladders(scratch, quick)
        + steps(quick)
        + profiles(quick)
        + growth(quick)
        + surroundings(quick)
    )
    return plan


def ladders(scratch: str, quick: bool) -> list[Job]:
    """Work against precision."""
    plan = []
    for c in "AE" if quick else CASES:
        for name in ENTROPIC if c == "E" else OURS + PEERS:
            few = {"cells": [24, 48], "repeats": 1} if quick else {}
            longest = 0.3 if quick else 8.0
            if NEEDS.get(name) == "pde":
                few = {"cells": [24] if quick else COMPILES_LONG[: 2 if c == "T" else 3]}
            arguments = {"name": name, "on": c, "scratch": scratch, "longest": longest} | few
            needs = NEEDS.get(name, "numpy")
            plan.append(Job(("ladder", c, name), "ladders.ladder", arguments, needs=needs))
    return plan


def steps(quick: bool) -> list[Job]:
    """A step of every method, against the machine's bandwidth."""
    plan = [Job(("bandwidth",), "costs.bandwidth", {"repeats": 2 if quick else 5})]
    for name in STEPPED[:3] if quick else STEPPED:
        for cells in (64,) if quick else (128, 512, 2048) if name in EXPLICIT else (128, 512):
            plan.append(
                Job(("step", name, str(cells)), "costs.stepped", {"name": name, "cells": cells})
            )
    return plan


def profiles(quick: bool) -> list[Job]:
    """Where the time of steps goes."""
    few = {"least": 2} if quick else {}
    plan = []
    for name, cells, inputs in PROFILED[:1] if quick else PROFILED:
        size = {"name": name, "cells": 32 if quick else cells, "inputs": inputs}
        key = ("profile", *(str(part) for part in size.values()))
        plan.append(Job(key, "profiles.step", size | few))
    for m, n, d in PARTICLES[:1] if quick else (PARTICLES[1], PARTICLES[-1]):
        size = {"m": m, "n": n, "d": d} | few
        key = ("profile", "particles", f"{m}", f"{n}", f"{d}")
        plan.append(Job(key, "profiles.particle_step", size))
    return plan


def growth(quick: bool) -> list[Job]:
    """Against samples, cells, dimension, threads and particles."""
    plan = []

    def add(what: str, name: str, size: int, threads: int = 1, **arguments: int) -> None:
        key = (what, name, str(size))
        plan.append(Job(key, "costs.stepped", {"name": name} | arguments, threads=threads))

    for name in EXPLICIT[:1] if quick else EXPLICIT:
        for samples in (64, 640):
            add("samples", name, samples, cells=64 if quick else 256, samples=samples)
        for cells in (32, 64) if quick else (64, 128, 256, 512, 1024):
            add("cells", name, cells, cells=cells)
        for threads in (1, 2):
            add("threads", name, threads, threads=threads, cells=64 if quick else 1024)
        for dimension, cells in SPACES.items():
            few = {2: 64, 3: 16, 4: 12}[dimension]
            size = {"cells": few if quick else cells, "inputs": dimension - 1, "steps": 2}
            add("dimension", name, dimension, threads=2, **size)
    for m, n, d in PARTICLES:
        if m * n * d <= 10**5 or not quick:
            size = {"m": m, "n": n, "d": d, "repeats": 1 if quick else 3}
            plan.append(Job(("particles", f"{m}", f"{n}", f"{d}"), "costs.particle_step", size))
    return plan


def surroundings(quick: bool) -> list[Job]:
    """Start, compilation, memory."""
    plan = [Job(("start",), "costs.start_up", {"repeats": 1 if quick else 3})]
    for name in ("upwind",) if quick else STEPPED:
        plan.append(Job(("compile", name), "costs.compiled", {"name": name}, cold=True))
    for name in ("muscl", "NumPy MUSCL") if quick else OURS[:-1] + PEERS:
        cells = {"name": name, "cells": 64 if quick else 512}
        needs = NEEDS.get(name, "numpy")
        plan.append(Job(("memory", name), "costs.peak_memory", cells, needs=needs))
    return plan
