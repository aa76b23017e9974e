"""What is minimised: F(ρ) = Σ_i p_i ℓ(∫Φ_i dρ, y_i) + ∫reg dρ + λ∫ρ log ρ, pointwise parts only.

A problem holds functions of a single neuron θ and of a single prediction; nothing here is ever
integrated against a measure. Both packages read these records, so what they promise is tested
against finite differences in tests/contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from keyword import iskeyword

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arguments import (
    answer,
    check_flag,
    check_kind,
    finite_array,
    frozen,
    number,
    shown,
)
from mfpde.errors import InvalidInput
from mfpde.problems.activations import Activation
from mfpde.problems.derivatives import check_circles, check_slope
from mfpde.problems.geometry import Geometry, line
from mfpde.problems.laws import Law, gaussian
from mfpde.problems.losses import BoundLoss
from mfpde.problems.penalties import Penalty, no_penalty

Array = NDArray[np.float64]
Features = Callable[[Array], Array]
# By the name of a coordinate, or the names of several on one sphere.
Domain = Mapping[str, Geometry] | Mapping[str | tuple[str, ...], Geometry]

# Names of the dimensions and variables of a run or a particle flow.
RECORDED = {"time", "sample", "input", "replica", "particle", "coord", "wall", "x", "y", "weight"}
RECORDED |= {"rho", "rho_last", "prediction", "risk", "energy", "dissipation", "mass", "position"}
RECORDED |= {"escaped", "escaped_energy", "escaped_through", "window", "rho_in_window"}
RECORDED |= {"rho_last_in_window"}

A_LAW = "mf.gaussian(mean, std), or another law"
A_LOSS = "bind it to the targets: mf.square(y)"
A_PENALTY = "mf.ridge(0.1), or mf.Penalty(value, gradient)"
A_GEOMETRY = "mf.circle(length), mf.half_line() or mf.interval(lo, hi)"
A_SPHERE = 'domain={("w1", "w2"): mf.sphere()}'


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
        domain: the geometry of every coordinate; one and the same for those on one sphere.
        d2phi: Hessian of phi, (N, k) -> (N, n, k, k), or None.
        inputs: (n, d) inputs of a two-layer network, (n, 0) for other features; read-only.
        activation: σ of a two-layer network, None for other features.
        bias: whether the last coordinate of a two-layer network is a bias.
        x: the inputs as they were given, (n,) or (n, d); 0, 1, …, n−1 where there are none;
            read-only.
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
        domain: Domain | None = None,
        d2phi: Features | None = None,
        *,
        inputs: Array | None = None,
        activation: Activation | None = None,
        bias: bool = False,
        x: Array | None = None,
        label: str | None = None,
    ) -> None:
        """None stands for: no penalty, a standard normal law, lines, no inputs.

        ``domain`` maps names of coordinates to geometries, or several names, as a tuple, to
        ``mf.sphere(radius)``.

        Raises:
            InvalidInput: for names that are not distinct identifiers, features whose shape does
                not fit ``loss``, a penalty of the wrong shape or on an output weight that is not
                there, slopes that are not those of what they belong to, features that do not
                close round a circle, a negative entropy, or a domain that names an unknown
                coordinate, one twice, or a sphere's alone.
        """
        initial = gaussian() if initial is None else initial
        penalty = no_penalty if penalty is None else penalty
        check_kind("loss", loss, BoundLoss, A_LOSS)
        check_flag("lifted", lifted)
        check_kind("initial", initial, Law, A_LAW)
        names, n = checked_coords(coords), len(loss.y)
        if lifted and len(names) == 1:
            raise InvalidInput(
                f"a lifted problem on {names[0]} alone",
                "lifted features are a·ψ(v): beside a, the neuron needs coordinates v",
                f'coords=("{names[0]}", "w"), or lifted=False',
            )
        law = initial.on(names)
        check_features(phi, dphi, d2phi, law, lifted, n)
        check_penalty(penalty, law, names, lifted)
        spaces = full_domain(names, domain)
        around = [spaces[c] for c in names]
        check_circles("phi", phi, two_points(law)[:, int(lifted) :], around[int(lifted) :])
        record = {
            "coords": names,
            "phi": phi,
            "dphi": dphi,
            "loss": loss,
            "penalty": penalty,
            "entropy": checked_entropy(entropy),
            "initial": law,
            "lifted": lifted,
            "domain": spaces,
            "d2phi": d2phi,
            "inputs": frozen(
                np.empty((n, 0))
                if inputs is None or np.shape(inputs) == (n, 0)
                else per_sample("inputs", inputs, n)
            ),
            "activation": activation,
            "bias": bias,
            "x": frozen(np.arange(n, dtype=float) if x is None else per_sample("x", x, n)),
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
        """What a two-layer network's weights multiply, (n, k): z = v @ directions.T."""
        return with_bias(self.inputs, self.bias)

    @property
    def dimension(self) -> int:
        """The number D of coordinates of a neuron."""
        return len(self.coords)

    def __repr__(self) -> str:
        return self.label


def per_sample(name: str, values: ArrayLike, n: int) -> Array:
    """A copy of ``values``, (n,) or (n, d)."""
    array = finite_array(name, values, (1, 2))
    if len(array) != n:
        raise InvalidInput(f"{name} has shape {array.shape}", f"there are {n} samples")
    return array


