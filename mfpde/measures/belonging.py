"""Is a run one of a problem? What both tell is compared before numbers are made of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from mfpde.arguments import shown
from mfpde.errors import InvalidInput
from mfpde.measures.measure import check_dataset, coordinates
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Problem

Posed = Problem | KernelProblem


def check_solved(problem: Posed, run: xr.Dataset) -> None:
    """Raise InvalidInput unless the run can be one of the problem.

    Coordinates, names, entropy, samples and risks are compared; functions of a user's own that bear
    the same name are not told apart.
    """
    if not isinstance(problem, Problem | KernelProblem):
        raise InvalidInput(f"problem = {shown(problem)} is not a problem", fix="mf.two_layer(x, y)")
    check_dataset(run, ("prediction", "risk"))
    for differs in differences(problem, run):
        raise InvalidInput("the run is not one of this problem", differs, "a run of this problem")


def differences(problem: Posed, run: xr.Dataset) -> Iterator[str]:
    """What tells them apart, in words."""
    if coordinates(run) != problem.coords:
        yield f"it has coordinates {coordinates(run)}, and the problem {problem.coords}"
    told = {"problem": repr(problem), "penalty": repr(problem.penalty), "entropy": problem.entropy}
    for name, own in told.items():
        if run.attrs.get(name, own) != own:
            yield f"its {name} is {run.attrs[name]}, and here {own}"
    if run.sizes["sample"] != len(problem.y):
        yield f"it has {run.sizes['sample']} samples, and the problem {len(problem.y)}"
    weights = "sample_weight" if "sample_weight" in run else "weight"  # of particles in a flow
    for stored, name in {"x": "x", "y": "y", weights: "weights"}.items():
        of_samples = stored in run and "sample" in run[stored].dims
        if of_samples and not np.array_equal(run[stored].values, getattr(problem, name)):
            yield f"it has other {name}"
    if isinstance(problem, Problem):
        risks = [problem.loss.risk(f) for f in np.atleast_2d(run["prediction"].values)]
        if not np.allclose(risks, np.atleast_1d(run["risk"].values), rtol=1e-9, atol=1e-12):
            yield "its predictions have another risk by the problem's loss and targets"
