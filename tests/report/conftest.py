"""A small density run with particles beside it, and what was gathered of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

import mfpde as mf
import particle_ref as pr
from mfpde.measures import as_measure
from mfpde.report.findings import Samples, gathered, standardised, without_dust

TIMES = np.linspace(0, 0.8, 5)


class World(NamedTuple):
    samples: Samples
    problem: mf.Problem
    run: xr.Dataset
    flows: Mapping[int, Sequence[xr.Dataset]]
    own: xr.Dataset
    gaps: xr.Dataset
    budget: mf.Budget


def explored(x: np.ndarray, names: Sequence[str], cells: int, penalty: mf.Penalty | None) -> World:
    y = np.sin(2 * x.reshape(len(x), -1)[:, 0]) * 3 + 7
    samples = standardised("waves", x, y, names, "height")
    problem = mf.two_layer(samples.x, samples.y, initial=mf.gaussian(0.1, 0.6), penalty=penalty)
    grid = mf.Grid(**{c: mf.uniform(-4.5, 4.5, cells) for c in problem.coords})
    run = mf.solve(problem, grid, times=TIMES, escaped_tolerance=1e-3, progress=False)
    method = pr.GradientFlow(rtol=1e-8)
    flows = {
        m: [pr.run(problem, pr.sample(problem, m, 10 * m + k), method, TIMES) for k in range(3)]
        for m in (20, 80)
    }
    own = pr.Cloud(*as_measure(without_dust(run).isel(time=0)))
    moved = pr.run(problem, own, method, TIMES)
    gaps = gathered(run, flows, moved)
    budget = mf.budget(run, flows, own=moved, problem=problem, tolerance=0.05)
    return World(samples, problem, run, flows, moved, gaps, budget)


@pytest.fixture(scope="session")
def world() -> World:
    """One input, no penalty: coordinates a, w."""
    return explored(np.linspace(-2, 2, 9) * 10 + 30, ["year"], 24, None)


@pytest.fixture(scope="session")
def penalised() -> World:
    """Two inputs, a ridge: coordinates a, w1, w2."""
    x = np.random.default_rng(2).normal(size=(8, 2))
    return explored(x, ["width", "cost $ <b>"], 12, mf.ridge(0.1))
