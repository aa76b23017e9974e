"""Laws: probability measures on the space of neurons: density, map of the cube, quadrature.

    gaussian   uniform_box   product   shell   mixture   point

A law is made without coordinates and bound to them with ``law.on(("a", "w"))``; only then are
scalar parameters read as one for every coordinate, and the keys of a product found among the
names. A law whose dimension is plain may be evaluated unbound. Nothing here draws random numbers:
``from_uniform`` maps points of the open unit cube to points of the law, whoever made them.

Beside the pointwise definitions a law states its structure (``factors``, ``components``,
``support``), so that whoever integrates it can do it piece by piece.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mfpde.arguments import number, numbers, shown
from mfpde.errors import InvalidInput

Array = NDArray[np.float64]
Numbers: TypeAlias = float | tuple[float, ...]  # one for every coordinate, or one for each
Rule: TypeAlias = tuple[Array, Array]  # nodes (M, D), weights (M,) summing to 1
Box: TypeAlias = tuple[Array, Array]  # low (D,), high (D,)
Factor: TypeAlias = tuple[tuple[int, ...], "Law"]  # positions of its coordinates, the law on them

MOST_NODES = 10**4  # of one coordinate
LARGEST_RULE = 10**7  # nodes of a quadrature rule: beyond it memory, not accuracy, is the question
FARTHEST = 1e100  # from 0 that a parameter may lie, and 1/FARTHEST the least spread: squares exist
THINNEST_SHELL = 1e12  # radius over width; beyond it the radius has no digits left for the width
SMALLEST = np.finfo(float).tiny
LARGEST = 1 - np.finfo(float).epsneg


@dataclass(frozen=True, repr=False)
class Law(ABC):
    """A probability measure on R^D; what every law offers.

    Raises InvalidInput wherever arrays do not fit the number of coordinates.
    """

    coords: tuple[str, ...] = field(default=(), kw_only=True)  # (D,) names; empty while unbound

    def on(self, coords: Sequence[str]) -> Law:
        """This law on the coordinates named ``coords`` (D,).

        Raises InvalidInput if its parameters do not fit them.
        """
        names = tuple(coords) if isinstance(coords, list | tuple) else (coords,)
        named = all(isinstance(name, str) for name in names)
        if not named or not names or len(set(names)) < len(names):
            raise InvalidInput(
                f"a law cannot live on the coordinates {names}",
                "it needs at least one, each named once",
            )
        return self if names == self.coords else self._bind(names)

    @property
    def dimension(self) -> int:
        """The number D of coordinates."""
        return len(self._bound().coords)

    def log_density(self, points: ArrayLike) -> Array:
        """log ρ at points (N, D), shape (N,); −inf outside the support."""
        points, law = self._columns(points, "points")
        return law._log_density(points)

    def from_uniform(self, u: ArrayLike) -> Array:
        """Map ``u`` (N, D), of the open unit cube, to points (N, D): uniform u gives this law.

        The map is fixed and accurate to 1e-10 of the law's own scale. Raises InvalidInput unless
        0 < u < 1 (an unscrambled Sobol sequence starts at 0: shift or scramble it).
        """
        u, law = self._columns(u, "u")
        if not ((u > 0) & (u < 1)).all():
            raise InvalidInput(
                "from_uniform needs numbers strictly between 0 and 1",
                "the ends of the interval go to infinity or to the border of the support",
                "shift or scramble the sequence the numbers come from",
            )
        return law._from_uniform(u)

    def nodes(self, k: int) -> Rule:
        """Gauss rule: nodes (M, D) and weights (M,) summing to 1, ``k`` nodes per coordinate.

        Integrates polynomials of degree below 2k exactly. Raises InvalidInput where there is no
        such rule, for more than MOST_NODES of a coordinate, or LARGEST_RULE in all.
        """
        law = self._bound()
        if not (1 <= number(k) <= MOST_NODES and k == int(k)):
            why = f"a quadrature rule has at least one node per coordinate, at most {MOST_NODES}"
            raise InvalidInput(f"nodes({shown(k)})", why, "a whole number")
        return law._nodes(int(k))

    def reach(self, tail: float) -> Box:
        """A box, low (D,) and high (D,), with at most mass ``tail`` beyond each of its sides."""
        law = self._bound()
        if not 0 < number(tail) < 0.5:
            raise InvalidInput(
                f"reach({shown(tail)})", "the mass beyond a side lies between 0 and 1/2"
            )
        return law._reach(tail)

    def outside(self, low: ArrayLike, high: ArrayLike) -> float:
        """The mass beyond the sides of a box ``low`` (D,), ``high`` (D,), ±inf where it has none.

        Mass beyond several sides counts for each of them, and beyond those of a shell with D > 1
        as much as lies outside the sphere that touches the side: a bound of the mass outside the
        box, and exact for D = 1.
        """
        law = self._bound()
        ends = numbers("low", low), numbers("high", high)
        if any(end.shape != (law.dimension,) for end in ends):
            raise InvalidInput(
                f"the box has ends of shapes {ends[0].shape} and {ends[1].shape}",
                f"the law has {law.dimension} coordinate(s): {', '.join(law.coords)}",
            )
        return float(law._outside(*ends))

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The independent parts: (positions of their coordinates, their law) each."""
        return self._bound()._factors()

    @property
    def components(self) -> tuple[tuple[float, Law], ...]:
        """The parts of a mixture that are none themselves, (weight, law) each; else this law."""
        return self._bound()._components()

    @property
    def support(self) -> Box:
        """The box, low (D,) and high (D,), outside which the density is 0; ±inf where unbounded.

        Inside it the density is smooth, but for mixtures (smooth where their components are) and
        the centre of a shell.
        """
        return self._bound()._support()

    # What each law says of itself, once bound.
    @abstractmethod
    def _own_dimension(self) -> int | None:
        """D where the parameters fix it, None where they do not."""

    @abstractmethod
    def _log_density(self, points: Array) -> Array: ...

    @abstractmethod
    def _from_uniform(self, u: Array) -> Array: ...

    @abstractmethod
    def _nodes(self, k: int) -> Rule: ...

    @abstractmethod
    def _reach(self, tail: float) -> Box: ...

    @abstractmethod
    def _outside(self, low: Array, high: Array) -> float: ...

    def _factors(self) -> tuple[Factor, ...]:
        return ((tuple(range(self.dimension)), self),)

    def _components(self) -> tuple[tuple[float, Law], ...]:
        return ((1.0, self),)

    def _support(self) -> Box:
        return np.full(self.dimension, -np.inf), np.full(self.dimension, np.inf)

    def _bind(self, names: tuple[str, ...]) -> Law:
        fixed = self._own_dimension()
        if fixed is not None and fixed != len(names):
            raise InvalidInput(
                f"{self} is a law in {fixed} dimension(s)",
                f"the problem has {len(names)} coordinate(s): {', '.join(names)}",
                f"give {len(names)} parameters, or scalars that hold for every coordinate",
            )
        return replace(self, coords=names)

    def _bound(self) -> Law:
        if self.coords:
            return self
        fixed = self._own_dimension()
        if fixed is None:
            raise InvalidInput(
                f"{self} does not know its coordinates",
                "scalar parameters and keys hold for any number of them",
                'bind it: law.on(("a", "w"))',
            )
        return self.on(_anonymous(fixed))

    def _columns(self, given: ArrayLike, name: str) -> tuple[Array, Law]:
        array = numbers(name, given)
        if array.ndim != 2 or array.shape[1] == 0:
            raise InvalidInput(
                f"{name} has shape {array.shape}", "a law needs one row per point: (N, D)"
            )
        law = self if self.coords else self.on(_anonymous(array.shape[1]))
        if array.shape[1] != law.dimension:
            raise InvalidInput(
                f"{name} has {array.shape[1]} column(s)",
                f"the law has {law.dimension} coordinate(s): {', '.join(law.coords)}",
            )
        return array, law

    def _vectors(self, *parameters: Numbers) -> list[Array]:
        return [np.full(self.dimension, p, dtype=float) for p in parameters]


