"""A certified infimum of the potential V(θ) = Σ_i r_i Φ_i(θ) + reg(θ) over a box.

Branch and bound over the weights v of Φ(a, v) = a ψ(v): on a cell, g(v) = Σ_i r_i ψ_i(v) is its
Taylor expansion at the centre up to a bounded remainder, and the least value over a is closed form.
Near a smooth minimum the bounds are of third order, so few cells are left at every scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from mfpde.optimality.expansions import Ridges, ridges_of
from mfpde.problems.penalties import Penalty, Shrinkage, no_penalty
from mfpde.problems.problem import Array, Problem

BLOCK = 2**20  # features evaluated at once
MOST_CELLS = 2**20  # looked at in all
SWEEPS = 12  # of projected gradients, to flatten V across its kinks
TINY = 1e-280
DAMPED = 1e-10  # of the largest: what directions along kinks are held by
ROUND_OFF = np.finfo(float).eps


@dataclass(frozen=True)
class Infimum:
    """Where V is least on a box, and what it cannot be below.

    Attributes:
        lower: a rigorous lower bound of V over the box, round-off included; -inf where there is
            none.
        value: V(at), an upper bound of the infimum.
        at: (D,) the best point found.
        reason: why ``lower`` is not within the tolerance of ``value``; empty where it is.
    """

    lower: float
    value: float
    at: Array
    reason: str = ""


def infimum(
    problem: Problem, slope: Array, low: Array, high: Array, tolerance: float = 1e-12
) -> Infimum:
    """The infimum of V = Σ_i r_i Φ_i + reg over the box ``low`` <= θ <= ``high``.

    Args:
        problem: a two-layer network with a named or piecewise linear activation, or spikes, with a
            penalty made of ridge and total_variation; others have no known bounds.
        slope: r (n,), the risk's slope ``problem.loss.slope(f)``, weights p_i included.
        low, high: (D,) ends of the box in the order of ``problem.coords``. The output weight's may
            be infinite; V is then bounded below where the penalty makes it so.
        tolerance: value − lower that is aimed at, in units of V, beside round-off.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    ridges = ridges_of(problem)
    shrinkage = quadratic_part(problem.penalty)
    inner = slice(int(problem.lifted), None)
    reason = ""
    if ridges is None:
        reason = f"the derivatives of {problem.activation or 'these features'} have no known bounds"
    elif shrinkage is None:
        reason = f"the penalty {problem.penalty} has no known bounds"
    elif not (np.isfinite(low[inner]).all() and np.isfinite(high[inner]).all()):
        reason = "the box of the weights has no end"
    if ridges is None or shrinkage is None or reason:
        at = np.clip(np.zeros(len(low)), low, high)
        return Infimum(-np.inf, value_at(problem, slope, at), at, reason)
    V = Potential(problem.lifted, ridges, shrinkage, slope, low, high)
    lower, at, reason = branch_and_bound(V, low[inner], high[inner], tolerance)
    return Infimum(lower, value_at(problem, slope, at), at, reason)


def value_at(problem: Problem, slope: Array, at: Array) -> float:
    """V(θ) at one point (D,); -inf where that lies at infinity."""
    if not np.isfinite(at).all():
        return -np.inf
    point = at[None]
    g = float(problem.phi(point[:, int(problem.lifted) :])[0] @ slope)
    return (float(at[0]) * g if problem.lifted else g) + float(problem.penalty.value(point)[0])


def quadratic_part(penalty: Penalty) -> Shrinkage | None:
    """The strengths of a sum of ridges and total variations; None for other penalties."""
    if penalty == no_penalty:
        return Shrinkage()
    return penalty.prox if isinstance(penalty.prox, Shrinkage) else None


@dataclass(frozen=True)
class Bounds:
    """What is known of V on some cells of v, for the best a.

    Attributes:
        lower: a bound from below on each cell, (N,).
        value: V at the centres, (N,).
        a: the output weight that is best at the centres, (N,).
        slack: the part of value − lower that is round-off, and does not shrink with the cell.
        corner: the corner at which the expansion is least, (N, k).
        crease: the point nearest to the convex kinks within reach, (N, k); else the centre.
    """

    lower: Array
    value: Array
    a: Array
    slack: Array
    corner: Array
    crease: Array


