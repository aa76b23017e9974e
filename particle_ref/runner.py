"""A cloud moved through time, and what is recorded of it."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from particle_ref.arguments import numbers
from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput, NumericalStop
from particle_ref.force import Force
from particle_ref.methods.method import Method
from particle_ref.problem import Array, Problem
from particle_ref.spaces import Space

LONGEST_NAME = 300


@dataclass(frozen=True, eq=False)
class _State:
    """The cloud at one time and what is measured of it."""

    time: float
    cloud: Cloud
    prediction: Array  # (n,)
    risk: float
    energy: float  # risk + ∫reg dρ
    dissipation: float  # Σ_j p_j |u_j'|²


class Writer(Protocol):
    """Keeps a run, such as the folder of ``mf.store("runs/y")``.

    One that also offers ``check_free()`` is asked before anything is computed; it raises when
    something is in the way.
    """

    def write(self, run: xr.Dataset) -> None:
        """Keep the run."""


def run(
    problem: Problem,
    cloud: Cloud,
    method: Method,
    times: ArrayLike,
    to: Writer | None = None,
) -> xr.Dataset:
    """Move ``cloud``, the state at time 0, by ``method`` and record it at ``times``.

    Args:
        problem: any object with the attributes of :mod:`particle_ref.problem`.
        cloud: particles in the problem's coordinates; angles on circles may be any.
        method: ``GradientFlow(...)``, ``Descent(dt)`` or ``Characteristics(...)``.
        times: (T,) strictly increasing PDE times ≥ 0.
        to: who keeps the run, for instance ``mf.store("runs/y")``; at the end, or, when the run
            is stopped, what was reached.

    Returns:
        ``position(time, particle, coord)``, ``weight(time, particle)``, ``risk``, ``energy`` and
        ``dissipation`` ``(time)``, ``prediction(time, sample)``, and ``x``, ``y`` of the samples;
        from ``Characteristics`` also ``log_density(time, particle)``.
        Energy is risk + ∫reg dρ, without the entropy, which particles do not have; dissipation is
        Σ_j p_j |u_j'|² with the method's velocity, so −dF/dt of the flow.

    Raises:
        InvalidInput: for times out of order, a cloud that does not fit the problem, λ > 0, a
            penalty with kinks and no proximal map, or what the method refuses.
        NumericalStop: when a number is no longer finite; ``last`` is the Dataset up to then.
    """
    _check_parts(cloud, method, to)
    moments = _increasing(times)
    if problem.entropy > 0:
        raise InvalidInput(
            f"{method} cannot solve a problem of entropy λ = {problem.entropy:g}",
            "entropy is noise to particles, and this method is deterministic",
            "entropy=0.0",
        )
    space = Space(problem.coords, problem.domain)
    start = Cloud(space.admit(cloud.position), cloud.weight)
    force = Force(problem)
    if check := getattr(to, "check_free", None):
        check()
    states: list[_State] = []
    try:
        # Every state is searched for numbers that are not finite: no need to warn beside it.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for time, moved in zip(moments, method.flow(force, space, start, moments), strict=True):
                states.append(_observe(time, moved, force, space, method))
    except NumericalStop as stop:
        stop.last = _dataset(problem, space, method, start, states)
        if to is not None:
            to.write(stop.last)
        raise
    result = _dataset(problem, space, method, start, states)
    if to is not None:
        to.write(result)
    return result


def _check_parts(cloud: Cloud, method: Method, to: Writer | None) -> None:
    """Raise InvalidInput for an argument that is something else, or a class not called."""
    if isinstance(method, type):
        call = "Descent(dt)" if method.__name__ == "Descent" else f"{method.__name__}()"
        raise InvalidInput(
            f"method is the class {method.__name__}", "a run needs one of them", f"write pr.{call}"
        )
    if not (hasattr(method, "flow") and hasattr(method, "velocity")):
        raise InvalidInput(
            f"method = {reprlib.repr(method)}", "it does not move particles", "pr.GradientFlow()"
        )
    if not isinstance(cloud, Cloud):
        raise InvalidInput(
            "the second argument of run is not a cloud",
            f"it is a {type(cloud).__name__}",
            "pr.sample(problem, 1000), or pr.Cloud(position)",
        )
    if to is not None and not callable(getattr(to, "write", None)):
        raise InvalidInput(
            f"to = {reprlib.repr(to)}", "it cannot write a run", 'to=mf.store("runs/y")'
        )


def _increasing(times: ArrayLike) -> Array:
    moments = numbers("times", times)
    good = moments.ndim == 1 and moments.size > 0 and np.isfinite(moments).all()
    if not good or moments[0] < 0 or (np.diff(moments) <= 0).any():
        raise InvalidInput(
            f"times = {np.array2string(moments, threshold=6)}",
            "the cloud is recorded at one or more PDE times ≥ 0, each later than the one before",
            "for instance times=np.linspace(0, 2, 21)",
        )
    return moments


def _observe(time: float, cloud: Cloud, force: Force, space: Space, method: Method) -> _State:
    u, p = cloud.position, cloud.weight
    response = force(u, p)
    velocity = method.velocity(force, space, u, response.gradient)
    energy = force.energy(u, p, response.risk)
    dissipation = float(p @ (velocity**2).sum(axis=1))
    if not np.isfinite([*response.prediction, response.risk, energy, dissipation]).all():
        raise NumericalStop(
            f"at t = {time:g} risk = {response.risk:g}, energy = {energy:g}, "
            f"dissipation = {dissipation:g}",
            "the particles are at finite places, but their prediction or force is not finite",
            "end earlier, or look at the problem's features at the last cloud",
        )
    return _State(time, cloud, response.prediction, response.risk, energy, dissipation)


def _named(thing: object) -> str:
    """How a thing names itself in a record: its repr, or its type where that is no name."""
    text = repr(thing)
    return text if len(text) <= LONGEST_NAME and " at 0x" not in text else type(thing).__name__


def _dataset(
    problem: Problem, space: Space, method: Method, start: Cloud, states: list[_State]
) -> xr.Dataset:
    T, (N, D), n = len(states), start.position.shape, len(problem.y)

    def stacked(values: list[Array] | list[float], *shape: int) -> Array:
        return np.array(values, dtype=float).reshape(T, *shape)

    x = np.asarray(problem.x, dtype=float)
    densities = [s.cloud.log_density for s in states if s.cloud.log_density is not None]
    carried = {"log_density": (("time", "particle"), np.array(densities))} if densities else {}
    return xr.Dataset(
        {
            "position": (
                ("time", "particle", "coord"),
                stacked([s.cloud.position for s in states], N, D),
            ),
            "weight": (("time", "particle"), stacked([s.cloud.weight for s in states], N)),
            "risk": ("time", stacked([s.risk for s in states])),
            "energy": ("time", stacked([s.energy for s in states])),
            "dissipation": ("time", stacked([s.dissipation for s in states])),
            "prediction": (("time", "sample"), stacked([s.prediction for s in states], n)),
            "x": (("sample", "input")[: x.ndim], x),
            "y": ("sample", np.asarray(problem.y, dtype=float)),
            "sample_weight": ("sample", np.asarray(problem.weights, dtype=float)),
            **carried,
        },
        coords={"time": [s.time for s in states], "coord": list(space.coords)},
        attrs={
            "software": "particle_ref",
            "problem": _named(problem),
            "penalty": _named(problem.penalty),
            "method": repr(method),
            "entropy": float(problem.entropy),
            "energy_excludes_entropy": 1,
            **{f"geometry_{c}": kind for c, kind in zip(space.coords, space.kinds, strict=True)},
            **{f"length_{space.coords[k]}": length for k, length in space.length.items()},
        },
    )
