"""Figures of a run: pure functions from Datasets to matplotlib figures, fit for a paper.

Nothing here touches pyplot or a global setting. Lines differ by style and marker as well as by
colour, and the shades of the widths darken in order, so that a grey print reads the same.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mfpde.measures import as_measure, coordinates
from mfpde.report.findings import band, floored, titles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

STYLE: dict[Any, Any] = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],  # the second for what the first lacks
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # text stays text
}
WIDTH = 6.8  # inches, the text width of a page
DPI = 200
COLOURS = "viridis"
LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
TAIL = 5e-4  # mass of a coordinate beyond either side of a picture
ASIDE = 1.08  # in numbers of particles, so that two error bars stay apart
LONGEST_NAME = 40


@contextmanager
def styled() -> Iterator[None]:
    """The style of all figures, for as long as one is drawn or rendered."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def sheet(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Array]:
    """An empty figure of the text's width with its axes (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def rendered(figure: Figure, form: Literal["png", "pdf"]) -> bytes:
    """The figure as a picture (200 dots an inch) or as vectors; the same bytes every time."""
    stream = io.BytesIO()
    undated = {"CreationDate": None} if form == "pdf" else {}
    with styled():
        figure.savefig(stream, format=form, dpi=DPI, metadata=undated)
    return stream.getvalue()


# The density and its particles --------------------------------------------------------------------


@styled()
def marginals(run: xr.Dataset, times: Sequence[int], flow: xr.Dataset | None = None) -> Figure:
    """Marginal densities of all pairs of coordinates (rows) at stored times (columns).

    ``run`` is a density run, ``times`` are indices of its times, ``flow`` holds particles at the
    same times, drawn on top. With a single coordinate: its density, and the particles as a rug.
    """
    names = coordinates(run)
    pairs: list[tuple[int, ...]] = [*combinations(range(len(names)), 2)] or [(0,)]
    figure, axes = sheet(
        len(pairs), len(times), 0.4 + 1.55 * len(pairs), sharex="row", sharey="row"
    )
    boxes = [shown_range(run, k, times) for k in range(len(names))]
    for row, pair in zip(axes, pairs, strict=True):
        densities = [marginal(run.isel(time=t), pair) for t in times]
        top = max(float(density.max()) for density in densities)
        for axis, density, t in zip(row, densities, times, strict=True):
            draw = image if len(pair) == 2 else profile
            drawn: Any = draw(axis, run, pair, density, top)
            if flow is not None:
                points(axis, flow.sel(time=run.time[t], method="nearest"), pair)
            axis.set_xlim(boxes[pair[0]])
            axis.set_xlabel(symbol(names[pair[0]]))
        if len(pair) == 2:
            row[0].set_ylim(boxes[pair[1]])
            row[0].set_ylabel(symbol(names[pair[1]]), rotation=0, labelpad=8)
            figure.colorbar(drawn, ax=list(row), pad=0.01, aspect=12, label="density")
        else:
            row[0].set_ylabel("density")
    for axis, t in zip(axes[0], times, strict=True):
        axis.set_title(f"$t = {float(run.time[t]):.3g}$")
    return figure


def marginal(moment: xr.Dataset, kept: Sequence[int]) -> Array:
    """Density of the coordinates ``kept`` (increasing indices), the others summed out."""
    widths = [np.diff(moment[f"{name}_edges"].values) for name in coordinates(moment)]
    density = moment["rho"].values
    for k in reversed(range(len(widths))):
        if k not in kept:
            density = np.tensordot(density, widths[k], axes=(k, 0))
    return density


def shown_range(run: xr.Dataset, k: int, times: Sequence[int]) -> tuple[float, float]:
    """Ends of coordinate k between which all but TAIL of its mass lies at the given times."""
    edges = run[f"{coordinates(run)[k]}_edges"].values
    ends = []
    for t in times:
        level = np.cumsum(marginal(run.isel(time=t), [k]) * np.diff(edges))
        first, last = np.searchsorted(level, [TAIL * level[-1], (1 - TAIL) * level[-1]])
        ends += [edges[first], edges[last + 1]]
    return min(ends), max(ends)


def image(axis: Axes, run: xr.Dataset, pair: Sequence[int], density: Array, top: float) -> Any:
    """A marginal density of two coordinates, from 0 (dark) to ``top`` (light)."""
    first, second = (run[f"{coordinates(run)[k]}_edges"].values for k in pair)
    return axis.pcolormesh(
        first, second, density.T, cmap=COLOURS, norm=root_scale(top), rasterized=True
    )


def root_scale(top: float) -> Any:
    """Colours that follow the root of a density, so that thin mass is seen beside a peak."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0, vmax=top)


