"""Sparse deconvolution: particles and the density gather on the spikes.

Chizat & Bach 2018, Figure 1: five spikes on the circle seen through a Dirichlet kernel of order 7,
F(ρ) = ‖y − ∫a ψ(· − θ)dρ‖²/(2δ) + ∫|a|dρ, started at a = 0 with θ all around. Positions and signs
are read off the authors' figure; their weights, noise and δ are not known. Ours: |weights|
proportional to .6, .7, .55, .4, .5 (of total variation 1), no noise, δ = 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from study import Check, Claim, Progress

import mfpde as mf
import particle_ref as pr

CLAIM = Claim(
    statement="Particles started at a = 0 all around the circle recover the spikes once there are "
    "enough of them, and so does their mean-field limit.",
    reference="Chizat & Bach 2018, Figure 1 and Theorem 3.5 (arXiv 1805.09545)",
    standing="observation",
    verdict="It holds. Ten and a hundred particles gather on the five spikes with the right signs, "
    "positions to 2e-3 and nothing elsewhere; |g| ≤ 1 to 0.02 (m = 10, still merging two "
    "particles) and 4e-7 (m = 100). The density has 94 % of |h¹| there at t = 0.24, positions "
    "to 4e-3, F − F* = 0.08 and sup |g| = 2.7, still falling. Six particles stall at F − F* = 0.76 "
    "with sup |g| = 11: enough of them is more than one for each spike.",
)

FIGURE = np.array([0.1715, 0.1918, -0.1873, -0.1005, 0.1657])  # masses in the paper's Figure 1
NEAR = 0.03  # of a spike: what counts as gathered there
PRESENT = 1e-3  # mass of a particle that counts as support, of total variation 1


@dataclass(frozen=True)
class Config:
    """Parameters.

    Attributes:
        positions: θ* of the spikes, on a circle of length 1.
        weights: their weights, before they are scaled to total variation 1.
        order: of the Dirichlet kernel.
        fidelity: δ.
        too_few, enough: numbers of particles.
        dt, steps: of forward-backward descent, in PDE time; ``records`` of them, or fewer.
        cells: of the density, along a and θ.
        reach: the grid holds |a| ≤ reach.
        density_dt, density_steps: of the semi-Lagrangian method.
    """

    positions: tuple[float, ...] = (0.130, 0.267, 0.693, 0.770, 0.950)
    weights: tuple[float, ...] = (0.6, 0.7, -0.55, -0.4, 0.5)
    order: int = 7
    fidelity: float = 0.1
    too_few: tuple[int, ...] = (6,)
    enough: tuple[int, ...] = (10, 100)
    dt: float = 2e-5
    steps: int = 100_000
    records: int = 80
    cells: tuple[int, ...] = (65, 96)
    reach: float = 4.0
    density_dt: float = 0.002
    density_steps: int = 120

    @classmethod
    def quick(cls) -> Config:
        """Two spikes through a wider kernel."""
        return cls(
            positions=(0.2, 0.7),
            weights=(0.6, -0.4),
            order=3,
            too_few=(1,),
            enough=(6,),
            dt=1e-4,
            steps=6000,
            records=16,
            cells=(41, 36),
            density_dt=0.01,
            density_steps=25,
        )


def run(config: Config, progress: Progress) -> xr.Dataset:
    """The certified optimum, particles of every number, and the density."""
    truth = np.array(config.positions), np.array(config.weights)
    truth = truth[0], truth[1] / np.abs(truth[1]).sum()
    problem = mf.spikes(truth, mf.dirichlet(config.order), config.fidelity)
    box = mf.Grid(a=mf.uniform(-config.reach, config.reach, 4), theta=mf.periodic(0, 1, 4))
    best = mf.optimum(problem, box, 1e-9)
    theta = np.arange(1000) / 1000
    parts = {
        "weight": ("spike", truth[1], {"long_name": "true weight"}),
        "optimal": ("spike", gathered(truth[0], best.minimiser), {"long_name": "mass of optimum"}),
        "g_optimum": ("theta", response(problem, theta, best.minimiser.prediction)),
    }
    for m in progress((*config.too_few, *config.enough), "particles"):
        cloud = pr.Cloud(np.column_stack([np.zeros(m), (np.arange(m) + 0.5) / m]))
        flow = pr.run(problem, cloud, pr.Descent(config.dt), moments(config))
        parts |= seen(problem, flow, best, theta, m)
        parts[f"position_{m}"] = (("time", f"particle_{m}", "coord"), flow.position.values)
        parts[f"mass_{m}"] = ("spike", gathered(truth[0], flow.isel(time=-1)))
        parts["time"] = ("time", flow.time.values, {"long_name": "time t"})
        a, where = flow.position.values[-1].T
        present = np.abs(a) / m > PRESENT
        off = distance(where, truth[0])
        parts[f"farthest_{m}"] = ((), off[present].max())
        slope = response(problem, where[present], flow.prediction[-1])
        parts[f"touching_{m}"] = ((), np.abs(slope + np.sign(a[present])).max())
    run = density(config, problem)
    parts |= density_parts(problem, run, best, theta, truth[0])
    found = xr.Dataset(parts, {"theta": theta, "theta_true": ("spike", truth[0])})
    return found.assign_attrs(optimum=best.value, optimum_gap=best.gap)


def density(config: Config, problem: mf.Problem) -> xr.Dataset:
    """The density, of which almost nothing may leave the box."""
    a, angles = config.cells
    grid = mf.Grid(a=mf.uniform(-config.reach, config.reach, a), theta=mf.periodic(0, 1, angles))
    times = config.density_dt * np.linspace(0, config.density_steps, 6).round()
    method = mf.semi_lagrangian(order=5, dt=config.density_dt)
    return mf.solve(problem, grid, method, times, escaped_tolerance=1e-3)


def density_parts(
    problem: mf.Problem, run: xr.Dataset, best: mf.Optimum, theta: np.ndarray, true: np.ndarray
) -> dict:
    """What is told of the density: h¹ = ∫aρ da as masses per cell, and where they are."""
    da, width = np.diff(run.a_edges.values), np.diff(run.theta_edges.values)
    h = np.einsum("tak,a,a,k->tk", run.rho.values, run.a.values, da, width)
    where = run.theta.values
    near = np.abs((where - true[:, None] + 0.5) % 1 - 0.5) <= NEAR
    mass = near @ h[-1]
    turned = (where - true[:, None] + 0.5) % 1 - 0.5
    return {
        "rho_last": (("a", "cell"), run.rho.values[-1]),
        "amplitude": ("a", run.a.values),
        "cell_centre": ("cell", where),
        "h": (("density_time", "cell"), h, {"long_name": "mass of ∫aρ da in a cell"}),
        "density_time": ("density_time", run.time.values),
        "mass_density": ("spike", mass),
        "offset_density": ("spike", (near * turned) @ h[-1] / mass),
        "gathered": (
            "density_time",
            np.abs(h[:, near.any(axis=0)]).sum(1) / np.abs(h).sum(1).clip(1e-300),
        ),
        "above_density": ("density_time", run.energy.values - best.value),
        "g_density": ("theta", response(problem, theta, run.prediction[-1])),
        "escaped": ((), float(run.escaped[-1])),
    }


def seen(
    problem: mf.Problem, flow: xr.Dataset, best: mf.Optimum, theta: np.ndarray, m: int
) -> dict:
    """Energy above the optimum, the certified gap and g of a flow."""
    bounds = mf.certificate(problem, flow)
    return {
        f"above_{m}": ("time", flow.energy.values - best.value),
        f"gap_{m}": ("time", bounds.gap.values, {"long_name": "certified bound of F − F*"}),
        f"sup_g_{m}": ("time", 1 - bounds.infimum.values, {"long_name": "sup |g|"}),
        f"g_{m}": ("theta", response(problem, theta, flow.prediction[-1])),
    }


def moments(config: Config) -> np.ndarray:
    """Times that are whole numbers of steps, close to each other at first."""
    later = np.geomspace(1, config.steps, config.records)
    return config.dt * np.unique(np.append(0, later.round()))


def response(problem: mf.Problem, theta: np.ndarray, prediction: xr.DataArray) -> np.ndarray:
    """g(θ) = ⟨risk', ψ(· − θ)⟩."""
    return problem.phi(theta[:, None]) @ problem.loss.slope(prediction.values)


