"""What a method is: the cloud at the requested times, and the velocity it moves with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from particle_ref.cloud import Cloud
from particle_ref.errors import NumericalStop
from particle_ref.force import Force
from particle_ref.problem import Array
from particle_ref.spaces import Space

Memory = dict[str, Any]  # arrays and plain numbers by name; empty at time 0


class Method(Protocol):
    """Moves a cloud along −∇V."""

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the increasing ``times`` (T,) ≥ 0, from ``cloud`` at time 0.

        Raises NumericalStop when positions are no longer finite.
        """

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """The velocity (N, D) the method gives particles, from the gradient of a Response."""


@runtime_checkable
class Resumable(Method, Protocol):
    """A method that can go on from where it came, with the steps it would have made anyway."""

    def resumed(
        self, force: Force, space: Space, cloud: Cloud, times: Array, memory: Memory
    ) -> Iterator[Cloud]:
        """The clouds at the ``times`` to come, as of ``flow``.

        ``memory`` holds all that they depend on besides ``cloud``, which is always that of time 0,
        and is brought up to date before every one of them.
        """


def require_finite(values: Array, where: str) -> None:
    """Raise NumericalStop if any number is nan or infinite."""
    if not np.isfinite(values).all():
        raise NumericalStop(
            f"a position or velocity is not finite {where}",
            "the flow blew up, or steps are too long for it",
            "take a shorter dt, a tighter tolerance, or end earlier",
        )
