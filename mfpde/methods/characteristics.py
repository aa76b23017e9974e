"""Feet: where the faces of a grid come from when one coordinate moves and the others rest.

The output weight follows a' = −G − αa − s sign(a), with sticking at 0: closed form. A weight
follows w' = a·v(w) − βw with v = −∂_w g frozen: neurons of all a share the flow of v, Φ_τ with
τ = a·dt, so it is traced once at Chebyshev points of τ and interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels.flow_map import feet_at, feet_piecewise
from mfpde.kernels.stencils import interpolation_table
from mfpde.problems.activations import Activation
from mfpde.problems.problem import Array

FEWEST_NODES = 6
PRECISION = 1e-14
ROUNDING = 1e-13
REACH = 0.5  # |v'|·τ to the flow's nearest complex singularity: π/2 for sin, 0.6 for sech² alone


def output_feet(faces: Array, drift: Array, alpha: float, s: float, dt: float) -> Array:
    """Feet (N + 1, lines) of a' = −G − αa − s sign(a) after dt; drift G is (lines,).

    Back from a > 0 the path obeys a' = G + s + αa and may pass 0, where it goes on below if
    G < −s; a face at 0 stays there where |G| ≤ s: what sticks there came from both sides.
    """
    a, G = np.broadcast_arrays(faces[:, None], drift[None, :])
    if s == 0:
        return grown(a, G, alpha, dt)
    side = np.where(a != 0, np.sign(a), np.where(np.abs(G) > s, np.sign(G), 0.0))
    height, towards = side * a, side * G  # mirrored so that every foot starts at height ≥ 0
    stay = grown(height, towards + s, alpha, dt)
    passed = np.minimum(dt, time_to_zero(height, towards + s, alpha))
    beyond = grown(np.zeros_like(height), towards - s, alpha, dt - passed)
    return side * np.where((passed < dt) & (height > 0), beyond, stay)


def grown(a: Array, drift: Array, alpha: float, dt: Array | float) -> Array:
    """a(dt) of a' = drift + αa."""
    if alpha == 0:
        return a + drift * dt
    return a * np.exp(alpha * dt) + drift * np.expm1(alpha * dt) / alpha


def time_to_zero(a: Array, drift: Array, alpha: float) -> Array:
    """When a' = drift + αa from a ≥ 0 reaches 0; inf if it never does."""
    falls = drift + alpha * a < 0
    safe = np.where(falls, drift, -1.0)
    if alpha == 0:
        return np.where(falls, -a / safe, np.inf)
    return np.where(falls, -np.log1p(np.where(falls, alpha * a / safe, 0.0)) / alpha, np.inf)


@dataclass(frozen=True)
class SmoothFlow:
    """The flow of a smooth field v given at faces, interpolated by polynomials.

    Attributes:
        v: (outer, N + 1, inner) in cells per unit of τ.
        wall: of the axis.
        degree: of the interpolation.
    """

    v: Array
    wall: int
    degree: int

    def feet(self, start: Array, multipliers: Array, dt: float) -> Array:
        """Feet (multipliers, outer, N + 1, inner) from ``start`` (N + 1,), all in cells."""
        weights, nodes = self.interpolated(start, multipliers, dt)
        return (weights @ nodes.reshape(len(nodes), -1)).reshape(-1, *self.v.shape)

    def interpolated(self, start: Array, multipliers: Array, dt: float) -> tuple[Array, Array]:
        """Feet as combinations: weights (multipliers, C) of nodes (C, outer, N + 1, inner)."""
        places = multipliers.tobytes()
        largest, rise = farthest(places), self.v[:, 1:] - self.v[:, :-1]
        steepest = max(float(rise.max()), -float(rise.min()))
        count = node_count(abs(dt) * largest * steepest)
        if count < len(multipliers):
            x, weights = combination(count, places)
            return weights, self.traced(start, dt * largest * x)
        taus = dt * multipliers
        order = np.argsort(np.abs(taus), kind="stable")
        weights = np.zeros((len(taus), len(taus)))
        weights[order, np.arange(len(taus))] = 1.0
        return weights, self.traced(start, taus[order])

    def traced(self, start: Array, taus: Array) -> Array:
        """Feet (taus, outer, N + 1, inner) at ``taus``, sorted by distance from 0."""
        outer, faces, inner = self.v.shape
        feet = np.empty((len(taus), outer, inner, faces)).swapaxes(2, 3)  # line by line
        feet_at(self.v, start, taus, interpolation_table(self.degree), self.wall, feet)
        return feet


@dataclass(frozen=True)
class PiecewiseFlow:
    """The flow of a piecewise constant field, followed exactly.

    Attributes:
        kinks: (outer, inner, J) sorted, in cells.
        pieces: (outer, inner, J + 1) velocities, in cells per unit of τ.
    """

    kinks: Array
    pieces: Array

    def feet(self, start: Array, multipliers: Array, dt: float) -> Array:
        """Feet (multipliers, outer, N + 1, inner) from ``start`` (N + 1,), all in cells."""
        outer, inner, _ = self.kinks.shape
        feet = np.empty((len(multipliers), outer, len(start), inner))
        feet_piecewise(self.kinks, self.pieces, start, dt * multipliers, feet)
        return feet