def distance(theta: np.ndarray, true: np.ndarray) -> np.ndarray:
    """From θ (N,) to the nearest spike, round the circle."""
    return np.abs((theta[:, None] - true + 0.5) % 1 - 0.5).min(axis=1)


def gathered(true: np.ndarray, cloud: xr.Dataset) -> np.ndarray:
    """Σ p_j a_j of the particles near each spike."""
    a, theta = cloud.position.values.T
    near = np.abs((theta - true[:, None] + 0.5) % 1 - 0.5) <= NEAR
    return near @ (cloud.weight.values * a)


def numbers(data: xr.Dataset) -> tuple[list[int], list[int]]:
    """The numbers of particles: too few, and enough."""
    few, enough = (np.atleast_1d(data.attrs[f"config_{name}"]) for name in ("too_few", "enough"))
    return [int(m) for m in few], [int(m) for m in enough]


def checks(data: xr.Dataset) -> list[Check]:
    """Positions to 1e-2, signs, no other support, descent, and the certificate."""
    few, enough = numbers(data)
    signs = np.sign(data.weight.values)
    found = [
        Check("certified gap of the optimum", data.attrs["optimum_gap"], 0, 1e-8),
        Check("sup |g| − 1 of the optimum", float(np.abs(data.g_optimum).max()) - 1, -0.01, 1e-6),
        Check(
            "least optimal mass, in the sign of its spike",
            (signs * data.optimal.values).min(),
            1e-2,
        ),
    ]
    for m in few + enough:
        rise = np.diff(data[f"above_{m}"]).max()
        found.append(Check(f"largest rise of F between records, m = {m}", rise, high=1e-12))
        slack = (data[f"gap_{m}"] - data[f"above_{m}"]).min()
        found.append(Check(f"certified gap less F − F*, m = {m}", float(slack), low=-1e-8))
    for m in few:
        above, sup = float(data[f"above_{m}"][-1]), float(data[f"sup_g_{m}"][-1])
        found.append(Check(f"F − F* at the end, m = {m}: stalled", above, low=1e-2))
        found.append(Check(f"sup |g| at the end, m = {m}: violated", sup, low=1.1))
    for m in enough:
        mass = signs * data[f"mass_{m}"].values
        found += [
            Check(f"F − F* at the end, m = {m}", float(data[f"above_{m}"][-1]), -1e-8, 1e-3),
            Check(
                f"particles with mass, farthest from a spike, m = {m}",
                float(data[f"farthest_{m}"]),
                0,
                1e-2,
            ),
            Check(f"least mass, in the sign of its spike, m = {m}", mass.min(), 1e-2),
            Check(
                f"sup |g| − 1 at the end, m = {m}", float(data[f"sup_g_{m}"][-1]) - 1, -1e-9, 0.05
            ),
            Check(f"|g + sign a| on the support, m = {m}", float(data[f"touching_{m}"]), 0, 0.05),
        ]
    mass = signs * data.mass_density.values
    found += [
        Check(
            "density: mean position of h¹ off the spikes",
            np.abs(data.offset_density).max(),
            0,
            1e-2,
        ),
        Check("density: least mass, in the sign of its spike", mass.min(), 1e-2),
        Check("density: largest rise of F", float(np.diff(data.above_density).max()), high=0.0),
        Check("density: share of |h¹| within 0.03 of a spike", float(data.gathered[-1]), low=0.8),
        Check("density: mass that left the box", float(data.escaped), 0, 1e-3),
    ]
    return found


