"""What a gap is made of, as a record: its parts, the largest of them, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHARED = "shared by all replicas"
ESTIMATE = 2.0  # an estimate of Richardson's kind is taken to be right to this factor


class Part(NamedTuple):
    """A part of the gap, in units of the prediction, and the interval that holds it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class Budget:
    """Where the gap comes from; at the prompt, in a few lines.

    Attributes:
        dataset: over ``time`` and ``width``, the number m of neurons; all are root mean squares
            over the samples, and ``_low``, ``_high`` the ends of 5-95 % intervals:

            - ``gap``: over replicas too; its ends are quantiles over replicas
            - ``sampling``: what differs from replica to replica; ``slope``, ``_low``, ``_high``
              (time): its exponent in m, nan for a single width
            - ``central_limit``, ``_low``, ``_high``: what theory says of the gap by sampling alone
            - ``shared``, ``_low``, ``_high`` (time): what all of the widest networks share
            - ``grid``, ``_low``, ``_high`` (time): the density's error; the attribute ``grid_from``
              says by what: ``"truth"``, ``"coarse"``, ``"own"`` or ``"replicas"``
            - ``time_density``, ``time_flows`` (time): errors of finite time steps, where known
            - ``escaped`` (time): mass that left the box; ``truncation``: see :func:`mfpde.budget`
            - ``width_needed``, ``_low``, ``_high`` (time): the m whose gap is the ``tolerance``;
              inf where the grid's part alone is above it
    """

    dataset: xr.Dataset

    def parts(self, time: int = -1) -> dict[str, Part]:
        """The known parts at a stored time, sampling that of the widest networks.

        What all replicas share is a part where it is all that is known of the density's error, or
        more than what is.
        """
        last = self.dataset.isel(time=time, width=-1)
        grid, shared = part_at(last, "grid"), part_at(last, "shared")
        found = {"sampling": part_at(last, "sampling")}
        if last.attrs["grid_from"] != "replicas":
            found["grid"] = grid
        if last.attrs["grid_from"] == "replicas" or shared.low > grid.high:
            found[SHARED] = shared
        steps = [Part(*estimate(np.array(v)).tolist()) for v in _values(last, "time_density")]
        steps += [Part(v, v, v) for v in _values(last, "time_flows")]
        if steps:
            found["time"] = max(steps)
        for value in _values(last, "truncation"):
            found["truncation"] = Part(value, 0.0, value)
        return found

    def dominant(self, time: int = -1) -> str | None:
        """Which part is the largest; None where its interval and another's overlap."""
        (name, first), *others = _ranked(self.parts(time))
        return None if any(part.high >= first.low for _, part in others) else name

    @property
    def sentence(self) -> str:
        """What the gap at the last time is, and how many neurons would do."""
        last, parts = self.dataset.isel(time=-1), self.parts()
        (name, largest), *others = ranked = _ranked(parts)
        gap = f"the gap of {_count(last.width[-1])} neurons at t = {float(last.time):.3g}"
        size = f"root mean square {_short(last.gap[-1])}"
        if self.dominant() == name:
            against = _listed([f"{other} {told(part)}" for other, part in others])
            first = f"Most of {gap} ({size}) is {name}: {told(largest)}, against {against}."
        else:
            near = _listed([other for other, part in ranked if part.high >= largest.low])
            each = _listed([f"{other} {told(part)}" for other, part in ranked])
            first = f"In {gap} ({size}), {near} cannot be told apart: {each}."
        return " ".join([first, *self._shared(parts), *self._limit(), *self._needed()])

    def _shared(self, parts: Mapping[str, Part]) -> list[str]:
        """What it may be that all replicas share, where no more is known."""
        if SHARED not in parts or parts[SHARED].low == 0:
            return []
        return [
            f"What is {SHARED} are errors of their own steps in time, a shift of their mean like "
            "1/m, or errors of the density that are not known otherwise."
        ]

    def _limit(self) -> list[str]:
        """That theory disagrees with the replicas, where it does."""
        last = self.dataset.isel(time=-1, width=-1)
        for theory in _values(last, "central_limit"):
            seen = part_at(last, "sampling")
            if not seen.low <= theory <= seen.high:
                return [f"The central limit says {_short(theory)} of sampling: more replicas tell."]
        return []

    def _needed(self) -> list[str]:
        """How many neurons follow the density to the tolerance, in words."""
        last = self.dataset.isel(time=-1)
        if "width_needed" not in last:
            return []
        needed, within = self.needed(), f"within {last.attrs['tolerance']:.2g}"
        if needed is None:
            grid = float(last.grid) >= last.attrs["tolerance"]
            why = "the grid's part is larger" if grid else "sampling hardly falls with their number"
            return [f"No number of neurons follows this density {within}: {why}."]
        return [f"About {needed} would follow it {within}."]

    def needed(self) -> str | None:
        """How many neurons follow the density to the tolerance at the last time; None if none."""
        m, low, high = part_at(self.dataset.isel(time=-1), "width_needed")
        return None if math.isinf(m) else f"{_count(m)} ({_count(low)} to {_count(high)})"

    def __repr__(self) -> str:
        last, parts = self.dataset.isel(time=-1), self.parts()
        widths = [
            f"m = {_count(m)}: {told(part_at(last.sel(width=m), 'sampling'))}"
            for m in last.width.values
        ]
        slope = f"; slope {told(part_at(last, 'slope'))}" if len(widths) > 1 else ""
        known = {name: told(part) for name, part in parts.items()}
        lines = {"sampling": "; ".join(widths) + slope}
        if "central_limit" in last:
            theory = zip(last.width.values, last.central_limit.values, strict=True)
            lines["in theory"] = "; ".join(f"m = {_count(m)}: {_short(v)}" for m, v in theory)
        lines |= {
            "grid": f"{known['grid']} {FOUND_BY[last.attrs['grid_from']]}"
            if "grid" in known
            else "not known: no truth, no coarser run, no flow of its own cells",
            "shared": known.get(SHARED, "no more than that"),
            "time": known.get("time", "not known: no run with longer steps, no finer flow"),
            "truncation": known.get("truncation", "not known without the problem")
            + f"; escaped mass {_short(last.escaped)}",
        }
        head = f"Budget of the prediction gap at t = {float(last.time):.3g}, 5-95 % intervals"
        return "\n".join([head, *(f"  {k:<11} {v}" for k, v in lines.items()), self.sentence])


