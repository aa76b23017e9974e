"""Full-batch gradient descent of finite step, as a map of densities.

    ρ ← (P∘(Id − dt ∇V_ρ))_# ρ                          (reg without kinks)
    ρ ← (P∘prox_{dt·reg}∘(Id − dt ∇⟨risk', Φ⟩))_# ρ     (forward-backward)

with P the projection on closed walls (Chizat & Bach 2018, §2; Combettes & Pesquet 2011): explicit
Euler for particles, and for any dt, also where the map folds and the energy rises. With λ > 0 each
step ends with Gaussian noise of variance 2λdt: the law of the Euler–Maruyama scheme, or unadjusted
Langevin algorithm.

The density is what the run's quadrature takes it for, masses at the cell centres. Each moves by the
features' own slopes and is dealt to the centres about its image (kernels/deposit.py): a remeshed
particle method (Cottet, Etancelin, Pérignon & Picard, ESAIM: M2AN 48 (2014)). Where the map
stretches cells, images would leave gaps: masses are first dealt to q sub-nodes of every cell, q
from the stretching. What ripple remains falls as q⁻⁴; with q ∝ √cells it is of order 2 as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.grids.axis import Axis
from mfpde.grids.grid import along
from mfpde.kernels.deposit import REACH, SIX, deposit, divide, sub_shares, with_ghosts
from mfpde.kernels.tiles import WALL, axis_view
from mfpde.methods.diffusion import diffused
from mfpde.methods.slopes import Columns, slopes_of
from mfpde.methods.step import Method, Step, fields
from mfpde.problems.penalties import Penalty
from mfpde.problems.problem import Array

SLACK = 1e-9  # by which instants may miss multiples of dt, relative
NOISE_ORDER = 5
COARSE = 64  # cells of an axis at which these hold:
DENSE = 3.0  # images of sub-nodes a cell; the ripple is then about 1e-3
STILL = 0.035  # departure of the map's slopes from the identity: no sub-nodes; twice that: two
MOST_PARTS = 64  # sub-nodes of a cell along one axis
MOST_NODES = 2**22  # in all; beyond, cells get fewer sub-nodes than they ask for
UNSEEN = 1e-12  # mass of a cell, of the whole, whose stretching does not matter
TINY, SMALL = 1e-150, 1e-140  # beside 0: a kink's jump is the same at both, a pole's is not
ROUNDING = 1e-9  # of a gradient

Prox = Callable[[Array, float], Array]
Outflow = dict[str, tuple[float, float]]


def pushforward(dt: float) -> Method:
    """Gradient descent with the finite step ``dt``: the law of infinitely many neurons.

    At k·dt after k steps and nowhere else. Follows ``particle_ref.Descent(dt)`` neuron by neuron,
    penalties with kinks (|a|) by their proximal map included, and with λ > 0 the noise of
    Euler–Maruyama steps. The energy may rise; ``carried`` is
    ∫V dm of what leaves through open walls, V that of the cells and the density it came from.

    The density is of order 2. Predictions of smooth problems follow particles started from the
    run's own measure to order 6 while cells are hardly stretched, to order 2 at least where they
    are, and to about order 2 with |a| and for features whose kinks lie on faces. Where kinks lie on
    centres the gap is erratic, and no order was seen.

    Beside walls, three cells deep, masses are dealt linearly; beyond the outermost centre, to it.

    Args:
        dt: the step, in PDE time; learning rate η on the risk of m neurons is dt = mη.

    Raises:
        InvalidInput: unless 0 < dt < ∞; on solving, where features or kernel have no slope, a
            penalty with kinks has no proximal map, times are no multiples of dt, or λ > 0 on
            stretched axes.
    """
    if not 0 < number(dt) < np.inf:
        raise InvalidInput(f"pushforward(dt={shown(dt)})", "a step is a finite time > 0", "dt=0.1")
    step = number(dt)
    return Method(
        name="pushforward",
        order=2.0,
        parameters={"dt": step},
        limit="dt as given",
        promise="none",
        begin=lambda flow: Pushforward(flow, step),
        diffuses=True,
        stride=step,
        holding=fields(8, tiles=3, per_axis=4, areas=False),
    )


class Pushforward:
    """pushforward bound to a flow."""

    def __init__(self, flow: WassersteinFlow, dt: float) -> None:
        self.flow, self.dt = flow, dt
        self.slopes = slopes_of(flow)
        self.penalty = flow.problem.penalty
        self.prox = proximal(self.penalty, flow.problem.dimension)
        self.targets = Targets.of(flow)
        self.limited = {"deposits": 0}
        stretched = [name for name, axis in flow.grid.axes.items() if not axis.is_uniform]
        if flow.entropy > 0 and stretched:
            raise InvalidInput(
                f"pushforward with entropy = {flow.entropy:g} on the axes {stretched}",
                "noise is dealt by stencils of uniform axes",
                "mf.uniform(…), or method=mf.scharfetter_gummel()",
            )

    def longest(self, rho: Array, field: Field) -> float:
        return self.dt * (1 + SLACK)

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        masses = rho * self.flow.volumes

        def image(columns: Columns) -> Array:
            return self.image(columns, self.slopes(columns, field.response, masses), dt)

        nodes = self.divided(masses, image)
        places = image(nodes.columns)
        if not np.isfinite(places.sum()):  # the loop sees it and stops
            return Step(np.full_like(rho, np.nan), dict.fromkeys(self.flow.walls, (0.0, 0.0)), 0)
        settled, escaped, lost = self.settled(nodes, places)
        dealt, limited = self.targets.deal(settled, places)
        self.limited["deposits"] += limited
        carried = float(np.vdot(lost, field.potential)) if lost.any() else 0.0
        return Step(self.spread(dealt / self.flow.volumes, dt), escaped, carried)

    def spread(self, rho: Array, dt: float) -> Array:
        """The density after noise of variance 2λdt in every coordinate."""
        if self.flow.entropy == 0:
            return rho
        for k, (name, axis) in enumerate(self.flow.grid.axes.items()):
            variance = 2 * self.flow.entropy * dt / float(axis.widths[0]) ** 2
            rho, _ = diffused(rho, k, self.flow.walls[name], NOISE_ORDER, variance)
        return rho

    def image(self, columns: Columns, slopes: Array, dt: float) -> Array:
        """Where the map sends every node, (*nodes, D), before walls; ``slopes`` are the risk's."""
        points = points_of(columns)
        flat = points.reshape(-1, points.shape[-1])
        if self.prox is not None:
            return self.prox(flat - dt * slopes.reshape(flat.shape), dt).reshape(points.shape)
        return points - dt * (slopes + self.penalty.gradient(flat).reshape(points.shape))

    def divided(self, masses: Array, image: Callable[[Columns], Array]) -> Nodes:
        """The masses at the centres, or at as many sub-nodes as the map's stretching asks for."""
        axes, centres = list(self.flow.grid.axes.values()), self.flow.grid.centres
        moved = image(centres) - points_of(centres)
        parts = parts_needed(moved, axes, masses > UNSEEN * masses.sum())
        columns = tuple(sub_nodes(axis, q) for axis, q in zip(axes, parts, strict=True))
        for k, (wall, q) in enumerate(zip(self.flow.walls.values(), parts, strict=True)):
            masses = divided_along(masses, k, wall, q)
        return Nodes(columns, masses, parts)

    def settled(self, nodes: Nodes, places: Array) -> tuple[Array, Outflow, Array]:
        """Masses that stay, what left by coordinate, and from which cells, (cells).

        Circles are wrapped and closed walls projected on, in ``places``. What ends beyond an open
        wall has left through the wall that it crossed first on its straight way.
        """
        D = len(nodes.columns)
        beyond = np.zeros(places.shape)  # share of the way behind an open wall
        for k, (name, axis) in enumerate(self.flow.grid.axes.items()):
            y, wall = places[..., k], self.flow.walls[name]
            if wall == "periodic":
                wrap(y, axis)
            elif wall == "closed":
                np.clip(y, axis.low, axis.high, out=y)
            else:
                over = np.maximum(axis.low - y, y - axis.high)
                way = np.abs(y - along(nodes.columns[k], k, D))
                np.divide(over, way, out=beyond[..., k], where=over > 0)
        first = beyond.argmax(axis=-1)
        leaves = beyond.max(axis=-1) > 0
        escaped = {}
        for k, (name, axis) in enumerate(self.flow.grid.axes.items()):
            through = leaves & (first == k)
            low = through & (places[..., k] < axis.low)
            out = (nodes.masses[low].sum(), nodes.masses[through & ~low].sum())
            escaped[name] = (float(out[0]), float(out[1]))
        lost = nodes.by_cell(np.where(leaves, nodes.masses, 0.0))
        return np.where(leaves, 0.0, nodes.masses), escaped, lost


