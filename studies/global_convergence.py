"""Starts that separate reach the certified optimum; others stall, with the certificate violated.

Chizat & Bach 2018, Theorems 3.3 and 3.5: if the support of the start separates ({0} × Θ does), and
if the flow converges (which is assumed), then its limit is a global minimiser. Here particles start
from supports that separate and from others: deconvolution (all θ = 0.5, θ = j/(10m)), ReLU (half a
circle), tanh and the quadratic activation (one point, one line), each on a few discrete samples.
Densities on grids: numerical diffusion leaks mass out of any support, and what leaks grows.
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
    statement="Gradient flow of wide two-layer networks reaches the global optimum when the "
    "start's support separates; often told with 'data of full support' and 'non-polynomial "
    "activation' as conditions.",
    reference="Chizat & Bach 2018, Theorems 3.3 and 3.5 (arXiv 1805.09545)",
    standing="theorem",
    verdict="Every separating start reaches the certified optimum (F − F* < 1e-4), ReLU, tanh, "
    "deconvolution and the quadratic activation, on 6 to 12 discrete samples: neither data of full "
    "support nor a non-polynomial activation is needed. Points, lines and narrow arcs stall with "
    "the certificate violated; half a circle of ReLU does not separate and arrives all the same, "
    "later: separation suffices and is not necessary. A mass ε on the missing side escapes after "
    "log(1/ε)/(4|J|), and what grids leak grows just so.",
)

SIZE = 0.1  # of |a| and |w| where a ReLU network starts
STALL = ("C3s--", "C1^:")  # styles of lines
SOLVED, STALLED = 1e-3, 1e-2  # F − F*, where the risk of 0 is of order 1


@dataclass(frozen=True)
class Config:
    """Parameters.

    Attributes:
        particles: m, of every cloud.
        cases: names of problems.
        horizon: factor on the horizons of the particle runs.
        epsilons: masses of the start that a non-separating start leaves on the other side.
        cells: of the grids for ReLU on one input, along a and w.
        horizon_grid: of those densities, in PDE time.
        angles, circle_dt: cells along θ and step of the densities for deconvolution.
    """

    particles: int = 48
    cases: str = "deconvolution ReLU tanh quadratic"
    horizon: float = 1.0
    epsilons: tuple[float, ...] = (1e-1, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12)
    cells: tuple[int, ...] = (32, 64, 128)
    horizon_grid: float = 4.0
    angles: int = 80
    circle_dt: float = 0.005

    @classmethod
    def quick(cls) -> Config:
        """Two problems, fewer particles and cells."""
        return cls(
            particles=16,
            cases="deconvolution ReLU",
            horizon=0.8,
            epsilons=(1e-2, 1e-4, 1e-6),
            cells=(32,),
            angles=32,
            circle_dt=0.02,
        )


@dataclass(frozen=True)
class Case:
    """A problem, where it starts, and how far it is followed.

    Attributes:
        problem, optimum: what is minimised, and its certified least energy.
        starts: by name, positions (m, D), and what is expected of them: "separates",
            "stalls", or "arrives" although its support does not separate.
        method, horizon: of the particles.
        over: the set of the certificate.
    """

    problem: mf.Problem
    optimum: float
    starts: dict[str, tuple[np.ndarray, str]]
    method: object
    horizon: float
    over: dict | str | None = None


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Particles from every start, escapes, and densities."""
    rows = []
    for name in progress(config.cases.split(), "particles"):
        case = CASES[name](config.particles)
        rows += [row(name, start, case, config.horizon) for start in case.starts]
    found = xr.concat(rows, "run")
    return xr.merge([found, escapes(config), leaks(config, progress), deconvolved(config)])


def three_spikes() -> mf.Problem:
    """Three spikes through a Dirichlet kernel of order 4, nine samples."""
    return mf.spikes(([0.2, 0.5, 0.8], [0.4, -0.3, 0.3]), mf.dirichlet(4), fidelity=0.2)


