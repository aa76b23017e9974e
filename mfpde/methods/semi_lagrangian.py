"""Conservative semi-Lagrangian steps, split into the coordinates of a neuron (Strang 1968).

The continuity equation is Vlasov-like: a moves by a shift that depends on w alone, w_k along a
field that depends on w and is scaled by a. Each move is a remap of cell masses by the feet of
faces, of an odd order from 5 to 15, positive and conservative at any step. Order 2 in time, 4 when
composed.
Entropy adds Gaussian noise to every move, by convolutions of the same order (diffusion.py).

Where it comes from: Filbet, Sonnendrücker & Bertrand, J. Comput. Phys. 172 (2001) for conservative
remaps; Zhang & Shu, Proc. R. Soc. A 467 (2011) for limiting by blending.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mfpde.arguments import check_flag, number, shown
from mfpde.errors import InvalidInput
from mfpde.flows.quadrature import ORDERS
from mfpde.flows.table import BLOCK, KEPT
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.grids.grid import Grid
from mfpde.methods.splitting import merged, strang, suzuki
from mfpde.methods.step import Held, Method, Step
from mfpde.methods.sweeps import Density, Sweeps, drift_of, substitute
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

STANDARD = 7  # order
FEWEST = 10  # cells of an axis, or one more than the order
CORRECTIONS = 2  # sweeps repeated in a composed step: asymmetry of order dt⁵
GROW, SHRINK, SAFETY = 2.0, 0.2, 0.9
POOL = 5.5  # fields that are kept, to be lent again
FIRST = 0.2  # of 1/stiffness, the first step tried
TOLERANCE = 1e-4  # by default
ROUND_OFF = 1e-13  # of an L1 difference
RELAXATIONS = 100.0  # times 1/stiffness in one step at most: the cost of a step grows with it
FOLDS = 20.0  # e-foldings by which a ridge may contract in one step
NOISY_FOLDS = (
    1.0  # and with λ > 0: contracted below a cell, a density is lost before noise widens it
)
STUBBORN = 0.35  # of an error left by half the step: splitting leaves 1/8, a remap 1/2 or more
SATURATED = 0.1  # an L1 error above which densities have parted: no telling what it comes from
MARGIN = 1.5  # above the remap's own error before a step is refused again


def semi_lagrangian(
    order: int = STANDARD,
    dt: float | None = None,
    tolerance: float | None = None,
    composed: bool = False,
    window: bool = False,
) -> Method:
    """Semi-Lagrangian transport: high order, any step, positive.

    Args:
        order: of the remap, odd, from 5 to 15. High orders pay where cells resolve the density; a
            stencil is as many cells wide.
        dt: fixed step; None controls the step by comparing it with two half steps.
        tolerance: L1 error of the density per unit of time that splitting may add, where ``dt`` is
            None; 1e-4 by default. What the remap adds on a coarse grid no step can cure: such steps
            are let pass and counted in the run's ``limited_tolerance``.
        composed: order 4 in time by Suzuki's composition; smooth features without |a| only, and
            with a fixed ``dt``. Predictions gain most: it remaps fifteen times as often, so on a
            coarse grid the density's own error grows; take large steps and many cells.
        window: steps are made on a box with as many cells that follows the mass within the grid's
            own, shrinks with it and grows: what contracts stays resolved, and what travels through
            a wide box. The run's ``rho`` is on the grid still; ``mf.in_window`` shows it as it is.
            Steps are no longer than the mass takes to move, or contract, by a quarter of its width.
            Windows have the directions of the axes: mass that contracts to a needle aslant of them
            is not resolved once it is thinner than a cell, and nothing counts that; its prediction
            stays right. Nor is any density on few cells: the run's ``fewest_cells_across`` tells
            how many lay in a standard deviation, and below 2 a warning does; 96 an axis do well.

    With entropy λ > 0 every axis gathers the noise of its Ornstein-Uhlenbeck process exactly: the
    step is bound by the error of splitting alone, not by the square of the cells' width, and for
    features that move nothing there is no such error. What comes to rest is the fixed point of the
    splitting, off the Gibbs state exp(−V/λ)/Z by O(dt²); ``mf.scharfetter_gummel()`` holds Gibbs
    states to round-off. Prefer this method for how a density moves, that one for where it rests,
    and wherever much mass lies at a wall: a mirror to diffusion alone, not to the flow down V, it
    costs splitting an order in time.

    With |a| the density is rough at a = 0, where the scheme is of first order; a cell centred there
    (an odd number of cells on a symmetric axis) keeps what rests at 0 in one cell.

    Raises:
        InvalidInput: for another order, or values that are not positive; on solving, where features
            have no slope, the penalty is neither ridge nor |a|, or an axis is stretched; with λ > 0
            also for |a| and ``composed``.
    """
    if number(order) not in ORDERS:
        raise InvalidInput(f"semi_lagrangian(order={shown(order)})", fix=f"one of {ORDERS}")
    order = int(order)
    check_flag("semi_lagrangian's composed", composed)
    check_flag("semi_lagrangian's window", window)
    if dt is not None and tolerance is not None:
        raise InvalidInput(
            f"semi_lagrangian(dt={shown(dt)}, tolerance={shown(tolerance)})",
            "the tolerance chooses the step",
            "one of the two",
        )
    if dt is not None and not 0 < number(dt) < np.inf:
        raise InvalidInput(
            f"semi_lagrangian(dt={shown(dt)})", "a step is positive", "a number above 0"
        )
    allowed = TOLERANCE if tolerance is None else number(tolerance)
    if not 0 < allowed < 1:
        raise InvalidInput(
            f"semi_lagrangian(tolerance={shown(tolerance)})",
            "it is an L1 error, and densities have mass 1",
            "a number between 0 and 1",
        )
    if composed and dt is None:
        raise InvalidInput(
            "semi_lagrangian(composed=True) without dt",
            "the step control compares steps of order 2",
            "mf.semi_lagrangian(dt=0.1, composed=True)",
        )
    parameters: dict[str, object] = {"order": order}
    parameters |= {"tolerance": allowed} if dt is None else {"dt": dt}
    parameters |= {"composed": True} if composed else {}
    parameters |= {"window": True} if window else {}
    return Method(
        name="semi_lagrangian",
        order=float(order),
        parameters=parameters,
        limit="dt by the tolerance" if dt is None else "dt as given",
        promise="order",
        begin=lambda flow: SemiLagrangian(flow, order, dt, allowed, composed),
        quadrature=order,
        order_in_time=4.0 if composed else 2.0,
        diffuses=True,
        adaptive=dt is None,
        window=window,
        holding=held,
    )


def held(problem: Problem | KernelProblem, shape: tuple[int, ...]) -> Held:
    """Slopes at centres and faces along every coordinate of the features; feet and copies.

    With |a| the feet of the output weight are put together from many parts. Arrays of a step are
    kept, to be lent again: point values and averages of two states, and those of a sweep.
    """
    first = int(isinstance(problem, Problem) and problem.lifted)
    others, n = shape[first:], len(problem.y)
    points, d = math.prod(others), len(others)
    tables = points + sum(
        kept(points, n) + kept(points // N * (N + 1), n) + (3 * d + 1) * points for N in others
    )
    lent = POOL * math.prod(shape)
    parts = 9.9 if problem.penalty.needs_output_weight else 2.0
    block = min(points * n, BLOCK)  # of slopes as they are evaluated: at first, or in every step
    anew = 0 if kept(points, n) else (d + 1) * block
    return Held(tables + lent, max(parts * math.prod(shape) + anew, d * block))


def kept(points: int, samples: int) -> int:
    """Numbers of a feature table that stay in memory."""
    return points * samples if points * samples <= KEPT else 0


def obstacle(
    problem: Problem | KernelProblem, grid: Grid, order: int = STANDARD
) -> InvalidInput | None:
    """Why semi-Lagrangian steps cannot be made, or None."""
    other = substitute(problem)
    if isinstance(problem, KernelProblem):
        return InvalidInput(
            f"semi_lagrangian on {problem!r}", "a kernel has no features", f"method={other}"
        )
    if problem.dphi is None:
        return InvalidInput(
            f"semi_lagrangian on {problem!r}",
            "the features have no slope",
            f"give it: mf.Activation(value, slope) or dphi; or method={other}",
        )
    if problem.activation is not None and not declared(problem):
        return InvalidInput(
            f"semi_lagrangian on {problem!r}",
            "an activation is smooth (it has a curvature) or piecewise linear (it has kinks)",
            f"give curvature or kinks; or method={other}",
        )
    stretched = [name for name, axis in grid.axes.items() if not axis.is_uniform]
    least = max(FEWEST, order + 1)
    coarse = [name for name, axis in grid.axes.items() if axis.cells < least]
    if stretched or coarse:
        return InvalidInput(
            f"semi_lagrangian on the axes {stretched + coarse}",
            f"its stencils are those of uniform axes of at least {least} cells",
            f"mf.uniform(…), or method={other}",
        )
    try:
        drift = drift_of(problem)
    except InvalidInput as error:
        return error
    if drift.s > 0 and problem.entropy > 0:
        return InvalidInput(
            f"semi_lagrangian with entropy = {problem.entropy:g} and the penalty "
            f"{problem.penalty!r}",
            "what its steps bring to rest at a = 0 would diffuse away in the same step",
            f"method={other}, which follows both at once; or a ridge alone",
        )
    return None


def declared(problem: Problem) -> bool:
    """Whether features say that they are smooth, by a second derivative, or piecewise linear."""
    return problem.d2phi is not None or bool(
        problem.activation and problem.activation.is_piecewise_linear
    )


@dataclass
class Pace:
    """The controller's memory.

    Attributes:
        dt: the next step.
        first: what the step in hand was tried at first; the loop cuts it short of ``dt`` to land
            on an instant, which says nothing of the step after.
        refused: error of the step in hand when it was tried at twice the length; inf before that.
        floor, at: an error that was the remap's, not splitting's, and the step it was seen at.
    """

    dt: float
    first: float = 0.0
    refused: float = np.inf
    floor: float = 0.0
    at: float = np.inf

    def follow(self, dt: float) -> None:
        """Set the next step; one that was cut short lowers it only where it was still too long."""
        cut = self.first < 0.99 * self.dt and np.isinf(self.refused)
        self.dt = max(dt, self.dt) if cut else dt

    def remap_error(self, dt: float) -> float:
        """What the remap may add in a step: as much as before, or as much per time."""
        return self.floor * max(1.0, dt / self.at)


class SemiLagrangian:
    """semi_lagrangian bound to a flow."""

    def __init__(
        self, flow: WassersteinFlow, order: int, dt: float | None, tolerance: float, composed: bool
    ) -> None:
        trouble = obstacle(flow.problem, flow.grid, order)
        if trouble is not None:
            raise trouble
        self.flow, self.sweeps = flow, Sweeps(flow, order)
        self.dt, self.tolerance, self.composed = dt, tolerance, composed
        if composed and (self.sweeps.drift.s > 0 or self.sweeps.has_kinks):
            raise InvalidInput(
                "semi_lagrangian(composed=True) with kinks",
                "one of its sub-steps runs backwards, and what has stuck cannot be undone",
                "composed=False",
            )
        if composed and flow.entropy > 0:
            raise InvalidInput(
                f"semi_lagrangian(composed=True) with entropy = {flow.entropy:g}",
                "one of its sub-steps runs backwards, and diffusion cannot",
                "composed=False",
            )
        self.memory = Pace(np.inf if dt is None else dt)
        self.limited = {"remaps": 0, "conversions": 0, "diffusions": 0, "tolerance": 0}

    def longest(self, rho: Array, field: Field) -> float:
        if self.dt is None and not np.isfinite(self.memory.dt):
            self.memory.dt = FIRST / field.stiffness if field.stiffness > 0 else 1.0
        self.memory.first, self.memory.refused = 0.0, np.inf
        folds = FOLDS if self.flow.entropy == 0 else NOISY_FOLDS
        fastest = max(field.stiffness / RELAXATIONS, float(self.sweeps.drift.mu.max()) / folds)
        return min(self.memory.dt, 1.0 / fastest) if fastest > 0 else self.memory.dt

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        start = self.sweeps.start(rho, field)
        if self.dt is not None:
            return self.finished(self.split(start, dt), 0.0)
        self.memory.first = self.memory.first or dt
        whole = self.split(start, dt)
        halves = self.split(start, dt, 2)
        difference = np.abs(halves.values - whole.values)
        error = float(np.vdot(difference, self.flow.volumes)) / 3.0  # of the halves, order 2
        return self.finished(halves, self.judged(error, dt))

    def split(self, density: Density, dt: float, parts: int = 1) -> Density:
        """Equal splitting steps, from point values to averages.

        While the output weight moves under a ridge the flow is exact: where one part ends and the
        next begins with it, that is one move.
        """
        coordinates = range(len(self.flow.grid.coords))
        one = suzuki(coordinates) if self.composed else strang(coordinates)
        sequence = [(k, share / parts) for k, share in one] * parts
        if self.sweeps.first == 1 and self.sweeps.drift.s == 0:
            sequence = merged(sequence, 0)
        corrections = CORRECTIONS if self.composed else 0
        following = [k for k, _ in sequence[1:]]
        for (k, share), then in zip(sequence, [*following, None], strict=True):
            stays = then in (k, None)
            density = self.sweeps.move(density, k, share * dt, corrections, stays)
        return self.sweeps.everywhere(density, to_points=False)

    def judged(self, error: float, dt: float) -> float:
        """The error over what dt allows; above 1 the loop repeats with half the step.

        An error that half the step hardly lowers is the remap's, not splitting's: shorter steps
        would only add to it. It is let pass, until it grows.
        """
        pace, tolerated = self.memory, self.tolerance * dt
        allowed = max(tolerated, MARGIN * pace.remap_error(dt), ROUND_OFF)
        if STUBBORN * pace.refused < error < SATURATED:
            pace.refused = np.inf
            pace.follow(2.0 * dt)
            pace.floor, pace.at = error, dt
            self.limited["tolerance"] += 1
        elif error > allowed:
            pace.refused = error
            return error / allowed
        else:
            factor = SAFETY * np.sqrt(allowed / max(error, ROUND_OFF))  # error ∝ dt³, allowed ∝ dt
            least = SHRINK if allowed == tolerated else 1.0
            pace.follow(dt * float(np.clip(factor, least, GROW)))
            if error < pace.remap_error(dt):
                pace.floor, pace.at = error, dt
        pace.refused = np.inf
        return 0.0

    def finished(self, density: Density, error: float) -> Step:
        """The step's outcome; limiters count where it is not refused."""
        if error <= 1.0:
            for name, count in density.limited.items():
                self.limited[name] += count
        return Step(density.values, density.escaped, density.carried, error)
