"""Runs that differ by their random numbers alone."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, Literal

import xarray as xr
from numpy.typing import ArrayLike

from particle_ref.arguments import whole
from particle_ref.cloud import sample
from particle_ref.errors import InvalidInput
from particle_ref.methods.method import Method
from particle_ref.problem import Problem
from particle_ref.runner import run

KEPT = ("flow", "prediction")
MOST_WORKERS = 1024
ROUNDS = 4  # chunks a worker gets, so that none waits long for another


def replicas(
    problem: Problem,
    size: int,
    method: Method,
    times: ArrayLike,
    seeds: Iterable[int],
    kind: Literal["iid", "sobol"] = "iid",
    workers: int = 1,
    keep: Literal["flow", "prediction"] = "flow",
) -> list[xr.Dataset]:
    """One run for every seed, each from its own cloud and with noise of its own.

    The replica of seed s starts from ``sample(problem, size, s, kind)``; a noisy method of seed q
    draws from stream (q, s), so that every replica is known by its seed alone: neither their
    order nor their number nor ``workers`` changes any of them. A cloud of more particles and the
    same seed begins with the same particles.

    Args:
        problem: as for ``run``; with ``workers`` it must survive pickling.
        size: particles of each cloud.
        method: as for ``run``; its ``seed``, where it has one, is a study's.
        times: as for ``run``.
        seeds: different whole numbers ≥ 0, one for each replica.
        kind: how clouds are drawn, see ``sample``.
        workers: processes; more than 1 only from within ``if __name__ == "__main__"``.
        keep: ``"flow"`` all that ``run`` returns; ``"prediction"`` all but the particles, whose
            dimension is then 0, so that thousands of replicas fit in memory.

    Returns:
        The runs in the order of the seeds, as ``mf.compare(density, flows)`` takes them; without
        particles for ``only=("prediction_gap", "risk_gap")`` alone.

    Raises:
        InvalidInput: for seeds that repeat or are none, another ``keep``, ``workers`` < 1, and
            what ``sample`` and ``run`` refuse.
        NumericalStop: when a number of some run is no longer finite.
    """
    given = _distinct(seeds)
    if keep not in KEPT:
        raise InvalidInput(f"keep = {keep!r}", f"replicas keep one of {KEPT}")
    if not whole(workers, 1, MOST_WORKERS):
        raise InvalidInput(f"workers = {workers!r}", f"1 to {MOST_WORKERS} processes")
    replica = _Replica(problem, size, method, times, kind, keep)
    if workers == 1:
        return [replica(seed) for seed in given]
    chunk = -(-len(given) // (ROUNDS * int(workers)))
    with ProcessPoolExecutor(int(workers), get_context("spawn")) as pool:
        return list(pool.map(replica, given, chunksize=chunk))


@dataclass(frozen=True)
class _Replica:
    """A run but for its seed."""

    problem: Problem
    size: int
    method: Any
    times: ArrayLike
    kind: Literal["iid", "sobol"]
    keep: str

    def __call__(self, seed: int) -> xr.Dataset:
        cloud, method = sample(self.problem, self.size, seed, self.kind), self.method
        if hasattr(method, "seed"):
            study = method.seed if isinstance(method.seed, tuple) else (method.seed,)
            method = replace(method, seed=(*study, seed))
        flow = run(self.problem, cloud, method, self.times)
        flow.attrs["seed"] = seed
        return flow if self.keep == "flow" else _without_particles(flow)


def _without_particles(flow: xr.Dataset) -> xr.Dataset:
    """The flow with none of its particles; copied, since a view would hold on to all of them."""
    return flow.isel(particle=slice(0)).copy(deep=True)


def _distinct(seeds: Iterable[int]) -> list[int]:
    given = list(seeds) if isinstance(seeds, Iterable) else []
    if not given or not all(whole(seed, 0, 2**63) for seed in given):
        raise InvalidInput(
            f"seeds = {reprlib.repr(seeds)}",
            "every replica has its own seed, a whole number ≥ 0",
            "range(100)",
        )
    if len(set(given)) < len(given):
        raise InvalidInput(
            f"seeds = {reprlib.repr(given)}", "some repeat, and with them their replicas"
        )
    return [int(seed) for seed in given]
