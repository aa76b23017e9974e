"""What is m^(−1/2) and what is 1/m in the risk of a network of m neurons.

"|R_m − R_∞| = O(1/√m)" is often called a theorem of Chizat & Bach 2018. It is not in their paper:
their Theorem 2.6 has no rate, the rate at finite times is Theorem 3 of Mei, Montanari & Nguyen 2018
(1804.06561), and at the static minimum their Proposition 1 has O(1/N). Here tanh networks with
independent starts, Gaussian of mean (0.7, 1) and standard deviation 0.6, are trained on two
targets: sin 2x, and what the initial density itself predicts, so that it is a minimum from the
start. Beside them stand the central limit theorem (``pr.fluctuations``) and the exact mean at time
0. Where the mean hides in the scatter, each network is compared with its two halves, trained
apart: what is linear in the starts cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats
from study import ALARM, Check, Claim, Progress, described, exponent

import mfpde as mf
import particle_ref as pr

CLAIM = Claim(
    statement="The risk of a network of m neurons differs from that of its mean-field limit by "
    "O(1/√m), everywhere and as a theorem of Chizat & Bach 2018.",
    reference="not in Chizat & Bach 2018; see Theorem 3 and Proposition 1 of Mei, Montanari & "
    "Nguyen 2018 (arXiv 1804.06561)",
    standing="false as often stated",
    verdict="One network's risk scatters by m^(−1/2) off the minimum, as the central limit has it; "
    "its mean is off by 1/m only, and at the minimum everything is 1/m. At time 0 that mean shift "
    "is tr(p ℓ″ C)/2m, at the minimum at all times; elsewhere it is several times that by t = 4.",
)

CASES = ("off the minimum", "at the minimum")
METHOD = pr.GradientFlow(rtol=1e-5, atol=1e-7)
KOLMOGOROV = 2.23  # what √M times its statistic exceeds once in 10⁴


@dataclass(frozen=True)
class Config:
    """What is trained.

    Attributes:
        widths: numbers m of neurons, even.
        replicas: networks of each width.
        pairs: networks of each width that are compared with their halves.
        times: PDE times, the first 0.
        samples: inputs, evenly on [−2, 2].
        tolerance: of the limiting covariance, relative.
    """

    widths: tuple[int, ...] = (16, 64, 256, 1024)
    replicas: int = 400
    pairs: int = 100
    times: tuple[float, ...] = (0.0, 0.5, 2.0, 4.0)
    samples: int = 9
    tolerance: float = 1e-3

    @classmethod
    def quick(cls) -> Config:
        """Fewer networks of fewer widths."""
        return cls(widths=(16, 64, 256), replicas=60, pairs=15, times=(0.0, 1.0))


def problem_of(case: str, config: Config) -> mf.Problem:
    x = np.linspace(-2, 2, config.samples)
    law = mf.gaussian((0.7, 1.0), 0.6)
    problem = mf.two_layer(x, np.sin(2 * x), initial=law)
    if case == CASES[0]:
        return problem
    points, weights = problem.initial.nodes(60)
    return mf.two_layer(x, weights @ (points[:, :1] * problem.phi(points[:, 1:])), initial=law)


def run(config: Config, progress: Progress) -> xr.Dataset:
    coords = {"case": list(CASES), "width": list(config.widths), "time": list(config.times)}
    limits, risks, shifts, predictions = [], [], [], []
    for case in progress(CASES, "targets"):
        problem = problem_of(case, config)
        limits.append(limit_of(problem, config))
        networks = [
            replicas(problem, m, k, config) for k, m in enumerate(progress(config.widths, "widths"))
        ]
        risks.append([[flow.risk.values for flow in flows] for flows in networks])
        predictions.append([[flow.prediction.values for flow in flows] for flows in networks])
        shifts.append([shift(problem, m, config) for m in config.widths])
    dims = ("case", "width", "replica", "time")
    data = xr.Dataset(
        {
            "risk": (dims, np.array(risks)),
            "prediction": ((*dims, "sample"), np.array(predictions)),
            "halving": (("case", "width", "pair", "time"), np.array(shifts)),
        },
        coords=coords,
    )
    return described(data.merge(xr.concat(limits, xr.DataArray(list(CASES), dims="case"))), ABOUT)


def replicas(problem: mf.Problem, m: int, k: int, config: Config) -> list[xr.Dataset]:
    seeds = range(k * config.replicas, (k + 1) * config.replicas)
    return pr.replicas(problem, m, METHOD, config.times, seeds, keep="prediction")


def limit_of(problem: mf.Problem, config: Config) -> xr.Dataset:
    """The mean-field limit: its risk R, the covariance C, and qᵀC q of the risk's slope q."""
    limit = pr.fluctuations(problem, config.times, tolerance=config.tolerance)
    f, C = limit.prediction.values, limit.covariance.values
    q = np.stack([problem.loss.slope(at) for at in f])
    return xr.Dataset(
        {
            "limit_risk": ("time", [problem.loss.risk(at) for at in f]),
            "limit_prediction": (("time", "sample"), f),
            "covariance": (("time", "sample", "sample_2"), C),
            "risk_variance": ("time", np.einsum("ti,tij,tj->t", q, C, q)),
            "scatter_shift": limit.risk_excess,
        },
        coords={"time": list(config.times)},
    )