def profile(axis: Axes, run: xr.Dataset, one: Sequence[int], density: Array, top: float) -> None:
    """A density of one coordinate."""
    axis.stairs(density, run[f"{coordinates(run)[one[0]]}_edges"].values, color="black")
    axis.set_ylim(-0.08 * top, 1.05 * top)


def points(axis: Axes, moment: xr.Dataset, kept: Sequence[int]) -> None:
    """Particles, as dots in a plane or as a rug under a density."""
    position, _ = as_measure(moment)
    if len(kept) == 2:
        axis.plot(
            *position[:, kept].T, ".", ms=1.8, mfc="white", mec="none", alpha=0.6, rasterized=True
        )
    else:
        below = axis.get_ylim()[0] / 2
        axis.plot(position[:, kept[0]], np.full(len(position), below), "|", ms=5, color="0.4")


# The fit ------------------------------------------------------------------------------------------


@styled()
def fit(curves: xr.Dataset) -> Figure:
    """What the network predicts, in the data's own units (see ``findings.fitted``).

    One input: the data and f(x) at several times, with the particle runs of the widest network at
    the last. Several: prediction against observation at the first and the last time.
    """
    return curves_over_input(curves) if "x_curve" in curves else predicted_against_observed(curves)


def curves_over_input(curves: xr.Dataset) -> Figure:
    """The data, f(x) of the density at several times, and particle runs at the last."""
    figure, axes = sheet(1, 1, 3.2)
    axis, count = axes[0, 0], curves.sizes["time"]
    axis.plot(curves.x, curves.y, "o", mfc="none", mec="0.55", mew=0.6, label="data")
    for t, colour in enumerate(reversed(shades(count))):
        last = t == count - 1
        axis.plot(
            curves.x_curve,
            curves.density[t],
            color=colour,
            ls="-" if last else LINES[t % len(LINES)],
            lw=3.0 if last else 1.2,
            label=f"$t = {float(curves.time[t]):.3g}$, risk {float(curves.risk[t]):.3g}",
        )
    label = runs_label(curves)
    for one in curves.particles:
        axis.plot(curves.x_curve, one, ls=(0, (5, 3)), color="black", lw=0.7, label=label)
        label = None
    axis.set_xlabel(plain(curves.attrs["x_label"]))
    axis.set_ylabel(plain(curves.attrs["y_label"]))
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def runs_label(curves: xr.Dataset) -> str | None:
    """What the particle runs are, for a legend."""
    last = float(curves.time[-1])
    return f"$m = {curves.attrs['width']}$, {curves.sizes['seed']} runs, $t = {last:.3g}$"


def predicted_against_observed(curves: xr.Dataset) -> Figure:
    """Prediction over observation at the first and the last time."""
    figure, axes = sheet(1, 2, 3.2, sharex=True, sharey=True)
    ends = float(curves.y.min()), float(curves.y.max())
    for axis, t in zip(axes[0], (0, -1), strict=True):
        axis.plot(ends, ends, color="0.6", lw=0.8)
        axis.plot(
            curves.y, curves.density[t], "o", mfc="none", mec="black", mew=0.6, label="density"
        )
        axis.set_title(f"$t = {float(curves.time[t]):.3g}$, risk {float(curves.risk[t]):.3g}")
        axis.set_xlabel(f"observed {plain(curves.attrs['y_label'])}")
    label = runs_label(curves)
    for one in curves.particles:
        axes[0, 1].plot(curves.y, one, "x", ms=2.5, mew=0.4, color="0.5", label=label, zorder=1)
        label = None
    axes[0, 0].set_ylabel(f"predicted {plain(curves.attrs['y_label'])}")
    axes[0, 1].legend()
    return figure


# Risk, energy and gaps ----------------------------------------------------------------------------


@styled()
def history(run: xr.Dataset, gaps: xr.Dataset) -> Figure:
    """Risk, and energy where it differs, against time; and the particles' risk less the density's.

    ``gaps`` is what ``findings.gathered`` returns. Particles: median and 5-95 % band over seeds.
    """
    noisy = run.attrs["entropy"] > 0  # particles have no entropy: energies do not compare
    penalised = not noisy and not np.allclose(run.energy, run.risk, rtol=1e-12, atol=0)
    shown = {"risk": "risk $R$" if penalised or noisy else "risk $R = F$"}
    shown |= {"energy": "energy $F$"} if penalised else {}
    figure, axes = sheet(1, len(shown) + 1, 2.7)
    for axis, (name, label) in zip(axes[0], shown.items(), strict=False):
        bands(axis, gaps, name)
        axis.plot(run.time, run[name], color="black", lw=1.6, label="density")
        axis.set_ylabel(label)
    bands(axes[0, -1], gaps, "risk_gap")
    axes[0, -1].axhline(0.0, color="black", lw=1.6)
    axes[0, -1].set_ylabel(r"risk gap $R_m - R_\rho$")
    axes[0, 0].legend()
    return figure


