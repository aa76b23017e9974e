"""Fifth-order finite volumes: WENO-Z fluxes of cell averages, SSPRK3 in time.

Along axis k averages become point values across it, WENO-Z gives the densities on both sides of
every face (Borges, Carmona, Costa & Don 2008), u = −∂_k V is a difference of order 6 of V at the
centres, and the upwind flux u⁺ρ⁻ + u⁻ρ⁺ at the middles of faces is averaged over them again: with
averages throughout, order 2 would be the end (McCorquodale & Colella, Commun. Appl. Math. Comput.
Sci. 6 (2011)).

Positivity: what these fluxes add to those of first-order upwind is limited so that no cell gives
more than the first-order step left it (Hu, Adams & Shu, J. Comput. Phys. 242 (2013), over all axes
at once as Zalesak 1979). Smooth densities are not touched.

Walls: nothing crosses a closed one; through an open one the first-order flux leaves. Beyond them ρ
is continued as a constant and V as a line: order 5 is for densities that vanish there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput
from mfpde.flows.quadrature import converted
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.grids.grid import Grid
from mfpde.kernels.limiters import FIRST_ORDER
from mfpde.kernels.stencils import slope_weights
from mfpde.kernels.tiles import PERIODIC, axis_view
from mfpde.kernels.weno import reconstructed
from mfpde.methods.donors import Beside, DonorFluxes, booked, empty_faces, flux_of, spend
from mfpde.methods.exactness import Exact, Staged, checked_exact, given, limit_of
from mfpde.methods.stages import SSPRK3
from mfpde.methods.step import Method, Step, Stepper, fields
from mfpde.problems.problem import Array

CONVERSION = 7  # order of the switches across an axis
SIX_POINTS = slope_weights(6)
FEWEST_CELLS = 10


def weno5(cfl: float = 0.4, exact: Exact = None) -> Method:
    """Fifth-order finite volumes with WENO-Z reconstruction; positive.

    Args:
        cfl: step as a fraction of the time in which the fastest cell would empty, in (0, 1].
        exact: how the energy is made to fall by what the step dissipates, to round-off; see
            ``mf.muscl``. "relaxed" keeps order 3 in time, "averaged" is of order 2.

    Raises:
        InvalidInput: for a ``cfl`` outside (0, 1] or an unknown ``exact``; on solving, for
            stretched axes and axes of fewer than 10 cells.
    """
    if not 0 < number(cfl) <= 1:
        raise InvalidInput(f"weno5(cfl={shown(cfl)})", "positivity needs 0 < cfl ≤ 1", "cfl=0.4")
    checked_exact("weno5", exact)

    def begin(flow: WassersteinFlow) -> Stepper:
        check_axes(flow.grid)
        return Staged(flow, WenoFluxes(flow), cfl, exact, SSPRK3)

    return Method(
        name="weno5",
        order=5.0,
        parameters={"cfl": cfl} | given(exact),
        limit=limit_of(cfl, exact),
        promise="exact" if exact else "order",
        begin=begin,
        quadrature=5,
        holding=fields(8 if exact == "relaxed" else 7, tiles=3, per_axis=5),
        order_in_time=2.0 if exact == "averaged" else 3.0,
    )


def check_axes(grid: Grid) -> None:
    """Raise InvalidInput for axes on which the stencils do not fit."""
    wrong = [
        name for name, axis in grid.axes.items() if not axis.is_uniform or axis.cells < FEWEST_CELLS
    ]
    if wrong:
        raise InvalidInput(
            f"weno5 on the axes {wrong}",
            f"its stencils are those of uniform axes of at least {FEWEST_CELLS} cells",
            "mf.uniform(…), or method=mf.muscl()",
        )


class WenoFluxes:
    """Upwind fluxes of WENO-Z reconstructions, limited against those of first order."""

    def __init__(self, flow: WassersteinFlow) -> None:
        self.first = DonorFluxes(flow, FIRST_ORDER)
        self.faces, self.walls = self.first.faces, list(flow.walls.values())
        self.limited = self.first.limited

    def densities(self, rho: Array) -> list[Beside]:
        """Averages over the face's line, point values across it: below and above every face."""
        result = []
        for f in self.faces:
            across = self.across(np.ascontiguousarray(rho), f.k, to_points=True)
            below, above = empty_faces(rho, f.k), empty_faces(rho, f.k)
            reconstructed(
                axis_view(across, f.k), f.wall, axis_view(below, f.k), axis_view(above, f.k)
            )
            result.append((below, above))
        return result

    def across(self, field: Array, k: int, to_points: bool) -> Array:
        """Averages to point values, or back, along all axes but k."""
        for j, wall in enumerate(self.walls):
            if j != k:
                field, _ = converted(field, j, wall, CONVERSION, to_points, limited=False)
        return field

    def fluxes(self, potential: Array, densities: Sequence[Beside]) -> list[Array]:
        """Averages over the faces, axis by axis."""
        return [
            self.across(flux_of(f, potential, pair, SIX_POINTS), f.k, to_points=False)
            for f, pair in zip(self.faces, densities, strict=True)
        ]

    def step(self, rho: Array, potential: Array, dt: float, densities: Sequence[Beside]) -> Step:
        """ρ − dt·∇·(flux)."""
        after, first = np.array(rho, order="C"), self.first
        flux = first.fluxes(potential, first.densities(rho))
        self.limited["donors"] += spend(self.faces, after, flux, dt)
        excess = [
            high - low for high, low in zip(self.fluxes(potential, densities), flux, strict=True)
        ]
        for f, through in zip(self.faces, excess, strict=True):
            if f.wall != PERIODIC:
                axis_view(through, f.k)[:, [0, -1]] = 0.0
        self.limited["donors"] += spend(self.faces, after, excess, dt)
        return booked(self.faces, after, flux, potential, dt)

    def euler(self, rho: Array, field: Field, dt: float) -> Step:
        """A forward Euler step."""
        return self.step(rho, field.potential, dt, self.densities(rho))
