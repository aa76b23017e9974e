"""Lazy or active: how far neurons move, how much the kernel changes, how linear the model stays.

    weight change   (∫|u_t − u_0|² dρ_0)^½ / (∫|u_0|² dρ_0)^½
    kernel change   |K_t − K_0| / |K_0|,   K_ij = ∫∇Φ_i·∇Φ_j dρ   (Frobenius norms)
    linear gap      sup_t |f_t − f̄_t| / sup_t |f_t − f_0|

with f̄ the prediction of the tangent model h̄(u) = Φ(u_0) + DΦ(u_0)(u − u_0), trained from the same
start: training is lazy while it cannot be told from its linearisation (Chizat, Oyallon & Bach 2019,
arXiv 1812.07956, §1). For λ = 0 and a ridge μ the tangent model is closed in its predictions,

    f̄ = f_0 + Σ_k q_k,    q_k' = −K_k r(f̄) − μ_k (c_k + q_k),    r = risk',

one n-vector for each coordinate k of a neuron, where K_k is the part of K_0 that moves coordinate k
and c_k = ∫∂_kΦ u_k dρ_0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.interpolate import make_interp_spline

from mfpde.arguments import shown
from mfpde.errors import InvalidInput
from mfpde.measures.belonging import check_solved
from mfpde.measures.measure import Array, as_measure, check_dataset, coordinates, periods
from mfpde.measures.weighted import without_dust
from mfpde.problems.activations import ACTIVATIONS
from mfpde.problems.geometry import refuse_spheres
from mfpde.problems.losses import LOSSES
from mfpde.problems.problem import Problem
from mfpde.problems.two_layer import two_layer

LAZY, ACTIVE = 0.1, 0.5  # of the kernel change and the linear gap, relative
DUST = 1e-6  # of the mass: the lightest cells, whose paths are not followed
BLOCK = 2**21  # numbers of features at once
STEPS = 4  # of paths between two times
FINE = 1e-10  # tolerance of the tangent model
AFFINE = 1e-10  # of a penalty's gradient from that of a ridge


def regime(run: xr.Dataset, problem: Problem | None = None) -> xr.Dataset:
    """Whether training is lazy or active, with the numbers that say so.

    Args:
        run: a density run or a particle flow whose first time is its start.
        problem: what was solved; without it a two-layer network of a named activation and loss is
            read from the run's own record.

    Returns:
        Over the run's ``time``: ``weight_change``, ``kernel_change`` and ``linear_gap``, the last
        as |f_t − f̄_t| / sup|f − f_0|, in the norm of the samples' weights; the attribute
        ``verdict`` is ``"lazy"`` where kernel change and linear gap stay below 0.1, ``"active"``
        where one of them exceeds 0.5, else ``"between"``: up to the last time given, beyond which a
        lazy start may yet turn active. A particle's own path is known; for densities paths are
        followed through V of the stored predictions, interpolated in time, so that they are as good
        as the times are close. What is not defined is nan, and attributes say why: the paths of a
        density with entropy, the tangent model under a penalty that is no ridge or with entropy.

    Raises:
        InvalidInput: when there are fewer than two times, the problem is not the run's, is not
            known from it, has no gradient or is one on a sphere, or the run keeps no densities.
    """
    check_dataset(run, ["time", "prediction", "x", "y"])
    if run["prediction"].ndim != 2 or run.sizes["time"] < 2:
        raise InvalidInput("a regime needs a start and a later time", "", "a run of several times")
    if problem is None:
        problem = network_of(run)
    check_tangent(problem)
    check_solved(problem, run)
    moments = [as_measure(run.isel(time=k)) for k in range(run.sizes["time"])]
    kernels = [sum(tangent_kernels(problem, *moment)) for moment in moments]
    changes = np.array([np.linalg.norm(K - kernels[0]) for K in kernels])
    why: dict[str, str] = {}
    numbers = {
        "weight_change": weight_change(problem, run, moments[0], why),
        "kernel_change": changes / np.linalg.norm(kernels[0]),
        "linear_gap": linear_gap(problem, run, moments[0], why),
    }
    return xr.Dataset(
        {name: ("time", values, about(name)) for name, values in numbers.items()},
        coords={"time": run["time"].values},
        attrs={"verdict": verdict(numbers["kernel_change"], numbers["linear_gap"]), **why},
    )


def verdict(kernel_change: Array, linear_gap: Array) -> str:
    """Lazy, active or between; a gap that is not known does not count."""
    known = [float(np.nanmax(v)) for v in (kernel_change, linear_gap) if not np.isnan(v).all()]
    if max(known) < LAZY:
        return "lazy"
    return "active" if max(known) > ACTIVE else "between"


def about(name: str) -> dict[str, str]:
    """What a number means, for figures."""
    long_names = {
        "weight_change": "root mean squared displacement of neurons over their size",
        "kernel_change": "relative change of the tangent kernel on the samples",
        "linear_gap": "distance to the tangent model over the distance travelled",
    }
    return {"long_name": long_names[name], "units": "1"}


# The problem --------------------------------------------------------------------------------------


def network_of(run: xr.Dataset) -> Problem:
    """The two-layer network that a run says it solved, on lines and without its start."""
    label = str(run.attrs.get("problem"))
    sigma = re.search(r"activation=(\w+)", label)
    loss = re.search(r"loss=(\w+)\b(?!\()", label)
    names = [found[1] if found else "" for found in (sigma, loss)]
    noted = [run.attrs.get("penalty"), run.attrs.get("entropy"), *geometries(run)]
    plain = noted == ["no_penalty", 0, *["line"] * (len(noted) - 2)]
    if names[0] not in ACTIVATIONS or names[1] not in LOSSES or not plain:
        raise InvalidInput(
            f"the problem of this run is not known from its record, {label!r}",
            "networks of named activations and losses are, on lines, without penalty and entropy",
            "mf.regime(run, problem)",
        )
    weights = run["sample_weight" if "sample_weight" in run else "weight"].values
    return two_layer(
        run["x"].values,
        run["y"].values,
        activation=ACTIVATIONS[names[0]],
        loss=LOSSES[names[1]],
        weights=weights,
        bias=", bias" in label,
        output_weight="no output weight" not in label,
    )


def geometries(run: xr.Dataset) -> list[str]:
    """The kinds of range that a run notes of its coordinates."""
    attributes = {f"geometry_{c}": run[c].attrs.get("geometry") for c in run.coords} | run.attrs
    return [str(attributes.get(f"geometry_{c}")) for c in coordinates(run)]


def check_tangent(problem: Problem) -> None:
    """Raise InvalidInput unless there are features on samples, with slopes."""
    if not isinstance(problem, Problem):
        raise InvalidInput(
            f"problem = {shown(problem)} has no features on samples",
            "weights, kernels and tangent models are those of networks",
            "mf.two_layer(x, y), or mf.Problem(…)",
        )
    refuse_spheres(problem.domain)
    if problem.dphi is None:
        raise InvalidInput(
            f"the features of {problem!r} have no gradient",
            "the tangent kernel is made of it",
            "mf.Activation(value, slope), or mf.Problem(…, dphi=…)",
        )


def blocks(points: Array, n: int) -> Iterator[slice]:
    """Parts of the points whose features fit in the cache."""
    rows = max(1, BLOCK // (n * points.shape[1]))
    return (slice(start, start + rows) for start in range(0, len(points), rows))


def tangents(problem: Problem, points: Array) -> Array:
    """∇Φ_i at neurons u, (N, D) -> (N, n, D)."""
    assert problem.dphi is not None
    if not problem.lifted:
        return problem.dphi(points)
    a, v = points[:, 0], points[:, 1:]
    return np.concatenate([problem.phi(v)[:, :, None], a[:, None, None] * problem.dphi(v)], axis=2)


def tangent_kernels(problem: Problem, points: Array, weights: Array) -> Array:
    """K_k = ∫∂_kΦ ∂_kΦᵀ dρ for every coordinate of a neuron, (D, n, n)."""
    n, D = len(problem.y), points.shape[1]
    kernels = np.zeros((D, n, n))
    for part in blocks(points, n):
        T = np.moveaxis(tangents(problem, points[part]), 2, 0)  # (D, N, n)
        kernels += np.swapaxes(T, 1, 2) @ (weights[part, None] * T)
    return kernels


# How far neurons move -----------------------------------------------------------------------------


def weight_change(
    problem: Problem, run: xr.Dataset, start: tuple[Array, Array], why: dict[str, str]
) -> Array:
    """(∫|u_t − u_0|²)^½ / (∫|u_0|²)^½ at every time."""
    if "position" in run:
        u = run["position"].transpose("time", "particle", "coord").values
        moved, weights = u - u[0], run["weight"].values[0]
        for k, length in enumerate(periods(run)):
            if length < math.inf:
                moved[..., k] -= length * np.round(moved[..., k] / length)
        first = u[0]
    elif problem.entropy > 0:
        why["weight_change"] = "neurons under noise have no path that a density tells"
        return np.full(run.sizes["time"], np.nan)
    else:
        first, weights = without_dust(*start, DUST)
        moved = paths(problem, run, first) - first
    size = math.sqrt(weights @ (first**2).sum(axis=1))
    displaced = np.sqrt((moved**2).sum(axis=2) @ weights)
    if size == 0:
        why["weight_change"] = "all neurons start at 0"
        return np.full(len(displaced), np.nan)
    return displaced / size


def paths(problem: Problem, run: xr.Dataset, points: Array) -> Array:
    """Where neurons of a run's density go, (T, N, D): u' = −∇V of the stored predictions."""
    times, f = run["time"].values, run["prediction"].transpose("time", "sample").values
    prediction = make_interp_spline(times, f, k=min(3, len(times) - 1))
    ends = np.array([(problem.domain[c].low, problem.domain[c].high) for c in problem.coords])
    walls = [problem.domain[c].kind in ("half_line", "interval") for c in problem.coords]
    low, high = np.where(walls, ends.T, [[-math.inf], [math.inf]])

    def velocity(t: float, u: Array) -> Array:
        slope = problem.loss.slope(prediction(t))
        found = -problem.penalty.gradient(u)
        for part in blocks(u, len(slope)):
            found[part] -= np.einsum("jnd,n->jd", tangents(problem, u[part]), slope)
        return found

    def moved(t: float, h: float, u: Array) -> Array:
        """A step of the classical method of order 4; walls stop what meets them."""
        k1 = velocity(t, u)
        k2 = velocity(t + h / 2, np.clip(u + h / 2 * k1, low, high))
        k3 = velocity(t + h / 2, np.clip(u + h / 2 * k2, low, high))
        k4 = velocity(t + h, np.clip(u + h * k3, low, high))
        return np.clip(u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), low, high)

    found = [points]
    for begin, end in pairwise(times):
        u, h = found[-1], (end - begin) / STEPS
        for k in range(STEPS):
            u = moved(begin + k * h, h, u)
        found.append(u)
    return np.array(found)


# How linear the model stays -----------------------------------------------------------------------


def linear_gap(
    problem: Problem, run: xr.Dataset, start: tuple[Array, Array], why: dict[str, str]
) -> Array:
    """|f_t − f̄_t| at every time, over the largest distance from the start."""
    f, p = run["prediction"].transpose("time", "sample").values, problem.weights
    travelled = float(np.sqrt((f - f[0]) ** 2 @ p).max())
    mu = ridge_of(problem)
    if mu is None or problem.entropy > 0:
        why["linear_gap"] = "the tangent model is closed in its predictions for a ridge and λ = 0"
    elif travelled == 0:
        why["linear_gap"] = "the prediction does not move"
    else:
        tangent = tangent_model(problem, mu, *start, f[0], run["time"].values)
        return np.sqrt((f - tangent) ** 2 @ p) / travelled
    return np.full(len(f), np.nan)


def tangent_model(
    problem: Problem, mu: Array, points: Array, weights: Array, start: Array, times: Array
) -> Array:
    """f̄ at the times, (T, n), from its prediction at the first of them."""
    kernels, n, D = tangent_kernels(problem, points, weights), len(start), len(mu)
    pulls = np.zeros((D, n))  # c_k = ∫∂_kΦ u_k dρ_0
    for part in blocks(points, n):
        pulls += np.einsum(
            "jnd,jd,j->dn", tangents(problem, points[part]), points[part], weights[part]
        )

    def rate(_: float, state: Array) -> Array:
        q = state.reshape(D, n)
        r = problem.loss.slope(start + q.sum(axis=0))
        return (-kernels @ r - mu[:, None] * (pulls + q)).ravel()

    found = solve_ivp(
        rate, (times[0], times[-1]), np.zeros(D * n), "LSODA", times, rtol=FINE, atol=FINE
    )
    return start + found.y.T.reshape(len(times), D, n).sum(axis=1)


def ridge_of(problem: Problem) -> Array | None:
    """Strengths μ (D,) of a penalty that is a ridge or none, from its gradient; else None."""
    D = len(problem.coords)
    mu = np.diag(problem.penalty.gradient(np.eye(D)))
    probes = np.cos(np.arange(1, 4 * D + 1) ** 2).reshape(-1, D)
    probes = np.concatenate([1e-3 * probes, probes, 1e3 * probes])
    astray = np.abs(problem.penalty.gradient(probes) - mu * probes)
    return mu if (astray <= AFFINE * (1 + np.abs(mu)) * np.abs(probes)).all() else None
