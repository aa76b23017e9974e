"""A cloud moved through time."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from particle_ref.arguments import check_problem, numbers
from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput, NumericalStop, Stopped
from particle_ref.force import Force
from particle_ref.methods.method import Memory, Method, Resumable
from particle_ref.problem import Array, Problem
from particle_ref.record import Book, Pages, Writer, blank, identity, snapshot
from particle_ref.spaces import Space
from particle_ref.threads import one_thread

CALLS = {  # methods that are nothing without their arguments
    "Descent": "Descent(dt)",
    "Langevin": "Langevin(dt, seed)",
    "Stochastic": "Stochastic(dt, batch, seed)",
}

MOST_GROWTH = 1e8  # of the energy, beside one unit


def run(
    problem: Problem,
    cloud: Cloud,
    method: Method,
    times: ArrayLike,
    to: Writer | None = None,
    max_seconds: float | None = None,
) -> xr.Dataset:
    """Move ``cloud``, the state at time 0, by ``method`` and record it at ``times``.

    Args:
        problem: any object with the attributes of :mod:`particle_ref.problem`.
        cloud: particles in the problem's coordinates; angles on circles may be any, and so may
            lengths of vectors on spheres.
        method: ``GradientFlow(...)``, ``Descent(dt)``, ``Stochastic(dt, batch, seed)``,
            ``Conic(...)`` or ``Characteristics(...)``; where λ > 0 ``Langevin(dt, seed)``.
        times: (T,) strictly increasing PDE times ≥ 0.
        to: who keeps the run, for instance ``mf.store("runs/y")``, snapshot by snapshot. The same
            call again goes on from there, bit for bit, or returns the finished run; so do more
            ``times`` that begin like those before, where steps do not depend on the last of them.
        max_seconds: stop at the first of ``times`` that is reached later than this, counted from
            the call (not between them); the same call again goes on from ``to``.

    Returns:
        ``position(time, particle, coord)``, ``weight(time, particle)``, ``risk``, ``energy`` and
        ``dissipation`` ``(time)``, ``prediction(time, sample)``, and ``x``, ``y`` of the samples;
        from ``Characteristics`` also ``log_density(time, particle)``, from ``Descent`` across kinks
        ``chatter(time)``.
        Energy is risk + ∫reg dρ, without the entropy, which particles do not have; dissipation is
        Σ_j p_j |u_j'|² with the method's velocity, so −dF/dt of the flow; where a method is noisy,
        with its mean velocity: Σ_j p_j |∇V(u_j)|², the drift's alone.

    Raises:
        InvalidInput: for times out of order, a cloud that does not fit the problem, λ > 0 without
            noise and noise without λ, a penalty with kinks and no proximal map, or what the method
            refuses.
        NumericalStop: when a number is no longer finite, or the energy is 10⁸ times what it was
            at the first of the times; ``last`` is the Dataset up to then.
        Stopped: when ``max_seconds`` are over; ``last`` is the Dataset up to then.
        Whatever ``to`` raises, when the run cannot be kept there.
    """
    latest = _latest(max_seconds)
    check_problem(problem)
    _check_parts(cloud, method, to)
    moments = _increasing(times)
    _check_noise(problem, method)
    space = Space(problem.coords, problem.domain)
    start = Cloud(np.ascontiguousarray(space.admit(cloud.position)), cloud.weight)
    force = Force(problem)
    template = blank(problem, space, method, start)
    with ExitStack() as held:
        held.enter_context(one_thread())
        book: Book = Pages(template)
        if to is not None:
            parts = identity(problem, space, method, start, force)
            if not isinstance(method, Resumable):
                parts["last time"] = moments[-1]  # steps may depend on it
            book = held.enter_context(to.opened(parts, xr.Dataset(*template), moments))
        if book.finished:
            return book.run()
        try:
            # Every state is searched for numbers that are not finite: no need to warn beside it.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                first = None
                for instant, moved, memory in _flow(method, force, space, start, moments, book):
                    row = snapshot(instant, moved, force, space, method)
                    first = row["energy"] if first is None else first
                    _check_growth(first, row["energy"], instant)
                    book.append(row, memory)
                    _check_clock(latest, instant, moments[-1])
        except (NumericalStop, Stopped) as stop:
            stop.last = book.run()
            raise
        book.finish({})
        return book.run()


def _flow(
    method: Method, force: Force, space: Space, start: Cloud, moments: Array, book: Book
) -> Iterator[tuple[float, Cloud, Memory]]:
    """The clouds that a book does not hold yet, each with what the method remembers then."""
    count = book.count
    if count == len(moments):
        return
    if not isinstance(method, Resumable):  # from the beginning: what is there comes out again
        clouds = method.flow(force, space, start, moments)
        yield from ((t, c, {}) for t, c in islice(zip(moments, clouds, strict=True), count, None))
    else:
        memory = dict(book.state or {})
        clouds = method.resumed(force, space, start, moments[count:], memory)
        for time, cloud in zip(moments[count:], clouds, strict=True):
            yield float(time), cloud, dict(memory)


def _check_growth(first: float, energy: float, instant: float) -> None:
    """Raise NumericalStop where steps too long for the flow have blown it up."""
    if energy > MOST_GROWTH * (1 + abs(first)):
        raise NumericalStop(
            f"the energy grew from {first:.3g} to {energy:.3g} by t = {instant:g}",
            "energy falls along the flow: steps are too long for it",
            "a shorter dt",
        )


def _latest(max_seconds: float | None) -> float:
    """When to stop on the clock."""
    if max_seconds is None:
        return np.inf
    if not (isinstance(max_seconds, float | int) and max_seconds > 0):
        given = f"max_seconds = {reprlib.repr(max_seconds)}"
        raise InvalidInput(given, "a time on the clock", "seconds above 0, or None")
    return time.monotonic() + max_seconds


def _check_clock(latest: float, instant: float, end: float) -> None:
    """Raise Stopped when the time is over before the end."""
    if time.monotonic() >= latest and instant < end:
        raise Stopped(
            f"stopped at t = {instant:.6g} of {end:.6g}",
            "max_seconds are over",
            "the same call again goes on where to=… was given",
        )


def _check_parts(cloud: Cloud, method: Method, to: Writer | None) -> None:
    """Raise InvalidInput for an argument that is something else, or a class not called."""
    if isinstance(method, type):
        call = CALLS.get(method.__name__, f"{method.__name__}()")
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
    if to is not None and not callable(getattr(to, "opened", None)):
        raise InvalidInput(
            f"to = {reprlib.repr(to)}",
            "a writer of snapshots is asked for, which makes a folder safe",
            'to=mf.store("runs/y")',
        )


def _check_noise(problem: Problem, method: Method) -> None:
    """Raise InvalidInput unless the method diffuses just where the problem has entropy."""
    diffuses = getattr(method, "diffuses", False)
    if problem.entropy > 0 and not diffuses:
        raise InvalidInput(
            f"{method} cannot solve a problem of entropy λ = {problem.entropy:g}",
            "entropy is noise of variance 2λ per unit of time to particles, and this method has "
            "none",
            "pr.Langevin(dt, seed), or entropy=0.0",
        )
    if diffuses and not problem.entropy > 0:
        raise InvalidInput(
            f"{method} on a problem of entropy λ = {problem.entropy:g}",
            "its noise has variance 2λ per unit of time, and here is none",
            "pr.Descent(dt), or entropy above 0",
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
