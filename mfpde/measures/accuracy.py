"""How wrong a density run is: against the truth where it is known, from a coarser run elsewhere."""

from __future__ import annotations

import itertools
import math
import re
from functools import reduce
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput
from mfpde.measures.measure import check_dataset, coordinates, in_window

Array = NDArray[np.float64]

SAME_TIME = 1e-12
"""Two times are one if they differ by no more than this times max(1, t)."""

STEPS_TOO = 1.8  # times the steps of the coarser run, at least
MOST_NODES = 50  # of Gauss rules per cell and axis
SAME_EDGE = 1e-12
"""Two edges are one if they differ by no more than this times the width of the box."""


class Solution(Protocol):
    """What is known of a flow: its density at any point and its prediction."""

    def density(self, points: Array, t: float) -> Array:
        """rho_t at points (N, D), shape (N,)."""

    def prediction(self, t: float) -> Array:
        """f at the samples, (n,)."""


def true_error(run: xr.Dataset, truth: Solution, nodes: int = 3) -> xr.Dataset:
    """The error of a density run at every time it holds.

    Cell averages are compared with cell averages of the true density, by Gauss quadrature; these
    are off by O(width^(2 nodes)), which ``nodes + 1`` shows.

    Parameters
    ----------
    run
        A density run that kept its densities.
    truth
        ``particle_ref.Truth(problem, horizon)``, or any object with ``density(points (N, D), t)``
        and ``prediction(t)``, on the run's coordinates in their order.
    nodes
        Gauss nodes per cell and axis.

    Returns
    -------
    Dataset over ``time`` of

    - ``l1``: the sum of |difference| * volume over the cells of the box: mass that is misplaced,
      from 0 to 2. Mass outside the box is not seen. Where the run has a window, here and below its
      own cells and box are meant.
    - ``linf``: the largest |difference|, in units of the density
    - ``prediction``: root of the mean squared error of the prediction, samples weighted as in the
      loss. Problems without samples have none.

    Raises
    ------
    InvalidInput
        If the Dataset holds no densities over time, or ``nodes`` is less than 1.
    """
    answers = all(callable(getattr(truth, name, None)) for name in ("density", "prediction"))
    if isinstance(truth, type) or not answers:
        raise InvalidInput(
            f"{type(truth).__name__} is no truth",
            "true_error takes a run, then an object with density(points, t) and prediction(t)",
            "mf.true_error(run, pr.Truth(problem, horizon=…))",
        )
    _check_run(run)
    if not (1 <= number(nodes) <= MOST_NODES and nodes == int(nodes)):
        raise InvalidInput(f"nodes = {shown(nodes)}", f"a whole number from 1 to {MOST_NODES}")
    rows = []
    for k, t in enumerate(run["time"].values):
        moment = in_window(run.isel(time=k))
        difference = moment["rho"].values - cell_averages(truth, _edges(moment), float(t), nodes)
        row = _norms(difference, _volumes(moment))
        if run.sizes["sample"]:
            gap = moment["prediction"].values - _answered(
                "prediction", truth.prediction(float(t)), (run.sizes["sample"],)
            )
            row["prediction"] = _root_mean_square(gap, run)
        rows.append(row)
    return _dataset(rows, run["time"].values, {"run": str(run.attrs.get("method")), "nodes": nodes})


