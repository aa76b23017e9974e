"""The truth of a smooth problem: its prediction at all times, its density at any point.

1. Quadrature nodes of the initial law move as weighted particles; their prediction f(t) is kept as
   a Chebyshev series in time. The rule and its number of nodes are chosen, and the nodes multiplied
   until two predictions agree.
2. With f known, V is known at all times and points. Any point is followed back to time 0, and
   log ρ_t(u) = log ρ_0(u_0) + ∫₀ᵗ ΔV ds along its path (backward characteristics).

What a grid is to this density NuFI is to that of Vlasov-Poisson: Kirchhart & Wilhelm 2024 (SIAM
J. Sci. Comput. 46), with n numbers in place of a field.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from particle_ref.arguments import check_problem, number, numbers
from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput, NumericalStop
from particle_ref.force import Force
from particle_ref.history import History, predicted
from particle_ref.methods.characteristics import check_followed
from particle_ref.potential import Potential
from particle_ref.problem import Array, Problem
from particle_ref.quadrature import Nodes, Rule, rules, wrapped_log_density
from particle_ref.runge_kutta import FINEST_TOLERANCE, Mask, integrate
from particle_ref.spaces import Space

MOST_FEATURES = 2**22  # of all nodes at all samples: beyond it a truth takes many minutes
LIGHT_SHARE = 4  # times as many nodes a rule may have before those that weigh nothing are left out
FEWEST_NODES = 6  # per coordinate, in the first rule
MORE_NODES = 1.25  # times as many per coordinate in the next
FAR = 4  # times as far out as mass ever was, a path is followed no further
FEWEST_INSTANTS = 16  # of the first history
BLOCK_FEATURES = 2**16  # of the points that are followed together: they stay in the cache


class Truth:
    """What a problem's density and prediction are, up to a tolerance that is checked.

    Attributes:
        problem: whose flow it is.
        horizon: the last time it knows.
        tolerance: what was asked of the prediction, relative to max(1, |f|).
        reached: by how much, likewise, the predictions of the last two rules differ at most (the
            error of the finer one, which is kept, is well below), or the mass that the rule sees
            differs from 1, or steps in time may be off.
        rule: ``"gauss"`` or ``"tensor"``; see :mod:`particle_ref.quadrature`.
        cloud: the quadrature nodes at time 0.

    Densities are right to about the tolerance times what the flow makes of it, in relative terms;
    where the density is many orders of magnitude below its maximum, its own steepness enters too.

    Raises:
        InvalidInput: for λ > 0, walls, a kernel problem, features without second derivatives
            (ReLU), a penalty that is not quadratic, a law without quadrature rules.
        NumericalStop: when the tolerance is out of reach, saying how near it came.
    """

    def __init__(self, problem: Problem, horizon: float, tolerance: float = 1e-12) -> None:
        check_problem(problem)
        if not 0 < number(horizon) < np.inf:
            raise InvalidInput(f"horizon = {horizon!r}", "it is the last PDE time, finite and > 0")
        if not FINEST_TOLERANCE <= number(tolerance) < 1:
            raise InvalidInput(
                f"tolerance = {tolerance!r}", f"a tolerance lies between {FINEST_TOLERANCE} and 1"
            )
        if problem.entropy > 0:
            raise InvalidInput(
                f"there is no truth by characteristics at entropy λ = {problem.entropy:g}",
                "entropy diffuses, and nothing moves along paths alone",
                "set entropy=0",
            )
        self.problem, self.horizon, self.tolerance = problem, float(horizon), float(tolerance)
        self._potential = Potential(problem)
        self._space = Space(problem.coords, problem.domain)
        check_followed(self._space)
        self._force = Force(problem)
        self._step_tolerance = max(FINEST_TOLERANCE, tolerance / 100)
        with np.errstate(over="ignore", invalid="ignore"):  # every step is looked at
            self.rule, self.cloud, self._history, self.reached = self._settled()
        self._middle, self._half = self._where_mass_was()

    def __repr__(self) -> str:
        return (
            f"Truth of {self.problem!r} to t = {self.horizon:g}: {len(self.cloud)} {self.rule} "
            f"nodes, prediction within {self.reached:.1e}"
        )

    def prediction(self, t: float) -> Array:
        """f at the samples at time t, (n,)."""
        return self._history(self._within(t))

    def slope(self, t: float) -> Array:
        """p_i ℓ'(f_i, y_i) at time t, (n,): what makes the potential of all other points."""
        return self._potential.loss.slope(self.prediction(t))

    def density(self, points: ArrayLike, t: float) -> Array:
        """ρ_t at points (N, D), shape (N,); points on circles may be any representatives.

        It is 0 where paths come from far outside what ever held mass, such as from infinity.
        """
        return np.exp(self.log_density(points, t))

    def log_density(self, points: ArrayLike, t: float) -> Array:
        """log ρ_t at points (N, D), shape (N,); −inf outside the support.

        Raises:
            InvalidInput: for points of another dimension, values that are not finite, a time
                beyond the horizon, or a law that has no density.
            NumericalStop: where a path cannot be followed back.
        """
        t, given = self._within(t), numbers("points", points)
        D = len(self.problem.coords)
        if given.ndim != 2 or given.shape[1] != D or not np.isfinite(given).all():
            raise InvalidInput(
                f"the points have shape {given.shape}, or values that are not finite",
                f"a density is evaluated at finite points (N, {D}): "
                f"({', '.join(self.problem.coords)})",
            )
        start = wrapped_log_density(self.problem.initial, self._space)
        result = np.empty(len(given))
        rows = max(1, BLOCK_FEATURES // len(self.problem.y))
        for first in range(0, len(given), rows):
            block = slice(first, first + rows)
            origin, gain = self._followed_back(given[block], t)
            result[block] = start(origin) + gain
        return result

    def _followed_back(self, points: Array, t: float) -> tuple[Array, Array]:
        """Where the paths through points (N, D) at time t began, and ∫₀ᵗ ΔV ds along them."""

        def rate(s: float, state: Array) -> Array:
            position = self._space.wrap(state[:, :-1])
            gradient, laplacian = self._potential(position, self._history(s))
            return np.column_stack([-gradient, laplacian])

        end = np.column_stack([points, np.zeros(len(points))])
        if t == 0:
            return points, end[:, -1]
        with np.errstate(over="ignore", invalid="ignore"):
            (state,) = integrate(rate, end, [t, 0.0], self.tolerance, self._lost)
        return state[:, :-1], np.where(self._lost(state), -np.inf, -state[:, -1])

    def _lost(self, state: Array) -> Mask:
        """Which paths (N,) have left for where there never was mass, perhaps for infinity."""
        return np.any(np.abs(state[:, :-1] - self._middle) > FAR * self._half, axis=1)

    def _where_mass_was(self) -> tuple[Array, Array]:
        """Middle (D,) and half sides of a box that held all of the mass but the tolerance."""
        low, high = self.problem.initial.reach(self.tolerance / 100)
        low, high = np.minimum(low, self._history.low), np.maximum(high, self._history.high)
        half = (high - low) / 2
        half[list(self._space.length)] = np.inf
        return (low + high) / 2, half

    def _within(self, t: float) -> float:
        if not 0 <= number(t) <= self.horizon:
            raise InvalidInput(
                f"t = {t!r}",
                f"this truth is known from time 0 to its horizon {self.horizon:g}",
                f"pr.Truth(problem, horizon={t})",
            )
        return float(t)

    # How the prediction is found ------------------------------------------------------------------

    def _settled(self) -> tuple[str, Cloud, History, float]:
        """The rule, its nodes and history, and by how much the last two rules' histories differ."""
        name, rule, k = self._cheapest()
        gap, count, before = np.inf, FEWEST_INSTANTS, None
        while (nodes := self._nodes(rule, k)) is not None:
            position, weight = nodes
            mass = weight.sum()
            cloud = Cloud(position, weight / mass)
            history = predicted(
                self._force, self._space, cloud, self.horizon, count, self._step_tolerance
            )
            if before is not None:
                gap = max(history.gap(before), abs(mass - 1), self._step_tolerance)
                if gap <= self.tolerance:
                    return name, cloud, history, gap
            k, count, before = ceil(MORE_NODES * k), len(history.coefficients), history
        raise self._out_of_reach(f"predictions over time agree within {gap:.1e}")

    def _cheapest(self) -> tuple[str, Rule, int]:
        """The rule that settles first at time 0: its name, itself, and a k to start from.

        Squares of forces are rougher than the prediction at first: it may do with less.
        """
        table = rules(self.problem.initial, self._space, self.tolerance / 100)
        before, k = dict.fromkeys(table, np.array(np.inf)), FEWEST_NODES
        while table:
            for name, rule in list(table.items()):
                if (nodes := self._nodes(rule, k)) is None:
                    del table[name]
                    continue
                moments = self._moments(*nodes)
                change = np.abs(moments - before[name]) / (1 + moments)
                if max(*change, abs(moments[0] - 1)) <= self.tolerance:
                    return name, rule, max(FEWEST_NODES, int(k / MORE_NODES**2))
                before[name] = moments
            k = ceil(MORE_NODES * k)
        raise self._out_of_reach("not even the dissipation at time 0 settles")

    def _moments(self, u: Array, p: Array) -> Array:
        """The mass, and ∫|∂_c V|² dρ_0 for every coordinate c, (1 + D,)."""
        gradient, _ = self._potential(u, self._force(u, p).prediction)
        return np.array([p.sum(), *(p @ gradient**2)])

    def _nodes(self, rule: Rule, k: int) -> Nodes | None:
        """The nodes of a rule, k per coordinate; None if they are too many."""
        most = MOST_FEATURES // len(self.problem.y)
        if k ** len(self.problem.coords) > LIGHT_SHARE * most:
            return None
        position, weight = rule(k)
        return (self._space.wrap(position), weight) if len(weight) <= most else None

    def _out_of_reach(self, reached: str) -> NumericalStop:
        return NumericalStop(
            f"the tolerance {self.tolerance:.1e} is out of reach: {reached}",
            f"by rules of at most {MOST_FEATURES / len(self.problem.y):.1e} nodes: the law or the "
            "features are too rough, or the coordinates too many",
            "a larger tolerance, or a shorter horizon",
        )
