"""The best weights of given neurons: min over the simplex of risk(Σ_k w_k Φ_k) + Σ_k w_k reg_k.

An active-set Newton method: Newton steps on the face of positive weights, cut where a weight
reaches 0, until V = risk'·Φ + reg is constant there; then the neuron of least V joins, if its V is
below that constant. For the square loss every face costs one step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.problems.losses import BoundLoss
from mfpde.problems.problem import Array

Mask = NDArray[np.bool_]

MOST_STEPS, MOST_HALVINGS = 1000, 40
SUFFICIENT = 1e-4  # share of the promised descent that a step must bring
FLAT = 1e-13  # curvature, of the largest, that flat directions are given
ROUND_OFF = 8 * np.finfo(float).eps


def best_weights(loss: BoundLoss, features: Array, cost: Array, weights: Array) -> Array:
    """Weights (K,) >= 0 of sum 1 that minimise risk(w·features) + w·cost, to round-off.

    Args:
        loss: the convex loss bound to n samples.
        features: Φ of every neuron, (K, n).
        cost: reg of every neuron, (K,).
        weights: where to begin, (K,) >= 0 of sum 1.
    """
    w, face = weights.copy(), weights > 0
    for _ in range(MOST_STEPS):
        f = w @ features
        V = features @ loss.slope(f) + cost
        noise = ROUND_OFF * max_size(loss, features, cost, f)
        if np.ptp(V[face]) > noise:
            moved = descended(loss, features, cost, w, face, V)
            if moved is not None:
                w = moved
                face = w > 0
                continue
        least = int(np.argmin(V))
        if face[least] or V[least] >= w @ V - noise:
            break
        face[least] = True
    return w / w.sum()


def descended(
    loss: BoundLoss, features: Array, cost: Array, w: Array, face: Mask, V: Array
) -> Array | None:
    """The weights after one Newton step on a face; None where round-off hides its descent."""
    f, way = w @ features, np.zeros_like(w)
    way[face] = newton_step(features[face], loss.bend(f), V[face])
    promise = -float(V @ way)
    shrinking = way < 0
    longest = float((w[shrinking] / -way[shrinking]).min(initial=np.inf))
    energy = loss.risk(f) + float(w @ cost)
    for halvings in range(MOST_HALVINGS):
        step = min(1.0, longest) * 0.5**halvings
        there = w + step * way
        if step == longest:
            there[shrinking & (there <= w * ROUND_OFF)] = 0.0
        rise = loss.risk(there @ features) + float(there @ cost) - energy
        if rise <= -SUFFICIENT * step * promise + ROUND_OFF * abs(energy):
            return there if np.any(there != w) else None
    return None


def newton_step(features: Array, curvature: Array, V: Array) -> Array:
    """The step of sum 0 to the least of V·d + ½ dᵀHd, H = Φ diag(curvature) Φᵀ."""
    K = len(V)
    H = (features * curvature) @ features.T
    H[np.diag_indices(K)] += FLAT * max(float(np.trace(H)), float(np.abs(V).max()))
    equations = np.block([[H, np.ones((K, 1))], [np.ones((1, K)), np.zeros((1, 1))]])
    return np.linalg.solve(equations, np.append(-V, 0.0))[:K]


def max_size(loss: BoundLoss, features: Array, cost: Array, f: Array) -> float:
    """The size of the terms that V is the sum of."""
    terms = np.abs(loss.slope(f)) + loss.bend(f) * np.abs(f)
    return float((np.abs(features) @ terms + np.abs(cost)).max())
