"""How far networks of m neurons scatter about their mean-field limit: √m (f_m − f) → N(0, C(t)).

A neuron that starts at θ, added to the law with a small mass ε, changes the prediction by ε h(t),
its influence. All others answer along their linearised paths, J' = −Hess V J, J(0) = 1:

    h(t) = g(t) − ∫₀ᵗ M(t, s) W(s) h(s) ds        g(t) = Φ(X_t(θ)) − f(t)
    M(t, s) = ∫ ∇Φ(X_t) J_t J_s⁻¹ ∇Φ(X_s)ᵀ dρ_0    W = diag p_i ℓ''(f_i)

and C(t) is the covariance of h(t) under ρ_0: independent starts add their influences. The Volterra
equation is collocated at Chebyshev points in time, all θ at once: one matrix product, one solve.

Reference: Rotskoff & Vanden-Eijnden 2018 (arXiv 1805.00915), §2; Sirignano & Spiliopoulos 2018
(arXiv 1808.09372).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import numpy as np
import xarray as xr
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike

from particle_ref.arguments import check_problem, number, numbers
from particle_ref.cloud import Cloud
from particle_ref.errors import InvalidInput, NumericalStop
from particle_ref.history import instants, series
from particle_ref.methods.characteristics import check_followed
from particle_ref.potential import hessian
from particle_ref.problem import Array, FeatureProblem, KernelProblem, Problem
from particle_ref.runge_kutta import FINEST_TOLERANCE, integrate
from particle_ref.spaces import Space
from particle_ref.truth import Truth

FEWEST_INSTANTS = 8
LONGER = 1.5  # times as many instants in the next round
TIGHTER = 1e-2  # of the tolerance of the next round's nodes
MOST_EQUATIONS = 6000  # of the Volterra equation: instants times samples
MOST_NUMBERS = 2**26  # of all influences at all instants
BLOCK_NUMBERS = 2**21  # of the gradients of a block of nodes at all instants


def fluctuations(
    problem: Problem, times: ArrayLike, nodes: Cloud | None = None, tolerance: float = 1e-6
) -> xr.Dataset:
    """The covariance of √m (f_m − f) as m → ∞, for networks of m independent neurons at time 0.

    A band f ± 1.96 √(C_ii/m) holds the prediction of a wide network at a given sample and time in
    95 of 100 draws. The shift of its mean, E f_m − f, is O(1/m), 0 at time 0, and not in here.

    Args:
        problem: smooth, with λ = 0 and without walls; see ``Raises``.
        times: PDE times ≥ 0, increasing, (T,).
        nodes: a weighted cloud that stands for the initial law, such as
            ``pr.sample(problem, 4096, kind="sobol")``, where its own quadrature is out of reach;
            by default the nodes of :class:`Truth`. A given cloud's own error is not looked at.
        tolerance: of the covariance, relative to the largest variance: two rounds, with finer
            nodes and more instants each, agree to it.

    Returns:
        Dataset over ``time`` and ``sample`` (``sample_2`` again for the covariance) of

        - ``prediction``: f at the samples
        - ``covariance``: C, that of m neurons times m
        - ``variance``: its diagonal
        - ``risk_excess`` (time): ½ Σ p_i ℓ''(f_i) C_ii. Scatter alone raises the mean risk of m
          neurons by this over m; at time 0 that is all, to the order 1/m, and later only where
          the slope of the risk is 0: the shift of the mean counts too.

        The attribute ``reached`` is by how much the last two rounds differ.

    Raises:
        InvalidInput: for λ > 0, walls, a kernel problem, features without second derivatives
            (ReLU), a penalty that is not quadratic, a loss without curvature, a law without
            quadrature rules where no nodes are given.
        NumericalStop: when the tolerance is out of reach, saying how near it came.
    """
    moments = _times(times)
    if not FINEST_TOLERANCE <= number(tolerance) < 1:
        raise InvalidInput(
            f"tolerance = {tolerance!r}", f"a tolerance lies between {FINEST_TOLERANCE} and 1"
        )
    smooth = Smooth(problem)
    if nodes is not None:
        nodes = _admitted(smooth, nodes)
    count, gap, before = FEWEST_INSTANTS, np.inf, None
    for cloud in _clouds(problem, nodes, float(moments[-1]), tolerance):
        equations = count * len(problem.y)
        if equations > MOST_EQUATIONS or equations * len(cloud) > MOST_NUMBERS:
            break
        f, h = influence(smooth, cloud, moments, count, max(FINEST_TOLERANCE, tolerance / 100))
        weight = cloud.weight / cloud.weight.sum()
        covariance = np.einsum("tij,tkj->tik", h * weight, h, optimize=True)
        if before is not None:
            gap = float(np.abs(covariance - before).max() / np.abs(covariance).max())
            if gap <= tolerance:
                return _dataset(smooth, moments, f, covariance, len(cloud), gap)
        count, before = int(LONGER * count), covariance
    raise NumericalStop(
        f"the tolerance {tolerance:.1e} is out of reach: covariances agree within {gap:.1e}",
        f"with at most {MOST_EQUATIONS} instants times samples, and {MOST_NUMBERS:.1e} influences",
        "a larger tolerance, an earlier last time, fewer samples, or fewer nodes",
    )


class Smooth:
    """Φ, ∇Φ and Hess V of a smooth problem at points of all D coordinates.

    Raises InvalidInput where one of them does not exist.
    """

    def __init__(self, problem: Problem) -> None:
        check_problem(problem)
        if isinstance(problem, KernelProblem) or not isinstance(problem, FeatureProblem):
            raise _no_limit(problem, "it is given by a kernel and predicts nothing at samples")
        if problem.entropy > 0:
            raise _no_limit(problem, f"noise at λ = {problem.entropy:g} scatters it, too")
        dphi, d2phi = problem.dphi, getattr(problem, "d2phi", None)
        curvature = getattr(problem.loss, "curvature", None)
        if dphi is None or d2phi is None:
            raise _no_limit(problem, "its features have no second derivatives, as at a kink")
        if curvature is None:
            raise _no_limit(problem, "its loss has no curvature")
        self.space = Space(problem.coords, problem.domain)
        check_followed(self.space)
        self.lifted, self.loss, self.penalty = problem.lifted, problem.loss, problem.penalty
        self.phi, self.dphi, self.d2phi, self.curvature = problem.phi, dphi, d2phi, curvature
        self.samples = len(problem.y)
        self.bend = hessian(problem.penalty, len(problem.coords))

    def features(self, u: Array) -> Array:
        """Φ, (N, n)."""
        return u[:, :1] * self.phi(u[:, 1:]) if self.lifted else self.phi(u)

    def gradients(self, u: Array) -> Array:
        """∇Φ, (N, n, D)."""
        if not self.lifted:
            return self.dphi(u)
        a, v = u[:, 0, None, None], u[:, 1:]
        return np.concatenate([self.phi(v)[:, :, None], a * self.dphi(v)], axis=2)

    def hessian(self, u: Array, r: Array) -> Array:
        """Hess V = Σ r_i Hess Φ_i + Hess reg, (N, D, D)."""
        v = u[:, 1:] if self.lifted else u
        bent = np.einsum("jikl,i->jkl", self.d2phi(v), r)
        if not self.lifted:
            return self.bend + bent
        whole = np.zeros((len(u), u.shape[1], u.shape[1]))
        whole[:, 0, 1:] = whole[:, 1:, 0] = r @ self.dphi(v)
        whole[:, 1:, 1:] = u[:, 0, None, None] * bent
        return self.bend + whole


def influence(
    problem: Smooth, cloud: Cloud, times: Array, count: int, tolerance: float
) -> tuple[Array, Array]:
    """f(t), (T, n), and the influence h(t) of every node of a cloud, (T, n, N).

    Args:
        problem: what moves it.
        cloud: N nodes that stand for the initial law.
        times: increasing, (T,).
        count: Chebyshev instants K, up to the last time.
        tolerance: of one step of the paths.
    """
    N, end = len(cloud), float(times[-1])
    weight = cloud.weight / cloud.weight.sum()
    X, J = _tangent_flow(problem, cloud, instants(end, count), tolerance)
    features = np.stack([problem.features(u) for u in X])  # (K, N, n)
    f = np.einsum("kji,j->ki", features, weight)
    g = (features - f[:, None]).transpose(0, 2, 1).reshape(-1, N)
    nodal = series(np.eye(count))  # coefficients of the polynomials that are 1 at one instant
    answer = _integrals(nodal, end).repeat(f.shape[1], 0).repeat(f.shape[1], 1)
    answer *= _response(problem, X, J, weight)
    answer *= np.concatenate([problem.curvature(at) for at in f])
    h = np.linalg.solve(np.eye(len(answer)) + answer, g).reshape(count, -1, N)
    interpolation = chebyshev.chebvander(2 * times / end - 1, count - 1) @ nodal
    return interpolation @ f, np.tensordot(interpolation, h, 1)


def _tangent_flow(
    problem: Smooth, cloud: Cloud, at: Array, tolerance: float
) -> tuple[Array, Array]:
    """Paths X (K, N, D) of a cloud and their derivatives J (K, N, D, D) in the starting point."""
    N, D = cloud.position.shape
    weight = cloud.weight / cloud.weight.sum()

    def rate(t: float, state: Array) -> Array:
        u, J = problem.space.wrap(state[:, :D]), state[:, D:].reshape(N, D, D)
        r = problem.loss.slope(weight @ problem.features(u))
        gradient = np.einsum("jik,i->jk", problem.gradients(u), r) + problem.penalty.gradient(u)
        return -np.hstack([gradient, (problem.hessian(u, r) @ J).reshape(N, D * D)])

    start = np.hstack([cloud.position, np.tile(np.eye(D).ravel(), (N, 1))])
    states = np.stack([start, *integrate(rate, start, at.tolist(), tolerance)])
    X = np.stack([problem.space.wrap(state[:, :D]) for state in states])
    return X, states[:, :, D:].reshape(len(at), N, D, D)


def _response(problem: Smooth, X: Array, J: Array, weight: Array) -> Array:
    """M(t, s) at all pairs of instants, (K n, K n)."""
    K, N, D = X.shape
    n = problem.samples
    rows = max(1, BLOCK_NUMBERS // (K * n * D))
    total = np.zeros((K * n, K * n))
    for first in range(0, N, rows):
        block = slice(first, first + rows)
        gradients = np.stack([problem.gradients(u[block]) for u in X])  # (K, N, n, D)
        ahead = gradients @ J[:, block]
        back = gradients @ np.linalg.inv(J[:, block]).transpose(0, 1, 3, 2)
        left, right = (part.transpose(0, 2, 1, 3).reshape(K * n, -1) for part in (ahead, back))
        total += (left * weight[block].repeat(D)) @ right.T
    return total


def _integrals(nodal: Array, end: float) -> Array:
    """∫ from 0 to each instant of each nodal polynomial, (K, K)."""
    primitive = chebyshev.chebint(nodal, lbnd=-1, scl=end / 2)
    x = 2 * instants(1.0, len(nodal)) - 1
    return chebyshev.chebvander(x, len(nodal)) @ primitive


def _clouds(
    problem: Problem, nodes: Cloud | None, horizon: float, tolerance: float
) -> Iterator[Cloud]:
    """Ever finer nodes of the initial law, or always those that are given."""
    while nodes is None and tolerance > FINEST_TOLERANCE:
        yield _quadrature(problem, horizon, tolerance)
        tolerance *= TIGHTER
    yield from repeat(nodes or _quadrature(problem, horizon, FINEST_TOLERANCE))


def _quadrature(problem: Problem, horizon: float, tolerance: float) -> Cloud:
    """Nodes of the initial law that predict to the tolerance until the horizon."""
    try:
        return Truth(problem, horizon, tolerance).cloud
    except NumericalStop as stop:
        raise NumericalStop(
            f"no quadrature of {problem.initial!r} predicts to {tolerance:.1e}",
            str(stop).partition("\n")[0],
            'a larger tolerance, or nodes=pr.sample(problem, 4096, kind="sobol")',
        ) from stop


def _admitted(problem: Smooth, nodes: Cloud) -> Cloud:
    if not isinstance(nodes, Cloud):
        raise InvalidInput(
            f"nodes of type {type(nodes).__name__}", "they are a weighted cloud", "pr.Cloud(u, p)"
        )
    return Cloud(problem.space.admit(nodes.position), nodes.weight)


def _times(times: ArrayLike) -> Array:
    given = numbers("times", times)
    increasing = given.ndim == 1 and given.size > 0 and bool((np.diff(given) > 0).all())
    if not increasing or not (given[0] >= 0 and 0 < given[-1] < np.inf):
        raise InvalidInput(
            f"times of shape {given.shape} are no times",
            "PDE times are at least 0, increasing, and end after 0",
            "np.linspace(0, 1, 11)",
        )
    return given


def _no_limit(problem: object, why: str) -> InvalidInput:
    return InvalidInput(
        f"the fluctuations of {problem!r} are not known", why, "draw replicas and look at them"
    )


def _dataset(
    problem: Smooth, times: Array, f: Array, covariance: Array, nodes: int, gap: float
) -> xr.Dataset:
    variance = np.einsum("tii->ti", covariance)
    curvature = np.stack([problem.curvature(at) for at in f])
    return xr.Dataset(
        {
            "prediction": (("time", "sample"), f),
            "covariance": (("time", "sample", "sample_2"), covariance),
            "variance": (("time", "sample"), variance),
            "risk_excess": ("time", (curvature * variance).sum(axis=1) / 2),
        },
        coords={"time": times},
        attrs={"software": "particle_ref", "nodes": nodes, "reached": gap},
    )
