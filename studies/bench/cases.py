"""What is solved: four problems with known densities at their horizons.

A: linear activation, one sample x = 1, y = 0.8: ρ(u, v) = ρ_0(u e^{G}, v e^{−G}) along the
   diagonals u = (a + w)/√2, v = (a − w)/√2, until G = ∫(risk slope) dt = −0.6. Closed form.
B: tanh, 64 samples of sin 2x, N(0, I/2), until t = 2; T: tanh, 16 samples of sin 1.5x, until t = 1.
   Their truth is backward characteristics of quadrature particles (``particle_ref.Truth``).
E: linear activation with ridge and λ = 0.05 keeps Gaussians Gaussian,
   m' = −Hm,  S' = −HS − SH + 2λI,  H = diag(ridge) + [[0, G], [G, 0]],  G = Σ p (f − y) x.

Errors are L1 of cell averages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad, solve_ivp
from scipy.interpolate import RectBivariateSpline

import mfpde as mf
import particle_ref as pr
from mfpde.flows.initial import cell_averages

Array = NDArray[np.float64]
Density = Callable[[Array, Array], Array]  # nodes a (N,), w (M,) -> (N, M)
GAUSS = 4  # nodes a cell and axis
KNOTS = 161  # an axis, of log ρ: its spline misses the truths by 2e-8 in L1
TRUTH = 1e-11  # tolerance of the characteristics


@dataclass(frozen=True)
class Case:
    """A problem on the square box [−half, half]², and its density at the horizon."""

    name: str
    about: str
    problem: mf.Problem
    half: float
    horizon: float
    truth: Callable[[], Density]  # dear for some: asked for once

    def grid(self, cells: int) -> mf.Grid:
        """The box in cells × cells."""
        axis = mf.uniform(-self.half, self.half, cells)
        return mf.Grid(a=axis, w=axis)

    def start(self, cells: int) -> Array:
        """Cell averages of the initial law."""
        return cell_averages(self.problem.initial, self.grid(cells))[0]

    @cached_property
    def density(self) -> Density:
        """At the horizon."""
        return self.truth()

    def averages(self, cells: int) -> Array:
        """Cell averages at the horizon, by Gauss nodes."""
        nodes, weights = np.polynomial.legendre.leggauss(GAUSS)
        width = 2 * self.half / cells
        points = -self.half + width * (np.arange(cells)[:, None] + 0.5 + nodes / 2).ravel()
        values = self.density(points, points).reshape(cells, GAUSS, cells, GAUSS)
        return np.einsum("iqjr,q,r->ij", values, weights / 2, weights / 2)

    def error(self, rho: Array) -> float:
        """L1 distance of cell averages."""
        width = 2 * self.half / len(rho)
        return float(np.abs(rho - self.averages(len(rho))).sum() * width**2)


def case_a() -> Case:
    """Its horizon is ∫_0^G ds/slope(s), slope the risk's along the way."""
    mean, std, G = np.array([0.2, 0.3]), 0.35, -0.6
    U, W = mean.sum() ** 2 + 2 * std**2, (mean[0] - mean[1]) ** 2 + 2 * std**2

    def slope(s: float) -> float:
        return (U * np.exp(-2 * s) - W * np.exp(2 * s)) / 4 - 0.8

    def density(a: Array, w: Array) -> Array:
        u, v = (a[:, None] + w) * np.exp(G) / 2, (a[:, None] - w) * np.exp(-G) / 2
        squares = (u + v - mean[0]) ** 2 + (u - v - mean[1]) ** 2
        return np.exp(-0.5 * squares / std**2) / (2 * np.pi * std**2)

    horizon = quad(lambda s: 1 / slope(s), 0, G, epsabs=1e-13)[0]
    problem = mf.two_layer([1.0], [0.8], mf.identity, initial=mf.gaussian(mean=mean, std=std))
    return Case(
        "A", "linear activation, 1 sample, closed form", problem, 3.0, horizon, lambda: density
    )