def deconvolution(m: int) -> Case:
    """Theorem 3.5: {0} × Θ separates, {0} × a part of Θ does not."""
    problem = three_spikes()
    box = mf.Grid(a=mf.uniform(-4, 4, 4), theta=mf.periodic(0, 1, 4))
    theta = (np.arange(m) + 0.5) / m
    starts = {
        "θ all around": (np.column_stack([0 * theta, theta]), "separates"),
        "all θ = 0.5": (np.column_stack([0 * theta, 0.5 + 0 * theta]), "stalls"),
        "θ = j/(10m)": (np.column_stack([0 * theta, np.arange(1, m + 1) / (10 * m)]), "stalls"),
    }
    return Case(problem, mf.optimum(problem, box, 1e-9).value, starts, pr.Descent(2e-4), 1.0)


def relu(m: int) -> Case:
    """Theorem 3.3: directions w all around separate, those of an arc do not.

    Neurons within 25° of (1, 0) see no sample beyond 115°, where the second teacher is.
    """
    phi = 2 * np.pi * np.arange(12) / 12
    x = np.column_stack([np.cos(phi), np.sin(phi)])
    y = np.maximum(x[:, 0], 0) + 0.7 * np.maximum(-x[:, 0], 0)
    problem = mf.two_layer(x, y, mf.relu, penalty=mf.ridge(0.01))
    turn = (np.arange(m) + 0.5) / m
    starts = {
        "w all around": (balanced(2 * np.pi * turn), "separates"),
        "w on half a circle": (balanced(np.pi * (turn - 0.5)), "arrives"),
        "w within 25° of (1, 0)": (balanced(np.radians(50) * (turn - 0.5)), "stalls"),
    }
    best = mf.optimum(problem, "sphere", 1e-9).value
    return Case(problem, best, starts, pr.Descent(0.1, kinks="slide"), 100.0)


def balanced(angle: np.ndarray) -> np.ndarray:
    """Neurons with |a| = |w| = SIZE and both signs of a, alternating, (m, 3)."""
    a = SIZE * np.where(np.arange(len(angle)) % 2, -1, 1)
    return np.column_stack([a, SIZE * np.cos(angle), SIZE * np.sin(angle)])


def tanh(m: int) -> Case:
    """Theorem 3.5 with |a| as penalty and weights in a box with walls."""
    x = np.linspace(-1, 1, 8)
    y = np.sin(3 * x) + 0.5 * np.cos(2 * x)
    box = {"w": mf.interval(-4, 4), "b": mf.interval(-4, 4)}
    problem = mf.two_layer(
        x, y, mf.tanh, bias=True, penalty=mf.total_variation(0.01), domain=box,
        initial=mf.product(a=mf.point(0.0), w=mf.uniform_box(-4, 4), b=mf.uniform_box(-4, 4)),
    )  # fmt: skip
    grid = mf.Grid(a=mf.uniform(-20, 20, 4), w=mf.uniform(-4, 4, 4), b=mf.uniform(-4, 4, 4))
    spread = pr.sample(problem, m, seed=1, kind="sobol").position
    starts = {
        "(w, b) all over": (spread, "separates"),
        "one (w, b)": (np.tile([0.0, 1.0, 0.3], (m, 1)), "stalls"),
    }
    best = mf.optimum(problem, grid, 1e-6).value
    return Case(problem, best, starts, pr.Descent(0.1), 1000.0)


def quadratic(m: int) -> Case:
    """Theorem 3.3 for (w·x)², a polynomial: directions all around, or on one line."""
    x = np.random.default_rng(3).normal(size=(6, 2))
    y = (x @ [1.0, 0.5]) ** 2 + 0.5 * (x @ [-0.5, 1.0]) ** 2
    problem = mf.two_layer(x, y, mf.quadratic, output_weight=False, penalty=mf.ridge(0.01))
    angle = np.pi * (np.arange(m) + 0.5) / m
    size = SIZE * (-1.0) ** np.arange(m)
    line = np.column_stack([size, 0 * size])
    starts = {
        "w all around": (
            np.column_stack([size * np.cos(angle), size * np.sin(angle)]),
            "separates",
        ),
        "w on one line": (line, "stalls"),
    }
    grid = mf.Grid(w1=mf.uniform(-2, 2, 4), w2=mf.uniform(-2, 2, 4))
    best = mf.optimum(problem, grid, 1e-7).value
    over = {"w1": (-2, 2), "w2": (-2, 2)}
    return Case(problem, best, starts, pr.GradientFlow(), 4.0, over)


