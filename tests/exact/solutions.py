"""Closed forms of mean-field flows: what solvers are held to. Mathematics only, no package of ours.

    LinearNetwork       X1  Φ = a w x: neurons move by one hyperbolic rotation
    gaussian_flow       X1  the same in any dimension, with ridge and entropy: moments of a Gaussian
    QuadraticNeurons    X2  Φ = (w x)²: the second moment is logistic
    CosineTorus         X4  Φ = cos(x − w) on the circle: Poisson kernels
    QuadraticPotential  X12 a potential that no density moves

Time is that of ∂_t ρ = ∇·(ρ∇V) + λΔρ. The names X1, … and the formulas' letters are those of the
project's notes; every form is checked against another one in test_solutions.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

Array = NDArray[np.float64]
Density = Callable[[Array], Array]  # points (N, D) -> (N,)

TOLERANCE = 1e-13  # of the moment equations, relative; absolute a hundredth of it


# ---------------------------------------------------------------------------- densities on a grid
def cell_averages(density: Density, edges: Sequence[Array], nodes: int = 5) -> Array:
    """Means of ``density`` over the cells of a tensor grid, by Gauss quadrature.

    Args:
        density: points (N, D) -> (N,).
        edges: the D increasing arrays of cell edges, (N_k + 1,) each.
        nodes: Gauss nodes per cell and axis; a cell's mean is off by O(width^{2·nodes}).

    Returns:
        Array of shape (N_1, …, N_D).
    """
    unit, weight = np.polynomial.legendre.leggauss(nodes)
    middles = [0.5 * (e[1:] + e[:-1]) for e in edges]
    halves = [0.5 * np.diff(e) for e in edges]
    shape = tuple(len(middle) for middle in middles)
    total = np.zeros(shape)
    for index in itertools.product(range(nodes), repeat=len(edges)):
        columns = [m + h * unit[q] for m, h, q in zip(middles, halves, index, strict=True)]
        points = np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, len(edges))
        total += np.prod(weight[list(index)] / 2) * density(points).reshape(shape)
    return total


def cell_volumes(edges: Sequence[Array]) -> Array:
    """Volumes of the cells of a tensor grid, of the grid's shape."""
    return reduce(np.multiply.outer, [np.diff(e) for e in edges])


def l1_norm(averages: Array, edges: Sequence[Array]) -> float:
    """Σ_K |K| |averages_K|."""
    return float(np.sum(np.abs(averages) * cell_volumes(edges)))


@dataclass(frozen=True, eq=False)
class Normal:
    """A Gaussian law on R^D."""

    mean: Array  # (D,)
    cov: Array  # (D, D), symmetric and positive definite

    @classmethod
    def isotropic(cls, mean: Sequence[float], std: float) -> Normal:
        """N(mean, std² I)."""
        return cls(np.array(mean, dtype=float), std**2 * np.eye(len(mean)))

    @property
    def second_moments(self) -> Array:
        """E θθᵀ, (D, D)."""
        return self.cov + np.outer(self.mean, self.mean)

    def density(self, points: Array) -> Array:
        """At points (N, D), shape (N,)."""
        z = np.linalg.solve(np.linalg.cholesky(self.cov), (points - self.mean).T)
        norm = np.sqrt(np.linalg.det(2 * np.pi * self.cov))
        return np.exp(-0.5 * np.sum(z**2, axis=0)) / norm

    def image(self, matrix: Array) -> Normal:
        """The law of ``matrix`` θ, for a matrix (D, D)."""
        return Normal(matrix @ self.mean, matrix @ self.cov @ matrix.T)


