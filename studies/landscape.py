"""What "no spurious local minima" means for measures, and what it does not.

The risk is convex along mixtures (1−t)ρ₀ + tρ₁, so that its sublevel sets are connected and every
local minimum in that sense is global. Its minimisers are not unique, it is not convex along paths
of neurons, and the Wasserstein flow moves mass without creating any: it has stationary points that
are not optimal. Networks a sin(wx) learn ½Φ(3, 1) + ½Φ(−2, 2½), or ½Φ(3, 1) + ½Φ(2, 3), at 16
inputs on [−2, 2], so that the least risk is 0. Stationary points are δ₀, a saddle, and δ_u with the
best single neuron u: all neurons alike. For the second target its neurons split, for the first no
start near it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from study import Check, Claim, Progress, described

import mfpde as mf
import particle_ref as pr

Array = NDArray[np.float64]

CLAIM = Claim(
    statement="The risk of an infinitely wide network has no spurious local minima, so gradient "
    "descent reaches the global minimum.",
    reference="not in Chizat & Bach 2018, whose Theorems 3.3 and 3.5 need a start with separating "
    "support and assume convergence; convexity and Proposition 3.1 there (arXiv 1805.09545)",
    standing="false as often stated",
    verdict="True of mixtures, along which the risk is convex. The flow, which only moves mass, "
    "leaves δ₀ and neurons that ought to split after log(1/ε)/rate, and never leaves the best "
    "single neuron when all start near it; a share η elsewhere frees it after a time of about 1/η.",
)

TEACHER = np.array([[3.0, 1.0], [-2.0, 2.5]])
SPLITTING = np.array([[3.0, 1.0], [2.0, 3.0]])
SINE = mf.Activation(np.sin, np.cos, lambda z: -np.sin(z), name="sin")
STANDARD = mf.gaussian()
METHOD = pr.GradientFlow(rtol=1e-7)


@dataclass(frozen=True)
class Config:
    """What is computed.

    Attributes:
        pairs: random pairs of networks that are mixed.
        neurons: of each of the networks that are trained.
        training: their PDE time.
        sizes: standard deviations ε of starts about δ₀.
        spreads: standard deviations ε of starts about the best single neuron.
        masses: shares η of the neurons that start as N(0, 1) instead of there.
        horizon: PDE time of what starts near the best single neuron.
    """

    pairs: int = 200
    neurons: int = 64
    training: float = 200.0
    sizes: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5)
    spreads: tuple[float, ...] = (0.01, 0.03, 0.1)
    masses: tuple[float, ...] = (0.32, 0.16, 0.08, 0.04, 0.02)
    horizon: float = 1000.0

    @classmethod
    def quick(cls) -> Config:
        """Fewer starts."""
        return cls(
            pairs=50,
            neurons=32,
            training=50.0,
            sizes=(1e-2, 1e-4),
            spreads=(0.03,),
            masses=(0.32, 0.16, 0.08),
            horizon=200.0,
        )


def taught(
    teacher: Array = TEACHER,
    loss: mf.Loss = mf.square,
    entropy: float = 0.0,
    initial: mf.Law = STANDARD,
) -> mf.Problem:
    """The problem; labels are signs for the logistic loss, and noise comes with a ridge."""
    x = np.linspace(-2, 2, 16)
    y = predicted(teacher, x)
    return mf.two_layer(
        x,
        np.sign(y) if loss is mf.logistic else y,
        activation=SINE,
        loss=loss,
        entropy=entropy,
        penalty=mf.ridge(0.1) if entropy else None,
        initial=initial,
    )


def predicted(neurons: Array, x: Array) -> Array:
    """f of equal weights at inputs (n,)."""
    return np.mean(neurons[:, :1] * np.sin(neurons[:, 1:] * x), axis=0)


def best_neuron(problem: mf.Problem, low: float, high: float) -> Array:
    """The u = (a, w) of least risk: a in closed form, w by a search between the two."""

    def weight(w: float) -> float:
        psi = problem.phi(np.array([[w]]))[0]
        return float(psi @ problem.y / (psi @ psi))

    def risk(w: float) -> float:
        return problem.loss.risk(weight(w) * problem.phi(np.array([[w]]))[0])

    w = float(minimize_scalar(risk, bounds=(low, high), options={"xatol": 1e-10}).x)
    return np.array([weight(w), w])


def run(config: Config, progress: Progress) -> xr.Dataset:
    parts = (mixtures, paths, twins, saddles, trap)
    return described(xr.merge([part(config) for part in progress(parts, "landscape")]), ABOUT)


# Convexity ----------------------------------------------------------------------------------------


def mixtures(config: Config) -> xr.Dataset:
    """Second differences of F along t ↦ (1−t)ρ₀ + tρ₁ between random networks and densities."""
    rng, t = np.random.default_rng(0), np.linspace(0, 1, 21)
    losses = {"square": mf.square, "logistic": mf.logistic, "huber": mf.huber(0.5)}
    bend = np.empty((len(losses), config.pairs, len(t) - 2))
    excess = np.empty(config.pairs)
    for k, loss in enumerate(losses.values()):
        problem = taught(loss=loss)
        for pair in range(config.pairs):
            f0, f1 = (predicted(3 * rng.standard_normal((8, 2)), problem.x) for _ in range(2))
            risks = [problem.loss.risk((1 - s) * f0 + s * f1) for s in t]
            bend[k, pair] = np.diff(risks, 2) / t[1] ** 2
            if k == 0:
                excess[pair] = abs(bend[k, pair] - np.mean((f1 - f0) ** 2)).max()
    return xr.Dataset(
        {
            "bend": (("loss", "pair"), bend.min(axis=2)),
            "bend_error": ("pair", excess),
            "entropic_bend": ("inner", entropic_bend()),
        },
        coords={"loss": list(losses)},
    )


def entropic_bend() -> Array:
    """The same for F = R + ridge + λ∫ρ log ρ between two Gaussian densities on a grid."""
    one, other = mf.gaussian((1.0, 1.0), 0.5), mf.gaussian((-1.0, 1.0), 0.8)
    grid = mf.Grid(a=mf.uniform(-6, 6, 48), w=mf.uniform(-6, 6, 48))
    t = np.linspace(0, 1, 9)
    mixed = [taught(entropy=0.1, initial=mf.mixture([1 - s, s], [one, other])) for s in t]
    F = [float(mf.solve(problem, grid, times=[0]).energy[0]) for problem in mixed]
    return np.diff(F, 2) / t[1] ** 2


# Minimisers ---------------------------------------------------------------------------------------


def trained(config: Config, seed: int) -> Array:
    """The neurons (m, 2) of a trained network."""
    problem = taught()
    cloud = pr.sample(problem, config.neurons, seed)
    return pr.run(problem, cloud, METHOD, [config.training]).position.values[-1]


def paths(config: Config) -> xr.Dataset:
    """The risk from one trained network to others, by mixing and by moving its neurons straight."""
    problem, t = taught(), np.linspace(0, 1, 101)
    u = trained(config, 0)
    ends = {"its mirror image": -u, "another start": trained(config, 1)}
    f = [predicted(v, problem.x) for v in (u, *ends.values())]
    mixed = [[problem.loss.risk((1 - s) * f[0] + s * end) for s in t] for end in f[1:]]
    moved = [
        [problem.loss.risk(predicted((1 - s) * u + s * v, problem.x)) for s in t]
        for v in ends.values()
    ]
    return xr.Dataset(
        {
            "mixed_risk": (("end", "path"), np.array(mixed)),
            "moved_risk": (("end", "path"), np.array(moved)),
            "risk_of_nothing": problem.loss.risk(np.zeros(16)),
        },
        coords={"end": list(ends), "path": t},
    )


def twins(config: Config) -> xr.Dataset:
    """Measures with one f: neurons and their mirror images, and output weights spread by ±1."""
    problem, times = taught(), np.linspace(0, 5, 26)
    cloud = pr.sample(problem, config.neurons, 0)
    u = cloud.position
    one = np.array([1.0, 0.0])
    split = np.concatenate([u + one, u - one])
    flow, mirror, spread = (pr.run(problem, pr.Cloud(v), METHOD, times) for v in (u, -u, split))
    names = ("prediction_gap", "energy_distance")
    gaps = [mf.compare(flow, other, only=names) for other in (mirror, spread)]
    twin = xr.DataArray(["(−a, −w)", "(a ± 1, w)"], dims="twin", name="twin")
    return xr.concat(gaps, twin).rename(time="twin_time")


# Stationary points --------------------------------------------------------------------------------


def time_to_halve(flow: xr.Dataset) -> float:
    """When the risk is half of the first, between two stored times; inf if never."""
    risk, time = flow.risk.values, flow.time.values
    below = np.flatnonzero(risk <= risk[0] / 2)
    if not len(below):
        return np.inf
    k = below[0]
    share = np.log(2 * risk[k - 1] / risk[0]) / np.log(risk[k - 1] / risk[k])
    return float(time[k - 1] + share * (time[k] - time[k - 1]))


def saddles(config: Config) -> xr.Dataset:
    """Escape from δ₀ and from neurons that split.

    At δ₀ Hess V = ((0, c), (c, 0)): neurons grow as e^{|c|t}. At a stationary δ_u it is
    diag(0, a g''): where a g'' < 0 the spread in w grows as e^{|a g''|t}, though a single neuron
    has a minimum there. Either way time is log(1/ε) over the rate, and a constant.
    """
    nothing, split = taught(), taught(SPLITTING)
    u = best_neuron(split, 1, 2)
    slow = [abs(float(np.mean(nothing.y * nothing.x))), -float(hessian(split, u)[1, 1])]
    z = pr.sample(nothing, config.neurons, 0, "sobol").position
    starts = (nothing, 0 * u), (split, u)
    found = np.empty((2, len(config.sizes)))
    for k, ((problem, at), rate) in enumerate(zip(starts, slow, strict=True)):
        times = np.linspace(0, (1.3 * np.log(1 / min(config.sizes)) + 15) / rate, 301)
        flows = [pr.run(problem, pr.Cloud(at + e * z), METHOD, times) for e in config.sizes]
        found[k] = [time_to_halve(flow) for flow in flows]
    return xr.Dataset(
        {
            "saddle_rate": ("saddle", slow),
            "saddle_time": (("saddle", "size"), found),
            "saddle_excess": ("saddle", [below(p, pr.Cloud([at])) for p, at in starts]),
        },
        coords={"size": list(config.sizes), "saddle": ["δ₀", "neurons that split"]},
    )


def trap(config: Config) -> xr.Dataset:
    """About δ_u: starts N(u, ε²), and starts of which a share η is N(0, 1) instead."""
    problem = taught()
    u = best_neuron(problem, 2, 4)
    z = pr.sample(problem, config.neurons, 0, "sobol").position
    times = np.concatenate([[0], np.geomspace(0.1, config.horizon, 80)])

    def follow(cloud: pr.Cloud) -> xr.Dataset:
        return pr.run(problem, cloud, METHOD, times)

    def shared(eta: float) -> pr.Cloud:
        weight = np.append(1 - eta, np.full(len(z), eta / len(z)))
        return pr.Cloud(np.vstack([u, z]), weight)

    near = [follow(pr.Cloud(u + e * z)) for e in config.spreads]
    mixed = [follow(shared(eta)) for eta in config.masses]
    return xr.Dataset(
        {
            "neuron": ("coord", u),
            "neuron_risk": problem.loss.risk(predicted(u[None], problem.x)),
            "neuron_excess": below(problem, pr.Cloud(u[None])),
            "neuron_slope": float(np.sqrt(follow(pr.Cloud(u[None])).dissipation[0])),
            "neuron_curvature": ("coord", np.linalg.eigvalsh(hessian(problem, u))),
            "near_risk": (("spread", "late"), np.array([flow.risk.values for flow in near])),
            "mixed_mass_risk": (("mass", "late"), np.array([flow.risk.values for flow in mixed])),
            "mass_time": ("mass", [time_to_halve(flow) for flow in mixed]),
            "teacher_excess": below(problem, pr.Cloud(TEACHER)),
        },
        coords={
            "coord": ["a", "w"],
            "spread": list(config.spreads),
            "mass": list(config.masses),
            "late": times,
        },
    )


def below(problem: mf.Problem, cloud: pr.Cloud) -> float:
    """∫V dρ − min V over a lattice: above 0, ρ is not optimal (Proposition 3.1)."""
    moment = pr.run(problem, cloud, METHOD, [0]).isel(time=0)
    side = np.linspace(-4, 4, 81)
    lattice = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    V = mf.potential(problem, moment, np.concatenate([cloud.position, lattice]))
    return float(V[: len(cloud)] @ cloud.weight - V.min())


def hessian(problem: mf.Problem, u: Array) -> Array:
    """Hess V of δ_u at u, V held: ((0, g'), (g', a g''))."""
    a, w = u
    r = problem.loss.slope(a * np.sin(w * problem.x))
    first = r @ (problem.x * np.cos(w * problem.x))
    second = -r @ (problem.x**2 * np.sin(w * problem.x))
    return np.array([[0, first], [first, a * second]])


ABOUT = {
    "bend": "least second difference of the risk along a mixture",
    "bend_error": "its distance to |f₁ − f₀|², square loss",
    "entropic_bend": "second differences of F with entropy along a mixture",
    "mixed_risk": "risk of mixtures of two trained networks",
    "moved_risk": "risk while neurons move straight from one to the other",
    "prediction_gap": "root mean squared difference of predictions of two measures",
    "saddle_time": "time in which the risk halves from N(0, ε²)",
    "near_risk": "risk from starts about the best single neuron",
    "mixed_mass_risk": "risk when a share of the neurons starts elsewhere",
    "mass_time": "time in which that risk halves",
}


# What is found ------------------------------------------------------------------------------------


def checks(data: xr.Dataset) -> list[Check]:
    depth = np.log(1 / data["size"].values)
    exponent = np.polyfit(depth, data.saddle_time.T.values, 1)[0] * data.saddle_rate.values
    rare = data.isel(mass=slice(-2, None))  # the law is that of small shares
    growth = -np.diff(np.log(rare.mass_time.values))[0] / np.diff(np.log(rare.mass.values))[0]
    mixed, ends = data.mixed_risk, data.mixed_risk.isel(path=[0, -1]).max("path")
    half = data.moved_risk.isel(end=0).sel(path=0.5) / data.risk_of_nothing
    risk = float(data.neuron_risk)
    stay = data.near_risk.isel(late=-1) / risk - 1
    inf, gap, distance = np.inf, data.prediction_gap, data.energy_distance
    rows = [
        ("mixtures: least second difference of R, three losses", data.bend.min(), -1e-10, inf),
        ("mixtures: |it − |f₁ − f₀|²|, square loss", data.bend_error.max(), 0, 1e-9),
        ("mixtures: least second difference of F, λ > 0", data.entropic_bend.min(), 0, inf),
        ("mixtures of trained networks above the worse", (mixed - ends).max(), -inf, 1e-12),
        ("half-way to the mirror image: risk over that of f = 0", half, 1 - 1e-9, 1 + 1e-9),
        ("mirror images: gap of predictions at all times", gap[0].max(), 0, 1e-12),
        ("mirror images: energy distance of the measures", distance[0, 0], 1e-3, inf),
        ("spread output weights: gap of predictions at t = 0", gap[1, 0], 0, 1e-12),
        ("spread output weights: gap of predictions at t = 5", gap[1, -1], 1e-3, inf),
        ("saddles: ∫V dρ − min V, the lesser", data.saddle_excess.min(), 0.1, inf),
        ("δ₀: d(escape time)/d log(1/ε) times |c|", exponent[0], 0.98, 1.02),
        ("splitting: d(escape time)/d log(1/ε) times |a g″|", exponent[1], 0.98, 1.02),
        ("best neuron: |∇V|", data.neuron_slope, 0, 1e-6),
        ("best neuron: least curvature of V", data.neuron_curvature.min(), -1e-7, inf),
        ("best neuron: largest curvature of V", data.neuron_curvature.max(), 0.1, inf),
        ("best neuron: (∫V dρ − min V)/R", data.neuron_excess / risk, 0.1, inf),
        ("starts about it: relative change of the risk", abs(stay).max(), 0, 0.1),
        ("a share η elsewhere: escape time ∝ η^(−k), k", growth, 0.8, 1.25),
        ("the teacher: ∫V dρ − min V", data.teacher_excess, -1e-12, 1e-12),
    ]
    return [Check(name, float(value), low, high) for name, value, low, high in rows]


# Pictures -----------------------------------------------------------------------------------------


def figures(data: xr.Dataset) -> dict[str, Figure]:
    return {"paths": path_figure(data), "stationary": stationary_figure(data)}


def path_figure(data: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, end in enumerate(data.end.values):
        one = data.sel(end=end)
        left.plot(data.path, one.moved_risk, "--", color=f"C{k}", label=f"neurons move, {end}")
        left.plot(data.path, one.mixed_risk, "-", color=f"C{k}", label=f"mixture, {end}")
    left.axhline(float(data.risk_of_nothing), color="k", ls=":", lw=0.8, label=r"risk of $f=0$")
    left.set(yscale="log", xlabel="path from one trained network to another", ylabel="risk")
    for k, twin in enumerate(data.twin.values):
        gap = data.prediction_gap.sel(twin=twin)
        right.semilogy(data.twin_time, np.maximum(gap, 1e-17), "os"[k] + "-", ms=4, color=f"C{k}",
                       label=f"{twin}: predictions (less at 1e-17)")  # fmt: skip
        right.semilogy(data.twin_time, data.energy_distance.sel(twin=twin), "--", color=f"C{k}",
                       label=f"{twin}: energy distance")  # fmt: skip
    right.set(xlabel="PDE time", ylabel="gap to the measure of (a, w)", ylim=(3e-18, 10))
    for ax in (left, right):
        ax.legend(fontsize=7)
    return figure


def stationary_figure(data: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    size = data["size"].values
    for k, name in enumerate(data.saddle.values):
        time, rate = data.saddle_time.sel(saddle=name), float(data.saddle_rate[k])
        left.semilogx(1 / size, time, "os"[k], color=f"C{3 * k}", label=name)
        line = float(time[-1]) + np.log(size[-1] / size) / rate
        left.semilogx(1 / size, line, "k" + ("--", ":")[k], label=f"slope 1/{rate:.3g}")
    left.set(xlabel=r"$1/\varepsilon$", ylabel="time until the risk halves",
             title=r"saddles, left by $\log(1/\varepsilon)$")  # fmt: skip
    stays(middle, data)
    mass = data.mass.values
    right.loglog(mass, data.mass_time, "s", color="C1", label="measured")
    right.loglog(
        mass, float(data.mass_time[-1]) * mass[-1] / mass, "k--", label=r"$\propto 1/\eta$"
    )
    right.set(xlabel=r"share $\eta$ elsewhere", ylabel="time until the risk halves",
              title="leaving it takes mass elsewhere")  # fmt: skip
    right.set_xticks(mass, [f"{m:g}" for m in mass])
    right.set_yticks(data.mass_time, [f"{time:.2g}" for time in data.mass_time.values])
    right.minorticks_off()
    for ax in (left, middle, right):
        ax.legend(fontsize=7)
    return figure


def stays(ax: Axes, data: xr.Dataset) -> None:
    """Risk against time from starts near the best single neuron."""
    late = data.late[1:]
    lines = ("-", "--", ":")
    for k, spread in enumerate(data.spread.values):
        label = rf"$N(u,\varepsilon^2)$, $\varepsilon$ = {spread:g}"
        risk = data.near_risk.sel(spread=spread)[1:]
        ax.loglog(late, risk, color="C0", ls=lines[k % 3], label=label)
    for k, mass in enumerate(data.mass.values[::2]):
        risk = data.mixed_mass_risk.sel(mass=mass)[1:]
        ax.loglog(late, risk, color="C1", ls=lines[k % 3], label=rf"$\eta$ = {mass:g} elsewhere")
    ax.set(xlabel="PDE time", ylabel="risk", title="about the best single neuron $u$")
