"""Noise is an entropy: the free energy falls to a Gibbs state, at a rate, and only with noise.

∂_t ρ = ∇·(ρ∇V_ρ) + λΔρ descends F(ρ) = R(f_ρ) + ∫reg dρ + λ∫ρ log ρ (Hu, Ren, Šiška & Szpruch
2021; Nitanda, Wu & Suzuki 2201.10469; Chizat 2202.01009). Neurons tanh(w x + b) without output
weight, under a ridge μ, fit a sine (all parameters are ours): their part g of V = g + μ|θ|²/2 is
bounded, so Gibbs_ρ ∝ e^(−V/λ) obeys a log-Sobolev inequality with ρ_LS ≥ (μ/λ) e^(−osc g/λ), by
Bakry-Émery for the ridge and Holley-Stroock for g; F − F* then falls at a rate 2λρ_LS at least. For
linear neurons V is quadratic, ρ_LS = μ/λ, and along a direction that data do not see the rate 2μ is
attained. Densities rest on F* of mf.optimum (Newton on the dual); Langevin particles stand beside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray
from study import Check, Claim, Progress, exponent

import mfpde as mf
import particle_ref as pr

Array = NDArray[np.float64]

CLAIM = Claim(
    statement=(
        "Noisy gradient descent minimises F = risk + penalty + λ∫ρ log ρ: λKL(ρ|ρ*) ≤ F − F* ≤ "
        "λKL(ρ|Gibbs_ρ), and F − F* falls at least as e^(−2λρ_LS t) to the one Gibbs state. "
        "Gradient descent without noise adds no entropy."
    ),
    reference="Nitanda, Wu & Suzuki 2022, Theorem 1 (arXiv 2201.10469); Chizat 2022 (2202.01009)",
    standing="theorem",
    verdict=(
        "The sandwich holds at every instant for λ = 0.01 to 0.5, and two starts end in one Gibbs "
        "state. F − F* falls at rates of 0.18 to 1.4; with Holley–Stroock's constant 2λρ_LS is 3.6 "
        "times less at λ = 0.5 and useless at 0.01 (10⁻¹⁶ at the end); for quadratic V it is "
        "attained to 1 %. The noise costs about λ in risk + ridge, λ/2 for each coordinate; "
        "without it the flow ends 4e-4 above the least, and linear neurons keep ∫ρ log ρ exactly."
    ),
)

REACH = 7.0  # of the box, closed: the flow and its inequalities hold on it as on the plane
STEP = 0.05  # of Langevin particles, and where a rate is measured
SEEN = 1e-9  # of F − F*, below which rates are not read


@dataclass(frozen=True)
class Config:
    """Temperatures, grid and particles.

    Attributes:
        entropy: the ladder of λ. ridge: μ.
        cells: along each axis. horizon: PDE time; instants: how many are kept, geometric from 0.05.
        particles: sizes of Langevin clouds, at λ = 0.1. replicas: clouds of each size.
        tolerance: of steps of the densities, see mf.scharfetter_gummel.
    """

    entropy: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    ridge: float = 0.1
    cells: int = 64
    horizon: float = 60.0
    instants: int = 25
    particles: tuple[int, ...] = (25, 100)
    replicas: int = 96
    tolerance: float = 2e-4

    @classmethod
    def quick(cls) -> Config:
        """Three temperatures on few cells."""
        return cls(
            entropy=(0.2, 0.05),
            cells=24,
            horizon=30.0,
            instants=9,
            particles=(5, 20),
            replicas=24,
            tolerance=2e-3,
        )


def network(entropy: float, ridge: float, mean: float) -> mf.Problem:
    """Neurons tanh(w x + b) that fit a sine, started around (mean, mean)."""
    x = np.linspace(-2, 2, 32)
    return mf.two_layer(
        x,
        0.9 * np.sin(2 * x),
        activation=mf.tanh,
        output_weight=False,
        bias=True,
        penalty=mf.ridge(ridge),
        entropy=entropy,
        initial=mf.gaussian(mean=mean, std=0.5),
    )


def box(coords: tuple[str, ...], cells: int) -> mf.Grid:
    """A closed square."""
    return mf.Grid(**{c: mf.uniform(-REACH, REACH, cells, walls="closed") for c in coords})


def kl(rho: Array, sigma: Array, cell: float) -> float:
    """∫ρ log(ρ/σ) of cell averages, with 0 log 0 = 0; both of mass 1."""
    seen = rho > 0
    return float((rho[seen] * np.log(rho[seen] / sigma[seen])).sum() * cell)


def gibbs(potential: Array, entropy: float, cell: float) -> Array:
    """e^(−V/λ)/Z."""
    weight = np.exp(-(potential - potential.min()) / entropy)
    return np.asarray(weight / (weight.sum() * cell))


def descent_of(entropy: float, config: Config, times: Array) -> dict[str, Array]:
    """F − F* and what the theory puts around it, over time."""
    problem = network(entropy, config.ridge, mean=1.5)
    grid = box(problem.coords, config.cells)
    cell = (2 * REACH / config.cells) ** 2
    least = mf.optimum(problem, grid)
    star = least.minimiser.rho.values
    method = mf.scharfetter_gummel(tolerance=config.tolerance)
    run = mf.solve(problem, grid, method, times=times)
    ridge = config.ridge / 2 * (run.w**2 + run.b**2).values
    below, above, rate = (np.empty(len(times)) for _ in range(3))
    for k in range(len(times)):
        potential = np.asarray(mf.potential(problem, run.isel(time=k)))
        rho = run.rho.values[k]
        below[k] = entropy * kl(rho, star, cell)
        above[k] = entropy * kl(rho, gibbs(potential, entropy, cell), cell)
        rate[k] = 2 * config.ridge * np.exp(-np.ptp(potential - ridge) / entropy)
    away = network(entropy, config.ridge, mean=-1.5)
    other = mf.solve(away, grid, method, times=times[[0, -1]])
    apart = np.abs(other.rho.values[-1] - run.rho.values[-1]).sum() * cell
    return {
        "gap": run.energy.values - least.value,
        "below": below,
        "above": above,
        "dissipation": run.dissipation.values,
        "least_rate": rate,
        "apart": np.array(apart),
        "cost": np.array(float(run.energy[-1] - entropy * entropy_of(run.rho.values[-1], cell))),
        "density": run.rho.values[-1],
    }


def entropy_of(rho: Array, cell: float) -> float:
    """∫ρ log ρ."""
    return kl(rho, np.ones_like(rho), cell)


def quadratic_rate(config: Config) -> tuple[Array, Array]:
    """Linear neurons w·x, all x on one axis: F − F* = ½(μ + E x²)(…)² + ½ μ m₂², at 6 times."""
    entropy, mu = 0.1, config.ridge
    x = np.column_stack([np.linspace(-1, 1, 8), np.zeros(8)])
    problem = mf.two_layer(
        x,
        x[:, 0],
        activation=mf.identity,
        output_weight=False,
        penalty=mf.ridge(mu),
        entropy=entropy,
        initial=mf.gaussian(mean=[0.5, 1.5], cov=np.eye(2) * entropy / mu),
    )
    grid = box(problem.coords, config.cells)
    times = np.linspace(0, 20, 6)
    run = mf.solve(problem, grid, mf.scharfetter_gummel(dt=STEP), times=times)
    return times, run.energy.values - mf.optimum(problem, grid).value


def without_noise(config: Config) -> dict[str, float]:
    """λ = 0: risk + ridge of the flow at last, and what linear neurons do to ∫ρ log ρ.

    Linear neurons (a, w) flow without divergence (ΔV = 0): ∫ρ log ρ stays while the risk falls.
    """
    problem = network(0.0, config.ridge, mean=1.5)
    cloud = pr.sample(problem, 100, kind="quadrature")
    end = pr.run(problem, cloud, pr.GradientFlow(rtol=1e-6), [0.0, 4 * config.horizon])
    x = np.linspace(-1, 1, 8)
    linear = mf.two_layer(x, np.sin(x), activation=mf.identity, initial=mf.gaussian(std=0.7))
    cloud = pr.sample(linear, 400, kind="quadrature")
    flow = pr.run(linear, cloud, pr.Characteristics(), [0.0, 5.0])
    mean_log = (flow.log_density * flow.weight).sum("particle")
    return {
        "silent_cost": float(end.energy[-1]),
        "entropy_change": float(abs(mean_log[1] - mean_log[0])),
        "linear_risk": float(flow.risk[-1] / flow.risk[0]),
    }


def langevin(config: Config) -> tuple[Array, Array]:
    """Risk of Langevin clouds over that of the density, t = 20 to 30, and its standard error."""
    problem = network(0.1, config.ridge, mean=1.5)
    times = np.concatenate([[0.0], np.linspace(20, 30, 11)])
    run = mf.solve(problem, box(problem.coords, config.cells), times=times)
    bias = []
    for k, m in enumerate(config.particles):
        seeds = range(k * config.replicas, (k + 1) * config.replicas)
        flows = pr.replicas(problem, m, pr.Langevin(STEP, seed=0), times, seeds, keep="prediction")
        mean = np.array([float((flow.risk - run.risk)[1:].mean()) for flow in flows])
        bias.append((mean.mean(), mean.std(ddof=1) / np.sqrt(len(mean))))
    return np.array(bias).T[0], np.array(bias).T[1]


def run(config: Config, progress: Progress) -> xr.Dataset:
    """The ladder of temperatures, the quadratic case, Langevin particles, and λ = 0."""
    times = np.concatenate([[0.0], np.geomspace(0.05, config.horizon, config.instants - 1)])
    rows = [descent_of(value, config, times) for value in progress(config.entropy, "temperatures")]
    stack = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    along = ("entropy", "time")
    names = {
        "gap": "F - F*",
        "below": "λ KL(ρ | ρ*)",
        "above": "λ KL(ρ | Gibbs_ρ)",
        "dissipation": "-dF/dt",
        "least_rate": "2 λ ρ_LS, Holley-Stroock",
    }
    data = xr.Dataset(
        {k: (along, stack[k], {"long_name": text}) for k, text in names.items()},
        {"entropy": np.array(config.entropy), "time": times},
    )
    data["density"] = ("entropy", "w", "b"), stack["density"], {"long_name": "ρ at the end"}
    faces = np.linspace(-REACH, REACH, config.cells + 1)
    data["w"] = data["b"] = 0.5 * (faces[1:] + faces[:-1])
    data["apart"] = "entropy", stack["apart"], {"long_name": "L1 between ends of two starts"}
    data["cost"] = "entropy", stack["cost"], {"long_name": "risk + ridge at the end"}
    silent = network(0.0, config.ridge, mean=1.5)
    data["least_cost"] = mf.optimum(silent, box(silent.coords, config.cells)).value
    t, gap = quadratic_rate(config)
    data["quadratic_gap"] = "quadratic_time", gap, {"long_name": "F - F*, linear neurons"}
    data["quadratic_time"] = t
    bias, error = langevin(config)
    data["bias"] = "particles", bias, {"long_name": "risk of clouds - risk of the density"}
    data["bias_error"] = "particles", error, {"long_name": "standard error"}
    data["particles"] = np.array(config.particles)
    return data.assign({k: ((), v) for k, v in without_noise(config).items()})


def pace(data: xr.Dataset) -> xr.DataArray:
    """D/(F − F*), the rate at which the gap falls, where the gap is seen."""
    return (data.dissipation / data.gap).where(data.gap > SEEN)


def checks(data: xr.Dataset) -> list[Check]:
    """The sandwich, the rates, the fixed point, λ → 0, particles, and no noise."""
    found = data.entropy < 0.5
    excess = (data.cost - data.least_cost).values
    order = exponent(data.entropy[found], excess[found])
    quadratic = np.polyfit(data.quadratic_time[2:], np.log(data.quadratic_gap[2:]), 1)[0]
    ridge, width = data.attrs["config_ridge"], float(data.w[1] - data.w[0])
    # Of the rate: cells of that width, of second order, and steps, of first.
    off = width**2 * ridge / 0.1 / 6 + ridge * STEP
    m, bias, error = (data[k].values for k in ("particles", "bias", "bias_error"))
    apart = (m[0] * bias[0] - m[-1] * bias[-1]) / np.hypot(m[0] * error[0], m[-1] * error[-1])
    last, fallen = data.isel(time=-1), float((data.above[:, -1] / data.above[:, 0]).max())
    far = np.sqrt(2 * float((last.below / last.entropy).max()))  # Pinsker's bound of |ρ − ρ*|
    return [
        Check("least of F − F* − λKL(ρ|ρ*)", float((data.gap - data.below).min()), -1e-10),
        Check("least of λKL(ρ|Gibbs) − (F − F*)", float((data.above - data.gap).min()), -1e-10),
        Check("least rate / 2λρ_LS", float((pace(data) / data.least_rate).min()), 1),
        Check("quadratic V: rate / 2μ", -quadratic / (2 * ridge), 1 - off, 1 + off),
        Check("λKL(ρ|Gibbs) at the end / at first, greatest", fallen, 0, 1e-4),
        # Both are as near to ρ* as Pinsker says, the other start to a factor of 3.
        Check("ends of two starts, L1", float(data.apart.max()), 0, 4 * far),
        Check("λ → 0: order in λ of risk + ridge above the least", order, 0.85, 1.15),
        # In equilibrium a cloud's risk is O(1/m) above; |z| > 5 has probability below 1e-4 even for
        # Student's law with 30 degrees of freedom.
        Check(f"{m[0]} Langevin particles: bias / its error", float(bias[0] / error[0]), 3),
        Check("m · bias the same for both sizes, z", float(apart), -5, 5),
        Check(
            "λ = 0: risk + ridge at last / least with noise",
            float(data.silent_cost / data.cost.min()),
            high=1,
        ),
        Check("λ = 0, linear: change of ∫ρ log ρ", float(data.entropy_change), 0, 1e-9),
        Check("while the risk falls to", float(data.linear_risk), 0, 0.1),
    ]


def falls_of(data: xr.Dataset) -> Figure:
    """F − F* between its bounds, and the rates beside those of theory."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    tones = [str(v) for v in np.linspace(0.0, 0.65, data.sizes["entropy"])]
    for k, (tone, marker) in enumerate(zip(tones, "osD^v<", strict=False)):
        row = data.isel(entropy=k)
        seen = row.isel(time=(row.gap > SEEN).values)
        label = f"λ = {float(row.entropy):g}"
        if k % 2 == 0:  # bands of all would hide each other
            left.fill_between(seen.time, seen.below, seen.above, color=tone, alpha=0.25, lw=0)
            left.semilogy(seen.time, seen.gap, marker=marker, ms=4, color=tone, label=label)
        right.loglog(seen.time[1:], pace(seen)[1:], marker=marker, ms=4, color=tone, label=label)
        right.loglog(row.time[1:], row.least_rate[1:], ":", color=tone)
    t, gap = data.quadratic_time, data.quadratic_gap
    left.semilogy(t, gap, "C3+--", label="linear neurons, V quadratic")
    left.set(xlabel="PDE time t", ylabel="F − F*", ylim=(1e-6, None))
    left.set_xlim(0, min(30.0, float(data.time[-1])))
    left.set_title("Bands: λKL(ρ|ρ*) to λKL(ρ|Gibbs)", fontsize=10)
    left.legend(frameon=False, fontsize=8)
    right.axhline(2 * data.attrs["config_ridge"], color="C3", lw=1, ls="--")
    right.text(0.02, 1.4 * data.attrs["config_ridge"], "2μ", color="C3")
    right.legend(frameon=False, fontsize=8, ncols=2)
    low = max(float(data.least_rate.max()) * 1e-4, 1e-12)
    right.set(xlabel="PDE time t", ylabel="rate D/(F − F*)", ylim=(low, 10))
    right.set_title("Rates (markers) and 2λρ_LS by Holley–Stroock (dotted)", fontsize=10)
    return figure


