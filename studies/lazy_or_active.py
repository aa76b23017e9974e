"""Lazy or active: the scale of the start decides how far neurons move and what they learn.

Chizat, Oyallon & Bach 2019 (arXiv 1812.07956): training follows its linearisation when the model's
scale is large. For 2-homogeneous networks the size τ of the start is that scale, α = τ². Here τ is
swept (i) for the linear activation, where the kernel's change is known in closed form; (ii) for
ReLU networks of 20 neurons, a teacher of 3 and 15 inputs on the circle, as in their Figure 1;
(iii) for ReLU networks of 50 neurons, a teacher of 3 and 1000 inputs in 100 dimensions, on the unit
sphere (their law of the inputs is not known to us), as in their Figure 3: the test loss, beside
that of the tangent model after as many steps. Starts are symmetric, every neuron beside one with
the opposite output weight, so that f = 0. (iv) The table of the scalings 1/m and 1/√m of the sum is
measured row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from study import Check, Claim, Progress, described, exponent, exponent_error

import mfpde as mf
import particle_ref as pr

Array = NDArray[np.float64]

CLAIM = Claim(
    statement="Networks with a large output scale train lazily, like their linearisation, and "
    "generalise worse than active ones; the sum scaled by 1/√m is lazy for large m, that by 1/m "
    "is not.",
    reference="Chizat, Oyallon & Bach 2019 (arXiv 1812.07956), Theorem 2.2, Figures 1-3 and the "
    "table of scalings in their appendix",
    standing="observation",
    verdict="The kernel change is the closed form to 1e-9. From τ = 0.03 to 5 training goes from "
    "active to lazy; in 100 dimensions the test risk has a plateau to τ = 0.3 and is 12 times as "
    "large at τ = 10, where it is that of the tangent model. All entries of the table are found.",
)

MEASURES = ("weight_change", "kernel_change", "linear_gap")
SCALINGS = {"(1/m) Σ": 1.0, "(1/√m) Σ": 0.5}
EXPONENTS = {  # in m, of the authors' table
    "step": (1.0, 0.0),
    "start": (-0.5, 0.0),
    "displacement": (0.0, -0.5),
}


@dataclass(frozen=True)
class Config:
    """What is swept.

    Attributes:
        linear_sizes, circle_sizes, test_sizes: τ of parts (i), (ii), (iii).
        circle_seeds, test_seeds: starts and teachers in (ii) and (iii).
        inputs, samples, neurons: of (iii).
        steps: most descent steps in (iii).
        widths: m of the table.
        width_seeds: networks of each.
    """

    linear_sizes: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    circle_sizes: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 2.0, 5.0)
    circle_seeds: int = 5
    test_sizes: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    test_seeds: int = 1
    inputs: int = 100
    samples: int = 1000
    neurons: int = 50
    steps: int = 2000
    widths: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    width_seeds: int = 20

    @classmethod
    def quick(cls) -> Config:
        """Fewer scales, fewer inputs."""
        return cls(
            linear_sizes=(0.2, 1.0, 5.0),
            circle_sizes=(0.1, 5.0),
            circle_seeds=2,
            test_sizes=(0.01, 0.1, 10.0),
            test_seeds=1,
            inputs=20,
            samples=100,
            neurons=20,
            steps=1000,
            widths=(16, 128, 1024),
            width_seeds=10,
        )


def run(config: Config, progress: Progress) -> xr.Dataset:
    parts = (linear, circle, generalisation, table)
    return described(xr.merge([part(config) for part in progress(parts, "scales")]), ABOUT)


# (i) The closed form ------------------------------------------------------------------------------


def linear(config: Config) -> xr.Dataset:
    """Φ = a w x from N(0, τ²): densities by characteristics' quadrature, and on a grid."""
    x = np.linspace(-1, 1, 8)
    y = 0.8 * x
    s2, b = np.mean(x**2), np.mean(x * y)
    changes, forms, gaps = [], [], []
    for size in config.linear_sizes:
        problem = mf.two_layer(x, y, activation=mf.identity, initial=mf.gaussian(std=size))
        rate = np.hypot(b, s2 * size**2)  # κ of the closed form: errors fall as e^(−2κt)
        cloud = pr.sample(problem, 400, kind="quadrature")
        flow = pr.run(problem, cloud, pr.GradientFlow(), np.linspace(0, 20 / rate, 21))
        found = mf.regime(flow)
        changes.append(found.kernel_change.values[-1])
        gaps.append(np.nanmax(found.linear_gap))
        forms.append(np.sqrt(1 + (b / (s2 * size**2)) ** 2) - 1)
    return xr.Dataset(
        {
            "linear_kernel_change": ("linear_size", np.array(changes)),
            "linear_closed_form": ("linear_size", np.array(forms)),
            "linear_linear_gap": ("linear_size", np.array(gaps)),
            "density_kernel_change": density_change(x, y),
        },
        coords={"linear_size": list(config.linear_sizes)},
    )