# ------------------------------------------------------------------------------- X1, in closed form
@dataclass(frozen=True)
class LinearNetwork:
    """X1: Φ = a w x, square loss, no penalty, λ = 0, any start with the second moments U, W.

    V = a w G' with G' = s2 c − b and c = ∫a w dρ, so that u = (a + w)/√2 and v = (a − w)/√2 obey
    u = e^{−G} u_0, v = e^{G} v_0: a divergence-free flow, wholly known once G is. With z = e^{−2G},
    z' = −s2 U (z − z_+)(z − z_−).
    """

    s2: float  # Σ p x² > 0
    b: float  # Σ p x y
    U: float  # ∫u² dρ_0 > 0
    W: float  # ∫v² dρ_0 > 0

    @classmethod
    def of(cls, x: Array, y: Array, weights: Array, second_moments: Array) -> LinearNetwork:
        """From samples x, y, weights (n,) and E θθᵀ (2, 2) of the start, θ = (a, w)."""
        half_trace, E_aw = 0.5 * np.trace(second_moments), second_moments[0, 1]
        s2, b = float(weights @ x**2), float(weights @ (x * y))
        return cls(s2, b, float(half_trace + E_aw), float(half_trace - E_aw))

    @property
    def kappa(self) -> float:
        """κ = sqrt(b² + s2² U W), half the rate at which G settles."""
        return float(np.sqrt(self.b**2 + self.s2**2 * self.U * self.W))

    @property
    def roots(self) -> tuple[float, float]:
        """z_+ > 0 > z_−, the rest points of z; z_+ attracts."""
        scale = self.s2 * self.U
        return (self.b + self.kappa) / scale, (self.b - self.kappa) / scale

    def G(self, t: float) -> float:
        """G = ∫_0^t (s2 c − b), the angle by which neurons have turned."""
        top, low = self.roots
        ratio = (1 - top) / (1 - low) * np.exp(-2 * self.kappa * t)
        return float(-0.5 * np.log((top - ratio * low) / (1 - ratio)))

    def time(self, G: float) -> float:
        """When the angle is G, for G between 0 and its limit."""
        top, low = self.roots
        z = np.exp(-2 * G)
        ratio = (z - top) / (z - low) * (1 - low) / (1 - top)
        return float(-0.5 * np.log(ratio) / self.kappa)

    def c(self, t: float) -> float:
        """∫a w dρ_t; the prediction at x is c x."""
        z = np.exp(-2 * self.G(t))
        return float(0.5 * (self.U * z - self.W / z))

    def map(self, t: float) -> Array:
        """The matrix (2, 2) that takes neurons (a, w) from time 0 to time t."""
        return hyperbolic_rotation(self.G(t))

    def density(self, start: Density, t: float) -> Density:
        """ρ_t for any start density with the moments U, W: constant along neurons."""
        back = hyperbolic_rotation(-self.G(t))
        return lambda points: start(points @ back.T)

    def dissipation(self, t: float) -> float:
        """∫|∇V|² dρ_t = G'² (U z + W/z)."""
        z = np.exp(-2 * self.G(t))
        return float((self.s2 * self.c(t) - self.b) ** 2 * (self.U * z + self.W / z))


def hyperbolic_rotation(G: float) -> Array:
    """The map u → e^{−G}u, v → e^{G}v written in (a, w)."""
    return np.array([[np.cosh(G), -np.sinh(G)], [-np.sinh(G), np.cosh(G)]])


# ------------------------------------------------------------------------ X1, in any dimension
@dataclass(frozen=True, eq=False)
class LinearData:
    """X1 in R^d with ridge and entropy: θ = (a, w_1, …, w_d), square loss, f = x·E[a w]."""

    x: Array  # (n, d)
    y: Array  # (n,)
    weights: Array  # (n,), sum 1
    ridge: tuple[float, float] = (0.0, 0.0)  # α on a, β on w
    entropy: float = 0.0  # λ

    def prediction(self, law: Normal) -> Array:
        """f_i = x_i·E[a w], (n,)."""
        return self.x @ law.second_moments[0, 1:]

    def risk(self, law: Normal) -> float:
        """½ Σ p (f − y)²."""
        return float(0.5 * self.weights @ (self.prediction(law) - self.y) ** 2)

    def energy(self, law: Normal) -> float:
        """Risk, ridge and λ∫ρ log ρ."""
        alpha, beta = self.ridge
        squares = np.diag(law.second_moments)
        ridge = 0.5 * (alpha * squares[0] + beta * squares[1:].sum())
        entropy = -0.5 * np.linalg.slogdet(2 * np.pi * np.e * law.cov)[1]
        return float(self.risk(law) + ridge + self.entropy * entropy)

    def hessian(self, law: Normal) -> Array:
        """H = [[α, Gᵀ], [G, βI]], G = Σ p (f − y) x: V = ½ θᵀHθ, (d + 1, d + 1)."""
        alpha, beta = self.ridge
        G = (self.weights * (self.prediction(law) - self.y)) @ self.x
        H = np.diag(np.r_[alpha, np.full(len(G), beta)])
        H[0, 1:] = H[1:, 0] = G
        return H


def gaussian_flow(data: LinearData, start: Normal, times: Sequence[float]) -> list[Normal]:
    """X1: the laws at ``times`` (increasing, from 0 on): m' = −Hm, S' = −HS − SH + 2λI."""
    D = len(start.mean)

    def unpack(state: Array) -> Normal:
        return Normal(state[:D], state[D:].reshape(D, D))

    def rate(t: float, state: Array) -> Array:
        law = unpack(state)
        H = data.hessian(law)
        spread = -H @ law.cov - law.cov @ H + 2 * data.entropy * np.eye(D)
        return np.r_[-H @ law.mean, spread.ravel()]

    states = integrate(rate, np.r_[start.mean, start.cov.ravel()], times)
    return [unpack(state) for state in states]


def integrate(rate: Callable[[float, Array], Array], start: Array, times: Sequence[float]) -> Array:
    """The solution (T, k) of y' = rate(t, y), y(0) = start (k,), at increasing times ≥ 0."""
    instants = np.asarray(times, dtype=float)
    if instants[-1] == 0:
        return start[None]
    solution = solve_ivp(
        rate,
        (0.0, instants[-1]),
        start,
        method="DOP853",
        t_eval=instants,
        rtol=TOLERANCE,
        atol=1e-2 * TOLERANCE,
    )
    return solution.y.T