# ---------------------------------------------------------------------------------------- gaussian
@dataclass(frozen=True, repr=False)
class Gaussian(Law):
    """Independent normal coordinates."""

    mean: Numbers  # one for all or (D,), in units of the coordinates
    std: Numbers  # one for all or (D,), > 0, likewise

    def __repr__(self) -> str:
        return f"gaussian(mean={self.mean}, std={self.std})"

    def _own_dimension(self) -> int | None:
        return _common_length(self.mean, self.std)

    def _log_density(self, points: Array) -> Array:
        mean, std = self._vectors(self.mean, self.std)
        return _log_normal((points - mean) / std) - np.log(std).sum()

    def _from_uniform(self, u: Array) -> Array:
        mean, std = self._vectors(self.mean, self.std)
        return mean + std * special.ndtri(u)

    def _nodes(self, k: int) -> Rule:
        mean, std = self._vectors(self.mean, self.std)
        z, weights = _tensor([_hermite(k)] * self.dimension)
        return mean + std * z, weights

    def _reach(self, tail: float) -> Box:
        mean, std = self._vectors(self.mean, self.std)
        return mean + std * special.ndtri(tail), mean - std * special.ndtri(tail)

    def _outside(self, low: Array, high: Array) -> float:
        mean, std = self._vectors(self.mean, self.std)
        return (special.ndtr((low - mean) / std) + special.ndtr((mean - high) / std)).sum()

    def _factors(self) -> tuple[Factor, ...]:
        columns = zip(self.coords, *self._vectors(self.mean, self.std), strict=True)
        return tuple(
            ((i,), Gaussian(float(m), float(s), coords=(c,))) for i, (c, m, s) in enumerate(columns)
        )


