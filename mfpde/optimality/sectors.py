"""How large g(w) = Σ_i c_i σ(w·x_i) gets on the unit sphere, for positively homogeneous σ.

σ(z) = right·z for z ≥ 0 and left·z for z < 0 (relu: 1 and 0), so g is linear on every cone in
which no w·x_i changes sign. On the circle these are the at most 2n sectors between the directions
orthogonal to the x_i: there the supremum of |g| is a closed form, found in O(n log n). On spheres
of more dimensions it is enclosed by subdivision, each cell of which has an upper bound of g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EPS = np.finfo(float).eps
MOST = 2**22
"""Products cell × sample held at once before subdivision ends with the bound it has."""


@dataclass(frozen=True)
class Fan:
    """The features w ↦ σ(w·x_i) of all samples, positively homogeneous in w."""

    directions: Array  # (n, k) x_i
    right: float  # σ(z)/z for z > 0
    left: float  # σ(z)/z for z < 0

    def __call__(self, points: Array) -> Array:
        """σ(w·x_i) at points w (N, k): (N, n)."""
        z = points @ self.directions.T
        return np.where(z > 0, self.right, self.left) * z

    def lipschitz(self, charge: Array) -> float:
        """A Lipschitz constant of g, and with it a bound of |g| on the sphere."""
        steepest = max(abs(self.right), abs(self.left))
        return float(steepest * np.abs(charge) @ np.linalg.norm(self.directions, axis=1))


@dataclass(frozen=True)
class Supremum:
    """What is known of sup |g| over the unit sphere: ``value`` = |g(at)| ≤ sup |g| ≤ ``upper``."""

    upper: float
    value: float
    at: Array  # (k,), of length 1


def supremum(fan: Fan, charge: Array, tolerance: float = 1e-6) -> Supremum:
    """sup over |w| = 1 of |Σ_i c_i σ(w·x_i)|.

    Args:
        fan: the features.
        charge: c (n,).
        tolerance: width of the enclosure aimed at, relative to Σ|c_i||x_i|, where the sphere has
            two dimensions or more; on the circle and in one dimension it is exact to round-off.

    Returns:
        An enclosure. ``upper`` holds whatever the tolerance: where subdivision would take too
        much memory it is what had been shown by then.
    """
    scale = fan.lipschitz(charge)
    if scale == 0:
        return Supremum(0.0, 0.0, np.eye(fan.directions.shape[1])[0])
    if fan.directions.shape[1] == 2:
        points, values = candidates(fan, charge)
        upper, at = np.abs(values).max(), points[np.abs(values).argmax()]
    else:
        upper, at = subdivided(fan, charge, tolerance * scale)
    round_off = 8 * (len(charge) + 4) * EPS * scale
    return Supremum(float(upper + round_off), float(abs(fan(at[None]) @ charge)[0]), at)


def sectors(fan: Fan, charge: Array) -> tuple[Array, Array]:
    """The angles at which sectors of the circle begin, and g there as a linear function.

    Returns φ (2n,) in increasing order and v (2n, 2) with g(w) = v_j·w from φ_j to φ_{j+1}. Each
    crossing of a direction orthogonal to x_i adds or takes (right − left) c_i x_i.
    """
    x, c = fan.directions, charge
    outward = np.arctan2(x[:, 1], x[:, 0])
    jump = (fan.right - fan.left) * c[:, None] * x
    angles = np.mod(np.concatenate([outward - np.pi / 2, outward + np.pi / 2]), 2 * np.pi)
    order = np.argsort(angles, kind="stable")
    angles = angles[order]
    steps = np.cumsum(np.concatenate([jump, -jump])[order], axis=0)
    widths = np.diff(angles, append=angles[0] + 2 * np.pi)
    widest = int(np.argmax(widths))  # in the middle of it rounding changes no sign
    middle = circle(angles[widest] + widths[widest] / 2)
    known = np.where(x @ middle > 0, fan.right, fan.left) * c @ x
    return angles, known + steps - steps[widest]


def candidates(fan: Fan, charge: Array) -> tuple[Array, Array]:
    """Where |g| may be largest on the circle: ends of sectors, and ±v where it lies in its own.

    Returns points (P, 2) and g there (P,).
    """
    angles, v = sectors(fan, charge)
    widths = np.diff(angles, append=angles[0] + 2 * np.pi)
    ends = circle(angles)
    points, values = [ends], [np.sum(v * ends, axis=1)]
    for sign in (1.0, -1.0):
        towards = np.arctan2(sign * v[:, 1], sign * v[:, 0])
        size = np.linalg.norm(v, axis=1)
        inside = (np.mod(towards - angles, 2 * np.pi) <= widths) & (size > 0)
        points.append(sign * v[inside] / size[inside, None])
        values.append(sign * size[inside])
    return np.concatenate(points), np.concatenate(values)


def peaks(fan: Fan, charge: Array) -> tuple[Array, Array]:
    """Local maxima of |g| on the circle, the largest first: points (P, 2), and g there (P,)."""
    points, values = candidates(fan, charge)
    order = np.argsort(np.arctan2(points[:, 1], points[:, 0]))
    points, values = points[order], values[order]
    size = np.abs(values)
    high = (size >= np.roll(size, 1)) & (size >= np.roll(size, -1))
    best = np.argsort(-size[high])
    return points[high][best], values[high][best]


def circle(angle: Array | float) -> Array:
    """(cos φ, sin φ), (..., 2)."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def subdivided(fan: Fan, charge: Array, tolerance: float) -> tuple[float, Array]:
    """An upper bound of sup |g|, and the best point met, by subdivision of the sphere.

    Cells are the central projections of boxes on the faces of the cube [−1, 1]^k. The projection
    is 1-Lipschitz there, so a box of half width h lies within the distance sqrt(k−1) h of its
    centre. A cell whose bound is no more than ``tolerance`` above the best |g| met is done.
    """
    k = fan.directions.shape[1]
    cells, faces, half = np.concatenate([np.eye(k), -np.eye(k)]), np.tile(np.arange(k), 2), 1.0
    best, done, at = -np.inf, -np.inf, cells[0]
    while True:
        w = cells / np.linalg.norm(cells, axis=1, keepdims=True)
        z = w @ fan.directions.T
        g = (np.where(z > 0, fan.right, fan.left) * z) @ charge
        top = int(np.abs(g).argmax())
        if abs(g[top]) > best:
            best, at = climbed(fan, charge, w[top])
        reach = min(2.0, np.sqrt(k - 1) * half)
        bound = np.maximum(*(cap_bound(fan, sign * charge, w, z, reach) for sign in (1.0, -1.0)))
        left = bound > best + tolerance
        done = max(done, float(bound[~left].max(initial=-np.inf)))
        if not left.any():
            return done, at
        if left.sum() * len(charge) * 2.0 ** (k - 1) > MOST:
            return max(done, float(bound[left].max())), at
        half /= 2
        cells, faces = split(cells[left], faces[left], half)


