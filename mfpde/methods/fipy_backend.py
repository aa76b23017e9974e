"""FiPy as a second witness: its meshes, terms and solver under our flow and our loop.

Per step V stands still and FiPy solves, with backward Euler and a direct factorisation,

    TransientTerm() == <scheme>ConvectionTerm(coeff=V.faceGrad) + DiffusionTerm(coeff=λ)

(Guyer, Wheeler & Warren, Comput. Sci. Eng. 11 (2009); the weights are Patankar's, 1980). Only V at
the cell centres, the length of steps and what leaves through open walls are ours. What FiPy does
without a word where it is asked otherwise, docs/FIPY.md lists.

A frozen V and backward Euler lower ∫V dρ + λ∫ρ log ρ whatever dt where the weights are exponential;
then the energy falls while dt ≤ 2/λ_max of the tangent kernel after the step, and the loop sees to
it. Weights that do not leave Gibbs states at rest promise no more than their order.
"""

from __future__ import annotations

import logging
import math
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np

from mfpde.arguments import number, shown
from mfpde.errors import InvalidInput, NotAvailable
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.methods.exchange import Exchange
from mfpde.methods.faces import faces_of
from mfpde.methods.flux import explicit_limit
from mfpde.methods.step import Held, Method, Promise, Step
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

# FiPy's name, order in space, fraction of the emptying time, and promise
SCHEMES: dict[str, tuple[str, float, float, Promise]] = {
    "upwind": ("Upwind", 1.0, 0.9, "order"),
    "exponential": ("Exponential", 2.0, 0.9, "monotone"),
    "powerlaw": ("PowerLaw", 2.0, 0.9, "order"),
    "vanleer": (
        "VanLeer",
        2.0,
        0.3,
        "order",
    ),  # explicit: face values are below three of the cell's
}
WEIGHTED = ("exponential", "powerlaw")  # by |∇V|·distance/λ
SIDES = {"x": "LeftRight", "y": "TopBottom", "z": "FrontBack"}  # of FiPy's axes
SOLVES = 2  # the second refines the first
ROUND_OFF = 1e-14  # of the largest density: what a factorisation leaves below zero


def fipy(scheme: str = "upwind", dt: float | None = None) -> Method:
    """FiPy's finite volumes: slow, and independent of every scheme of this package.

    Args:
        scheme: "upwind"; "exponential" (Scharfetter & Gummel) or "powerlaw" (Patankar's fit of
            it), both for λ > 0; "vanleer", explicit and limited, on uniform axes.
        dt: the step; None takes 0.9 (vanleer: 0.3) of the time in which the fastest cell would
            empty by drift and diffusion, where the error of order 1 in time stays beside that in
            space, and at most 1/stiffness.

    Raises:
        InvalidInput: for an unknown scheme or a ``dt`` that is not positive and finite; when the
            run begins, for exponential or powerlaw at λ = 0, and for vanleer on stretched axes.
        NotAvailable: when the run begins, for four coordinates.
    """
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise InvalidInput(f"fipy(scheme={shown(scheme)})", fix=f"one of {sorted(SCHEMES)}")
    if dt is not None and not 0 < number(dt) < np.inf:
        raise InvalidInput(f"fipy(dt={shown(dt)})", "a step is positive and finite", "dt=0.01")
    _, order, cfl, promise = SCHEMES[scheme]
    automatic = f"dt ≤ min({cfl:g}/emptying rate, 1/stiffness)"
    return Method(
        name="fipy",
        order=order,
        parameters={"scheme": scheme, "dt": dt},
        limit=automatic if dt is None else f"dt = {dt:g}",
        promise=promise,
        begin=lambda flow: Witness(flow, scheme, dt),
        order_in_time=1.0,
        diffuses=True,
        holding=held,
    )


def held(problem: Problem | KernelProblem, shape: tuple[int, ...]) -> Held:
    """Measured: some 210 fields in two dimensions, 350 in three."""
    cells, D = math.prod(shape), len(shape)
    return Held((68.0 * D - 36) * cells, (80.0 * D - 58) * cells)