CASES = {"deconvolution": deconvolution, "ReLU": relu, "tanh": tanh, "quadratic": quadratic}


def row(name: str, start: str, case: Case, factor: float) -> xr.Dataset:
    """One flow: its energy above the optimum, and its certificate."""
    positions, outcome = case.starts[start]
    times = factor * case.horizon * np.array([0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0])
    flow = pr.run(case.problem, pr.Cloud(positions), case.method, times)
    bounds = mf.certificate(case.problem, flow, case.over)
    return xr.Dataset(
        {
            "case": name,
            "start": start,
            "outcome": outcome,
            "share_of_horizon": ("record", times / times[-1]),
            "horizon": times[-1],
            "above": ("record", flow.energy.values - case.optimum),
            "gap": ("record", bounds.gap.values),
            "infimum": ("record", bounds.infimum.values),
            "dissipation": ("record", flow.dissipation.values),
        }
    )


# Escapes: ReLU on one input, where both half lines decouple ---------------------------------------

MU = 0.05
X = np.array([-1.5, -1.0, -0.5, 0.5, 1.0, 1.5])
Y = np.abs(X) * np.where(X < 0, 1.0, 1.5)


def one_input(initial: mf.Law | None = None) -> mf.Problem:
    """y = |x| for x < 0 and 1.5 x for x > 0: a neuron of w > 0 knows nothing of x < 0."""
    return mf.two_layer(X, Y, mf.relu, penalty=mf.ridge(MU), initial=initial)


def escape_law() -> tuple[float, float]:
    """Rate 2(b − μ) and final value of c = ∫a|w|dρ over w < 0: c' = 2c(b − μ − s c).

    For balanced neurons, a = |w|, b = Σ p y|x| and s = Σ p x² over x < 0. The rate is 4|J| of
    SCIENCE: V = −(b − μ)/2 at the unit neuron (1, −1)/√2.
    """
    left = X < 0
    b, s = (Y * -X)[left].sum() / len(X), (X**2)[left].sum() / len(X)
    return 2 * (b - MU), (b - MU) / s


def escape_time(c0: float) -> float:
    """When c is half its final value, from c0 at time 0."""
    rate, final = escape_law()
    return np.log(final / c0 - 1) / rate


def escapes(config: Config) -> xr.Dataset:
    """Particles that start with a mass ε at w < 0: when c reaches half its final value."""
    found, expected = [], []
    for epsilon in config.epsilons:
        cloud = pr.Cloud([[SIZE, SIZE], [SIZE, -SIZE]], [1 - epsilon, epsilon])
        t = escape_time(epsilon * SIZE**2)
        times = np.concatenate([[0.0], np.linspace(0.9, 1.1, 41) * t])
        flow = pr.run(one_input(), cloud, pr.GradientFlow(), times)
        c = np.abs(flow.position.values[:, 1].prod(axis=1)) * epsilon
        found.append(np.interp(escape_law()[1] / 2, c, times))
        expected.append(t)
    return xr.Dataset(
        {"escape": ("epsilon", found), "escape_expected": ("epsilon", expected)},
        {"epsilon": np.array(config.epsilons)},
    )


def leaks(config: Config, progress: Progress) -> xr.Dataset:
    """Densities that start at w > 0, or on both sides, on grids of several sizes."""
    right = mf.uniform_box([0.3, 0.3], [0.5, 0.5])
    left = mf.uniform_box([0.3, -0.5], [0.5, -0.3])
    times = np.linspace(0, config.horizon_grid, 17)
    best = mf.optimum(one_input(), "sphere", 1e-10).value
    data: dict = {}
    for start, law in {"w > 0": right, "both": mf.mixture([0.5, 0.5], [right, left])}.items():
        for cells in progress(config.cells, f"densities, {start}"):
            grid = mf.Grid(a=mf.uniform(-4, 4, cells), w=mf.uniform(-4, 4, cells))
            method = mf.semi_lagrangian(dt=0.05)
            flow = mf.solve(one_input(law), grid, method, times, escaped_tolerance=1e-2)
            side = flow.rho.where(flow.w < 0, 0.0) * (8 / cells) ** 2
            key = (start, cells)
            data[key] = xr.Dataset(
                {
                    "leaked": side.sum(("a", "w")),
                    "leaked_c": (side * flow.a * abs(flow.w)).sum(("a", "w")),
                    "above_grid": flow.energy - best,
                }
            ).drop_vars("time")
    found = xr.concat(
        [xr.concat([data[start, n] for n in config.cells], "cells") for start in ("w > 0", "both")],
        "side",
    ).rename(time="grid_time")
    return found.assign_coords(grid_time=times, cells=list(config.cells), side=["w > 0", "both"])