def shift(problem: mf.Problem, m: int, config: Config) -> NDArray[np.float64]:
    """m (R_A + R_B − 2R_AB) of networks AB of m neurons and their halves, (pairs, T).

    If E R_m = R + β/m + …, its mean is 2β; half of it is returned. What is linear in the neurons'
    starts cancels, so that its scatter does not grow with m.
    """
    values = np.empty((config.pairs, len(config.times)))
    for pair in range(config.pairs):
        whole = pr.sample(problem, m, 10**6 + pair)
        halves = [pr.Cloud(whole.position[half]) for half in (slice(m // 2), slice(m // 2, m))]
        R_AB, R_A, R_B = (
            pr.run(problem, cloud, METHOD, config.times).risk.values for cloud in (whole, *halves)
        )
        values[pair] = m * (R_A + R_B - 2 * R_AB) / 2
    return values


ABOUT = {
    "risk": "risk of a network",
    "prediction": "prediction of a network",
    "halving": "m (R_A + R_B − 2R_AB)/2, whose mean is the m E(R_m − R) of large m",
    "limit_risk": "risk R of the limit",
    "limit_prediction": "prediction f of the limit",
    "covariance": "limiting covariance of √m (f_m − f)",
    "risk_variance": "limiting variance of √m (R_m − R)",
    "scatter_shift": "what scatter alone adds to m E(R_m − R)",
    "time": "PDE time",
    "width": "neurons m",
}


# What is found ------------------------------------------------------------------------------------


def gap(data: xr.Dataset) -> xr.DataArray:
    """R_m − R."""
    return data.risk - data.limit_risk


def size(data: xr.Dataset) -> xr.DataArray:
    """Root mean square of R_m − R over replicas."""
    return (gap(data) ** 2).mean("replica") ** 0.5


def in_width(of: xr.DataArray) -> float:
    """Exponent in m."""
    return exponent(of.width, of)


def standardised(data: xr.Dataset) -> NDArray[np.float64]:
    """√m (f_m − f)/√C at the last sample and time, of the widest networks, off the minimum."""
    one = data.isel(case=0, width=-1, time=-1)
    off = one.prediction.isel(sample=-1) - one.limit_prediction.isel(sample=-1)
    C = one.covariance.isel(sample=-1, sample_2=-1)
    return (np.sqrt(one.width / C) * off).values


def checks(data: xr.Dataset) -> list[Check]:
    off, at = (data.isel(case=k) for k in range(2))
    M, m = data.sizes["replica"], float(data.width[-1])
    log_width = np.log(data.width.values)
    spread = float(np.sqrt(((log_width - log_width.mean()) ** 2).sum()))
    # A mean square of M normal numbers has a logarithm of variance 2/M, of χ²-like ones at most
    # 12/M here (a square of a square); 0.1 is for the terms of higher order at 16 neurons.
    normal = ALARM * np.sqrt(2 / M)
    tilt, heavy = normal / 2 / spread + 0.1, ALARM * np.sqrt(12 / M) / 2 / spread + 0.1
    told = f"{M} replicas, false alarm 1e-4"
    found = []
    for k, t in enumerate(data.time.values):
        exponents = in_width(size(off).isel(time=k)), in_width(size(at).isel(time=k))
        found += [
            Check(f"t = {t:g}: exponent of |R_m − R| off the minimum ({told})", exponents[0],
                  -0.5 - tilt, -0.5 + tilt),
            Check(f"t = {t:g}: exponent of |R_m − R| at the minimum ({told})", exponents[1],
                  -1 - heavy, -1 + heavy),
            within(f"t = {t:g}: m Var(R_m) / limit, m = {m:g} ({told})",
                   m * float(gap(off).isel(width=-1, time=k).var("replica"))
                   / float(off.risk_variance[k]), normal + 8 / m),
            within(f"t = {t:g}: Σ m Var(f_m) / limit, m = {m:g} ({told})",
                   trace_ratio(off, k), normal + 8 / m),
        ]  # fmt: skip
    return [*found, *means(data), *normality(data)]


def within(name: str, ratio: float, error: float) -> Check:
    return Check(name, ratio, 1 - error, 1 + error)


def trace_ratio(data: xr.Dataset, k: int) -> float:
    """Σ_i m Var f_m(x_i) / Σ_i C_ii of the widest networks."""
    last = data.isel(width=-1, time=k)
    C = np.trace(last.covariance.transpose("sample", "sample_2").values)
    return float(last.width * last.prediction.var("replica").sum() / C)


def means(data: xr.Dataset) -> list[Check]:
    """The mean's shift: at time 0 as theory has it, later and at all widths the same β/m."""
    found = []
    for case in data.case.values:
        one = data.halving.sel(case=case)
        mean, error = one.mean("pair"), ALARM * one.std("pair") / np.sqrt(one.sizes["pair"])
        start = float((mean / data.scatter_shift.sel(case=case)).isel(time=0).mean())
        count = one.sizes["pair"] * one.sizes["width"]
        alarm = ALARM * float((one.isel(time=0).std() / mean.isel(time=0).mean()) / count**0.5)
        found.append(
            within(f"{case}: m E(R_m − R) at t = 0 over ½ Σ p Var(Φ), {count} pairs", start, alarm)
        )
        steps = abs(mean.isel(width=-1) - mean.isel(width=-2))
        noise = np.hypot(error.isel(width=-1), error.isel(width=-2))
        found.append(
            Check(
                f"{case}: m E(R_m − R) alike at the two largest m, in 3.9 standard errors",
                float((steps / noise).isel(time=slice(1, None)).max()),
                high=1,
            )
        )
    every = data.halving.isel(case=1).stack(draw=("width", "pair"))
    off = every.mean("draw") - data.scatter_shift.isel(case=1)
    worst = abs(off) / every.std("draw") * np.sqrt(every.sizes["draw"])
    title = "at the minimum: m E(R_m − R) is ½ tr(p ℓ″ C) at all times, in standard errors"
    return [*found, Check(title, float(worst.max()), high=ALARM)]


def normality(data: xr.Dataset) -> list[Check]:
    """Of the widest networks' prediction; ½/√m and 0.01 are for the skewness that is left."""
    z, m = standardised(data), float(data.width[-1])
    error = ALARM * np.sqrt(0.05 * 0.95 / len(z)) + 0.01
    return [
        Check(
            f"Kolmogorov's distance to the normal law, {len(z)} replicas (false alarm 1e-4)",
            float(stats.kstest(z, "norm").statistic),
            high=float(KOLMOGOROV / np.sqrt(len(z)) + 0.5 / np.sqrt(m)),
        ),
        Check(
            f"coverage of the 95 % band, {len(z)} replicas (false alarm 1e-4)",
            float(np.mean(abs(z) < stats.norm.ppf(0.975))),
            0.95 - error,
            0.95 + error,
        ),
    ]


# Pictures -----------------------------------------------------------------------------------------


def figures(data: xr.Dataset) -> dict[str, Figure]:
    return {"risk": risk_figure(data), "central_limit": limit_figure(data)}


def risk_figure(data: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    middle.sharey(left)
    for ax, case in zip((left, middle), data.case.values, strict=True):
        rates(ax, data.sel(case=case))
        ax.set_title(f"{case}, t = {float(data.time[-1]):g}")
    shifts(right, data)
    return figure


def rates(ax: Axes, data: xr.Dataset) -> None:
    """Size, scatter and mean of R_m − R against m, at the last time."""
    last, m = data.isel(time=-1), data.width.values.astype(float)
    mean = last.halving.mean("pair") / m
    ax.plot(m, size(last), "o-", ms=7, mfc="none", label=r"root mean square of $R_m-R$")
    ax.plot(m, last.risk.std("replica"), "s:", color="C1", label="its scatter")
    ax.plot(m, mean, "^--", color="C2", label="its mean (by halves)")
    sigma = float(np.sqrt(last.risk_variance))
    if sigma > 1e-6:
        ax.plot(m, sigma / np.sqrt(m), "k-", lw=0.8, label=r"$\sqrt{q^\top C q/m}$, central limit")
    ax.plot(m, float(mean[0]) * m[0] / m, "-.", color="0.5", label=r"$1/m$")
    ax.set(xscale="log", yscale="log", xlabel="neurons $m$", ylabel="risk")
    ax.set_xticks(m, [f"{width:g}" for width in m])
    ax.xaxis.minorticks_off()
    ax.legend(fontsize=7)


def shifts(ax: Axes, data: xr.Dataset) -> None:
    """m E(R_m − R) against time."""
    for k, case in enumerate(data.case.values):
        one = data.sel(case=case)
        every = one.halving.stack(draw=("width", "pair"))
        error = 1.96 * every.std("draw") / np.sqrt(every.sizes["draw"])
        ax.errorbar(data.time, every.mean("draw"), error, color=f"C{k}", marker="os"[k],
                    capsize=3, label=case)  # fmt: skip
        ax.plot(data.time, one.scatter_shift, color=f"C{k}", ls="--",
                label=r"$\frac{1}{2}\,\mathrm{tr}(p\,\ell''C)$" if k else None)  # fmt: skip
    ax.set(xlabel="PDE time", ylabel=r"$m\,\mathrm{E}(R_m-R)$", title="shift of the mean")
    ax.legend(fontsize=7)


def limit_figure(data: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    off = data.isel(case=0)
    variance = (off.width * off.prediction.isel(sample=-1)).var("replica") / off.width
    error = 1.96 * np.sqrt(2 / data.sizes["replica"])
    for k, t in enumerate(data.time.values):
        found = variance.isel(time=k)
        left.errorbar(data.width, found, error * found, color=f"C{k}", marker="os^D"[k % 4],
                      capsize=3, label=f"t = {t:g}")  # fmt: skip
        left.axhline(float(off.covariance.isel(time=k, sample=-1, sample_2=-1)), color=f"C{k}",
                     ls="--")  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="neurons $m$",
             ylabel=r"$m\,\mathrm{Var}\,f_m(x_0)$", title="dashed: the central limit")  # fmt: skip
    left.set_xticks(data.width, data.width.values)
    left.xaxis.minorticks_off()
    left.set_ylim(top=2 * left.get_ylim()[1])
    left.legend(fontsize=7, ncols=4, loc="upper center")
    z = standardised(data)
    at = np.linspace(-4, 4, 200)
    right.hist(z, bins=np.linspace(-4, 4, 41), density=True, color="0.8", edgecolor="0.6")
    right.plot(at, stats.norm.pdf(at), "k-", label="normal")
    right.set(xlabel=r"$\sqrt{m/C}\,(f_m-f)(x_0)$", ylabel="density",
              title=f"m = {int(data.width[-1])}, {len(z)} networks")  # fmt: skip
    right.legend()
    return figure
