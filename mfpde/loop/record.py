"""From states to an xarray.Dataset: its shape beforehand, its rows, and where rows are kept."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numba
import numpy as np
import scipy
import xarray as xr

from mfpde.arguments import shown
from mfpde.errors import InvalidInput
from mfpde.flows.carrying import carried_over
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.loop.guards import State
from mfpde.loop.window import box_of
from mfpde.methods.step import Method
from mfpde.problems.problem import RECORDED, Array
from mfpde.version import __version__

Keep = Literal["density", "single", "marginals", "last"]
DENSITIES = {"density": np.float64, "single": np.float32}  # kept at all times, and as what
Watch = Callable[[xr.Dataset], float]
Row = dict[str, Any]
Parts = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # variables, coordinates, attributes

SCALARS = ("risk", "energy", "dissipation", "mass", "escaped", "escaped_energy")

MEANING = {
    "time": "time t of the flow",
    "rho": "density of neurons, cell averages",
    "prediction": "prediction f(x_i)",
    "risk": "risk R(f)",
    "energy": "energy F = R + penalty + λ∫ρ log ρ",
    "dissipation": "dissipation −dF/dt",
    "dissipated": "energy dissipated since 0",
    "mass": "mass inside",
    "escaped": "mass that left through open walls",
    "escaped_energy": "energy that left with it",
    "escaped_through": "mass that left, by wall",
    "window": "ends of the window, by wall",
    "rho_in_window": "density of neurons, averages of the cells of the window",
    "rho_last_in_window": "density of neurons, averages of the cells of the window",
    "x": "inputs x_i",
    "y": "targets y_i",
    "weight": "weights p_i of the samples",
}


class Recorder:
    """What is kept of each snapshot."""

    def __init__(
        self,
        flow: WassersteinFlow,
        method: Method,
        keep: Keep,
        watch: Sequence[Watch],
        escaped_tolerance: float,
    ) -> None:
        self.flow, self.method, self.keep = flow, method, keep
        self.watch = checked_watch(watch, flow.grid.coords)
        self.escaped_tolerance = escaped_tolerance

    def row(self, state: State) -> Row:
        """A snapshot: a value for every variable over time."""
        row = self.scalars(state) | {"prediction": state.field.prediction}
        if self.method.promise == "exact":
            row["dissipated"] = state.dissipated
        if self.method.window:
            row["window"] = box_of(state.flow.grid).ravel()
        if self.keep in DENSITIES:
            row |= {
                name: rho.astype(DENSITIES[self.keep], copy=False)
                for name, rho in self.densities(state).items()
            }
        if self.keep == "marginals":
            row |= self.marginals(state)
        return row | (self.watched(self.snapshot(state)) if self.watch else {})

    def watched(self, snapshot: xr.Dataset) -> dict[str, float]:
        """What every observer says of an instant; each sees a copy of its own, with rho locked."""
        seen = snapshot
        for name in self.dims_of_densities():
            rho = snapshot[name].values.view()
            rho.setflags(write=False)
            seen = seen.assign({name: snapshot[name].copy(data=rho)})
        return {
            name: observed(name, observer(seen.copy())) for name, observer in self.watch.items()
        }

    def dimensions(self) -> dict[str, tuple[str, ...]]:
        """The variables of a row, with their dimensions."""
        coords = self.flow.grid.coords
        found: dict[str, tuple[str, ...]] = dict.fromkeys(("time", *SCALARS, *self.watch), ())
        found |= {"escaped_through": ("wall",), "prediction": ("sample",)}
        found |= {"dissipated": ()} if self.method.promise == "exact" else {}
        found |= {"window": ("wall",)} if self.method.window else {}
        found |= self.dims_of_densities() if self.keep in DENSITIES else {}
        return found | ({f"marginal_{c}": (c,) for c in coords} if self.keep == "marginals" else {})

    def dims_of_densities(self) -> dict[str, tuple[str, ...]]:
        """What a density is kept as: on the caller's grid, and on the window's own cells."""
        coords = self.flow.grid.coords
        own = {"rho_in_window": tuple(f"{c}_in_window" for c in coords)}
        return {"rho": coords} | (own if self.method.window else {})

    def densities(self, state: State) -> dict[str, Array]:
        """The same of a state."""
        grid, order = self.flow.grid, self.flow.quadrature
        rho, _ = carried_over(state.rho, state.flow.grid, grid, order)
        return {"rho": rho} | ({"rho_in_window": state.rho} if self.method.window else {})

    def template(self) -> Parts:
        """The run before its first snapshot, as xr.Dataset takes it; time has length 0."""
        problem, grid = self.flow.problem, self.flow.grid
        sizes = dict(zip(grid.coords, grid.shape, strict=True))
        sizes |= {f"{c}_in_window": cells for c, cells in sizes.items()}
        sizes |= {"sample": len(problem.y), "wall": 2 * len(grid.shape)}
        data: dict[str, Any] = {
            name: (("time", *dims), np.empty((0, *(sizes[d] for d in dims))), meaning(name))
            for name, dims in self.dimensions().items()
        }
        for name in self.dims_of_densities().keys() & data.keys():
            dims, rho, told = data[name]
            data[name] = dims, rho.astype(DENSITIES[self.keep]), told
        for name in {"escaped_through", "window"} & data.keys():
            data[name][-1]["walls"] = ", ".join(self.walls())
        data |= {
            "x": (("sample", "input")[: problem.x.ndim], problem.x, meaning("x")),
            "y": (("sample",), problem.y, meaning("y")),
            "weight": (("sample",), problem.weights, meaning("weight")),
        }
        coords = {"time": data.pop("time")} | self.coordinates()
        return data | self.edges(), coords, self.provenance()

    def last(self, state: State) -> dict[str, Any]:
        """The last density, where not every one is kept."""
        if self.keep in DENSITIES:
            return {}
        told, dims = meaning("rho") | {"time": state.t}, self.dims_of_densities()
        return {
            name.replace("rho", "rho_last"): (dims[name], rho, told)
            for name, rho in self.densities(state).items()
        }

    def scalars(self, state: State) -> dict[str, Any]:
        """The numbers of one instant."""
        return {
            "time": state.t,
            "risk": state.field.risk,
            "energy": state.field.energy,
            "dissipation": state.flow.dissipation(state.rho, state.field),
            "mass": state.flow.mass(state.rho),
            "escaped": state.lost,
            "escaped_energy": state.carried,
            "escaped_through": np.array(list(state.escaped.values())).ravel(),
        }

    def marginals(self, state: State) -> dict[str, Any]:
        """Marginal densities (cell averages) of every coordinate."""
        masses = self.densities(state)["rho"] * self.flow.volumes
        every = range(masses.ndim)
        return {
            f"marginal_{c}": masses.sum(axis=tuple(j for j in every if j != k)) / axis.widths
            for k, (c, axis) in enumerate(self.flow.grid.axes.items())
        }

    def snapshot(self, state: State) -> xr.Dataset:
        """One instant as an observer sees it."""
        scalars = self.scalars(state) | {"window": box_of(state.flow.grid).ravel()}
        return self.seen(self.densities(state), state.field.prediction, scalars)

    def restored(self, last: xr.Dataset, densities: Mapping[str, Array]) -> xr.Dataset:
        """The same from a run: its last snapshot, whose densities are given."""
        scalars: dict[str, Any] = {name: float(last[name]) for name in ("time", *SCALARS)}
        scalars |= {"window": last["window"].values} if self.method.window else {}
        return self.seen(densities, last.prediction.values, scalars)

    def seen(
        self, densities: Mapping[str, Array], prediction: Array, scalars: Mapping[str, Any]
    ) -> xr.Dataset:
        """One instant, from its numbers."""
        dims = self.dims_of_densities()
        shown: dict[str, Any] = {name: (dims[name], rho) for name, rho in densities.items()}
        shown |= {"prediction": ("sample", prediction)}
        if self.method.window:
            shown["window"] = ("wall", scalars["window"], {"walls": ", ".join(self.walls())})
        numbers = {k: v for k, v in scalars.items() if np.ndim(v) == 0}
        data = shown | numbers | self.edges()
        return xr.Dataset(data, coords=self.coordinates(), attrs=self.provenance())

    def walls(self) -> list[str]:
        """Names of the walls, in the order of ``escaped_through``."""
        return [f"{c} {end}" for c in self.flow.grid.coords for end in ("low", "high")]

    def edges(self) -> dict[str, Any]:
        """Cell edges of every axis."""
        return {
            f"{c}_edges": ((f"{c}_edge",), axis.edges) for c, axis in self.flow.grid.axes.items()
        }

    def coordinates(self) -> dict[str, Any]:
        """Cell centres with the geometry, box and walls of each axis."""
        problem, walls = self.flow.problem, self.flow.walls
        return {
            name: (
                (name,),
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

    def order(self) -> float:
        """The method's order in space, for this problem."""
        rests = self.flow.entropy == 0 and self.method.order_at_zero is not None
        return float(self.method.order_at_zero if rests else self.method.order)  # type: ignore

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
            "domain": ", ".join(f"{c}: {g!r}" for c, g in self.flow.problem.domain.items()),
            "grid": repr(self.flow.grid),
            "method": self.method.call,
            "order": self.order(),
            "order_in_time": self.method.order_in_time or self.order(),
            "quadrature": self.flow.quadrature,
            "energy_promise": self.method.promise,
            "entropy": self.flow.problem.entropy,
            "escaped_tolerance": self.escaped_tolerance,
            "initial_mass_outside": self.flow.outside,
        }