def deconvolved(config: Config) -> xr.Dataset:
    """Densities for deconvolution from {0} × Θ and from {0} × [0, 0.1]."""
    problem = three_spikes()
    box = mf.Grid(a=mf.uniform(-4, 4, 4), theta=mf.periodic(0, 1, 4))
    best = mf.optimum(problem, box, 1e-9).value
    grid = mf.Grid(a=mf.uniform(-5, 5, 61), theta=mf.periodic(0, 1, config.angles))
    times = np.linspace(0, 0.2, 6)
    above, beyond = [], []
    for high in (1.0, 0.1):
        law = mf.product(a=mf.point(0.0), theta=mf.uniform_box(0, high))
        start = mf.spikes(problem.y, mf.dirichlet(4), 0.2, initial=law)
        method = mf.semi_lagrangian(order=5, dt=config.circle_dt)
        run = mf.solve(start, grid, method, times, escaped_tolerance=1e-2)
        above.append(run.energy.values - best)
        far = np.abs((run.theta - 0.05 + 0.5) % 1 - 0.5) > 0.25
        cell = (10 / 61) / config.angles
        beyond.append(run.rho.where(far, 0.0).sum(("a", "theta")).values * cell)
    names = ["{0} × Θ", "{0} × [0, 0.1]"]
    return xr.Dataset(
        {
            "above_circle": (("support", "circle_time"), above),
            "beyond": (
                ("support", "circle_time"),
                beyond,
                {"long_name": "mass off |θ − .05| < .25"},
            ),
        },
        {"support": names, "circle_time": times},
    )


# What is found ------------------------------------------------------------------------------------


def checks(data: xr.Dataset) -> list[Check]:
    """Solved or stalled, the certificate of each, and how long a leak takes."""
    found = []
    for k in range(data.sizes["run"]):
        one = data.isel(run=k)
        name, above = f"{one.case.item()}, {one.start.item()}", float(one.above[-1])
        found.append(
            Check(f"{name}: gap − (F − F*)", float((one.gap - one.above).min()), low=-1e-5)
        )
        if one.outcome != "stalls":
            found.append(Check(f"{name} ({one.outcome.item()}): F − F*", above, -1e-5, SOLVED))
            continue
        found += [
            Check(f"{name}: F − F*, stalled", above, low=STALLED),
            Check(f"{name}: infimum of V, violated", float(one.infimum[-1]), high=-STALLED),
            Check(f"{name}: dissipation × horizon / (F − F*)",
                  float(one.dissipation[-1] * one.horizon) / above, high=0.1),
        ]  # fmt: skip
    rate, _ = escape_law()
    slope = np.polyfit(-np.log(data.epsilon.values), data.escape.values, 1)[0]
    off = np.abs(data.escape / data.escape_expected - 1).max()
    found += [
        Check("escape times against the closed form, relative", float(off), 0, 1e-3),
        Check("slope of escape time in log(1/ε), times 4|J|", slope * rate, 0.98, 1.02),
    ]
    stuck, both = data.sel(side="w > 0"), data.sel(side="both")
    half = data.sizes["grid_time"] // 2  # by then the mode e^{−4|J|t} has died
    lasted = data.grid_time[-1] - data.grid_time[half]
    grown = np.log(stuck.leaked_c[-1, -1] / stuck.leaked_c[-1, half]) / lasted
    found += [
        Check("densities on both sides: F − F* at the end",
              float(both.above_grid[:, -1].max()), 0, 0.05),
        Check("densities at w > 0: F − F* at the end, stalled",
              float(stuck.above_grid[:, -1].min()), low=0.1),
        Check("densities at w > 0: mass leaked at the end, finest grid",
              float(stuck.leaked[-1, -1]), 1e-12, 0.01),
        Check("its growth over the second half, over 4|J|", float(grown / rate), 0.9, 1.1),
        Check("deconvolution on [0, T] = [0, 0.2]: F − F* of {0} × [0, 0.1]",
              float(data.above_circle[1, -1]), low=0.5),
        Check("… over that of {0} × Θ",
              float(data.above_circle[1, -1] / data.above_circle[0, -1]), low=2.0),
        Check("… its mass that leaked beyond |θ − 0.05| = 0.25",
              float(data.beyond[1, -1]), 0, 1e-2),
    ]  # fmt: skip
    return found


