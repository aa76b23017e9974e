"""Exact populations: risk ½∬K(u,v)ρ(du)ρ(dv) − ∫F(u)ρ(du) + const, with no samples at all.

For the square loss K(u,v) = E Φ(u)Φ(v) and F(u) = E y Φ(u); then V = ∫K(·,v)ρ(dv) − F + reg.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mfpde.arguments import answer, check_kind, number, shown
from mfpde.errors import InvalidInput
from mfpde.problems.derivatives import check_circles, check_slope
from mfpde.problems.geometry import Geometry
from mfpde.problems.laws import Law, gaussian
from mfpde.problems.penalties import Penalty, no_penalty
from mfpde.problems.problem import (
    A_LAW,
    Array,
    Domain,
    Features,
    check_penalty,
    checked_coords,
    checked_entropy,
    full_domain,
)


@dataclass(frozen=True, eq=False)
class KernelProblem:
    """A problem given by its interaction kernel; see :func:`kernel_problem`.

    Attributes:
        coords: names of the D coordinates of a neuron.
        K: kernel, points (N, D), points (M, D) -> (N, M), symmetric and positive semidefinite.
        F: the linear part, (N, D) -> (N,).
        const: the constant of the risk (E y²/2 for the square loss).
        dK: gradient of K in its first argument, -> (N, M, D), or None.
        dF: gradient of F, (N, D) -> (N, D), or None.
        penalty, entropy, initial, domain: as in :class:`~mfpde.problems.problem.Problem`.
        x, y, weights: empty arrays, for there are no samples.
    """

    coords: tuple[str, ...]
    K: Callable[[Array, Array], Array]
    F: Features
    const: float
    dK: Callable[[Array, Array], Array] | None
    dF: Features | None
    penalty: Penalty
    entropy: float
    initial: Law
    domain: Mapping[str, Geometry]
    x: Array = field(default_factory=lambda: np.empty(0))
    y: Array = field(default_factory=lambda: np.empty(0))
    weights: Array = field(default_factory=lambda: np.empty(0))

    @property
    def dimension(self) -> int:
        """The number D of coordinates of a neuron."""
        return len(self.coords)

    def __repr__(self) -> str:
        return f"kernel_problem on ({', '.join(self.coords)})"


def kernel_problem(
    coords: Sequence[str],
    K: Callable[[Array, Array], Array],
    F: Features,
    const: float = 0.0,
    dK: Callable[[Array, Array], Array] | None = None,
    dF: Features | None = None,
    penalty: Penalty | None = None,
    entropy: float = 0.0,
    initial: Law | None = None,
    domain: Domain | None = None,
) -> KernelProblem:
    """A problem whose risk is ½∬Kρρ − ∫Fρ + const.

    Args:
        coords: names of the coordinates of a neuron.
        K: kernel, points (N, D), points (M, D) -> (N, M), symmetric, positive semidefinite.
        F: linear part, (N, D) -> (N,).
        const: constant of the risk.
        dK: gradient of K in its first argument (N, M, D); particles need it.
        dF: gradient of F (N, D); particles need it.
        penalty, entropy, initial, domain: as in :func:`~mfpde.problems.two_layer.two_layer`.

    Raises:
        InvalidInput: when K, F or the penalty return the wrong shape, or K is not symmetric.
    """
    names = checked_coords(coords)
    start = gaussian() if initial is None else initial
    reg = no_penalty if penalty is None else penalty
    check_kind("initial", start, Law, A_LAW)
    law = start.on(names)
    check_penalty(reg, law, names, lifted=False)
    constant = number(const)
    if not np.isfinite(constant):
        raise InvalidInput(f"const = {shown(const)}", "it is the constant of the risk", "a number")
    quantiles = (np.arange(3.0) + 0.5) / 3
    points = law.from_uniform(np.repeat(quantiles[:, None], len(names), axis=1))
    gram, linear = answer("K", K, points, points), answer("F", F, points)
    if gram.shape != (3, 3) or linear.shape != (3,):
        raise InvalidInput(
            f"at 3 points K has shape {gram.shape} and F {linear.shape}",
            "K maps (N, D), (M, D) to (N, M) and F maps (N, D) to (N,)",
        )
    if not (np.isfinite(gram).all() and np.isfinite(linear).all()):
        raise InvalidInput("K or F is not finite", f"at the points {points.tolist()} of the law")
    if not np.allclose(gram, gram.T, rtol=1e-10, atol=1e-12):
        raise InvalidInput("K(u, v) differs from K(v, u)", "½∬Kρρ needs a symmetric kernel")
    each = (3, len(names))
    if dK is not None and answer("dK", dK, points, points).shape != (3, *each):
        raise InvalidInput("dK has another shape", "it is the gradient of K", "(N, M, D)")
    if dF is not None and answer("dF", dF, points).shape != each:
        raise InvalidInput("dF has another shape", "it is the gradient of F", "(N, D)")
    if dK is not None:
        check_slope("dK", lambda u: K(u, points), lambda u: dK(u, points), points, "mend it")
    if dF is not None:
        check_slope("dF", F, dF, points, "mend it")
    spaces = full_domain(names, domain)
    around = [spaces[c] for c in names]
    check_circles("K", lambda u: K(u, points), points, around)
    check_circles("F", F, points, around)
    return KernelProblem(
        coords=names,
        K=K,
        F=F,
        const=constant,
        dK=dK,
        dF=dF,
        penalty=reg,
        entropy=checked_entropy(entropy),
        initial=law,
        domain=spaces,
    )