def density_change(x: Array, y: Array) -> float:
    """The kernel change of the density at τ = 1, on a grid, over its closed form."""
    problem = mf.two_layer(x, y, activation=mf.identity, initial=mf.gaussian(std=1.0))
    density = mf.solve(problem, mf.fit_grid(problem, 64, 20.0), times=np.linspace(0, 20, 5))
    form = np.sqrt(1 + (np.mean(x * y) / np.mean(x**2)) ** 2) - 1
    return float(mf.regime(density).kernel_change[-1] / form)


# (ii) The circle ----------------------------------------------------------------------------------


def teacher(rng: np.random.Generator, d: int) -> Array:
    """Three unit neurons."""
    w = rng.standard_normal((3, d))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def taught(w: Array, x: Array) -> Array:
    return np.maximum(x @ w.T, 0).mean(axis=1)


def symmetric(rng: np.random.Generator, m: int, d: int, size: float) -> Array:
    """m neurons (a, w) of N(0, τ²), (m, 1 + d), every one beside its opposite."""
    half = size * rng.standard_normal((m // 2, 1 + d))
    return np.vstack([half, half * np.append(-1.0, np.ones(d))])


def circle(config: Config) -> xr.Dataset:
    """15 inputs on the circle, 20 neurons: the three measures, and the paths of one start."""
    shape = (len(config.circle_sizes), config.circle_seeds)
    found = {name: np.empty(shape) for name in MEASURES}
    paths = []
    for k, size in enumerate(config.circle_sizes):
        for seed in range(config.circle_seeds):
            flow = on_circle(size, seed)
            regime = mf.regime(flow)
            for name in MEASURES:
                found[name][k, seed] = np.nanmax(regime[name])
            if seed == 0:
                a, w = flow.position.values[..., 0], flow.position.values[..., 1:]
                paths.append(a[..., None] * w / size**2)
    dims = ("circle_size", "circle_seed")
    return xr.Dataset(
        {name: (dims, values) for name, values in found.items()}
        | {"path": (("circle_size", "moment", "neuron", "axis"), np.array(paths))},
        coords={"circle_size": list(config.circle_sizes)},
    )


def on_circle(size: float, seed: int) -> xr.Dataset:
    """A flow by explicit Euler, its time and steps in units of the kernel's at both ends."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, 15)
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    problem = mf.two_layer(x, taught(teacher(rng, 2), x), activation=mf.relu)
    cloud = pr.Cloud(symmetric(rng, 20, 2, size))
    dt = 0.2 / (1 + size**2)
    return pr.run(problem, cloud, pr.Descent(dt), 80 * dt * np.arange(51))


# (iii) The test loss ------------------------------------------------------------------------------


def generalisation(config: Config) -> xr.Dataset:
    """Train and test risk, weight and kernel change against τ; the tangent model's test risk."""
    shape = (len(config.test_sizes), config.test_seeds)
    names = ("train_risk", "test_risk", "moved", "kernel_moved", "tangent_risk")
    found = {name: np.empty(shape) for name in names}
    for k, size in enumerate(config.test_sizes):
        for seed in range(config.test_seeds):
            for name, value in trained(config, size, seed).items():
                found[name][k, seed] = value
    dims = ("test_size", "test_seed")
    return xr.Dataset(
        {name: (dims, values) for name, values in found.items()},
        coords={"test_size": list(config.test_sizes)},
    )


def trained(config: Config, size: float, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    x, x_test = (on_sphere(rng, n, config.inputs) for n in (config.samples, 1000))
    w = teacher(rng, config.inputs)
    scale = 1 / np.sqrt(np.mean(taught(w, x) ** 2))
    y, y_test = (scale * taught(w, points) for points in (x, x_test))
    problem = mf.two_layer(x, y, activation=mf.relu)
    u = symmetric(rng, config.neurons, config.inputs, size)
    K = tangent_kernel(u, x, x)
    dt = 0.5 / (np.linalg.eigvalsh(K)[-1] / len(x) + fastest_at_end(y, x))
    flow = pr.run(problem, pr.Cloud(u), pr.Descent(dt), [0, config.steps * dt])
    v = flow.position.values[-1]
    f_test = np.mean(v[:, :1] * np.maximum(v[:, 1:] @ x_test.T, 0), axis=0)
    f_tangent = tangent_kernel(u, x_test, x) @ descended(K, y, dt, config.steps)
    some = slice(min(200, len(x)))
    K_0, K_t = K[some, some], tangent_kernel(v, x[some], x[some])
    return {
        "train_risk": float(flow.risk[-1] / flow.risk[0]),
        "test_risk": float(np.mean((f_test - y_test) ** 2) / np.mean(y_test**2)),
        "tangent_risk": float(np.mean((f_tangent - y_test) ** 2) / np.mean(y_test**2)),
        "moved": float(np.linalg.norm(v - u) / np.linalg.norm(u)),
        "kernel_moved": float(np.linalg.norm(K_t - K_0) / np.linalg.norm(K_0)),
    }


def on_sphere(rng: np.random.Generator, n: int, d: int) -> Array:
    x = rng.standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def tangent_kernel(u: Array, x: Array, z: Array) -> Array:
    """K(x, z) = ∫[σσ' + a² σ̇σ̇' x·z]dρ for ReLU, (N, M)."""
    a, at_x, at_z = u[:, :1], u[:, 1:] @ x.T, u[:, 1:] @ z.T
    values = np.maximum(at_x, 0).T @ np.maximum(at_z, 0)
    slopes = (a * (at_x > 0)).T @ (a * (at_z > 0))
    return (values + slopes * (x @ z.T)) / len(u)


def descended(K: Array, y: Array, dt: float, steps: int) -> Array:
    """α of the tangent model f = K α after steps of descent from 0, (n,)."""
    rates, modes = np.linalg.eigh(K / len(y))
    left = (1 - dt * rates) ** steps
    gain = np.divide(1 - left, rates, out=np.full(len(y), dt * steps), where=rates > 1e-14)
    return modes @ (gain * (modes.T @ y)) / len(y)


def fastest_at_end(y: Array, x: Array) -> float:
    """About the largest rate of balanced neurons that represent y: ∫|a||w| is |y|/E|x·e|."""
    needed = 2 * np.sqrt(np.mean(y**2)) * np.sqrt(x.shape[1])
    return float(needed * np.linalg.eigvalsh(x.T @ x / len(x))[-1] * 2)


# (iv) The table -----------------------------------------------------------------------------------


def table(config: Config) -> xr.Dataset:
    """The largest stable step on the neurons' own gradients, |f| and displacement, by width."""
    x = np.linspace(-1.5, 1.5, 12)
    shape = (len(SCALINGS), len(config.widths), config.width_seeds)
    found = {name: np.empty(shape) for name in EXPONENTS}
    for s, power in enumerate(SCALINGS.values()):
        for k, m in enumerate(config.widths):
            problem = scaled(x, m ** (1 - power))
            for seed in range(config.width_seeds):
                row = own_scales(problem, m, seed + config.width_seeds * k, m ** (1 - power))
                for name, value in row.items():
                    found[name][s, k, seed] = value
    dims = ("scaling", "width", "width_seed")
    return xr.Dataset(
        {name: (dims, values) for name, values in found.items()},
        coords={"scaling": list(SCALINGS), "width": list(config.widths)},
    )


def scaled(x: Array, factor: float) -> mf.Problem:
    """Tanh networks on sin 2x, with the mean over neurons times a factor."""
    plain = mf.two_layer(x, np.sin(2 * x), initial=mf.gaussian())
    assert plain.dphi is not None
    phi, dphi = plain.phi, plain.dphi
    return mf.Problem(
        ("a", "w"),
        lambda v: factor * phi(v),
        lambda v: factor * dphi(v),
        plain.loss,
        initial=mf.gaussian(),
        lifted=True,
    )


def own_scales(problem: mf.Problem, m: int, seed: int, factor: float) -> dict[str, float]:
    """Of f = factor · mean: PDE time t is own time m t; both are trained for 5/factor² of it."""
    cloud = pr.sample(problem, m, seed)
    a, v = cloud.position[:, :1], cloud.position[:, 1:]
    assert problem.dphi is not None
    psi, slope = problem.phi(v), a * problem.dphi(v)[:, :, 0]
    K = (psi.T @ psi + slope.T @ slope) / m**2  # of the neurons' own gradients
    flow = pr.run(problem, cloud, pr.GradientFlow(rtol=1e-5, atol=1e-7), [0, 5 / factor**2])
    moved = flow.position.values[-1] - flow.position.values[0]
    return {
        "step": 2 / float(np.linalg.eigvalsh(K)[-1] / len(problem.y)),
        "start": float(np.sqrt(np.mean(flow.prediction.values[0] ** 2))),
        "displacement": float(np.sqrt(np.mean(np.sum(moved**2, axis=1)))),
    }


ABOUT = {
    "linear_kernel_change": "relative kernel change, linear activation",
    "linear_closed_form": "√(1 + (b/(α s₂))²) − 1, α = τ²",
    "weight_change": "displacement of neurons over their size",
    "kernel_change": "relative change of the tangent kernel",
    "linear_gap": "distance to the tangent model over the distance travelled",
    "test_risk": "test risk over that of f = 0",
    "tangent_risk": "test risk of the tangent model after as many steps, over that of f = 0",
    "train_risk": "risk at the end over that of the start",
    "step": "largest stable step on the neurons' own gradients",
    "start": "root mean square of f at the start",
    "displacement": "root mean square displacement of a neuron",
}


# What is found ------------------------------------------------------------------------------------


def checks(data: xr.Dataset) -> list[Check]:
    form = data.linear_closed_form
    small, large = (data.isel(circle_size=k).mean("circle_seed") for k in (0, -1))
    test = data.test_risk.mean("test_seed").values
    ratio = (data.test_risk / data.tangent_risk)[-1].mean()
    off, inf = abs(data.linear_kernel_change / form - 1).max(), np.inf
    rows = [
        ("linear activation: kernel change over its closed form − 1, the largest", off, 0, 1e-7),
        ("the same of the density on a grid, τ = 1", data.density_kernel_change, 0.99, 1.01),
        ("circle, smallest τ: kernel change", small.kernel_change, 0.5, inf),
        ("circle, largest τ: kernel change", large.kernel_change, 0, 0.1),
        ("circle, largest τ: distance to the tangent model", large.linear_gap, 0, 0.1),
        ("test risk, largest τ over smallest", test[-1] / test[0], 2, inf),
        ("largest τ: test risk over that of the tangent model", ratio, 0.8, 1.2),
    ]
    found = [Check(name, float(value), low, high) for name, value, low, high in rows]
    error = exponent_error(data.width, data.sizes["width_seed"])
    for name, exponents in EXPONENTS.items():
        for scaling, claimed in zip(data.scaling.values, exponents, strict=True):
            values = np.sqrt((data[name].sel(scaling=scaling) ** 2).mean("width_seed"))
            measured = exponent(data.width, values)
            title = f"table, {scaling}: exponent of {name} in m, {data.sizes['width_seed']} seeds"
            found.append(
                Check(f"{title} (false alarm 1e-4)", measured, claimed - error, claimed + error)
            )
    return found


# Pictures -----------------------------------------------------------------------------------------


def figures(data: xr.Dataset) -> dict[str, Figure]:
    return {"scale": scale_figure(data), "paths": path_figure(data), "table": table_figure(data)}


def scale_figure(data: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    size = data.linear_size.values
    left.loglog(size, data.linear_kernel_change, "o", label="kernel change")
    left.loglog(size, data.linear_closed_form, "k--", label="closed form")
    left.loglog(size, data.linear_linear_gap, "s:", color="C1", label="distance to tangent model")
    left.set_title("linear activation")
    for name, style, words in zip(
        MEASURES, ("o-", "s--", "^:"), ("weights", "kernel", "distance to tangent model"),
        strict=True,
    ):  # fmt: skip
        middle.loglog(data.circle_size, data[name].mean("circle_seed"), style, label=words)
    middle.set_title("ReLU, d = 2, m = 20, n = 15")
    generalises(right, data)
    for ax, name in ((left, "linear"), (middle, "circle"), (right, "test")):
        ticks = data[f"{name}_size"].values
        ticks = ticks[:: 1 + len(ticks) // 7]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.xaxis.minorticks_off()
        ax.set_xlabel(r"size $\tau$ of the start")
        ax.legend(fontsize=7)
    left.set_ylabel("relative change")
    return figure


def generalises(ax: Axes, data: xr.Dataset) -> None:
    size = data.test_size.values
    ax.loglog(size, data.test_risk.mean("test_seed"), "o-", label="test risk")
    ax.loglog(size, data.tangent_risk.mean("test_seed"), "k--", label="test risk, tangent model")
    ax.loglog(size, data.train_risk.mean("test_seed"), "^:", color="0.5", label="training risk")
    d, n = (int(data.attrs[f"config_{name}"]) for name in ("inputs", "samples"))
    ax.set(title=f"ReLU, d = {d}, n = {n}", ylabel="risk over that of f = 0", ylim=(5e-4, 20))


def path_figure(data: xr.Dataset) -> Figure:
    """Where neurons a w go from an active and from a lazy start, in units of τ²."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    sizes = data.circle_size.values
    for ax, k in zip(figure.subplots(1, 2), (abs(sizes - 0.1).argmin(), abs(sizes - 2).argmin()),
                     strict=True):  # fmt: skip
        path = data.path.isel(circle_size=k).values
        reach = np.abs(path).max() * 1.05
        ax.plot(path[:, :, 0], path[:, :, 1], "-", color="C0", lw=0.8)
        ax.plot(path[0, :, 0], path[0, :, 1], ".", color="0.5", label="start")
        ax.plot(path[-1, :, 0], path[-1, :, 1], "k^", ms=4, label="end")
        ax.set(title=rf"$\tau$ = {sizes[k]:g}", aspect="equal")
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
        ax.set(xlabel=r"$a\,w_1/\tau^2$", ylabel=r"$a\,w_2/\tau^2$")
        ax.legend(fontsize=7)
    return figure


def table_figure(data: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for ax, (name, exponents) in zip(figure.subplots(1, 3), EXPONENTS.items(), strict=True):
        for k, (scaling, power) in enumerate(zip(data.scaling.values, exponents, strict=True)):
            values = np.sqrt((data[name].sel(scaling=scaling) ** 2).mean("width_seed"))
            ax.loglog(data.width, values, "os"[k], color=f"C{k}", label=scaling)
            line = float(values[0]) * (data.width / data.width[0]) ** power
            ax.loglog(data.width, line, "--", color=f"C{k}", label=rf"$m^{{{power:g}}}$")
        ax.set(xlabel="neurons $m$", title=data[name].attrs["long_name"])
        ax.title.set_fontsize(9)
        ax.legend(fontsize=7)
    return figure
