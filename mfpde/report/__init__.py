"""What a density and its particles show, as a folder: data, tables, figures and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from mfpde.loop.store import write_dataset
from mfpde.measures.shares import Budget
from mfpde.problems.problem import Problem
from mfpde.report import figures, parts
from mfpde.report.findings import Samples, fitted, found_in, gap_table, spread_of, summary
from mfpde.report.page import Table, html_page, run_page

DRAWN_WIDTH = 1000  # particles on top of the density, or the width nearest to it


@dataclass(frozen=True)
class Outcome:
    """A density, particles of several widths, and their gaps.

    Attributes:
        samples: the data.
        asked: the question, line by line.
        problem: what was minimised.
        run: the density.
        flows: particle flows by width, one for each seed.
        own: the flow of the density's own cells.
        gaps: ``findings.gathered`` of these.
        budget: what the gap is made of, where there are seeds enough.
        shown: indices of the times to draw, and at which positions are kept.
        seconds: what took how long.
    """

    samples: Samples
    asked: Mapping[str, str]
    problem: Problem
    run: xr.Dataset
    flows: Mapping[int, Sequence[xr.Dataset]]
    own: xr.Dataset
    gaps: xr.Dataset
    budget: Budget | None
    shown: Sequence[int]
    seconds: Mapping[str, float]

    @property
    def drawn(self) -> xr.Dataset:
        """The flow to draw on top of the density."""
        return self.flows[min(self.flows, key=lambda m: abs(np.log(m / DRAWN_WIDTH)))][0]


def write(outcome: Outcome, folder: Path) -> None:
    """All but the density into an existing folder: what was computed, and what it shows.

    flows/*.zarr (positions at the drawn times), comparison.zarr and
    its last time as comparison.csv, summary.json, figures/*.pdf and *.png, report.html.
    """
    for m, flows in outcome.flows.items():
        write_flows(folder / "flows" / f"m{m}.zarr", flows, outcome.shown)
    write_flows(folder / "flows" / "own_cells.zarr", [outcome.own], outcome.shown)
    write_dataset(outcome.gaps, folder / "comparison.zarr")
    outcome.gaps.isel(time=-1).to_dataframe().to_csv(folder / "comparison.csv")
    made = provenance(outcome)
    found = found_in(outcome.run, outcome.gaps)
    if outcome.budget is not None:
        found["budget"] = parts.found(outcome.budget)
    record = {"asked": dict(outcome.asked), "found": found, "made": made}
    (folder / "summary.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    page = run_page(
        outcome.samples.name,
        summary(outcome.run, outcome.gaps, outcome.budget),
        outcome.asked,
        tables(outcome),
        write_figures(folder / "figures", outcome),
        outcome.drawn.sizes["particle"],
        made,
    )
    (folder / "report.html").write_text(html_page(page))


def tables(outcome: Outcome) -> list[Table]:
    """The gaps at the last time, and what they are made of."""
    gaps = Table(f"At the last time: {spread_of(outcome.gaps)}.", *gap_table(outcome.gaps))
    if outcome.budget is None:
        return [gaps]
    caption = "The prediction gap at the last time and its parts, as root mean squares with 5-95 %"
    return [gaps, Table(f"{caption} intervals.", *parts.table(outcome.budget))]


def write_flows(path: Path, flows: Sequence[xr.Dataset], shown: Sequence[int]) -> None:
    """Flows of one width, one for each ``seed``, at the times that are drawn."""
    thin = [flow.isel(time=list(shown)) for flow in flows]
    each = [name for name, values in thin[0].items() if "time" in values.dims]
    together = xr.concat(thin, "seed", data_vars=each, coords="minimal", compat="override")
    write_dataset(together, path)


def write_figures(folder: Path, outcome: Outcome) -> dict[str, bytes]:
    """Every figure as PDF and PNG; returns the PNGs by name."""
    folder.mkdir()
    pictures = {}
    for name, figure in drawings(outcome).items():
        pictures[name] = figures.rendered(figure, "png")
        (folder / f"{name}.png").write_bytes(pictures[name])
        (folder / f"{name}.pdf").write_bytes(figures.rendered(figure, "pdf"))
    return pictures


def drawings(outcome: Outcome) -> dict[str, figures.Figure]:
    """The figures by name."""
    run, gaps, shown = outcome.run, outcome.gaps, outcome.shown
    widest = outcome.flows[max(outcome.flows)]
    curves = fitted(outcome.samples, outcome.problem, run, widest, shown)
    drawn = {
        "marginals": figures.marginals(run, shown, outcome.drawn),
        "fit": figures.fit(curves),
        "history": figures.history(run, gaps),
        "gap": figures.gap(gaps),
        "distances": figures.distances(gaps),
    }
    return drawn if outcome.budget is None else drawn | {"budget": parts.drawn(outcome.budget)}


def provenance(outcome: Outcome) -> dict[str, str]:
    """With what it was made."""
    run, gaps = outcome.run.attrs, outcome.gaps.attrs
    return {
        "software": f"{run['software']} with {run['versions']}",
        "density": f"{run['method']} on {run['grid']}, {run['steps']} steps",
        "particles": outcome.own.attrs["method"],
        "own cells": f"{gaps['own_particles']:,}; {gaps['own_mass_left_out']:.1e} of the mass lies "
        "in lighter cells, and is left out here and in distances between measures",
        "time taken": ", ".join(f"{what} {s:.1f} s" for what, s in outcome.seconds.items()),
    }
