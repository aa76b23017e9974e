"""Upwind and muscl steps once more, written cell by cell from the formulas: slow and plain.

Nothing here knows of tiles, views, ghosts or compiled loops. Faces are pairs of cells; what a face
carries leaves one cell and enters the other.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mfpde.flows import WassersteinFlow
from mfpde.grids import Axis
from mfpde.problems.problem import Array

Escaped = dict[str, tuple[float, float]]


def change(rho: Array, x: Array, widths: Array, k: int, limiter: str, around: float) -> float:
    """Limited change of ρ across cell k of a line; ``around`` is a circle's length, else 0."""
    N = len(rho)
    if limiter == "none" or (around == 0 and k in (0, N - 1)):
        return 0.0
    low, high = (k - 1) % N, (k + 1) % N
    left, right = rho[k] - rho[low], rho[high] - rho[k]
    if left * right <= 0:
        return 0.0
    sign, p, q = np.sign(left), abs(left), abs(right)
    if limiter == "minmod":
        return sign * min(p, q)
    if limiter == "vanleer":
        return sign * 2 * p * q / (p + q)
    span = x[high] - x[low] if 0 < k < N - 1 else x[high] - x[low] + around
    centred = abs(rho[high] - rho[low]) / span * widths[k]
    return sign * min(2 * p, 2 * q, centred)


def line_rate(
    rho: Array, V: Array, axis: Axis, wall: str, limiter: str
) -> tuple[Array, float, float, Array]:
    """−∂_x(ρu) on one line, the fluxes out of its lower and upper wall, every cell's emptying."""
    x, widths, N = axis.centres, np.diff(axis.edges), axis.cells
    around = axis.high - axis.low if wall == "periodic" else 0.0
    s = [change(rho, x, widths, k, limiter, around) for k in range(N)]
    pairs = [(k, k + 1, x[k + 1] - x[k]) for k in range(N - 1)]
    if wall == "periodic":
        pairs.append((N - 1, 0, x[0] - x[-1] + around))
    rate, emptying, out = np.zeros(N), np.zeros(N), [0.0, 0.0]
    for k, m, distance in pairs:
        u = (V[k] - V[m]) / distance
        flux = u * (rho[k] + s[k] / 2) if u > 0 else u * (rho[m] - s[m] / 2)
        rate[k] -= flux / widths[k]
        rate[m] += flux / widths[m]
        emptying[k if u > 0 else m] += abs(u) / widths[k if u > 0 else m]
    if wall == "open":
        for end, k, inside in ((0, 0, 1), (1, N - 1, N - 2)):
            u = (V[inside] - V[k]) / abs(x[inside] - x[k])  # outwards
            if u > 0:
                out[end] = u * rho[k]
                rate[k] -= out[end] / widths[k]
                emptying[k] += u / widths[k]
    return rate, out[0], out[1], emptying


def lines(shape: tuple[int, ...], k: int) -> Iterator[tuple[int | slice, ...]]:
    """An index for every line along axis k."""
    whole = [slice(None)]
    yield from itertools.product(*[range(n) if j != k else whole for j, n in enumerate(shape)])


@dataclass
class Rates:
    """Rate of change, mass that leaves per time by coordinate, and emptying rate of every cell."""

    change: Array
    leaving: Escaped
    emptying: Array


def rates(flow: WassersteinFlow, rho: Array, V: Array, limiter: str) -> Rates:
    """All axes together."""
    total, emptying, leaving = np.zeros(rho.shape), np.zeros(rho.shape), {}
    for k, (name, axis) in enumerate(flow.grid.axes.items()):
        low = high = 0.0
        for index in lines(rho.shape, k):
            rate, below, above, empties = line_rate(
                rho[index], V[index], axis, flow.walls[name], limiter
            )
            total[index] += rate
            emptying[index] += empties
            every = zip(flow.grid.axes.values(), index, strict=True)
            area = np.prod([other.widths[i] for other, i in every if other is not axis])
            low, high = low + below * area, high + above * area
        leaving[name] = (low, high)
    return Rates(total, leaving, emptying)


def euler(
    flow: WassersteinFlow, rho: Array, V: Array, dt: float, limiter: str
) -> tuple[Array, Escaped]:
    """ρ − dt ∇·(ρu), and the mass that left."""
    r = rates(flow, rho, V, limiter)
    return rho + dt * r.change, {c: (dt * p, dt * q) for c, (p, q) in r.leaving.items()}


def potential(flow: WassersteinFlow, rho: Array) -> Array:
    """V = Φ·slope + reg with the full features of every cell."""
    problem, points = flow.problem, flow.grid.points()
    phi = problem.phi(points[:, problem.lifted :])
    if problem.lifted:
        phi = points[:, :1] * phi
    masses = np.array([rho[c] * flow.volumes[c] for c in np.ndindex(rho.shape)])
    slope = problem.weights * problem.loss.loss.slope(masses @ phi, problem.y)
    return (phi @ slope + problem.penalty.value(points)).reshape(rho.shape)


def heun(flow: WassersteinFlow, rho: Array, dt: float, limiter: str) -> tuple[Array, Escaped]:
    """½ρ + ½E(E(ρ)), E a forward Euler step at its own potential."""
    first, left = euler(flow, rho, potential(flow, rho), dt, limiter)
    second, then = euler(flow, first, potential(flow, first), dt, limiter)
    mean = {c: tuple((p + q) / 2 for p, q in zip(left[c], then[c], strict=True)) for c in left}
    return (rho + second) / 2, mean


def dissipation(flow: WassersteinFlow, rho: Array, V: Array) -> float:
    """Σ_faces |face| (V_L − V_K)² ρ_up/d between cells; what leaves does its work outside."""
    total = 0.0
    for k, (name, axis) in enumerate(flow.grid.axes.items()):
        x, N = axis.centres, axis.cells
        pairs = [(j, j + 1, x[j + 1] - x[j]) for j in range(N - 1)]
        if flow.walls[name] == "periodic":
            pairs.append((N - 1, 0, x[0] - x[-1] + axis.high - axis.low))
        for index in lines(rho.shape, k):
            areas = flow.volumes[index] / np.diff(axis.edges)
            for j, m, distance in pairs:
                up = rho[index][j] if V[index][j] > V[index][m] else rho[index][m]
                total += areas[j] * (V[index][m] - V[index][j]) ** 2 * up / distance
    return float(total)


def tangent_kernel(flow: WassersteinFlow, rho: Array, V: Array) -> Array:
    """M_ij = Σ_faces area ρ_up/d ΔΦ_i ΔΦ_j of an upwind step, faces at open walls left out."""
    phi = flow.problem.phi(flow.grid.points()).reshape(*rho.shape, -1)
    M = np.zeros((phi.shape[-1],) * 2)
    for k, (name, axis) in enumerate(flow.grid.axes.items()):
        x, N = axis.centres, axis.cells
        pairs = [(j, j + 1, x[j + 1] - x[j]) for j in range(N - 1)]
        if flow.walls[name] == "periodic":
            pairs.append((N - 1, 0, x[0] - x[-1] + axis.high - axis.low))
        for index in lines(rho.shape, k):
            masses = (rho * flow.volumes)[index] / np.diff(axis.edges)
            for j, m, distance in pairs:
                up = j if V[index][j] > V[index][m] else m
                change = phi[index][m] - phi[index][j]
                M += masses[up] / distance * np.outer(change, change)
    return M
