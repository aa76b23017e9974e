"""The equation ∂_t ρ = ∇·(ρ∇V_ρ) + λΔρ on a grid: prediction, potential, energy, dissipation.

Everything is the discrete flow's own: with masses m_K = ρ_K |K| at the cell centres,
F(m) = R(m) + Σ reg_K m_K + λ Σ m_K log ρ_K and V_K = ∂(R + Σ reg m)/∂m_K exactly, so a flux that
runs down V + λ log ρ lowers F.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import xlogy

from mfpde.flows.agreement import resolved_walls
from mfpde.flows.arrays import Recycled
from mfpde.flows.gradient import squared_gradient, takes_gradient
from mfpde.flows.initial import cell_averages, checked_outside
from mfpde.flows.interaction import LiftedFeatures, Observation, interaction_of
from mfpde.flows.layers import Layers, layers, levelled, separated
from mfpde.flows.quadrature import CENTRES, point_values
from mfpde.flows.tally import Tally, counted
from mfpde.grids.grid import Grid, along
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem


@dataclass(frozen=True)
class Field:
    """What a density exerts and shows at one instant.

    Attributes:
        seen: prediction (n,), risk, response and stiffness, as the interaction sees them.
        energy: F = R + ∫reg dρ + λ∫ρ log ρ.
        exerted: computes V at the cell centres, or the layers it is made of.
        tally: of the density's point values, what integrals are made of.
    """

    seen: Observation
    energy: float
    exerted: Callable[[], Array | Layers]
    tally: Tally

    @cached_property
    def layers(self) -> Layers:
        """V by the layers of the first axis; computed when first asked for."""
        V = self.exerted()
        return V if isinstance(V, Layers) else levelled(V)

    @cached_property
    def potential(self) -> Array:
        """V at the cell centres, of the grid's shape; computed when first asked for."""
        return self.layers()

    @cached_property
    def at_walls(self) -> list[tuple[Array, Array]]:
        """V in the first and in the last cells along every axis, flat in C order."""
        axes, V = range(len(self.layers.shape)), self.layers
        return [(V.slice(k, 0)().ravel(), V.slice(k, -1)().ravel()) for k in axes]

    @property
    def values(self) -> Array:
        """Point values of the density, to the order of the flow's quadrature."""
        return self.tally.rho

    @property
    def prediction(self) -> Array:
        """f, (n,)."""
        return self.seen.prediction

    @property
    def risk(self) -> float:
        """R(f)."""
        return self.seen.risk

    @property
    def response(self) -> Array:
        """What the potential is made of: the risk's slope (n,), or Kρ (cells,)."""
        return self.seen.response

    @property
    def stiffness(self) -> float:
        """An upper estimate of the residual's fastest rate, 1/time."""
        return self.seen.stiffness