class Witness:
    """fipy bound to a flow: one equation for the whole run, whose λ never changes."""

    def __init__(self, flow: WassersteinFlow, scheme: str, dt: float | None) -> None:
        check_within_reach(flow, scheme)
        term, _, self.cfl, _ = SCHEMES[scheme]
        self.flow, self.dt, self.faces = flow, dt, faces_of(flow)
        library = loaded()
        mesh = mesh_of(library, flow)
        self.rho = library.CellVariable(mesh=mesh, hasOld=True)
        self.V = library.CellVariable(mesh=mesh)
        self.emptied = library.CellVariable(mesh=mesh)  # rate at which walls take mass, 1/time
        right = getattr(library, f"{term}ConvectionTerm")(coeff=self.V.faceGrad)
        if flow.entropy > 0:
            right = right + library.DiffusionTerm(coeff=flow.entropy)
        left = library.TransientTerm()
        if "open" in flow.walls.values():
            left = left + library.ImplicitSourceTerm(coeff=self.emptied)
        self.equation = left == right
        # FiPy's own tolerance leaves rho alone where a step changes it by less than 1e-5
        self.solver = library.solvers.LinearLUSolver(tolerance=0.0, iterations=SOLVES)

    def longest(self, rho: Array, field: Field) -> float:
        if self.dt is not None:
            return self.dt
        rates = Exchange(self.faces, field.potential, self.flow.entropy)
        return explicit_limit(self.cfl, rates.emptying(), field.stiffness)

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        through = outflow(self.flow, field.potential)
        self.rho.setValue(rho.ravel())
        self.rho.updateOld()
        self.V.setValue(field.potential.ravel())
        self.emptied.setValue(sum(through.values(), np.zeros((2, *rho.shape))).sum(axis=0).ravel())
        self.equation.solve(var=self.rho, dt=dt, solver=self.solver)
        after = without_round_off(self.rho.value.reshape(rho.shape))
        escaped = dict.fromkeys(self.flow.grid.coords, (0.0, 0.0))
        carried = 0.0
        for name, rates in through.items():
            low, high = leaving = dt * rates * after * self.flow.volumes
            escaped[name] = (float(low.sum()), float(high.sum()))
            carried += float(np.vdot(leaving.sum(axis=0), field.potential))
        return Step(after, escaped, carried)


def without_round_off(rho: Array) -> Array:
    """ρ with 0 in place of round-off below zero; what lies deeper stays, for the loop to refuse."""
    return np.where((rho < 0) & (rho > -ROUND_OFF * rho.max()), 0.0, rho)


def outflow(flow: WassersteinFlow, potential: Array) -> dict[str, Array]:
    """Rates at which cells empty through the lower and upper open wall, (2, *shape) by coordinate.

    With the velocity of the next face inside, as in mfpde/kernels/transport.py; 0 inside the box.
    """
    result = {}
    for k, (name, axis) in enumerate(flow.grid.axes.items()):
        if flow.walls[name] == "open":
            drops = np.moveaxis(flow.drops(potential, k, name), k, 0)
            rates = np.zeros((2, *potential.shape))
            lower, upper = np.moveaxis(rates, k + 1, 1)
            lower[0] = np.maximum(-drops[0], 0.0) / (axis.distances[0] * axis.widths[0])
            upper[-1] = np.maximum(drops[-1], 0.0) / (axis.distances[-1] * axis.widths[-1])
            result[name] = rates
    return result


def check_within_reach(flow: WassersteinFlow, scheme: str) -> None:
    """Raise where FiPy has no such mesh, or the scheme would be another one."""
    if len(flow.grid.axes) > len(SIDES):
        raise NotAvailable(
            f"FiPy on the {len(flow.grid.axes)} coordinates {list(flow.grid.coords)}",
            "its meshes have one to three dimensions",
            "mf.scharfetter_gummel(), mf.muscl() or mf.upwind()",
        )
    if scheme in WEIGHTED and flow.entropy == 0:
        raise InvalidInput(
            f"fipy(scheme={scheme!r}) with entropy = 0",
            "its weights are functions of |∇V|·distance/λ; as λ → 0 they are those of upwind",
            'mf.fipy("upwind")',
        )
    stretched = [name for name, axis in flow.grid.axes.items() if not axis.is_uniform]
    if scheme == "vanleer" and stretched:
        raise InvalidInput(
            f"fipy(scheme={scheme!r}) on the stretched axes {stretched}",
            "it limits slopes as on equal cells: beside narrower ones face values fall below zero",
            f'mf.muscl("vanleer"), or {stretched[0]}=mf.uniform(…)',
        )


def loaded() -> ModuleType:
    """FiPy with SciPy's solvers.

    When first imported it takes its solvers from sys.argv, asks the system for every installed
    package if its logger is at DEBUG, and imports the deprecated numpy.core.
    """
    argv, log = sys.argv, logging.getLogger("fipy")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)
    sys.argv = [*argv[:1], "--scipy"]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "numpy.core is deprecated", DeprecationWarning)
            import fipy as library
    finally:
        sys.argv = argv
    return library


def mesh_of(library: ModuleType, flow: WassersteinFlow) -> Any:
    """The same cells in the same order: FiPy's x runs fastest, so it is our last axis."""
    axes = dict(zip(SIDES, reversed(flow.grid.axes.values()), strict=False))
    spacing = {f"d{c}": a.widths[0] if a.is_uniform else a.widths for c, a in axes.items()}
    counts = {f"n{c}": a.cells for c, a in axes.items()}
    seams = [SIDES[c] for c, a in axes.items() if a.is_periodic]
    kind = f"Periodic{{}}{''.join(seams) if len(seams) < len(axes) else ''}" if seams else "{}"
    return getattr(library, kind.format(f"Grid{len(axes)}D"))(**spacing, **counts)
