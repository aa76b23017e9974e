"""Noisy particles, the mean-field Langevin dynamics of a problem with entropy λ > 0:

    du_j = −∇V_ρm(u_j) dt + √(2λ) dB_j

whose law solves ∂_t ρ = ∇·(ρ∇V_ρ) + λΔρ as m → ∞. With ξ standard normal, G the force that is left
when the linear part Au of a ridge is taken out, V' = Au + G, and K_h the proximal map of a penalty
with kinks (then A = 0, and G the force of the risk alone), one step is

    Euler–Maruyama    u ← K_dt(u − dt G(u) − dt Au + √(2λ dt) ξ)
    Strang splitting  u ← O ∘ K_{dt/2} ∘ M ∘ K_{dt/2} ∘ O u
        O: u ← e^{−A dt/2} u + √(λ (1 − e^{−A dt})/A) ξ     the Ornstein–Uhlenbeck process, exactly
        M: u ← u − dt G(u − dt/2 G(u))                      the midpoint rule

On spheres Euler–Maruyama takes the tangent parts of slope and noise, and goes back to the sphere
along the ray from 0, which gives the drift −λ(d − 1)u/R² of Brownian motion there.

References: mean-field Langevin, Chizat 2022 (arXiv 2202.01009), Nitanda, Wu & Suzuki 2022; weak
orders, Talay & Tubaro 1990; at walls, Bossy, Gobet & Talay 2004 (symmetrised Euler).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput
from particle_ref.force import Force
from particle_ref.methods.method import Memory, require_finite
from particle_ref.methods.noise import Seed, stream
from particle_ref.methods.steps import check_step, steps_to
from particle_ref.problem import Array, Penalty
from particle_ref.spaces import Space

Noise: TypeAlias = Callable[[tuple[int, ...]], Array]  # a shape -> independent standard normals
Step: TypeAlias = Callable[[Array, Array, Noise], Array]  # position, weight, noise -> position

AFFINE_TOLERANCE = 1e-12  # of a gradient from a straight line, relative


@dataclass(frozen=True)
class Langevin:
    """Steps of length ``dt`` in PDE time, with noise of variance 2λ per unit of time.

    Expectations are right to O(dt) by ``"euler"`` and to O(dt²) by ``"splitting"``, which takes two
    forces a step and has the mean and the variance exactly where V is a ridge. Penalties with kinks
    go by their proximal maps, and both schemes are then of order 1, though the splitting's error in
    even functions of a falls like dt². Positions that pass a wall are reflected: exactly where no
    force drives them; where one does, Euler is of order 1 and the splitting of order about 3/2.

    On spheres ``"euler"`` alone moves them, of order 1.

    Dissipation is that of the drift alone, Σ_j p_j |∇V(u_j)|² with ∂|a| = 0 at a = 0; neither it
    nor the energy knows the noise, so it is not −d(energy)/dt.

    Attributes:
        dt: length of a step; ``times`` are its multiples, and asking for more of them changes
            nothing.
        seed: of the noise, a whole number ≥ 0, or a tuple of them (a study's, and a replica's).
            It is no part of the cloud's: the same number there gives independent draws.
        scheme: ``"splitting"`` or ``"euler"``.

    Raises:
        InvalidInput: for a step, seed or scheme that is none; from ``run``, where λ = 0, for times
            that are no multiples of dt, and for ``"splitting"`` on spheres.
    """

    dt: float
    seed: Seed
    scheme: Literal["splitting", "euler"] = "splitting"
    diffuses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_step(self.dt)
        stream(self.seed)
        if not isinstance(self.scheme, str) or self.scheme not in SCHEMES:
            raise InvalidInput(f"scheme = {self.scheme!r}", f"there are {list(SCHEMES)}")

    def flow(self, force: Force, space: Space, cloud: Cloud, times: Array) -> Iterator[Cloud]:
        """The clouds at the requested times; see :class:`~particle_ref.methods.method.Method`."""
        return self.resumed(force, space, cloud, times, {})

    def resumed(
        self, force: Force, space: Space, cloud: Cloud, times: Array, memory: Memory
    ) -> Iterator[Cloud]:
        """See :class:`~particle_ref.methods.method.Resumable`."""
        position, step = memory.get("position", cloud.position), memory.get("step", 0)
        rng = stream(self.seed, memory.get("noise"))
        advance = SCHEMES[self.scheme](force, space, self.dt)
        for last in steps_to(times, self.dt, self):
            while step < last:
                position = advance(position, cloud.weight, rng.standard_normal)
                position = np.ascontiguousarray(position)  # as it is when it was stored
                step += 1
                require_finite(position, f"after step {step}, t = {step * self.dt:g}")
            memory.update(position=position, step=step, noise=rng.bit_generator.state)
            yield Cloud(position, cloud.weight)

    def velocity(self, force: Force, space: Space, position: Array, gradient: Array) -> Array:
        """The drift −∇V, (N, D), its tangent part on spheres."""
        return space.tangent(position, -(gradient + force.penalty.gradient(position)))


def euler(force: Force, space: Space, dt: float) -> Step:
    """Euler–Maruyama, of weak order 1."""
    spread = np.sqrt(2 * force.problem.entropy * dt)

    def step(u: Array, p: Array, noise: Noise) -> Array:
        slope = force(u, p).gradient
        if force.prox is None:
            slope = slope + force.penalty.gradient(u)
        moved = u - dt * space.tangent(u, slope) + spread * space.tangent(u, noise(u.shape))
        return _within(space, moved if force.prox is None else force.prox(moved, dt))

    return step


def splitting(force: Force, space: Space, dt: float) -> Step:
    """Strang splitting, of weak order 2 but at kinks and walls, and exact for a ridge alone."""
    if space.spheres:
        raise InvalidInput(
            "Langevin's splitting does not move particles on spheres",
            "its Ornstein–Uhlenbeck process is one on lines",
            'Langevin(dt, seed, scheme="euler")',
        )
    kinks = force.prox
    A = np.zeros(len(space.coords))
    if kinks is None:
        A = ridge_strengths(force.penalty, len(A))
    stays, spread = ornstein_uhlenbeck(A, force.problem.entropy, dt / 2)

    def diffused(u: Array, noise: Noise) -> Array:
        return _within(space, stays * u + spread * noise(u.shape))

    def kinked(u: Array) -> Array:
        return u if kinks is None else kinks(u, dt / 2)

    def G(u: Array, p: Array) -> Array:
        slope = force(u, p).gradient
        return slope if kinks is not None else slope + (force.penalty.gradient(u) - A * u)

    def driven(u: Array, p: Array) -> Array:
        midpoint = _within(space, u - dt / 2 * G(u, p))
        return _within(space, u - dt * G(midpoint, p))

    def step(u: Array, p: Array, noise: Noise) -> Array:
        return diffused(kinked(driven(kinked(diffused(u, noise)), p)), noise)

    return step


SCHEMES: dict[str, Callable[[Force, Space, float], Step]] = {
    "splitting": splitting,
    "euler": euler,
}


def ornstein_uhlenbeck(A: Array, entropy: float, h: float) -> tuple[Array, Array]:
    """e^{−Ah} and √(λ(1 − e^{−2Ah})/A), (D,): the map and the spread of dθ = −Aθ dt + √(2λ) dB."""
    lengths = np.full(A.shape, 2 * h)  # (1 − e^{−2Ah})/A at A = 0
    np.divide(-np.expm1(-2 * A * h), A, out=lengths, where=A != 0)
    return np.exp(-A * h), np.sqrt(entropy * lengths)


def ridge_strengths(penalty: Penalty, dimension: int) -> Array:
    """μ (D,) with ∂_k reg = c_k + μ_k θ_k along axis k; 0 where reg is not quadratic."""
    with np.errstate(all="ignore"):  # poles are no ridge
        one, two, four = (
            np.diag(penalty.gradient(scale * np.eye(dimension))) for scale in (1.0, 2.0, 4.0)
        )
        mu = two - one
        straight = np.abs(four - two - 2 * mu) <= AFFINE_TOLERANCE * np.abs(four)
    return np.where(straight, mu, 0.0)


def _within(space: Space, position: Array) -> Array:
    return space.wrap(space.reflect(position))