class WassersteinFlow:
    """A problem on a grid; methods step its density, the loop watches its energy.

    Attributes:
        problem, grid: what and where.
        quadrature: order of the masses integrals are made of; 2 is cell averages at the centres.
        walls: "closed", "open" or "periodic" for every axis.
        volumes: cell volumes, of the grid's shape.
    """

    def __init__(
        self,
        problem: Problem | KernelProblem,
        grid: Grid,
        quadrature: int = CENTRES,
        walls: dict[str, str] | None = None,
    ) -> None:
        self.problem, self.grid, self.quadrature = problem, grid, quadrature
        self.walls = resolved_walls(problem, grid) if walls is None else walls
        self.volumes = grid.volumes
        self.penalty = problem.penalty.value(grid.points()).reshape(grid.shape)
        self.penalty_masses = self.penalty * self.volumes
        self.takes_gradient = takes_gradient(problem, quadrature, self.walls.values())
        self.interaction = interaction_of(problem, grid, tuple(self.walls.values()))
        self.external = self.penalty + self.interaction.fixed
        self.outer = separated(self.external)
        self.entropy = problem.entropy
        self.room = Recycled(grid.shape)
        first = next(iter(grid.axes.values())) if len(grid.shape) > 1 else None
        a, widths = (first.centres, first.widths) if first else (np.zeros(1), np.ones(1))
        self.weights = widths * np.stack([np.ones_like(a), a, a**2, self.outer.tilt])
        self.cells = layers(self.volumes)[0] / widths[0]

    @cached_property
    def start(self) -> Array:
        """Cell averages of the initial law, normalised; put together when first asked for."""
        return cell_averages(self.problem.initial, self.grid)[0]

    @cached_property
    def outside(self) -> float:
        """Mass of the initial law left outside the box, before normalising."""
        return checked_outside(self.problem.initial, self.grid)

    def within(self, grid: Grid) -> WassersteinFlow:
        """The same equation on another grid in its box; axes that name no walls have its own."""
        named = {name: axis.walls for name, axis in grid.axes.items() if axis.walls != "default"}
        return WassersteinFlow(self.problem, grid, self.quadrature, self.walls | named)

    def tally(self, rho: Array) -> Tally:
        """What one pass over a density counts."""
        return counted(rho, self.weights)

    def field(self, rho: Array, tally: Tally | None = None) -> Field:
        """Prediction, energy and potential of cell averages ``rho``; ``tally`` if it is known."""
        values = self.point_values(rho)
        if tally is None or tally.rho is not values:
            tally = self.tally(values)
        seen = self.interaction.observe(values, tally)
        energy = seen.risk + self.penalised(values, tally) + self.disorder(values)
        return Field(seen, energy, lambda: self.layers(seen.response), tally)

    def layers(self, response: Array) -> Layers:
        """V by the layers of the first axis."""
        if not isinstance(self.interaction, LiftedFeatures):
            return levelled(self.potential(response))
        a, g = self.interaction.a, self.interaction.table.combine(response)
        return replace(self.outer, a=a, g=g)

    def penalised(self, values: Array, tally: Tally) -> float:
        """∫reg dρ of point values."""
        if len(self.outer.level) > 1 or np.ndim(self.interaction.fixed):
            return float(np.vdot(self.penalty_masses, values))
        masses, tilted = tally.moments[0] * self.cells, tally.moments[3] * self.cells
        return float(self.outer.level[0] @ masses) + float(tilted.sum())

    def disorder(self, values: Array) -> float:
        """λ∫ρ log ρ of point values."""
        if self.entropy == 0:
            return 0.0
        return self.entropy * float(np.vdot(self.volumes, xlogy(values, values)))

    def potential(self, response: Array) -> Array:
        """V at the cell centres, of the grid's shape."""
        return self.interaction.exerted(response) + self.external

    def point_values(self, rho: Array) -> Array:
        """What, times the cell volumes, integrals are made of."""
        return point_values(rho, tuple(self.walls.values()), self.quadrature, self.room)

    def mass(self, rho: Array) -> float:
        """Σ ρ_K |K|."""
        return float(np.vdot(rho, self.volumes))

    def dissipation(self, rho: Array, field: Field) -> float:
        """∫|∇(V + λ log ρ)|²dρ, by the flow's own quadrature.

        Of order 2 at λ = 0: in every cell the mean square of a velocity linear between its faces,
        per axis. Where both faces push into the cell, mass rests: in a kink of V, or against a
        closed wall. Quadratures of higher order take ∇V itself, where it exists and no wall stops
        it. With λ > 0 it is a sum over the faces between cells, of order 2, 0 at Gibbs states.
        """
        if self.entropy > 0:
            return self.entropic_dissipation(rho, field)
        if self.takes_gradient:
            squares = squared_gradient(self.problem, self.grid, field.response)  # type: ignore[arg-type]
            return float(np.vdot(squares * self.volumes, self.point_values(rho)))
        total = 0.0
        for k, (name, axis) in enumerate(self.grid.axes.items()):
            u = self.drops(field.potential, k, name) / along(axis.distances, k, rho.ndim)
            lower, upper = np.delete(u, -1, axis=k), np.delete(u, 0, axis=k)
            rests = (lower >= 0) & (upper <= 0)
            squares = np.where(rests, 0.0, (lower**2 + lower * upper + upper**2) / 3)
            total += float(np.vdot(squares * self.volumes, rho))
        return total

    def entropic_dissipation(self, rho: Array, field: Field) -> float:
        """Σ_faces |face|/d √(ρ_K ρ_L) (Δ(V + λ log ρ))²; no flux through walls."""
        values, total = self.point_values(rho), 0.0
        occupied = values > 0  # beside an empty cell the product is 0
        chemical = field.potential + self.entropy * np.log(np.where(occupied, values, 1.0))
        root = np.sqrt(np.where(occupied, values, 0.0))
        for k, (name, axis) in enumerate(self.grid.axes.items()):
            low, high = np.arange(axis.cells - 1), np.arange(1, axis.cells)
            distances = axis.distances[1:-1]
            if self.walls[name] == "periodic":
                low, high = np.arange(axis.cells), np.arange(1, axis.cells + 1) % axis.cells
                distances = axis.distances[1:]
            rise = np.take(chemical, high, axis=k) - np.take(chemical, low, axis=k)
            mean = np.take(root, high, axis=k) * np.take(root, low, axis=k)
            areas = np.take(self.volumes, low, axis=k) / along(axis.widths[low], k, rho.ndim)
            total += float(np.sum(areas * mean * rise**2 / along(distances, k, rho.ndim)))
        return total

    def drops(self, potential: Array, k: int, name: str) -> Array:
        """V below minus V above every face of axis k, ends included.

        At the ends: across the seam if periodic, else that of the next face inside, but nothing
        that points out of a closed wall.
        """
        inner = -np.diff(potential, axis=k)
        first, last = np.take(inner, [0], axis=k), np.take(inner, [-1], axis=k)
        if self.walls[name] == "closed":
            first, last = np.maximum(first, 0.0), np.minimum(last, 0.0)
        elif self.walls[name] == "periodic":
            seam = np.take(potential, [-1], axis=k) - np.take(potential, [0], axis=k)
            first = last = seam
        return np.concatenate([first, inner, last], axis=k)