def limit_of(data: xr.Dataset) -> Figure:
    """Gibbs states down the ladder, and the price of noise."""
    shown = [0, data.sizes["entropy"] // 2, data.sizes["entropy"] - 1]
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    for ax, k in zip(axes, shown, strict=False):
        image = ax.pcolormesh(data.w, data.b, data.density[k].T, cmap="Greys", rasterized=True)
        figure.colorbar(image, ax=ax, shrink=0.8)
        ax.set(
            xlabel="w",
            ylabel="b",
            title=f"Gibbs state, λ = {float(data.entropy[k]):g}",
            aspect="equal",
        )
        ax.set(xlim=(-4, 4), ylim=(-4, 4))
    excess = data.cost - data.least_cost
    axes[3].loglog(data.entropy, excess, "ko-", label="Gibbs state")
    axes[3].loglog(data.entropy, data.entropy, "k:", label="λ (= 2 · λ/2)")
    axes[3].axhline(
        float(data.silent_cost - data.least_cost), color="C0", ls="--", label="flow without noise"
    )
    axes[3].set(xlabel="λ", ylabel="risk + ridge above the least")
    axes[3].legend(frameon=False, fontsize=8)
    return figure


def figures(data: xr.Dataset) -> dict[str, Figure]:
    """The fall, and the limit λ → 0."""
    return {"fall": falls_of(data), "limit": limit_of(data)}
