"""Seconds to an L1 error with entropy: FiPy, Scharfetter-Gummel and semi-Lagrangian steps.

Linear activation with ridge and λ = 0.05 keeps Gaussians Gaussian, so the density is known:

    m' = −Hm,   S' = −HS − SH + 2λI,   H = [[α, G], [G, β]],   G = Σ p (f − y) x,  f = x E[aw]

Three samples, α = 0.5, β = 0.3, N((0.2, 0.3), [[0.4, 0.1], [0.1, 0.4]]) on [−4, 4]² until t = 0.2.
FiPy's exponential weights are Scharfetter & Gummel's, so both make the same error in space;
implicit steps are of order 1 in time, and dt ∝ h² keeps their error below it.

    python studies/bench/entropic.py [--repeats 3] [--finest 128]

Each method's grids are refined until a target is met; where the ladder ends first, seconds are
extrapolated with its last order, and marked *. Compiled code is warm. Compare ratios, not seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

import mfpde as mf

X, Y, WEIGHTS = np.array([-1.2, 0.4, 0.9]), np.array([1.4, 1.0, 2.2]), np.array([0.5, 0.2, 0.3])
RIDGE, ENTROPY = np.array([0.5, 0.3]), 0.05
MEAN, COV = np.array([0.2, 0.3]), np.array([[0.4, 0.1], [0.1, 0.4]])
HALF, HORIZON = 4.0, 0.2
TARGETS = (1e-2, 1e-3)
LADDER = (24, 32, 48, 64, 96, 128)
PROBLEM = mf.two_layer(
    X,
    Y,
    mf.identity,
    weights=WEIGHTS,
    penalty=mf.ridge(RIDGE),
    entropy=ENTROPY,
    initial=mf.gaussian(mean=MEAN, cov=COV),
)


def moments(horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) and covariance (2, 2) at the horizon."""

    def rate(t: float, state: np.ndarray) -> np.ndarray:
        m, S = state[:2], state[2:].reshape(2, 2)
        G = WEIGHTS @ ((X * (S[0, 1] + m[0] * m[1]) - Y) * X)
        H = np.diag(RIDGE) + G * np.array([[0.0, 1.0], [1.0, 0.0]])
        return np.r_[-H @ m, (-H @ S - S @ H + 2 * ENTROPY * np.eye(2)).ravel()]

    start = np.r_[MEAN, COV.ravel()]
    end = solve_ivp(rate, (0, horizon), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return end[:2], end[2:].reshape(2, 2)


def exact_averages(cells: int) -> np.ndarray:
    """Cell averages at the horizon, by 3 × 3 Gauss nodes a cell."""
    mean, cov = moments(HORIZON)
    width = 2 * HALF / cells
    nodes, weights = np.polynomial.legendre.leggauss(3)
    points = -HALF + width * (np.arange(cells)[:, None] + 0.5 + nodes / 2)
    a, w = np.meshgrid(points.ravel() - mean[0], points.ravel() - mean[1], indexing="ij")
    (p, q), (_, r) = np.linalg.inv(cov)
    rho = np.exp(-0.5 * (p * a**2 + 2 * q * a * w + r * w**2))
    rho /= 2 * np.pi * np.sqrt(np.linalg.det(cov))
    nodal = rho.reshape(cells, 3, cells, 3)
    return np.einsum("iqjr,q,r->ij", nodal, weights / 2, weights / 2)


@dataclass(frozen=True)
class Point:
    """One run: its grid, error, seconds and steps."""

    cells: int
    error: float
    seconds: float
    steps: int

    @property
    def per_step(self) -> float:
        """Milliseconds."""
        return 1e3 * self.seconds / self.steps


def measured(method: mf.Method, cells: int, repeats: int) -> Point:
    """The median time of whole calls."""
    grid = mf.Grid(a=mf.uniform(-HALF, HALF, cells), w=mf.uniform(-HALF, HALF, cells))
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run = mf.solve(PROBLEM, grid, method, [HORIZON], keep="last", progress=False)
        taken.append(time.perf_counter() - start)
    missed = np.abs(run.rho_last.values - exact_averages(cells))
    error = float(missed.sum() * (2 * HALF / cells) ** 2)
    return Point(cells, error, float(np.median(taken)), int(run.attrs["steps"]))


def quartered(cells: int) -> float:
    """A step ∝ h², as long as the error in time stays below that in space."""
    return 0.05 * (24 / cells) ** 2


MethodAt = Callable[[int], mf.Method]
METHODS: dict[str, tuple[MethodAt, int]] = {  # with the finest grid of its ladder
    'fipy("exponential")': (lambda n: mf.fipy("exponential", dt=quartered(n)), 128),
    "scharfetter_gummel": (lambda n: mf.scharfetter_gummel(dt=quartered(n)), 128),
    "  implicit=False": (lambda n: mf.scharfetter_gummel(implicit=False), 128),
    "semi_lagrangian": (lambda n: mf.semi_lagrangian(), 96),
}


def climbed(method_at: MethodAt, finest: int, repeats: int) -> list[Point]:
    """Runs on ever finer grids, until the strictest target is met."""
    points: list[Point] = []
    for cells in LADDER:
        if cells <= finest and (not points or points[-1].error > min(TARGETS)):
            points.append(measured(method_at(cells), cells, repeats))
    return points


def seconds_to(points: list[Point], target: float) -> tuple[float, bool]:
    """Seconds of the first run that meets the target, or extrapolated ones."""
    for point in points:
        if point.error <= target:
            return point.seconds, False
    coarse, fine = points[-2:]
    cost = np.log(fine.seconds / coarse.seconds) / np.log(coarse.error / fine.error)
    return fine.seconds * (fine.error / target) ** cost, True


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--finest", type=int, default=max(LADDER))
    arguments = parser.parse_args()
    print(f"{'method':<22}{'grid':<7}{'L1 error':<11}{'steps':<7}{'ms/step':<10}ns/cell-step")
    ladders = {}
    for name, (method_at, finest) in METHODS.items():
        measured(method_at(LADDER[0]), LADDER[0], 1)  # compiles, imports
        ladders[name] = climbed(method_at, min(finest, arguments.finest), arguments.repeats)
        for p in ladders[name]:
            print(
                f"{name:<22}{f'{p.cells}²':<7}{p.error:<11.2e}{p.steps:<7}"
                f"{p.per_step:<10.3g}{1e6 * p.per_step / p.cells**2:.3g}"
            )
    print(f"\n{'seconds to L1':<22}" + "".join(f"{f'{t:.0e}':<12}{'ratio':<10}" for t in TARGETS))
    fastest = {t: min(seconds_to(p, t)[0] for p in ladders.values()) for t in TARGETS}
    for name, points in ladders.items():
        line = f"{name:<22}"
        for target in TARGETS:
            taken, far = seconds_to(points, target)
            line += f"{f'{taken:.3g}' + '*' * far:<12}{f'{taken / fastest[target]:.3g}':<10}"
        print(line)


if __name__ == "__main__":
    main()
