"""Sigmoid students of a teacher with two neurons in the plane: the lines they end on.

Φ = a σ(w·x) with the logistic σ, x ~ N(0, I₂), a teacher σ(w₁·x) ± σ(w₂·x); students start with
a = 0 and normal w, so that their support separates {−r} × R² from {r} × R² as Theorem 3.5 asks
(Chizat & Bach 2018, §4 and the sigmoid example there; signs and positions of the teacher are ours).
Since σ(−z) = 1 − σ(z), a neuron at −w serves as one at w but for a constant: at risk 0 all mass
lies at the teacher's two points and their opposites, so on its two lines; constants must cancel.
The population is a Gauss-Hermite rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray
from study import Check, Claim, Progress

import mfpde as mf
import particle_ref as pr

Array = NDArray[np.float64]

CLAIM = Claim(
    statement=(
        "Sigmoid neurons that start with a = 0 and normal w fit a teacher of two neurons, and end "
        "on the lines through the teacher's."
    ),
    reference="Chizat & Bach 2018, Theorem 3.5 and §4 (arXiv 1805.09545)",
    standing="observation",
    verdict=(
        "At t = 3e4 the risk has fallen to 4e-6 of its start or less and the mass lies 1° to 6° "
        "from the two lines, still falling. Along them it is slower: |w| is off by 0.2 to 0.3 of "
        "2. Neurons settle at the teacher's points and, where signs differ, as often at their "
        "opposites; some with small a stay off the lines."
    ),
)

SIZE = 2.0  # of the teacher's w
TEACHER = SIZE * np.array([[np.cos(t), np.sin(t)] for t in (0.6, 2.2)])
SIGNS = {"equal": np.array([1.0, 1.0]), "opposite": np.array([1.0, -1.0])}
NODES = 14  # of the Gauss-Hermite rule on each axis


@dataclass(frozen=True)
class Config:
    """Students.

    Attributes:
        widths: neurons of a student. seeds: starts of each width and teacher.
        horizon: PDE time; instants: how many are kept, geometric from 0.1.
    """

    widths: tuple[int, ...] = (10, 100)
    seeds: int = 2
    horizon: float = 3e4
    instants: int = 56

    @classmethod
    def quick(cls) -> Config:
        """One start of few neurons, for a hundredth of the time."""
        return cls(widths=(20,), seeds=1, horizon=1e3, instants=29)


def normal_inputs() -> tuple[Array, Array]:
    """Nodes (n, 2) and weights of N(0, I₂)."""
    t, p = np.polynomial.hermite_e.hermegauss(NODES)
    x = np.stack(np.meshgrid(t, t, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.outer(p, p).ravel() / p.sum() ** 2
    return x, weight


def population(signs: Array) -> mf.Problem:
    """The students' problem."""
    x, weight = normal_inputs()
    y = mf.sigmoid.value(x @ TEACHER.T) @ signs
    start = mf.product(a=mf.point(0.0), w=mf.gaussian(std=1.0))
    return mf.two_layer(x, y, activation=mf.sigmoid, weights=weight, initial=start)


def spread(flow: xr.Dataset) -> tuple[Array, Array, Array]:
    """Over time: RMS angle to the nearest line, in degrees, RMS of |w| − 2, and ∫ a w dρ.

    Root mean squares weigh every neuron by p |a||w|.
    """
    u, p = flow.position.values, flow.weight.values
    a, w = u[..., 0], u[..., 1:]
    size = np.hypot(w[..., 0], w[..., 1])
    weight = p * np.abs(a) * size
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    across = np.stack([w[..., 0] * t[1] - w[..., 1] * t[0] for t in TEACHER]) / SIZE
    angle = np.arcsin(np.clip(np.abs(across).min(axis=0) / size, 0, 1))
    off = np.rad2deg(np.sqrt((weight * angle**2).sum(axis=1)))
    longer = np.sqrt((weight * (size - SIZE) ** 2).sum(axis=1))
    return off, longer, np.einsum("tj,tj,tjd->td", p, a, w)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Every student's way, and where those of the first start end."""
    times = np.concatenate([[0.0], np.geomspace(0.1, config.horizon, config.instants - 1)])
    cases = [
        (name, m, seed) for name in SIGNS for m in config.widths for seed in range(config.seeds)
    ]
    columns: dict[str, list[Array]] = {k: [] for k in ("risk", "angle", "size_gap", "moment_gap")}
    ends = {}
    for name, m, seed in progress(cases, "students"):
        problem = population(SIGNS[name])
        flow = pr.run(problem, pr.sample(problem, m, seed), pr.GradientFlow(rtol=1e-6), times)
        angle, size_gap, moment = spread(flow)
        gap = np.hypot(*(moment - SIGNS[name] @ TEACHER).T)
        for key, value in zip(columns, (flow.risk.values, angle, size_gap, gap), strict=True):
            columns[key].append(value)
        if seed == 0 and m == config.widths[-1]:
            ends[name] = flow.position.values
    names = {
        "risk": "risk",
        "angle": "RMS angle to the nearest line, weighed by p|a||w| (degrees)",
        "size_gap": "RMS of |w| - 2, weighed by p|a||w|",
        "moment_gap": "|∫ a w dρ - the teacher's|",
    }
    data = xr.Dataset(
        {
            k: (("student", "time"), np.array(v), {"long_name": names[k]})
            for k, v in columns.items()
        },
        {"time": ("time", times, {"long_name": "PDE time"})},
    )
    for k, key in enumerate(("signs", "width", "seed")):
        data[key] = "student", np.array([case[k] for case in cases])
    for name, position in ends.items():
        data[f"path_{name}"] = ("time", "particle", "coord"), position, {"long_name": "(a, w1, w2)"}
    return data


