"""What is asked of a problem: pointwise definitions only, nothing integrated against a measure.

Any object with these attributes will do. Shapes: N points of D coordinates, n samples. A point's
feature coordinates are all D of them, or, for a ``lifted`` problem Φ(a, v) = a ψ(v), the last D−1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Map = Callable[[Array], Array]


class Geometry(Protocol):
    """The range of one coordinate, or of several on one sphere."""

    @property
    def kind(self) -> str:
        """``"line"``, ``"circle"``, ``"half_line"``, ``"interval"`` or ``"sphere"``."""

    @property
    def low(self) -> float:
        """The lower end; 0 for a circle, −inf where there is none."""

    @property
    def high(self) -> float:
        """The upper end; a circle's length, a sphere's radius, +inf where there is none."""

    @property
    def group(self) -> tuple[str, ...]:
        """The coordinates on one sphere, asked of spheres alone."""


class Law(Protocol):
    """The law of a neuron at time 0; beyond ``from_uniform``, for quadrature and densities only."""

    @property
    def from_uniform(self) -> Map:
        """Numbers (N, D) in the open interval (0, 1) -> points (N, D)."""

    @property
    def log_density(self) -> Map:
        """Points (N, D) -> log ρ (N,), −inf outside the support."""

    def nodes(self, k: int) -> tuple[Array, Array]:
        """Gauss rule: points (M, D) and weights (M,) of sum 1, k nodes per coordinate."""

    def reach(self, tail: float) -> tuple[Array, Array]:
        """A box, low (D,) and high (D,), with at most mass ``tail`` beyond each side."""

    @property
    def support(self) -> tuple[Array, Array]:
        """The box, low (D,) and high (D,), outside which the density is 0; ±inf if unbounded."""


class Activation(Protocol):
    """A neuron's nonlinearity, elementwise on arrays of any shape.

    For densities it is asked besides for ``curvature``, σ''(z).
    """

    @property
    def value(self) -> Map:
        """σ(z)."""

    @property
    def slope(self) -> Map | None:
        """σ'(z), or None where there is none."""


class Loss(Protocol):
    """A loss bound to targets y_i and to sample weights p_i that sum to 1."""

    def risk(self, f: Array) -> float:
        """Σ p_i ℓ(f_i, y_i) at predictions f (n,)."""

    def slope(self, f: Array) -> Array:
        """Its gradient (n,): p_i ℓ'(f_i, y_i)."""


class Penalty(Protocol):
    """A function of the whole neuron, added to the potential."""

    @property
    def value(self) -> Map:
        """Points (N, D) -> reg (N,)."""

    @property
    def gradient(self) -> Map:
        """Points (N, D) -> ∇reg (N, D)."""

    @property
    def prox(self) -> Callable[[Array, float], Array] | None:
        """Points (N, D), step -> the minimiser of step·reg(q) + |q − point|²/2; or None."""


class _Posed(Protocol):
    """What feature problems and kernel problems have in common."""

    @property
    def coords(self) -> tuple[str, ...]:
        """Names of the D coordinates of a neuron; a lifted problem's output weight comes first."""

    @property
    def penalty(self) -> Penalty:
        """The penalty, one of value 0 if there is none."""

    @property
    def entropy(self) -> float:
        """λ ≥ 0, the weight of ∫ρ log ρ."""

    @property
    def initial(self) -> Law:
        """The law of a neuron at time 0."""

    @property
    def domain(self) -> Mapping[str, Geometry]:
        """The range of each coordinate; a line where nothing is said."""

    @property
    def x(self) -> Array:
        """The inputs as they were given, (n,) or (n, d); of length 0 if there are no samples."""

    @property
    def y(self) -> Array:
        """The targets (n,); of length 0 if there are no samples."""

    @property
    def weights(self) -> Array:
        """The sample weights p_i (n,), of sum 1; of length 0 if there are no samples."""


@runtime_checkable
class FeatureProblem(_Posed, Protocol):
    """risk(∫Φ dρ): predictions are averages of features.

    For densities, features other than two-layer networks are asked besides for ``d2phi``, feature
    coordinates (N, k) -> Hessians (N, n, k, k).
    """

    @property
    def lifted(self) -> bool:
        """Whether Φ(a, v) = a ψ(v); ``phi`` and ``dphi`` are then those of ψ."""

    @property
    def phi(self) -> Map:
        """Feature coordinates (N, k) -> features (N, n)."""

    @property
    def dphi(self) -> Map | None:
        """Feature coordinates (N, k) -> gradients (N, n, k); None where there are none."""

    @property
    def loss(self) -> Loss:
        """The loss, bound to its data."""

    @property
    def activation(self) -> Activation | None:
        """σ where ψ(v; x) = σ(w·x [+ b]), a two-layer network; else None."""

    @property
    def inputs(self) -> Array | None:
        """The inputs (n, d) of a two-layer network."""

    @property
    def bias(self) -> bool:
        """Whether the last feature coordinate of a two-layer network is a bias."""


@runtime_checkable
class KernelProblem(_Posed, Protocol):
    """risk = ½∬K(u, v)ρ(du)ρ(dv) − ∫F dρ + const, with K symmetric: an exact population."""

    @property
    def K(self) -> Callable[[Array, Array], Array]:
        """Points (N, D), points (M, D) -> (N, M)."""

    @property
    def F(self) -> Map:
        """Points (N, D) -> (N,)."""

    @property
    def const(self) -> float:
        """The constant that makes the risk the risk."""

    @property
    def dK(self) -> Callable[[Array, Array], Array] | None:
        """Gradient of K in its first argument, (N, M, D); None where there is none."""

    @property
    def dF(self) -> Map | None:
        """Gradient of F, (N, D); None where there is none."""


Problem = FeatureProblem | KernelProblem
