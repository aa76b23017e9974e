"""From states to an xarray.Dataset: one object that appends snapshots."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numba
import numpy as np
import scipy
import xarray as xr

from mfpde.errors import InvalidInput
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.loop.guards import State
from mfpde.methods.step import Method
from mfpde.problems.problem import RECORDED
from mfpde.version import __version__

Keep = Literal["density", "marginals", "last"]
Watch = Callable[[xr.Dataset], float]


class Recorder:
    """Appends what is kept of each snapshot; ``dataset`` assembles the run."""

    def __init__(
        self,
        flow: WassersteinFlow,
        method: Method,
        keep: Keep,
        watch: Sequence[Watch],
        escaped_tolerance: float,
    ) -> None:
        if keep not in ("density", "marginals", "last"):
            raise InvalidInput(f"keep = {keep!r}", fix='"density", "marginals" or "last"')
        self.flow, self.method, self.keep = flow, method, keep
        self.watch = checked_watch(watch, flow.grid.coords)
        self.escaped_tolerance = escaped_tolerance
        self.states: list[dict[str, Any]] = []
        self.last_rho = flow.start

    def append(self, state: State) -> None:
        """Keep a snapshot."""
        row = self.scalars(state) | {"prediction": state.field.prediction}
        if self.method.promise == "exact":
            row["dissipated"] = state.dissipated
        if self.keep == "density":
            row["rho"] = state.rho
        if self.keep == "marginals":
            row |= self.marginals(state)
        for name, observer in self.watch.items():
            row[name] = float(observer(self.snapshot(state)))
        self.last_rho = state.rho
        self.states.append(row)

    def scalars(self, state: State) -> dict[str, Any]:
        """The numbers of one instant."""
        return {
            "time": state.t,
            "risk": state.field.risk,
            "energy": state.field.energy,
            "dissipation": self.flow.dissipation(state.rho, state.field),
            "mass": self.flow.mass(state.rho),
            "escaped": state.lost,
            "escaped_energy": state.carried,
            "escaped_through": np.array(list(state.escaped.values())).ravel(),
        }

    def marginals(self, state: State) -> dict[str, Any]:
        """Marginal densities (cell averages) of every coordinate."""
        masses = state.rho * self.flow.volumes
        every = range(masses.ndim)
        return {
            f"marginal_{c}": masses.sum(axis=tuple(j for j in every if j != k)) / axis.widths
            for k, (c, axis) in enumerate(self.flow.grid.axes.items())
        }

    def snapshot(self, state: State) -> xr.Dataset:
        """One instant as an observer sees it."""
        rho = (self.flow.grid.coords, state.rho)
        shown = {"rho": rho, "prediction": ("sample", state.field.prediction)}
        numbers = {k: v for k, v in self.scalars(state).items() if np.ndim(v) == 0}
        data = shown | numbers | self.edges()
        return xr.Dataset(data, coords=self.coordinates(), attrs=self.provenance())

    def walls(self) -> list[str]:
        """Names of the walls, in the order of ``escaped_through``."""
        return [f"{c} {end}" for c in self.flow.grid.coords for end in ("low", "high")]

    def edges(self) -> dict[str, Any]:
        """Cell edges of every axis."""
        return {f"{c}_edges": (f"{c}_edge", axis.edges) for c, axis in self.flow.grid.axes.items()}

    def coordinates(self) -> dict[str, Any]:
        """Cell centres with the geometry, box and walls of each axis."""
        problem, walls = self.flow.problem, self.flow.walls
        return {
            name: (
                name,
                axis.centres,
                {
                    "geometry": problem.domain[name].kind,
                    "low": axis.low,
                    "high": axis.high,
                    "wall_low": walls[name],
                    "wall_high": walls[name],
                },
            )
            for name, axis in self.flow.grid.axes.items()
        }

    def dataset(
        self, steps: int, rejected: int, wall_mass: float, limited: Mapping[str, int]
    ) -> xr.Dataset:
        """The run so far."""
        flow, problem = self.flow, self.flow.problem
        dims = {
            "rho": ("time", *flow.grid.coords),
            "prediction": ("time", "sample"),
            "escaped_through": ("time", "wall"),
        } | {f"marginal_{c}": ("time", c) for c in flow.grid.coords}
        names = [name for name in self.states[0] if name != "time"]
        data: dict[str, Any] = {
            name: (dims.get(name, ("time",)), np.array([row[name] for row in self.states]))
            for name in names
        }
        if self.keep != "density":
            at = {"time": self.states[-1]["time"]}
            data["rho_last"] = (flow.grid.coords, self.last_rho, at)
        x_dims = ("sample", "input")[: problem.x.ndim]
        data |= {
            "x": (x_dims, problem.x),
            "y": ("sample", problem.y),
            "weight": ("sample", problem.weights),
        }
        data |= self.edges()
        data["escaped_through"] += ({"walls": ", ".join(self.walls())},)
        times = np.array([row["time"] for row in self.states])
        return xr.Dataset(
            data,
            coords={"time": ("time", times)} | self.coordinates(),
            attrs=self.provenance()
            | {"steps": steps, "steps_repeated": rejected, "largest_wall_mass": wall_mass}
            | {f"limited_{name}": count for name, count in limited.items()},
        )

    def provenance(self) -> dict[str, Any]:
        """What was run, with what."""
        return {
            "title": "mean-field density run",
            "software": f"mfpde {__version__}",
            "versions": f"python {platform.python_version()}, numpy {np.__version__}, "
            f"scipy {scipy.__version__}, numba {numba.__version__}, xarray {xr.__version__}",
            "problem": repr(self.flow.problem),
            "penalty": repr(self.flow.problem.penalty),
            "initial": repr(self.flow.problem.initial),
            "grid": repr(self.flow.grid),
            "method": self.method.call,
            "order": self.method.order,
            "order_in_time": self.method.order_in_time or self.method.order,
            "quadrature": self.flow.quadrature,
            "energy_promise": self.method.promise,
            "entropy": self.flow.problem.entropy,
            "escaped_tolerance": self.escaped_tolerance,
            "initial_mass_outside": self.flow.outside,
        }


def checked_watch(watch: Sequence[Watch], coords: Sequence[str]) -> dict[str, Watch]:
    """The observers by name: functions, none named like another or like a part of the run."""
    taken = RECORDED | set(coords) | {f"{c}_edges" for c in coords}
    taken |= {f"marginal_{c}" for c in coords}
    named: dict[str, Watch] = {}
    for observer in watch:
        name = getattr(observer, "__name__", "watched")
        if not callable(observer) or name in taken or name in named:
            raise InvalidInput(
                f"watch holds {observer!r}, named {name!r}",
                "each observer is a function, and its name becomes a variable of the run",
                "a def with a name that is neither in the run nor given twice",
            )
        named[name] = observer
    return named