def case_b(scratch: Path | None = None) -> Case:
    """The larger network of two with tanh."""
    x = np.linspace(-2, 2, 64)
    problem = mf.two_layer(x, np.sin(2 * x), initial=mf.gaussian(std=np.sqrt(0.5)))
    return by_characteristics("B", "tanh, 64 samples", problem, 2.0, scratch)


def case_t(scratch: Path | None = None) -> Case:
    """The smaller one."""
    x = np.linspace(-2, 2, 16)
    law = mf.gaussian(mean=[0.3, 0.6], std=0.35)
    problem = mf.two_layer(x, np.sin(1.5 * x), initial=law)
    return by_characteristics("T", "tanh, 16 samples", problem, 1.0, scratch)


def by_characteristics(
    name: str, about: str, problem: mf.Problem, horizon: float, scratch: Path | None
) -> Case:
    """A case on [−4, 4]² whose truth is kept in ``scratch``, for the processes to come."""
    half = 4.0
    knots = np.linspace(-half, half, KNOTS)
    file = None if scratch is None else scratch / f"{name}.npy"

    def truth() -> Density:
        if file is not None and file.exists():
            logarithm = np.load(file)
        else:
            logarithm = logarithm_of_truth(problem, horizon, knots)
            if file is not None:
                np.save(file, logarithm)
        spline = RectBivariateSpline(knots, knots, logarithm, kx=5, ky=5)
        return lambda a, w: np.exp(spline(a, w))

    about = f"{about}, backward characteristics"
    return Case(name, about, problem, half, horizon, truth)


def logarithm_of_truth(problem: mf.Problem, horizon: float, knots: Array) -> Array:
    """log ρ at the horizon on all pairs of knots."""
    points = np.stack(np.meshgrid(knots, knots, indexing="ij"), axis=-1).reshape(-1, 2)
    density = pr.Truth(problem, horizon, tolerance=TRUTH).density(points, horizon)
    return np.log(density).reshape(len(knots), len(knots))


X, Y, WEIGHTS = np.array([-1.2, 0.4, 0.9]), np.array([1.4, 1.0, 2.2]), np.array([0.5, 0.2, 0.3])
RIDGE, ENTROPY = np.array([0.5, 0.3]), 0.05
MEAN, COV = np.array([0.2, 0.3]), np.array([[0.4, 0.1], [0.1, 0.4]])


def case_e() -> Case:
    """The one with entropy."""
    problem = mf.two_layer(
        X, Y, mf.identity, weights=WEIGHTS, penalty=mf.ridge(RIDGE), entropy=ENTROPY,
        initial=mf.gaussian(mean=MEAN, cov=COV),
    )  # fmt: skip
    horizon = 0.2

    def truth() -> Density:
        mean, cov = moments(horizon)
        (p, q), (_, r) = np.linalg.inv(cov)
        scale = 2 * np.pi * np.sqrt(np.linalg.det(cov))

        def density(a: Array, w: Array) -> Array:
            a, w = a[:, None] - mean[0], w - mean[1]
            return np.exp(-0.5 * (p * a**2 + 2 * q * a * w + r * w**2)) / scale

        return density

    about = "linear activation, ridge, λ = 0.05, closed form"
    return Case("E", about, problem, 4.0, horizon, truth)


def moments(horizon: float) -> tuple[Array, Array]:
    """Mean (2,) and covariance (2, 2) of case E."""

    def rate(t: float, state: Array) -> Array:
        m, S = state[:2], state[2:].reshape(2, 2)
        G = WEIGHTS @ ((X * (S[0, 1] + m[0] * m[1]) - Y) * X)
        H = np.diag(RIDGE) + G * np.array([[0.0, 1.0], [1.0, 0.0]])
        return np.r_[-H @ m, (-H @ S - S @ H + 2 * ENTROPY * np.eye(2)).ravel()]

    start = np.r_[MEAN, COV.ravel()]
    end = solve_ivp(rate, (0, horizon), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return end[:2], end[2:].reshape(2, 2)


@cache
def case(name: str, scratch: Path | None = None) -> Case:
    """By its letter."""
    if name in "AE":
        return {"A": case_a, "E": case_e}[name]()
    return {"B": case_b, "T": case_t}[name](scratch)
