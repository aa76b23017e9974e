"""Promises as functions: each fails where an object breaks its word.

The tables beside this file hold every member of a family to them; tests/faults hands the same
functions a planted error and asserts that they fail.
"""

from collections.abc import Callable

import numpy as np
from numpy.testing import assert_allclose

from mfpde.flows import Field, WassersteinFlow
from mfpde.methods.step import Method, Step, Stepper
from mfpde.problems.laws import Law
from mfpde.problems.losses import BoundLoss
from mfpde.problems.problem import Array

STEP = 2e-3  # of the differences: truncation h⁴/30 and round-off 1e-16/h are both near 1e-13


def differences(value: Callable[[Array], Array], points: Array, step: float = STEP) -> Array:
    """Fourth-order central differences of ``value`` (N, k) -> (N, …), all k columns, last axis."""

    def along(k: int) -> Array:
        h = np.zeros(points.shape[1])
        h[k] = step
        near, far = (value(points + m * h) - value(points - m * h) for m in (1, 2))
        return (8 * near - far) / (12 * step)

    return np.stack([along(k) for k in range(points.shape[1])], axis=-1)


def gradient_is_derivative(
    value: Callable[[Array], Array],
    gradient: Callable[[Array], Array],
    points: Array,
    step: float = STEP,
) -> None:
    """``gradient`` (N, k) -> (N, …, k) is the derivative of ``value`` (N, k) -> (N, …)."""
    assert_allclose(gradient(points), differences(value, points, step), rtol=1e-8, atol=1e-9)


def slope_is_derivative_of_risk(loss: BoundLoss, f: Array) -> None:
    """∂risk/∂f_i = slope_i, and slope_i = p_i · residual_i."""

    def risk(rows: Array) -> Array:
        return np.array([loss.risk(row) for row in rows])

    assert_allclose(loss.slope(f), differences(risk, f[None])[0], rtol=1e-8, atol=1e-10)
    assert_allclose(loss.slope(f), loss.weights * loss.residual(f), rtol=1e-15)


def sampler_draws_from_density(law: Law, per_axis: int = 150) -> None:
    """Means of cos(k·θ + 0.3) over images of a lattice of the cube agree with ∫ … exp(log ρ).

    The lattice's own error is below 1/(2·per_axis) of a tail's share; a spread off by 5 % is seen.
    """
    low, high = law.reach(1e-9)
    ticks = (np.arange(per_axis) + 0.5) / per_axis
    cube = np.stack(np.meshgrid(*[ticks] * len(low), indexing="ij"), -1).reshape(-1, len(low))
    drawn, box = law.from_uniform(cube), low + (high - low) * cube
    rho = np.exp(law.log_density(box)) * np.prod((high - low) / per_axis)
    for k in (np.ones(len(low)), np.arange(len(low)) - 1.5):
        assert_allclose(
            np.cos(drawn @ k + 0.3).mean(), rho @ np.cos(box @ k + 0.3), atol=0.7 / per_axis
        )


def potential_is_derivative_of_energy(flow: WassersteinFlow, rho: Array, cells: Array) -> None:
    """V_K = ∂(energy)/∂m_K at the flat indices ``cells``, by differences of the energy."""
    potential = flow.field(rho).potential.ravel()

    def energy(masses: Array) -> Array:
        def moved(cell: int, mass: float) -> float:
            changed = rho.copy().ravel()
            changed[cell] += mass / flow.volumes.ravel()[cell]
            return flow.field(changed.reshape(rho.shape)).energy

        return np.array([moved(cell, mass) for cell, mass in zip(cells, masses[:, 0], strict=True)])

    slopes = differences(energy, np.zeros((len(cells), 1)), step=1e-5)[:, 0]
    scale = np.abs(potential).max()
    assert_allclose(potential[cells], slopes, rtol=1e-6, atol=1e-9 * max(scale, 1.0))


def taken(stepper: Stepper, rho: Array, field: Field, dt: float) -> Step:
    """A step of length dt, halved while the method refuses it, as the loop does."""
    for halvings in range(13):
        step = stepper.step(rho, field, dt * 0.5**halvings)
        if step.error <= 1:
            return step
    raise AssertionError(f"refused down to dt = {dt * 0.5**12}")


