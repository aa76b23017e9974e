"""Sparse deconvolution on the circle R/Z: Φ(a, θ) = a ψ(· − θ)  (Chizat & Bach 2018, §4.1).

    F(ρ) = ‖y − ∫a ψ(· − θ) dρ‖² / (2δ) + ∫|a| dρ

with the norm of L²(R/Z). Of trigonometric polynomials of degree K that norm is an average over
more than 2K equispaced samples, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arguments import check_kind, finite_array, number, numbers, shown
from mfpde.errors import InvalidInput
from mfpde.problems.geometry import circle
from mfpde.problems.laws import Law, point, product, uniform_box
from mfpde.problems.losses import Loss
from mfpde.problems.penalties import total_variation
from mfpde.problems.problem import Array, Problem

Waves = NDArray[np.complex128]

A_TRUTH = "(positions, weights) of the spikes, or samples y (n,) at 0, 1/n, …, (n − 1)/n"


@dataclass(frozen=True, repr=False)
class Kernel:
    """An even trigonometric polynomial on R/Z: ψ(t) = c_0 + 2 Σ_{k=1..K} c_k cos(2πkt).

    Attributes:
        coefficients: c_0, …, c_K; K ≥ 1.
        name: how it is called in records and messages.

    Raises InvalidInput for coefficients that are not finite numbers, or fewer than two.
    """

    coefficients: tuple[float, ...]
    name: str = "user"

    def __post_init__(self) -> None:
        c = finite_array("a kernel's coefficients", self.coefficients, (1,))
        if len(c) < 2:
            raise InvalidInput(
                f"Kernel({shown(self.coefficients)})",
                "a constant sees no positions",
                "c_0, …, c_K with K ≥ 1; mf.dirichlet(7) has eight ones",
            )
        object.__setattr__(self, "coefficients", tuple(c.tolist()))

    @property
    def degree(self) -> int:
        """K."""
        return len(self.coefficients) - 1

    def value(self, t: Array) -> Array:
        """ψ, elementwise."""
        return self._derivative(0, t)

    def slope(self, t: Array) -> Array:
        """ψ', elementwise."""
        return self._derivative(1, t)

    def curvature(self, t: Array) -> Array:
        """ψ'', elementwise."""
        return self._derivative(2, t)

    def steepest(self, order: int) -> float:
        """Σ_k 2|c_k| (2πk)^order, which the derivative of this order ≥ 1 nowhere passes."""
        return float(np.abs(self.symbol(order)).sum())

    def _derivative(self, order: int, t: Array) -> Array:
        return (self.waves(t) @ self.symbol(order)).real

    def waves(self, t: Array) -> Waves:
        """e^{2πikt} for k = 0, …, K, (…) -> (…, K + 1)."""
        return np.exp(2j * np.pi * np.multiply.outer(t, np.arange(self.degree + 1)))

    def symbol(self, order: int) -> Waves:
        """What multiplies e^{2πikt} in a derivative, (K + 1,); ψ is the real part of the sum."""
        return _symbol(self.coefficients, order)

    def __repr__(self) -> str:
        return self.name


@cache
def _symbol(c: tuple[float, ...], order: int) -> Waves:
    k = np.arange(len(c))
    return np.where(k, 2, 1) * np.array(c) * (2j * np.pi * k) ** order


def dirichlet(order: int) -> Kernel:
    """The Dirichlet kernel 1 + 2 Σ_{k=1..order} cos(2πkt) = sin((2·order + 1)πt) / sin(πt).

    Raises InvalidInput unless ``order`` is a whole number ≥ 1.
    """
    K = number(order)
    if not (K >= 1 and K % 1 == 0):
        raise InvalidInput(f"dirichlet({shown(order)})", "it counts waves", "a whole number ≥ 1")
    return Kernel((1.0,) * (int(K) + 1), f"dirichlet({int(K)})")


