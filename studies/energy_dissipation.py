"""The energy falls by what is dissipated: the ledger of every method.

A tanh network on 16 samples of 2 sin(1.5 x), neurons from N((0.3, 0.6), std²). The ledger is kept
in a box so small that mass leaves through open walls, F + carried + dissipated against F(0); with
entropy λ the walls are closed. Orders in dt are seen on one grid in a wide box, from differences of
F(T) between a step and half of it, in which the error in space cancels. Formulas: the averaged
residual (Gonzalez 1996), relaxation (Ketcheson 2019), Scharfetter-Gummel with the implicit midpoint
potential (Schlichting & Seis 2020; the λKL term is what backward Euler adds).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from study import Check, Claim, Progress

import mfpde as mf
import particle_ref as pr

CLAIM = Claim(
    statement="Along the flow dF/dt = −∫|∇V + λ∇log ρ|² dρ: the energy falls by exactly what is "
    "dissipated.",
    reference="Chizat & Bach 2018, §2.2 (arXiv 1805.09545): the Wasserstein gradient flow of F",
    standing="theorem",
    verdict="Every method keeps mass + escaped at 1 to 2e-15, and none that promises it raises F. "
    "Those of exact energy book what F loses to 2e-13 of F(0), mass leaving through open walls, "
    "and implicit Scharfetter-Gummel steps do so at any dt up to 1000. The others come to the "
    "flow's F(T) with the order in dt that they promise: 1, 2, 3 or 4. Gradient descent has no "
    "such law in discrete time: a step of dt = 8 raises F by 2.3.",
)

Make = Callable[[float], mf.Method]
PROMISES = ("exact", "monotone", "order", "none")
EPS = float(np.finfo(float).eps)

# The ledger: λ = 0 or not, and a method at its default step.
LEDGER: dict[str, tuple[bool, Make]] = {
    "upwind": (False, lambda dt: mf.upwind()),
    "upwind averaged": (False, lambda dt: mf.upwind(exact="averaged")),
    "muscl": (False, lambda dt: mf.muscl()),
    "muscl averaged": (False, lambda dt: mf.muscl(exact="averaged")),
    "muscl relaxed": (False, lambda dt: mf.muscl(exact="relaxed")),
    "weno5": (False, lambda dt: mf.weno5()),
    "weno5 averaged": (False, lambda dt: mf.weno5(exact="averaged")),
    "weno5 relaxed": (False, lambda dt: mf.weno5(exact="relaxed")),
    "SG": (False, lambda dt: mf.scharfetter_gummel()),
    "semi-Lagrangian": (False, lambda dt: mf.semi_lagrangian()),
    "composed": (False, lambda dt: mf.semi_lagrangian(dt=2 * dt, composed=True)),
    "push-forward": (False, mf.pushforward),
    "FiPy upwind": (False, lambda dt: mf.fipy("upwind")),
    "FiPy van Leer": (False, lambda dt: mf.fipy("vanleer")),
    "SG, λ": (True, lambda dt: mf.scharfetter_gummel()),
    "SG direct, λ": (True, lambda dt: mf.scharfetter_gummel(inside="direct")),
    "SG explicit, λ": (True, lambda dt: mf.scharfetter_gummel(implicit=False)),
    "SG averaged, λ": (True, lambda dt: mf.scharfetter_gummel(implicit=False, exact="averaged")),
    "semi-Lagrangian, λ": (True, lambda dt: mf.semi_lagrangian()),
    "push-forward, λ": (True, mf.pushforward),
    "FiPy exponential, λ": (True, lambda dt: mf.fipy("exponential")),
}

# Orders in dt: λ = 0 or not, cells, the order, the longest step (of T, or cfl), dear, the method.
# Remaps spoil the density a little at every step: they get cells enough for dt alone to be seen.
ORDERS: dict[str, tuple[bool, int, float, float, bool, Make]] = {
    "upwind": (False, 48, 1, 0.8, False, mf.upwind),
    "upwind averaged": (False, 48, 1, 0.8, False, lambda c: mf.upwind(c, exact="averaged")),
    "muscl": (False, 48, 2, 0.4, False, lambda c: mf.muscl(cfl=c)),
    "muscl relaxed": (False, 48, 2, 0.4, False, lambda c: mf.muscl(cfl=c, exact="relaxed")),
    "weno5": (False, 48, 3, 0.4, False, mf.weno5),
    "weno5 averaged": (False, 48, 2, 0.4, True, lambda c: mf.weno5(c, exact="averaged")),
    "weno5 relaxed": (False, 48, 3, 0.4, True, lambda c: mf.weno5(c, exact="relaxed")),
    "SG": (False, 48, 1, 0.2, False, lambda dt: mf.scharfetter_gummel(dt=dt)),
    "semi-Lagrangian": (False, 96, 2, 0.2, False, lambda dt: mf.semi_lagrangian(9, dt)),
    "composed": (False, 128, 4, 1.0, True, lambda dt: mf.semi_lagrangian(9, dt, composed=True)),
    "push-forward": (False, 96, 1, 0.2, True, mf.pushforward),
    "FiPy upwind": (False, 32, 1, 0.2, True, lambda dt: mf.fipy("upwind", dt=dt)),
    "SG, λ": (True, 48, 1, 0.1, False, lambda dt: mf.scharfetter_gummel(dt=dt)),
    "SG direct, λ": (
        True, 24, 1, 0.05, True, lambda dt: mf.scharfetter_gummel(dt=dt, inside="direct")
    ),
    "SG explicit, λ": (
        True, 48, 1, 0.01, False, lambda dt: mf.scharfetter_gummel(implicit=False, dt=dt)
    ),
    "semi-Lagrangian, λ": (True, 64, 2, 0.2, False, lambda dt: mf.semi_lagrangian(9, dt)),
    "push-forward, λ": (True, 64, 1, 0.1, True, mf.pushforward),
    "FiPy exponential, λ": (True, 32, 1, 0.1, True, lambda dt: mf.fipy("exponential", dt=dt)),
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Attributes:
    samples: n, inputs equally spaced in [−2, 2].
    horizon: T, PDE time.
    entropy: λ of the methods that are named so; they have a ridge μ = 0.2, too.
    cells: of the ledger, along a and w.
    half: the ledger's box without entropy is [−half, half]², with open walls.
    instants: times in (0, T] at which the ledger is read.
    levels: steps dt, dt/2, dt/4, ... for the order in dt.
    dear: whether it is measured for the slow methods too.
    """

    samples: int = 16
    horizon: float = 1.0
    entropy: float = 0.05
    cells: int = 48
    half: float = 2.2
    instants: int = 40
    levels: int = 4
    dear: bool = True

    @classmethod
    def quick(cls) -> Config:
        """A coarse ledger and the fast methods."""
        return cls(cells=24, instants=10, levels=3, dear=False)


