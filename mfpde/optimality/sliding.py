"""The optimum of a homogeneous problem on the sphere, by sliding Frank–Wolfe steps.

Each step looks where |g| exceeds α (exactly, on the circle), adds atoms at its peaks, solves for
all masses to convergence (a Lasso, by active sets and Newton), and then slides atoms of one linear
piece of the features into their barycentre, which leaves f as it is and does not raise P
(Denoyelle, Duval, Peyré & Soubies, arXiv:1811.06416; Flinth, de Gournay & Weiss, arXiv:1809.08046).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfpde.optimality.homogeneous import Sphere, dual_bound, reduced
from mfpde.optimality.sectors import peaks
from mfpde.problems.losses import BoundLoss
from mfpde.problems.problem import Array, Problem

MOST_EXCHANGES, MOST_STEPS, MOST_HALVINGS = 200, 2000, 50
STATIONARY = 1e-13  # relative to α: derivatives in masses that count as 0
DAMPING = 1e-14  # of the Hessian, relative to its trace: atoms may nearly coincide
SUFFICIENT = 1e-4  # share of the promised descent that a step must bring


@dataclass(frozen=True)
class SphereOptimum:
    """The least energy of a homogeneous problem, over all probability measures on neurons.

    Attributes:
        value: P of the atoms, which is F of the cloud.
        lower_bound: D of a feasible dual response; the least energy lies in between.
        gap: value − lower_bound.
        iterations: rounds of exchange.
        directions: w̃ (K, k), |w̃| = 1: weights over their scales, w_k √μ_k.
        masses: signed masses (K,) of the directions.
        points: (K, 1+k) balanced neurons in the order of ``problem.coords``.
        weights: (K,) their probabilities.
    """

    value: float
    lower_bound: float
    gap: float
    iterations: int
    directions: Array
    masses: Array
    points: Array
    weights: Array


def optimum_on_sphere(problem: Problem, tolerance: float = 1e-10) -> SphereOptimum:
    """The certified optimum of a positively homogeneous problem.

    Args:
        problem: lifted, with relu, leaky_relu, identity or another σ with its only kink at 0, on
            lines, with a ridge on all coordinates or a path norm, λ = 0.
        tolerance: gap at which to stop. It is reached for weights (bias included) of two
            dimensions or one; with more, the gap ends at the width of the enclosure of sup |g|.

    Raises:
        InvalidInput: for other problems, and for losses without a conjugate.
    """
    sphere = reduced(problem)
    atoms = Atoms(np.empty((0, sphere.fan.directions.shape[1])), np.empty(0), np.empty(0))
    value, lower, rounds = np.inf, -np.inf, 0
    while rounds < MOST_EXCHANGES:
        f, last = atoms.prediction(sphere), value
        value = energy(sphere, atoms)
        slope, residual = sphere.loss.slope(f), sphere.loss.residual(f)
        top = sphere.supremum(slope)
        lower = max(lower, dual_bound(sphere.loss, residual, sphere.alpha, top.upper))
        if value - lower <= tolerance or value >= last:
            break
        atoms = slid(sphere, weighted(sphere, atoms, *highest(sphere, slope, top.at)))
        rounds += 1
    value, masses = energy(sphere, atoms), atoms.signs * atoms.sizes
    points, weights = sphere.neurons(atoms.directions, masses)
    return SphereOptimum(
        value, lower, value - lower, rounds, atoms.directions, masses, points, weights
    )


@dataclass(frozen=True)
class Atoms:
    """ν = Σ_k signs_k sizes_k δ_{w̃_k}."""

    directions: Array  # w̃ (K, k), |w̃| = 1
    signs: Array  # (K,) −1 or 1
    sizes: Array  # (K,) >= 0

    def prediction(self, sphere: Sphere) -> Array:
        """∫σ(w·x_i) dν, (n,)."""
        return (self.signs * self.sizes) @ sphere.fan(self.directions)


def energy(sphere: Sphere, atoms: Atoms) -> float:
    """P(ν)."""
    return sphere.loss.risk(atoms.prediction(sphere)) + sphere.alpha * float(atoms.sizes.sum())


def highest(sphere: Sphere, slope: Array, at: Array) -> tuple[Array, Array]:
    """Peaks of |g| above α and the highest point, with g there: (P, k) and (P,)."""
    points = at[None]
    if len(at) == 2:
        around, g = peaks(sphere.fan, slope)
        points = np.concatenate([points, around[np.abs(g) > sphere.alpha]])
    return points, sphere.fan(points) @ slope


def weighted(sphere: Sphere, atoms: Atoms, new: Array, g: Array) -> Atoms:
    """The best sizes of the atoms and of new ones, where g has the values ``g``."""
    W = np.concatenate([atoms.directions, new])
    signs = np.concatenate([atoms.signs, -np.sign(g)])
    sizes = np.concatenate([atoms.sizes, np.zeros(len(new))])
    A = signs[:, None] * sphere.fan(W)
    return Atoms(W, signs, lasso(sphere.loss, A, sphere.alpha, sizes))


def lasso(loss: BoundLoss, A: Array, alpha: float, m: Array) -> Array:
    """The masses m ≥ 0 (K,) that minimise risk(m @ A) + α Σ m, from masses to begin with.

    Newton steps on the positive masses, cut at the first that vanishes; once those are stationary
    the mass with the steepest descent is let go from 0.
    """
    free = m > 0
    for _ in range(MOST_STEPS):
        f = m @ A
        slope = A @ loss.slope(f) + alpha
        if np.abs(slope[free]).max(initial=0.0) <= STATIONARY * alpha:
            steepest = int(np.where(free, np.inf, slope).argmin())
            if free.all() or slope[steepest] >= -STATIONARY * alpha:
                break
            free[steepest] = True
        B = A[free]
        H = (B * loss.bend(f)) @ B.T
        H += DAMPING * np.trace((B * loss.weights) @ B.T) * np.eye(len(B))
        step = np.zeros(len(m))
        step[free] = -np.linalg.solve(H, slope[free])
        moved, m = m, descended(loss, A, alpha, m, step, float(slope @ step))
        free = m > 0
        if (moved == m).all():
            break
    return m


def descended(
    loss: BoundLoss, A: Array, alpha: float, m: Array, step: Array, promised: float
) -> Array:
    """m + t·step with t ≤ 1, m ≥ 0 and an energy that falls; m itself where none does."""
    falling = step < 0
    reach = np.where(falling, m / np.where(falling, -step, 1.0), np.inf)
    t = min(1.0, float(reach.min()))
    first = loss.risk(m @ A) + alpha * float(m.sum())
    for _ in range(MOST_HALVINGS):
        trial = np.maximum(m + t * step, 0.0)
        trial[reach <= t] = 0.0
        fall = loss.risk(trial @ A) + alpha * float(trial.sum()) - first
        if fall <= SUFFICIENT * t * promised + 4 * np.finfo(float).eps * abs(first):
            return trial
        t /= 2
    return m


def slid(sphere: Sphere, atoms: Atoms) -> Atoms:
    """Atoms of one sign on which every w·x_i has one sign, as one atom at Σ sizes·w̃."""
    present = atoms.sizes > 0
    W, signs, sizes = atoms.directions[present], atoms.signs[present], atoms.sizes[present]
    pattern = np.column_stack([signs > 0, W @ sphere.fan.directions.T > 0])
    _, first, piece = np.unique(pattern, axis=0, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), W.shape[1]))
    np.add.at(sums, piece, sizes[:, None] * W)
    lengths = np.linalg.norm(sums, axis=1)
    return Atoms(sums / lengths[:, None], signs[first], lengths)
