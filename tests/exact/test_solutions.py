"""The closed forms themselves: against the equation, against each other, against quadrature."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
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
)
from scipy.stats import norm

ONE_SAMPLE = (np.array([1.0]), np.array([0.8]), np.array([1.0]))
THREE_SAMPLES = (np.array([-1.2, 0.4, 0.9]), np.array([0.7, 0.5, 1.1]), np.array([0.5, 0.2, 0.3]))
START = Normal(np.array([0.2, 0.3]), np.array([[0.36, 0.1], [0.1, 0.2]]))
PLANE = Normal(np.array([0.2, 0.3, -0.1]), 0.16 * np.eye(3) + 0.04)
PLANE_DATA = LinearData(
    np.array([[1.0, 0.2], [-0.3, 0.8], [0.5, -1.0]]),
    np.array([0.4, -0.3, 0.6]),
    np.array([0.2, 0.3, 0.5]),
    ridge=(0.3, 0.1),
    entropy=0.05,
)


def linear_network(samples: tuple[Array, Array, Array], start: Normal) -> LinearNetwork:
    return LinearNetwork.of(*samples, start.second_moments)


# ------------------------------------------------------------------- every form solves the equation
@dataclass(frozen=True)
class Claim:
    """A density of which someone says that it solves ∂_t ρ = ∇·(ρ∇V_ρ) + λΔρ."""

    density: Callable[[float], Density]
    features: Callable[[Array], Array]  # Φ, (N, D) -> (N, n)
    y: Array
    weights: Array
    penalty: Callable[[Array], Array]
    entropy: float
    axes: tuple[Array, ...]  # of the trapezoidal rule, which is spectral for these densities
    near: Array  # (N, D) where the equation is looked at

    def masses(self, t: float) -> tuple[Array, Array]:
        """Points of the trapezoidal rule, and their masses under the density."""
        points = np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1)
        points = points.reshape(-1, len(self.axes))
        return points, self.density(t)(points) * np.prod([a[1] - a[0] for a in self.axes])

    def potential(self, t: float) -> Density:
        points, masses = self.masses(t)
        slope = self.weights * (masses @ self.features(points) - self.y)
        return lambda points: self.features(points) @ slope + self.penalty(points)


def nothing(points: Array) -> Array:
    return np.zeros(len(points))


def scattered(low: float, high: float, dimension: int) -> Array:
    return np.random.default_rng(1).uniform(low, high, (40, dimension))


def linear_claim() -> Claim:
    x, y, p = THREE_SAMPLES
    solution = linear_network(THREE_SAMPLES, START)
    return Claim(
        density=lambda t: solution.density(START.density, t),
        features=lambda q: q[:, :1] * q[:, 1:] * x,
        y=y,
        weights=p,
        penalty=nothing,
        entropy=0.0,
        axes=(np.linspace(-8, 8, 161),) * 2,
        near=scattered(-1, 1, 2),
    )


def gaussian_claim() -> Claim:
    def at(t: float) -> Density:
        return gaussian_flow(PLANE_DATA, PLANE, [t])[0].density

    alpha, beta = PLANE_DATA.ridge
    return Claim(
        density=at,
        features=lambda q: q[:, :1] * (q[:, 1:] @ PLANE_DATA.x.T),
        y=PLANE_DATA.y,
        weights=PLANE_DATA.weights,
        penalty=lambda q: 0.5 * (alpha * q[:, 0] ** 2 + beta * (q[:, 1:] ** 2).sum(axis=1)),
        entropy=PLANE_DATA.entropy,
        axes=(np.linspace(-4, 4, 41),) * 3,
        near=scattered(-0.7, 0.7, 3),
    )


def quadratic_claim() -> Claim:
    x, y, p = THREE_SAMPLES
    start = Normal.isotropic([0.4], 0.5)
    solution = QuadraticNeurons(p @ x**4, p @ (x**2 * y), float(start.second_moments[0, 0]))
    return Claim(
        density=lambda t: solution.density(start.density, t),
        features=lambda q: q**2 * x**2,
        y=y,
        weights=p,
        penalty=nothing,
        entropy=0.0,
        axes=(np.linspace(-8, 8, 321),),
        near=scattered(-1, 1, 1),
    )


def cosine_claim() -> Claim:
    solution = CosineTorus(target=0.5 * np.exp(0.7j), start=0.3 - 0.2j)
    x = 2 * np.pi * np.arange(5) / 5  # exact for the second moments of cos and sin

    def at(t: float) -> Density:
        return poisson_kernel(solution.centroids([t])[0])

    return Claim(
        density=at,
        features=lambda q: np.cos(x - q),
        y=np.real(np.exp(1j * x) * solution.target.conjugate()),
        weights=np.full(5, 0.2),
        penalty=nothing,
        entropy=0.0,
        axes=(2 * np.pi * np.arange(128) / 128,),
        near=scattered(0, 2 * np.pi, 1),
    )


def frozen_claim(entropy: float) -> Claim:
    potential = QuadraticPotential(np.array([[0.8, 0.3], [0.3, -0.5]]), entropy)
    return Claim(
        density=lambda t: potential.evolved(START, t).density,
        features=lambda q: np.zeros((len(q), 1)),
        y=np.zeros(1),
        weights=np.ones(1),
        penalty=potential.value,
        entropy=entropy,
        axes=(np.linspace(-8, 8, 81),) * 2,
        near=scattered(-1, 1, 2),
    )


CLAIMS = {
    "linear": linear_claim(),
    "gaussian": gaussian_claim(),
    "quadratic": quadratic_claim(),
    "cosine": cosine_claim(),
    "saddle": frozen_claim(0.0),
    "saddle with entropy": frozen_claim(0.2),
}
STENCIL = np.array([-2, -1, 0, 1, 2])
FIRST = np.array([1, -8, 0, 8, -1]) / 12  # fourth-order central differences
SECOND = np.array([-1, 16, -30, 16, -1]) / 12
h = 4e-3


def derivatives(function: Density, points: Array, k: int) -> tuple[Array, Array]:
    """First and second derivative along coordinate k, off by O(h⁴)."""
    step = h * np.eye(points.shape[1])[k]
    values = np.array([function(points + s * step) for s in STENCIL])
    return FIRST @ values / h, SECOND @ values / h**2


@pytest.mark.parametrize("name", CLAIMS)
def test_form_solves_the_equation(name: str) -> None:
    claim, t = CLAIMS[name], 0.4
    points, rho, V = claim.near, claim.density(t), claim.potential(t)
    history = np.array([claim.density(t + s * h)(points) for s in STENCIL])
    rate = FIRST @ history / h
    transport, diffusion = np.zeros(len(points)), np.zeros(len(points))
    for k in range(points.shape[1]):
        (d_rho, dd_rho), (d_V, dd_V) = derivatives(rho, points, k), derivatives(V, points, k)
        transport += d_rho * d_V + rho(points) * dd_V
        diffusion += dd_rho
    assert np.abs(rate).max() > 1e-2
    residual = rate - transport - claim.entropy * diffusion
    np.testing.assert_allclose(residual, 0, atol=1e-7 * np.abs(rate).max())


@pytest.mark.parametrize("name", CLAIMS)
def test_form_is_a_probability_density(name: str) -> None:
    _, masses = CLAIMS[name].masses(0.4)
    assert masses.min() >= 0
    assert masses.sum() == pytest.approx(1, abs=1e-9)


# ------------------------------------------------------------------------------------------- X1
@pytest.mark.parametrize("samples", [ONE_SAMPLE, THREE_SAMPLES])
def test_rotation_agrees_with_the_moment_equations(samples: tuple[Array, Array, Array]) -> None:
    x, y, p = samples
    solution = linear_network(samples, START)
    times = [0.0, 0.3, 1.0, 4.0]
    laws = gaussian_flow(LinearData(x[:, None], y, p), START, times)
    points = scattered(-1, 1, 2)
    for t, law in zip(times, laws, strict=True):
        closed = START.image(solution.map(t))
        np.testing.assert_allclose(law.mean, closed.mean, atol=1e-11)
        np.testing.assert_allclose(law.cov, closed.cov, atol=1e-11)
        assert solution.c(t) == pytest.approx(law.second_moments[0, 1], abs=1e-11)
        np.testing.assert_allclose(
            solution.density(START.density, t)(points), closed.density(points), rtol=1e-11
        )


def test_time_and_angle_are_inverse() -> None:
    solution = linear_network(ONE_SAMPLE, START)
    for t in (1e-3, 0.2, 1.0, 3.0):
        assert solution.time(solution.G(t)) == pytest.approx(t, rel=1e-10)
    assert solution.G(0) == 0


def test_angle_obeys_its_equation() -> None:
    solution = linear_network(THREE_SAMPLES, START)
    for t in (0.1, 0.7, 2.0):
        slope = FIRST @ [solution.G(t + s * h) for s in STENCIL] / h
        assert slope == pytest.approx(solution.s2 * solution.c(t) - solution.b, abs=1e-8)


def test_network_fits_the_data_in_the_end() -> None:
    solution = linear_network(THREE_SAMPLES, START)
    assert solution.c(60.0) == pytest.approx(solution.b / solution.s2, rel=1e-12)


def test_case_A_takes_the_time_it_is_known_to_take() -> None:
    start = Normal.isotropic([0.2, 0.3], 0.35)
    assert linear_network(ONE_SAMPLE, start).time(-0.6) == pytest.approx(1.031, abs=5e-4)


def test_risk_of_the_rotation_falls_by_its_dissipation() -> None:
    x, y, p = THREE_SAMPLES
    solution = linear_network(THREE_SAMPLES, START)
    for t in (0.1, 0.7, 2.0):
        risks = [0.5 * p @ (solution.c(t + s * h) * x - y) ** 2 for s in STENCIL]
        assert FIRST @ risks / h == pytest.approx(-solution.dissipation(t), rel=1e-6)


def test_energy_of_the_gaussian_falls_by_its_dissipation() -> None:
    """dF/dt = −E|Hθ − λS^{-1}(θ − m)|², the Gaussian's ∇V + λ∇log ρ."""
    t = 0.6
    laws = gaussian_flow(PLANE_DATA, PLANE, [t + s * h for s in STENCIL])
    law = laws[2]
    H, S = PLANE_DATA.hessian(law), law.cov
    A = H - PLANE_DATA.entropy * np.linalg.inv(S)
    expected = np.trace(A @ S @ A.T) + np.sum((H @ law.mean) ** 2)
    slope = FIRST @ [PLANE_DATA.energy(law) for law in laws] / h
    assert slope == pytest.approx(-expected, rel=1e-7)


