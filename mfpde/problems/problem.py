"""What is minimised: F(ρ) = Σ_i p_i ℓ(∫Φ_i dρ, y_i) + ∫reg dρ + λ∫ρ log ρ, pointwise parts only.

A problem holds functions of a single neuron θ and of a single prediction; nothing here is ever
integrated against a measure. Both packages read these records, so what they promise is tested
against finite differences in tests/contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import InvalidInput
from mfpde.problems.activations import Activation
from mfpde.problems.geometry import Geometry, line
from mfpde.problems.laws import Law, gaussian
from mfpde.problems.losses import BoundLoss
from mfpde.problems.penalties import Penalty, no_penalty

Array = NDArray[np.float64]
Features = Callable[[Array], Array]

# Names of the dimensions and variables of a run or a particle flow.
RECORDED = {"time", "sample", "input", "replica", "particle", "coord", "wall", "x", "y", "weight"}
RECORDED |= {"rho", "rho_last", "prediction", "risk", "energy", "dissipation", "mass", "position"}
RECORDED |= {"escaped", "escaped_energy", "escaped_through"}


@dataclass(frozen=True, eq=False, init=False)
class Problem:
    """Features, loss, penalty, entropy and initial law of a mean-field problem.

    Attributes:
        coords: names of the D coordinates of a neuron; the output weight first if ``lifted``.
        phi: features at points, (N, k) -> (N, n); k = D, or D − 1 if ``lifted``, in which case
            Φ(a, v) = a·phi(v).
        dphi: their gradient, (N, k) -> (N, n, k), or None if the features have none; what needs
            it (particles, semi-Lagrangian steps) then refuses, flux methods do not need it.
        loss: the loss bound to targets (n,) and sample weights (n,), e.g. ``mf.square(y)``.
        penalty: reg(θ) with its gradient.
        entropy: λ ≥ 0, the weight of ∫ρ log ρ.
        initial: the law ρ_0, bound to ``coords``.
        lifted: whether the first coordinate multiplies features of the others.
        domain: the geometry of every coordinate.
        d2phi: Hessian of phi, (N, k) -> (N, n, k, k), or None.
        inputs: (n, d) inputs of a two-layer network, (n, 0) for other features.
        activation: σ of a two-layer network, None for other features.
        bias: whether the last coordinate of a two-layer network is a bias.
        x: the inputs as they were given, (n,) or (n, d); 0, 1, …, n−1 where there are none.
        label: how the problem names itself at the prompt.
    """

    coords: tuple[str, ...]
    phi: Features
    dphi: Features | None
    loss: BoundLoss
    penalty: Penalty
    entropy: float
    initial: Law
    lifted: bool
    domain: Mapping[str, Geometry]
    d2phi: Features | None
    inputs: Array
    activation: Activation | None
    bias: bool
    x: Array
    label: str

    def __init__(
        self,
        coords: Sequence[str],
        phi: Features,
        dphi: Features | None,
        loss: BoundLoss,
        penalty: Penalty | None = None,
        entropy: float = 0.0,
        initial: Law | None = None,
        lifted: bool = False,
        domain: Mapping[str, Geometry] | None = None,
        d2phi: Features | None = None,
        *,
        inputs: Array | None = None,
        activation: Activation | None = None,
        bias: bool = False,
        x: Array | None = None,
        label: str | None = None,
    ) -> None:
        """None stands for: no penalty, a standard normal law, lines, no inputs.

        Raises:
            InvalidInput: for names that are not distinct identifiers, features whose shape does
                not fit ``loss``, a negative entropy, or a domain that names an unknown coordinate.
        """
        initial = gaussian() if initial is None else initial
        penalty = no_penalty if penalty is None else penalty
        check_kind("loss", loss, BoundLoss)
        check_kind("initial", initial, Law)
        check_kind("penalty", penalty, Penalty)
        names, n = checked_coords(coords), len(loss.y)
        law = initial.on(names)
        check_features(phi, law, names, lifted, n)
        record = {
            "coords": names,
            "phi": phi,
            "dphi": dphi,
            "loss": loss,
            "penalty": penalty,
            "entropy": checked_entropy(entropy),
            "initial": law,
            "lifted": lifted,
            "domain": full_domain(names, domain),
            "d2phi": d2phi,
            "inputs": np.empty((n, 0)) if inputs is None else inputs,
            "activation": activation,
            "bias": bias,
            "x": np.arange(n, dtype=float) if x is None else x,
            "label": label or f"Problem on ({', '.join(names)}), {n} samples",
        }
        for name, value in record.items():
            object.__setattr__(self, name, value)

    @property
    def y(self) -> Array:
        """Targets, (n,)."""
        return self.loss.y

    @property
    def weights(self) -> Array:
        """Sample weights p, (n,), summing to 1."""
        return self.loss.weights

    @property
    def directions(self) -> Array:
        """(n, k) of a two-layer network: z = v·direction, the bias's direction being 1."""
        return (
            np.column_stack([self.inputs, np.ones(len(self.inputs))]) if self.bias else self.inputs
        )

    @property
    def dimension(self) -> int:
        """The number D of coordinates of a neuron."""
        return len(self.coords)

    def __repr__(self) -> str:
        return self.label