def estimated_error(run: xr.Dataset, coarser: xr.Dataset) -> xr.Dataset:
    """The error of a density run as a coarser run shows it (Richardson), where no truth is known.

    For errors C h^p the coarser run, on cells twice as wide, is wrong by 2^p times as much, so that
    (run - coarser) / (2^p - 1) is minus the error of ``run``, to leading order. p is the run's
    order in space, or its order in time if that is lower. Averages are compared on the coarser
    cells; of runs with windows too on those of the grids, which must then resolve the density.

    Where a method's order in time is the lower and the coarser run's error is mostly the grid's,
    that p overstates the error, by a factor of several: repeat on the next pair of grids.

    This holds where both grids resolve the density and time steps shrink with the cells: flux
    methods see to it, ``semi_lagrangian`` needs half the ``dt`` on half the cells. It is an
    estimate, no bound: limiters spoil it at peaks, in ``linf`` first.

    Parameters
    ----------
    run, coarser
        Runs of one problem by one method on uniform grids of one box, the coarser with half the
        cells along every axis.

    Returns
    -------
    Dataset over the times that both hold, with the variables of :func:`true_error`.

    Raises
    ------
    InvalidInput
        If the runs are not such a pair, or share no time.

    References
    ----------
    Roache, Verification and Validation in Computational Science and Engineering (1998), chapter 5.
    """
    _check_pair(run, coarser)
    p = _order_of_pair(run, coarser)
    volumes = _volumes(coarser)
    pairs = _shared_times(run, coarser)
    rows = []
    for k, j in pairs:
        fine, coarse = run.isel(time=k), coarser.isel(time=j)
        row = _norms(_merged(fine["rho"].values) - coarse["rho"].values, volumes)
        if run.sizes["sample"]:
            gap = fine["prediction"].values - coarse["prediction"].values
            row["prediction"] = _root_mean_square(gap, run)
        rows.append({name: value / (2**p - 1) for name, value in row.items()})
    times = run["time"].values[[k for k, _ in pairs]]
    return _dataset(rows, times, {"run": str(run.attrs.get("method")), "order": p})


