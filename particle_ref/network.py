"""The finite two-layer network f(x) = (1/m) Σ_j a_j σ(w_j·x), trained in PDE time."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from particle_ref.activations import ACTIVATIONS
from particle_ref.arguments import generator, number, numbers, whole
from particle_ref.errors import InvalidInput, NumericalStop
from particle_ref.force import Response, RiskForce, feature_force, layer
from particle_ref.problem import Array

MOST_NEURONS, MOST_INPUTS, MOST_STEPS = 10**9, 10**6, 10**9


@dataclass(frozen=True, eq=False)
class _HalfMeanSquare:
    """risk(f) = ½ mean (f − y)²."""

    y: Array  # (n,)

    def risk(self, f: Array) -> float:
        return float(np.mean((f - self.y) ** 2) / 2)

    def slope(self, f: Array) -> Array:
        return (f - self.y) / len(self.y)


class MeanFieldTwoLayerNN:
    """m neurons of equal weight 1/m, the square loss, and gradient descent.

    The scaling is that of the mean-field limit: as m grows at fixed times, the neurons' law tends
    to the solution of ∂_t ρ = ∇·(ρ∇V_ρ) (Chizat & Bach 2018, Theorem 2.6).

    Args:
        n_particles: the number m of neurons.
        input_dim: the number d of inputs.
        activation: σ, by name: relu, tanh, sigmoid, identity, erf, softplus, cos or quadratic.
        seed: of the start, in which all a and w are independent standard normals.

    Attributes:
        a: (m,) output weights.
        w: (m, d) input weights. Both may be set.

    Raises:
        InvalidInput: for sizes below 1 or another activation.
    """

    def __init__(
        self,
        n_particles: int,
        input_dim: int,
        activation: str = "relu",
        seed: int | None = None,
    ) -> None:
        sizes = reprlib.repr(n_particles), reprlib.repr(input_dim)
        if not (whole(n_particles, 1, MOST_NEURONS) and whole(input_dim, 1, MOST_INPUTS)):
            raise InvalidInput(
                f"a network of {sizes[0]} neurons with {sizes[1]} inputs",
                f"whole numbers of at least one each, up to {MOST_NEURONS} and {MOST_INPUTS}",
            )
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise InvalidInput(f"activation={activation!r}", f"there are {sorted(ACTIVATIONS)}")
        self.activation = activation
        rng = generator(seed)
        self.a: Array = rng.standard_normal(int(n_particles))
        self.w: Array = rng.standard_normal((int(n_particles), int(input_dim)))

    def forward(self, X: ArrayLike) -> Array:
        """Predictions (n,) at inputs X (n, d)."""
        sigma = ACTIVATIONS[self.activation].value
        return self.a @ sigma(self.w @ self._inputs(X).T) / len(self.a)

    def compute_gradients(self, X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Gradients of ½ mean (f(X) − y)² in a, (m,), and in w, (m, d).

        They hold the network's factor 1/m. X is (n, d) and y (n,).
        """
        gradient = self._respond(self._force(X, y)).gradient / len(self.a)
        return gradient[:, 0], gradient[:, 1:]

    def train_gradient_descent(self, X: ArrayLike, y: ArrayLike, lr: float, n_steps: int) -> Array:
        """Take ``n_steps`` steps of full-batch gradient descent; return the losses.

        ``lr`` is the PDE time of one step: the update is −lr·m·gradient, so that after k steps
        networks of every size m are at time k·lr of the same flow.

        Args:
            X: (n, d) inputs.
            y: (n,) targets.
            lr: the step in PDE time, > 0.
            n_steps: how many steps, ≥ 0.

        Returns:
            (n_steps,) losses ½ mean (f − y)²; the k-th is the one before step k, at time k·lr.

        Raises:
            InvalidInput: for shapes that do not fit, or lr ≤ 0.
            NumericalStop: when the loss is no longer finite; ``last`` holds the losses before, and
                the network stays at its last finite loss.
        """
        if not (0 < number(lr) < np.inf and whole(n_steps, 0, MOST_STEPS)):
            given = f"lr={reprlib.repr(lr)}, n_steps={reprlib.repr(n_steps)}"
            raise InvalidInput(
                given, f"steps have a PDE time > 0 each, and there are 0 to {MOST_STEPS}"
            )
        n_steps = int(n_steps)
        force, losses = self._force(X, y), np.empty(n_steps)
        start = self.a, self.w
        for k in range(n_steps):
            with np.errstate(over="ignore", invalid="ignore"):  # looked for on the next line
                response = self._respond(force)
            if not np.isfinite(response.risk):
                raise self._stop(start, losses[:k], lr)
            losses[k], start = response.risk, (self.a, self.w)
            self.a = self.a - lr * response.gradient[:, 0]
            self.w = self.w - lr * response.gradient[:, 1:]
        return losses

    def _stop(self, last: tuple[Array, Array], losses: Array, lr: float) -> NumericalStop:
        self.a, self.w = last
        stop = NumericalStop(
            f"the loss is not finite after {len(losses)} steps of lr = {lr:g}",
            "the step is too long for this loss",
            f"try lr={lr / 10:g}; a step is a PDE time and does not grow with the width",
        )
        stop.last = losses
        return stop

    def _force(self, X: ArrayLike, y: ArrayLike) -> RiskForce:
        inputs, targets = self._inputs(X), numbers("y", y)
        if targets.shape != (len(inputs),):
            raise InvalidInput(f"y has shape {targets.shape}", f"X has {len(inputs)} rows")
        if not np.isfinite(targets).all():
            raise InvalidInput("y holds values that are not finite", "", "remove those samples")
        psi, width = layer(inputs, ACTIVATIONS[self.activation])
        return feature_force(psi, width, _HalfMeanSquare(targets), lifted=True)

    def _respond(self, force: RiskForce) -> Response:
        m = len(self.a)
        return force(np.column_stack([self.a, self.w]), np.full(m, 1 / m))

    def _inputs(self, X: ArrayLike) -> Array:
        inputs = numbers("X", X)
        if inputs.ndim != 2 or inputs.shape[1] != self.w.shape[1] or len(inputs) == 0:
            raise InvalidInput(
                f"X has shape {inputs.shape}",
                f"the network takes inputs of shape (n, {self.w.shape[1]})",
            )
        if not np.isfinite(inputs).all():
            raise InvalidInput("X holds values that are not finite", "", "remove those samples")
        return inputs