@dataclass(frozen=True, repr=False)
class CorrelatedGaussian(Law):
    """Normal coordinates with a full covariance matrix."""

    mean: Numbers  # one for all or (D,)
    cov: tuple[tuple[float, ...], ...]  # (D, D), symmetric and positive definite

    def __repr__(self) -> str:
        return f"gaussian(mean={self.mean}, cov={self.cov})"

    def _own_dimension(self) -> int | None:
        return len(self.cov)

    def _root(self) -> Array:
        return np.linalg.cholesky(np.array(self.cov))

    def _log_density(self, points: Array) -> Array:
        (mean,), root = self._vectors(self.mean), self._root()
        z = np.linalg.solve(root, (points - mean).T).T
        return _log_normal(z) - np.log(np.diag(root)).sum()

    def _from_uniform(self, u: Array) -> Array:
        (mean,) = self._vectors(self.mean)
        return mean + special.ndtri(u) @ self._root().T

    def _nodes(self, k: int) -> Rule:
        (mean,) = self._vectors(self.mean)
        z, weights = _tensor([_hermite(k)] * self.dimension)
        return mean + z @ self._root().T, weights

    def _marginals(self) -> Gaussian:
        std = tuple(np.sqrt(np.diag(self.cov)).tolist())
        return Gaussian(self.mean, std, coords=self.coords)

    def _reach(self, tail: float) -> Box:
        return self._marginals().reach(tail)

    def _outside(self, low: Array, high: Array) -> float:
        return self._marginals().outside(low, high)


def gaussian(
    mean: ArrayLike = 0.0, std: ArrayLike | None = None, *, cov: ArrayLike | None = None
) -> Law:
    """A normal law, with independent coordinates (``std``, by default 1) or covariance ``cov``.

    ``mean`` and ``std`` > 0 hold for every coordinate or have shape (D,); ``cov`` has shape
    (D, D), symmetric and positive definite. Raises InvalidInput otherwise.
    """
    m = _numbers("gaussian", mean=mean)
    if cov is None:
        s = _numbers("gaussian", std=1.0 if std is None else std)
        if not np.all(np.asarray(s) > 0):
            flat = np.all(np.asarray(s) >= 0)
            fix = "point(mean) where there is no spread" if flat else "std > 0"
            raise InvalidInput(f"gaussian(std={s})", "a standard deviation is > 0", fix)
        _check_spread(f"gaussian(std={s})", s)
        _common_length(m, s)
        return Gaussian(m, s)
    if std is not None:
        raise InvalidInput(
            "gaussian got both std and cov", "each states the spread", "give one of them"
        )
    matrix = numbers("cov", cov)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 0
    if not square or not np.isfinite(matrix).all():
        raise InvalidInput(
            f"cov has shape {matrix.shape}", "a covariance is a finite matrix", "give (D, D)"
        )
    skew = np.abs(matrix - matrix.T).max(initial=0.0)
    if skew > 1e-12 * np.abs(matrix).max(initial=0.0) or np.linalg.eigvalsh(matrix).min() <= 0:
        raise InvalidInput(
            f"cov = {matrix.tolist()}",
            "a covariance is symmetric and positive definite",
            "symmetrise it; a direction without spread needs a product with point()",
        )
    rows = tuple(map(tuple, matrix.tolist()))
    _common_length(m, rows[0])
    return CorrelatedGaussian(m, rows)


