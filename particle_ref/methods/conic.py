"""Conic particles: the flow of a 2-homogeneous problem in polar coordinates u = rθ, |θ| = 1.

    r' = −2α r J'(θ)      θ' = −β ∇_S J'(θ)      J'(θ) = V(θ)

A particle of weight p counts as the mass p r² at θ. With V(rθ) = r²V(θ), ∇V(u) = r∇V(θ) and Euler's
θ·∇V(θ) = 2V(θ): for α = β = 1 this is u' = −∇V(u), since

    u' = r'θ + rθ' = −r (2V(θ)θ + ∇_S V(θ)) = −r ∇V(θ) = −∇V(u).

For any α, β it is the gradient flow in the metric dr²/α + r²|dθ|²/β, the Wasserstein-Fisher-Rao
flow of ν = Σ p r² δ_θ. References: Chizat & Bach 2018, §2.3 and appendix; Chizat 2022, Math.
Program. 194 (arXiv 1907.10300), §2, for the two discrete steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from particle_ref.arguments import number
from particle_ref.cloud import Cloud
from particle_ref.cone import along_geodesic, check_on_cone, polar
from particle_ref.errors import InvalidInput, NumericalStop
from particle_ref.force import Force
from particle_ref.methods.method import Memory, require_finite
from particle_ref.methods.steps import check_step, steps_to
from particle_ref.problem import Array
from particle_ref.runge_kutta import FINEST_TOLERANCE, integrate
from particle_ref.spaces import Space

RETRACTIONS = ("mirror", "canonical")


@dataclass(frozen=True)
class Conic:
    """Conic particles, in continuous time (``dt=None``) or by steps of order 1.

    Positions are u = rθ with the weights of the start, so everything that looks at particles works
    unchanged. A particle at 0 stays there. Dissipation is −dF/dt of the flow: for α = β = 1 that of
    u' = −∇V, otherwise Σ p (r'²/α + r²|θ'|²/β). Steps of a given dt chatter across the kinks of an
    activation (ReLU on few samples) as those of :class:`~particle_ref.methods.descent.Descent` do.

    Attributes:
        dt: length of a step in PDE time. None: Runge-Kutta steps of order 8 in (log r, θ), of a
            length found anew from every requested time.
        retraction: how a step moves r: ``"mirror"``, r exp(−2α dt J'), positive at any dt, or
            ``"canonical"``, r (1 − 2α dt J'), which must stay positive. Both move θ along the
            geodesic of −β dt ∇_S J'.
        alpha: α > 0, of growth. Where a particle's direction is described by other angles than
            those of the sphere, α and β tell: neurons with |a| = |w| and a > 0 are the vectors
            |u| w/|w| with Φ = |u| σ(u·x)/2, α = 1 and β = 2.
        beta: β > 0, of transport.
        rtol: tolerance of a Runge-Kutta step, in θ and relative in r.

    Raises:
        InvalidInput: for values that are not as said; from ``run``, for problems that are not
            2-homogeneous (checked at probes), and for times that are no multiples of dt.
        NumericalStop: where a canonical step is too long, or a particle slides along a kink, where
            no Runge-Kutta step is right: ``Descent(dt, kinks="slide")``.
    """

    dt: float | None = None
    retraction: Literal["mirror", "canonical"] = "mirror"
    alpha: float = 1.0
    beta: float = 1.0
    rtol: float = 1e-10

    def __post_init__(self) -> None:
        if self.dt is not None:
            check_step(self.dt)
        if not isinstance(self.retraction, str) or self.retraction not in RETRACTIONS:
            raise InvalidInput(f"retraction={self.retraction!r}", f"there are {RETRACTIONS}")
        for name, value in {"alpha": self.alpha, "beta": self.beta}.items():
            if not 0 < number(value) < np.inf:
                raise InvalidInput(f"{name} = {value!r}", "the cone's metric has finite α, β > 0")
        if not FINEST_TOLERANCE <= number(self.rtol) < 1:
            raise InvalidInput(
                f"rtol={self.rtol!r}", f"a tolerance lies between {FINEST_TOLERANCE} and 1"
            )

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the requested times; see :class:`~particle_ref.methods.method.Method`."""
        return self.resumed(force, space, cloud, times, {})

    def resumed(
        self, force: Force, space: Space, cloud: Cloud, times: Array, memory: Memory
    ) -> Iterator[Cloud]:
        """See :class:`~particle_ref.methods.method.Resumable`."""
        check_on_cone(force.problem, space)
        size, direction = polar(cloud.position)
        start = np.column_stack([np.log(size), direction])
        state, now = memory.get("state", start), memory.get("time", 0.0)
        ends = times if self.dt is None else steps_to(times, self.dt, self)
        for end in ends:
            if end > now:
                state = self._moved(force, cloud.weight, state, now, end)
            now = end
            memory.update(state=state, time=now)
            yield cloud if now == 0 else Cloud(np.exp(state[:, :1]) * state[:, 1:], cloud.weight)

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """−∇V in the cone's metric, (N, D): √α times its radial part, √β times the other."""
        _, theta = polar(position)
        radial, tangent = _split(theta, -(gradient + force.penalty.gradient(position)))
        return np.sqrt(self.alpha) * radial * theta + np.sqrt(self.beta) * tangent

    def _moved(self, force: Force, weight: Array, state: Array, now: float, end: float) -> Array:
        """(log r, θ), (N, 1 + D), at ``end``: a time, or, where dt is given, a number of steps."""
        if self.dt is not None:
            for step in range(int(now), int(end)):
                state = self._step(force, weight, state, self.dt)
                require_finite(state[:, 1:], f"after step {step + 1}, t = {(step + 1) * self.dt:g}")
            return state

        def rate(t: float, state: Array) -> Array:
            growth, turn = self._rates(force, weight, state)
            return np.column_stack([growth, turn])

        require_finite(rate(now, state), f"at t = {now:g}")
        try:
            (state,) = integrate(rate, state, [now, end], self.rtol)
        except NumericalStop as stop:
            raise NumericalStop(
                f"the cone's flow cannot be followed from t = {now:g} to {end:g}",
                "Runge-Kutta steps became ever shorter: particles meet or slide along kinks",
                'steps of a fixed length, Conic(dt=0.1), or Descent(dt, kinks="slide")',
            ) from stop
        return np.column_stack([state[:, 0], polar(state[:, 1:])[1]])

    def _rates(self, force: Force, weight: Array, state: Array) -> tuple[Array, Array]:
        """(log r)' (N,) and θ' (N, D)."""
        _, theta = polar(state[:, 1:])
        gradient = force(theta, weight * np.exp(2 * state[:, 0])).gradient
        twice, tangent = _split(theta, gradient + force.penalty.gradient(theta))  # θ·∇V = 2V
        return -self.alpha * twice[:, 0], -self.beta * tangent

    def _step(self, force: Force, weight: Array, state: Array, dt: float) -> Array:
        growth, turn = self._rates(force, weight, state)
        if self.retraction == "canonical":
            if (dt * growth).min() <= -1:
                raise NumericalStop(
                    f"a canonical step of dt = {dt:g} takes r to {(1 + dt * growth).min():.2g} r",
                    "sizes are positive, and 2α dt J' must stay below 1",
                    'a shorter dt, or retraction="mirror"',
                )
            log_size = state[:, 0] + np.log1p(dt * growth)
        else:
            log_size = state[:, 0] + dt * growth
        _, theta = polar(along_geodesic(state[:, 1:], dt * turn))
        return np.column_stack([log_size, theta])


def _split(theta: Array, vector: Array) -> tuple[Array, Array]:
    """θ·v (N, 1), and what of v (N, D) is tangent to the sphere at θ."""
    radial = (theta * vector).sum(axis=1, keepdims=True)
    return radial, vector - radial * theta
