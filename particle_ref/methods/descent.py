"""Gradient descent: explicit Euler in the flow's own time, of order 1 in dt.

    u_j ← P[u_j − dt ∇V(u_j)]                                         (reg without kinks)
    u_j ← P[prox_{dt·reg}(u_j − dt ∇⟨risk', Φ⟩(u_j))]                 (forward-backward)

with P the projection on the walls. Gradient descent of learning rate η on the particles' own risk
F_m is dt = mη. Reference: Chizat & Bach 2018, §2; forward-backward: Combettes & Pesquet 2011.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from particle_ref.arguments import number
from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput
from particle_ref.force import Force
from particle_ref.methods.method import Memory, require_finite
from particle_ref.problem import Array
from particle_ref.spaces import Space

MULTIPLE_TOLERANCE = 1e-9  # of t / dt from a whole number, relative


@dataclass(frozen=True)
class Descent:
    """Steps of length ``dt`` in PDE time: the discrete-time map ρ ← (Id − dt ∇V_ρ)_# ρ.

    A penalty with kinks (|a|) is taken by its proximal map, so particles can come to rest on a
    kink exactly; at walls particles are projected. The reported dissipation is that of the
    velocity actually moved with, (new − old) / dt. The energy decreases while dt is at most the
    inverse of the largest curvature of V; nothing warns beyond.

    Raises InvalidInput unless 0 < dt < inf; from ``run``, for times that are no multiples of dt.
    """

    dt: float

    def __post_init__(self) -> None:
        if not 0 < number(self.dt) < np.inf:
            raise InvalidInput(f"dt = {self.dt!r}", "a step is a finite PDE time > 0")

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the requested times; see :class:`~particle_ref.methods.method.Method`."""
        return self.resumed(force, space, cloud, times, {})

    def resumed(
        self, force: Force, space: Space, cloud: Cloud, times: Array, memory: Memory
    ) -> Iterator[Cloud]:
        """See :class:`~particle_ref.methods.method.Resumable`."""
        position, step = memory.get("position", cloud.position), memory.get("step", 0)
        for last in self._steps(times):
            while step < last:
                gradient = force(position, cloud.weight).gradient
                position = space.wrap(self._advance(force, space, position, gradient))
                position = np.ascontiguousarray(position)  # as it is when it was stored
                step += 1
                require_finite(position, f"after step {step}, t = {step * self.dt:g}")
            memory.update(position=position, step=step)
            yield Cloud(position, cloud.weight)

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """(new − old) / dt, (N, D): −∇V but at kinks and walls."""
        return (self._advance(force, space, position, gradient) - position) / self.dt

    def _advance(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        if force.prox is not None:
            return space.project(force.prox(position - self.dt * gradient, self.dt))
        return space.project(position - self.dt * (gradient + force.penalty.gradient(position)))

    def _steps(self, times: Array) -> list[int]:
        steps = np.rint(times / self.dt)
        astray = np.abs(steps * self.dt - times) > MULTIPLE_TOLERANCE * times
        if astray.any():
            raise InvalidInput(
                f"the times {times[astray].tolist()} are no multiples of dt = {self.dt}",
                "Descent is at k·dt after k steps and nowhere else",
                f"ask for {(steps * self.dt)[astray].tolist()}, or choose another dt",
            )
        return [int(k) for k in steps]
