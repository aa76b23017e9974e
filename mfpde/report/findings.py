"""What a density run and its particles show, as numbers: gaps, bands, slopes, curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mfpde.comparison import compare
from mfpde.errors import InvalidInput
from mfpde.measures import coordinates
from mfpde.measures.shares import Budget
from mfpde.prediction import predict
from mfpde.problems.data import standardise
from mfpde.problems.problem import Problem

Array = NDArray[np.float64]

DUST = 5e-6  # mass of the lightest cells that particles and distances leave out
MOST_PAIRS = 300_000_000  # pairs of points the energy distance of one width may take
CURVE = 200  # points of a drawn curve
DRAWS = 16  # iid clouds that a floor is the mean of
BAND = (0.05, 0.5, 0.95)
FEW = 5  # seeds below which outer quantiles are not worth their name


@dataclass(frozen=True)
class Samples:
    """Standardised data, and what they were: inputs x_mean + x_std x, targets y_mean + y_std y.

    Attributes:
        name: of the data.
        x: (n,) or (n, d) inputs; x_mean and x_std are (d,).
        y: (n,) targets; labels are kept as they were, with y_mean = 0 and y_std = 1.
        inputs, target: names of the columns.
    """

    name: str
    x: Array
    y: Array
    inputs: tuple[str, ...]
    target: str
    x_mean: Array
    x_std: Array
    y_mean: float
    y_std: float


def standardised(
    name: str, x: Array, y: Array, inputs: Sequence[str], target: str, labels: bool = False
) -> Samples:
    """Data with columns of mean 0 and standard deviation 1; targets that are labels stay.

    Raises InvalidInput, with the column's name, for one that is constant.
    """
    columns = [standard_column(v, c) for v, c in zip(x.reshape(len(x), -1).T, inputs, strict=True)]
    z, mean, std = (np.stack(part, axis=-1) for part in zip(*columns, strict=True))
    own, y_mean, y_std = (y, 0.0, 1.0) if labels else standard_column(y, target)
    return Samples(
        name, z.reshape(x.shape), own, tuple(inputs), target, mean, std, float(y_mean), float(y_std)
    )


def standard_column(values: Array, name: str) -> tuple[Array, Array, Array]:
    """A column with mean 0 and standard deviation 1, its mean, and its standard deviation."""
    try:
        return standardise(values)
    except InvalidInput as error:
        raise InvalidInput(f"column {name!r}: {error.what}", error.why, error.fix) from error


def without_dust(run: xr.Dataset, dust: float = DUST) -> xr.Dataset:
    """The run with its lightest cells emptied, of mass at most ``dust`` at every time.

    A Gaussian reaches every cell of its box, but three in four hold nothing one could notice.
    """
    names = coordinates(run)
    volumes = np.ones(())
    for name in names:
        volumes = np.multiply.outer(volumes, np.diff(run[f"{name}_edges"].values))
    rho = run["rho"].transpose("time", *names).values.copy()
    for moment in rho:
        masses = moment * volumes
        ascending = np.sort(masses, axis=None)
        lightest = ascending[np.searchsorted(np.cumsum(ascending), dust, side="right")]
        moment[masses < lightest] = 0.0
    return run.assign(rho=(("time", *names), rho))


def gathered(
    run: xr.Dataset,
    flows: Mapping[int, Sequence[xr.Dataset]],
    own: xr.Dataset,
    mapped: Callable[..., Iterable[Any]] = map,
) -> xr.Dataset:
    """Particles of several widths and seeds against the density, and against its own cells.

    Args:
        run: the density run.
        flows: by width, particle flows from one seed each, at the run's times.
        own: the particle flow whose start is the run's own.
        mapped: ``map``, or that of a pool; the result does not depend on it.

    Returns:
        Over (width, seed, time): ``risk``, ``energy``, ``prediction_gap``, ``risk_gap``,
        ``w1_<coord>``, and ``sampling_gap``, the prediction gap to ``own``. Over (width, seed),
        at the last time: ``sliced_w2`` and ``energy_distance``, the latter for as many seeds as
        MOST_PAIRS allows, and nan for the others. All but the sampling gap of ``own`` itself too,
        as ``own_<name>`` over time. Over (width), at the last time: ``floor_w1_<coord>`` and
        ``floor_sliced_w2``, the mean distance of iid clouds of that size drawn from the density.
        Distances leave the lightest cells of the density out.
    """
    light = without_dust(run)
    groups = [*flows.values(), [own]]
    *found, alone = mapped(partial(gaps_of, run, light), groups)
    together = xr.concat(found, xr.DataArray(list(flows), dims="width", name="width"))
    sampling = [
        compare(own, several, only=("prediction_gap",)).prediction_gap.values.T
        for several in flows.values()
    ]
    together["sampling_gap"] = (("width", "seed", "time"), np.array(sampling))
    alone = alone.isel(seed=0).drop_vars(floored(alone))  # its own cells are no random draw
    lonely = alone.rename({name: f"own_{name}" for name in alone.data_vars})
    return together.merge(lonely).assign_attrs(
        own_particles=own.sizes["particle"],
        own_mass_left_out=float(run.mass[0] - own["weight"][0].sum()),
    )


def gaps_of(run: xr.Dataset, light: xr.Dataset, flows: Sequence[xr.Dataset]) -> xr.Dataset:
    """Risks, energies and gaps of flows of one width, over (seed, time) and over (seed)."""
    marginals = [f"w1_{name}" for name in coordinates(run)]
    over_time = xr.merge(
        [
            compare(run, flows, only=("prediction_gap", "risk_gap")),
            compare(light, flows, only=marginals),
        ],
        combine_attrs="drop",
    ).transpose("replica", "time")
    ends, end = [flow.isel(time=[-1]) for flow in flows], light.isel(time=[-1])
    sliced = compare(end, ends, only=("sliced_w2",)).sliced_w2.values[0]
    floors = compare(end, ends[0], only=(*marginals, "sliced_w2"), floor=DRAWS).isel(time=0)
    pairs = int((end.rho > 0).sum()) * flows[0].sizes["particle"]
    few = ends[: MOST_PAIRS // pairs]
    energy = np.full(len(flows), np.nan)
    if few:
        energy[: len(few)] = compare(end, few, only=("energy_distance",)).energy_distance.values[0]
    found: dict[str, Any] = {"sliced_w2": ("seed", sliced), "energy_distance": ("seed", energy)}
    for name in ("risk", "energy"):
        found[name] = (("seed", "time"), np.array([flow[name].values for flow in flows]))
    for name in (*marginals, "sliced_w2"):
        found[f"floor_{name}"] = ((), float(floors[f"floor_{name}"]))
    return over_time.rename(replica="seed").assign(found)


def floored(gaps: xr.Dataset) -> list[str]:
    """Names of what was measured of iid clouds of every width."""
    return [str(name) for name in gaps.data_vars if str(name).startswith("floor_")]


def band(values: xr.DataArray) -> Array:
    """The 5 % quantile, median and 95 % quantile over seeds, stacked in front; nan is left out.

    Of fewer than FEW seeds, least and most instead of the outer quantiles.
    """
    kept = values.dropna("seed", how="all")
    levels = BAND if kept.sizes["seed"] >= FEW else (0.0, 0.5, 1.0)
    return kept.quantile(levels, dim="seed").values


def observed_slope(widths: Array, gaps: Array) -> float:
    """Exponent of gaps in widths by least squares of the logarithms; nan for a single width."""
    if len(widths) < 2 or not (gaps > 0).all():
        return float("nan")
    return float(np.polynomial.polynomial.polyfit(np.log(widths), np.log(gaps), 1)[1])


def fitted(
    samples: Samples,
    problem: Problem,
    run: xr.Dataset,
    flows: Sequence[xr.Dataset],
    times: Sequence[int],
) -> xr.Dataset:
    """Data and predictions in the data's own units, for ``figures.fit``.

    ``density`` (time, curve or sample) at the stored times of these indices, ``particles`` (seed,
    curve or sample) of the flows at the last time. A single input is drawn as a curve over
    ``x_curve``, several at the samples.
    """
    moments = [run.isel(time=t) for t in times]
    ends = [flow.isel(time=-1) for flow in flows]
    one_input = samples.x.ndim == 1
    if one_input:
        z = drawn_inputs(samples.x)
        density = [predict(problem, moment, z) for moment in moments]
        particles = [predict(problem, end, z) for end in ends]
    else:
        density = [moment.prediction.values for moment in moments]
        particles = [end.prediction.values for end in ends]
    along = "curve" if one_input else "sample"
    data: dict[str, Any] = {
        "y": ("sample", samples.y_mean + samples.y_std * samples.y),
        "density": (("time", along), samples.y_mean + samples.y_std * np.array(density)),
        "particles": (("seed", along), samples.y_mean + samples.y_std * np.array(particles)),
        "risk": ("time", run.risk.values[list(times)]),
    }
    if one_input:
        data["x"] = ("sample", samples.x_mean[0] + samples.x_std[0] * samples.x)
        data["x_curve"] = ("curve", samples.x_mean[0] + samples.x_std[0] * z)
    return xr.Dataset(
        data,
        coords={"time": run.time.values[list(times)]},
        attrs={
            "x_label": samples.inputs[0],
            "y_label": samples.target,
            "width": flows[0].sizes["particle"],
        },
    )


def drawn_inputs(z: Array) -> Array:
    """Inputs from a little before the first datum to a little behind the last."""
    margin = 0.05 * (z.max() - z.min())
    return np.linspace(z.min() - margin, z.max() + margin, CURVE)


# In words -----------------------------------------------------------------------------------------


def slopes(gaps: xr.Dataset) -> dict[str, float]:
    """Observed exponents in m, at the last time, of the gap to the density and to its own cells."""
    last, m = gaps.isel(time=-1), gaps.width.values.astype(float)
    return {
        name: observed_slope(m, band(last[name])[1]) for name in ("prediction_gap", "sampling_gap")
    }


def found_in(run: xr.Dataset, gaps: xr.Dataset) -> dict[str, Any]:
    """What was found, for a program to read; None where there is no number."""
    last = gaps.isel(time=-1)
    own = {name: float(last[name]) for name in gaps.data_vars if str(name).startswith("own_")}
    per_width = {
        str(width): {name: named_band(last[name].sel(width=width)) for name in over_seeds(gaps)}
        | {name: float(last[name].sel(width=width)) for name in floored(gaps)}
        for width in gaps.width.values
    }
    found = {
        "time": float(run.time[-1]),
        "risk": [float(run.risk[0]), float(run.risk[-1])],
        "energy": [float(run.energy[0]), float(run.energy[-1])],
        "mass_escaped": float(run.escaped[-1]),
        "steps": int(run.attrs["steps"]),
        "slopes": slopes(gaps),
        "own_cells": own | dict(gaps.attrs),
        "widths": per_width,
    }
    return without_nan(found)


def over_seeds(gaps: xr.Dataset) -> list[str]:
    """Names of what was measured for every width and seed."""
    return [str(name) for name in gaps.data_vars if "seed" in gaps[name].dims]


def named_band(of_seeds: xr.DataArray) -> dict[str, float]:
    """A band under its names."""
    if bool(of_seeds.isnull().all()):
        return {}
    return dict(zip(("low", "median", "high"), map(float, band(of_seeds)), strict=True))


def without_nan(found: Any) -> Any:
    """The same tree with None for nan, which JSON does not know."""
    if isinstance(found, dict):
        return {key: without_nan(value) for key, value in found.items()}
    return None if isinstance(found, float) and np.isnan(found) else found


def summary(run: xr.Dataset, gaps: xr.Dataset, budget: Budget | None) -> str:
    """The dominant facts in a paragraph."""
    last, found = gaps.isel(time=-1), slopes(gaps)
    medians = band(last.prediction_gap)[1]
    own, widths = float(last.own_prediction_gap), listed(f"{m:,}" for m in gaps.width.values)
    sentences = [
        f"By t = {float(run.time[-1]):.3g} the risk of the density "
        f"{'fell' if run.risk[-1] < run.risk[0] else 'rose'} from {float(run.risk[0]):.4g} "
        f"to {float(run.risk[-1]):.4g}.",
        f"Networks of {widths} neurons end at a distance of {listed(map(short, medians))} from its "
        f"prediction (root mean square over the samples, {over_how_many(gaps)})"
        + (f", which scales like m^{found['prediction_gap']:.2f}." if enough(gaps) else "."),
        f"The density's own cells, moved as {gaps.attrs['own_particles']:,} particles, end "
        f"{short(own)} away: {own_error(run)}.",
    ]
    if own > 0.5 * medians[-1] and run.attrs["entropy"] == 0:
        sentences += ["The widest networks are at this scale: finer cells would bring them closer."]
    if enough(gaps) and run.attrs["entropy"] == 0:
        sentences += [
            "The distance of the networks from those particles scales like "
            f"m^{found['sampling_gap']:.2f}; independent draws promise m^-0.5."
        ]
    sentences += [f"{float(run.escaped[-1]):.1e} of the mass left the box."]
    return " ".join([*sentences, *([budget.sentence] if budget else [])])


def own_error(run: xr.Dataset) -> str:
    """What the gap of the own cells consists of."""
    if run.attrs["entropy"] > 0:
        return "the error of moving mass on this grid, and their noise"
    return "the error of moving mass on this grid, not of placing it there"


def enough(gaps: xr.Dataset) -> bool:
    """Whether there are widths and seeds enough to speak of a rate."""
    return gaps.sizes["width"] >= 3 and gaps.sizes["seed"] >= 4


def over_how_many(gaps: xr.Dataset) -> str:
    """Over which seeds a number is taken."""
    seeds = gaps.sizes["seed"]
    return f"median of {seeds} seeds" if seeds > 1 else "one seed"


def spread_of(gaps: xr.Dataset) -> str:
    """What the brackets of the table hold."""
    if gaps.sizes["seed"] == 1:
        return "one seed"
    ends = "[5 %, 95 %]" if gaps.sizes["seed"] >= FEW else "[least, most]"
    return f"medians {ends} over {gaps.sizes['seed']} seeds"


def gap_table(gaps: xr.Dataset) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what was found at the last time, for every width and the own cells."""
    last = gaps.isel(time=-1)
    header = ["particles", *(f"{m:,}" for m in gaps.width.values), "own cells"]
    rows = [
        [
            title,
            *(in_words(last[name].sel(width=width)) for width in gaps.width.values),
            short(float(last.get(f"own_{name}", np.nan))),
        ]
        for name, title in titles(gaps).items()
    ]
    rows += [
        [f"{titles(gaps)[name[6:]]}, iid", *map(short, last[name].values.tolist()), ""]
        for name in floored(gaps)
    ]
    return header, rows


def titles(gaps: xr.Dataset) -> dict[str, str]:
    """What the table shows, in its order: names in ``gaps``, and for a reader."""
    first = {
        "risk": "risk",
        "risk_gap": "risk gap",
        "prediction_gap": "prediction gap",
        "sampling_gap": "gap to own cells",
    }
    w1 = {name: f"W1 in {name[3:]}" for name in over_seeds(gaps) if name.startswith("w1_")}
    return first | w1 | {"sliced_w2": "sliced W2", "energy_distance": "energy distance"}


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as lines of text."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )


def in_words(of_seeds: xr.DataArray) -> str:
    """Median [low, high]; without brackets where they say nothing."""
    found = named_band(of_seeds)
    if not found:
        return "–"
    if found["low"] == found["high"]:
        return short(found["median"])
    return f"{short(found['median'])} [{short(found['low'])}, {short(found['high'])}]"


def short(number: float) -> str:
    """Three digits, or a dash for nan."""
    return "–" if np.isnan(number) else f"{number:.3g}"


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
