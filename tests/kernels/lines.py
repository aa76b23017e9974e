"""Kernels on one line, and lines whose every integral is known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr

from mfpde.kernels.remap import remap
from mfpde.kernels.stencils import remap_table, switch_weights
from mfpde.kernels.switch import switch
from mfpde.kernels.tiles import WALL

Array = NDArray[np.float64]
ORDERS = (5, 7, 9)
WALLS = tuple(WALL)  # "closed", "open", "periodic"


@dataclass(frozen=True)
class Profile:
    """A density on [low, high], its integral from low, and a monotone map of the interval."""

    low: float
    high: float
    density: Callable[[Array], Array]
    integral: Callable[[Array], Array]
    back: Callable[[Array], Array]

    def faces(self, cells: int) -> Array:
        return np.linspace(self.low, self.high, cells + 1)

    def averages(self, places: Array, cells: int) -> Array:
        """Mass between neighbouring places, per width of one of ``cells``."""
        return np.diff(self.integral(places)) * cells / (self.high - self.low)


def normal_density(x: Array) -> Array:
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


PROFILES = {
    # what leaves is 1e-3 of the mass: open walls are put to the test
    "open": Profile(-6.0, 4.0, normal_density, ndtr, lambda x: x - 0.3 + 0.3 * np.sin(x)),
    # mass at both walls, which no characteristic crosses
    "closed": Profile(
        -1.0,
        1.0,
        lambda x: 1 + 0.8 * np.cos(7 * x + 1),
        lambda x: x + 0.8 * np.sin(7 * x + 1) / 7,
        lambda x: x + 0.3 * (1 - x**2) * np.cos(3 * x),
    ),
    # two turns of the circle and a bit
    "periodic": Profile(
        0.0,
        2 * np.pi,
        lambda x: 1 + 0.4 * np.cos(x + 0.3) + 0.4 * np.cos(5 * x),
        lambda x: x + 0.4 * np.sin(x + 0.3) + 0.08 * np.sin(5 * x),
        lambda x: x + 0.4 * np.sin(x) + 2.2 - 6 * np.pi,
    ),
}


def remapped(masses: Array, feet: Array, order: int, wall: str) -> tuple[Array, Array, int]:
    """New masses of one line, what left (below, above), and how many cells were limited."""
    view = np.ascontiguousarray(masses, dtype=float)[None, :, None]
    new, out = np.full_like(view, np.nan), np.full((2, 1, 1), np.nan)
    places = np.ascontiguousarray(feet, dtype=float)[None, :, None]
    limited = remap(view, places, remap_table(order), WALL[wall], new, out)
    return new[0, :, 0], out[:, 0, 0], limited


def switched(
    values: Array, order: int, wall: str, to_points: bool, limit: bool = True
) -> tuple[Array, int]:
    """One line from averages to points or back, and how many cells were limited."""
    view = np.ascontiguousarray(values, dtype=float)[None, :, None]
    new = np.full_like(view, np.nan)
    weights = switch_weights(order)[0 if to_points else 1]
    limited = switch(view, weights, WALL[wall], limit, new)
    return new[0, :, 0], limited


@st.composite
def rough_lines(draw: st.DrawFn, most: int = 40) -> Array:
    """Cell masses: rough, of wildly different sizes, in one cell, whole numbers, or none."""
    cells = draw(st.integers(10, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = {
        "rough": lambda: rng.exponential(size=cells) ** 4,
        "gaps": lambda: rng.exponential(size=cells) * (rng.random(cells) < 0.3),
        "steep": lambda: 10.0 ** rng.uniform(-300, 3, cells),
        "one cell": lambda: np.eye(cells)[rng.integers(cells)],
        "whole": lambda: rng.integers(0, 4, cells).astype(float),
        "empty": lambda: np.zeros(cells),
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))]()
