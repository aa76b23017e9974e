"""Steps by fluxes that are kept at every face, so that all axes are limited together.

What a cell gives is at most what it holds: where it would give more, all that it gives is scaled
alike (Zalesak 1979 with the lower bound 0). That scales face densities by factors in [0, 1] and
leaves the velocities, so energy identities survive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.kernels.faces import beside, delivered, fluxes, given, shares, spent
from mfpde.kernels.stencils import slope_weights
from mfpde.kernels.tiles import PERIODIC, axis_view
from mfpde.methods.faces import Faces, faces_of
from mfpde.methods.step import Step
from mfpde.problems.problem import Array

Beside = tuple[Array, Array]  # densities below and above every face of one axis
TWO_POINTS = slope_weights(2)


class DonorFluxes:
    """Upwind fluxes of linear reconstructions; positive whatever the potential.

    Attributes:
        limited: cells that would have given more than they held, in trials too.
    """

    def __init__(self, flow: WassersteinFlow, limiter: int) -> None:
        self.flow, self.limiter, self.limited = flow, limiter, {"donors": 0}
        self.faces = faces_of(flow)

    def densities(self, rho: Array) -> list[Beside]:
        """What the faces may carry, axis by axis."""
        rho, result = np.ascontiguousarray(rho), []
        for f in self.faces:
            below, above = empty_faces(rho, f.k), empty_faces(rho, f.k)
            lower, upper = axis_view(below, f.k), axis_view(above, f.k)
            beside(axis_view(rho, f.k), f.centred, f.wall, self.limiter, lower, upper)
            result.append((below, above))
        return result

    def fluxes(self, potential: Array, densities: Sequence[Beside]) -> list[Array]:
        """Down the potential through every face, axis by axis."""
        pairs = zip(self.faces, densities, strict=True)
        return [flux_of(f, potential, pair, TWO_POINTS) for f, pair in pairs]

    def step(self, rho: Array, potential: Array, dt: float, densities: Sequence[Beside]) -> Step:
        """ρ − dt·∇·(flux)."""
        after, flux = np.array(rho, order="C"), self.fluxes(potential, densities)
        self.limited["donors"] += spend(self.faces, after, flux, dt)
        return booked(self.faces, after, flux, potential, dt)

    def euler(self, rho: Array, field: Field, dt: float) -> Step:
        """A forward Euler step."""
        return self.step(rho, field.potential, dt, self.densities(rho))


def empty_faces(rho: Array, k: int) -> Array:
    """An array with one number for every face of axis k."""
    return np.empty([n + (j == k) for j, n in enumerate(rho.shape)])


def flux_of(f: Faces, potential: Array, densities: Beside, weights: Array) -> Array:
    """The upwind flux through the faces of one axis."""
    below, above = densities
    result = np.empty_like(below)
    fluxes(
        axis_view(potential, f.k),
        axis_view(below, f.k),
        axis_view(above, f.k),
        weights,
        f.per_distance,
        f.wall,
        axis_view(result, f.k),
    )
    return result


def spend(faces: Sequence[Faces], rho: Array, flux: Sequence[Array], dt: float) -> int:
    """Take −dt·∇·(flux) in place, fluxes scaled in place to what cells hold; how many were short.

    rho: of the grid's shape, in C order.
    """
    share = np.zeros_like(rho)
    for f, through in zip(faces, flux, strict=True):
        spent(axis_view(through, f.k), f.per_width, axis_view(share, f.k))
    count = int(shares(rho.ravel(), share.ravel(), dt))
    for f, through in zip(faces, flux, strict=True):
        given(axis_view(through, f.k), axis_view(share, f.k), f.wall)
        delivered(axis_view(through, f.k), f.per_width, dt, axis_view(rho, f.k))
    return count


def booked(
    faces: Sequence[Faces], rho: Array, flux: Sequence[Array], potential: Array, dt: float
) -> Step:
    """The step to ``rho``, with what left through open walls and the energy it took along."""
    escaped, carried = {}, 0.0
    for f, through in zip(faces, flux, strict=True):
        z, v = axis_view(through, f.k), axis_view(potential, f.k)
        ends = np.stack([-z[:, 0], z[:, -1]]) * (f.ends * dt)
        if f.wall == PERIODIC:
            ends[:] = 0.0
        escaped[f.name] = (float(ends[0].sum()), float(ends[1].sum()))
        carried += float(np.vdot(ends[0], v[:, 0]) + np.vdot(ends[1], v[:, -1]))
    return Step(rho, escaped, carried)
