"""Stochastic gradient descent in PDE time: the explicit Euler map with a force drawn at random.

    u_j ← P[u_j − dt ∇V_B(u_j)]       V_B = Σ_{i∈B} c_i ℓ'(f_i, y_i) Φ_i + reg

B is a batch of b samples. Of a problem's n samples, every batch of b different ones is as likely as
any other and c_i = n p_i/b, so the force is right on average, E ∇V_B = ∇V, at every cloud. Of a
stream of fresh samples c_i = 1/b. Kinks of reg go by its proximal map, as in Descent. As dt → 0
with t = k·dt the iterates follow the gradient flow within O(√dt), and their mean within O(dt).

References: Mei, Montanari & Nguyen 2018 (arXiv 1804.06561), eq. (3), with ε = dt/m there; decaying
steps, Robbins & Monro 1951.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import expm1, log1p
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from particle_ref.arguments import number, numbers, whole
from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput
from particle_ref.force import Features, Force, Pullback, feature_force, layer
from particle_ref.methods.method import Memory, require_finite
from particle_ref.methods.noise import Seed, stream
from particle_ref.methods.steps import TIME_TOLERANCE, check_step
from particle_ref.problem import Array, FeatureProblem, KernelProblem
from particle_ref.spaces import Space

# rng, size -> inputs (size,) or (size, d) and targets (size,), by random numbers of rng alone.
Stream: TypeAlias = Callable[[np.random.Generator, int], tuple[ArrayLike, ArrayLike]]
Index: TypeAlias = NDArray[np.integer[Any]]


class Batch(NamedTuple):
    """Features of b samples, and how these answer a prediction."""

    psi: Features
    width: int  # numbers one particle takes
    y: Array  # (b,)
    c: Array  # (b,) the weights


@dataclass(frozen=True, repr=False)
class Stochastic:
    """Steps of length ``dt`` in PDE time, each with the gradient of a few samples.

    At k·dt after k steps, or, with ``decay``, at t_k = ∫_0^{k dt} ds/(1 + s/τ)^power. Between two
    such times the cloud is that of a shorter step, with the same samples, from the one before; the
    run itself goes on with the whole step, so that it does not depend on the times asked for.

    Dissipation is that of the mean motion, by the force of the whole risk.

    Attributes:
        dt: length of the first step, of all of them without ``decay``. m times the learning rate
            of m neurons.
        batch: b, how many samples make a gradient: at most n, all different, or any number of a
            stream.
        seed: of what is drawn, a whole number ≥ 0, or a tuple of them (a study's, and a replica's).
        data: ``data(rng, size) -> x, y``, a stream of fresh samples for a two-layer network, which
            must take its random numbers from ``rng``; None for the problem's samples. Risk and
            prediction are always those on the problem's samples.
        decay: (τ, power) of steps that become shorter, τ > 0 in PDE time and 0 < power ≤ 1.

    Raises:
        InvalidInput: for a step, batch, seed or decay that is none; from ``run``, for a kernel
            problem, whose force is an exact average already, for batches larger than the data, and
            for a stream that fits no network.
    """

    dt: float
    batch: int
    seed: Seed
    data: Stream | None = None
    decay: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_step(self.dt)
        stream(self.seed)
        if not whole(self.batch, 1, np.inf):
            raise InvalidInput(f"batch = {self.batch!r}", "a whole number of samples, at least 1")
        if self.data is not None and not callable(self.data):
            raise InvalidInput(
                f"data = {self.data!r}", "a stream is a function (rng, size) -> x, y"
            )
        if self.decay is not None and not _decays(self.decay):
            raise InvalidInput(
                f"decay = {self.decay!r}",
                "steps shrink as (1 + t/τ)^−power, with k·dt for t, τ > 0 and 0 < power ≤ 1",
                "for instance decay=(1.0, 0.5)",
            )

    def __repr__(self) -> str:
        parts = [f"dt={self.dt!r}", f"batch={self.batch!r}", f"seed={self.seed!r}"]
        if self.data is not None:
            parts.append(f"data={getattr(self.data, '__qualname__', type(self.data).__name__)}")
        if self.decay is not None:
            parts.append(f"decay={self.decay!r}")
        return f"Stochastic({', '.join(parts)})"

    def identity(self) -> dict[str, Any]:
        """What a record tells beyond the repr: the stream's first batch."""
        if self.data is None:
            return {}
        x, y = self.data(stream(self.seed), self.batch)
        return {"first inputs of the stream": np.asarray(x), "first targets": np.asarray(y)}

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the requested times; see :class:`~particle_ref.methods.method.Method`."""
        return self.resumed(force, space, cloud, times, {})

    def resumed(
        self, force: Force, space: Space, cloud: Cloud, times: Array, memory: Memory
    ) -> Iterator[Cloud]:
        """See :class:`~particle_ref.methods.method.Resumable`."""
        draw = self.draws(force.problem)
        position, step = memory.get("position", cloud.position), memory.get("step", 0)
        rng = stream(self.seed, memory.get("noise"))

        def advanced(h: float) -> Array:
            batch = draw(rng)
            gradient = batch_gradient(force.problem, batch, position, cloud.weight)
            moved = space.wrap(_moved(force, space, position, gradient, h))
            moved = np.ascontiguousarray(moved)  # as it is when it was stored
            require_finite(moved, f"after step {step + 1}, t = {self.time(step) + h:g}")
            return moved

        for time in times:
            while self.time(step + 1) <= time * (1 + TIME_TOLERANCE):
                position, step = advanced(self._length(step)), step + 1
            memory.update(position=position, step=step, noise=rng.bit_generator.state)
            beyond = float(time) - self.time(step)
            if beyond <= TIME_TOLERANCE * time:
                yield Cloud(position, cloud.weight)
            else:
                yield Cloud(advanced(beyond), cloud.weight)
                rng.bit_generator.state = memory["noise"]  # the whole step draws the same batch

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """−∇V, (N, D), but at kinks and walls: (new − old)/dt of a step by the whole risk.

        On spheres its tangent part.
        """
        moved = _moved(force, space, position, gradient, self.dt)
        return space.tangent(position, (moved - position) / self.dt)

    def time(self, step: int) -> float:
        """When a step ends: k·dt, or ∫_0^{k dt} ds/(1 + s/τ)^power."""
        if self.decay is None:
            return step * self.dt
        tau, power = self.decay
        log = log1p(step * self.dt / tau)
        return tau * (log if power == 1 else expm1((1 - power) * log) / (1 - power))

    def _length(self, step: int) -> float:
        return self.dt if self.decay is None else self.time(step + 1) - self.time(step)

    def draws(self, problem: Any) -> Callable[[np.random.Generator], Batch]:
        """What draws the next batch."""
        if isinstance(problem, KernelProblem) or not isinstance(problem, FeatureProblem):
            raise InvalidInput(
                f"there are no samples to draw from {problem!r}",
                "its risk is an exact average over the population, given by a kernel",
                "Descent(dt), or the problem on samples: mf.two_layer(x, y, …)",
            )
        if self.data is not None:
            return self._of_stream(problem)
        n, b = len(problem.y), int(self.batch)
        if b > n:
            raise InvalidInput(
                f"batch = {b} of {n} samples",
                "the samples of a batch are all different",
                f"batch={n} for all of them, or a stream data=…",
            )

        def draw(rng: np.random.Generator) -> Batch:
            i = rng.choice(n, b, replace=False, shuffle=False)
            return Batch(*_chosen(problem, i), problem.y[i], n / b * problem.weights[i])

        return draw

    def _of_stream(self, problem: FeatureProblem) -> Callable[[np.random.Generator], Batch]:
        data, b, inputs, activation = self.data, self.batch, problem.inputs, problem.activation
        if inputs is None or activation is None or data is None:
            raise InvalidInput(
                f"fresh samples have no features in {problem!r}",
                "it knows features at its own samples alone",
                "a two-layer network, or data=None",
            )

        def draw(rng: np.random.Generator) -> Batch:
            x, y = (numbers("the stream's samples", part) for part in data(rng, b))
            if len(x) != b or x.size != b * inputs.shape[1] or y.shape != (b,):
                raise InvalidInput(
                    f"the stream gave x and y of shapes {x.shape} and {y.shape}",
                    f"it was asked for {b} samples of {inputs.shape[1]} inputs",
                    "data(rng, size) -> x (size,) or (size, d), y (size,)",
                )
            features = layer(x.reshape(b, -1), activation, problem.bias)
            return Batch(*features, y, np.full(b, 1 / b))

        return draw


def _decays(decay: Any) -> bool:
    """Whether it is a time τ > 0 and a power in (0, 1]."""
    if not isinstance(decay, tuple) or len(decay) != 2:
        return False
    return 0 < number(decay[0]) < np.inf and 0 < number(decay[1]) <= 1


@dataclass(frozen=True)
class _BatchLoss:
    """Σ_i c_i ℓ(f_i, y_i), and its gradient."""

    pointwise: Any  # ℓ and ℓ' as value(f, y) and slope(f, y)
    y: Array
    c: Array

    def risk(self, f: Array) -> float:
        return float(self.c @ self.pointwise.value(f, self.y))

    def slope(self, f: Array) -> Array:
        return self.c * self.pointwise.slope(f, self.y)


def batch_gradient(problem: Any, batch: Batch, position: Array, weight: Array) -> Array:
    """∇V_B without the penalty's part at the particles, (N, D).

    ``problem.loss.loss`` is asked for ℓ and ℓ', elementwise: ``value(f, y)``, ``slope(f, y)``.
    """
    loss = _BatchLoss(problem.loss.loss, batch.y, batch.c)
    return feature_force(batch.psi, batch.width, loss, problem.lifted)(position, weight).gradient


def _chosen(problem: FeatureProblem, i: Index) -> tuple[Features, int]:
    """The features of some of the samples, and their width."""
    if problem.activation is not None and problem.inputs is not None:
        return layer(problem.inputs[i], problem.activation, problem.bias)
    phi, dphi = problem.phi, problem.dphi

    def psi(v: Array) -> tuple[Array, Pullback]:
        return phi(v)[:, i].T, lambda r: r @ dphi(v)[:, i]  # type: ignore[misc]

    return psi, len(problem.y) * (1 + len(problem.coords) - int(problem.lifted))


def _moved(force: Force, space: Space, position: Array, gradient: Array, h: float) -> Array:
    """One step of length h, forward-backward where the penalty has kinks."""
    if force.prox is not None:
        moved = force.prox(position - h * space.tangent(position, gradient), h)
    else:
        slope = gradient + force.penalty.gradient(position)
        moved = position - h * space.tangent(position, slope)
    return space.project(moved)