# ------------------------------------------------------------------------------------- uniform_box
@dataclass(frozen=True, repr=False)
class UniformBox(Law):
    """Independent uniform coordinates."""

    low: Numbers  # one for all or (D,), finite
    high: Numbers  # one for all or (D,), finite, above low

    def __repr__(self) -> str:
        return f"uniform_box(low={self.low}, high={self.high})"

    def _own_dimension(self) -> int | None:
        return _common_length(self.low, self.high)

    def _log_density(self, points: Array) -> Array:
        low, high = self._vectors(self.low, self.high)
        inside = ((low <= points) & (points <= high)).all(axis=1)
        return np.where(inside, -np.log(high - low).sum(), -np.inf)

    def _from_uniform(self, u: Array) -> Array:
        low, high = self._vectors(self.low, self.high)
        return low + (high - low) * u

    def _nodes(self, k: int) -> Rule:
        low, high = self._vectors(self.low, self.high)
        x, w = special.roots_legendre(k)
        points, weights = _tensor([(x[:, None], w / w.sum())] * self.dimension)
        return (low + high) / 2 + (high - low) / 2 * points, weights

    def _reach(self, tail: float) -> Box:
        return self._support()  # no mass at all beyond it

    def _outside(self, low: Array, high: Array) -> float:
        first, last = self._vectors(self.low, self.high)
        beyond = np.clip((low - first) / (last - first), 0, 1)
        return (beyond + np.clip((last - high) / (last - first), 0, 1)).sum()

    def _factors(self) -> tuple[Factor, ...]:
        columns = zip(self.coords, *self._vectors(self.low, self.high), strict=True)
        return tuple(
            ((i,), UniformBox(float(lo), float(hi), coords=(c,)))
            for i, (c, lo, hi) in enumerate(columns)
        )

    def _support(self) -> Box:
        low, high = self._vectors(self.low, self.high)
        return low.copy(), high.copy()


def uniform_box(low: ArrayLike, high: ArrayLike) -> Law:
    """The uniform law on a box; finite ``low`` < ``high``, for every coordinate or (D,)."""
    lo, hi = _numbers("uniform_box", low=low), _numbers("uniform_box", high=high)
    _common_length(lo, hi)
    if not np.all(np.asarray(lo) < np.asarray(hi)):
        raise InvalidInput(
            f"uniform_box(low={lo}, high={hi})", "a box needs low < high", "exchange them"
        )
    _check_spread(f"uniform_box(low={lo}, high={hi})", np.subtract(hi, lo))
    return UniformBox(lo, hi)


# ------------------------------------------------------------------------------------------- point
@dataclass(frozen=True, repr=False)
class Point(Law):
    """All mass at one point; it has no density."""

    at: Numbers  # one for all or (D,), finite

    def __repr__(self) -> str:
        return f"point({self.at})"

    @property
    def value(self) -> Array:
        """Where the mass sits, (D,)."""
        law = self._bound()
        return np.broadcast_to(np.asarray(self.at, dtype=float), law.dimension)

    def _own_dimension(self) -> int | None:
        return _common_length(self.at)

    def _log_density(self, points: Array) -> Array:
        raise InvalidInput(
            f"{self} has no density",
            "all its mass sits at one point",
            "deposit it in cells, or use a narrow gaussian",
        )

    def _from_uniform(self, u: Array) -> Array:
        return np.tile(self.value, (len(u), 1))

    def _nodes(self, k: int) -> Rule:
        return self.value[None, :], np.ones(1)

    def _reach(self, tail: float) -> Box:
        return self._support()

    def _outside(self, low: Array, high: Array) -> float:
        return float(((self.value < low) | (self.value > high)).sum())

    def _factors(self) -> tuple[Factor, ...]:
        return tuple(
            ((i,), Point(float(v), coords=(c,)))
            for i, (c, v) in enumerate(zip(self.coords, self.value, strict=True))
        )

    def _support(self) -> Box:
        return self.value.copy(), self.value.copy()


def point(value: ArrayLike) -> Law:
    """All mass at ``value``, the same for every coordinate or (D,)."""
    return Point(_numbers("point", value=value))


