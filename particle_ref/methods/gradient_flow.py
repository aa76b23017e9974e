"""The gradient flow u_j' = −∇V(u_j) itself, by an adaptive Runge-Kutta method.

Reference: Chizat & Bach 2018 (arXiv 1805.09545), Proposition 2.3; DOP853: Hairer, Nørsett
& Wanner, Solving Ordinary Differential Equations I, §II.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from scipy.integrate import DOP853, RK23, RK45

from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput, NumericalStop
from particle_ref.force import Force
from particle_ref.methods.method import require_finite
from particle_ref.problem import Array
from particle_ref.spaces import Space

STEPPERS = {"DOP853": DOP853, "RK45": RK45, "RK23": RK23}
FINEST_RTOL = 1e-13  # below, rounding rules the error estimate
WALL_SLACK = 1e-9  # how far past a wall, in units of the coordinate, counts as on it


@dataclass(frozen=True)
class GradientFlow:
    """The flow in continuous time, exact but for the integrator's tolerances.

    It lands on the requested times. Kinks of the activation (ReLU) are allowed, where the step
    shortens. It refuses a penalty with a kink in its proximal map (|a|), since particles stop
    there at once, and stops at walls: :class:`Descent` handles both. A penalty that has kinks but
    no prox is followed along its gradient, which is right only away from them.

    Attributes:
        rtol: relative tolerance of one step, in the mean over all coordinates of all particles.
        atol: absolute tolerance likewise, in units of the coordinates.
        integrator: ``"DOP853"`` (order 8), ``"RK45"`` or ``"RK23"``.

    Raises:
        InvalidInput: for tolerances or an integrator that do not exist; from ``run``, for a
            penalty with kinks and where a particle meets a wall.
    """

    rtol: float = 1e-9
    atol: float = 1e-12
    integrator: Literal["DOP853", "RK45", "RK23"] = "DOP853"

    def __post_init__(self) -> None:
        if not (FINEST_RTOL <= self.rtol < 1 and 0 < self.atol < 1):
            raise InvalidInput(
                f"rtol={self.rtol}, atol={self.atol}",
                f"tolerances lie between 0 and 1, and rtol is at least {FINEST_RTOL}",
            )
        if self.integrator not in STEPPERS:
            raise InvalidInput(f"integrator={self.integrator!r}", f"there are {list(STEPPERS)}")

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the requested times; see :class:`~particle_ref.methods.method.Method`."""
        if force.prox is not None:
            raise InvalidInput(
                "GradientFlow cannot follow a penalty with kinks",
                "particles come to rest on a kink at once, where no Runge-Kutta step is right",
                "use Descent(dt), which takes the penalty by its proximal map",
            )
        now, position = 0.0, cloud.position
        for time in times:
            if time > now:
                position = self._integrate(force, space, position, cloud.weight, now, time)
            now = time
            yield Cloud(space.project(space.wrap(position)), cloud.weight)

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """−∇V, (N, D)."""
        return -(gradient + force.penalty.gradient(position))

    def _integrate(
        self, force: Force, space: Space, position: Array, weight: Array, start: float, end: float
    ) -> Array:
        shape = position.shape

        def velocity(t: float, u: Array) -> Array:
            return force.velocity(space.wrap(u.reshape(shape)), weight).ravel()

        stepper = STEPPERS[self.integrator]
        solver = stepper(velocity, start, position.ravel(), end, rtol=self.rtol, atol=self.atol)
        require_finite(solver.f, f"at t = {start:g}")  # scipy would look for a step for ever
        while solver.status == "running":
            message = solver.step()
            if space.clearance(solver.y.reshape(shape)) < -WALL_SLACK:
                raise InvalidInput(
                    f"a particle meets a wall before t = {solver.t:g}",
                    "GradientFlow has no walls: a step would end at every particle that meets one",
                    "use Descent(dt), which keeps particles within walls, or end earlier",
                )
        if solver.status == "failed":
            raise NumericalStop(
                f"the flow cannot be followed beyond t = {solver.t:g}",
                message,
                "end earlier, or loosen the tolerances if the force is not smooth",
            )
        return solver.y.reshape(shape)