@dataclass(frozen=True)
class Local:
    """g(c + t·half) = g + dg·t + ½ tᵀHt on |t_k| <= 1 at the centres c of cells, up to ``rest``.

    Attributes:
        g: (N,).
        dg: (N, k).
        hessian: (N, k, k).
        rest: (N,).
    """

    g: Array
    dg: Array
    hessian: Array
    rest: Array


class Potential:
    """V(a, v) = a g(v) + μ_a a²/2 + s|a| + Σ_k μ_k v_k²/2, on boxes of v for a in an interval.

    Without output weights a = 1.
    """

    def __init__(
        self,
        lifted: bool,
        ridges: Ridges,
        shrinkage: Shrinkage,
        slope: Array,
        low: Array,
        high: Array,
    ) -> None:
        self.series, self.r, self.x, self.b = (
            ridges.series,
            slope,
            ridges.directions,
            ridges.offsets,
        )
        mu = np.broadcast_to(np.asarray(shrinkage.mu, dtype=float), len(low))
        if lifted:
            self.a, self.mu_a, self.mu, self.s = (low[0], high[0]), mu[0], mu[1:], shrinkage.s
        else:
            self.a, self.mu_a, self.mu, self.s = (1.0, 1.0), 0.0, mu, 0.0
        self.lifted = lifted
        n, k = self.x.shape
        self.squares = (self.x[:, :, None] * self.x[:, None, :]).reshape(n, k * k)
        self.round_off = (n + k + 16) * ROUND_OFF

    def bounds(self, centre: Array, half: Array) -> Bounds:
        """Bounds on the boxes centre ± half, (N, k) each."""
        k = centre.shape[1]
        z = centre @ self.x.T + self.b
        size = np.abs(centre) @ np.abs(self.x).T + np.abs(self.b)
        reach = half @ np.abs(self.x).T
        value, rate = self.series.activation.value(z), self.series.slope(z)
        curvature = self.series.curvature(z)
        g, dg = value @ self.r, (rate * self.r) @ self.x * half
        hessian = ((curvature * self.r) @ self.squares).reshape(-1, k, k)
        hessian *= half[:, :, None] * half[:, None, :]
        sizes = np.abs(value) + np.abs(rate) * (size + reach) + np.abs(curvature) * reach**2
        noise = self.round_off * (sizes @ np.abs(self.r))
        rest = self.series.remainder(reach) @ np.abs(self.r) + noise
        ridge, pull = np.square(centre) @ self.mu / 2, self.mu * centre * half
        lower = np.full(len(g), np.inf)
        corner, crease = np.zeros(centre.shape), np.zeros(centre.shape)
        for sign in (1, -1):
            local, fold = self.kinked(Local(g, dg, hessian, rest), sign, z, reach, half, pull)
            linear, where = self.by_corners(local, sign, pull)
            found = np.maximum(linear, self.by_curvature(local, sign, pull, half))
            corner = np.where((linear < lower)[:, None], where, corner)
            crease = np.where((found < lower)[:, None], fold, crease)
            lower = np.minimum(lower, found)
        here, a = self.least(g)
        slack = self.round_off * (ridge + np.abs(pull).sum(axis=1) + np.abs(here))
        slack += np.abs(a) * noise
        lower = ridge + lower - slack
        places = centre + corner * half, centre + crease * half
        return Bounds(lower, ridge + here, a, 2 * slack, *places)

    def by_corners(self, local: Local, sign: int, pull: Array) -> tuple[Array, Array]:
        """V − reg(v) at least, for a of one sign, and the corner where, (N,) and (N, k).

        The least value over a is concave in g and the penalty of v above its tangent: but for the
        second derivatives of g, the minimum lies at a corner.
        """
        doubt = local.rest + sag(sign * local.hessian)
        lower, where = np.full(len(local.g), np.inf), np.zeros_like(local.dg)
        for corner in product((-1.0, 1.0), repeat=where.shape[1]):
            g = local.g + local.dg @ corner - sign * doubt
            there = pull @ corner + self.side(g, sign)[0]
            where = np.where((there < lower)[:, None], corner, where)
            lower = np.minimum(lower, there)
        return lower, where

    def by_curvature(self, local: Local, sign: int, pull: Array, half: Array) -> Array:
        """The same where μ_a > 0, as if a were free: −(g ± s)²/(2μ_a) + reg(v), to third order.

        The curvature of the penalty counts here; in the valleys of homogeneous activations it
        balances that of g, and wide cells are settled.
        """
        if self.mu_a == 0:
            return np.full(len(local.g), -np.inf)
        k, g = pull.shape[1], local.g + sign * self.s
        a = -g / self.mu_a
        bend = a[:, None, None] * local.hessian
        bend -= local.dg[:, :, None] * local.dg[:, None, :] / self.mu_a
        bend[:, np.arange(k), np.arange(k)] += self.mu * half**2
        d, e = np.abs(local.dg).sum(axis=1), np.abs(local.hessian).sum(axis=(1, 2)) / 2
        third = d * e + e**2 / 2 + local.rest * (np.abs(g) + d + e + local.rest / 2)
        least = least_in_box(pull + a[:, None] * local.dg, bend)
        noise = self.round_off * np.abs(bend).sum(axis=(1, 2))
        return a * g / 2 + least - third / self.mu_a - noise

    def kinked(
        self, smooth: Local, sign: int, z: Array, reach: Array, half: Array, pull: Array
    ) -> tuple[Local, Array]:
        """The same with the kinks within reach, for a of one sign, and the t (N, k) nearest them.

        Where a r_i jump > 0, a kink is convex and lies above jump·θ (z − kink) for each θ in
        [0, 1]; the θ are chosen to flatten V, which makes bounds at a minimum in kinks second
        order. Other kinks lie below their tangents by at most |jump| (reach − |z − kink|).
        """
        m = len(self.series.jumps)
        if m == 0:
            return smooth, np.zeros_like(pull)
        beyond = (z[:, :, None] - self.series.kinks).reshape(len(z), -1)
        jump = np.multiply.outer(self.r, self.series.jumps).ravel()
        x, over = np.repeat(self.x, m, axis=0), np.repeat(reach, m, axis=1) - np.abs(beyond)
        within = over >= 0
        convex, concave = (within & (side * jump > 0) for side in (sign, -sign))
        active, tangent = np.where(convex, jump, 0.0), (beyond > 0).astype(float)
        t = self.into_kinks(active, beyond, x, half)
        straight = smooth.dg - (active * tangent) @ x * half
        g = smooth.g - (active * tangent * beyond).sum(axis=1) + (straight * t).sum(axis=1)
        _, a = self.side(g, sign)
        a = np.where(np.isfinite(a), a, sign)[:, None]
        steepest = np.square(active) * (np.square(half) @ np.square(x).T)
        steepest = np.square(a) * steepest.sum(axis=1, keepdims=True)
        step = np.divide(1.0, steepest, out=np.zeros_like(steepest), where=steepest > TINY)
        pull, theta = pull + self.mu * half**2 * t, tangent
        for _ in range(SWEEPS):
            tilt = pull + a * (straight + (active * theta) @ x * half)
            theta = np.clip(theta - step * a * active * ((tilt * half) @ x.T), 0.0, 1.0)
        turned = active * (theta - tangent)
        local = Local(
            smooth.g + (turned * beyond).sum(axis=1),
            smooth.dg + turned @ x * half,
            smooth.hessian,
            smooth.rest + (concave * over) @ np.abs(jump),
        )
        return local, t

    def into_kinks(self, active: Array, beyond: Array, x: Array, half: Array) -> Array:
        """The t (N, k), |t_k| <= 1, nearest to the kinks that count: Σ (jump (z − kink))² least."""
        weights, k = np.square(active), half.shape[1]
        squares = (x[:, :, None] * x[:, None, :]).reshape(len(x), k * k)
        gram = (weights @ squares).reshape(-1, k, k) * half[:, :, None] * half[:, None, :]
        trace = np.trace(gram, axis1=1, axis2=2)
        gram += (DAMPED * trace + (trace <= TINY))[:, None, None] * np.eye(k)
        t = np.linalg.solve(gram, -((weights * beyond) @ x * half)[:, :, None])[:, :, 0]
        return np.clip(t, -1.0, 1.0)

    def side(self, g: Array, sign: int) -> tuple[Array, Array]:
        """min of a g + μ_a a²/2 + s|a| over the a of one sign, with its place; inf without any."""
        low, high = self.a
        lo, hi = (max(low, 0.0), high) if sign > 0 else (low, min(high, 0.0))
        if lo > hi:
            return np.full(g.shape, np.inf), np.zeros(g.shape)
        g = g + sign * self.s
        if self.mu_a > 0:
            a = np.clip(-g / self.mu_a, lo, hi)
            return a * g + self.mu_a * a**2 / 2, a
        a = np.where(g < 0, hi, lo)
        return np.multiply(a, g, out=np.zeros_like(g), where=g != 0), a

    def least(self, g: Array) -> tuple[Array, Array]:
        """min over a of a g + μ_a a²/2 + s|a|, with its place."""
        (plus, there), (minus, elsewhere) = self.side(g, 1), self.side(g, -1)
        return np.minimum(plus, minus), np.where(plus <= minus, there, elsewhere)

    def point(self, a: float, v: Array) -> Array:
        """The neuron (D,)."""
        return np.concatenate([[a], v]) if self.lifted else v


