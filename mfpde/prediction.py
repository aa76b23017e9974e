"""What a density or a flow says anywhere: the network's output, and the potential of a neuron."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mfpde.arguments import finite_array, numbers, shown
from mfpde.errors import InvalidInput
from mfpde.measures import as_measure, coordinates
from mfpde.problems.activations import Activation
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem, with_bias
from mfpde.problems.two_layer import ridge_functions

BLOCK = 2**22  # features evaluated at once


def predict(problem: Problem, snapshot: xr.Dataset, x: ArrayLike) -> Array:
    """f_ρ(x) = ∫ a σ(w·x [+ b]) dρ at new inputs, from one time of a run or flow.

    Args:
        problem: the two-layer network that was solved.
        snapshot: one time of its density run or particle flow, ``run.isel(time=-1)``.
        x: inputs (N_x,) or (N_x, d), in the units of ``problem.x``.

    Returns:
        (N_x,) predictions; at ``problem.x`` those of the run itself, to round-off.

    Raises:
        InvalidInput: for a problem that is no two-layer network, inputs of another dimension, or
            a snapshot without a measure.
    """
    activation = activation_of(problem)
    inputs = new_inputs(problem, x)
    psi = partial(ridge_functions, activation.value, with_bias(inputs, problem.bias))
    points, weights = as_measure(snapshot)
    check_neurons(problem, snapshot)
    charge = weights * points[:, 0] if problem.lifted else weights
    neurons = points[:, 1:] if problem.lifted else points
    f, rows = np.zeros(len(inputs)), max(1, BLOCK // len(inputs))
    for start in range(0, len(neurons), rows):
        part = slice(start, start + rows)
        f += charge[part] @ psi(neurons[part])
    return f


def potential(
    problem: Problem | KernelProblem, snapshot: xr.Dataset, points: ArrayLike | None = None
) -> xr.DataArray | Array:
    """V_ρ(θ) = ⟨risk', Φ(θ)⟩ + reg(θ), the first variation of the energy without its entropy.

    Neurons move with −∇V; for λ > 0 a density rests where it is e^(−V/λ)/Z.

    Args:
        problem: what was solved.
        snapshot: one time of its density run or particle flow, ``run.isel(time=-1)``.
        points: (N, D) neurons; by default the cell centres of a density run.

    Returns:
        (N,) values at ``points``, or over the coordinates of the run.

    Raises:
        InvalidInput: for points of another dimension, a snapshot without a measure or of another
            problem, and for a flow without ``points``.
    """
    if not isinstance(problem, Problem | KernelProblem):
        raise InvalidInput(f"problem = {shown(problem)} is not a problem", fix="mf.two_layer(x, y)")
    measure = as_measure(snapshot)
    check_neurons(problem, snapshot)
    if points is not None:
        return potential_at(problem, snapshot, measure, numbers("points", points))
    if "rho" not in snapshot:
        raise InvalidInput("a flow has no cells", "", "points=, where V is asked for")
    axes = [snapshot[c].values for c in problem.coords]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    values = potential_at(problem, snapshot, measure, cells)
    shape = tuple(len(axis) for axis in axes)
    return snapshot.rho.copy(data=values.reshape(shape)).rename("potential")


def potential_at(
    problem: Problem | KernelProblem,
    snapshot: xr.Dataset,
    measure: tuple[Array, Array],
    points: Array,
) -> Array:
    """V at points (N, D), a block at a time."""
    D = len(problem.coords)
    if points.ndim != 2 or points.shape[1] != D:
        raise InvalidInput(f"points have shape {points.shape}", f"neurons have {D} coordinates")
    values = np.empty(len(points))
    rows = max(1, BLOCK // max(1, len(problem.y), len(measure[1])))
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        if isinstance(problem, KernelProblem):
            risk = problem.K(part, measure[0]) @ measure[1] - problem.F(part)
        else:
            slope = problem.loss.slope(snapshot.prediction.values)
            features = problem.phi(part[:, int(problem.lifted) :]) @ slope
            risk = part[:, 0] * features if problem.lifted else features
        values[start : start + rows] = risk + problem.penalty.value(part)
    return values


def check_neurons(problem: Problem | KernelProblem, snapshot: xr.Dataset) -> None:
    """Raise InvalidInput unless the snapshot is one of the problem's neurons."""
    if coordinates(snapshot) != problem.coords:
        raise InvalidInput(
            f"the snapshot has coordinates {coordinates(snapshot)}",
            f"the neurons of {problem!r} have {problem.coords}",
            "a run of this problem",
        )


def activation_of(problem: Problem) -> Activation:
    """σ of a two-layer network, which knows its features at every input."""
    if not isinstance(problem, Problem) or problem.activation is None:
        raise InvalidInput(
            f"{shown(problem)} has no features at new inputs",
            "they are known where a neuron is a σ(w·x + b), and only at the samples otherwise",
            "pose the problem by mf.two_layer(…)",
        )
    return problem.activation


def new_inputs(problem: Problem, x: ArrayLike) -> Array:
    """``x`` as inputs (N_x, d) of the problem's network."""
    given, d = finite_array("x", x, (1, 2)), problem.inputs.shape[1]
    inputs = given[:, None] if given.ndim == 1 else given
    if inputs.shape[1] != d:
        raise InvalidInput(
            f"x has shape {given.shape}", f"the network takes {d} input(s)", f"x of shape (N, {d})"
        )
    return inputs