# ----------------------------------------------------------------------------------------- product
@dataclass(frozen=True, repr=False)
class Product(Law):
    """Independent groups of coordinates, each with its own law."""

    parts: tuple[tuple[str, Law], ...]  # (key, law of the coordinates that the key covers) each

    def __repr__(self) -> str:
        return f"product({', '.join(f'{key}={law}' for key, law in self.parts)})"

    def _own_dimension(self) -> int | None:
        return None

    def _bind(self, names: tuple[str, ...]) -> Law:
        covered = [(key, _covered(key, names)) for key, _ in self.parts]
        taken = [name for _, group in covered for name in group]
        if sorted(taken) != sorted(names) or not all(group for _, group in covered):
            raise InvalidInput(
                f"the keys of {self} do not share out the {len(names)} coordinate(s) "
                + ", ".join(names),
                "; ".join(f"{key} covers {', '.join(group) or 'none'}" for key, group in covered),
                "name each coordinate once: w stands for w, or for all of w1, w2, ...; "
                "an unbound product must first be bound, law.on(coords)",
            )
        parts = tuple(
            (key, law.on(group)) for (key, law), (_, group) in zip(self.parts, covered, strict=True)
        )
        return Product(parts, coords=names)

    def _blocks(self) -> list[tuple[list[int], Law]]:
        return [([self.coords.index(c) for c in law.coords], law) for _, law in self.parts]

    def _log_density(self, points: Array) -> Array:
        return np.sum([law.log_density(points[:, at]) for at, law in self._blocks()], axis=0)

    def _from_uniform(self, u: Array) -> Array:
        points = np.empty(u.shape)
        for at, law in self._blocks():
            points[:, at] = law.from_uniform(u[:, at])
        return points

    def _nodes(self, k: int) -> Rule:
        columns, weights = _tensor([law.nodes(k) for _, law in self._blocks()])
        points = np.empty(columns.shape)
        points[:, [i for at, _ in self._blocks() for i in at]] = columns
        return points, weights

    def _reach(self, tail: float) -> Box:
        return self._box([law.reach(tail) for _, law in self.parts])

    def _outside(self, low: Array, high: Array) -> float:
        return sum(law.outside(low[at], high[at]) for at, law in self._blocks())

    def _support(self) -> Box:
        return self._box([law.support for _, law in self.parts])

    def _box(self, boxes: Sequence[Box]) -> Box:
        low, high = np.empty(self.dimension), np.empty(self.dimension)
        for (at, _), (part_low, part_high) in zip(self._blocks(), boxes, strict=True):
            low[at], high[at] = part_low, part_high
        return low, high

    def _factors(self) -> tuple[Factor, ...]:
        return tuple(
            (tuple(at[i] for i in inner), factor)
            for at, law in self._blocks()
            for inner, factor in law.factors
        )


def product(**laws: Law) -> Law:
    """Independent laws by the names of their coordinates: ``product(a=point(0), w=gaussian())``.

    A key covers the coordinate of that name, or all whose names are the key followed by digits
    (w covers w1, w2, ...). Every coordinate must be covered exactly once.
    """
    if not laws or not all(isinstance(law, Law) for law in laws.values()):
        raise InvalidInput("product() got something that is not a law", fix="product(a=law, w=law)")
    return Product(tuple(laws.items()))


# ------------------------------------------------------------------------------------------- shell
@dataclass(frozen=True, repr=False)
class Shell(Law):
    """An isotropic law near a sphere, density ∝ exp(−(|θ|−radius)²/(2 width²))."""

    radius: float  # >= 0, in units of the coordinates
    width: float  # > 0, likewise

    def __repr__(self) -> str:
        return f"shell(radius={self.radius}, width={self.width})"

    def _own_dimension(self) -> int | None:
        return None

    @property
    def _radial(self) -> _RadialLaw:
        return _radial_law(self.radius, self.width, self.dimension)

    def _log_density(self, points: Array) -> Array:
        D = self.dimension
        log_sphere = np.log(2) + D / 2 * np.log(np.pi) - special.gammaln(D / 2)
        z = (np.linalg.norm(points, axis=1) - self.radius) / self.width
        return -0.5 * z**2 - log_sphere - self._radial.log_mass

    def _from_uniform(self, u: Array) -> Array:
        z = special.ndtri(u)  # its direction is uniform, its length has a chi law
        length = np.linalg.norm(z, axis=1)
        half, D = length**2 / 2, self.dimension
        r = self._radial.quantile(special.gammainc(D / 2, half), special.gammaincc(D / 2, half))
        return z * np.divide(r, length, out=np.zeros_like(r), where=length > 0)[:, None]

    def _nodes(self, k: int) -> Rule:
        if self.dimension > 3:
            raise InvalidInput(
                f"{self} has no quadrature rule on {self.dimension} coordinates",
                "rules on the sphere are built for 1, 2 and 3",
                "draw from it: from_uniform works in any dimension",
            )
        r, weights = self._radial.gauss(k)
        radial = (r[:, None], weights)
        circle = ((np.arange(2 * k)[:, None] + 0.5) * np.pi / k, np.full(2 * k, 0.5 / k))
        if self.dimension == 1:
            signed, w = _tensor([radial, (np.array([[-1.0], [1.0]]), np.full(2, 0.5))])
            return signed[:, :1] * signed[:, 1:], w
        if self.dimension == 2:
            polar, w = _tensor([radial, circle])
            r, angle = polar.T
            return np.column_stack([r * np.cos(angle), r * np.sin(angle)]), w
        x, v = special.roots_legendre(k)
        spherical, w = _tensor([radial, (x[:, None], v / v.sum()), circle])
        r, height, angle = spherical.T
        rim = np.sqrt(1 - height**2)
        axes = [rim * np.cos(angle), rim * np.sin(angle), height]
        return r[:, None] * np.column_stack(axes), w

    def _reach(self, tail: float) -> Box:
        # By symmetry P(θ_k > r) = P(|θ_k| > r)/2 <= P(|θ| > r)/2.
        r = self._radial.quantile(np.array([1 - 2 * tail]), np.array([2 * tail]))
        return np.full(self.dimension, -r[0]), np.full(self.dimension, r[0])

    def _outside(self, low: Array, high: Array) -> float:
        r = np.concatenate([-low, high])  # a side with r < 0 has the centre beyond it
        half = self._radial.beyond(np.abs(r)) / 2
        return np.where(r >= 0, half, 1 - half if self.dimension == 1 else 1.0).sum()