FOUND_BY = {
    "truth": "(by the truth; with time steps and box)",
    "coarse": "(by a coarser run)",
    "own": "(its own cells as particles; with time steps and box, without placing the start)",
}


def estimate(error: Array) -> Array:
    """An estimate and the interval it is taken to mean, (3, T)."""
    return np.stack([error, error / ESTIMATE, error * ESTIMATE])


def part_at(moment: xr.Dataset, name: str) -> Part:
    """A variable of a budget at one time, and width if it has one, with its interval."""
    return Part(*(float(moment[f"{name}{end}"]) for end in ("", "_low", "_high")))


def _values(moment: xr.Dataset, name: str) -> list[float]:
    return [float(moment[name])] if name in moment else []


def _ranked(parts: Mapping[str, Part]) -> list[tuple[str, Part]]:
    return sorted(parts.items(), key=lambda item: -item[1].value)


def told(part: Part) -> str:
    """A part with its interval, in two digits."""
    if part.low == part.high:
        return _short(part.value)
    if part.value == part.high:
        return f"≲ {_short(part.value)}"
    return f"{_short(part.value)} [{_short(part.low)}, {_short(part.high)}]"


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _short(value: float | xr.DataArray) -> str:
    return f"{float(value):.2g}"


def _count(m: float | xr.DataArray) -> str:
    """A number of neurons, in two digits where it is an estimate."""
    value = float(m)
    if math.isinf(value):
        return "∞"
    return f"{int(value):,}" if value == int(value) else f"{int(float(f'{value:.2g}')):,}"
