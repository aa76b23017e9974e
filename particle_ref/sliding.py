"""Neurons at the kinks of their activation: sliding along them, and chattering across them.

Where w·x_i passes a kink κ of σ, ∂_v V jumps by a r_i [σ'] x_i across a hyperplane. Where
a r_i [σ'] > 0 it is the floor of a valley of V: if both sides drive a neuron there, it slides along
(Filippov 1988), and steps along one side's gradient cross it for ever. A step that is implicit in
the valleys,

    v ← argmin_q  Σ_{a r_i [σ'] > 0} a r_i σ(q·x_i) + g·q + |q − v|²/(2 dt)

with g the gradient of all else, comes to rest on the hyperplane, and slides. Of every slope it
takes the jump λ_i times: 0 below the kink, 1 above, between on it. The λ solve the dual, a
quadratic in a box, by steps in the one coordinate that moves the neuron most (greedy coordinate
ascent). It is forward-backward splitting: Combettes & Pesquet 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from particle_ref.cloud import Cloud
from particle_ref.problem import Array, FeatureProblem, KernelProblem, Problem

BESIDE = 1e-7  # of a kink, where the slope is read on both its sides
SETTLED = 1e-12  # of the largest weight, by which a neuron may miss its hyperplane
MOST_SWEEPS = 32  # where valleys meet at small angles more would settle, slowly
BLOCK = 2**18  # pairs of particle and hyperplane that are worked on together
WATCHED = 2**18  # pairs that are watched, at most
ON_KINK = 1e-9  # of the largest w·x_i, which counts as on the hyperplane

Sides = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Hyperplanes:
    """Where neurons v meet a kink: v·x_h = κ_h, one for each sample and kink."""

    normal: Array  # (h, k) the samples x_h, with a 1 for the bias
    level: Array  # (h,) κ_h
    jump: Array  # (h,) of the slope across
    on: Array  # (h,) the part of the jump in the slope at the kink itself
    sample: NDArray[np.intp]  # (h,) which sample it belongs to
    network: FeatureProblem

    def inner(self, position: Array) -> Array:
        """v·x_h − κ_h for neurons at position (N, D), (N, h)."""
        return position[:, int(self.network.lifted) :] @ self.normal.T - self.level


def hyperplanes(problem: Problem) -> Hyperplanes | None:
    """Where a two-layer network's activation has kinks; None where it has none."""
    if isinstance(problem, KernelProblem) or problem.inputs is None or problem.activation is None:
        return None
    slope, kinks = problem.activation.slope, np.array(getattr(problem.activation, "kinks", ()))
    if slope is None or not kinks.size:
        return None
    X, n = problem.inputs, len(problem.inputs)
    X = np.column_stack([X, np.ones(n)]) if problem.bias else X
    left, at, right = (slope(kinks + h) for h in (-BESIDE, 0.0, BESIDE))
    kinks, left, at, right = (v[right != left] for v in (kinks, left, at, right))
    level, jump, on = (np.repeat(v, n) for v in (kinks, right - left, (at - left) / (right - left)))
    sample = np.tile(np.arange(n), len(kinks))
    return Hyperplanes(X[sample], level, jump, on, sample, problem)


def sliding_gradient(
    planes: Hyperplanes, position: Array, gradient: Array, rest: Array, r: Array, dt: float
) -> Array:
    """The gradient (N, D) with which a step of ``dt`` ends in the valleys it meets.

    Args:
        planes: the problem's hyperplanes.
        position: (N, D) of the neurons.
        gradient: (N, D) there, of a r·ψ.
        rest: (N, D), of whatever else moves them.
        r: (n,) risk'(f).
        dt: length of the step.
    """
    settled, lifted = gradient.copy(), planes.network.lifted
    rows = max(1, BLOCK // len(planes.level))
    for first in range(0, len(position), rows):
        b = slice(first, first + rows)
        ahead = position[b] - dt * (gradient[b] + rest[b])
        a = position[b, :1] if lifted else np.ones((len(ahead), 1))
        depth = dt * a * (planes.jump * r[planes.sample])
        settled[b, int(lifted) :] += _pushes(planes, position[b], ahead, depth) / dt
    return settled


def _pushes(planes: Hyperplanes, position: Array, ahead: Array, depth: Array) -> Array:
    """Σ_h (λ_h − λ_h⁰) depth_h x_h, (N, k): by how much a step to ``ahead`` went too far."""
    x, before = planes.normal, planes.inner(position)
    part = np.where(before > 0, 1.0, np.where(before < 0, 0.0, planes.on))
    push = np.zeros((len(position), x.shape[1]))
    squares = (x**2).sum(axis=1)
    there = planes.inner(ahead)
    fall = depth * squares  # of v·x with λ
    fall = np.where(fall > 0, fall, np.inf)  # only valleys settle
    reach = np.maximum(depth, 0.0) * np.sqrt(squares)  # how far λ moves a neuron
    tolerance = SETTLED * np.abs(position).max(initial=0.0)
    moving = np.arange(len(position))
    for _ in range(MOST_SWEEPS):
        z = there[moving] - push[moving] @ x.T
        better = np.clip(part[moving] + z / fall[moving], 0.0, 1.0)
        move = np.abs(better - part[moving]) * reach[moving]
        worst = move.argmax(axis=1)
        far = np.take_along_axis(move, worst[:, None], axis=1)[:, 0] > tolerance
        if not far.any():
            break
        better, worst, moving = better[far], worst[far], moving[far]
        new = np.take_along_axis(better, worst[:, None], axis=1)[:, 0]
        push[moving] += ((new - part[moving, worst]) * depth[moving, worst])[:, None] * x[worst]
        part[moving, worst] = new
    return push


class Watched(Cloud):
    """A cloud, with the numbers that were measured on its way as attributes."""

    def __init__(self, position: Array, weight: Array, measured: Mapping[str, float]) -> None:
        super().__init__(position, weight)
        for name, value in measured.items():
            object.__setattr__(self, name, value)


class Chatter:
    """How much of a cloud crosses hyperplanes to and fro, from step to step.

    Of the pairs of particle and hyperplane, by weight of particle and sample, the share that
    crossed in the last step but one and crossed back in the last; the mean over the steps since
    ``taken``. Of large clouds every k-th particle is watched, as many as make 2^18 pairs.
    """

    def __init__(self, planes: Hyperplanes, cloud: Cloud, sample_weight: Array) -> None:
        self.planes = planes
        every = -(-len(cloud) * len(planes.level) // WATCHED)
        self.watched = slice(None, None, every)
        particle = cloud.weight[self.watched]
        self.particle = particle / max(particle.sum(), np.finfo(float).tiny)
        weight = sample_weight[planes.sample]
        self.weight = weight / weight.sum()
        self.steps, self.total = 0, 0.0
        here = self._sides(cloud.position)
        self.sides = np.stack([here, here])  # at the last step but one, and at the last

    def see(self, position: Array) -> None:
        """Look at a cloud after a step."""
        before, last = self.sides
        here = self._sides(position)
        back = (here * last < 0) & (last * before < 0)
        self.total += float(self.particle @ (back @ self.weight))
        self.steps += 1
        self.sides = np.stack([last, here])

    def taken(self) -> float:
        """The share since it was last taken; 0 without steps."""
        share = self.total / max(self.steps, 1)
        self.steps, self.total = 0, 0.0
        return share

    def _sides(self, position: Array) -> Sides:
        """1 above a hyperplane, −1 below, 0 on it."""
        z = self.planes.inner(position[self.watched])
        z[np.abs(z) <= ON_KINK * np.abs(z).max()] = 0.0
        return np.sign(z).astype(np.int8)