def checked_coords(coords: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple, each an identifier, none twice and none that a run's record uses."""
    names = tuple(coords) if isinstance(coords, list | tuple) else (coords,)
    good = all(is_name(c) for c in names)
    if not good or not names or len(set(names)) != len(names):
        raise InvalidInput(
            f"coords = {names!r} does not name the coordinates of a neuron",
            f"names are distinct identifiers, none of {sorted(RECORDED)}",
            'for instance coords=("a", "w")',
        )
    return names


def is_name(word: object) -> bool:
    """Whether a coordinate may be called so: ``Grid(word=axis)`` names it too."""
    if not isinstance(word, str) or not word.isidentifier() or iskeyword(word):
        return False
    return word not in RECORDED


def checked_entropy(entropy: float) -> float:
    """λ as a float, finite and not negative."""
    strength = number(entropy)
    if not 0 <= strength < np.inf:
        raise InvalidInput(f"entropy = {shown(entropy)}", "λ weighs ∫ρ log ρ", "a number λ ≥ 0")
    return strength


def full_domain(coords: tuple[str, ...], domain: Domain | None) -> dict[str, Geometry]:
    """A geometry for every coordinate: those named, and the line for all others."""
    check_kind("domain", {} if domain is None else domain, Mapping, f"{{name: {A_GEOMETRY}}}")
    named: dict[str, Geometry] = {}
    for key, geometry in (domain or {}).items():
        check_kind(f"domain[{key!r}]", geometry, Geometry, A_GEOMETRY)
        spaces = spaces_of(key, geometry)
        if twice := sorted(set(named) & set(spaces)):
            raise InvalidInput(f"domain names {twice} twice", "a coordinate has one space")
        named |= spaces
    unknown = sorted(str(name) for name in set(named) - set(coords))
    if unknown:
        raise InvalidInput(
            f"domain names {unknown}", f"the coordinates are {list(coords)}", "use these names"
        )
    for name, geometry in named.items():
        whole = name in geometry.group and all(named.get(c) == geometry for c in geometry.group)
        if geometry.kind == "sphere" and not whole:
            raise InvalidInput(
                f"domain[{name!r}] = {geometry!r}",
                "a sphere is that of two or more coordinates, which are named together",
                A_SPHERE,
            )
    return {c: named.get(c, line()) for c in coords}


def spaces_of(key: str | tuple[str, ...], geometry: Geometry) -> dict[str, Geometry]:
    """What one entry of a domain says of each coordinate that it names."""
    if not isinstance(key, tuple):
        return {key: geometry}
    if geometry.kind != "sphere" or len(key) < 2 or len(set(key)) < len(key):
        raise InvalidInput(
            f"domain[{key!r}] = {geometry!r}",
            "two or more different coordinates, named together, are those of a sphere",
            A_SPHERE,
        )
    return dict.fromkeys(key, replace(geometry, group=key))


def with_bias(inputs: Array, bias: bool) -> Array:
    """Inputs (n, d) followed by a column of ones if there is a bias: z = points @ result.T."""
    return np.column_stack([inputs, np.ones(len(inputs))]) if bias else inputs


def check_features(
    phi: Features,
    dphi: Features | None,
    d2phi: Features | None,
    law: Law,
    lifted: bool,
    n: int,
) -> None:
    """Call the features once, at two points of the law, and look at what comes back."""
    points = two_points(law)[:, int(lifted) :]
    k = points.shape[1]
    what = "one feature per point and sample, k = D − 1 when lifted"
    check_map("phi", phi, points, (2, n), f"phi(points (N, k)) -> (N, n): {what}")
    if dphi is not None:
        check_map("dphi", dphi, points, (2, n, k), "dphi(points (N, k)) -> (N, n, k)")
        check_slope("dphi", phi, dphi, points, "mend it, or dphi=None: flux methods need no slope")
    if d2phi is not None:
        check_map("d2phi", d2phi, points, (2, n, k, k), "d2phi(points (N, k)) -> (N, n, k, k)")
        if dphi is not None:
            check_slope("d2phi", dphi, d2phi, points, "mend it, or leave it out")


def check_penalty(penalty: Penalty, law: Law, coords: tuple[str, ...], lifted: bool) -> None:
    """Call the penalty once, and see that the output weight it acts on is there."""
    check_kind("penalty", penalty, Penalty, A_PENALTY)
    if penalty.needs_output_weight and not lifted and coords[0] != "a":
        raise InvalidInput(
            f"the penalty {penalty} acts on the output weight a",
            f"these neurons have none: their first coordinate is {coords[0]}",
            "output_weight=True (lifted=True), or a penalty on all coordinates: mf.ridge",
        )
    points = two_points(law)
    check_map("the penalty's value", penalty.value, points, (2,), "value(points (N, D)) -> (N,)")
    shape, promise = points.shape, "gradient(points (N, D)) -> (N, D)"
    check_map("the penalty's gradient", penalty.gradient, points, shape, promise)
    check_slope("the penalty's gradient", penalty.value, penalty.gradient, points, "mend it")
    if penalty.prox is not None:
        prox, promise = (lambda p: penalty.prox(p, 1.0)), "prox(points (N, D), step) -> (N, D)"
        check_map("the penalty's prox", prox, points, shape, promise)


def two_points(law: Law) -> Array:
    """Two points of a law, (2, D), where its problem's functions are tried."""
    return law.from_uniform(np.repeat([[0.4], [0.6]], law.dimension, axis=1))


def check_map(
    name: str, function: Features, points: Array, shape: tuple[int, ...], promise: str
) -> None:
    """Raise InvalidInput unless ``function`` maps ``points`` to real numbers of this shape.

    ``promise`` says for the message what the shapes ought to be.
    """
    values = answer(name, function, points)
    if values.shape != shape:
        raise InvalidInput(
            f"{name} maps points {points.shape} to {values.shape}",
            f"{shape} is needed here",
            promise,
        )