# -------------------------------------------------------------------------------------- X2, X4, X12
def test_spread_of_quadratic_neurons_is_that_of_their_density() -> None:
    start = Normal.isotropic([0.4], 0.5)
    solution = QuadraticNeurons(0.8, 0.5, float(start.second_moments[0, 0]))
    w = np.linspace(-8, 8, 1601)
    for t in (0.0, 0.5, 3.0):
        density = solution.density(start.density, t)(w[:, None])
        assert np.sum(w**2 * density) * 0.01 == pytest.approx(solution.S(t), rel=1e-12)
    assert solution.S(40.0) == pytest.approx(0.5 / 0.8, rel=1e-12)


def test_centroid_of_a_poisson_kernel() -> None:
    w = 2 * np.pi * np.arange(200) / 200
    z = 0.6 * np.exp(1.1j)
    mass = poisson_kernel(z)(w[:, None]) * 2 * np.pi / 200
    assert np.sum(mass) == pytest.approx(1, rel=1e-12)
    assert np.sum(mass * np.exp(1j * w)) == pytest.approx(z, rel=1e-12)


def test_radius_from_a_uniform_start() -> None:
    solution = CosineTorus(target=0.5 * np.exp(0.7j), start=0.0)
    radii = [0.1, 0.3, 0.45]
    z = solution.centroids([solution.time_of_radius(r) for r in radii])
    np.testing.assert_allclose(z, np.array(radii) * np.exp(0.7j), rtol=1e-10)


