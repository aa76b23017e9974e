"""Seconds to an L1 error of 1e-3: semi-Lagrangian steps against muscl and upwind, in one run.

Case A has a closed form (linear activation, one sample); case B (tanh, 64 samples) is measured
against its truth by backward characteristics. Both are those of the package's reference tables:
x = 1, y = 0.8, N((0.2, 0.3), 0.35² I) on [−3, 3]² until ∫(risk slope) dt = −0.6, and
x = linspace(−2, 2, 64), y = sin 2x, N(0, I/2) on [−4, 4]² until t = 2.

    python studies/bench/transport.py [--target 1e-3] [--repeats 5]

Each method's grids are refined until the target is met; where that is out of reach the time is
extrapolated with the order observed on its last two grids, and marked *. Times are medians of whole
``solve`` calls with compiled code warm; compare them as ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad

import mfpde as mf
import particle_ref as pr

Error = Callable[[mf.Grid, np.ndarray], float]


@dataclass(frozen=True)
class Case:
    """A problem on a square box, and the L1 error of a density at its horizon."""

    name: str
    problem: mf.Problem
    half: float
    horizon: float
    exact: Callable[[np.ndarray], np.ndarray]  # density at points (N, 2), at the horizon

    def grid(self, cells: int) -> mf.Grid:
        """The box in cells × cells."""
        return mf.Grid(
            a=mf.uniform(-self.half, self.half, cells), w=mf.uniform(-self.half, self.half, cells)
        )

    def solve(self, method: mf.Method, cells: int) -> np.ndarray:
        """Cell averages at the horizon."""
        run = mf.solve(
            self.problem, self.grid(cells), method, [self.horizon],
            escaped_tolerance=1e-3, keep="last", progress=False,
        )  # fmt: skip
        return run.rho_last.values

    def error(self, rho: np.ndarray) -> float:
        """L1 of cell averages, the exact ones by 3 × 3 Gauss nodes a cell."""
        cells, width = len(rho), 2 * self.half / len(rho)
        centres = -self.half + width * (np.arange(cells) + 0.5)
        nodes, weights = np.polynomial.legendre.leggauss(3)
        average = np.zeros_like(rho)
        for x, p in zip(nodes, weights, strict=True):
            for y, q in zip(nodes, weights, strict=True):
                columns = np.meshgrid(
                    centres + x * width / 2, centres + y * width / 2, indexing="ij"
                )
                points = np.stack(columns, axis=-1).reshape(-1, 2)
                average += p * q / 4 * self.exact(points).reshape(rho.shape)
        return float(np.abs(rho - average).sum() * width**2)


def case_a() -> Case:
    """Linear activation: ρ(u, v) = ρ_0(u e^{G}, v e^{−G}) in u = (a+w)/√2, v = (a−w)/√2."""
    mean, std, G = np.array([0.2, 0.3]), 0.35, -0.6
    U, W = mean.sum() ** 2 + 2 * std**2, (mean[0] - mean[1]) ** 2 + 2 * std**2

    def slope(s: float) -> float:
        return (U * np.exp(-2 * s) - W * np.exp(2 * s)) / 4 - 0.8

    def exact(points: np.ndarray) -> np.ndarray:
        u = (points[:, 0] + points[:, 1]) / np.sqrt(2) * np.exp(G)
        v = (points[:, 0] - points[:, 1]) / np.sqrt(2) * np.exp(-G)
        start = np.stack([u + v, u - v], axis=1) / np.sqrt(2)
        return np.exp(-0.5 * (((start - mean) / std) ** 2).sum(axis=1)) / (2 * np.pi * std**2)

    horizon = quad(lambda s: 1 / slope(s), 0, G, epsabs=1e-13)[0]
    law = mf.gaussian(mean=mean, std=std)
    return Case("A", mf.two_layer([1.0], [0.8], mf.identity, initial=law), 3.0, horizon, exact)


def case_b() -> Case:
    """tanh on 64 samples; the density by backward characteristics."""
    x = np.linspace(-2, 2, 64)
    problem = mf.two_layer(x, np.sin(2 * x), initial=mf.gaussian(std=np.sqrt(0.5)))
    truth = pr.Truth(problem, 2.0, tolerance=1e-9)
    return Case("B", problem, 4.0, 2.0, lambda points: truth.density(points, 2.0))


GRIDS = {
    "semi_lagrangian": [
        (cells, mf.semi_lagrangian(9, dt=dt))
        for cells, dt in ((32, 0.5), (40, 0.3), (48, 0.2), (56, 0.15), (64, 0.12), (80, 0.1))
    ],
    "semi_lagrangian composed": [
        (cells, mf.semi_lagrangian(9, dt=dt, composed=True))
        for cells, dt in ((40, 1.0), (48, 1.0), (56, 1.0), (64, 0.5), (80, 0.5))
    ],
    "muscl": [(cells, mf.muscl()) for cells in (64, 128, 192, 256, 384, 512)],
    "upwind": [(cells, mf.upwind()) for cells in (64, 128, 256)],
}


def seconds(case: Case, method: mf.Method, cells: int, repeats: int) -> float:
    """Median time of a whole call."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        case.solve(method, cells)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def to_target(
    case: Case, ladder: list[tuple[int, mf.Method]], target: float, repeats: int
) -> tuple[str, float, float, bool]:
    """Setting, error, seconds and whether they were extrapolated."""
    errors = []
    for cells, method in ladder:
        errors.append(case.error(case.solve(method, cells)))
        if errors[-1] <= target:
            return f"{cells}²", errors[-1], seconds(case, method, cells, repeats), False
    (coarse, _), (fine, method) = ladder[-2:]
    order = np.log(errors[-2] / errors[-1]) / np.log(fine / coarse)
    factor = (errors[-1] / target) ** (1 / order)  # cells along an axis, and with them steps
    return f"{fine}²", errors[-1], seconds(case, method, fine, 1) * factor**3, True


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=float, default=1e-3)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'case':<5}{'method':<26}{'grid':<7}{'L1 error':<11}{'seconds':<11}ratio")
    for case in (case_a(), case_b()):
        fastest = None
        for name, ladder in GRIDS.items():
            case.solve(ladder[0][1], ladder[0][0])  # compiles
            grid, error, taken, far = to_target(case, ladder, arguments.target, arguments.repeats)
            fastest = taken if fastest is None else fastest
            mark = "*" if far else ""
            print(
                f"{case.name:<5}{name:<26}{grid:<7}{error:<11.2e}{taken:<.3g}{mark:<6}"
                f" {taken / fastest:.3g}"
            )


if __name__ == "__main__":
    main()