def figures(data: xr.Dataset) -> dict[str, Figure]:
    """Energies of particles, escape times, and densities."""
    return {"particles": particles(data), "escape": escaping(data), "densities": densities(data)}


def particles(data: xr.Dataset) -> Figure:
    """F − F* against time, of every start."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    names = list(dict.fromkeys(data.case.values.tolist()))
    axes = figure.subplots(1, len(names), sharey=True)
    for ax, name in zip(axes, names, strict=True):
        own = data.isel(run=np.flatnonzero(data.case.values == name))
        for k in range(own.sizes["run"]):
            one = own.isel(run=k)
            style = {"separates": "C0o-", "arrives": "C2D-."}.get(one.outcome.item(), STALL[k % 2])
            time = one.share_of_horizon * one.horizon
            ax.semilogy(time, one.above.clip(1e-10), style, mfc="none", label=one.start.item())
            if one.outcome == "stalls":
                ax.axhline(-one.infimum[-1], color="0.7", lw=0.6)
        ax.set(title=name, xlabel="PDE time t")
        ax.legend(fontsize=8)
    axes[0].set_ylabel("F − F* (certified optimum; less at 1e-10)\ngrey: −inf V of the stalled")
    return figure


def escaping(data: xr.Dataset) -> Figure:
    """Escape times against log(1/ε), and the mass that grids leak."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogx(1 / data.epsilon, data.escape_expected, "k-", lw=0.8, label="closed form")
    left.semilogx(
        1 / data.epsilon, data.escape, "C0o", mfc="none", label="particles of masses 1 − ε, ε"
    )
    left.set(xlabel="1/ε", ylabel="escape time", title="ReLU, one input: mass ε at w < 0")
    left.legend(fontsize=8)
    rate, final = escape_law()
    for k, cells in enumerate(data.cells.values):
        c = data.leaked_c.sel(side="w > 0", cells=cells)
        right.semilogy(
            data.grid_time, c.where(c > 0), ("-", "--", ":")[k % 3], label=f"{cells}² cells"
        )
    t = data.grid_time.values
    grown = 1e-4 * np.exp(rate * t)
    right.semilogy(
        t[grown < final], grown[grown < final], "k-", lw=0.6, label=r"slope $e^{4\,|J|\,t}$"
    )
    right.axhline(final, color="0.6", lw=0.8, label="final value")
    right.set(
        xlabel="PDE time t", ylabel="∫a|w|dρ over w < 0", title="what grids leak, start at w > 0"
    )
    right.set_ylim(bottom=1e-14)  # room for the legend
    right.legend(fontsize=8, loc="lower right")
    return figure


def densities(data: xr.Dataset) -> Figure:
    """F − F* of densities, from starts that separate and starts that do not."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, cells in enumerate(data.cells.values):
        style = ("-", "--", ":")[k % 3]
        for side, look in (("w > 0", "C3s"), ("both", "C0o")):
            above = data.above_grid.sel(side=side, cells=cells)
            label = f"start {side}, {cells}² cells"
            left.semilogy(data.grid_time, above, look + style, mfc="none", markevery=4, label=label)
    left.set(title="ReLU, one input", xlabel="PDE time t", ylabel="F − F*")
    for support, style in zip(data.support.values, ("C0o-", "C3s--"), strict=True):
        leak = float(data.beyond.sel(support=support)[-1])
        told = "" if "Θ" in str(support) else f", {leak:.1e} of its mass leaked"
        right.semilogy(data.circle_time, data.above_circle.sel(support=support), style, mfc="none",
                       label=f"{support}{told}")  # fmt: skip
    right.set(title="deconvolution", xlabel="PDE time t", ylabel="F − F*")
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    return figure