def figures(data: xr.Dataset) -> dict[str, Figure]:
    """Paths, the certificate, the energy, and the masses."""
    return {
        "paths": paths(data),
        "certificate": certificates(data),
        "energy": energies(data),
        "masses": masses(data),
    }


def paths(data: xr.Dataset) -> Figure:
    """Amplitude against position, and the density at its end."""
    few, enough = numbers(data)
    figure = Figure(figsize=(4 * len(few + enough) + 4, 4.2), layout="constrained")
    axes = figure.subplots(1, len(few + enough) + 1, sharey=True, squeeze=False)[0]
    for ax, m in zip(axes[:-1], few + enough, strict=True):
        path = data[f"position_{m}"].values
        for a, theta in path.transpose(1, 2, 0):
            broken = np.where(np.abs(np.diff(theta, append=theta[-1])) > 0.5, np.nan, theta)
            ax.plot(broken, a, color="0.6", lw=0.7)
        ax.plot(path[0, :, 1], path[0, :, 0], "k.", ms=3, label="start")
        ax.plot(path[-1, :, 1], path[-1, :, 0], "C0o", mfc="none", label="end")
        ax.set(title=f"{m} particles, t = {float(data.time[-1]):g}")
    ax = axes[-1]
    rho = np.log10(data.rho_last.values.clip(1e-3))
    shade = ax.pcolormesh(data.cell_centre, data.amplitude, rho, cmap="Greys")
    figure.colorbar(shade, ax=ax, label="log10 density")
    ax.set(title=f"density, t = {float(data.density_time[-1]):g}")
    for ax in axes:
        for theta, weight in zip(data.theta_true.values, data.weight.values, strict=True):
            style = "-" if weight > 0 else ":"
            ax.axvline(theta, color="C3", ls=style, lw=0.8)
        ax.set(xlabel="position θ", xlim=(0, 1))
    axes[0].set_ylabel("amplitude a")
    axes[0].plot([], [], "C3-", lw=0.8, label="true spike, weight > 0")
    axes[0].plot([], [], "C3:", lw=0.8, label="true spike, weight < 0")
    axes[0].legend(fontsize=8)
    return figure