def climbed(fan: Fan, charge: Array, at: Array) -> tuple[float, Array]:
    """|g| and where it is taken, after steps from w to ±v(w) while they raise it: g(w) = v(w)·w."""
    best, g = -np.inf, float(fan(at[None])[0] @ charge)
    while abs(g) > best:
        best, peak = abs(g), at
        v = (charge * np.where(fan.directions @ at > 0, fan.right, fan.left)) @ fan.directions
        at = np.sign(g) * v / np.linalg.norm(v) if g else at
        g = float(fan(at[None])[0] @ charge)
    return best, peak


def cap_bound(fan: Fan, charge: Array, w: Array, z: Array, reach: float) -> Array:
    """Upper bounds (N,) of g on the caps of points of the sphere within ``reach`` of w (N, k).

    Where w·x_i (``z``, (N, n)) keeps its sign on the cap, c_i σ is linear there; where it is
    convex, its chord is above it, and where concave, its tangent at the centre. The sum of these
    is b + v·w', the largest v·w' on a cap of angle r being |v| or |v| cos(∠(v, w) − r).
    """
    far = np.linalg.norm(fan.directions, axis=1)  # |w·x_i| on all of the sphere
    low, high = np.maximum(z - reach * far, -far), np.minimum(z + reach * far, far)
    slope = np.where(z > 0, fan.right, fan.left)
    chord = (low < 0) & (high > 0) & (charge * (fan.right - fan.left) > 0)
    ends = fan.right * high - fan.left * low
    slope = np.where(chord, ends / np.where(chord, high - low, 1.0), slope)
    offset = np.where(chord, (fan.right - slope) * high, 0.0) @ charge
    v = (charge * slope) @ fan.directions
    angle = 2 * np.arcsin(reach / 2)
    along, size = np.sum(v * w, axis=1), np.linalg.norm(v, axis=1)
    across = np.linalg.norm(v - along[:, None] * w, axis=1)
    beside = along * np.cos(angle) + across * np.sin(angle)
    return offset + np.where(along >= size * np.cos(angle), size, beside)


def split(cells: Array, faces: NDArray[np.intp], half: float) -> tuple[Array, NDArray[np.intp]]:
    """The 2^(k−1) boxes of half width ``half`` in each box on a face of the cube."""
    k = cells.shape[1]
    signs = np.stack(np.meshgrid(*[[-half, half]] * (k - 1), indexing="ij"), axis=-1)
    shifts = signs.reshape(-1, k - 1)
    children = np.repeat(cells, len(shifts), axis=0)
    moved = np.repeat(faces, len(shifts))
    free = np.arange(k) != moved[:, None]
    children[free] += np.tile(shifts, (len(cells), 1)).ravel()
    return children, moved
