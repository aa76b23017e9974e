"""λ > 0: the least energy on a grid's cells, by its concave dual in Rⁿ.

With masses m_K at the cell centres, F(m) = risk(f) + Σ reg_K m_K + λ Σ m_K log(m_K/|K|) is what a
density run watches. Its dual, for responses u (n,) on the scale of the residual, is

    D(u) = −Σ_i p_i ℓ*(u_i; y_i) − λ log Σ_K |K| e^(−V_K/λ),   V = Σ_i p_i u_i Φ_i + reg,

and D(u) <= F* <= F(m) for all u and m. At u = ℓ'(f_m) the distance is a divergence,
F(m) − D(u) = λ KL(m | Gibbs), Gibbs_K ∝ |K| e^(−V_K/λ) (Nitanda, Wu & Suzuki, arXiv:2201.10469;
Chizat, arXiv:2202.01009): the optimum is the Gibbs state that its own prediction calls forth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from mfpde.flows.table import FeatureTable
from mfpde.grids.grid import Grid, tensor_points
from mfpde.problems.losses import BoundLoss
from mfpde.problems.problem import Array, Problem

MOST_ITERATIONS, MOST_HALVINGS = 100, 40
SUFFICIENT = 1e-4  # share of the promised ascent that a step must bring
ROUND_OFF = 32 * np.finfo(float).eps  # of sums over cells and samples, relative to their terms


@dataclass(frozen=True)
class Gibbs:
    """The state of least ∫V dρ + λ∫ρ log ρ.

    Attributes:
        masses: of the cells, (N_a, N_v), of sum 1.
        free_energy: −λ log Σ_K |K| e^(−V_K/λ).
        prediction: f, (n,).
    """

    masses: Array
    free_energy: float
    prediction: Array


class Cells:
    """A problem with entropy on the cells of a grid: Gibbs states, energies and the dual.

    Fields over cells have shape (N_a, N_v): output weights a and all other coordinates v. Features
    that are not lifted have the one output weight 1, so that Φ = a ψ(v) throughout.
    """

    def __init__(self, problem: Problem, grid: Grid) -> None:
        self.loss, self.entropy = problem.loss, problem.entropy
        centres = grid.centres
        self.a = centres[0] if problem.lifted else np.ones(1)
        points = tensor_points(centres[1:] if problem.lifted else centres)
        self.table = FeatureTable(problem.phi, points, len(problem.y))
        shape = (len(self.a), len(points))
        self.volumes = grid.volumes.reshape(shape)
        self.penalty = problem.penalty.value(grid.points()).reshape(shape)

    def gibbs(self, u: Array) -> Gibbs:
        """The Gibbs state of the response u (n,)."""
        V = np.multiply.outer(self.a, self.table.combine(self.loss.weights * u)) + self.penalty
        least = float(V.min())
        masses = self.volumes * np.exp((least - V) / self.entropy)
        Z = float(masses.sum())
        masses /= Z
        free_energy = least - self.entropy * math.log(Z)
        return Gibbs(masses, free_energy, self.prediction(masses))

    def prediction(self, masses: Array) -> Array:
        """f = Σ_K a ψ(v) m_K, (n,)."""
        return self.table.integrate(self.a @ masses)

    def covariance(self, state: Gibbs) -> Array:
        """Cov(Φ_i, Φ_j) under a Gibbs state, (n, n), by its second moments in a alone."""
        squares = np.square(self.a) @ state.masses
        moment = -np.multiply.outer(state.prediction, state.prediction)
        for part, features in self.table.blocks():
            moment += features.T @ (squares[part, None] * features)
        return moment

    def energy(self, masses: Array) -> float:
        """F of masses >= 0 of sum 1."""
        return sum(self.energies(masses))

    def energies(self, masses: Array) -> tuple[float, float, float]:
        """risk(f), Σ reg_K m_K and λ Σ m_K log(m_K/|K|)."""
        disorder = float(xlogy(masses, masses / self.volumes).sum())
        penalty = float(np.vdot(self.penalty, masses))
        return self.loss.risk(self.prediction(masses)), penalty, self.entropy * disorder

    def size(self, state: Gibbs) -> float:
        """The size of the terms that F and D are sums of."""
        return sum(map(abs, self.energies(state.masses))) + abs(state.free_energy)

    def dual(self, u: Array) -> tuple[float, Gibbs]:
        """D(u) <= F*, and the Gibbs state it is attained by."""
        state = self.gibbs(u)
        return state.free_energy - self.loss.conjugate(u), state


def dual_value(problem: Problem, grid: Grid, u: Array) -> float:
    """D(u), a lower bound of F over all densities on the cells of a grid, for λ > 0.

    Args:
        problem: a problem with features and entropy λ > 0.
        grid: cells of its coordinates; masses sit at their centres.
        u: response (n,), on the scale of the residual ℓ'(f_i, y_i): without the weights p_i.

    Raises:
        InvalidInput: where the loss has no conjugate.
    """
    return Cells(problem, grid).dual(u)[0]


@dataclass(frozen=True)
class LeastEnergy:
    """The optimum on the cells of a grid.

    Attributes:
        masses: of the cells, of the grid's shape, a Gibbs state.
        prediction: f of these masses, (n,).
        value: F of them.
        lower_bound: D at the response they come from, less its round-off.
        iterations: steps of Newton's method.
    """

    masses: Array
    prediction: Array
    value: float
    lower_bound: float
    iterations: int


def least_energy(problem: Problem, grid: Grid) -> LeastEnergy:
    """The density of least F on the cells of a grid, for λ > 0.

    Newton's method for f = E_f, the prediction of the Gibbs state of u = ℓ'(f), damped by the
    ascent of D(ℓ'(f)). Responses stay where the conjugate is finite, and F(Gibbs) − D is the
    risk's Bregman distance of E_f from f. It ends at round-off.

    Raises:
        InvalidInput: where the loss has no conjugate.
    """
    cells = Cells(problem, grid)
    D, state, iterations = ascent(cells)
    parts = cells.energies(state.masses)
    doubt = ROUND_OFF * cells.size(state)
    masses = state.masses.reshape(grid.shape)
    return LeastEnergy(masses, state.prediction, sum(parts), D - doubt, iterations)


def ascent(cells: Cells) -> tuple[float, Gibbs, int]:
    """The greatest D, its Gibbs state, and the number of steps it took."""
    loss, iterations, before = cells.loss, 0, np.inf
    f = cells.gibbs(np.zeros(len(loss.y))).prediction
    D, state = cells.dual(loss.residual(f))
    while iterations < MOST_ITERATIONS:
        doubt = ROUND_OFF * cells.size(state)
        curvature, away = loss.bend(f), state.prediction - f
        distance = float(np.abs(away).max())
        if bregman(loss, state.prediction, f) <= doubt and distance >= before / 2:
            break  # the gap is round-off, and the density no longer settles
        before = distance
        tangent = np.eye(len(f)) + cells.covariance(state) * (curvature / cells.entropy)
        way = np.linalg.solve(tangent, away)
        promise = SUFFICIENT * float((curvature * away) @ way)
        for halvings in range(MOST_HALVINGS):
            step = 0.5**halvings
            D_there, state = cells.dual(loss.residual(f + step * way))
            if D_there >= D + step * promise - doubt:
                break
        f, D, iterations = f + step * way, D_there, iterations + 1
    return D, state, iterations


def bregman(loss: BoundLoss, g: Array, f: Array) -> float:
    """risk(g) − risk(f) − risk'(f)·(g − f) >= 0."""
    return loss.risk(g) - loss.risk(f) - float(loss.slope(f) @ (g - f))