def shell(radius: float, width: float) -> Law:
    """Isotropic in any dimension, density ∝ exp(−(|θ|−radius)²/(2 width²)), radius >= 0, width > 0.

    The density has a kink at the origin, of relative size exp(−radius²/(2 width²)).
    """
    R, s = number(radius), number(width)
    if not (0 <= R < np.inf and 0 < s < np.inf):
        raise InvalidInput(
            f"shell({shown(radius)}, {shown(width)})",
            "a shell needs radius >= 0 and width > 0, both finite",
        )
    if s > FARTHEST or R / s > THINNEST_SHELL:
        raise InvalidInput(
            f"shell({R!r}, {s!r})",
            f"widths go up to {FARTHEST:g}, and radii to {THINNEST_SHELL:g} of them",
            "a wider shell",
        )
    _check_spread(f"shell({R!r}, {s!r})", s)
    return Shell(R, s)


@dataclass(frozen=True, eq=False)
class _RadialLaw:
    """The law of r = |θ| under a shell: density ∝ r^{D−1} exp(−(r−R)²/(2s²)) on r >= 0.

    It is log-concave with width at most s around its peak, so panels of s/8 with 8 Gauss nodes
    each, out to 37 s where the density underflows, resolve it to rounding.
    """

    radius: float  # R
    width: float  # s
    dimension: int  # D
    peak: float  # where the density is largest
    edges: Array  # (P+1,) of the panels
    below: Array  # (P+1,) integral of the density relative to its peak, from 0 to each edge
    above: Array  # (P+1,) the same from each edge to infinity

    @property
    def log_mass(self) -> float:
        """log ∫ r^{D−1} exp(−(r−R)²/(2s²)) dr."""
        return float(np.log(self.below[-1]) + self._log(np.array(self.peak)))

    def _log(self, r: Array) -> Array:
        z = (r - self.radius) / self.width
        return special.xlogy(self.dimension - 1, r) - 0.5 * z**2

    def relative(self, r: Array) -> Array:
        """The density at r (...), 1 at its peak."""
        return np.exp(self._log(r) - self._log(np.array(self.peak)))

    def integral(self, start: Array, end: Array) -> Array:
        """The integral of ``relative`` from start (N,) to end (N,), both within one panel."""
        x, w = special.roots_legendre(8)
        half = (end - start) / 2
        r = start[:, None] + half[:, None] * (1 + x)
        return half * (self.relative(r) @ w)

    def beyond(self, r: Array) -> Array:
        """The fraction of the mass (N,) beyond r (N,) >= 0."""
        last = len(self.edges) - 2
        panel = np.clip(np.searchsorted(self.edges, r, side="right") - 1, 0, last)
        end = self.edges[panel + 1]
        rest = self.integral(np.clip(r, self.edges[panel], end), end)
        return (rest + self.above[panel + 1]) / self.below[-1]

    def quantile(self, lower: Array, upper: Array) -> Array:
        """r (N,) with the fraction ``lower`` (N,) of the mass below it and ``upper`` above.

        Both are given, for the smaller one is the accurate one.
        """
        mass = self.below[-1]
        from_below = np.searchsorted(self.below, lower * mass, side="right") - 1
        from_above = np.searchsorted(-self.above, -upper * mass, side="right") - 1
        left = lower <= upper
        panel = np.clip(np.where(left, from_below, from_above), 0, len(self.edges) - 2)
        needed = np.where(left, lower * mass - self.below[panel], self.above[panel] - upper * mass)
        return self._invert(panel, np.maximum(needed, 0.0))

    def _invert(self, panel: NDArray[np.intp], needed: Array) -> Array:
        """r in the panel with the integral ``needed`` from its lower edge: bracketed Newton."""
        start, end = self.edges[panel], self.edges[panel + 1]
        low, high = start.copy(), end.copy()
        r = start + (end - start) * np.minimum(needed / self.integral(start, end), 1.0)
        for _ in range(100):
            excess, slope = self.integral(start, r) - needed, self.relative(r)
            low, high = np.where(excess < 0, r, low), np.where(excess < 0, high, r)
            newton = r - np.divide(excess, slope, out=np.zeros_like(r), where=slope > 0)
            bracketed = (low <= newton) & (newton <= high)
            previous, r = r, np.where(bracketed, newton, (low + high) / 2)
            if np.all(np.abs(r - previous) <= 4 * np.finfo(float).eps * end):
                break
        return r

    def gauss(self, k: int) -> tuple[Array, Array]:
        """Gauss rule of k nodes (k,) and weights (k,): Lanczos on the panels' own fine rule.

        Golub & Welsch 1969; Gautschi, Orthogonal Polynomials (2004), section 2.2.
        """
        x, w = special.roots_legendre(8)
        half = np.diff(self.edges)[:, None] / 2
        r = (self.edges[:-1, None] + half * (1 + x)).ravel()
        fine = (half * w).ravel() * self.relative(r)
        fine = fine / fine.sum()
        t = (r - self.peak) / self.width
        diagonal, off_diagonal = np.empty(k), np.empty(k)
        previous, current = np.zeros_like(t), np.sqrt(fine)
        for j in range(k):
            following = t * current
            diagonal[j] = following @ current
            following -= diagonal[j] * current + (off_diagonal[j - 1] * previous if j else 0.0)
            off_diagonal[j] = np.linalg.norm(following)
            previous, current = current, following / off_diagonal[j]
        jacobi = np.diag(diagonal) + np.diag(off_diagonal[:-1], 1) + np.diag(off_diagonal[:-1], -1)
        values, vectors = np.linalg.eigh(jacobi)
        return self.peak + self.width * values, vectors[0] ** 2