def checked_coords(coords: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple, each an identifier, none twice and none that a run's record uses."""
    names = tuple(coords)
    good = all(isinstance(c, str) and c.isidentifier() and c not in RECORDED for c in names)
    if not names or len(set(names)) != len(names) or not good:
        raise InvalidInput(
            f"coords = {names!r} does not name the coordinates of a neuron",
            f"names are distinct identifiers, none of {sorted(RECORDED)}",
            'for instance coords=("a", "w")',
        )
    return names


def checked_entropy(entropy: float) -> float:
    """λ as a float, finite and not negative."""
    if not (np.isfinite(entropy) and entropy >= 0):
        raise InvalidInput(f"entropy = {entropy!r}", "λ weighs ∫ρ log ρ", "a number λ ≥ 0")
    return float(entropy)


def full_domain(
    coords: tuple[str, ...], domain: Mapping[str, Geometry] | None
) -> dict[str, Geometry]:
    """A geometry for every coordinate: those named, and the line for all others."""
    named = dict(domain or {})
    unknown = sorted(set(named) - set(coords))
    if unknown:
        raise InvalidInput(
            f"domain names {unknown}", f"the coordinates are {list(coords)}", "use these names"
        )
    for name, geometry in named.items():
        check_kind(f"domain[{name!r}]", geometry, Geometry)
    return {c: named.get(c, line()) for c in coords}


def check_features(phi: Features, law: Law, coords: tuple[str, ...], lifted: bool, n: int) -> None:
    """Call the features once, at two points of the law, and look at the shape of the answer."""
    points = law.from_uniform(np.full((2, len(coords)), 0.5))[:, 1 if lifted else 0 :]
    shape = np.shape(phi(points))
    if shape != (2, n):
        raise InvalidInput(
            f"phi maps points {points.shape} to {shape}",
            f"with {n} targets it must return {(2, n)}: one feature per point and sample",
            "phi(points (N, k)) -> (N, n), k = D − 1 when lifted",
        )


def check_kind(name: str, value: object, kind: type) -> None:
    """Raise InvalidInput unless ``value`` is of its kind."""
    if not isinstance(value, kind):
        raise InvalidInput(f"{name} = {value!r}", f"it must be a {kind.__name__}")


def finite_array(name: str, value: ArrayLike, dimensions: tuple[int, ...]) -> Array:
    """``value`` as a float array with one of the given numbers of dimensions, all finite."""
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} is not an array of numbers", str(error)) from error
    if array.ndim not in dimensions or array.size == 0:
        raise InvalidInput(
            f"{name} has shape {array.shape}",
            f"it needs {' or '.join(map(str, dimensions))} dimension(s) and at least one element",
        )
    if not np.isfinite(array).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInput(f"{name}{list(first)} = {array[first]}", "every value must be finite")
    return array
