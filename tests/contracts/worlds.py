"""Small worlds of one to four coordinates with every kind of wall, for the promises of methods."""

from collections.abc import Callable, Mapping

import numpy as np

import mfpde as mf
from mfpde.grids import Axis
from mfpde.problems.problem import Array

SAMPLES = 5

LINE, CIRCLE = mf.line(), mf.circle(1.5)
Axes = Mapping[str, tuple[Axis, mf.Geometry]]

WORLDS: dict[str, Axes] = {
    "closed": {"u": (mf.uniform(-1.2, 1.0, 13, walls="closed"), LINE)},
    "open": {"u": (mf.uniform(-1.2, 1.0, 70), LINE)},
    "open, stretched": {"u": (mf.stretched(-1.2, 1.0, 12), LINE)},
    "circle": {"u": (mf.periodic(0, 1.5, 12), CIRCLE)},
    "circle × open": {"u": (mf.periodic(0, 1.5, 9), CIRCLE), "v": (mf.uniform(-1, 1, 7), LINE)},
    "open × interval": {
        "u": (mf.stretched(-1, 1.3, 8), LINE),
        "v": (mf.uniform(-0.5, 0.8, 66), mf.interval(-0.5, 0.8)),
    },
    "closed³": {
        "u": (mf.uniform(-1, 1, 6, walls="closed"), LINE),
        "v": (mf.uniform(-1, 1, 4, walls="closed"), LINE),
        "w": (mf.uniform(-1, 1, 5, walls="closed"), LINE),
    },
    "circle × half line × open": {
        "u": (mf.periodic(0, 1.5, 6), CIRCLE),
        "v": (mf.stretched(0, 1.3, 5), mf.half_line()),
        "w": (mf.uniform(-1, 1, 4), LINE),
    },
    "all four": {
        "u": (mf.uniform(-1, 1.1, 4), LINE),
        "v": (mf.stretched(-1, 0.9, 5, walls="closed"), LINE),
        "w": (mf.periodic(0, 1.5, 4), CIRCLE),
        "z": (mf.stretched(-0.5, 0.8, 6), mf.interval(-0.5, 0.8)),
    },
}

# Uniform axes of ten cells and more, as stencils of high order need them.
FINE_WORLDS: dict[str, Axes] = {
    "fine, open": {"u": (mf.uniform(-1.2, 1.0, 40), LINE)},
    "fine, circle × closed": {
        "u": (mf.periodic(0, 1.5, 12), CIRCLE),
        "v": (mf.uniform(-1, 1, 10, walls="closed"), LINE),
    },
    "fine, interval × open × circle": {
        "u": (mf.uniform(-0.5, 0.8, 10), mf.interval(-0.5, 0.8)),
        "v": (mf.uniform(-1, 1, 11), LINE),
        "w": (mf.periodic(0, 1.5, 12), CIRCLE),
    },
}


def waves(axes: Axes, seed: int) -> Callable[[Array], Array]:
    """Features cos(k_i·θ + φ_i), one period or more round every circle: (N, D) -> (N, SAMPLES)."""
    k, shift = wave_numbers(axes, seed)
    return lambda points: np.cos(points @ k + shift)


def slopes_of_waves(axes: Axes, seed: int) -> Callable[[Array], Array]:
    """Their slopes: (N, D) -> (N, SAMPLES, D)."""
    k, shift = wave_numbers(axes, seed)
    return lambda points: -np.sin(points @ k + shift)[:, :, None] * k.T


def wave_numbers(axes: Axes, seed: int) -> tuple[Array, Array]:
    """k (D, SAMPLES) and φ (SAMPLES,)."""
    rng = np.random.default_rng(seed)
    k = rng.uniform(-2.5, 2.5, (len(axes), SAMPLES))
    for row, (_, geometry) in zip(k, axes.values(), strict=True):
        if geometry.kind == "circle":
            row[:] = 2 * np.pi / geometry.high * rng.integers(1, 3, SAMPLES)
    return k, rng.uniform(0, 2 * np.pi, SAMPLES)


def world(
    axes: Axes,
    features: Callable[[Array], Array] | None = None,
    loss: mf.Loss = mf.square,
    penalty: mf.Penalty | None = None,
    seed: int = 0,
    quadrature: int = 2,
) -> mf.WassersteinFlow:
    """A flow on these axes; by default waves are fitted to random targets."""
    rng = np.random.default_rng(seed + 1)
    weights = rng.uniform(0.5, 1.5, SAMPLES)
    y = rng.choice([-1.0, 1.0], SAMPLES) * (1.0 if loss.labels else rng.uniform(1, 3, SAMPLES))
    grid = mf.Grid(**{name: axis for name, (axis, _) in axes.items()})
    ends = np.array(list(grid.box.values()))
    problem = mf.Problem(
        grid.coords,
        phi=waves(axes, seed) if features is None else features,
        dphi=slopes_of_waves(axes, seed) if features is None else None,
        loss=loss(y, weights / weights.sum()),
        penalty=penalty,
        initial=mf.uniform_box(*ends.T),
        domain={name: geometry for name, (_, geometry) in axes.items()},
    )
    return mf.WassersteinFlow(problem, grid, quadrature)


def rough(flow: mf.WassersteinFlow, seed: int, filled: float = 0.6) -> Array:
    """A density of mass 1 that jumps by orders of magnitude from cell to cell, with empty cells."""
    rng = np.random.default_rng(seed)
    rho = rng.exponential(size=flow.grid.shape) ** 4 * (rng.random(flow.grid.shape) < filled)
    return rho / flow.mass(rho)
