"""Losses: pointwise functions of a prediction f and a target y; bound to data they give the risk.

    risk(f) = Σ_i p_i ℓ(f_i, y_i)

The convex conjugate ℓ*(u; y) = sup_f [u f − ℓ(f, y)] (in the first argument) is what certificates
of optimality are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mfpde.arguments import answer, frozen, number, numbers, shown
from mfpde.errors import InvalidInput
from mfpde.problems.derivatives import check_slope
from mfpde.problems.laws import probabilities

Array = NDArray[np.float64]
Index = Sequence[int] | NDArray[np.integer] | NDArray[np.bool_] | slice
Pointwise = Callable[[Array, Array], Array]  # (n,), (n,) -> (n,)


ROUND_OFF = 8 * np.finfo(float).eps
CHECKED = 8  # targets at which slopes are compared with differences
DIFFERENCE = 1e-5  # relative, of arguments of slopes


def _gauss(nodes: int) -> tuple[Array, Array]:
    """Gauss–Legendre nodes and weights on [0, 1]."""
    x, weight = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (x + 1), 0.5 * weight


GAUSS = _gauss(8)


@dataclass(frozen=True, repr=False)
class Loss:
    """ℓ(f, y) and what is known of it, elementwise on arrays of equal shape.

    Calling it with data gives the risk: ``loss(y, weights)``.
    """

    value: Pointwise  # ℓ(f, y): (n,), (n,) -> (n,)
    slope: Pointwise  # dℓ/df: (n,), (n,) -> (n,)
    curvature: Pointwise | None = None  # d²ℓ/df²: (n,), (n,) -> (n,)
    conjugate: Pointwise | None = None  # ℓ*(u; y): u (n,), y (n,) -> (n,), +inf off its domain
    smoothness: float | None = None  # sup of d²ℓ/df²; None when unknown
    name: str = "user"  # how it is called in records and messages
    labels: tuple[float, ...] = ()  # the values y may take; empty: every finite number

    def __call__(self, y: ArrayLike, weights: ArrayLike | None = None) -> BoundLoss:
        """Bind the targets ``y`` (n,) and their weights p (n,), by default 1/n each.

        Raises InvalidInput for targets that are not finite or not among the loss's labels, for
        weights that are negative, not finite, or do not sum to 1 within 1e-12, and where the loss
        is not elementwise.
        """
        targets = self._targets(y)
        n = len(targets)
        p = np.full(n, 1 / n) if weights is None else probabilities(weights, n)
        self._check_elementwise(targets)
        self._check_slope(targets)
        return BoundLoss(self, frozen(targets), frozen(p))

    def _check_elementwise(self, y: Array) -> None:
        """Call each part once, at f = y, and look at the shape of the answers."""
        for part in ("value", "slope", "curvature", "conjugate"):
            function = getattr(self, part)
            if function is None and part in ("curvature", "conjugate"):
                continue
            shape = answer(f"the {part} of the loss {self.name}", function, y, y).shape
            if shape != y.shape:
                raise InvalidInput(
                    f"the {part} of the loss {self.name} maps f and y {y.shape} to {shape}",
                    "a loss is pointwise: the weighted sum over samples is taken for it",
                    f"leave out the mean or sum and return shape {y.shape}",
                )

    def _check_slope(self, y: Array) -> None:
        """Compare slope and curvature with differences, on each side of the targets."""
        few = y[:CHECKED]
        f = np.stack([few - 0.7, few + 0.4, few + 1.3], axis=-1).T  # (3, n): every row a prediction
        jobs = [("slope", self.value, self.slope)]
        jobs += [] if self.curvature is None else [("curvature", self.slope, self.curvature)]
        for part, function, derivative in jobs:
            check_slope(
                f"the {part} of the loss {self.name}",
                lambda rows, g=function: np.array([g(row, few) for row in rows]),  # type: ignore
                lambda rows, g=derivative: np.array([np.diag(g(row, few)) for row in rows]),  # type: ignore
                f,
                f"give another {part}",
            )

    def _targets(self, y: ArrayLike) -> Array:
        targets = numbers("y", y)
        if targets.ndim != 1 or targets.size == 0:
            raise InvalidInput(
                f"the targets y have shape {targets.shape}",
                "a loss is bound to one number per sample, and to at least one",
                "y.ravel()" if targets.shape[1:] == (1,) else "give y of shape (n,)",
            )
        wrong = ~np.isfinite(targets)
        if self.labels:
            wrong |= ~np.isin(targets, self.labels)
        if wrong.any():
            i = int(np.argmax(wrong))
            allowed = " or ".join(f"{v:+g}" for v in self.labels) or "finite numbers"
            raise InvalidInput(
                f"the target y[{i}] is {targets[i]:g}",
                f"the loss {self.name} needs targets that are {allowed}",
                self._recoding(targets),
            )
        return targets

    def _recoding(self, targets: Array) -> str:
        if self.labels == (-1.0, 1.0) and np.isin(targets, (0.0, 1.0)).all():
            return "y = 2*y - 1 for targets 0 and 1"
        return "recode the targets or remove those samples"

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False, repr=False)
class BoundLoss:
    """A loss with its data: the risk Σ_i p_i ℓ(f_i, y_i) of a prediction f (n,)."""

    loss: Loss  # the pointwise loss
    y: Array  # (n,) targets, read-only
    weights: Array  # (n,) p_i >= 0, sum 1, read-only

    @property
    def name(self) -> str:
        """The name of the pointwise loss."""
        return self.loss.name

    @property
    def smoothness(self) -> float | None:
        """sup of d²ℓ/df², or None when the loss does not say."""
        return self.loss.smoothness

    def risk(self, f: Array) -> float:
        """Σ_i p_i ℓ(f_i, y_i)."""
        return float(self.weights @ self.loss.value(f, self.y))

    def residual(self, f: Array) -> Array:
        """ℓ'(f_i, y_i), shape (n,)."""
        return self.loss.slope(f, self.y)

    def slope(self, f: Array) -> Array:
        """The gradient of the risk, p_i ℓ'(f_i, y_i), shape (n,)."""
        return self.weights * self.residual(f)

    def curvature(self, f: Array) -> Array:
        """The diagonal of the risk's Hessian, p_i ℓ''(f_i, y_i), shape (n,)."""
        if self.loss.curvature is None:
            raise self._missing("curvature", "Newton steps on the prediction need")
        return self.weights * self.loss.curvature(f, self.y)

    def mean_slope(self, f: Array, g: Array) -> Array:
        """p_i (ℓ(g_i) − ℓ(f_i))/(g_i − f_i), (n,): risk(g) − risk(f) = mean_slope·(g − f).

        A quadrature of ℓ' between f and g, free of cancellation, where it agrees with the quotient
        up to the quotient's own round-off; the quotient elsewhere (kinks of ℓ', long ways).
        """
        if self.loss is square:
            return self.slope(0.5 * (f + g))
        way = g - f
        mean = np.zeros_like(way)
        for x, weight in zip(*GAUSS, strict=True):
            mean += weight * self.loss.slope(f + x * way, self.y)
        rise = self.loss.value(g, self.y) - self.loss.value(f, self.y)
        size = np.abs(self.loss.value(g, self.y)) + np.abs(self.loss.value(f, self.y))
        astray = np.abs(rise - mean * way) > ROUND_OFF * (size + np.abs(mean * way))
        mean[astray] = rise[astray] / way[astray]
        return self.weights * mean

    def mean_curvature(self, f: Array, g: Array) -> Array:
        """∂ mean_slope(f, g)/∂g_i = p_i ∫ x ℓ''(f_i + x (g_i − f_i)) dx over [0, 1], (n,)."""
        mean = np.zeros_like(f)
        for x, weight in zip(*GAUSS, strict=True):
            mean += weight * x * self.bend(f + x * (g - f))
        return mean

    def bend(self, f: Array) -> Array:
        """The curvature, or where the loss has none differences of its slope, (n,)."""
        if self.loss.curvature is not None:
            return self.curvature(f)
        h = DIFFERENCE * (1 + np.abs(f))
        return (self.slope(f + h) - self.slope(f - h)) / (2 * h)

    def conjugate(self, u: Array) -> float:
        """Σ_i p_i ℓ*(u_i; y_i) for u (n,) on the scale of the residual; +inf off the domain."""
        if self.loss.conjugate is None:
            raise self._missing("conjugate", "certificates and lower bounds of the optimum need")
        present = self.weights > 0  # 0 times +inf counts as 0: the sample is not there
        return float(self.weights[present] @ self.loss.conjugate(u, self.y)[present])

    def subset(self, index: Index) -> BoundLoss:
        """The same loss on the samples ``index``, their weights rescaled to sum to 1."""
        try:
            y, p = np.atleast_1d(self.y[index]), np.atleast_1d(self.weights[index])
        except IndexError as error:
            fix = "positions from 0, a slice, or one bool for each sample"
            raise InvalidInput(f"subset({shown(index)})", str(error), fix) from error
        if not p.sum() > 0:
            raise InvalidInput(
                "the chosen samples carry no weight",
                "weights are rescaled to sum to 1 over the subset, and theirs sum to 0",
                "choose at least one sample of positive weight",
            )
        return BoundLoss(self.loss, frozen(y.copy()), frozen(p / p.sum()))

    def __repr__(self) -> str:
        return f"{self.name} on {len(self.y)} samples"

    def _missing(self, part: str, use: str) -> InvalidInput:
        return InvalidInput(
            f"the loss {self.loss} has no {part}",
            f"{use} it",
            f"give it: mf.Loss(value, slope, {part}=...)",
        )