def spikes(
    truth: ArrayLike | Sequence[ArrayLike],
    kernel: Kernel | None = None,
    fidelity: float = 0.1,
    samples: int | None = None,
    initial: Law | None = None,
) -> Problem:
    """Spikes Σ_j w_j δ_{θ_j} on the circle, to be found from what a kernel ψ makes of them.

    F(ρ) = ‖y − f_ρ‖²/(2δ) + ∫|a| dρ with f_ρ = ∫a ψ(· − θ) dρ: the Beurling Lasso of the signed
    measure ∫a dρ(a, ·) (de Castro & Gamboa 2012), lifted to amplitudes a and positions θ.

    Args:
        truth: positions and weights, (2, k) or a pair of (k,), whose y = Σ_j w_j ψ(· − θ_j) is
            sampled without noise; or y itself, (n,) samples at 0, 1/n, …, (n − 1)/n.
        kernel: ψ; ``mf.dirichlet(7)`` by default.
        fidelity: δ > 0. The larger, the more the penalty shrinks amplitudes.
        samples: n ≥ 2K + 1, which makes the norm exact for a kernel of degree K; 2K + 1 by
            default. For given y it is their number.
        initial: the law ρ_0; a = 0 and θ uniform by default.

    Returns:
        A lifted problem with coords ("a", "theta"), theta on ``circle(1.0)``; ``x`` holds the
        sample points. Its optimum and certificates are rigorous.

    Raises:
        InvalidInput: for positions and weights that do not pair, values that are not finite, too
            few samples, or δ that is not positive.
    """
    psi = dirichlet(7) if kernel is None else kernel
    check_kind("kernel", psi, Kernel, "mf.dirichlet(7), or mf.Kernel([c_0, …, c_K])")
    delta = number(fidelity)
    if not 0 < delta < np.inf:
        raise InvalidInput(f"fidelity = {shown(fidelity)}", "δ divides the misfit", "a number > 0")
    given = numbers("truth", truth)  # type: ignore[arg-type]
    if given.ndim == 2 and len(given) == 2:
        positions, weights = finite_array("truth", given, (2,))
        x = sample_points(2 * psi.degree + 1 if samples is None else samples, psi)
        y = weights @ psi.value(positions[:, None] - x)
    elif given.ndim == 1 and (samples is None or samples == len(given)):
        y = finite_array("truth", given, (1,))
        x = sample_points(len(y), psi)
    else:
        asked = "" if samples is None else f" for {samples} samples"
        raise InvalidInput(f"truth has shape {given.shape}{asked}", "it is " + A_TRUTH)
    return Problem(
        ("a", "theta"),
        phi=partial(translates, psi, x, 0),
        dphi=partial(slopes, psi, x),
        d2phi=partial(curvatures, psi, x),
        loss=misfit(delta)(y),
        penalty=total_variation(1.0),
        initial=product(a=point(0.0), theta=uniform_box(0.0, 1.0)) if initial is None else initial,
        lifted=True,
        domain={"theta": circle(1.0)},
        x=x,
        label=f"spikes({len(x)} samples, kernel={psi}, fidelity={delta:g})",
    )


def sample_points(n: int, kernel: Kernel) -> Array:
    """0, 1/n, …, (n − 1)/n, enough of them for the kernel."""
    least = 2 * kernel.degree + 1
    count = number(n)
    if not (count >= least and count % 1 == 0):
        raise InvalidInput(
            f"samples = {shown(n)}",
            f"squares of waves up to {kernel.degree} need {least} equispaced samples",
            f"a whole number ≥ {least}, or a kernel of lower degree",
        )
    return np.arange(int(count)) / int(count)


def kernel_of(problem: Problem) -> Kernel | None:
    """ψ of a problem of ``spikes``, None of others."""
    phi = problem.phi
    return phi.args[0] if isinstance(phi, partial) and phi.func is translates else None


# Named functions bound by partial, not closures: a problem must survive pickling.
def translates(kernel: Kernel, x: Array, order: int, points: Array) -> Array:
    """The derivative of this order of ψ(θ − x_i) in θ: (N, 1) -> (N, n).

    A sum over waves of a function of θ and one of x_i: (N + n)(K + 1) exponentials, not N·n.
    """
    return ((kernel.waves(points[:, 0]) * kernel.symbol(order)) @ kernel.waves(-x).T).real


def slopes(kernel: Kernel, x: Array, points: Array) -> Array:
    """∇ψ(θ − x_i): (N, 1) -> (N, n, 1)."""
    return translates(kernel, x, 1, points)[:, :, None]


def curvatures(kernel: Kernel, x: Array, points: Array) -> Array:
    """∇²ψ(θ − x_i): (N, 1) -> (N, n, 1, 1)."""
    return translates(kernel, x, 2, points)[:, :, None, None]


def misfit(delta: float) -> Loss:
    """(f − y)²/(2δ)."""
    return Loss(
        partial(_misfit, delta),
        partial(_misfit_slope, delta),
        partial(_misfit_curvature, delta),
        partial(_misfit_conjugate, delta),
        smoothness=1 / delta,
        name=f"square/{delta!r}",
    )


def _misfit(delta: float, f: Array, y: Array) -> Array:
    return (f - y) ** 2 / (2 * delta)


def _misfit_slope(delta: float, f: Array, y: Array) -> Array:
    return (f - y) / delta


def _misfit_curvature(delta: float, f: Array, y: Array) -> Array:
    return np.full(f.shape, 1 / delta)


def _misfit_conjugate(delta: float, u: Array, y: Array) -> Array:
    return delta * u**2 / 2 + u * y
