"""Scharfetter–Gummel rates of a potential on a grid: the generator Q(V) of masses, all axes.

    dm/dt = Q(V) m,   Q = Σ_k Q_k,   columns of Q sum to zero but for what leaves through open walls

Q(V) e^{−V/λ}|K| = 0 exactly. ``Exchange`` holds one potential's rates; it applies them, inverts
I − dt·Q_k along lines or I − dt·Q at once, and says how its fluxes answer a change of V.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from mfpde.grids.grid import along
from mfpde.kernels.exchange import exchange, rates, settle
from mfpde.kernels.tiles import OPEN, PERIODIC, axis_view
from mfpde.methods.faces import Faces
from mfpde.problems.problem import Array

SERIES = 1e-2  # of |s|, below which the derivative of B is summed


class Exchange:
    """Q(V) for one potential."""

    def __init__(self, faces: list[Faces], potential: Array, entropy: float) -> None:
        self.faces, self.potential, self.entropy = faces, potential, entropy
        self.up, self.down = [], []
        for f in faces:
            up, down = np.empty_like(potential), np.empty_like(potential)
            rates(
                axis_view(potential, f.k),
                entropy,
                f.per_distance,
                f.per_width,
                f.wall,
                axis_view(up, f.k),
                axis_view(down, f.k),
            )
            self.up.append(up)
            self.down.append(down)

    def emptying(self) -> float:
        """The largest rate at which a cell empties, 1/time."""
        return float(np.sum([*self.up, *self.down], axis=0).max())

    def applied(self, masses: Array) -> Array:
        """Q m."""
        gain = np.zeros_like(masses)
        for k, f in enumerate(self.faces):
            m, up, down, g = (axis_view(z, k) for z in (masses, self.up[k], self.down[k], gain))
            exchange(m, up, down, f.wall, g)
        return gain

    def settled(self, masses: Array, k: int, dt: float) -> Array:
        """(I − dt·Q_k)⁻¹ m, along the lines of axis k."""
        result = np.empty_like(masses)
        m, up, down, after = (axis_view(z, k) for z in (masses, self.up[k], self.down[k], result))
        settle(m, up, down, dt, self.faces[k].wall, after)
        return result

    def inverse(self, part: tuple[int, ...], dt: float) -> Callable[[Array], Array]:
        """(I − dt·Σ_{k in part} Q_k)⁻¹: lines of a single axis, else a sparse factorisation."""
        if len(part) == 1:
            return lambda masses: self.settled(masses, part[0], dt)
        A = sparse.identity(self.potential.size, format="csc") - dt * self.matrix()
        # columns dominated by their diagonals: no pivoting, and the pattern stays symmetric
        factors = splu(
            A,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        keeps = all(f.wall != OPEN for f in self.faces)

        def solve(masses: Array) -> Array:
            b = masses.ravel()
            x = factors.solve(b)
            x += factors.solve(b - A @ x)
            if keeps:  # Σx = Σb; what is missing is round-off of large dt
                x += x * ((b.sum() - x.sum()) / np.abs(x).sum()) if b.any() else 0.0
            return x.reshape(masses.shape)

        return solve

    def matrix(self) -> sparse.csc_matrix:
        """Q, with cells in C order."""
        shape = self.potential.shape
        cells = np.arange(self.potential.size).reshape(shape)
        total = sparse.csc_matrix((cells.size, cells.size))
        for f, up, down in zip(self.faces, self.up, self.down, strict=True):
            n, periodic = f.axis.cells, f.wall == PERIODIC
            for rate, step, end in ((up, 1, n - 1), (down, -1, 0)):
                goes = np.ones(n, dtype=bool)
                goes[end] = periodic
                source = np.compress(goes, cells, axis=f.k).ravel()
                target = np.compress(goes, np.roll(cells, -step, axis=f.k), axis=f.k).ravel()
                value = np.compress(goes, rate, axis=f.k).ravel()
                total = total + sparse.csc_matrix((value, (target, source)), shape=total.shape)
                total = total - sparse.diags(rate.ravel())
        return total.tocsc()

    def left(
        self, masses: Array, dt: float, part: Iterable[int]
    ) -> tuple[dict[str, tuple[float, float]], float]:
        """What leaves through the walls of some axes, by coordinate, and the energy ∫V dm."""
        escaped, carried = {}, 0.0
        for k in part:
            f, ends = self.faces[k], (0.0, 0.0)
            if f.wall == OPEN:
                low, high = (np.take(self.down[k], 0, axis=k), np.take(self.up[k], -1, axis=k))
                low = dt * low * np.take(masses, 0, axis=k)
                high = dt * high * np.take(masses, -1, axis=k)
                ends = float(low.sum()), float(high.sum())
                carried += float(np.vdot(low, np.take(self.potential, 0, axis=k)))
                carried += float(np.vdot(high, np.take(self.potential, -1, axis=k)))
            escaped[f.name] = ends
        return escaped, carried

    def carrying(self, rho: Array, k: int) -> Array:
        """The density ρ̂ that each face of axis k carries: the flux answers δV with −ρ̂ δV/d.

        ρ̂ = β ρ_below + (1 − β) ρ_above, β = −B'(ΔV/λ): the upwind density as λ → 0, the mean where
        V is flat. What leaves through open walls counts as unmoved.
        """
        f = self.faces[k]
        lower, upper = f.beside(rho)
        beta = weight_below(np.subtract(*reversed(f.beside(self.potential))), self.entropy)
        return beta * lower + (1 - beta) * upper

    def flux(self, rho: Array, k: int) -> Array:
        """The mass flux through every face of axis k per unit area, upwards; 0 at walls."""
        f = self.faces[k]
        widths = along(f.axis.widths, k, rho.ndim)
        upwards = np.take(self.up[k] * rho * widths, f.lower, axis=k)
        downwards = np.take(self.down[k] * rho * widths, f.upper, axis=k)
        return (upwards - downwards) * along(f.inner, k, rho.ndim)

    def dissipation(self, rho: Array, k: int) -> float:
        """Σ_faces |face| F·(drop of V + λ log ρ) ≥ 0 along axis k."""
        f = self.faces[k]
        drop = -np.subtract(*reversed(f.beside(self.potential)))
        if self.entropy > 0:
            lower, upper = f.beside(logarithm(rho))
            both = np.isfinite(lower) & np.isfinite(upper)  # where ρ underflowed so did the flux
            steps = np.subtract(lower, upper, out=np.zeros_like(drop), where=both)
            drop = np.where(both, drop + self.entropy * steps, 0.0)
        areas = f.beside(f.areas)[0]
        if f.wall == PERIODIC:  # its first and last faces are one
            drop = np.delete(drop, 0, axis=k)
            return float(np.sum(np.delete(self.flux(rho, k) * areas, 0, axis=k) * drop))
        return float(np.sum(self.flux(rho, k) * areas * drop))


def logarithm(rho: Array) -> Array:
    """log ρ, −inf in empty cells."""
    return np.log(rho, out=np.full_like(rho, -np.inf), where=rho > 0)


def weight_below(rise: Array, entropy: float) -> Array:
    """β(s) = −B'(s) = (eˢ(s − 1) + 1)/(eˢ − 1)², s = rise/λ; from 1 downhill to 0 uphill."""
    if entropy == 0:
        return np.where(rise < 0, 1.0, np.where(rise > 0, 0.0, 0.5))
    s = np.abs(rise) / entropy
    e = np.exp(-np.minimum(s, 700.0))
    small = s < SERIES
    d = np.where(small, 1.0, 1.0 - e)
    beta = np.where(small, 0.5 - s / 6 + s**3 / 180, e * (s - 1 + e) / d**2)
    return np.where(rise < 0, 1 - beta, beta)
