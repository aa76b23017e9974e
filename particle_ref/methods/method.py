"""What a method is: the cloud at the requested times, and the velocity it moves with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from particle_ref.cloud import Cloud
from particle_ref.errors import NumericalStop
from particle_ref.force import Force
from particle_ref.problem import Array
from particle_ref.spaces import Space


class Method(Protocol):
    """Moves a cloud along −∇V."""

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the increasing ``times`` (T,) ≥ 0, from ``cloud`` at time 0.

        Raises NumericalStop when positions are no longer finite.
        """

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """The velocity (N, D) the method gives particles, from the gradient of a Response."""


def require_finite(values: Array, where: str) -> None:
    """Raise NumericalStop if any number is nan or infinite."""
    if not np.isfinite(values).all():
        raise NumericalStop(
            f"a position or velocity is not finite {where}",
            "the flow blew up, or steps are too long for it",
            "take a shorter dt, a tighter tolerance, or end earlier",
        )
