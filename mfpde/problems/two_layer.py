"""The two-layer network Φ(a, w[, b]; x) = a σ(w·x [+ b])  (Chizat & Bach 2018, §2.1)."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arguments import check_flag, check_kind, finite_array
from mfpde.errors import InvalidInput
from mfpde.problems.activations import Activation, tanh
from mfpde.problems.laws import Law
from mfpde.problems.losses import Loss, square
from mfpde.problems.penalties import Penalty
from mfpde.problems.problem import Array, Domain, Features, Problem, check_map, with_bias


def two_layer(
    x: ArrayLike,
    y: ArrayLike,
    activation: Activation = tanh,
    loss: Loss = square,
    weights: ArrayLike | None = None,
    penalty: Penalty | None = None,
    entropy: float = 0.0,
    bias: bool = False,
    output_weight: bool = True,
    initial: Law | None = None,
    domain: Domain | None = None,
) -> Problem:
    """An infinitely wide two-layer network on weighted samples.

    F(ρ) = Σ_i p_i ℓ(∫ a σ(w·x_i + b) dρ, y_i) + ∫reg dρ + λ∫ρ log ρ.

    Args:
        x: inputs, (n,) or (n, d).
        y: targets, (n,).
        activation: σ, pointwise.
        loss: ℓ(f, y), pointwise.
        weights: p, (n,), at least 0 with sum 1 (quadrature of a population); 1/n by default.
        penalty: reg(θ) on the whole neuron.
        entropy: λ ≥ 0.
        bias: whether neurons carry a bias b (it counts as a weight).
        output_weight: whether neurons carry a; without it a ≡ 1.
        initial: the law ρ_0 of a neuron; a standard normal by default.
        domain: the geometry of coordinates that are not lines, by name; of several on one sphere
            by their names together, ``{("w1", "w2"): mf.sphere()}``.

    Returns:
        A problem with coords ("a","w"[,"b"]) for one input, ("a","w1",…,"wd"[,"b"]) for more.

    Raises:
        InvalidInput: when shapes disagree, a value is not finite, or weights do not sum to 1.
    """
    check_activation(activation)
    check_kind("loss", loss, Loss, "pass the loss itself: mf.square, not mf.square(y)")
    check_flag("bias", bias)
    check_flag("output_weight", output_weight)
    given = finite_array("x", x, (1, 2))
    inputs = given.reshape(len(given), -1)
    targets = finite_array("y", y, (1,))
    if len(inputs) != len(targets):
        raise InvalidInput(
            f"x holds {len(inputs)} samples and y {len(targets)}", "each input has one target"
        )
    bound = loss(targets, weights)
    directions = with_bias(inputs, bias)
    slope, curvature = activation.slope, activation.curvature
    return Problem(
        two_layer_coords(inputs.shape[1], bias, output_weight),
        phi=partial(ridge_functions, activation.value, directions),
        dphi=None if slope is None else partial(ridge_gradients, slope, directions),
        d2phi=None if curvature is None else partial(ridge_hessians, curvature, directions),
        loss=bound,
        penalty=penalty,
        entropy=entropy,
        initial=initial,
        lifted=output_weight,
        domain=domain,
        inputs=inputs,
        activation=activation,
        bias=bias,
        x=given,
        label=two_layer_label(activation, loss.name, inputs, bias, output_weight),
    )


def two_layer_coords(d: int, bias: bool, output_weight: bool) -> tuple[str, ...]:
    """Coordinate names of a neuron with d inputs."""
    weights = ("w",) if d == 1 else tuple(f"w{k}" for k in range(1, d + 1))
    return (("a",) if output_weight else ()) + weights + (("b",) if bias else ())


def two_layer_label(
    activation: Activation, loss: str, inputs: Array, bias: bool, output_weight: bool
) -> str:
    """The call that made the problem, in short."""
    n, d = inputs.shape
    parts = [f"{n} samples", f"d={d}", f"activation={activation.name}", f"loss={loss}"]
    parts += ["bias"] if bias else []
    parts += [] if output_weight else ["no output weight"]
    return f"two_layer({', '.join(parts)})"


def check_activation(activation: Activation) -> None:
    """Call σ and its derivatives once, on an array, and look at what comes back."""
    check_kind("activation", activation, Activation, "mf.tanh, or mf.Activation(value, slope)")
    z = np.linspace(-1, 1, 6).reshape(2, 3)
    for part in ("value", "slope", "curvature"):
        function = getattr(activation, part)
        if function is not None or part == "value":
            name = f"the {part} of the activation {activation}"
            check_map(name, function, z, z.shape, "elementwise")


# Named functions bound by partial, not closures: a problem must survive pickling.
def ridge_functions(value: Features, directions: Array, points: Array) -> Array:
    """ψ_i(v) = σ(v·x_i): (N, k) -> (N, n)."""
    return value(points @ directions.T)


def ridge_gradients(slope: Features, directions: Array, points: Array) -> Array:
    """∇ψ_i(v) = σ'(v·x_i) x_i: (N, k) -> (N, n, k)."""
    return slope(points @ directions.T)[:, :, None] * directions


def ridge_hessians(curvature: Features, directions: Array, points: Array) -> Array:
    """∇²ψ_i(v) = σ''(v·x_i) x_i x_iᵀ: (N, k) -> (N, n, k, k)."""
    squares = directions[:, :, None] * directions[:, None, :]
    return curvature(points @ directions.T)[:, :, None, None] * squares