@lru_cache(maxsize=64)
def _radial_law(radius: float, width: float, dimension: int) -> _RadialLaw:
    R, s = radius, width
    peak = (R + np.sqrt(R**2 + 4 * s**2 * (dimension - 1))) / 2
    low, high = max(0.0, peak - 37 * s), peak + 37 * s
    edges = np.linspace(low, high, int(np.ceil((high - low) / (s / 8))) + 1)
    blank = _RadialLaw(R, s, dimension, peak, edges, edges, edges)
    panels = blank.integral(edges[:-1], edges[1:])
    below = np.concatenate([[0.0], np.cumsum(panels)])
    above = np.concatenate([np.cumsum(panels[::-1])[::-1], [0.0]])
    return replace(blank, below=below, above=above)


# ----------------------------------------------------------------------------------------- mixture
@dataclass(frozen=True, repr=False)
class Mixture(Law):
    """A weighted sum of laws on the same coordinates."""

    weights: tuple[float, ...]  # (K,) >= 0, sum 1
    laws: tuple[Law, ...]  # (K,)

    def __repr__(self) -> str:
        return f"mixture({self.weights}, {self.laws})"

    def _own_dimension(self) -> int | None:
        fixed = {law._own_dimension() for law in self.laws} - {None}
        if len(fixed) > 1:
            raise InvalidInput(
                f"{self} mixes laws of different dimensions", fix="give them the same"
            )
        return fixed.pop() if fixed else None

    def _bind(self, names: tuple[str, ...]) -> Law:
        return Mixture(self.weights, tuple(law.on(names) for law in self.laws), coords=names)

    def _components(self) -> tuple[tuple[float, Law], ...]:
        return tuple(
            (weight * inner, law)
            for weight, part in zip(self.weights, self.laws, strict=True)
            for inner, law in part.components
        )

    def _log_density(self, points: Array) -> Array:
        logs = np.column_stack([law.log_density(points) for law in self.laws])
        return special.logsumexp(logs, axis=1, b=np.array(self.weights))

    def _from_uniform(self, u: Array) -> Array:
        ends = np.cumsum(self.weights)
        last = int(np.flatnonzero(self.weights)[-1])  # where rounding of the sum must not lead past
        chosen = np.minimum(np.searchsorted(ends, u[:, 0], side="right"), last)
        points = np.empty(u.shape)
        for k, law in enumerate(self.laws):
            rows = chosen == k
            inner = u[rows]
            if len(inner):
                inner[:, 0] = (inner[:, 0] - ends[k] + self.weights[k]) / self.weights[k]
                inner[:, 0] = np.clip(inner[:, 0], SMALLEST, LARGEST)
                points[rows] = law.from_uniform(inner)
        return points

    def _nodes(self, k: int) -> Rule:
        rules = [law.nodes(k) for law in self.laws]
        weights = [p * w for p, (_, w) in zip(self.weights, rules, strict=True)]
        return np.concatenate([x for x, _ in rules]), np.concatenate(weights)

    def _reach(self, tail: float) -> Box:
        return _hull([law.reach(tail) for law in self.laws])

    def _outside(self, low: Array, high: Array) -> float:
        return sum(
            weight * law.outside(low, high)
            for weight, law in zip(self.weights, self.laws, strict=True)
        )

    def _support(self) -> Box:
        return _hull([law.support for law in self.laws])