# Named functions, not lambdas: a problem must survive pickling on its way to another process.
def _square(f: Array, y: Array) -> Array:
    return (f - y) ** 2 / 2


def _square_conjugate(u: Array, y: Array) -> Array:
    return u**2 / 2 + u * y


def _one(f: Array, y: Array) -> Array:
    return np.ones_like(f, dtype=float)


def _logistic(f: Array, y: Array) -> Array:
    return np.logaddexp(0.0, -y * f)


def _logistic_slope(f: Array, y: Array) -> Array:
    return -y * special.expit(-y * f)


def _logistic_curvature(f: Array, y: Array) -> Array:
    return special.expit(f) * special.expit(-f)


def _logistic_conjugate(u: Array, y: Array) -> Array:
    s = -y * u  # entr is -inf at negative arguments: the domain 0 <= s <= 1 comes with it
    return -special.entr(s) - special.entr(1 - s)


def _huber(delta: float, f: Array, y: Array) -> Array:
    r = f - y
    c = np.clip(r, -delta, delta)
    return c * (r - c / 2)


def _huber_slope(delta: float, f: Array, y: Array) -> Array:
    return np.clip(f - y, -delta, delta)


def _huber_curvature(delta: float, f: Array, y: Array) -> Array:
    return (np.abs(f - y) <= delta).astype(float)


def _huber_conjugate(delta: float, u: Array, y: Array) -> Array:
    return np.where(np.abs(u) <= delta, _square_conjugate(u, y), np.inf)


square = Loss(
    _square, np.subtract, _one, _square_conjugate, smoothness=1.0, name="square"
)  # (f − y)²/2
logistic = Loss(
    _logistic,
    _logistic_slope,
    _logistic_curvature,
    _logistic_conjugate,
    smoothness=0.25,
    name="logistic",
    labels=(-1.0, 1.0),
)  # log(1 + exp(−y f)), y = −1 or +1


def huber(delta: float) -> Loss:
    """(f−y)²/2 where |f−y| <= delta, delta (|f−y| − delta/2) beyond; delta > 0 in units of y."""
    d = number(delta)
    if not 0 < d < np.inf:
        raise InvalidInput(
            f"huber({shown(delta)})",
            "delta is the residual beyond which the loss grows linearly",
            "give a finite delta > 0",
        )
    return Loss(
        partial(_huber, d),
        partial(_huber_slope, d),
        partial(_huber_curvature, d),
        partial(_huber_conjugate, d),
        smoothness=1.0,
        name=f"huber(delta={d!r})",
    )


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (square, logistic)}
