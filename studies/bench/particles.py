"""What particles cost: processor seconds a step against the number of particles, and their memory.

Gradient descent on tanh networks: x uniform on [−1, 1]^d, y = sin 2x_1, N(0, I); and noisy steps of
both schemes. Goals: a step of 10⁴ particles on 64 samples of one input within 1.5 ms, of 1000
particles on 256 samples of 100 inputs within 3 ms; time linear in the particles to 10⁶; 100 steps
of 10⁶ particles on 64 samples within 1 GiB. On one input every step works tanh out twice for every
particle and sample, however many there are, and stores none of it (particle_ref/neurons.py).

    python studies/bench/particles.py [--repeats 5] [--most 1000000]

Each size runs in a process of its own, whose peak memory is that of its runs. Times are medians of
whole ``run`` calls after a first one, divided by their steps, in seconds of the one processor that
they use: other work on the machine disturbs these less than the clock's.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

import mfpde as mf
import particle_ref as pr

MEBI = 2**20
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of getrusage, in bytes
ENTROPY = 0.1


@dataclass(frozen=True)
class Size:
    """m particles on n samples of d inputs, and the steps that are timed."""

    m: int
    n: int
    d: int
    steps: int
    goal: float = np.nan  # milliseconds a step

    def problem(self, entropy: float) -> mf.Problem:
        """A tanh network with a ridge."""
        x = np.random.default_rng(0).uniform(-1, 1, (self.n, self.d))
        return mf.two_layer(
            x, np.sin(2 * x[:, 0]), penalty=mf.ridge(0.1), entropy=entropy, initial=mf.gaussian()
        )


SIZES = (
    Size(1000, 64, 1, 100),
    Size(10**4, 64, 1, 100, goal=1.5),
    Size(10**5, 64, 1, 100),
    Size(10**6, 64, 1, 100),
    Size(1000, 256, 100, 100, goal=3.0),
)
METHODS: dict[str, tuple[float, Callable[[float], pr.Descent | pr.Langevin]]] = {
    "descent": (0.0, pr.Descent),
    "euler": (ENTROPY, lambda dt: pr.Langevin(dt, 0, scheme="euler")),
    "splitting": (ENTROPY, lambda dt: pr.Langevin(dt, 0)),
}


def milliseconds(size: Size, name: str, repeats: int) -> float:
    """Median time of a step."""
    entropy, method = METHODS[name]
    problem = size.problem(entropy)
    cloud, dt, taken = pr.sample(problem, size.m), 0.01, []
    for _ in range(repeats + 1):
        start = time.process_time()
        pr.run(problem, cloud, method(dt), [size.steps * dt])
        taken.append(time.process_time() - start)
    return 1e3 * float(np.median(taken[1:])) / size.steps


def measured(size: Size, name: str, repeats: int) -> tuple[float, float]:
    """Milliseconds a step, and the peak memory of this process in MiB."""
    taken = milliseconds(size, name, repeats)
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT / MEBI


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most", type=int, default=10**6)
    arguments = parser.parse_args()
    print(
        f"{'method':<11}{'m':<9}{'n':<5}{'d':<5}{'ms a step':<11}{'goal':<6}{'ns/(m n d)':<12}MiB"
    )
    for name in METHODS:
        for size in SIZES:
            if size.m > arguments.most:
                continue
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                taken, peak = pool.submit(measured, size, name, arguments.repeats).result()
            goal = f"{size.goal:g}" if name == "descent" and np.isfinite(size.goal) else ""
            share = 1e6 * taken / (size.m * size.n * size.d)
            print(
                f"{name:<11}{size.m:<9}{size.n:<5}{size.d:<5}{taken:<11.3g}{goal:<6}"
                f"{share:<12.3g}{peak:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
