"""What a gap is made of, for the report: a table, numbers for a program, and a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mfpde.measures.shares import SHARED, Budget, part_at, told
from mfpde.report.figures import ASIDE, sheet, styled
from mfpde.report.findings import without_nan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def table(budget: Budget) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the parts of the gap at the last time, by width and of the density."""
    last, parts = budget.dataset.isel(time=-1), budget.parts()
    widths = last.width.values
    nothing = ["" for _ in widths]

    def by_width(name: str) -> list[str]:
        return [told(part_at(last.sel(width=m), name)) for m in widths]

    of_density = {name: told(part) for name, part in parts.items() if name != "sampling"}
    rows = [["gap", *by_width("gap"), ""], ["sampling", *by_width("sampling"), ""]]
    rows += [
        [name, *nothing, of_density.get(name, "not known")]
        for name in ("grid", SHARED, "time", "truncation")
        if name != SHARED or name in parts
    ]
    tolerance = f"particles for {last.attrs['tolerance']:.2g}"
    rows += [[tolerance, *nothing, budget.needed() or "no number is enough"]]
    return ["particles", *(f"{m:,}" for m in widths), "density"], rows


def found(budget: Budget) -> Any:
    """The parts of the gap at the last time and how many neurons would do."""
    last = budget.dataset.isel(time=-1)
    parts = {name: part._asdict() for name, part in budget.parts().items()}
    needed = float(last.width_needed)
    answer: dict[str, Any] = {
        **parts,
        "dominant": budget.dominant(),
        "sampling_slope": part_at(last, "slope")._asdict(),
        "tolerance": last.attrs["tolerance"],
        "width_needed": needed if np.isfinite(needed) else None,
    }
    return without_nan(answer)


@styled()
def drawn(budget: Budget) -> Figure:
    """The gap's parts against the number of particles at the last time, and against time."""
    figure, axes = sheet(1, 2, 3.2, sharey=True)
    parts_over_width(axes[0, 0], budget.dataset.isel(time=-1))
    parts_over_time(axes[0, 1], budget.dataset)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=7.5
    )
    return figure


def parts_over_width(axis: Axes, last: xr.Dataset) -> None:
    """Gap and sampling with their bands, the law m^-1/2, the grid's floor, and m enough."""
    m = last.width.values.astype(float)
    axis.fill_between(m, last.gap_low, last.gap_high, color="0.85", lw=0, label="gap, 5–95 %")
    axis.plot(m, last.gap, "o-", color="black", label="gap, root mean square")
    around = [last.sampling - last.sampling_low, last.sampling_high - last.sampling]
    axis.errorbar(
        m * ASIDE,
        last.sampling,
        around,
        fmt="s--",
        color="0.45",
        mfc="white",
        capsize=2,
        elinewidth=0.8,
        label="sampling",
    )
    ends = m[[0, -1]]
    guide = float(last.sampling[-1]) * (ends / m[-1]) ** -0.5
    axis.plot(ends, guide, ":", color="0.3", label="$m^{-1/2}$")
    low, high = float(last.grid_low), float(last.grid_high)
    axis.axhspan(low, high, hatch="////", fc="none", ec="0.75", lw=0)
    axis.axhline(float(last.grid), color="black", lw=0.8, ls="-.", label="grid")
    enough, tolerance = float(last.width_needed), last.attrs["tolerance"]
    if np.isfinite(enough):
        axis.plot([enough], [tolerance], "k*", ms=8, label=f"enough for {tolerance:.2g}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("number of particles $m$")
    axis.set_ylabel("root mean square difference of $f$")
    axis.set_title(f"$t = {float(last.time):.3g}$")


def parts_over_time(axis: Axes, dataset: xr.Dataset) -> None:
    """Sampling of the widest networks and the grid's part, with their intervals."""
    later = dataset.isel(time=dataset.time.values > 0, width=-1)
    grey: dict[str, Any] = {"fc": "0.85"}
    hatched: dict[str, Any] = {"hatch": "////", "fc": "none", "ec": "0.75"}
    looks = (("sampling", "0.45", "s--", grey), ("grid", "black", "-.", hatched))
    for name, colour, line, filled in looks:
        low, high = later[f"{name}_low"], later[f"{name}_high"]
        axis.fill_between(later.time, low, high, **filled, lw=0)
        axis.plot(later.time, later[name], line, color=colour, mfc="white")
    axis.set_xlabel("time $t$")
    axis.set_title(f"$m = {int(later.width):,}$".replace(",", "{,}"))
    axis.tick_params(labelleft=True)