# --------------------------------------------------------------------------------------------- X2
@dataclass(frozen=True)
class QuadraticNeurons:
    """X2: Φ = (w x)² without output weight, one input: f = x² S, S = ∫w² dρ, V = (m4 S − b2) w²."""

    m4: float  # Σ p x⁴ > 0
    b2: float  # Σ p x² y, not 0
    S0: float  # ∫w² dρ_0 > 0

    def S(self, t: float) -> float:
        """∫w² dρ_t: S' = 4 S (b2 − m4 S), logistic."""
        rest = self.b2 / self.m4
        return float(rest / (1 + (rest / self.S0 - 1) * np.exp(-4 * self.b2 * t)))

    def stretch(self, t: float) -> float:
        """w_t / w_0, the same for every neuron."""
        return float(np.sqrt(self.S(t) / self.S0))

    def density(self, start: Density, t: float) -> Density:
        """ρ_t(w) = ρ_0(w/s)/s, s the stretch."""
        s = self.stretch(t)
        return lambda points: start(points / s) / s


# --------------------------------------------------------------------------------------------- X4
@dataclass(frozen=True)
class CosineTorus:
    """X4: Φ = cos(x − w), w on R/2πZ, x uniform there, y = Re(e^{ix} z̄*).

    z = ∫e^{iw} dρ. Neurons move by Möbius maps of the disc, ζ' = ½(H − H̄ζ²), ζ = e^{iw},
    H = (z* − z)/2; Poisson kernels (the uniform law is z = 0) stay so, and their z obeys the same
    equation (the reduction of Ott & Antonsen 2008).
    """

    target: complex  # z*
    start: complex  # z at time 0, |z| < 1

    def centroids(self, times: Sequence[float]) -> NDArray[np.complex128]:
        """z at increasing times ≥ 0, (T,)."""

        def rate(t: float, state: Array) -> Array:
            z = complex(*state)
            H = (self.target - z) / 2
            change = (H - H.conjugate() * z**2) / 2
            return np.array([change.real, change.imag])

        parts = integrate(rate, np.array([self.start.real, self.start.imag]), times)
        return parts[:, 0] + 1j * parts[:, 1]

    def loss(self, z: complex) -> float:
        """½ E (f − y)² = |z − z*|²/4."""
        return abs(z - self.target) ** 2 / 4

    def time_of_radius(self, r: float) -> float:
        """When |z| = r, for a uniform start and 0 < r < |z*| < 1: r' = ¼(|z*| − r)(1 − r²)."""
        R = abs(self.target)
        a, b, c = 1 / (1 - R**2), 1 / (2 * (R - 1)), 1 / (2 * (R + 1))  # partial fractions
        return float(4 * (-a * np.log(1 - r / R) - b * np.log(1 - r) + c * np.log(1 + r)))


def poisson_kernel(z: complex) -> Density:
    """(1 − |z|²) / (2π |e^{iw} − z|²) at points (N, 1)."""
    return lambda w: (1 - abs(z) ** 2) / (2 * np.pi * np.abs(np.exp(1j * w[:, 0]) - z) ** 2)


def wrapped(density: Density, length: float, turns: int = 8) -> Density:
    """A density of the line wrapped round a circle: Σ_k ρ(w + k length), |k| ≤ ``turns``."""
    shifts = length * np.arange(-turns, turns + 1)
    return lambda points: np.sum([density(points + shift) for shift in shifts], axis=0)


# -------------------------------------------------------------------------------------------- X12
@dataclass(frozen=True, eq=False)
class QuadraticPotential:
    """X12: V = ½ θᵀAθ whatever the density: contraction, saddle, Ornstein-Uhlenbeck (λ > 0)."""

    A: Array  # (D, D) symmetric; without eigenvalue 0 where λ > 0
    entropy: float = 0.0  # λ

    def value(self, points: Array) -> Array:
        """V at points (N, D)."""
        return 0.5 * np.einsum("ni,ij,nj->n", points, self.A, points)

    def gradient(self, points: Array) -> Array:
        """∇V at points, (N, D)."""
        return points @ self.A

    def evolved(self, start: Normal, t: float) -> Normal:
        """The law at time t: mean e^{−At}m, covariance e^{−At}Se^{−At} + λA^{−1}(1 − e^{−2At})."""
        rates, axes = np.linalg.eigh(self.A)
        decay = axes @ np.diag(np.exp(-rates * t)) @ axes.T
        law = start.image(decay)
        if self.entropy == 0:
            return law
        noise = axes @ np.diag(-self.entropy * np.expm1(-2 * rates * t) / rates) @ axes.T
        return Normal(law.mean, law.cov + noise)