def isotropic() -> float:
    """RMS angle of uniform directions to the nearest of the two lines, in degrees."""
    lines = np.arctan2(TEACHER[:, 1], TEACHER[:, 0])
    phi = np.linspace(0, np.pi, 4000, endpoint=False)
    angle = np.abs((phi[:, None] - lines + np.pi / 2) % np.pi - np.pi / 2).min(axis=1)
    return float(np.rad2deg(np.sqrt((angle**2).mean())))


def checks(data: xr.Dataset) -> list[Check]:
    """Fitted, and on the lines; risk 0 itself would be 0 angle, 0 gaps."""
    end = data.isel(time=-1)
    risk_fall = float((end.risk / data.risk[:, 0]).max())
    rise = float(data.risk.diff("time").max())
    horizon = float(data.time[-1])
    late = data.isel(time=data.time > horizon / 10)
    slope = np.polyfit(np.log(late.time), np.log(late.angle.T), 1)[0]
    told = [np.hypot(*(SIGNS[name] @ TEACHER)) for name in data.signs.values]
    return [
        # Theorem 3.5 leaves the rate open; 1/t is that of convex functions along their flow.
        Check("risk / its start, times the horizon: greatest", risk_fall * horizon, 0, 1),
        Check("risk never rises", rise, high=1e-9),
        Check(
            "greatest RMS angle / that of uniform directions",
            float(end.angle.max()) / isotropic(),
            0,
            0.5,
        ),
        Check("and still falling: greatest d log angle / d log t", float(slope.max()), high=-0.05),
        Check(
            "greatest |∫ a w dρ − the teacher's| / |the teacher's|",
            float((end.moment_gap / told).max()),
            0,
            0.1,
        ),
        Check(
            "|w| comes later: least RMS of |w| − 2 over sin(angle) |w|",
            float((end.size_gap / (SIZE * np.sin(np.deg2rad(end.angle)))).min()),
            1,
        ),
    ]


def lines_of(data: xr.Dataset) -> Figure:
    """Where the widest student's neurons go, for both teachers."""
    figure = Figure(figsize=(9.6, 5.7), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), SIGNS, strict=True):
        path = data[f"path_{name}"].values
        reach = 1.08 * np.abs(path[..., 1:]).max()
        for t, s in zip(TEACHER, SIGNS[name], strict=True):
            axes.plot(*(np.outer(t, [-reach, reach]) / SIZE), color="0.7", lw=1)
            axes.plot(*t, "^" if s > 0 else "v", ms=13, mfc="none", color="k")
            axes.plot(*-t, "D", ms=11, mfc="none", color="0.5")
        for j in range(path.shape[1]):
            axes.plot(*path[:, j, 1:].T, color="0.85", lw=0.6, zorder=0)
        a, w = path[-1, :, 0], path[-1, :, 1:]
        for chosen, colour, marker, label in (
            (a > 0, "C3", "o", "a > 0"),
            (a < 0, "C0", "s", "a < 0"),
        ):
            axes.scatter(
                *w[chosen].T,
                s=14 * np.abs(a[chosen]),
                c=colour,
                marker=marker,
                alpha=0.7,
                lw=0,
                label=f"{label}, area ∝ |a|",
            )
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set(
            xlabel="w₁", ylabel="w₂", title=f"teacher of {name} signs, t = {float(data.time[-1]):g}"
        )
    axes.plot([], [], "^", ms=10, mfc="none", color="k", label="teacher, a > 0 (▽: a < 0)")
    axes.plot(
        [], [], "D", ms=9, mfc="none", color="0.5", label="its opposite, as good but for a constant"
    )
    axes.plot([], [], color="0.85", label="paths")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def decay_of(data: xr.Dataset) -> Figure:
    """Risk, angle and size over time."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    names = {
        "risk": "risk",
        "angle": "RMS angle to the nearest line (degrees)",
        "size_gap": "RMS of |w| − 2",
    }
    for axes, (name, label) in zip(figure.subplots(1, 3), names.items(), strict=True):
        for k in range(data.sizes["student"]):
            row = data.isel(student=k, time=slice(1, None))
            first = int(row.seed) == 0
            axes.loglog(
                row.time,
                row[name],
                "-" if row.signs == "equal" else "--",
                color="k" if int(row.width) == int(data.width.max()) else "C1",
                lw=1.4 if first else 0.7,
                label=f"m = {int(row.width)}, {row.signs.values!s} signs" if first else None,
            )
        axes.set(xlabel="PDE time t", ylabel=label)
    figure.axes[1].axhline(isotropic(), color="0.6", ls=":")
    figure.axes[1].text(2e3, isotropic() * 1.05, "uniform directions", fontsize=8, color="0.4")
    for axes in figure.axes[1:]:
        axes.yaxis.set_minor_formatter("{x:.2g}")
        axes.yaxis.set_major_formatter("{x:g}")
    if data.seed.max():
        figure.axes[0].plot([], [], color="0.5", lw=0.7, label="thin: other starts")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def figures(data: xr.Dataset) -> dict[str, Figure]:
    """Neurons in the plane, and how fast they get there."""
    return {"lines": lines_of(data), "decay": decay_of(data)}
