"""What FiPy 4.0.3 does without a word, each trap by itself, and what mf.fipy does instead.

The same list, for readers, is docs/FIPY.md. A release that mends one of them fails its test here:
then the guard in mfpde/methods/fipy_backend.py may go.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from exact.solutions import Array
from numpy.testing import assert_allclose

import mfpde as mf
from mfpde.kernels.exchange import bernoulli
from mfpde.methods.fipy_backend import loaded

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fipy() -> ModuleType:
    """FiPy, unaware of this process's arguments."""
    return loaded()


class Bowl:
    """N(0.3, 1/2) in V = x²/2 on [−3, 3], as a user of FiPy sets it up."""

    def __init__(self, fipy: ModuleType, cells: int) -> None:
        self.fipy, self.width = fipy, 6 / cells
        self.mesh = fipy.Grid1D(dx=self.width, nx=cells)
        self.x = self.mesh.cellCenters[0].value - 3
        self.start = np.exp(-((self.x - 0.3) ** 2))
        self.start /= self.start.sum() * self.width
        self.V = fipy.CellVariable(mesh=self.mesh, value=0.5 * self.x**2)

    def density(self) -> Any:
        """The start, as FiPy's variable."""
        return self.fipy.CellVariable(mesh=self.mesh, value=self.start, hasOld=True)

    def run(self, equation: Any, rho: Any, dt: float, steps: int) -> Array:
        """Cell averages after equal steps."""
        solver = self.fipy.solvers.LinearLUSolver(tolerance=0.0, iterations=2)
        for _ in range(steps):
            rho.updateOld()
            equation.solve(var=rho, dt=dt, solver=solver)
        return rho.value.copy()

    def mean(self, values: Array, rho: Array) -> float:
        """∫ values dρ."""
        return float(np.sum(values * rho) * self.width)


def in_a_bowl(entropy: float = 0.0) -> tuple[mf.Problem, mf.Grid]:
    """V = x²/2 and the same start in the package: the penalty alone, on an interval."""
    problem = mf.Problem(
        ("w",),
        lambda w: 0 * w,
        None,
        mf.square([0.0]),
        penalty=mf.ridge(1.0),
        entropy=entropy,
        initial=mf.gaussian(0.3, 0.5),
        domain={"w": mf.interval(-3, 3)},
    )
    return problem, mf.Grid(w=mf.uniform(-3, 3, 40))


def test_the_table_for_readers_names_every_trap():
    told = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "FIPY.md").read_text(encoding="utf-8")))
    here = {name for name in globals() if name.startswith("test_")}
    assert told == here - {"test_the_table_for_readers_names_every_trap"}


