"""λ = 0: the least energy of probability measures on a box, by exchange with sliding.

F(ρ) = risk(∫Φ dρ) + ∫reg dρ is convex in ρ, and F(ρ) − F* <= ∫V dρ − inf V. Each round adds the
neuron where V is certified to be least, finds the best weights of all neurons, and lets positions
and weights descend together (Denoyelle, Duval, Peyré & Soubies, arXiv:1811.06416).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from mfpde.errors import NotAvailable
from mfpde.optimality.bounds import Infimum, infimum
from mfpde.optimality.simplex import best_weights
from mfpde.problems.problem import Array, Problem

MOST_ROUNDS = 200
MOST_IDLE = 8  # rounds in a row without a smaller gap
MOST_SLIDES = 500  # steps of one descent of positions and weights
ORACLE = 0.1  # tolerance of an infimum, of the gap before
ROUND_OFF = np.finfo(float).eps


@dataclass(frozen=True)
class Atoms:
    """Finitely many neurons of a problem.

    Attributes:
        points: (K, D).
        weights: (K,) > 0, of sum 1.
    """

    problem: Problem
    points: Array
    weights: Array

    @property
    def features(self) -> Array:
        """Φ of every neuron, (K, n)."""
        return features(self.problem, self.points)

    @property
    def prediction(self) -> Array:
        """f, (n,)."""
        return self.weights @ self.features

    @property
    def energy(self) -> float:
        """F = risk + ∫reg dρ."""
        penalty = self.problem.penalty.value(self.points)
        return self.problem.loss.risk(self.prediction) + float(self.weights @ penalty)


@dataclass(frozen=True)
class LeastEnergy:
    """The best measure found on a box, and what certifies it.

    Attributes:
        atoms: the measure.
        gap: ∫V dρ − inf V, round-off included: F* >= F(ρ) − gap.
        iterations: rounds.
    """

    atoms: Atoms
    gap: float
    iterations: int


def least_energy(problem: Problem, low: Array, high: Array, tolerance: float) -> LeastEnergy:
    """The measure of least F on the box ``low`` <= θ <= ``high``, (D,) each, for λ = 0.

    It ends when the gap is at most ``tolerance``, or no longer falls.

    Raises:
        NotAvailable: where no infimum of V can be certified.
    """
    atoms = Atoms(problem, np.clip(np.zeros(len(low)), low, high)[None], np.ones(1))
    best, idle, gap = LeastEnergy(atoms, np.inf, 0), 0, 1.0
    for rounds in range(1, MOST_ROUNDS + 1):
        found = certified(problem, atoms, low, high, max(ORACLE * min(gap, 1.0), tolerance / 4))
        gap = certified_gap(atoms, found)
        idle = 0 if gap < best.gap else idle + 1
        if idle == 0:
            best = LeastEnergy(atoms, gap, rounds)
        if gap <= tolerance or idle > (0 if found.reason else MOST_IDLE):
            break
        more = np.vstack([atoms.points, found.at]), np.append(atoms.weights, 0.0)
        atoms = corrected(slid(corrected(Atoms(problem, *more)), low, high))
    return best


def features(problem: Problem, points: Array) -> Array:
    """Φ at points (K, D), (K, n)."""
    if not problem.lifted:
        return problem.phi(points)
    return points[:, :1] * problem.phi(points[:, 1:])


def certified(problem: Problem, atoms: Atoms, low: Array, high: Array, tolerance: float) -> Infimum:
    """The infimum of the potential that the atoms exert."""
    slope = problem.loss.slope(atoms.prediction)
    found = infimum(problem, slope, low, high, tolerance)
    if found.lower == -np.inf:
        raise NotAvailable(
            f"no optimum of {problem!r} can be certified",
            found.reason,
            "entropy > 0, or a named activation with mf.ridge or mf.total_variation on a box",
        )
    return found


def certified_gap(atoms: Atoms, found: Infimum) -> float:
    """∫V dρ − inf V, with what round-off may hide."""
    loss, w = atoms.problem.loss, atoms.weights
    each, penalty = atoms.features, atoms.problem.penalty.value(atoms.points)
    f = w @ each
    mean = float(loss.slope(f) @ f + w @ penalty)
    sizes = w @ np.abs(each)
    doubt = np.abs(loss.slope(f)) @ sizes + (loss.bend(f) * np.abs(each).max(axis=0)) @ sizes
    doubt += w @ np.abs(penalty)
    return float(mean - found.lower + (sum(each.shape) + 16) * ROUND_OFF * doubt)


def corrected(atoms: Atoms) -> Atoms:
    """The same neurons with the best weights; those of weight 0 are dropped."""
    cost = atoms.problem.penalty.value(atoms.points)
    weights = best_weights(atoms.problem.loss, atoms.features, cost, atoms.weights)
    kept = weights > 0
    return Atoms(atoms.problem, atoms.points[kept], weights[kept])


def slid(atoms: Atoms, low: Array, high: Array) -> Atoms:
    """Positions and weights after a joint descent of F in the box.

    Positions are scaled by √weight, which makes their curvatures comparable; the sign of an output
    weight is kept where the penalty has a kink at 0.
    """
    problem, (K, D) = atoms.problem, atoms.points.shape
    if problem.dphi is None:
        return atoms
    scale = np.sqrt(atoms.weights)[:, None]

    def read(z: Array) -> Atoms:
        mass = z[K * D :]
        return Atoms(problem, z[: K * D].reshape(K, D) / scale, mass / mass.sum())

    def energy(z: Array) -> tuple[float, Array]:
        there = read(z)
        V, slopes = potential(there)
        along_weights = (V - there.weights @ V) / z[K * D :].sum()
        along_points = there.weights[:, None] * slopes / scale
        return there.energy, np.concatenate([along_points.ravel(), along_weights])

    lower, upper = np.tile(low, (K, 1)), np.tile(high, (K, 1))
    if problem.penalty.needs_output_weight:
        lower[atoms.points[:, 0] >= 0, 0] = np.maximum(low[0], 0.0)
        upper[atoms.points[:, 0] <= 0, 0] = np.minimum(high[0], 0.0)
    ends = zip((lower * scale).ravel(), (upper * scale).ravel(), strict=True)
    start = np.concatenate([(atoms.points * scale).ravel(), atoms.weights])
    settings = {"maxiter": MOST_SLIDES, "ftol": 0.0, "gtol": 1e-14, "maxcor": 30}
    bounds = [*ends, *[(1e-3 * m, None) for m in atoms.weights]]
    end = minimize(energy, start, jac=True, method="L-BFGS-B", bounds=bounds, options=settings)
    there = read(end.x)
    inside = np.clip(there.points, low, high)  # scaling back and forth rounds
    there = Atoms(problem, inside, there.weights)
    return there if there.energy <= atoms.energy else atoms


def potential(atoms: Atoms) -> tuple[Array, Array]:
    """V (K,) and ∇V (K, D) at the atoms themselves."""
    problem, points = atoms.problem, atoms.points
    slope = problem.loss.slope(atoms.prediction)
    inner = points[:, int(problem.lifted) :]
    assert problem.dphi is not None
    g, dg = problem.phi(inner) @ slope, np.einsum("kid,i->kd", problem.dphi(inner), slope)
    if problem.lifted:
        a = points[:, :1]
        value, gradient = a[:, 0] * g, np.hstack([g[:, None], a * dg])
    else:
        value, gradient = g, dg
    return value + problem.penalty.value(points), gradient + problem.penalty.gradient(points)
