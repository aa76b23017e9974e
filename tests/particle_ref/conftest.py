"""Problems made by hand, so that the particles are tested without the package they check.

All formulas accept complex numbers where that is possible: derivatives are checked by complex
steps, which have no cancellation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

from particle_ref import force

SIGMAS = {
    "identity": (lambda z: z + 0, np.ones_like),
    "relu": (lambda z: np.where(z.real > 0, z, 0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "sigmoid": (special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "plain sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 0.25 / np.cosh(z / 2) ** 2),
    "erf": (special.erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-(z**2))),
    "softplus": (lambda z: np.log(1 + np.exp(z)), lambda z: 1 / (1 + np.exp(-z))),
    "cos": (np.cos, lambda z: -np.sin(z)),
    "quadratic": (lambda z: z * z, lambda z: 2 * z),
    "step": (lambda z: np.where(z.real > 0, 1.0, 0.0), None),
}
CURVATURES = {
    "identity": np.zeros_like,
    "tanh": lambda z: -2 * np.tanh(z) / np.cosh(z) ** 2,
    "sigmoid": lambda z: -special.expit(z) * special.expit(-z) * np.tanh(z / 2),
    "erf": lambda z: -4 / np.sqrt(np.pi) * z * np.exp(-(z**2)),
    "softplus": lambda z: special.expit(z) * special.expit(-z),
    "cos": lambda z: -np.cos(z),
    "quadratic": lambda z: np.full_like(z, 2.0),
}
HUBER = 0.3
POINTWISE_LOSSES = {
    "square": (lambda f, y: (f - y) ** 2 / 2, lambda f, y: f - y),
    "logistic": (
        lambda f, y: np.log(1 + np.exp(-y * f)),
        lambda f, y: -y / (1 + np.exp(y * f)),
    ),
    "huber": (
        lambda f, y: np.where(
            abs((f - y).real) < HUBER,
            (f - y) ** 2 / 2,
            HUBER * ((f - y) * np.sign((f - y).real) - HUBER / 2),
        ),
        lambda f, y: np.clip(f - y, -HUBER, HUBER),
    ),
}


@dataclass(frozen=True)
class Loss:
    y: np.ndarray
    weights: np.ndarray
    name: str

    def risk(self, f):
        return self.weights @ POINTWISE_LOSSES[self.name][0](f, self.y)

    def slope(self, f):
        return self.weights * POINTWISE_LOSSES[self.name][1](f, self.y)


@dataclass(frozen=True)
class Penalty:
    value: Callable = lambda u: np.zeros(len(u))
    gradient: Callable = np.zeros_like
    prox: Callable | None = lambda u, step: u.copy()


def ridge(mu):
    return Penalty(
        lambda u: mu / 2 * (u * u).sum(axis=1), lambda u: mu * u, lambda u, h: u / (1 + h * mu)
    )


def total_variation(s):
    def soft(u, h):
        a = np.sign(u[:, :1]) * np.maximum(abs(u[:, :1]) - h * s, 0)
        return np.hstack([a, u[:, 1:]])

    return Penalty(
        lambda u: s * abs(u[:, 0]),
        lambda u: np.hstack([s * np.sign(u[:, :1]), 0 * u[:, 1:]]),
        soft,
    )


@dataclass(frozen=True)
class Normal:
    """N(mean, diag std²): all that quadrature and densities ask of a law."""

    mean: np.ndarray
    std: np.ndarray

    def from_uniform(self, u):
        return self.mean + self.std * special.ndtri(u)

    def log_density(self, u):
        z = (u - self.mean) / self.std
        return -(z**2).sum(axis=1) / 2 - np.log(np.sqrt(2 * np.pi) * self.std).sum()

    def nodes(self, k):
        z, w = special.roots_hermitenorm(k)
        D = len(self.mean)
        at = np.indices([k] * D).reshape(D, -1).T
        return self.mean + self.std * z[at], (w / w.sum())[at].prod(axis=1)

    def reach(self, tail):
        z = special.ndtri(tail)
        return self.mean + z * self.std, self.mean - z * self.std

    @property
    def support(self):
        return np.full(self.mean.shape, -np.inf), np.full(self.mean.shape, np.inf)


@dataclass(frozen=True)
class Problem:
    """Whatever particles ask of a problem; kernel problems have K and no phi."""

    coords: tuple
    penalty: Penalty = field(default_factory=Penalty)
    entropy: float = 0.0
    initial: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(from_uniform=special.ndtri)
    )
    domain: dict = field(default_factory=dict)
    x: np.ndarray = field(default_factory=lambda: np.empty(0))
    y: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def weights(self):
        loss = getattr(self, "loss", None)
        return np.empty(0) if loss is None else loss.weights


@dataclass(frozen=True)
class FeatureProblem(Problem):
    phi: Callable | None = None
    dphi: Callable | None = None
    d2phi: Callable | None = None
    loss: Loss | None = None
    lifted: bool = False
    activation: SimpleNamespace | None = None
    inputs: np.ndarray | None = None
    bias: bool = False


@dataclass(frozen=True)
class KernelProblem(Problem):
    K: Callable | None = None
    F: Callable | None = None
    dK: Callable | None = None
    dF: Callable | None = None
    const: float = 0.0


def two_layer(
    x, y, activation="tanh", loss="square", bias=False, output_weight=True, fast=True, **others
):
    """A network; with fast=False it offers only phi and dphi, as any other features would."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    inputs = x.reshape(len(x), -1)
    value, slope = SIGMAS[activation]
    curvature = CURVATURES.get(activation)
    directions = np.column_stack([inputs, np.ones(len(x))]) if bias else inputs
    d = inputs.shape[1]
    names = ["w"] if d == 1 else [f"w{k + 1}" for k in range(d)]
    p = others.pop("weights", np.full(len(x), 1 / len(x)))
    return FeatureProblem(
        coords=(*(["a"] if output_weight else []), *names, *(["b"] if bias else [])),
        phi=lambda v: value(v @ directions.T),
        dphi=slope and (lambda v: slope(v @ directions.T)[:, :, None] * directions),
        d2phi=curvature
        and (
            lambda v: np.einsum(
                "ji,ik,il->jikl", curvature(v @ directions.T), directions, directions
            )
        ),
        loss=Loss(y, np.asarray(p, dtype=float), loss),
        lifted=output_weight,
        activation=SimpleNamespace(value=value, slope=slope, curvature=curvature) if fast else None,
        inputs=inputs if fast else None,
        bias=bias,
        x=x,
        y=y,
        **others,
    )