def cell_averages(truth: Solution, edges: list[Array], t: float, nodes: int) -> Array:
    """Averages of the true density over all cells, by ``nodes`` Gauss nodes per cell and axis."""
    unit, weight = np.polynomial.legendre.leggauss(nodes)
    columns = [0.5 * (e[1:] + e[:-1]) + 0.5 * np.diff(e) * unit[:, None] for e in edges]
    shape = tuple(len(e) - 1 for e in edges)
    averages = np.zeros(shape)
    for node in itertools.product(range(nodes), repeat=len(edges)):
        axes = [column[q] for column, q in zip(columns, node, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(edges))
        share = math.prod(weight[q] / 2 for q in node)
        density = _answered("density", truth.density(points, t), (len(points),))
        averages += share * density.reshape(shape)
    return averages


def _answered(what: str, values: Array, shape: tuple[int, ...]) -> Array:
    """What the truth says, of the shape it was asked for."""
    if np.shape(values) != shape or not np.isfinite(values).all():
        raise InvalidInput(
            f"the truth's {what} has shape {np.shape(values)}, or values that are not finite",
            f"it is asked for finite numbers of shape {shape}",
            "particle_ref.Truth of the same problem, or an object that answers likewise",
        )
    return np.asarray(values, dtype=float)


# What a run is made of ----------------------------------------------------------------------------


def _edges(run: xr.Dataset) -> list[Array]:
    return [run[f"{name}_edges"].values for name in coordinates(run)]


def _volumes(run: xr.Dataset) -> Array:
    return reduce(np.multiply.outer, [np.diff(edges) for edges in _edges(run)])


def _check_run(run: xr.Dataset) -> None:
    check_dataset(run)
    if "rho" not in run or "time" not in run.dims:
        raise InvalidInput(
            "this Dataset holds no densities over time",
            "it is a particle flow, one moment of a run, or a run that kept less",
            'a run of mf.solve(…, keep="density"); one moment as run.isel(time=[0])',
        )
    edges = [f"{name}_edges" for name in coordinates(run)]
    check_dataset(run, [*edges, "time", "prediction", "x", "y", "weight"])


def _check_pair(run: xr.Dataset, coarser: xr.Dataset) -> None:
    for one in (run, coarser):
        _check_run(one)
    names, others = coordinates(run), coordinates(coarser)
    if names != others or not all(
        _halved(fine, coarse) for fine, coarse in zip(_edges(run), _edges(coarser), strict=True)
    ):
        raise InvalidInput(
            f"cells {dict(run['rho'].sizes)} and {dict(coarser['rho'].sizes)} are not embedded",
            "errors are told apart where every cell of the coarser run is made of two equal cells "
            "along each axis",
            "solve again on the same uniform axes with half the cells",
        )
    for name in ("x", "y", "weight"):
        if not np.array_equal(run[name].values, coarser[name].values):
            raise InvalidInput(f"the runs have different `{name}`", "they solve different problems")
    if _method_but_dt(run) != _method_but_dt(coarser) or "order" not in run.attrs:
        raise InvalidInput(
            f"the methods are {run.attrs.get('method')} and {coarser.attrs.get('method')}",
            "the estimate takes both errors to be C h^p with one C and the method's order p",
            "two runs of one method that states its order",
        )


def _method_but_dt(run: xr.Dataset) -> str:
    return re.sub(r"\bdt=[^,)]*", "dt", str(run.attrs.get("method")))


def _order_of_pair(run: xr.Dataset, coarser: xr.Dataset) -> float:
    space = float(run.attrs["order"])
    time = float(run.attrs.get("order_in_time", space))
    steps, fewer = (int(one.attrs.get("steps", 0)) for one in (run, coarser))
    if time < space and steps < STEPS_TOO * fewer:
        raise InvalidInput(
            f"the runs took {steps} and {fewer} steps",
            "an error in time that is the same in both does not show in their difference",
            "the same method with a fixed step, dt=h on the finer grid and dt=2*h on the coarser",
        )
    return min(space, time)


def _halved(fine: Array, coarse: Array) -> bool:
    """Whether the cells of one axis are uniform and each coarse one is made of two fine ones."""
    if len(fine) != 2 * len(coarse) - 1:
        return False
    uniform = np.linspace(coarse[0], coarse[-1], len(fine))
    slack = SAME_EDGE * (coarse[-1] - coarse[0])
    return bool(
        np.allclose(fine, uniform, rtol=0, atol=slack)
        and np.allclose(coarse, uniform[::2], rtol=0, atol=slack)
    )


def _shared_times(run: xr.Dataset, coarser: xr.Dataset) -> list[tuple[int, int]]:
    """Where both runs hold the same time."""
    times, others = run["time"].values, coarser["time"].values
    apart = np.abs(np.subtract.outer(times, others))
    same = apart <= SAME_TIME * np.maximum(1, np.abs(times))[:, None]
    if not same.any():
        raise InvalidInput(
            "the runs share no time", f"one holds {times}, the other {others}", "the same `times`"
        )
    return [(int(k), int(j)) for k, j in np.argwhere(same)]


# What is measured ---------------------------------------------------------------------------------


def _norms(difference: Array, volumes: Array) -> dict[str, float]:
    size = np.abs(difference)
    return {"l1": float(np.sum(size * volumes)), "linf": float(size.max())}


def _root_mean_square(gap: Array, run: xr.Dataset) -> float:
    return math.sqrt(gap**2 @ run["weight"].values)


def _merged(rho: Array) -> Array:
    """Averages over pairs of neighbouring cells, along every axis."""
    for axis in range(rho.ndim):
        even = [slice(None)] * rho.ndim
        odd = [slice(None)] * rho.ndim
        even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
        rho = 0.5 * (rho[tuple(even)] + rho[tuple(odd)])
    return rho


def _dataset(rows: list[dict[str, float]], times: Array, attrs: dict[str, object]) -> xr.Dataset:
    long_names = {
        "l1": "L1 error of the cell averages",
        "linf": "largest error of a cell average",
        "prediction": "root mean squared error of the prediction",
    }
    return xr.Dataset(
        {
            name: ("time", np.array([row[name] for row in rows]), {"long_name": long_names[name]})
            for name in rows[0]
        },
        coords={"time": times},
        attrs=attrs,
    )
