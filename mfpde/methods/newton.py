"""Newton's method for the few numbers that a potential is made of.

An interaction of finite rank makes an implicit step an equation for the n numbers of the response,
however many cells there are; its Jacobian, the identity plus dt times a tangent kernel, is known
by its products only, and a Krylov method needs few of them (Knoll & Keyes, J. Comput. Phys. 193
(2004)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from mfpde.problems.problem import Array

State = TypeVar("State")

TOLERANCE = 1e-14  # of the scale
SETTLED = 1e-10  # of the scale: where round-off stops the descent the root is found
MOST_ITERATIONS, MOST_HALVINGS, MOST_PRODUCTS = 50, 30, 60
LINEAR = 1e-6  # relative residual of the linear equations


def newton(
    defect: Callable[[Array], tuple[Array, State]],
    derivative: Callable[[State, Array], Array],
    z: Array,
    scale: float,
) -> tuple[Array, State] | None:
    """A root of ``defect`` near z, with what belongs to it, or None.

    Args:
        defect: G(z), and a state from which ``derivative(state, change)`` gives G'(z)·change.
        derivative: see above.
        z: where to begin.
        scale: what |z| is measured against.
    """
    if z.size == 0:
        return z, defect(z)[1]
    residual, state = defect(z)
    size = norm(residual)
    for _ in range(MOST_ITERATIONS):
        if size <= TOLERANCE * scale:
            return z, state
        product = LinearOperator(
            (z.size, z.size), matvec=partial_of(derivative, state), dtype=float
        )
        direction, _ = gmres(
            product, -residual, rtol=LINEAR, restart=min(z.size, MOST_PRODUCTS), maxiter=1
        )
        for halvings in range(MOST_HALVINGS):
            trial = z + 0.5**halvings * direction
            residual_there, state_there = defect(trial)
            if norm(residual_there) < size:
                break
        else:
            return (z, state) if size <= SETTLED * scale else None
        z, residual, state, size = trial, residual_there, state_there, norm(residual_there)
    return (z, state) if size <= SETTLED * scale else None


def partial_of(
    derivative: Callable[[State, Array], Array], state: State
) -> Callable[[Array], Array]:
    """The derivative at a state, of flat vectors."""
    return lambda change: derivative(state, np.ravel(change))


def norm(residual: Array) -> float:
    """The largest magnitude; inf where one is no number."""
    largest = float(np.abs(residual).max())
    return largest if np.isfinite(largest) else np.inf