def meaning(name: str) -> dict[str, Any]:
    """What a variable is, as the attribute that labels its plots; those watched keep their name."""
    marginal = name.startswith("marginal_")
    other = f"density of {name.removeprefix('marginal_')}" if marginal else name
    return {"long_name": MEANING.get(name, other)}


class Pages:
    """A run kept in memory, as :class:`~mfpde.loop.store.Book` keeps it on disk."""

    state: Any = None  # nothing to go on from
    count, finished = 0, False

    def __init__(self, template: Parts) -> None:
        self.template = template
        self.rows: list[Row] = []
        self.attrs: Mapping[str, Any] = {}
        self.last: Mapping[str, Any] = {}

    def append(self, row: Row, state: object) -> None:
        """Keep a snapshot."""
        self.rows.append(row)

    def pause(self, state: object) -> None:
        """Nothing: what is in memory ends with the process."""

    def finish(self, attrs: Mapping[str, Any], last: Mapping[str, Any]) -> None:
        """Add attributes and variables that are known at the end only."""
        self.attrs, self.last = attrs, last

    def stopped(self, row: Row, attrs: Mapping[str, Any], last: Mapping[str, Any]) -> xr.Dataset:
        """The run up to a last good state, whose row is given."""
        if not self.rows or self.rows[-1]["time"] < row["time"]:
            self.rows.append(row)
        self.finish(attrs, last)
        return self.run()

    def run(self) -> xr.Dataset:
        """The rows as a Dataset."""
        data, coords, attrs = self.template
        kept = self.filled({**data, **coords})  # named like their dimensions, coords are known
        return xr.Dataset({**kept, **self.last}, attrs={**attrs, **self.attrs})

    def filled(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Variables of the template, those over time with what was kept."""
        whole = dict(variables)
        for name, (dims, empty, *attrs) in variables.items():
            if "time" in dims:
                values = np.array([row[name] for row in self.rows], dtype=empty.dtype)
                whole[name] = (dims, values.reshape(len(self.rows), *empty.shape[1:]), *attrs)
        return whole


def observed(name: str, value: object) -> float:
    """What an observer returned: a number, which may be nan."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        given = f"the observer {name} returned {shown(value)}"
        raise InvalidInput(given, "what it returns is kept over time", "one number") from error


def checked_watch(watch: Sequence[Watch], coords: Sequence[str]) -> dict[str, Watch]:
    """The observers by name: functions, none named like another or like a part of the run."""
    taken = RECORDED | set(coords) | {f"{c}_edges" for c in coords}
    taken |= {f"marginal_{c}" for c in coords} | {f"{c}_in_window" for c in coords}
    named: dict[str, Watch] = {}
    if not isinstance(watch, list | tuple):
        raise InvalidInput(f"watch = {shown(watch)}", "it holds functions", "watch=[observer]")
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
