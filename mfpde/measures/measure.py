"""A stored moment of a run as what it is: finitely many weighted points.

Densities and particles meet here. A grid's cell averages become masses at the cell centres, which
is how the run itself integrates (its attribute ``quadrature``), so the points reproduce the run's
prediction to round-off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput
from mfpde.flows.quadrature import CENTRES, QUADRATURES, point_values

Array = NDArray[np.float64]

ROUNDOFF = 1e-15
"""Cell averages down to minus this much of the largest one are empty cells, not negative ones."""


def as_measure(snapshot: xr.Dataset, prune: float = 0.0) -> tuple[Array, Array]:
    """The measure held at one time of a density run or a particle flow.

    A density run gives its cell centres in C order and the masses rho * volume of the cells, those
    of its window where it has one; a particle flow gives its particles. Points without mass are
    left out, and points lighter than ``prune`` too. With ``prune=0`` the weights sum to the mass of
    the run and ``weights @ Φ(points)`` is its prediction, to round-off (Φ = a·phi for lifted
    problems).

    Parameters
    ----------
    snapshot
        One time of a run or flow, ``run.isel(time=0)``.
    prune
        Least weight that is kept, in units of mass.

    Returns
    -------
    points (N, D), weights (N,)
        Positions in the order of ``coordinates(snapshot)``; weights above zero.

    Raises
    ------
    InvalidInput
        If the Dataset holds several times or no measure, if its weights are negative or not
        finite, if its quadrature is not known here, or if no point is left.
    """
    moment = in_window(snapshot)
    if not 0 <= number(prune) < math.inf:
        raise InvalidInput(
            f"prune = {shown(prune)}", "it is the least mass a point may have", "give a number >= 0"
        )
    masses = _cell_masses(moment) if "rho" in moment else _particle_weights(moment)
    _check_masses(masses)
    kept = np.nonzero((masses > 0) & (masses >= prune))
    if not kept[0].size:
        raise InvalidInput(
            f"no point of the measure is as heavy as prune = {prune:.3g}",
            f"its {masses.size} points weigh at most {masses.max():.3g}",
            "a smaller prune",
        )
    return _points(moment, kept), masses[kept]


def in_window(snapshot: xr.Dataset) -> xr.Dataset:
    """One time of a density run on the cells that its steps were made on.

    Of a run with a moving window, ``mf.semi_lagrangian(window=True)``, ``rho``, its coordinates and
    their ``<coord>_edges`` become those of the window; any other is left as it is. Whatever takes a
    snapshot takes this one too, and what is measured of a run is measured in its window anyway:
    what asks for a dimension ``time`` (``mf.true_error``, ``mf.compare``) takes the run itself.

    Raises
    ------
    InvalidInput
        If the Dataset holds several times.
    """
    check_dataset(snapshot)
    moment = _with_last_density(_single_time(snapshot))
    if "rho_in_window" not in moment:
        return moment
    names, rho = coordinates(moment), moment["rho_in_window"]
    rho = rho.transpose(*(f"{name}_in_window" for name in names))
    ends_of = _ends_of_windows(moment)
    moved = moment.drop_dims([*names, *rho.dims]).assign(rho=(names, rho.values, rho.attrs))
    for name in names:
        ends = ends_of[name]
        low, high = ends.tolist()
        edges, told = moment[f"{name}_edges"], moment[name].attrs | {"low": low, "high": high}
        if not np.array_equal(edges.values[[0, -1]], ends):
            edges = edges.copy(data=np.linspace(low, high, edges.size))
        centres = 0.5 * (edges.values[1:] + edges.values[:-1])
        moved = moved.assign_coords({name: (name, centres, told)}).assign({edges.name: edges})
    return moved


def _ends_of_windows(moment: xr.Dataset) -> dict[str, Array]:
    """Both ends by coordinate, in whatever order the run's dimensions are."""
    walls = moment["window"].attrs["walls"].split(", ")
    by_wall = dict(zip(walls, moment["window"].values, strict=True))
    names = [wall.removesuffix(" low") for wall in walls if wall.endswith(" low")]
    return {name: np.array([by_wall[f"{name} low"], by_wall[f"{name} high"]]) for name in names}


