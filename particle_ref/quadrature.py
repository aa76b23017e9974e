"""The law at time 0 on the problem's own space: its density, and rules that integrate against it.

A rule of k nodes per coordinate is one of two. ``gauss`` is the law's own: best for narrow laws,
whose features look like polynomials. ``tensor`` weighs equally spaced points (Gauss–Legendre where
the law has sharp ends) by the density: its error falls like e^{−ck} for smooth laws and features
however wide the law is, since on a line or a circle the trapezoid rule is spectral (Trefethen
& Weideman, SIAM Review 56 (2014)).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import ceil
from typing import TypeAlias

import numpy as np

from particle_ref.errors import InvalidInput
from particle_ref.problem import Array, Law, Map
from particle_ref.spaces import Space

Nodes: TypeAlias = tuple[Array, Array]  # (N, D) points, (N,) weights
Rule: TypeAlias = Callable[[int], Nodes]  # k -> about k nodes per coordinate

IMAGES = 8  # periods on either side over which a law on the line is wrapped round a circle
NUDGE = 64 * np.finfo(float).eps  # of a circle's length
SAME_LENGTH = 1e-12  # relative
MOST_NODES = 10**4  # per coordinate of a Gauss rule


def gauss_of_size(law: Law, m: int) -> Nodes:
    """The law's Gauss rule with the most nodes k per coordinate that has at most m in all.

    Raises InvalidInput for a law without rules, or if even k = 1 is too much.
    """
    _require(law, "nodes", "support")
    low, high = law.support
    free = np.count_nonzero(low < high)  # coordinates of a point need one node
    k = min(ceil(m ** (1 / free)), MOST_NODES) if free else 1
    while len((rule := law.nodes(k))[1]) > m:
        k -= 1
        if k == 0:
            raise InvalidInput(
                f"no rule of {law!r} has at most m = {m} nodes", f"the smallest has {len(rule[1])}"
            )
    return rule


def rules(law: Law, space: Space, tail: float) -> dict[str, Rule]:
    """The rules for a law, by name; without ``tensor`` where mass sits on points.

    Their weights sum to the mass that the rule sees: 1, once its nodes are dense enough.

    Args:
        law: the law at time 0.
        space: on whose circles it is wrapped.
        tail: mass that may be left out beyond each side, and on the lightest nodes.
    """
    _require(law, "log_density", "nodes", "reach", "support")
    low, high = law.support

    def gauss(k: int) -> Nodes:
        return _without_the_lightest(*law.nodes(k), tail)

    if (low == high).any():
        return {"gauss": gauss}
    density, reach = wrapped_log_density(law, space), law.reach(tail)

    def tensor(k: int) -> Nodes:
        ends = zip(low, high, *reach, strict=True)
        axes = [
            _axis(lo, hi, a, b, space.length.get(c), k) for c, (lo, hi, a, b) in enumerate(ends)
        ]
        points = np.stack(np.meshgrid(*[x for x, _ in axes], indexing="ij"), axis=-1)
        points = points.reshape(-1, len(axes))
        spacing = reduce(np.multiply.outer, [w for _, w in axes]).ravel()
        weights = spacing * np.exp(density(points))
        return _without_the_lightest(points, weights, tail)

    return {"gauss": gauss, "tensor": tensor}


def wrapped_log_density(law: Law, space: Space) -> Map:
    """log ρ at points (N, D), the law's images summed on circles.

    On circles it is the limit from the right: where a law that fills the circle meets itself its
    two ends are not counted twice.
    """
    _require(law, "log_density")

    def wrapped(points: Array) -> Array:
        images = [space.wrap(points)]
        for k, length in space.length.items():
            shift = np.zeros(points.shape[1])
            shift[k] = length
            nudged = [image + NUDGE * shift for image in images]
            images = [x + j * shift for x in nudged for j in range(-IMAGES, IMAGES + 1)]
        return reduce(np.logaddexp, map(law.log_density, images))

    return wrapped


def _axis(
    low: float, high: float, first: float, last: float, length: float | None, k: int
) -> Nodes:
    """Points and spacings (k,) of one coordinate, from the law's support and reach there."""
    if length is not None and not high - low < length * (1 - SAME_LENGTH):
        return length * (np.arange(k) + 0.5) / k, np.full(k, length / k)
    if np.isfinite([low, high]).all():
        x, w = np.polynomial.legendre.leggauss(k)
        return (low + high) / 2 + (high - low) / 2 * x, (high - low) / 2 * w
    return np.linspace(first, last, k), np.full(k, (last - first) / (k - 1))


def _without_the_lightest(points: Array, weights: Array, tail: float) -> Nodes:
    """The nodes without those that weigh at most ``tail`` together."""
    order = np.argsort(weights)
    kept = np.sort(order[np.searchsorted(np.cumsum(weights[order]), tail) :])
    return points[kept], weights[kept]


def _require(law: Law, *parts: str) -> None:
    if missing := [part for part in parts if not hasattr(law, part)]:
        raise InvalidInput(
            f"the law {law!r} has no {missing[0]}",
            "quadrature and densities need its log_density, nodes, reach and support",
            "draw from it: kind='iid' or 'sobol'",
        )