@dataclass(frozen=True)
class Nodes:
    """Where a density's masses sit before they move.

    Attributes:
        columns: nodes along each axis.
        masses: of all their combinations.
        parts: nodes in each cell, by axis.
    """

    columns: Columns
    masses: Array
    parts: tuple[int, ...]

    def by_cell(self, masses: Array) -> Array:
        """Sums of masses at the nodes over each cell."""
        pairs = zip(masses.shape, self.parts, strict=True)
        split = masses.reshape([n for nodes, q in pairs for n in (nodes // q, q)])
        return split.sum(axis=tuple(range(1, split.ndim, 2)))


@dataclass(frozen=True)
class Targets:
    """The cells that images are dealt to, as the kernel wants them.

    Attributes:
        centres: of all axes one after another, with ghosts; axis k from start[k] to start[k + 1].
        shape: cells along each axis.
        walls: their kinds.
    """

    centres: Array
    start: NDArray[np.int64]
    shape: NDArray[np.int64]
    walls: NDArray[np.int64]

    @classmethod
    def of(cls, flow: WassersteinFlow) -> Targets:
        """Those of a flow's grid."""
        lines = [ghosted(axis) for axis in flow.grid.axes.values()]
        start = np.cumsum([0] + [len(line) for line in lines])
        walls = np.array([WALL[wall] for wall in flow.walls.values()])
        return cls(np.concatenate(lines), start, np.array(flow.grid.shape), walls)

    def deal(self, masses: Array, places: Array) -> tuple[Array, int]:
        """Cell masses of masses (*nodes) at places (*nodes, D); how many were limited."""
        result = np.empty(int(self.shape.prod()))
        flat = places.reshape(-1, len(self.shape))
        limited = deposit(
            masses.ravel(), flat, self.centres, self.start, self.shape, self.walls, result
        )
        return result.reshape(self.shape), int(limited)


def points_of(columns: Columns) -> Array:
    """All combinations of nodes, (*nodes, D)."""
    return np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1)


def ghosted(axis: Axis) -> Array:
    """Centres of an axis and REACH more beyond each end."""
    return with_ghosts(axis.centres, axis.high - axis.low if axis.is_periodic else None)


def wrap(y: Array, axis: Axis) -> None:
    """Move y by whole periods into [low, high); what is there stays as it is, to the last bit."""
    out = (y < axis.low) | (y >= axis.high)
    y[out] = axis.low + np.mod(y[out] - axis.low, axis.high - axis.low)
    y[y >= axis.high] = axis.low  # mod(−1e-20, 1) rounds to 1


# ------------------------------------------------------------------------------------- sub-nodes
def parts_needed(
    moved: Array, axes: Sequence[Axis], occupied: NDArray[np.bool_]
) -> tuple[int, ...]:
    """Sub-nodes of a cell along each axis, from the displacements (*cells, D) of the centres."""
    widths = np.stack(np.meshgrid(*(axis.widths for axis in axes), indexing="ij"), axis=-1)
    most = [wanted_along(moved / widths, k)[occupied].max() for k in range(len(axes))]
    parts = [int(np.fmin(wanted, MOST_PARTS)) for wanted in most]  # a NaN shows in the images
    while math.prod(parts) * occupied.size > MOST_NODES and max(parts) > 1:
        parts[int(np.argmax(parts))] -= 1
    return tuple(parts)


def wanted_along(moved: Array, k: int) -> Array:
    """Sub-nodes that every cell asks for along axis k, (*cells); ``moved`` in cells.

    ∂T/∂x_k by differences. Of those to both neighbours the one that asks for less counts: where ∇V
    jumps, the map tears mass apart and no node belongs into the gap.
    """
    slopes = np.diff(moved, axis=k)  # of T − Id, in cells per cell
    departure = np.abs(slopes).max(axis=-1)
    slopes[..., k] += 1.0
    stretch = np.abs(slopes).max(axis=-1)
    fineness = moved.shape[k] / COARSE
    still = STILL * fineness ** (-2 / 3)
    dense = np.maximum(np.ceil(DENSE * np.sqrt(fineness) * stretch), 1.0)
    wanted = np.select([departure <= still, departure <= 2 * still], [1.0, 2.0], dense)
    first, last = np.take(wanted, [0], axis=k), np.take(wanted, [-1], axis=k)
    return np.minimum(
        np.concatenate([first, wanted], axis=k), np.concatenate([wanted, last], axis=k)
    )


def sub_nodes(axis: Axis, q: int) -> Array:
    """q nodes in every cell, (cells·q,); at uniform distances where centres are."""
    if q == 1:
        return axis.centres
    share, base = sub_shares(q)
    cells, line = np.arange(axis.cells)[:, None, None], ghosted(axis)
    about = line[cells + base[:, None] + np.arange(SIX) + REACH]  # (cells, q, 6)
    return q * np.einsum("kjm,jm->kj", about, share[0]).ravel()


def divided_along(masses: Array, k: int, wall: str, q: int) -> Array:
    """Masses at q sub-nodes of every cell of axis k."""
    if q == 1:
        return masses
    shape = [n * q if j == k else n for j, n in enumerate(masses.shape)]
    result = np.empty(shape)
    divide(axis_view(masses, k), *sub_shares(q), WALL[wall], axis_view(result, k))
    return result


# ----------------------------------------------------------------------------------- the penalty
def proximal(penalty: Penalty, dimension: int) -> Prox | None:
    """The proximal map of a penalty that has kinks, None for one that has none.

    A kink at 0 takes an interval to one point; without a proximal map ∂_k reg jumps there.

    Raises:
        InvalidInput: for kinks without a proximal map.
    """
    axes = np.eye(dimension)
    if penalty.prox is not None:
        above, below = penalty.prox(TINY * axes, 1.0), penalty.prox(-TINY * axes, 1.0)
        return penalty.prox if (np.diag(above) == np.diag(below)).any() else None
    for rest in (0.0, 1 - axes):
        with np.errstate(all="ignore"):  # poles are none
            near, far = (
                np.diag(penalty.gradient(rest + h * axes) - penalty.gradient(rest - h * axes))
                for h in (TINY, SMALL)
            )
            jumps = (np.abs(near) > ROUNDING) & np.isclose(near, far, rtol=ROUNDING)
        if jumps.any():
            raise InvalidInput(
                f"pushforward under the penalty {penalty!r}",
                "it has kinks and no proximal map; steps along its gradient chatter across them",
                "a penalty with prox (ridge, total_variation, their sums), or method=mf.muscl()",
            )
    return None
