"""What a gap is made of, for the report: a table, numbers for a program, and a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mfpde.measures.shares import Budget, part_at, told
from mfpde.report.figures import ASIDE, sheet, styled

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
        for name in ("grid", "time", "truncation")
    ]
    return ["part", *(f"{m:,}" for m in widths), "density"], rows


def found(budget: Budget) -> dict[str, Any]:
    """The parts of the gap at the last time and how many neurons would do."""
    last = budget.dataset.isel(time=-1)
    parts: dict[str, Any] = {name: part._asdict() for name, part in budget.parts().items()}
    needed = float(last.width_needed)
    return parts | {
        "dominant": budget.dominant(),
        "sampling_slope": part_at(last, "slope")._asdict(),
        "tolerance": last.attrs["tolerance"],
        "width_needed": needed if np.isfinite(needed) else None,
    }


@styled()
def drawn(budget: Budget) -> Figure:
    """The gap's parts against the number of particles at the last time, and against time."""
    figure, axes = sheet(1, 2, 3.0, sharey=True)
    parts_over_width(axes[0, 0], budget.dataset.isel(time=-1))
    parts_over_time(axes[0, 1], budget.dataset)
    return figure


def parts_over_width(axis: Axes, last: xr.Dataset) -> None:
    """Gap and sampling with their bands, the law m^-1/2, the grid's floor and the tolerance."""
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
    guide = float(last.sampling[-1]) * (m / m[-1]) ** -0.5
    axis.plot(m, guide, ":", color="0.3", label="$m^{-1/2}$")
    axis.axhspan(*floor(last), color="0.7", alpha=0.5, lw=0)
    axis.axhline(float(last.grid), color="black", lw=0.8, ls="-.", label="grid")
    axis.axhline(last.attrs["tolerance"], color="black", lw=0.6, ls=(0, (1, 3)), label="tolerance")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("number of particles $m$")
    axis.set_ylabel("root mean square of $f$'s difference")
    axis.set_title(f"$t = {float(last.time):.3g}$")
    axis.legend(loc="best")


def parts_over_time(axis: Axes, dataset: xr.Dataset) -> None:
    """Sampling of the widest networks and the grid's part, with their intervals."""
    later = dataset.isel(time=dataset.time.values > 0, width=-1)
    for name, colour, line in (("sampling", "0.45", "s--"), ("grid", "black", "-.")):
        low, high = later[f"{name}_low"], later[f"{name}_high"]
        axis.fill_between(later.time, low, high, color=colour, alpha=0.25, lw=0)
        axis.plot(later.time, later[name], line, color=colour, mfc="white", label=name)
    axis.set_xlabel("time $t$")
    axis.set_title(f"$m = {int(later.width):,}$".replace(",", "{,}"))
    axis.tick_params(labelleft=True)
    axis.legend(loc="best")


def floor(last: xr.Dataset) -> tuple[float, float]:
    """The interval of the grid's part."""
    return float(last.grid_low), float(last.grid_high)
