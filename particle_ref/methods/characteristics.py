"""Characteristics: the gradient flow u' = −∇V(u), with the density that each particle sees.

    (log ρ)' = ΔV   along u' = −∇V,   so   log ρ_t(u_t) = log ρ_0(u_0) + ∫₀ᵗ ΔV(u_s) ds

that is, ρ_0(u_0) over the Jacobian determinant of the flow, whose logarithm's derivative is −ΔV.
Reference: the continuity equation in Lagrangian form; Chen, Rubanova, Bettencourt & Duvenaud
2018 (arXiv 1806.07366), equation 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from particle_ref.arguments import number
from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput
from particle_ref.force import Force
from particle_ref.methods.method import require_finite
from particle_ref.potential import Potential
from particle_ref.problem import Array
from particle_ref.quadrature import wrapped_log_density
from particle_ref.runge_kutta import FINEST_TOLERANCE, integrate
from particle_ref.spaces import Space


@dataclass(frozen=True)
class Characteristics:
    """The flow in continuous time, and ``log_density(time, particle)`` along it.

    The density is that of the problem's initial law, moved by the potential of this cloud: exact
    for the cloud at hand, and for the mean field as far as the cloud predicts like it (a cloud of
    quadrature nodes does). At time 0 it is the law's own at the particles, wherever they are.

    Attributes:
        rtol: tolerance of one step, in every coordinate y of every particle relative to 1 + |y|.

    Raises:
        InvalidInput: for a tolerance that is none; from ``run``, for features without second
            derivatives (ReLU), kernels, penalties that are not quadratic, walls and spheres.
    """

    rtol: float = 1e-10
    carries_density: ClassVar[bool] = True  # of every particle

    def __post_init__(self) -> None:
        if not FINEST_TOLERANCE <= number(self.rtol) < 1:
            raise InvalidInput(
                f"rtol={self.rtol!r}", f"a tolerance lies between {FINEST_TOLERANCE} and 1"
            )

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the requested times; see :class:`~particle_ref.methods.method.Method`."""
        potential = Potential(force.problem)
        check_followed(space)

        def rate(t: float, state: Array) -> Array:
            position = space.wrap(state[:, :-1])
            prediction = force(position, cloud.weight).prediction
            gradient, laplacian = potential(position, prediction)
            return np.column_stack([-gradient, laplacian])

        log_density = wrapped_log_density(force.problem.initial, space)(cloud.position)
        start = np.column_stack([cloud.position, np.zeros(len(cloud))])
        require_finite(rate(0.0, start), "at t = 0")
        for state in integrate(rate, start, [0.0, *times], self.rtol):
            yield Cloud(space.wrap(state[:, :-1]), cloud.weight, log_density + state[:, -1])

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """−∇V, (N, D)."""
        return -(gradient + force.penalty.gradient(position))


def check_followed(space: Space) -> None:
    """Raise InvalidInput where densities are not followed: on spheres, and where there are walls.

    Mass that meets a wall has no density; on spheres the divergence is another one.
    """
    lines = f"densities are followed on lines and circles, and {', '.join(space.coords)} has "
    if space.spheres:
        raise InvalidInput(
            lines + "a sphere",
            "the divergence there is the sphere's own",
            "for two coordinates features of an angle on a circle, or GradientFlow()",
        )
    if space.has_walls:
        raise InvalidInput(
            lines + "walls",
            "mass that meets a closed wall stays there, where it has no density",
            "leave the coordinate a line if no mass comes near its ends",
        )