def test_loss_on_the_torus_is_the_mean_over_inputs() -> None:
    solution, z = CosineTorus(target=0.5 * np.exp(0.7j), start=0.0), 0.2 - 0.3j
    x = 2 * np.pi * np.arange(7) / 7
    f, y = (np.real(np.exp(1j * x) * np.conj(c)) for c in (z, solution.target))
    assert solution.loss(z) == pytest.approx(0.5 * np.mean((f - y) ** 2), rel=1e-12)


@pytest.mark.parametrize("entropy", [0.0, 0.1])
@pytest.mark.parametrize("rates", [(1.0, 0.5), (1.0, -0.5)])
def test_frozen_potential_agrees_with_the_moment_equations(
    rates: tuple[float, float], entropy: float
) -> None:
    nothing_to_learn = LinearData(np.zeros((1, 1)), np.zeros(1), np.ones(1), rates, entropy)
    law = gaussian_flow(nothing_to_learn, START, [1.3])[0]
    closed = QuadraticPotential(np.diag(rates), entropy).evolved(START, 1.3)
    np.testing.assert_allclose(law.mean, closed.mean, atol=1e-12)
    np.testing.assert_allclose(law.cov, closed.cov, atol=1e-12)


def test_variance_of_an_ornstein_uhlenbeck_process() -> None:
    k, entropy, s0, t = 0.7, 0.2, 0.9, 0.8
    law = QuadraticPotential(np.array([[k]]), entropy).evolved(Normal.isotropic([1.0], s0**0.5), t)
    expected = entropy / k + (s0 - entropy / k) * np.exp(-2 * k * t)
    assert law.cov[0, 0] == pytest.approx(expected, rel=1e-14)


# -------------------------------------------------------------------------------------- quadrature
def test_cell_averages_of_a_gaussian_are_differences_of_its_distribution() -> None:
    edges = np.sort(np.random.default_rng(2).uniform(-3, 3, 30))
    averages = cell_averages(Normal.isotropic([0.2], 0.7).density, [edges], nodes=8)
    np.testing.assert_allclose(
        averages, np.diff(norm.cdf(edges, 0.2, 0.7)) / np.diff(edges), rtol=1e-10
    )


def test_cell_averages_are_exact_for_polynomials() -> None:
    a, w = np.array([0.0, 0.5, 2.0]), np.array([-1.0, 1.0, 1.5])
    averages = cell_averages(lambda q: q[:, 0] ** 3 * q[:, 1] ** 2, [a, w], nodes=2)
    means = [np.diff(e ** (k + 1)) / (k + 1) / np.diff(e) for e, k in ((a, 3), (w, 2))]
    np.testing.assert_allclose(averages, np.multiply.outer(*means), rtol=1e-14)
