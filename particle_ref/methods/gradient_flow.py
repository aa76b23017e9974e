"""The gradient flow u_j' = −∇V(u_j) itself, by an adaptive Runge-Kutta method.

Reference: Chizat & Bach 2018 (arXiv 1805.09545), Proposition 2.3; DOP853: Hairer, Nørsett
& Wanner, Solving Ordinary Differential Equations I, §II.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from scipy.integrate import DOP853, RK23, RK45

from particle_ref.arguments import number
from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput, NumericalStop
from particle_ref.force import Force
from particle_ref.methods.method import Memory, require_finite
from particle_ref.problem import Array
from particle_ref.spaces import Space

Velocity = Callable[[float, Array], Array]  # t, u (N·D,) -> u' (N·D,)

STEPPERS = {"DOP853": DOP853, "RK45": RK45, "RK23": RK23}
FINEST_RTOL = 1e-13  # below, rounding rules the error estimate
WALL_SLACK = 1e-9  # how far past a wall, in units of the coordinate, counts as on it
PACE = 1000  # steps over which the pace is measured
MOST_STEPS = 10**5  # to the end at that pace; more is given up at once


@dataclass(frozen=True)
class GradientFlow:
    """The flow in continuous time, exact but for the integrator's tolerances.

    It lands on the requested times. Crossing a kink of the activation (ReLU) is right but dear,
    some 300 forces each time. Along a kink that attracts from both sides, which ReLU on few
    samples often has, no step is long enough: the run stops with NumericalStop, and
    ``Descent(dt, kinks="slide")`` follows. A penalty with a kink in its proximal map (|a|) is
    refused, since particles come to rest there at once, and so are walls that are met.
    :class:`Descent` handles both.

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
        if not (FINEST_RTOL <= number(self.rtol) < 1 and 0 < number(self.atol) < 1):
            raise InvalidInput(
                f"rtol={self.rtol!r}, atol={self.atol!r}",
                f"tolerances lie between 0 and 1, and rtol is at least {FINEST_RTOL}",
            )
        if not isinstance(self.integrator, str) or self.integrator not in STEPPERS:
            raise InvalidInput(f"integrator={self.integrator!r}", f"there are {list(STEPPERS)}")

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the requested times; see :class:`~particle_ref.methods.method.Method`."""
        return self.resumed(force, space, cloud, times, {})

    def resumed(
        self, force: Force, space: Space, cloud: Cloud, times: Array, memory: Memory
    ) -> Iterator[Cloud]:
        """See :class:`~particle_ref.methods.method.Resumable`; steps begin anew at every time."""
        if force.prox is not None:
            raise InvalidInput(
                "GradientFlow cannot follow a penalty with kinks",
                "particles come to rest on a kink at once, where no Runge-Kutta step is right",
                "use Descent(dt), which takes the penalty by its proximal map",
            )

        def velocity(t: float, u: Array) -> Array:
            position = space.wrap(u.reshape(shape))
            return space.tangent(position, force.velocity(position, cloud.weight)).ravel()

        shape = cloud.position.shape
        watch = _Watch(space, shape, times[-1], memory.get("steps", 0), memory.get("mark", 0.0))
        now, u = memory.get("time", 0.0), memory.get("position", cloud.position.ravel())
        for time in times:
            if time > now:
                u = self._integrate(velocity, watch, u, now, time)
            now = time
            memory.update(time=float(now), position=u, steps=watch.steps, mark=float(watch.mark))
            yield Cloud(space.project(space.wrap(u.reshape(shape))), cloud.weight)

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """−∇V, (N, D), its tangent part on spheres."""
        return space.tangent(position, -(gradient + force.penalty.gradient(position)))

    def _integrate(
        self, velocity: Velocity, watch: _Watch, u: Array, start: float, end: float
    ) -> Array:
        stepper = STEPPERS[self.integrator]
        solver = stepper(velocity, start, u, end, rtol=self.rtol, atol=self.atol)
        require_finite(solver.f, f"at t = {start:g}")  # scipy would look for a step for ever
        while solver.status == "running":
            message = solver.step()
            # The velocity is that of the ray, so that the step's end stays what it was.
            solver.y = watch.retracted(solver.y)
            watch(solver.t, solver.y)
        if solver.status == "failed":
            raise NumericalStop(
                f"the flow cannot be followed beyond t = {solver.t:g}",
                message,
                "end earlier; if the force jumps where particles are, use "
                'Descent(dt, kinks="slide")',
            )
        return solver.y


class _Watch:
    """Looks at every step of one run for walls that are met and for a pace that leads nowhere."""

    def __init__(
        self, space: Space, shape: tuple[int, ...], end: float, steps: int, mark: float
    ) -> None:
        self.space, self.shape, self.end = space, shape, end
        self.steps, self.mark = steps, mark

    def retracted(self, u: Array) -> Array:
        """The points (N·D,) brought back to the spheres."""
        return self.space.retract(u.reshape(self.shape)).ravel()

    def __call__(self, t: float, u: Array) -> None:
        if self.space.clearance(u.reshape(self.shape)) < -WALL_SLACK:
            raise InvalidInput(
                f"a particle meets a wall before t = {t:g}",
                "GradientFlow has no walls: a step would end at every particle that meets one",
                "use Descent(dt), which keeps particles within walls, or end earlier",
            )
        self.steps += 1
        if self.steps % PACE == 0:
            if (t - self.mark) / PACE * MOST_STEPS < self.end - t:
                raise NumericalStop(
                    f"the last {PACE} steps to t = {t:g} were {(t - self.mark) / PACE:.1e} long",
                    "particles slide along a kink of the activation or of the penalty, or the "
                    "force is too stiff for an explicit method",
                    'use Descent(dt, kinks="slide"), or looser tolerances',
                )
            self.mark = t