@styled()
def gap(gaps: xr.Dataset) -> Figure:
    """Distance of particles from the density, against time and against their number."""
    figure, axes = sheet(1, 2, 3.0)
    gap_over_time(axes[0, 0], gaps)
    gap_over_width(axes[0, 1], gaps)
    return figure


@styled()
def distances(gaps: xr.Dataset) -> Figure:
    """Distances of the measures at the last time against width, on the floors of iid clouds."""
    names, m = floored(gaps), gaps.width.values.astype(float)
    figure, axes = sheet(1, len(names), 2.6, sharey=True)
    last = gaps.isel(time=-1)
    for axis, name in zip(axes[0], names, strict=True):
        low, middle, high = band(last[name[6:]])
        bars = [middle - low, high - middle]
        axis.errorbar(m, middle, bars, fmt="o-", color="black", capsize=2, label="particles")
        axis.plot(m * ASIDE, last[name], "s--", color="0.45", mfc="white", label="iid clouds")
        own = float(last[f"own_{name[6:]}"])
        axis.axhline(own, color="black", lw=0.8, ls="-.", label="own cells")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("number of particles $m$")
        axis.set_title(titles(gaps)[name[6:]])
    axes[0, 0].set_ylabel(f"distance at $t = {float(last.time):.3g}$")
    axes[0, 0].legend()
    return figure


def gap_over_time(axis: Axes, gaps: xr.Dataset) -> None:
    """Prediction gaps of every width and of the grid's own cells, on a logarithmic scale."""
    bands(axis, gaps, "prediction_gap")
    own = gaps.own_prediction_gap[gaps.time > 0]  # at time 0 they are one, but for the dust
    axis.plot(own.time, own, color="black", lw=1.6, label="own cells")
    axis.set_yscale("log")
    axis.set_ylabel("prediction gap (RMS, units of $f$)")
    axis.legend()


def gap_over_width(axis: Axes, gaps: xr.Dataset) -> None:
    """Prediction gaps at the last time: to the density, and to its own cells as particles."""
    m, last = gaps.width.values.astype(float), gaps.isel(time=-1)
    low, middle, high = band(last.prediction_gap)
    bars: dict[str, Any] = {"capsize": 2, "elinewidth": 0.8}
    axis.errorbar(
        m,
        middle,
        [middle - low, high - middle],
        fmt="o-",
        color="black",
        label="particles to density",
        **bars,
    )
    low, middle, high = band(last.sampling_gap)
    axis.errorbar(
        m * ASIDE,
        middle,
        [middle - low, high - middle],
        fmt="s--",
        color="0.45",
        mfc="white",
        label="particles to own cells",
        **bars,
    )
    axis.plot(m, middle[0] * (m / m[0]) ** -0.5, ":", color="0.3", label="$m^{-1/2}$")
    own = float(last.own_prediction_gap)
    axis.axhline(own, color="black", lw=0.8, ls="-.", label="own cells to density")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("number of particles $m$")
    axis.set_ylabel(f"prediction gap at $t = {float(last.time):.3g}$")
    axis.legend(loc="lower left")


def bands(axis: Axes, gaps: xr.Dataset, name: str) -> None:
    """Against time, for every width the median over seeds as a line and 5 to 95 % as a band."""
    for k, (width, style) in enumerate(zip(gaps.width.values, styles(gaps), strict=True)):
        low, middle, high = band(gaps[name].sel(width=width))
        axis.fill_between(gaps.time, low, high, color=style["color"], alpha=0.25, lw=0)
        axis.plot(gaps.time, middle, markevery=(2 * k, 6), label=f"$m = {width}$", **style)
    axis.locator_params(axis="x", steps=[1, 2, 4, 5, 10])
    axis.set_xlabel("time $t$")


def styles(gaps: xr.Dataset) -> list[dict[str, Any]]:
    """Colour, line and marker of every width."""
    return [
        {"color": colour, "ls": LINES[k % len(LINES)], "marker": MARKERS[k % len(MARKERS)]}
        for k, colour in enumerate(shades(gaps.sizes["width"]))
    ]


def shades(count: int) -> list[tuple[float, ...]]:
    """Colours from light to dark, so that they stay apart in grey."""
    from matplotlib import colormaps

    return [tuple(colormaps[COLOURS](level)) for level in np.linspace(0.85, 0.1, count)]


def symbol(name: str) -> str:
    """A coordinate's name as a formula: w2 becomes w with index 2."""
    letter = re.fullmatch(r"([a-zA-Z])(\d*)", name)
    if letter is None:
        return name
    return f"${letter[1]}_{{{letter[2]}}}$" if letter[2] else f"${letter[1]}$"


def plain(text: str) -> str:
    """A user's text as text: no formula in it, and not too long for a label."""
    short = text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
    return short.replace("$", r"\$")
