"""ReLU students of a ReLU teacher in the plane: their paths, the rays they end on, and who sticks.

Inputs uniform on the circle, a teacher of five unit neurons with output weights ±1/5, students of
m = 5, 10 and 100 neurons that start small (Chizat & Bach 2018, Figure 2). The population is exact:
E (w·x)_+(w'·x)_+ = |w||w'| [(π − p) cos p + sin p]/(4π), p the angle between w and w' (arc-cosine
kernel of Cho & Saul 2009). The teacher's angles are read off the figure; its signs are not known.
With (+, −, −, +, +) students end on rays, as there. Risk 0 alone does not ask for it: since
(w·x)_+ − (−w·x)_+ = w·x, parts of the teacher can turn round as long as these linear parts cancel,
and what it tells is the mass of each line through 0. A teacher with all signs + is slower to learn.
Gradient descent is followed with a step; its flow, conic particles and SGD are compared beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.optimize import linprog
from study import Check, Claim, Progress, exponent

import mfpde as mf
import particle_ref as pr

Array = NDArray[np.float64]

CLAIM = Claim(
    statement=(
        "Small students of a planar ReLU teacher with five neurons end on the teacher's rays, with "
        "mass 0.200 on each, when they have 10 or 100 neurons; with 5 they usually stick."
    ),
    reference="Chizat & Bach 2018, Figure 2 (arXiv 1805.09545)",
    standing="observation",
    verdict=(
        "With 10 neurons all five starts end with mass 0.2000 on every ray, with 100 within 0.003 "
        "at t = 8e4; with 5, seven of ten stick, where a new neuron would still lower the risk. "
        "Rays are descent's choice: the teacher partly turned round has risk 0 and as much mass."
    ),
)

ANGLES = np.deg2rad([-86.3, 53.1, 23.2, 141.2, -32.1])  # digitised from the figure
SIGNS = {"figure": np.array([1.0, -1, -1, 1, 1]), "positive": np.ones(5)}
MASS = 1 / len(ANGLES)
NEAR = 0.05  # radians within which a neuron is on a ray
SOLVED = 1e-7  # risk, of 0.024 at the start
THERE = 1e-10  # risk at which masses are read
MARK, STYLE, COLOUR = {1: "o", -1: "s"}, {1: "-", -1: ":"}, {1: "C3", -1: "C0"}
LINE = {5: ":", 10: "--", 100: "-"}
MARKS = {"figure": {"line": "ko", "ray": "C1x"}, "positive": {"line": "C0s", "ray": "C3+"}}


@dataclass(frozen=True)
class Config:
    """Replicas and lengths.

    Attributes:
        seeds_5, seeds_10, seeds_100: starts of students of 5, 10 and 100 neurons.
        seeds_positive: starts of 10 neurons with the teacher whose signs are all +.
        horizon: PDE time of descent; ``horizon_positive`` with the second teacher.
        dt: step of descent, in PDE time; curvatures are below 1/2.
        size: |a||w| of the neurons at the start, on average.
        early: PDE time to which the flow, conic particles and SGD are compared, 10 neurons.
        noisy_dt: the steps of SGD. batch: its fresh samples a step. noisy_seeds: its runs.
    """

    seeds_5: int = 10
    seeds_10: int = 5
    seeds_100: int = 1
    seeds_positive: int = 1
    horizon: float = 8e4
    horizon_positive: float = 2e5
    dt: float = 4.0
    size: float = 0.005
    early: float = 64.0
    noisy_dt: tuple[float, ...] = (0.4, 0.1, 0.025)
    batch: int = 16
    noisy_seeds: int = 8

    @classmethod
    def quick(cls) -> Config:
        """The same with few starts, and none of 100 neurons to the end."""
        return cls(
            seeds_5=2,
            seeds_10=1,
            seeds_100=0,
            seeds_positive=0,
            horizon=3e4,
            noisy_dt=(0.4, 0.1),
            noisy_seeds=2,
        )


def polar(w: Array) -> tuple[Array, Array, Array]:
    """Sizes (N,), directions (N, 2) and angles (N,) of vectors in the plane."""
    size = np.hypot(w[:, 0], w[:, 1])
    direction = w / np.where(size > 0, size, 1.0)[:, None]
    return size, direction, np.arctan2(w[:, 1], w[:, 0])


def arc_cosine(w: Array, v: Array) -> tuple[Array, Array]:
    """E (w·x)_+(v·x)_+ for x uniform on the circle, (N, M), and its gradient in w, (N, M, 2).

    The gradient is E 1[w·x > 0] (v·x)_+ x = [(π − p) v + |v| sin p w/|w|]/(4π).
    """
    (r, e, phi), (s, d, psi) = polar(w), polar(v)
    p = np.abs(phi[:, None] - psi)
    p = np.minimum(p, 2 * np.pi - p)
    cos, sin = e @ d.T, np.abs(e[:, :1] * d[:, 1] - e[:, 1:] * d[:, 0])
    value = r[:, None] * s * ((np.pi - p) * cos + sin) / (4 * np.pi)
    slope = (np.pi - p)[..., None] * v + (s * sin)[..., None] * e[:, None]
    return value, slope / (4 * np.pi)


def kernel(u: Array, v: Array) -> Array:
    """K = E Φ(u)Φ(v), Φ = a (w·x)_+, for neurons u = (a, w1, w2)."""
    return u[:, :1] * v[:, 0] * arc_cosine(u[:, 1:], v[:, 1:])[0]


def kernel_gradient(u: Array, v: Array) -> Array:
    """The gradient of K in u, (N, M, 3)."""
    value, slope = arc_cosine(u[:, 1:], v[:, 1:])
    gradient = np.empty((*value.shape, 3))
    gradient[..., 0] = v[:, 0] * value
    gradient[..., 1:] = (u[:, :1] * v[:, 0])[..., None] * slope
    return gradient


def teacher(signs: Array) -> Array:
    """Its neurons, (5, 3), of mass 1/5 each."""
    return np.column_stack([signs, np.cos(ANGLES), np.sin(ANGLES)])


def population(signs: Array) -> mf.KernelProblem:
    """½∬Kρρ − ∫Fρ + const for the target E over the teacher's neurons."""
    t = teacher(signs)
    return mf.kernel_problem(
        ("a", "w1", "w2"),
        kernel,
        lambda u: kernel(u, t).mean(axis=1),
        0.5 * float(kernel(t, t).mean()),
        dK=kernel_gradient,
        dF=lambda u: kernel_gradient(u, t).mean(axis=1),
    )


