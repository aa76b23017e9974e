"""Networks of growing width follow the density, at every time.

Chizat & Bach's Theorem 2.6 has no rate. Here densities are solved on grids, and networks of m
neurons, drawn independently or from scrambled Sobol' sequences, are followed beside them: tanh,
sigmoid and ReLU without a bias on (a, w), tanh with a bias on (a, w, b). The samples lie on a line
with a kink, y = x + |x|/2, which the last two can represent and the first two cannot. Starts are
Gaussian, as in practice: the theorem asks for compact support, and what is seen is more than it
says. Where the problem is smooth, the truth (quadrature particles) tells how wrong the density
itself is; for ReLU the density's own cells, followed as particles, do.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from study import ALARM, Check, Claim, Progress, described, exponent, exponent_error

import mfpde as mf
import particle_ref as pr

CLAIM = Claim(
    statement="If the neurons' initial measures converge, the trained networks of m neurons "
    "converge to the Wasserstein gradient flow as m grows, uniformly on bounded times.",
    reference="Chizat & Bach 2018, Theorem 2.6 (arXiv 1805.09545)",
    standing="theorem",
    verdict="It holds in all four cases, from Gaussian starts too. The largest gap in time falls "
    "with m^(−0.4) to m^(−0.6) for independent starts, about their Monte Carlo rate, which the "
    "theorem does not state, and with about 1/m from Sobol' starts, until the density's own error "
    "is all that is left. Distances of measures stay where sampling alone puts them.",
)

CASES = {"tanh": mf.tanh, "sigmoid": mf.sigmoid, "relu": mf.relu, "tanh, bias": mf.tanh}
KINDS: tuple[Literal["iid", "sobol"], ...] = ("iid", "sobol")
DISTANCES = ("prediction_gap", "w1_a", "w1_w", "energy_distance")
DRAWN = DISTANCES[-2:]  # whose floor is drawn


@dataclass(frozen=True)
class Config:
    """What is followed.

    Attributes:
        widths: numbers m of neurons.
        replicas: networks of each width from independent starts, and as many from Sobol' ones.
        widest_cloud: the largest m at which measures are compared; predictions are at all.
        draws: iid clouds that tell the floor of a distance.
        times: PDE times, the first 0.
        samples: inputs, evenly on [−1.5, 1.5].
        std: of every coordinate of a neuron at time 0.
        cells, cells_bias: of every coordinate, without and with a bias.
        dt: step of the ReLU networks, in PDE time.
    """

    widths: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    replicas: int = 16
    widest_cloud: int = 1024
    draws: int = 8
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0)
    samples: int = 16
    std: float = 0.7
    cells: int = 96
    cells_bias: int = 32
    dt: float = 0.01

    @classmethod
    def quick(cls) -> Config:
        """Few networks, a shorter time."""
        return cls(
            widths=(16, 128, 1024),
            replicas=6,
            widest_cloud=1024,
            draws=2,
            times=(0.0, 1.0),
            cells=40,
            cells_bias=16,
        )


def problem_of(case: str, config: Config) -> mf.Problem:
    x = np.linspace(-1.5, 1.5, config.samples)
    law = mf.gaussian(std=config.std)
    return mf.two_layer(x, x + abs(x) / 2, activation=CASES[case], bias="bias" in case, initial=law)


def run(config: Config, progress: Progress) -> xr.Dataset:
    shape = (len(CASES), len(KINDS), len(config.widths), config.replicas, len(config.times))
    dims = ("case", "kind", "width", "replica", "time")
    found = {name: (dims, np.full(shape, np.nan)) for name in (*DISTANCES, "truth_gap")}
    floors = {f"floor_{n}": (("case", "width"), np.full(shape[:3:2], np.nan)) for n in DRAWN}
    own = np.zeros((len(CASES), len(config.times)))
    cell = np.zeros(len(CASES))
    for c, case in enumerate(progress(CASES, "activations")):
        problem, smooth = problem_of(case, config), case != "relu"
        method = pr.GradientFlow(rtol=1e-6, atol=1e-8) if smooth else pr.Descent(config.dt)
        cells = config.cells_bias if "bias" in case else config.cells
        grid = mf.fit_grid(problem, cells, config.times[-1])
        density = mf.solve(problem, grid, times=config.times, escaped_tolerance=1e-5)
        exact = exact_prediction(problem, density, method, smooth, config)
        own[c] = root_mean_square(density.prediction.values - exact)
        cell[c] = (grid.box["w"][1] - grid.box["w"][0]) / cells
        for w, m in enumerate(config.widths):
            names = DISTANCES if m <= config.widest_cloud else DISTANCES[:1]
            for k, kind in enumerate(KINDS):
                seeds = range(w * config.replicas, (w + 1) * config.replicas)
                flows = pr.replicas(problem, m, method, config.times, seeds, kind)
                gaps = mf.compare(density, flows, only=names).transpose("replica", "time")
                for name in names:
                    found[name][1][c, k, w] = gaps[name]
                off = np.stack([flow.prediction.values for flow in flows]) - exact
                found["truth_gap"][1][c, k, w] = root_mean_square(off)
            if m <= config.widest_cloud:
                last = density.isel(time=[-1])
                drawn = mf.compare(last, flows[0], only=DRAWN, floor=config.draws)
                for name in DRAWN:
                    floors[f"floor_{name}"][1][c, w] = drawn[f"floor_{name}"][0]
    return described(
        xr.Dataset(
            {
                **found,
                **floors,
                "density_error": (("case", "time"), own),
                "cell": ("case", cell),
            },
            coords={
                "case": list(CASES),
                "kind": list(KINDS),
                "width": list(config.widths),
                "time": list(config.times),
            },
        ),
        ABOUT,
    )


def exact_prediction(
    problem: mf.Problem,
    density: xr.Dataset,
    method: pr.GradientFlow | pr.Descent,
    smooth: bool,
    config: Config,
) -> NDArray[np.float64]:
    """f over time (T, n): the truth, or that of the density's own cells where there is none."""
    if not smooth:
        cells = pr.Cloud(*mf.as_measure(density.isel(time=0), prune=1e-9))
        return pr.run(problem, cells, method, config.times).prediction.values
    tolerance = 1e-5 if len(problem.coords) > 2 else 1e-7
    truth = pr.Truth(problem, config.times[-1], tolerance)
    return np.stack([truth.prediction(t) for t in config.times])