def step_balances_energy(flow: WassersteinFlow, method: Method, rho: Array) -> None:
    """E(ρ') − E(ρ) + carried + dissipated = 0 to 1e-13 of the energy: promise "exact"."""
    stepper, field = method.begin(flow), flow.field(rho)
    step = taken(stepper, rho, field, min(stepper.longest(rho, field), 1.0))
    change = flow.field(step.rho).energy - field.energy
    assert abs(change + step.carried + step.dissipated) <= 1e-13 * max(1.0, abs(field.energy))
    assert abs(change) > 1e-6, "nothing moved: the balance was not put to the test"


def step_keeps_mass_and_sign(flow: WassersteinFlow, method: Method, rho: Array) -> None:
    """At the method's own longest step: Σ ρ|K| + escaped stays, and no cell falls below zero."""
    stepper, field = method.begin(flow), flow.field(rho)
    step = taken(stepper, rho, field, min(stepper.longest(rho, field), 1.0))
    escaped = sum(low + high for low, high in step.escaped.values())
    assert abs(flow.mass(step.rho) + escaped - flow.mass(rho)) <= 1e-13
    assert step.rho.min() >= 0
    for name, pair in step.escaped.items():
        assert min(pair) >= 0
        assert flow.walls[name] == "open" or pair == (0.0, 0.0)


def energy_change_of_upwind(
    flow: WassersteinFlow, features: Array, rho: Array, field: Field, dt: float
) -> tuple[float, float]:
    """−dt·D and ½dt² Σ p_i (Φ̇_i)² of one upwind step, summed face by face; for the square loss.

    ``features`` (cells, n) are Φ at the cell centres. Mass that crosses an open wall takes its
    features along.
    """
    shape, V = flow.grid.shape, field.potential
    phi = features.reshape(*shape, -1)
    dissipated, rate = 0.0, np.zeros(phi.shape[-1])
    for k, (name, axis) in enumerate(flow.grid.axes.items()):
        x, N, wall = axis.centres, axis.cells, flow.walls[name]
        for cell in np.ndindex(shape):
            for end in (-1, 1):
                if 0 <= cell[k] + end < N:
                    beside = (*cell[:k], cell[k] + end, *cell[k + 1 :])
                    distance, through = abs(x[cell[k] + end] - x[cell[k]]), phi[beside]
                    drop = V[cell] - V[beside]
                elif wall == "periodic":
                    beside = (*cell[:k], (cell[k] + end) % N, *cell[k + 1 :])
                    distance, through = axis.high - axis.low - (x[-1] - x[0]), phi[beside]
                    drop = V[cell] - V[beside]
                elif wall == "open":
                    inside = (*cell[:k], cell[k] - end, *cell[k + 1 :])
                    distance, through = abs(x[cell[k] - end] - x[cell[k]]), 0.0 * phi[cell]
                    drop = V[inside] - V[cell]
                else:
                    continue
                if drop > 0:  # the cell empties through this face
                    flux = rho[cell] * flow.volumes[cell] / axis.widths[cell[k]] * drop / distance
                    dissipated += flux * (drop if through.any() else V[cell])
                    rate += flux * (through - phi[cell])
    return -dt * dissipated, 0.5 * dt**2 * float(flow.problem.weights @ rate**2)


def upwind_changes_energy_as_stated(
    flow: WassersteinFlow, features: Array, method: Method, rho: Array
) -> None:
    """R(ρ') − R(ρ) = −dt·D_up + ½dt² Σ p_i (Φ̇_i)² to round-off: the identity of upwind.py."""
    stepper, field = method.begin(flow), flow.field(rho)
    dt = min(stepper.longest(rho, field), 1.0)
    change = flow.field(stepper.step(rho, field, dt).rho).energy - field.energy
    first, second = energy_change_of_upwind(flow, features, rho, field, dt)
    assert_allclose(change, first + second, rtol=1e-9, atol=1e-13 * max(1.0, abs(field.energy)))
    assert abs(first) > 1e-6, "nothing moved: the identity was not put to the test"