def sag(hessian: Array) -> Array:
    """−min over |t_k| <= 1 of ½ tᵀHt, at most (Gershgorin), (N, k, k) -> (N,)."""
    own = np.einsum("pkk->pk", hessian)
    others = np.abs(hessian).sum(axis=2) - np.abs(own)
    return 0.5 * np.maximum(others - own, 0.0).sum(axis=1)


def least_in_box(tilt: Array, bend: Array) -> Array:
    """min over |t_k| <= 1 of tilt·t + ½ tᵀ bend t, from below, (N, k), (N, k, k) -> (N,).

    Each eigenvector of ``bend`` on its own; exact for k = 1.
    """
    curvature, axes = np.linalg.eigh(bend)
    reach = np.abs(axes).sum(axis=1)
    slope = np.abs(np.einsum("pkj,pk->pj", axes, tilt))
    inside = slope < curvature * reach
    t = np.where(inside, np.divide(slope, curvature, out=slope * 0, where=inside), reach)
    return (curvature * t**2 / 2 - slope * t).sum(axis=1)


def branch_and_bound(
    V: Potential, low: Array, high: Array, tolerance: float
) -> tuple[float, Array, str]:
    """A lower bound of V for v in the box, the best neuron, and what kept them apart, if any.

    Cells that cannot hold a value more than the tolerance below the best one are settled; the
    others are halved along every axis.
    """
    k = len(low)
    corners = np.array(list(product((-0.5, 0.5), repeat=k)))
    centre, half = 0.5 * (low + high)[None], 0.5 * (high - low)[None]
    best, at, settled, looked = np.inf, V.point(V.a[0], low), np.inf, 0
    while len(centre):
        found = in_blocks(V, centre, half)
        lowest = np.argmin(found.lower)
        tried = np.stack(
            [centre[np.argmin(found.value)], found.corner[lowest], found.crease[lowest]]
        )
        seen = V.bounds(tried, np.zeros_like(tried))
        first = int(np.argmin(seen.value))
        if seen.value[first] < best:
            best, at = float(seen.value[first]), V.point(seen.a[first], tried[first])
        if best == -np.inf:
            return -np.inf, at, "V falls without end along the output weight"
        looked += len(centre)
        done = found.lower >= best - tolerance - found.slack
        settled = min(settled, float(found.lower[done].min(initial=np.inf)))
        open_cells = ~done
        if looked + open_cells.sum() * len(corners) > MOST_CELLS:
            lower = min(settled, float(found.lower[open_cells].min()))
            return lower, at, f"{looked} cells do not tell its minima apart"
        centre = centre[open_cells, None] + corners * half[open_cells, None]
        centre, half = centre.reshape(-1, k), np.repeat(half[open_cells], len(corners), axis=0) / 2
    return settled, at, ""


def in_blocks(V: Potential, centre: Array, half: Array) -> Bounds:
    """Bounds on many cells, BLOCK features at a time."""
    rows = max(1, BLOCK // len(V.r))
    parts = [
        V.bounds(centre[start : start + rows], half[start : start + rows])
        for start in range(0, len(centre), rows)
    ]
    return Bounds(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in Bounds.__annotations__
        )
    )
