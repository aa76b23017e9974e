"""Neurons in polar coordinates, u = rθ with |θ| = 1: the cone over the unit sphere.

A problem lives on it when Φ and the penalty are positively 2-homogeneous, Φ(su) = s²Φ(u) for s > 0:
then r² is a mass at θ, V(rθ) = r² V(θ), and all that a cloud does is done on the sphere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from particle_ref.errors import InvalidInput
from particle_ref.problem import Array, KernelProblem, Problem
from particle_ref.spaces import Space

SCALES = (0.5, 2.0, 64.0)  # by which neurons are stretched to see their features stretched
PROBES = 8  # neurons per coordinate
ROUNDING = 1e-9  # of a feature, relative

_Stretched = Callable[[float], Array]  # s -> a part of the problem at s·u


def polar(position: Array) -> tuple[Array, Array]:
    """Sizes r (N,) and directions θ (N, D) of particles u (N, D); 0 has the direction 0."""
    size = np.linalg.norm(position, axis=1)
    direction = np.divide(
        position, size[:, None], out=np.zeros(position.shape), where=size[:, None] > 0
    )
    return size, direction


def along_geodesic(direction: Array, tangent: Array) -> Array:
    """exp_θ(τ), (N, D): from θ along the great circle of the tangent τ ⊥ θ, as far as |τ|."""
    angle = np.linalg.norm(tangent, axis=1)[:, None]
    return np.cos(angle) * direction + np.sinc(angle / np.pi) * tangent


def check_on_cone(problem: Problem, space: Space) -> None:
    """Raise InvalidInput unless neurons are vectors, and all that is made of them 2-homogeneous."""
    if curved := [c for c, kind in zip(space.coords, space.kinds, strict=True) if kind != "line"]:
        raise InvalidInput(
            f"conic particles cannot move where {', '.join(curved)} is no line",
            "rays from 0 must stay in the domain",
            "use GradientFlow() or Descent(dt)",
        )
    D = len(problem.coords)
    probes = np.cos(np.arange(1, PROBES * D * D + 1) ** 2).reshape(-1, D)
    for part, at_probes, stretched in _parts(problem, probes):
        for s in SCALES:
            gap = np.abs(stretched(s) / s**2 - at_probes).max()
            if not gap <= ROUNDING * np.abs(at_probes).max():
                raise InvalidInput(
                    f"conic particles cannot move in {problem!r}",
                    f"{part} is not 2-homogeneous: stretching neurons by s = {s:g} must stretch "
                    f"it by s², and it is off by {gap:.1e}",
                    "ReLU, leaky ReLU or identity with an output weight, without penalty or under "
                    "a ridge; or use GradientFlow()",
                )


def _parts(problem: Problem, u: Array) -> Iterator[tuple[str, Array, _Stretched]]:
    """What must be 2-homogeneous: its name, its value at u, and at su as a function of s."""
    reg = problem.penalty.value
    yield "the penalty", reg(u), lambda s: reg(s * u)
    if isinstance(problem, KernelProblem):
        K, F = problem.K, problem.F
        yield "the kernel K(·, v)", K(u, u), lambda s: K(s * u, u)
        yield "the linear part F", F(u), lambda s: F(s * u)
    else:
        phi, lifted = problem.phi, int(problem.lifted)

        def features(points: Array) -> Array:
            return phi(points[:, lifted:]) * (points[:, :1] if lifted else 1.0)

        yield "the feature Φ", features(u), lambda s: features(s * u)