# What is solved -----------------------------------------------------------------------------------


def network(config: Config, std: float, noisy: bool) -> mf.Problem:
    """The tanh network; with entropy it is confined by a ridge."""
    x = np.linspace(-2, 2, config.samples)
    return mf.two_layer(
        x,
        2 * np.sin(1.5 * x),
        penalty=mf.ridge(0.2) if noisy else None,
        entropy=config.entropy if noisy else 0.0,
        initial=mf.gaussian(mean=[0.3, 0.6], std=std),
    )


def square(half: float, cells: int, walls: str) -> mf.Grid:
    """[−half, half]²."""
    return mf.Grid(**dict.fromkeys(("a", "w"), mf.uniform(-half, half, cells, walls)))


def solved(
    config: Config,
    std: float,
    noisy: bool,
    half: float,
    cells: int,
    method: mf.Method,
    instants: int,
) -> xr.Dataset:
    """The run; whatever leaves is booked."""
    grid = square(half, cells, "closed" if noisy else "open")
    times = np.linspace(0.0, config.horizon, instants + 1)
    return mf.solve(
        network(config, std, noisy), grid, method, times, escaped_tolerance=1.0, progress=False
    )


def run(config: Config, progress: Progress) -> xr.Dataset:
    """The ledger of every method, F(T) against dt, the truth, and very long steps."""
    parts = [ledger(config, progress), orders(config, progress), long_steps(config)]
    merged = xr.merge(parts, combine_attrs="drop")
    return merged.assign(true_energy=("instant", true_energies(config)))


def ledger(config: Config, progress: Progress) -> xr.Dataset:
    """energy, carried, dissipated, mass and dissipation rate of every method over time."""
    rows = []
    for name in progress(list(LEDGER), "ledger"):
        noisy, make = LEDGER[name]
        method = make(config.horizon / config.instants / 2)
        half = 4.0 if noisy else config.half
        found = solved(config, 0.3, noisy, half, config.cells, method, config.instants)
        row = found[["energy", "escaped_energy", "mass", "escaped", "dissipation"]].reset_coords(
            drop=True
        )
        booked = found["dissipated"] if "dissipated" in found else xr.full_like(row.energy, np.nan)
        promise = PROMISES.index(method.promise)
        rows.append(row.assign(dissipated=booked, promise=promise, steps=found.attrs["steps"]))
    return xr.concat(rows, "account").assign_coords(account=list(LEDGER))