def target(x: Array) -> Array:
    """The figure's teacher at inputs (n, 2)."""
    t = teacher(SIGNS["figure"])
    return np.asarray(np.maximum(x @ t[:, 1:].T, 0) @ t[:, 0] / len(t))


def on_circle(angle: Array) -> Array:
    """Unit vectors, (n, 2)."""
    return np.column_stack([np.cos(angle), np.sin(angle)])


def fresh(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """Samples of the population, for SGD."""
    x = on_circle(rng.uniform(0, 2 * np.pi, size))
    return x, target(x)


def small_cloud(m: int, seed: int, size: float) -> pr.Cloud:
    """Neurons of either sign and any direction with |a| = |w|, |a||w| exponential of mean size."""
    rng = np.random.default_rng((m, seed))
    r, sign = np.sqrt(size * rng.exponential(size=m)), rng.choice([-1.0, 1.0], m)
    return pr.Cloud(r[:, None] * np.column_stack([sign, on_circle(rng.uniform(0, 2 * np.pi, m))]))


def path_times(horizon: float, dt: float) -> Array:
    """Ever farther apart, multiples of dt."""
    steps = np.unique(np.rint(np.geomspace(1, horizon / dt, 160)))
    return dt * np.concatenate([[0.0], steps])


def masses(cloud: xr.Dataset, signs: Array) -> tuple[Array, Array, float]:
    """Signed masses Σ p a|w| on the teacher's rays (5,) and lines (5,), over its own signs.

    And how much mass lies on none of the lines.
    """
    u = cloud.position.values
    size, direction, _ = polar(u[:, 1:])
    mass = cloud.weight.values * u[:, 0] * size
    cos = direction @ on_circle(ANGLES).T
    ray, line = cos > np.cos(NEAR), np.abs(cos) > np.cos(NEAR)
    astray = float(np.abs(mass) @ ~line.any(axis=1))
    return signs * (mass @ ray), signs * (mass @ line), astray


def least_potential(problem: mf.KernelProblem, end: xr.Dataset) -> float:
    """inf V over neurons with |a| = |w| = 1: below 0, new neurons would lower the risk."""
    w = on_circle(np.linspace(0, 2 * np.pi, 720, endpoint=False))
    either = np.concatenate([np.column_stack([np.full(len(w), a), w]) for a in (1.0, -1.0)])
    return float(np.min(mf.potential(problem, end, either)))


def students(config: Config, progress: Progress) -> xr.Dataset:
    """Descent of all students, where they end, and the paths of the first of each width."""
    groups = (
        [("figure", 5, s, config.horizon) for s in range(config.seeds_5)]
        + [("figure", 10, s, config.horizon) for s in range(config.seeds_10)]
        + [("figure", 100, s, config.horizon) for s in range(config.seeds_100)]
        + [("positive", 10, s, config.horizon_positive) for s in range(config.seeds_positive)]
    )
    rows, paths = [], {}
    for name, m, seed, horizon in progress(groups, "students"):
        signs, problem = SIGNS[name], population(SIGNS[name])
        times = path_times(horizon, config.dt)
        flow = pr.run(problem, small_cloud(m, seed, config.size), pr.Descent(config.dt), times)
        end = flow.isel(time=-1)
        ends = float(end.risk), float(end.dissipation), least_potential(problem, end)
        rows.append((name, m, seed, *ends, *masses(end, signs)))
        if name == "figure" and m not in paths:
            u = flow.position.values
            paths[m] = times, np.abs(u[..., :1]) * u[..., 1:], np.sign(u[0, :, 0]), flow.risk.values
    return table(rows, paths)


def table(rows: list[tuple], paths: dict[int, tuple]) -> xr.Dataset:
    """Rows by student, paths by width."""
    name, m, seed, risk, rate, least, ray, line, astray = map(np.array, zip(*rows, strict=True))
    about = {
        "teacher": (name, "signs of the teacher"),
        "width": (m, "neurons"),
        "seed": (seed, "start"),
        "risk": (risk, "risk at the end"),
        "rate": (rate, "-d risk/dt at the end"),
        "astray": (astray, "mass on no line of the teacher"),
        "least_potential": (least, "inf V over |a| = |w| = 1 at the end"),
    }
    data = xr.Dataset({k: ("student", v, {"long_name": text}) for k, (v, text) in about.items()})
    data["ray_mass"] = ("student", "neuron"), ray, {"long_name": "mass on the teacher's ray"}
    data["line_mass"] = ("student", "neuron"), line, {"long_name": "mass on the teacher's line"}
    for width, (times, moving, sign, falling) in paths.items():
        t, j = f"time_{width}", f"particle_{width}"
        data[t] = t, times, {"long_name": "PDE time"}
        data[f"path_{width}"] = (t, j, "input"), moving, {"long_name": "|a| w"}
        data[f"sign_{width}"] = j, sign, {"long_name": "sign of a"}
        data[f"risk_{width}"] = t, falling, {"long_name": "risk"}
    return data


def ways(config: Config, progress: Progress) -> xr.Dataset:
    """The flow, conic particles, SGD on fresh samples, and the kernel by quadrature."""
    problem, start = population(SIGNS["figure"]), small_cloud(10, 0, config.size)
    times = [0.0, config.early]
    flow = pr.run(problem, start, pr.GradientFlow(rtol=1e-10), times)
    conic = pr.run(problem, start, pr.Conic(rtol=1e-10), times)
    x = on_circle(2 * np.pi * (np.arange(1024) + 0.5) / 1024)
    sampled = mf.two_layer(x, target(x), activation=mf.relu)
    exact = flow.position.values[-1]
    off = np.empty((len(config.noisy_dt), config.noisy_seeds))
    for k, dt in enumerate(progress(config.noisy_dt, "SGD")):
        for seed in range(config.noisy_seeds):
            noisy = pr.Stochastic(dt, config.batch, (seed, k), data=fresh)
            moved = pr.run(sampled, start, noisy, times).position.values[-1]
            off[k, seed] = np.sqrt(((moved - exact) ** 2).sum() / (exact**2).sum())
    same = pr.run(sampled, pr.Cloud(exact), pr.Descent(1.0), [0.0])
    return xr.Dataset(
        {
            "noisy_gap": (
                ("noisy_dt", "noisy_seed"),
                off,
                {"long_name": "relative RMS of neurons"},
            ),
            "conic_gap": ((), float(np.abs(conic.position - flow.position).max())),
            "quadrature_gap": ((), abs(float(same.risk[0]) - float(flow.risk[-1]))),
        },
        {"noisy_dt": np.array(config.noisy_dt)},
    )


def turned() -> xr.Dataset:
    """Risk of the figure's teacher with masses c ≤ 1/5 turned round, Σ ± c_k w_k = 0, Σ c largest.

    A neuron and its opposite differ by the linear function a w·x; these cancel.
    """
    signs = SIGNS["figure"]
    t = teacher(signs)
    c = linprog(-np.ones(5), A_eq=(t[:, :1] * t[:, 1:]).T, b_eq=[0, 0], bounds=(0, MASS)).x
    size = np.concatenate([MASS - c, c]) * 2 * len(t)
    u = np.column_stack([size * np.tile(signs, 2), np.concatenate([t[:, 1:], -t[:, 1:]])])
    still = pr.run(population(signs), pr.Cloud(u), pr.Descent(1.0), [0.0])
    return xr.Dataset({"turned_risk": float(still.risk[0]), "turned_off": c.max()})


def run(config: Config, progress: Progress) -> xr.Dataset:
    """All students, and one of them in other ways."""
    return xr.merge([students(config, progress), ways(config, progress), turned()])


def of(data: xr.Dataset, width: int, name: str = "figure") -> xr.Dataset:
    """Students of one width and teacher."""
    return data.isel(student=((data.width == width) & (data.teacher == name)).values)


def wrong(mass: xr.DataArray) -> xr.DataArray:
    """The largest error of a teacher neuron's mass, by student."""
    return abs(mass - MASS).max("neuron")


def checks(data: xr.Dataset) -> list[Check]:
    """Where students end, against what risk 0 and the figure say."""
    five, ten, hundred = (of(data, m) for m in (5, 10, 100))
    stuck = five.isel(student=(five.risk > SOLVED).values)
    there = data.isel(student=(data.risk < THERE).values)
    line, ray = wrong(there.line_mass), wrong(there.ray_mass)
    worst = data.noisy_gap.isel(noisy_dt=-1).max()
    t = teacher(SIGNS["figure"])
    h, at_zero = 2 * np.pi / 1024, 0.5 * float(kernel(t, t).mean())  # of points; the risk of f = 0
    found = [
        Check("fraction of 5 neurons above risk 1e-7", len(stuck.student) / len(five.student), 0.5),
        Check(
            "theirs is no optimum: greatest inf V", float(stuck.least_potential.max()), -1, -1e-5
        ),
        Check(f"risk < {THERE}: a line's mass off 0.2", float(line.max()), 0, 1e-3),
        Check("and mass on no line", float(there.astray.max()), 0, 1e-3),
        Check("and a ray's mass off 0.2", float(ray.max()), 0, 1e-3),
        Check("teacher turned round, as much mass: risk", abs(float(data.turned_risk)), 0, 1e-15),
        Check("its mass off 0.2 on a ray", float(data.turned_off), 0.1),
        Check("conic particles are the flow", float(data.conic_gap), 0, 1e-7),
        Check("kernel against 1024 points", float(data.quadrature_gap), 0, h**2 * at_zero),
        # Strong order 1/2 in dt is 1/2 in the slope of log RMS; mean over replicas, fixed seeds.
        Check("SGD: order of its RMS gap in dt", order(data), 0.3, 0.75),
        Check("SGD: largest relative gap at its least step", float(worst), 0, 0.5),
        Check("fraction of 10 neurons below 1e-7", float((ten.risk < SOLVED).mean()), 0.5),
    ]
    if len(hundred.student):
        off = float(wrong(hundred.ray_mass).max())
        found.append(Check("100 neurons: a ray's mass off 0.2", off, 0, 0.01))
    return found


def order(data: xr.Dataset) -> float:
    """The slope of SGD's RMS gap in dt, on logarithms."""
    rms = np.sqrt((data.noisy_gap**2).mean("noisy_seed"))
    return exponent(data.noisy_dt, rms)


def paths_of(data: xr.Dataset) -> Figure:
    """Neurons |a|w in the plane, as in the paper, one panel for each width."""
    widths = [m for m in (5, 10, 100) if f"path_{m}" in data]
    figure = Figure(figsize=(4.2 * len(widths), 4.6), layout="constrained")
    for k, m in enumerate(widths):
        axes = figure.add_subplot(1, len(widths), k + 1)
        path, sign = data[f"path_{m}"].values, data[f"sign_{m}"].values
        reach = 1.1 * max(np.hypot(*path[-1].T).max(), 1.0)
        for angle, s in zip(ANGLES, SIGNS["figure"], strict=True):
            ray = reach * np.array([0, 1])
            axes.plot(ray * np.cos(angle), ray * np.sin(angle), color="0.6", ls=STYLE[s], lw=1)
            axes.plot(np.cos(angle), np.sin(angle), marker=MARK[s], ms=11, mfc="none", color="k")
        for j, s in enumerate(sign):
            axes.plot(*path[:, j].T, color=COLOUR[s], lw=0.7 if m == 100 else 1.3)
            axes.plot(*path[-1, j], color=COLOUR[s], marker=MARK[s], ms=4)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set(xlabel="|a| w₁", ylabel="|a| w₂")
        end = float(data[f"risk_{m}"][-1])
        last = float(data[f"time_{m}"][-1])
        axes.set_title(f"m = {m}: risk {end:.1e} at t = {last:g}", fontsize=10)
    entries = [
        Line2D([], [], color=COLOUR[1], marker="o", ms=4, label="student, a > 0"),
        Line2D([], [], color=COLOUR[-1], marker="s", ms=4, label="student, a < 0"),
        Line2D([], [], color="0.6", marker="o", ms=9, mfc="none", mec="k", label="teacher, +"),
        Line2D([], [], color="0.6", marker="s", ms=9, mfc="none", mec="k", label="teacher, −"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=4, frameon=False)
    return figure


def ends_of(data: xr.Dataset) -> Figure:
    """Risk along the paths, and the masses of rays and lines at the end."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for m, style in {5: "0.5", 10: "C0", 100: "k"}.items():
        if f"risk_{m}" in data:
            falling = data[f"risk_{m}"][1:]
            left.loglog(data[f"time_{m}"][1:], falling, LINE[m], color=style, label=f"m = {m}")
    left.axhline(SOLVED, color="0.7", lw=0.8, label="solved below")
    left.set(xlabel="PDE time t", ylabel="risk", title="Risk of the first student of each width")
    left.legend(frameon=False)
    for name, label in {"figure": "signs (+,−,−,+,+)", "positive": "all signs +"}.items():
        chosen = data.isel(student=(data.teacher == name).values)
        risk = np.maximum(chosen.risk, 1e-18)
        for kind, marker in MARKS[name].items():
            off = np.maximum(wrong(chosen[f"{kind}_mass"]), 1e-12)
            right.loglog(risk, off, marker, mfc="none", label=f"{kind}, {label}")
    right.axhline(1e-3, color="0.7", lw=0.8)
    right.set(
        xlabel="risk at the end (less at 1e-18)",
        ylabel="largest |mass − 0.2| of the five (less at 1e-12)",
    )
    right.set_title("Masses are found as the risk falls")
    right.legend(frameon=False, fontsize=8)
    return figure


def figures(data: xr.Dataset) -> dict[str, Figure]:
    """The paper's figure, and where students end."""
    return {"paths": paths_of(data), "ends": ends_of(data)}
