"""Where particles live: lines, circles, half lines and intervals; spheres of several coordinates.

On a circle positions are kept in [0, length). Walls (the ends of intervals and half lines) are
closed: a particle driven against one stays there, which is the limit of mass piling up at a
no-flux wall; noise is reflected there instead. A cloud that starts outside the walls is refused,
never moved inside. On a sphere |w| = R particles move by the tangent part of their velocity, in the
metric of the space around it, and a step is brought back along the ray from 0: a retraction of
order 2 (Absil, Mahony & Sepulchre 2008, §4.1 and §5.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from particle_ref.errors import InvalidInput
from particle_ref.problem import Array, Geometry

KINDS = ("line", "circle", "half_line", "interval", "sphere")
FARTHEST = 1e150  # from 0 that the start of a ray may lie, and 1/FARTHEST the nearest


class Space:
    """The product of the coordinates' ranges, in the problem's order.

    ``spheres`` has the columns and the radius of each.

    Raises InvalidInput for a kind of range it does not know.
    """

    def __init__(self, coords: Sequence[str], domain: Mapping[str, Geometry]) -> None:
        self.coords = tuple(coords)
        self.kinds = tuple(domain[c].kind if c in domain else "line" for c in coords)
        if unknown := set(self.kinds) - set(KINDS):
            raise InvalidInput(
                f"particles know no range of kind {sorted(unknown)}", f"known are {KINDS}"
            )
        ends = [
            (domain[c].low, domain[c].high) if c in domain else (-np.inf, np.inf) for c in coords
        ]
        low, high = np.array(ends, dtype=float).T
        kinds = np.array(self.kinds)
        circle, sphere = kinds == "circle", kinds == "sphere"
        self.length = {int(k): float(high[k]) for k in np.flatnonzero(circle)}  # of the circles
        radii = {tuple(domain[coords[int(k)]].group): high[k] for k in np.flatnonzero(sphere)}
        self.spheres = [([self.coords.index(c) for c in g], float(r)) for g, r in radii.items()]
        self.low = np.where(circle | sphere, -np.inf, low)  # neither has walls
        self.high = np.where(circle | sphere, np.inf, high)
        self.has_walls = bool(np.isfinite([self.low, self.high]).any())

    def wrap(self, position: Array) -> Array:
        """The points of the space that (N, D) stand for.

        On circles they are those in [0, length), on spheres those on the same ray from 0.
        """
        position = self.retract(position)
        if not self.length:
            return position
        wrapped = position.copy()
        for k, length in self.length.items():
            angle = np.mod(position[:, k], length)
            wrapped[:, k] = np.where(angle < length, angle, 0.0)  # mod(-1e-20, 1) is 1.0
        return wrapped

    def retract(self, position: Array) -> Array:
        """The points (N, D) with every sphere's coordinates stretched to its radius."""
        if not self.spheres:
            return position
        on = position.copy()
        for w, radius in self.spheres:
            on[:, w] *= radius / np.linalg.norm(position[:, w], axis=1, keepdims=True)
        return on

    def tangent(self, position: Array, vector: Array) -> Array:
        """The part of vectors (N, D) at points (N, D) of the space that is tangent to spheres."""
        if not self.spheres:
            return vector
        tangent = vector.copy()
        for w, radius in self.spheres:
            normal = position[:, w] / radius
            tangent[:, w] -= (normal * vector[:, w]).sum(axis=1, keepdims=True) * normal
        return tangent

    def project(self, position: Array) -> Array:
        """The nearest points (N, D) within the walls."""
        return np.clip(position, self.low, self.high) if self.has_walls else position

    def reflect(self, position: Array) -> Array:
        """Points (N, D) beyond walls folded back, however often: Brownian motion's own reflection.

        What a fold maps Brownian motion of the line to is reflected Brownian motion, exactly.
        """
        if not self.has_walls:
            return position
        with np.errstate(invalid="ignore"):  # inf − inf where there is no wall
            span = self.high - self.low
            above = np.abs(position - self.low)
            below = np.abs(self.high - position)
            folded = np.where(np.isfinite(self.low), self.low + above, self.high - below)
            lap = np.mod(position - self.low, 2 * span)
            between = self.low + np.minimum(lap, 2 * span - lap)
            folded = np.where(np.isfinite(span), between, folded)
        within = (position >= self.low) & (position <= self.high)
        return self.project(np.where(within, position, folded))  # a fold's last bit may be outside

    def clearance(self, position: Array) -> float:
        """The least distance to a wall, negative outside it, inf without walls."""
        return float(np.minimum(position - self.low, self.high - position).min())

    def admit(self, position: Array) -> Array:
        """The points (N, D) of a start, wrapped.

        Raises InvalidInput when they have another dimension, lie outside the walls, or at the
        centre of a sphere.
        """
        dimension = len(self.coords)
        if position.shape[1] != dimension:
            raise InvalidInput(
                f"the cloud has {position.shape[1]} coordinates, the problem {dimension}",
                f"a neuron is ({', '.join(self.coords)})",
                f"give positions of shape (N, {dimension})",
            )
        outside = (position < self.low) | (position > self.high)
        if outside.any():
            j, k = np.argwhere(outside)[0]
            raise InvalidInput(
                f"particle {j} starts at {self.coords[k]} = {position[j, k]:g}",
                f"that lies outside [{self.low[k]:g}, {self.high[k]:g}], "
                f"as do {int(outside.any(axis=1).sum()) - 1} others",
                "start inside, or give the coordinate another range in the problem's domain",
            )
        for w, radius in self.spheres:
            size = np.abs(position[:, w]).max(axis=1)
            lost = ~((size > 1 / FARTHEST) & (size < FARTHEST))
            if lost.any():
                at = position[j := int(lost.argmax()), w].tolist()
                raise InvalidInput(
                    f"particle {j} starts at {', '.join(self.coords[k] for k in w)} = {at}",
                    f"they live on a sphere of radius {radius:g}, to which no ray leads from there",
                    "a law without mass at 0, such as mf.gaussian()",
                )
        return self.wrap(position)