def node_count(advance: float) -> int:
    """Degree of the Chebyshev interpolant of the flow over |v'|·|τ| ≤ ``advance``, even.

    Its error falls like exp(−degree·asinh(REACH/advance)) (Trefethen, Approximation Theory and
    Approximation Practice, 2013, theorem 8.2).
    """
    decay = math.asinh(REACH / max(advance, 1e-3))
    count = max(math.ceil(-math.log(PRECISION) / decay), FEWEST_NODES)
    return count + count % 2


@cache
def chebyshev(degree: int) -> tuple[Array, Array]:
    """Points of the second kind and barycentric weights, even degree, by distance from 0.

    Berrut & Trefethen, SIAM Review 46 (2004).
    """
    k = np.arange(degree + 1)
    x, weights = np.cos(np.pi * k / degree), np.where(k % 2 == 0, 1.0, -1.0)
    x[degree // 2] = 0.0
    weights[[0, -1]] *= 0.5
    order = np.argsort(np.abs(x), kind="stable")
    return x[order], weights[order]


@lru_cache(maxsize=64)
def farthest(places: bytes) -> float:
    """The largest distance from 0 of ``places``, floats; 1 if all are there."""
    return float(np.abs(np.frombuffer(places)).max()) or 1.0


@lru_cache(maxsize=64)
def combination(degree: int, places: bytes) -> tuple[Array, Array]:
    """Chebyshev points and the matrix that interpolates from them, scaled, at ``places``."""
    x, weights = chebyshev(degree)
    return x, barycentric(x, weights, np.frombuffer(places) / farthest(places))


def barycentric(x: Array, weights: Array, t: Array) -> Array:
    """Matrix (len(t), len(x)) that interpolates from nodes x at t."""
    gap = t[:, None] - x[None, :]
    hit = gap == 0
    terms = weights / np.where(hit, 1.0, gap)
    terms = np.where(hit.any(axis=1, keepdims=True), hit, terms)
    return terms / terms.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Kinks:
    """Where the field of a piecewise linear activation jumps along one coordinate, per line.

    Attributes:
        places: (lines, J) sorted values of the coordinate.
        samples: (lines, J) whose kink it is.
        jumps: (lines, J) jump of −x_i σ'(z_i) there.
        lowest: (n,) −x_i σ'(z_i) below all kinks.
    """

    places: Array
    samples: NDArray[np.intp]
    jumps: Array
    lowest: Array

    def flow(self, slope: Array, low: float, width: float) -> PiecewiseFlow:
        """The field Σ_i slope_i (−x_i σ'(z_i)) in cells."""
        steps = np.cumsum(slope[self.samples] * self.jumps, axis=-1)
        first = np.full((*steps.shape[:-1], 1), float(self.lowest @ slope))
        pieces = np.concatenate([first, first + steps], axis=-1) / width
        return PiecewiseFlow((self.places - low) / width, pieces)


def kinks_along(activation: Activation, directions: Array, k: int, others: Array) -> Kinks:
    """Kinks along coordinate k for the lines through ``others`` (…, k' ≠ k coordinates, 0 at k).

    z_i = directions_i · v; ``others`` is (outer, inner, K) with entry k zero.
    """
    x = directions[:, k]
    moving = np.flatnonzero(x)
    rest = others @ directions[moving].T  # (outer, inner, moving)
    places = np.concatenate([(kink - rest) / x[moving] for kink in activation.kinks], axis=-1)
    beside = [slopes_beside(activation, kink) for kink in activation.kinks]
    sizes = np.concatenate([-np.abs(x[moving]) * (above - below) for below, above in beside])
    samples = np.tile(moving, len(activation.kinks))
    order = np.argsort(places, axis=-1, kind="stable")
    places = merged(np.take_along_axis(places, order, axis=-1))
    far_below = slopes_beside(activation, activation.kinks[0])[0]
    far_above = slopes_beside(activation, activation.kinks[-1])[1]
    return Kinks(
        places=places,
        samples=samples[order],
        jumps=sizes[order],
        lowest=-x * np.where(x > 0, far_below, far_above),
    )


def merged(places: Array) -> Array:
    """Sorted ``places`` (…, J), those that only rounding parts from the one before made equal."""
    near = np.diff(places, axis=-1) <= ROUNDING * (1 + np.abs(places[..., 1:]))
    later = np.where(near, -np.inf, places[..., 1:])
    return np.maximum.accumulate(np.concatenate([places[..., :1], later], axis=-1), axis=-1)


def slopes_beside(activation: Activation, kink: float) -> tuple[float, float]:
    """σ' just below and just above a kink."""
    slope: Callable[[Array], Array] | None = activation.slope
    assert slope is not None
    beside = slope(np.array([np.nextafter(kink, -np.inf), np.nextafter(kink, np.inf)]))
    return float(beside[0]), float(beside[1])