def orders(config: Config, progress: Progress) -> xr.Dataset:
    """F(T) for steps that are halved, on one grid; dt is the mean step that was taken."""
    chosen = [name for name, (*_, dear, _) in ORDERS.items() if config.dear or not dear]
    energy = np.full((len(chosen), config.levels), np.nan)
    dt = np.full_like(energy, np.nan)
    for i, name in enumerate(progress(chosen, "orders in dt")):
        noisy, cells, _, longest, _, make = ORDERS[name]
        for k in range(config.levels):
            found = solved(config, 0.7, noisy, 5.0, cells, make(longest / 2**k), 1)
            energy[i, k] = float((found.energy + found.escaped_energy)[-1])
            dt[i, k] = config.horizon / found.attrs["steps"]
    change = np.abs(np.diff(energy, axis=1))
    observed = np.diff(np.log(change), axis=1) / np.diff(np.log(dt[:, :-1]), axis=1)
    return xr.Dataset(
        {
            "last_energy": (("scheme", "level"), energy, {"long_name": "F(T)"}),
            "dt": (("scheme", "level"), dt, {"long_name": "mean step", "units": "PDE time"}),
            "observed_order": (("scheme", "pair"), observed, {"long_name": "order in dt"}),
            "promised_order": ("scheme", [float(ORDERS[name][2]) for name in chosen]),
        },
        coords={"scheme": chosen},
    )


def long_steps(config: Config) -> xr.Dataset:
    """F before and after steps far beyond every limit: implicit ones fall, a descent rises."""
    lengths = np.array([1.0, 10.0, 1000.0])
    balance, rise = np.zeros((2, len(lengths)))
    problem, grid = network(config, 0.7, noisy=True), square(5.0, config.cells, "closed")
    for k, dt in enumerate(lengths):
        times = dt * np.arange(4)
        found = mf.solve(problem, grid, mf.scharfetter_gummel(dt=dt), times, progress=False)
        balance[k] = np.abs(found.energy + found.dissipated - found.energy[0]).max()
        rise[k] = found.energy.diff("time").max()
    descent = mf.solve(problem, grid, mf.pushforward(8.0), [0.0, 8.0], progress=False)
    return xr.Dataset(
        {
            "long_balance": ("long_step", balance),
            "long_rise": ("long_step", rise),
            "descent_rise": float(descent.energy[1] - descent.energy[0]),
        },
        coords={"long_step": lengths},
    )


def true_energies(config: Config) -> np.ndarray:
    """F(0) and F(T) without walls or entropy: the risk of quadrature particles."""
    problem = network(config, 0.7, noisy=False)
    truth = pr.Truth(problem, config.horizon, tolerance=1e-8)
    return np.array([problem.loss.risk(truth.prediction(t)) for t in (0.0, config.horizon)])


# What it shows ------------------------------------------------------------------------------------

MARKERS = "os^Dv<>Ph*"
LINES = ("-", "--", "-.", ":")


def figures(data: xr.Dataset) -> dict[str, Figure]:
    """The ledger, the energies over time, and the orders in dt."""
    return {"ledger": ledger_figure(data), "orders": orders_figure(data)}


def ledger_figure(data: xr.Dataset) -> Figure:
    """F over time for five of them; and how far every account is from balance."""
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    over_time, accounts = figure.subplots(1, 2, width_ratios=(1, 1.25))
    total = data.energy + data.escaped_energy
    for k, name in enumerate(["upwind averaged", "muscl relaxed", "semi-Lagrangian", "SG, λ"]):
        one = data.sel(account=name)
        over_time.plot(
            data.time,
            total.sel(account=name),
            LINES[k],
            color="black",
            label=f"F + carried, {name}",
        )
        if one.dissipated.notnull().all():
            lost = one.energy[0] - one.dissipated
            over_time.plot(
                data.time[::5], lost[::5], MARKERS[k], mfc="white", color="0.4", ms=5, ls="none",
                label=f"F(0) − dissipated, {name}",
            )  # fmt: skip
    over_time.set(xlabel="time t", ylabel="energy F")
    over_time.legend(fontsize=7, loc="lower left")
    looks = (
        ("mass + escaped − 1", mass_defect(data), "o", "white"),
        ("F + carried + dissipated − F(0), relative", balance(data), "s", "black"),
        ("(ΔF + ∫D dt)/ΔF, D at the stored times", rate_defect(data), "^", "0.7"),
    )
    rows = np.arange(data.sizes["account"])
    for label, values, marker, fill in looks:
        accounts.plot(
            np.maximum(values, 1e-17), rows, marker, mfc=fill, color="black", ls="none", label=label
        )
    accounts.axvline(round_off(data), color="black", ls=":", lw=1, label="cells × 2⁻⁵²")
    names = [
        f"{name} ({PROMISES[int(p)]})"
        for name, p in zip(data.account.values, data.promise.values, strict=True)
    ]
    accounts.set_yticks(rows, names, fontsize=8)
    accounts.invert_yaxis()
    accounts.set(xscale="log", xlabel="defect (smaller ones at 1e-17)", title="promise in brackets")
    figure.legend(*accounts.get_legend_handles_labels(), loc="outside lower right", ncols=2,
                  fontsize=8, frameon=False)  # fmt: skip
    return figure