def root_mean_square(gap: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt((gap**2).mean(axis=-1))


ABOUT = {
    "prediction_gap": "root mean squared difference of predictions, network and density",
    "truth_gap": "the same to the truth (ReLU: to the density's own cells)",
    "density_error": "the density's own error in the prediction",
    "w1_a": "W1 of the marginals in a",
    "w1_w": "W1 of the marginals in w",
    "energy_distance": "energy distance",
    "floor_w1_w": "W1 in w of iid draws from the density",
    "floor_energy_distance": "energy distance of iid draws from the density",
    "cell": "width of a cell in w",
    "time": "PDE time",
    "width": "neurons m",
}


# What is found ------------------------------------------------------------------------------------


def worst(data: xr.Dataset, name: str) -> xr.DataArray:
    """Root mean square over replicas, the largest over times: (case, kind, width)."""
    return ((data[name] ** 2).mean("replica", skipna=False) ** 0.5).max("time", skipna=False)


def in_width(gaps: xr.DataArray) -> float:
    """Exponent in m, where a gap is known."""
    known = gaps.notnull().values
    return exponent(gaps.width[known], gaps[known])


def error_in_width(gaps: xr.DataArray, replicas: int) -> float:
    """Of such an exponent, at the widths of which some gap is known; starts are independent."""
    return exponent_error(gaps.width[gaps.notnull().any("case")], replicas)


def checks(data: xr.Dataset) -> list[Check]:
    m, S = data.width.values.astype(float), data.sizes["replica"]
    found = []
    for name in ("truth_gap", "energy_distance", "w1_w"):
        gaps = worst(data, name).sel(kind="iid")
        tolerance = error_in_width(gaps, S)
        for case in data.case.values:
            if name == "w1_w" and "bias" in case:  # the cells of that grid are wider than the gap
                continue
            title = f"{case}: exponent in m of sup_t {name}, iid, {S} replicas (false alarm 1e-4)"
            found_exponent = in_width(gaps.sel(case=case))
            found.append(Check(title, found_exponent, -0.5 - tolerance, -0.5 + tolerance))
    gaps = worst(data, "truth_gap").sel(kind="sobol")
    for case in (case for case in data.case.values if case != "relu"):
        D = 3 if "bias" in case else 2
        title = f"{case}: exponent in m of sup_t truth_gap, Sobol', at most of (log m)^(D−1)/m"
        most = exponent(m, np.log(m) ** (D - 1) / m) + error_in_width(gaps, S)
        found.append(Check(title, in_width(gaps.sel(case=case)), high=most))
    return [*found, energy_at_start(data), energy_at_end(data)]


def energy_at_start(data: xr.Dataset) -> Check:
    """m E(energy distance)² = E|X − X'|, exactly, for iid starts: here Gaussians on (a, w)."""
    mean = 2 * float(data.attrs["config_std"]) * gamma(1.5) / gamma(1)
    plane = data.energy_distance.sel(kind="iid", case=["tanh", "sigmoid", "relu"]).isel(time=0)
    ratio = float((plane**2 * data.width).mean() / mean)
    widths = int((data.width <= data.attrs["config_widest_cloud"]).sum())
    draws = data.sizes["replica"] * widths  # the same starts for all activations
    error = ALARM / np.sqrt(draws)  # a deviation of one mean is generous: that of χ²(2)
    return Check(
        f"m E(energy distance)²/E|X − X'| at t = 0 ({draws} clouds, false alarm 1e-4)",
        ratio,
        1 - error,
        1 + error,
    )


def energy_at_end(data: xr.Dataset) -> Check:
    """Networks at the last time are as far from the density as fresh draws from it are.

    Root mean squares over S networks and D draws, of χ² with one degree of freedom at worst, have
    logarithms of variance 1/2S and 1/2D; the mean is over widths, whose draws are independent.
    """
    last = data.energy_distance.sel(kind="iid").isel(time=-1)
    off = np.log((last**2).mean("replica", skipna=False) ** 0.5 / data.floor_energy_distance)
    mean = off.mean("width")
    S, D = data.sizes["replica"], int(data.attrs["config_draws"])
    widths = int(off.notnull().any("case").sum())
    error = ALARM * np.sqrt((1 / S + 1 / D) / (2 * widths))
    return Check(
        f"energy distance at last over that of {D} fresh draws, {S} replicas "
        "(false alarm 1e-4 for each activation), farthest from 1",
        float(np.exp(mean[int(np.abs(mean.values).argmax())])),
        float(np.exp(-error)),
        float(np.exp(error)),
    )


# Pictures -----------------------------------------------------------------------------------------


def figures(data: xr.Dataset) -> dict[str, Figure]:
    return {
        "predictions": predictions(data),
        "distances": distances(data),
        "times": over_time(data),
    }


def sheet(data: xr.Dataset, rows: int, height: float) -> tuple[Figure, NDArray[np.object_]]:
    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.subplots(rows, data.sizes["case"], squeeze=False, sharex=True, sharey="row")
    for ax, case in zip(axes[0], data.case.values, strict=True):
        ax.set_title(f"{case} (a, w, b)" if "bias" in case else f"{case} (a, w)")
    return figure, axes


def scatter(ax: Axes, data: xr.Dataset, name: str, label: str, **style: Any) -> None:
    """Median and 5-95 % over replicas of what is largest over time, against m."""
    gap = data[name].max("time").dropna("width")
    low, middle, high = gap.quantile([0.05, 0.5, 0.95], "replica").values
    ax.plot(gap.width, middle, label=label, **style)
    ax.fill_between(gap.width, low, high, color=style["color"], alpha=0.2, lw=0)


def guide(ax: Axes, data: xr.Dataset, name: str, power: float, label: str) -> None:
    """A line of that slope through the middle of what is drawn."""
    m = data.width.values.astype(float)
    start = float(data[name].max("time").median("replica")[0])
    ax.plot(m, 1.5 * start * (m / m[0]) ** power, ":", color="0.4", label=label)


def predictions(data: xr.Dataset) -> Figure:
    figure, axes = sheet(data, 1, 3.4)
    for ax, case in zip(axes[0], data.case.values, strict=True):
        one = data.sel(case=case)
        iid, sobol = one.sel(kind="iid"), one.sel(kind="sobol")
        scatter(ax, iid, "prediction_gap", "iid to density", color="C0", marker="o")
        scatter(ax, sobol, "prediction_gap", "Sobol' to density", color="C1", marker="s")
        scatter(ax, sobol, "truth_gap", "Sobol' to truth", color="C2", marker="^", ls="--")
        guide(ax, iid, "prediction_gap", -0.5, r"$m^{-1/2}$")
        ax.axhline(float(one.density_error.max()), color="k", ls="-.", label="density's error")
        ax.set(xscale="log", yscale="log", xlabel="neurons $m$")
    axes[0, 0].set_ylabel(r"$\sup_t$ RMS gap of predictions")
    axes[0, -1].legend(fontsize=7, loc="lower left")
    return figure


def distances(data: xr.Dataset) -> Figure:
    names = {"energy_distance": "energy distance", "w1_w": "W1 of the marginals in $w$"}
    figure, axes = sheet(data, 2, 5.6)
    for row, (name, words) in zip(axes, names.items(), strict=True):
        for ax, case in zip(row, data.case.values, strict=True):
            one = data.sel(case=case)
            scatter(ax, one.sel(kind="iid"), name, "iid", color="C0", marker="o")
            scatter(ax, one.sel(kind="sobol"), name, "Sobol'", color="C1", marker="s")
            floor = one[f"floor_{name}"]
            ax.plot(one.width, floor, "x--", color="k", label="fresh iid draws from the density")
            if name == "w1_w":
                ax.axhline(float(one.cell) / 4, color="0.5", ls="-.", label="a quarter of a cell")
            ax.set(xscale="log", yscale="log")
        row[0].set_ylabel(words)
        row[0].legend(fontsize=7)
    for ax in axes[-1]:
        ax.set_xlabel("neurons $m$")
    axes[0, 0].set_xticks(data.width, [f"{m}" for m in data.width.values])
    axes[0, 0].xaxis.minorticks_off()
    return figure


def over_time(data: xr.Dataset) -> Figure:
    figure, axes = sheet(data, 1, 3.2)
    for ax, case in zip(axes[0], data.case.values, strict=True):
        gap = data.truth_gap.sel(case=case, kind="iid")
        scaled = np.sqrt((gap**2).mean("replica") * data.width)
        for m, marker in zip(data.width.values, "os^DvP", strict=False):
            ax.plot(data.time, scaled.sel(width=m), marker=marker, label=f"m = {m}")
        ax.set_xlabel("PDE time")
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel(r"$\sqrt{m}\,\times$ RMS gap of predictions, iid")
    axes[0, 0].legend(fontsize=7)
    return figure