def mixture(weights: ArrayLike, laws: Sequence[Law]) -> Law:
    """Σ_k weights_k laws_k; ``weights`` (K,) >= 0 summing to 1, one for each of the ``laws``.

    Its ``from_uniform`` lets the first uniform choose the component and uses what is left of it.
    """
    if not isinstance(laws, list | tuple) or not (laws and all(isinstance(v, Law) for v in laws)):
        raise InvalidInput(
            "mixture got something that is not a law", fix="mixture([0.5, 0.5], [law, law])"
        )
    mixed = Mixture(tuple(probabilities(weights, len(laws)).tolist()), tuple(laws))
    mixed._own_dimension()
    return mixed


# ------------------------------------------------------------------------------------ shared steps
def probabilities(weights: ArrayLike, size: int) -> Array:
    """The weights (size,) as an array, if they are finite, >= 0, and sum to 1 within 1e-12.

    Raises InvalidInput otherwise.
    """
    p = numbers("weights", weights)
    if p.shape != (size,):
        raise InvalidInput(
            f"weights have shape {p.shape}", f"{size} are needed", f"give shape ({size},)"
        )
    if not ((p >= 0) & (p < FARTHEST)).all():
        k = int(np.argmin((p >= 0) & (p < FARTHEST)))
        raise InvalidInput(f"weights[{k}] is {p[k]:g}", "weights are finite numbers >= 0")
    if abs(p.sum() - 1) > 1e-12:
        raise InvalidInput(
            f"the weights sum to {p.sum():.15g}",
            "they are probabilities and sum to 1 within 1e-12",
            "weights / weights.sum()",
        )
    return p


def _numbers(law: str, **parameter: ArrayLike) -> Numbers:
    """A parameter as a float or a tuple of floats, if it is finite."""
    ((name, value),) = parameter.items()
    array = numbers(f"{law}'s {name}", value)
    if array.ndim > 1 or array.size == 0 or not (np.abs(array) <= FARTHEST).all():
        raise InvalidInput(
            f"{law}({name}={shown(value)})",
            "a parameter is one finite number, or one for each coordinate, "
            f"of at most {FARTHEST:g}",
        )
    return tuple(array.tolist()) if array.ndim else float(array)


def _check_spread(call: str, spread: ArrayLike) -> None:
    """Raise InvalidInput where squares of the spread would be 0."""
    if np.min(spread) < 1 / FARTHEST:
        raise InvalidInput(call, f"a spread below {1 / FARTHEST:g} is none", "mf.point(value)")


def _common_length(*parameters: Numbers) -> int | None:
    """The length of those parameters that are sequences; None if all are scalars."""
    lengths = {len(p) for p in parameters if isinstance(p, tuple)}
    if len(lengths) > 1:
        raise InvalidInput(
            f"parameters of lengths {sorted(lengths)} do not describe one law",
            "each is one number, or one for each coordinate",
            "give them the same length",
        )
    return lengths.pop() if lengths else None


def _covered(key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The coordinate of that name, or else all whose names are the key followed by digits."""
    if key in names:
        return (key,)
    return tuple(n for n in names if n.startswith(key) and n[len(key) :].isdecimal())


def _anonymous(dimension: int) -> tuple[str, ...]:
    return tuple(f"coordinate {k}" for k in range(1, dimension + 1))


def _log_normal(z: NDArray[np.floating]) -> Array:
    return -0.5 * (z**2).sum(axis=1) - z.shape[1] / 2 * np.log(2 * np.pi)


def _hermite(k: int) -> Rule:
    z, w = special.roots_hermitenorm(k)
    return z[:, None], w / w.sum()


def _tensor(rules: Sequence[Rule]) -> Rule:
    """The rule of independent groups of columns, the last group running fastest."""
    sizes = [len(weights) for _, weights in rules]
    if prod(sizes) > LARGEST_RULE:
        raise InvalidInput(
            f"the quadrature rule would have {prod(sizes):.1e} nodes",
            f"a tensor rule needs {' x '.join(map(str, sizes))}",
            "take fewer nodes per coordinate, or draw points with from_uniform",
        )
    at = np.indices(sizes).reshape(len(sizes), -1)
    points = np.concatenate([x[i] for (x, _), i in zip(rules, at, strict=True)], axis=1)
    return points, np.prod([w[i] for (_, w), i in zip(rules, at, strict=True)], axis=0)


def _hull(boxes: Sequence[Box]) -> Box:
    lows, highs = zip(*boxes, strict=True)
    return np.min(lows, axis=0), np.max(highs, axis=0)