def orders_figure(data: xr.Dataset) -> Figure:
    """|F(T; dt) − F(T; dt/2)| against dt, a panel for every order."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    known = sorted(set(data.promised_order.values))
    for axis, order in zip(figure.subplots(1, len(known), squeeze=False)[0], known, strict=True):
        slopes_of(axis, data.isel(scheme=data.promised_order.values == order), order)
    return figure


def slopes_of(axis: Axes, data: xr.Dataset, order: float) -> None:
    """Methods of one order, with its slope."""
    for k, name in enumerate(data.scheme.values):
        one = data.sel(scheme=name)
        axis.loglog(
            one.dt[:-1], np.abs(np.diff(one.last_energy)), LINES[k % 4], marker=MARKERS[k],
            color=str(0.6 * k / data.sizes["scheme"]), mfc="white", ms=4, lw=1, label=name,
        )  # fmt: skip
    ends = np.array([float(data.dt[:, :-1].min()), float(data.dt.max())])
    top = float(np.abs(data.last_energy.diff("level")).max())
    axis.loglog(ends, 2 * top * (ends / ends[1]) ** order, color="0.6", lw=3, alpha=0.6,
                label=f"slope {order:g}")  # fmt: skip
    axis.set(xlabel="mean step dt", title=f"order {order:g} promised")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    if order == 1:
        axis.set_ylabel("|F(T; dt) − F(T; dt/2)|")


# What is checked ----------------------------------------------------------------------------------


def mass_defect(data: xr.Dataset) -> np.ndarray:
    """Largest |mass + escaped − 1| over time."""
    return np.abs(data.mass + data.escaped - 1).max("time").values


def balance(data: xr.Dataset) -> np.ndarray:
    """Largest |F + carried + dissipated − F(0)|, of F(0); NaN where nothing is booked."""
    sum_ = data.energy + data.escaped_energy + data.dissipated
    return (np.abs(sum_ - sum_.isel(time=0)).max("time", skipna=False) / data.energy[:, 0]).values


def rate_defect(data: xr.Dataset) -> np.ndarray:
    """How far F(0) − F(T) is from ∫D dt by trapezia over the stored times, relative."""
    fall = data.energy[:, 0] - data.energy[:, -1] - data.escaped_energy[:, -1]
    spent = np.trapezoid(data.dissipation, data.time, axis=1)
    return np.abs(spent / fall - 1).values


def round_off(data: xr.Dataset) -> float:
    """What a sum over all cells may lose, relative."""
    return int(data.attrs["config_cells"]) ** 2 * EPS


def checks(data: xr.Dataset) -> list[Check]:
    """Round-off where promised; the promised order elsewhere, within 0.2 on the last two halvings.

    An order seen from differences is off by O(dt), or by the flux limiter's switches.
    """
    total = data.energy + data.escaped_energy
    rise = total.diff("time").max("time").values
    least = round_off(data)
    found = [
        Check("mass + escaped − 1, all methods", float(mass_defect(data).max()), high=least),
        Check("mass that escaped, the most", float(data.escaped.max()), low=1e-5),
    ]
    for k, name in enumerate(data.account.values):
        if PROMISES[int(data.promise[k])] == "exact":
            found.append(Check(f"balance of {name}", float(balance(data)[k]), high=least))
        if PROMISES[int(data.promise[k])] in ("exact", "monotone"):
            found.append(Check(f"largest rise of F, {name}", float(rise[k]), high=0.0))
    for k, name in enumerate(data.scheme.values):
        order, promised = float(data.observed_order[k, -1]), float(data.promised_order[k])
        found.append(Check(f"order in dt of {name}", order, promised - 0.2, promised + 0.2))
    transported = data.sel(scheme="semi-Lagrangian").last_energy.values
    found += [
        Check(
            "|F(T) − that of quadrature particles|, semi-Lagrangian; less than by halving dt",
            abs(float(transported[-1] - data.true_energy[1])),
            high=abs(float(transported[-1] - transported[-2])),
        ),
        Check("balance of SG at dt = 1 to 1000", float(data.long_balance.max()), high=least),
        Check("largest rise of F, SG at dt = 1 to 1000", float(data.long_rise.max()), high=0.0),
        Check("rise of F by a push-forward of dt = 8", float(data.descent_rise), low=0.1),
    ]
    return found
