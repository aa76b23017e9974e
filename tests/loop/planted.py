"""Problems and methods with one planted error each, for the guards; and a plain problem."""

from dataclasses import replace

import numpy as np

import mfpde as mf
from mfpde.flows import Field, WassersteinFlow
from mfpde.methods.step import Method, Step, Stepper
from mfpde.problems.problem import Array

X, Y = np.linspace(-1.0, 1.0, 6), np.array([-1.0, -0.5, -0.4, 0.6, 0.2, 1.5])


def plain(**parts) -> mf.Problem:
    """A tanh network on six samples."""
    return mf.two_layer(X, Y, **({"initial": mf.gaussian(0.2, 0.7)} | parts))


def square(half_width: float = 6.0, cells: int = 20, walls: str | None = None) -> mf.Grid:
    """The same cells in a and w."""
    return mf.Grid(**{c: mf.uniform(-half_width, half_width, cells, walls=walls) for c in "aw"})


class Altered:
    """upwind with parts exchanged; each stands for one way to be wrong."""

    def __init__(self, flow: WassersteinFlow) -> None:
        self.flow = flow
        self.right: Stepper = mf.upwind().begin(flow)

    def longest(self, rho: Array, field: Field) -> float:
        return self.right.longest(rho, field)

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        return self.right.step(rho, field, dt)


def method(altered: type[Altered], promise: str = "monotone") -> Method:
    """The record of an altered method."""
    return Method(altered.__name__.lower(), 1.0, {}, "dt", promise, altered)  # type: ignore[arg-type]


class Unlimited(Altered):
    """Knows no step limit; only shorter steps can save it."""

    def longest(self, rho: Array, field: Field) -> float:
        return float("inf")


class Overstepping(Altered):
    """Allows steps three times too long."""

    def longest(self, rho: Array, field: Field) -> float:
        return 3.0 * self.right.longest(rho, field)


class Reckless(Altered):
    """Steps a hundred times too far, however short a step it is asked for."""

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        return self.right.step(rho, field, 100 * self.longest(rho, field))


class Uphill(Altered):
    """Moves against the velocity."""

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        return self.right.step(rho, replace(field, exerted=lambda: -field.potential), dt)


class Leaking(Altered):
    """Loses a billionth of the mass at every step and does not say so."""

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        step = self.right.step(rho, field, dt)
        return replace(step, rho=step.rho * (1 - 1e-9))


def failing(part: str, after: int) -> mf.Problem:
    """The square loss whose slope or value is NaN after that many evaluations of a run."""
    calls = {"slope": 0, "value": 0}

    def spoiled(name, numbers):
        calls[name] += 1
        return numbers * np.nan if name == part and calls[name] > after else numbers

    loss = mf.Loss(
        lambda f, y: spoiled("value", (f - y) ** 2 / 2),
        lambda f, y: spoiled("slope", f - y),
        smoothness=1.0,
    )
    problem = plain(loss=loss)
    calls.update(slope=0, value=0)  # those by which the loss was tried when it was bound
    return problem