# -------------------------------------------------------------------------- signs and step lengths
def test_the_opposite_sign_sends_mass_uphill(fipy):
    """TransientTerm() + ConvectionTerm(V.faceGrad) == 0 looks right and climbs V; nothing is said.

    With mf.fipy the user gives an energy, never a velocity, and the loop watches it.
    """
    bowl = Bowl(fipy, 40)
    equation = fipy.TransientTerm() + fipy.UpwindConvectionTerm(coeff=bowl.V.faceGrad) == 0.0
    after = bowl.run(equation, bowl.density(), 0.1, 50)
    V = bowl.V.value
    assert bowl.mean(np.ones_like(V), after) == pytest.approx(1, abs=1e-12)
    assert after.min() >= 0
    assert bowl.mean(V, bowl.start) < 0.3
    assert bowl.mean(V, after) > 4.0
    run = mf.solve(*in_a_bowl(), mf.fipy(dt=0.05), [0, 5])
    assert run.energy[-1] < 0.2 * run.energy[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_vanleer_grows_past_all_bounds_in_silence(fipy, sign):
    """VanLeerConvectionTerm is explicit: with long steps ρ passes 1e20, of both signs, as numbers.

    Either sign of the equation. Here the density must stay at or above zero and mass + escaped at
    1: the loop halves the step, and stops where that does not help.
    """
    bowl = Bowl(fipy, 40)
    bowl.V.setValue(sign * 0.5 * bowl.x**2)
    equation = fipy.TransientTerm() == fipy.VanLeerConvectionTerm(coeff=bowl.V.faceGrad)
    after = bowl.run(equation, bowl.density(), 0.3, 60)
    assert np.isfinite(after).all()
    assert after.max() > 1e20
    assert after.min() < -1e20
    run = mf.solve(*in_a_bowl(), mf.fipy("vanleer", dt=0.3), [0, 3])
    assert run.attrs["steps_repeated"] > 0
    assert run.rho.min() >= 0
    assert run.mass[-1] == pytest.approx(1, abs=1e-12)


def test_vanleer_takes_mass_from_empty_cells_on_stretched_grids(fipy):
    """It limits slopes as on equal cells: beside a narrower cell a face value falls below zero.

    Then an empty cell is made to hand out mass, whatever dt. mf.fipy("vanleer") refuses such axes.
    """
    mesh = fipy.Grid1D(dx=np.array([4.0, 2.0, 1.0, 2.0, 4.0]))
    V = fipy.CellVariable(mesh=mesh, value=mesh.cellCenters[0].value)
    for dt in (1e-1, 1e-3):
        rho = fipy.CellVariable(mesh=mesh, value=[0.0, 0.0, 0.0, 1.0, 8.0], hasOld=True)
        equation = fipy.TransientTerm() == fipy.VanLeerConvectionTerm(coeff=V.faceGrad)
        equation.solve(var=rho, dt=dt, solver=fipy.solvers.LinearLUSolver(tolerance=0.0))
        # the face value ρ + ½s(width − dt) with s = −2(ρ − 0)/distance
        assert rho.value[2] == pytest.approx(dt * (1 - (2 - dt) / 1.5), rel=1e-12)
        assert rho.value[2] < 0


def test_the_direct_solver_leaves_small_changes_out(fipy):
    """LinearLUSolver checks its tolerance, 1e-5, before it solves: a short step changes nothing.

    A run near equilibrium stands still. mf.fipy asks for tolerance 0 and two solves.
    """
    bowl, dt = Bowl(fipy, 40), 1e-6
    equation = fipy.TransientTerm() == fipy.UpwindConvectionTerm(coeff=bowl.V.faceGrad)
    rho = bowl.density()
    for _ in range(50):
        rho.updateOld()
        equation.solve(var=rho, dt=dt, solver=fipy.solvers.LinearLUSolver())
    assert np.array_equal(rho.value, bowl.start)
    moved = bowl.run(equation, bowl.density(), dt, 50)
    assert np.abs(moved - bowl.start).max() > 2e-5
    problem, grid = in_a_bowl()
    run = mf.solve(problem, grid, mf.fipy(dt=dt), [0, 10 * dt])
    fall = float(run.energy[0] - run.energy[1])
    assert fall == pytest.approx(10 * dt * float(run.dissipation[0]), rel=0.3)


# ----------------------------------------------------------------------------------------- walls
def test_a_constrained_gradient_opens_walls_to_convection(fipy):
    """ρ.faceGrad.constrain(0) reads as no flux; a velocity that goes on to the wall then leaves.

    With the velocity 1 on all faces of a box of length 6, 82 % of the mass is gone by t = 5; with
    V.grad, a cell variable, nearly as much. With V.faceGrad, which FiPy takes as 0 at walls,
    nothing is lost; nor where no constraint is set: FiPy's no-flux, and what mf.fipy does.
    """
    bowl = Bowl(fipy, 20)
    bowl.V.setValue(bowl.x)
    velocities = {
        "faces": fipy.FaceVariable(mesh=bowl.mesh, value=np.ones((1, 21))),
        "cells": bowl.V.grad,
        "V.faceGrad": bowl.V.faceGrad,
    }
    masses = {}
    for constrained in (False, True):
        for name, velocity in velocities.items():
            rho = bowl.density()
            if constrained:
                rho.faceGrad.constrain(0.0, bowl.mesh.exteriorFaces)
            transport = fipy.ExponentialConvectionTerm(coeff=velocity)
            equation = fipy.TransientTerm() == transport + fipy.DiffusionTerm(coeff=0.1)
            after = bowl.run(equation, rho, 0.25, 20)
            masses[name, constrained] = float(after.sum() * bowl.width)
    for kept in (("faces", False), ("cells", False), ("V.faceGrad", False), ("V.faceGrad", True)):
        assert masses[kept] == pytest.approx(1, abs=1e-12)
    assert masses["faces", True] == pytest.approx(0.183, abs=0.002)
    assert masses["cells", True] < 0.3
    run = mf.solve(*in_a_bowl(0.1), mf.fipy("exponential", dt=0.05), [0, 5])
    assert run.mass[-1] == pytest.approx(1, abs=1e-12)


# --------------------------------------------------------------------------------------- weights
@pytest.mark.parametrize("scheme", ["Exponential", "PowerLaw"])
def test_weights_go_stale_when_lambda_changes(fipy, scheme):
    """The diffusion coefficient is read once, when the weights are first made.

    λ from 1 to 0.1 on 12 cells: the steady state is off by 18 % of its peak. A rebuilt equation is
    right; so is the old one after a change of V. mf.fipy makes one equation per run, whose λ stays.
    """
    bowl = Bowl(fipy, 12)
    term = getattr(fipy, f"{scheme}ConvectionTerm")

    def equation(entropy: Any) -> Any:
        right = term(coeff=bowl.V.faceGrad) + fipy.DiffusionTerm(coeff=entropy)
        return fipy.TransientTerm() == right

    entropy = fipy.Variable(1.0)
    old = equation(entropy)
    bowl.run(old, bowl.density(), 0.05, 1)
    entropy.setValue(0.1)
    stale, fresh = (bowl.run(e, bowl.density(), 0.5, 40) for e in (old, equation(0.1)))
    assert np.abs(stale - fresh).max() / fresh.max() == pytest.approx(0.18, abs=0.01)
    gibbs = np.exp(-bowl.V.value / 0.1)
    gibbs /= gibbs.sum() * bowl.width
    if scheme == "Exponential":
        assert_allclose(fresh, gibbs, rtol=0, atol=1e-4 * gibbs.max())

    moved = equation(0.1)
    bowl.run(moved, bowl.density(), 0.05, 1)
    bowl.V.setValue(0.3 * (bowl.x - 0.5) ** 2)
    once, again = (bowl.run(e, bowl.density(), 0.05, 10) for e in (moved, equation(0.1)))
    assert np.array_equal(once, again)


def test_lambda_is_that_of_the_run():
    """Two runs of one method at different λ, one after the other, end at their Gibbs states."""
    method = mf.fipy("exponential", dt=0.5)
    for entropy in (1.0, 0.1):
        problem, grid = in_a_bowl(entropy)
        last = mf.solve(problem, grid, method, [20.0]).rho.values[-1]
        gibbs = np.exp(-0.5 * grid.centres[0] ** 2 / entropy)
        gibbs /= gibbs.sum() * 6 / 40
        assert_allclose(last, gibbs, rtol=0, atol=2e-7 * gibbs.max())


def rates_of(fipy: ModuleType, scheme: str, s: float) -> tuple[float, float]:
    """What stands for B(s) and B(−s) between two cells at distance 1, with λ = 1 and ΔV = s."""
    mesh = fipy.Grid1D(dx=1.0, nx=2)
    rho = fipy.CellVariable(mesh=mesh, value=[1.0, 0.0])
    V = fipy.CellVariable(mesh=mesh, value=[0.0, s])
    transport = getattr(fipy, f"{scheme}ConvectionTerm")(coeff=V.faceGrad)
    equation = fipy.TransientTerm() == transport + fipy.DiffusionTerm(coeff=1.0)
    equation.cacheMatrix()
    equation.solve(var=rho, dt=1e3, solver=fipy.solvers.LinearLUSolver(tolerance=0.0, iterations=2))
    above = equation.matrix.numpyArray[:, 1]
    return -equation.matrix.numpyArray[1, 0], -above[0]


@pytest.mark.parametrize("s", [1e-5, 1e-4, 5e-4, 9.9e-4])
def test_small_drops_are_given_means(fipy, s):
    """|ΔV/λ| ≤ 1e-3 is clamped to 1e-3 and weighted ½: the rate B(s) is off by s²/12, below 8.4e-8.

    With it Gibbs states rest to (ΔV/λ)³/12 a face. mf.fipy keeps this and says so; our own
    Scharfetter–Gummel rates have no clamp.
    """
    up, down = rates_of(fipy, "Exponential", s)
    for rate, exact in ((up, bernoulli(s)), (down, bernoulli(-s))):
        assert 1 - rate / exact == pytest.approx(s**2 / 12, rel=1e-2, abs=1e-15)
    rest = np.log(up / down) + s  # of the Gibbs state's logarithm, over one face
    assert abs(rest) <= s**3 / 12 + 5e-16


@pytest.mark.parametrize("s", [1.01e-3, 0.1, 1.0, 30.0, 99.0, 101.5, 103.0, 800.0, 1e4])
@pytest.mark.parametrize("sign", [1, -1])
def test_large_drops_lose_only_the_way_up(fipy, s, sign):
    """Above 101 FiPy's formula is clamped, yet the larger rate stays exact to round-off.

    The smaller one, s·e^{−s}, drowns in the larger one's round-off from |ΔV/λ| ≈ 35 on, and may
    come out below zero: ρ may too, by 1e-16 of its peak. mf.fipy sets such cells to 0.
    """
    rates = rates_of(fipy, "Exponential", sign * s)
    exact = bernoulli(sign * s), bernoulli(-sign * s)
    assert_allclose(rates, exact, rtol=0, atol=3e-13 * max(exact))


def test_the_way_up_may_be_negative(fipy):
    """The instance behind the docstring above."""
    smaller = [
        min(rates_of(fipy, "Exponential", sign * s)) for s in (40, 45, 50) for sign in (1, -1)
    ]
    assert -1e-13 < min(smaller) < 0


def test_powerlaw_weights_miss_gibbs_states(fipy):
    """Patankar's fit of B is off by up to half a percent, so its steady state is not e^{−V/λ}."""
    off = [rates_of(fipy, "PowerLaw", s)[1] / bernoulli(-s) - 1 for s in (0.3, 1.0, 2.0, 5.0)]
    assert np.abs(off).max() == pytest.approx(6e-3, abs=1.5e-3)


# ---------------------------------------------------------------------------------------- import
def ran(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that runs ``code`` in the project's root."""
    return subprocess.run(
        [sys.executable, *arguments[:1], "-c", code, *arguments[1:]],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("flag", ["--cache-folder", "--pyamgx"])
def test_import_reads_the_users_arguments(flag):
    """A program's own flag ends it in FiPy's parser, or asks for solvers that are not there."""
    result = ran("import fipy", "-Wignore", flag)
    assert result.returncode != 0
    assert "no such option" in result.stderr or "Unable to load solver" in result.stderr


def test_import_of_numpy_core():
    """Still there in 4.0.3: an error wherever warnings are."""
    result = ran("import fipy", "-Werror::DeprecationWarning")
    assert result.returncode != 0
    assert "numpy.core is deprecated" in result.stderr


def test_our_import_survives_all_of_it():
    """The user's flags, FIPY_SOLVERS, strict warnings, and a root logger at DEBUG.

    At DEBUG FiPy asks conda and pip for every installed package when imported.
    """
    code = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from mfpde.methods.fipy_backend import loaded
before = sys.argv[:]
library = loaded()
assert sys.argv == before, sys.argv
assert library.solvers.solver_suite == "scipy"
assert not logging.getLogger("fipy.solvers").isEnabledFor(logging.INFO)
"""
    flags = ("--petsc", "--cache-folder", "--pyamgx")
    result = ran(code, "-Werror", *flags, FIPY_SOLVERS="petsc")
    assert result.returncode == 0, result.stderr
    assert "fipy" not in result.stderr
