"""Problems of the package whose density is known, each with its closed form and a box."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import xarray as xr
from exact.solutions import (
    Array,
    CosineTorus,
    Density,
    LinearData,
    LinearNetwork,
    Normal,
    QuadraticNeurons,
    QuadraticPotential,
    cell_averages,
    gaussian_flow,
    poisson_kernel,
    wrapped,
)

import mfpde as mf

LEAK = 1e-3  # mass a coarse, diffusive run may lose; it counts as error
THE_PREDICTION_ITSELF = mf.Loss(
    value=lambda f, y: f,
    slope=lambda f, y: np.ones_like(f),
    curvature=lambda f, y: np.zeros_like(f),
    smoothness=0.0,
)
MakeAxis = Callable[[float, float, int], mf.Axis]
closed: MakeAxis = partial(mf.uniform, walls="closed")  # nothing diffuses through a wall


@dataclass(frozen=True)
class Case:
    """A problem, its true density, and where to look.

    Attributes:
        problem: what is solved.
        density: the true ρ_t, by time.
        prediction: the true f at the samples, by time.
        box: ends of every axis; ``axis`` makes axes on them.
        horizon: the time at which runs are compared.
    """

    problem: mf.Problem | mf.KernelProblem
    density: Callable[[float], Density]
    prediction: Callable[[float], Array]
    box: Mapping[str, tuple[float, float]]
    horizon: float
    axis: MakeAxis = mf.uniform

    def grid(self, cells: int) -> mf.Grid:
        """A grid of ``cells`` along every axis."""
        return mf.Grid(**{c: self.axis(lo, hi, cells) for c, (lo, hi) in self.box.items()})

    def run(self, method: mf.Method, cells: int, instants: int = 2) -> xr.Dataset:
        """From the start to the horizon, kept at ``instants`` equally spaced times."""
        times = np.linspace(0.0, self.horizon, instants)
        return mf.solve(self.problem, self.grid(cells), method, times, escaped_tolerance=LEAK)

    def averages(self, grid: mf.Grid, t: float) -> Array:
        """The true cell averages at time t."""
        edges = [axis.edges for axis in grid.axes.values()]
        return cell_averages(self.density(t), edges, nodes=3)


def square_box(coords: tuple[str, ...], half: float) -> dict[str, tuple[float, float]]:
    """[−half, half] along every axis."""
    return dict.fromkeys(coords, (-half, half))


def law_of(start: Normal) -> mf.Law:
    """The same law for the package, axis by axis where its coordinates are independent."""
    variance = np.diag(start.cov)
    if np.array_equal(start.cov, np.diag(variance)):
        return mf.gaussian(mean=start.mean, std=np.sqrt(variance))
    return mf.gaussian(mean=start.mean, cov=start.cov)


def rotation(std: float, angle: float, half: float, axis: MakeAxis = mf.uniform) -> Case:
    """X1 with the one sample (1, 0.8) from N((0.2, 0.3), std²), until G = angle."""
    x, y, p = np.array([1.0]), np.array([0.8]), np.array([1.0])
    start = Normal.isotropic([0.2, 0.3], std)
    solution = LinearNetwork.of(x, y, p, start.second_moments)
    return Case(
        problem=mf.two_layer(
            x, y, activation=mf.identity, initial=mf.gaussian(mean=[0.2, 0.3], std=std)
        ),
        density=lambda t: solution.density(start.density, t),
        prediction=lambda t: solution.c(t) * x,
        box=square_box(("a", "w"), half),
        horizon=solution.time(angle),
        axis=axis,
    )


def gaussian_case(
    data: LinearData, start: Normal, half: float, horizon: float, axis: MakeAxis = mf.uniform
) -> Case:
    """X1 in any dimension, with ridge and entropy."""
    alpha, beta = data.ridge
    d = data.x.shape[1]

    def law(t: float) -> Normal:
        return gaussian_flow(data, start, [t])[0]

    problem = mf.two_layer(
        data.x[:, 0] if d == 1 else data.x,
        data.y,
        activation=mf.identity,
        weights=data.weights,
        penalty=mf.ridge([alpha] + [beta] * d),
        entropy=data.entropy,
        initial=law_of(start),
    )
    return Case(
        problem=problem,
        density=lambda t: law(t).density,
        prediction=lambda t: data.prediction(law(t)),
        box=square_box(problem.coords, half),
        horizon=horizon,
        axis=axis,
    )


def quadratic_neurons(horizon: float) -> Case:
    """X2 on three samples from N(0.3, 0.5²)."""
    x, y, p = np.array([0.6, 1.0, -1.2]), np.array([0.3, 0.5, 0.4]), np.array([0.5, 0.3, 0.2])
    start = Normal.isotropic([0.3], 0.5)
    solution = QuadraticNeurons(
        float(p @ x**4), float(p @ (x**2 * y)), float(start.second_moments[0, 0])
    )
    return Case(
        problem=mf.two_layer(
            x,
            y,
            activation=mf.quadratic,
            weights=p,
            output_weight=False,
            initial=mf.gaussian(mean=0.3, std=0.5),
        ),
        density=lambda t: solution.density(start.density, t),
        prediction=lambda t: x**2 * solution.S(t),
        box={"w": (-4.0, 4.0)},
        horizon=horizon,
    )


def cosine_torus(horizon: float, angle: float = 0.9) -> Case:
    """X4 from the uniform law, five equally spaced inputs standing for all (exactly)."""
    solution = CosineTorus(target=0.7 * np.exp(1j * angle), start=0.0)
    x = 2 * np.pi * np.arange(5) / 5
    length = 2 * np.pi

    def seen(z: complex) -> Array:
        return np.real(np.exp(1j * x) * np.conj(z))

    return Case(
        problem=mf.Problem(
            ("w",),
            phi=lambda w: np.cos(x - w),
            dphi=lambda w: np.sin(x - w)[:, :, None],
            d2phi=lambda w: -np.cos(x - w)[:, :, None, None],
            loss=mf.square(seen(solution.target)),
            initial=mf.uniform_box(0.0, length),
            domain={"w": mf.circle(length)},
        ),
        density=lambda t: poisson_kernel(solution.centroids([t])[0]),
        prediction=lambda t: seen(solution.centroids([t])[0]),
        box={"w": (0.0, length)},
        horizon=horizon,
        axis=mf.periodic,
    )


def frozen_kernel(
    potential: QuadraticPotential, start: Normal, half: float, horizon: float
) -> Case:
    """X12 as a kernel problem: K = 0 and F = −V."""
    coords = ("a", "w")[: len(start.mean)]
    problem = mf.kernel_problem(
        coords,
        K=lambda u, v: np.zeros((len(u), len(v))),
        F=lambda u: -potential.value(u),
        dK=lambda u, v: np.zeros((len(u), len(v), len(coords))),
        dF=lambda u: -potential.gradient(u),
        entropy=potential.entropy,
        initial=law_of(start),
    )
    return frozen(problem, potential, start, half, horizon)


def frozen_features(
    potential: QuadraticPotential, start: Normal, half: float, horizon: float
) -> Case:
    """X12 as one feature, V itself, under the risk f."""
    problem = mf.Problem(
        ("a", "w")[: len(start.mean)],
        phi=lambda u: potential.value(u)[:, None],
        dphi=lambda u: potential.gradient(u)[:, None, :],
        loss=THE_PREDICTION_ITSELF(np.zeros(1)),
        entropy=potential.entropy,
        initial=law_of(start),
    )
    return frozen(problem, potential, start, half, horizon)


def frozen_ridge(strengths: Sequence[float], entropy: float, start: Normal, half: float) -> Case:
    """X12 as a ridge penalty on neurons that predict nothing: Ornstein-Uhlenbeck, axis by axis."""
    potential = QuadraticPotential(np.diag(strengths), entropy)
    problem = mf.Problem(
        ("a", "w")[: len(strengths)],
        phi=lambda u: np.zeros((len(u), 1)),
        dphi=lambda u: np.zeros((len(u), 1, u.shape[1])),
        loss=mf.square(np.zeros(1)),
        penalty=mf.ridge(strengths),
        entropy=entropy,
        initial=law_of(start),
    )
    case = frozen(problem, potential, start, half, horizon=0.5)
    return replace(case, prediction=lambda t: np.zeros(1))


def heat_on_a_circle(mean: float, std: float, entropy: float, horizon: float) -> Case:
    """∂_t ρ = λΔρ on R/2πZ: a normal law wrapped round it has the variance std² + 2λt."""
    length = 2 * np.pi
    problem = mf.Problem(
        ("w",),
        phi=lambda w: np.zeros((len(w), 1)),
        dphi=lambda w: np.zeros((len(w), 1, 1)),
        loss=mf.square(np.zeros(1)),
        entropy=entropy,
        initial=mf.gaussian(mean=mean, std=std),
        domain={"w": mf.circle(length)},
    )
    return Case(
        problem=problem,
        density=lambda t: wrapped(
            Normal.isotropic([mean], np.sqrt(std**2 + 2 * entropy * t)).density, length
        ),
        prediction=lambda t: np.zeros(1),
        box={"w": (0.0, length)},
        horizon=horizon,
        axis=mf.periodic,
    )


def frozen(
    problem: mf.Problem | mf.KernelProblem,
    potential: QuadraticPotential,
    start: Normal,
    half: float,
    horizon: float,
) -> Case:
    """X12, however the package is told the potential; f, if there is one, is ∫V dρ."""

    def mean_potential(t: float) -> Array:
        second_moments = potential.evolved(start, t).second_moments
        return np.full(len(problem.y), 0.5 * np.sum(potential.A * second_moments))

    return Case(
        problem=problem,
        density=lambda t: potential.evolved(start, t).density,
        prediction=mean_potential,
        box=square_box(problem.coords, half),
        horizon=horizon,
        axis=closed if problem.entropy > 0 else mf.uniform,
    )


RIDGE_DATA = LinearData(
    np.array([[-1.2], [0.4], [0.9]]),
    np.array([1.4, 1.0, 2.2]),
    np.array([0.5, 0.2, 0.3]),
    ridge=(0.5, 0.3),
)
PLANE_DATA = LinearData(
    np.array([[1.0, 0.2], [-0.3, 0.8], [0.5, -1.0]]),
    np.array([0.4, -0.3, 0.6]),
    np.array([0.2, 0.3, 0.5]),
)
SADDLE = QuadraticPotential(np.array([[0.5, 0.2], [0.2, -0.3]]))
BOWL = QuadraticPotential(np.array([[0.5]]))

CASES: dict[str, Case] = {
    "X1": rotation(std=0.6, angle=-0.2, half=4.0),
    "X1 stretched": rotation(std=0.6, angle=-0.2, half=4.0, axis=mf.stretched),
    "X1 case A": rotation(std=0.35, angle=-0.6, half=3.0),
    "X1 ridge": gaussian_case(
        RIDGE_DATA,
        Normal(np.array([0.2, 0.3]), np.array([[0.4, 0.1], [0.1, 0.4]])),
        half=4.0,
        horizon=0.2,
    ),
    "X1 3-D": gaussian_case(
        PLANE_DATA, Normal.isotropic([0.2, 0.3, -0.1], 0.7), half=4.0, horizon=0.3
    ),
    "X1 3-D ridge": gaussian_case(
        replace(PLANE_DATA, ridge=(0.4, 0.2)),
        Normal.isotropic([0.2, 0.3, -0.1], 0.7),
        half=4.0,
        horizon=0.3,
    ),
    "X2": quadratic_neurons(horizon=0.3),
    "X4": cosine_torus(horizon=4.0),
    "X12 bowl": frozen_kernel(BOWL, Normal.isotropic([0.3], 0.6), half=4.0, horizon=0.5),
    "X12 saddle": frozen_features(SADDLE, Normal.isotropic([0.3, 0.1], 0.6), half=4.0, horizon=0.3),
}

NOISE = 0.05  # λ
ENTROPIC: dict[str, Case] = {  # λ > 0, within closed walls
    "X1 entropy": gaussian_case(
        replace(RIDGE_DATA, entropy=NOISE),
        Normal(np.array([0.2, 0.3]), np.array([[0.4, 0.1], [0.1, 0.4]])),
        half=4.8,
        horizon=0.2,
        axis=closed,
    ),
    "X1 3-D entropy": gaussian_case(
        replace(PLANE_DATA, ridge=(0.4, 0.2), entropy=NOISE),
        Normal.isotropic([0.2, 0.3, -0.1], 0.7),
        half=4.2,
        horizon=0.3,
        axis=closed,
    ),
    "X12 bowl entropy": frozen_kernel(
        replace(BOWL, entropy=NOISE), Normal.isotropic([0.3], 0.6), half=4.0, horizon=0.5
    ),
    "X12 saddle entropy": frozen_features(
        replace(SADDLE, entropy=NOISE), Normal.isotropic([0.3, 0.1], 0.6), half=4.6, horizon=0.3
    ),
    "X12 ridge entropy": frozen_ridge(
        [0.8, 0.5], NOISE, Normal.isotropic([0.3, -0.2], 0.6), half=4.6
    ),
    "heat on a circle": heat_on_a_circle(mean=2.0, std=0.5, entropy=NOISE, horizon=2.0),
}