def drawn(snapshot: xr.Dataset, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """An iid cloud of the measure at one time: points (size, D) and equal weights of its mass.

    Of a density points are uniform within their cells.
    """
    moment = in_window(snapshot)
    points, weights = as_measure(moment)
    cloud = points[rng.choice(len(points), size, p=weights / weights.sum())]
    if "position" not in moment:
        for k, name in enumerate(coordinates(moment)):
            edges = moment[f"{name}_edges"].values
            cell = np.searchsorted(edges, cloud[:, k]) - 1
            cloud[:, k] = rng.uniform(edges[cell], edges[cell + 1])
    return cloud, np.full(size, weights.sum() / size)


def coordinates(run: xr.Dataset) -> tuple[str, ...]:
    """Names of the coordinates of a neuron, in the order in which the run holds them.

    Raises InvalidInput where the Dataset holds neither a density nor particles.
    """
    check_dataset(run)
    for density in ("rho", "rho_last"):
        if density in run:
            return tuple(str(dim) for dim in run[density].dims if dim != "time")
    if "position" in run:
        return tuple(str(name) for name in run["coord"].values)
    raise InvalidInput(
        "this Dataset holds no measure",
        "it has neither a density `rho` nor particles at `position`",
        'a density run stored with keep="density", or a particle flow',
    )


def check_dataset(run: object, needed: Iterable[str] = ()) -> None:
    """Raise InvalidInput unless ``run`` is a Dataset that holds the variables ``needed``."""
    if not isinstance(run, xr.Dataset):
        raise InvalidInput(
            f"{shown(run)} is not a run",
            f"it is a {type(run).__name__}",
            "the Dataset that mf.solve, mf.load or particle_ref.run returns",
        )
    missing = [name for name in needed if name not in run]
    if missing:
        raise InvalidInput(
            f"this Dataset has no {', '.join(missing)}",
            "a density run or a particle flow holds it; it was dropped, or never kept",
            "the Dataset as mf.solve, mf.load or particle_ref.run returned it",
        )


def _noted(attributes: Mapping[Any, Any], name: str) -> Any:
    """What a run notes of itself."""
    if name not in attributes:
        raise InvalidInput(
            f"this Dataset does not say its {name}",
            "its attributes were dropped, as arithmetic on a Dataset does",
            "the Dataset as mf.solve, mf.load or particle_ref.run returned it",
        )
    return attributes[name]


def periods(run: xr.Dataset) -> tuple[float, ...]:
    """Length of the circle on which each coordinate lives; ``inf`` for lines and their parts."""
    return tuple(_period(run, name) for name in coordinates(run))


def _period(run: xr.Dataset, name: str) -> float:
    of_density = name in run.coords
    if of_density:
        kind = _noted(run[name].attrs, "geometry")
    else:
        kind = _noted(run.attrs, f"geometry_{name}")
    if kind != "circle":
        return math.inf
    if of_density:
        return float(run[name].attrs["high"] - run[name].attrs["low"])
    return float(run.attrs[f"length_{name}"])


def _single_time(snapshot: xr.Dataset) -> xr.Dataset:
    times = snapshot.sizes.get("time")
    if times is None:
        return snapshot
    if times != 1:
        raise InvalidInput(
            f"this Dataset holds {times} times",
            "a measure is the state at one of them",
            "select one: run.isel(time=0), or run.sel(time=t)",
        )
    return snapshot.isel(time=0)


def _with_last_density(moment: xr.Dataset) -> xr.Dataset:
    """Runs that keep no more hold the density of their last time under a name of its own."""
    if "rho" in moment or "rho_last" not in moment:
        return moment
    last = moment["rho_last"]
    if "time" in moment.coords and float(moment["time"]) != float(last.attrs["time"]):
        return moment
    own = {"rho_in_window": moment["rho_last_in_window"]} if "window" in moment else {}
    return moment.assign({"rho": last} | own)


def _cell_masses(moment: xr.Dataset) -> Array:
    """Masses rho * volume of the cells, shaped as the grid, by the run's own quadrature."""
    order = moment.attrs.get("quadrature")
    if order not in QUADRATURES:
        raise InvalidInput(
            f"this run integrates by the quadrature {order!r}",
            "other masses would not reproduce its prediction",
            f"a run whose attribute quadrature is one of {QUADRATURES}",
        )
    names = coordinates(moment)
    check_dataset(moment, [part for name in names for part in (name, f"{name}_edges")])
    check_real(moment["rho"])
    widths = [np.diff(moment[f"{name}_edges"].values) for name in names]
    density = moment["rho"].transpose(*names).values.astype(np.float64)
    roundoff = (density < 0) & (density >= -ROUNDOFF * density.max(initial=0.0))
    density = np.where(roundoff, 0.0, density)
    if order > CENTRES and np.isfinite(density).all():
        walls = tuple(str(_noted(moment[name].attrs, "wall_low")) for name in names)
        density = point_values(density, walls, int(order))
    return density * reduce(np.multiply.outer, widths)


def _particle_weights(moment: xr.Dataset) -> Array:
    if "position" not in moment:
        coordinates(moment)  # refuses a Dataset without any measure
        raise InvalidInput(
            "this run did not keep its densities",
            'it was solved with keep other than "density"',
            'keep="density", or only=("prediction_gap", "risk_gap") in compare',
        )
    check_dataset(moment, ["weight"])
    for name in ("position", "weight"):
        check_real(moment[name])
    if not np.isfinite(moment["position"].values).all():
        raise InvalidInput(
            "particles lie at positions that are not finite", "", "a time before the run went wrong"
        )
    return moment["weight"].values.astype(np.float64)


def check_real(values: xr.DataArray) -> None:
    """Raise InvalidInput unless a run's variable holds real numbers."""
    if values.dtype.kind not in "iuf":
        raise InvalidInput(f"{values.name} holds {values.dtype}", "a run holds real numbers")


def _check_masses(masses: Array) -> None:
    wrong = np.flatnonzero(~(np.isfinite(masses) & (masses >= 0)))
    if wrong.size:
        raise InvalidInput(
            f"{wrong.size} of {masses.size} weights are negative or not finite, the first of "
            f"them {masses.flat[wrong[0]]:.3g}",
            "a measure has finite weights >= 0",
            "a time before the run went wrong",
        )


def _points(moment: xr.Dataset, kept: tuple[NDArray[np.intp], ...]) -> Array:
    if "rho" in moment:
        columns = [
            moment[name].values[index]
            for name, index in zip(coordinates(moment), kept, strict=True)
        ]
        return np.stack(columns, axis=1).astype(np.float64)
    return moment["position"].transpose("particle", "coord").values[kept].astype(np.float64)