def as_kernel(problem):
    """The same square-loss problem through its kernel ½∬Kρρ − ∫Fρ + const."""
    p, y = problem.loss.weights, problem.y

    def features(u):
        return u[:, :1] * problem.phi(u[:, 1:]) if problem.lifted else problem.phi(u)

    def gradients(u):
        if not problem.lifted:
            return problem.dphi(u)
        psi, dpsi = problem.phi(u[:, 1:]), problem.dphi(u[:, 1:])
        return np.concatenate([psi[:, :, None], u[:, 0, None, None] * dpsi], axis=2)

    return KernelProblem(
        coords=problem.coords,
        penalty=problem.penalty,
        K=lambda u, v: features(u) * p @ features(v).T,
        F=lambda u: features(u) @ (p * y),
        dK=lambda u, v: np.einsum("jik,i,li->jlk", gradients(u), p, features(v)),
        dF=lambda u: np.einsum("jik,i->jk", gradients(u), p * y),
        const=p @ y**2 / 2,
    )


def objective(problem, position, weight):
    """F_m = risk + Σ p_j reg(u_j), in plain sums; complex positions are welcome."""
    penalty = weight @ problem.penalty.value(position)
    if isinstance(problem, KernelProblem):
        quadratic = weight @ problem.K(position, position) @ weight / 2
        return quadratic - weight @ problem.F(position) + problem.const + penalty
    a, v = (position[:, 0], position[:, 1:]) if problem.lifted else (1, position)
    return problem.loss.risk((weight * a) @ problem.phi(v)) + penalty


def complex_step(function, u, step=1e-30):
    """The gradient of a real-analytic function of an array, to rounding."""
    gradient = np.empty(u.shape)
    for index in np.ndindex(u.shape):
        shifted = u.astype(complex)
        shifted[index] += 1j * step
        gradient[index] = function(shifted).imag / step
    return gradient


def normal(mean, std):
    mean, std = np.broadcast_arrays(np.asarray(mean, dtype=float), np.asarray(std, dtype=float))
    return Normal(mean, std)


def geometry(kind, low=-np.inf, high=np.inf):
    return SimpleNamespace(kind=kind, low=low, high=high)


@pytest.fixture(scope="session")
def toy():
    """The builders above: test modules cannot import one another."""
    return SimpleNamespace(
        SIGMAS=SIGMAS,
        Penalty=Penalty,
        Loss=Loss,
        FeatureProblem=FeatureProblem,
        KernelProblem=KernelProblem,
        ridge=ridge,
        total_variation=total_variation,
        two_layer=two_layer,
        as_kernel=as_kernel,
        objective=objective,
        complex_step=complex_step,
        geometry=geometry,
        normal=normal,
    )


@pytest.fixture
def plant_half_speed_in_w(monkeypatch):
    """Call it to plant an error: the pullback to the weights at half its size."""
    right, sums = force.layer, force.pulled_back

    def wrong(*args):
        psi, width = right(*args)

        def halved(v):
            S, pull = psi(v)
            return S, lambda r: pull(r) / 2

        return halved, width

    def wrong_sums(X, v, r):
        both = sums(X, v, r)
        both[1:] /= 2
        return both

    def plant():
        monkeypatch.setattr(force, "layer", wrong)
        monkeypatch.setattr(force, "pulled_back", wrong_sums)

    return plant
