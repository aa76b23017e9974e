"""What a method is: how far it may step from here, and one step.

A method is a record with its name, order and promises, and ``begin(flow)``, which returns the two
functions below bound to a flow. Time itself moves only in mfpde/loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from mfpde.flows.quadrature import CENTRES
from mfpde.flows.tally import Tally
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.kernels.tiles import WIDTH
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

Promise = Literal["exact", "monotone", "order", "none"]


@dataclass(frozen=True)
class Step:
    """The density after a step, and what left through open walls.

    Attributes:
        rho: cell averages, of the grid's shape.
        escaped: mass that left, by coordinate: (lower wall, upper wall).
        carried: the energy that mass took along, ∫V dm.
        error: estimated error of the step over what is allowed; above 1 it is repeated with half
            its length. inf: the step could not be made, and if no shorter one can the run stops.
        dissipated: by how much the step says that it lowered the energy, ``carried`` aside; what a
            method of promise "exact" is held to.
        tally: of ``rho``, where the step counted on its way what a pass over it would.
    """

    rho: Array
    escaped: dict[str, tuple[float, float]]
    carried: float
    error: float = 0.0
    dissipated: float = 0.0
    tally: Tally | None = None


class Stepper(Protocol):
    """A method bound to a flow.

    It may hold ``limited``: how often its limiters acted, by their names; the run records it. And
    it must hold ``memory`` where its next step depends on more than ρ: a dataclass of plain
    numbers, such as the step that a controller would try; a run that is taken up again sets them.
    """

    def longest(self, rho: Array, field: Field) -> float:
        """The longest step that keeps the method's promises from here; may be inf."""

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        """One step of length dt; ``field`` belongs to ``rho``."""


@dataclass(frozen=True)
class Held:
    """How many numbers a method holds beside the flow's own, the density and its potential.

    Attributes:
        always: from its beginning to the end.
        stepping: at the peak of a step, beside those.
    """

    always: float
    stepping: float


Holding = Callable[[Problem | KernelProblem, tuple[int, ...]], Held]


def fields(count: float, tiles: int, per_axis: float = 0.0, areas: bool = True) -> Holding:
    """A step that holds ``count`` fields and some for every axis, and kernels of so many tiles.

    With ``areas`` those of the faces, a field for every axis, are held between steps too.
    """

    def held(problem: Problem | KernelProblem, shape: tuple[int, ...]) -> Held:
        cells, D = math.prod(shape), len(shape)
        every = count + per_axis * D
        return Held(areas * D * cells, every * cells + tiles * WIDTH * max(shape))

    return held


TWO_STAGES = fields(4, tiles=3)


@dataclass(frozen=True)
class Method:
    """A way to move a density.

    Attributes:
        name: the constructor's name.
        order: order of convergence in space for smooth densities.
        parameters: what the constructor was given.
        limit: the step limit, in words.
        promise: of the energy: "exact" (it falls by what the steps say that they dissipated, to
            round-off), "monotone" (it never rises), "order" (it follows the flow to the method's
            order), or "none".
        begin: binds the method to a flow.
        quadrature: order of the masses that prediction and energy are made of.
        order_in_time: where it is not that in space, as steps do not shrink with the cells.
        diffuses: whether it steps λΔρ.
        order_at_zero: order in space at λ = 0, where it differs.
        adaptive: whether steps follow an error estimate, and may grow without bound.
        stride: the step of a map in discrete time: instants are its multiples, and no step is ever
            shortened; None for methods that follow the flow.
        window: whether steps are made on a window that follows the mass (loop/window.py).
        holding: what the method holds for a problem on a grid of some shape; the forecast of a
            run's memory is made of it. By default that of a step of two stages.
    """

    name: str
    order: float
    parameters: dict[str, object]
    limit: str
    promise: Promise
    begin: Callable[[WassersteinFlow], Stepper]
    quadrature: int = CENTRES
    order_in_time: float | None = None
    diffuses: bool = False
    order_at_zero: float | None = None
    adaptive: bool = False
    stride: float | None = None
    window: bool = False
    holding: Holding = TWO_STAGES

    @property
    def call(self) -> str:
        """The call that makes the method."""
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"

    def __repr__(self) -> str:
        in_time = f", {self.order_in_time:g} in time" if self.order_in_time else ""
        noise = "λ ≥ 0" if self.diffuses else "λ = 0 only"
        promises = f"{self.limit}, energy {self.promise}, {noise}"
        return f"{self.call}: order {self.order:g}{in_time}, {promises}"