def certificates(data: xr.Dataset) -> Figure:
    """g(θ) at the end."""
    few, enough = numbers(data)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    ax = figure.subplots()
    names = [(f"m = {m}", f"g_{m}") for m in few + enough] + [("density", "g_density")]
    for (label, name), style in zip(
        names, ("--", "-.", ":", (0, (6, 1, 1, 1, 1, 1))), strict=False
    ):
        ax.plot(data.theta, data[name], ls=style, label=label)
    ax.plot(data.theta, data.g_optimum, "k-", lw=0.8, label="optimum")
    ax.axhline(1, color="0.5", lw=0.8)
    ax.axhline(-1, color="0.5", lw=0.8)
    ax.plot(data.theta_true, -np.sign(data.weight), "C3x", ms=8, label="−sign at the true spikes")
    ax.set(xlabel="position θ", ylabel="g(θ), optimal where |g| ≤ 1", xlim=(0, 1))
    ax.legend(fontsize=8, ncols=2)
    return figure


def energies(data: xr.Dataset) -> Figure:
    """F − F* and the certified gap against time."""
    few, enough = numbers(data)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    ax = figure.subplots()
    for k, m in enumerate(few + enough):
        look = {"color": f"C{k}", "marker": "o^D"[k % 3], "mfc": "none", "markevery": (k, 6)}
        above = data[f"above_{m}"][1:].clip(1e-12)
        ax.loglog(data.time[1:], above, ls="-", label=f"F − F*, m = {m}", **look)
        gap = data[f"gap_{m}"][1:]
        ax.loglog(data.time[1:], gap, ls=":", label=f"certified gap, m = {m}", **look)
    ax.loglog(data.density_time[1:], data.above_density[1:], "ks", label="F − F*, density")
    ax.set(xlabel="PDE time t", ylabel="above the certified optimum, units of F")
    ax.set(xlim=(1e-3, None), ylim=(1e-9, None))
    ax.legend(fontsize=8)
    return figure


def masses(data: xr.Dataset) -> Figure:
    """The masses found at the spikes; the paper's beside, not comparable in scale."""
    _, enough = numbers(data)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    spikes = np.arange(data.sizes["spike"])
    left.bar(spikes, data.weight, 0.6, color="0.85", label="truth")
    marks = {
        "optimal": "k_",
        **{f"mass_{m}": s for m, s in zip(enough, ("C0o", "C1^"), strict=False)},
    }
    for k, (name, mark) in enumerate({**marks, "mass_density": "C2s"}.items()):
        label = {"optimal": "optimum", "mass_density": "density"}.get(
            name, name.replace("mass_", "m = ")
        )
        left.plot(spikes + 0.1 * (k - 1.5), data[name], mark, mfc="none", ms=9, label=label)
    left.set(title="here (total variation 1, δ = 0.1)", ylabel="mass at the spike")
    left.legend(fontsize=8)
    if data.sizes["spike"] == len(FIGURE):
        right.bar(spikes, FIGURE, 0.6, color="0.6")
    right.set(title="the paper's Figure 1, m = 10: other weights,\nnot comparable in scale")
    for ax in (left, right):
        ax.axhline(0, color="k", lw=0.6)
        ax.set_xticks(spikes, [f"{t:.3f}" for t in data.theta_true.values])
        ax.set_xlabel("true position θ*")
    return figure
