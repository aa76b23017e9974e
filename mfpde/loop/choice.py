"""Which method steps a problem: the caller's, or the one that suits."""

from __future__ import annotations

from mfpde.errors import InvalidInput, NotAvailable
from mfpde.grids.grid import Grid
from mfpde.methods.muscl import muscl
from mfpde.methods.scharfetter_gummel import scharfetter_gummel
from mfpde.methods.semi_lagrangian import declared, obstacle, semi_lagrangian
from mfpde.methods.step import Method
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Problem


def check_steppable(problem: Problem | KernelProblem, method: Method) -> None:
    """Raise where the method does not step the problem's diffusion."""
    if problem.entropy > 0 and not method.diffuses:
        raise NotAvailable(
            f"entropy = {problem.entropy:g} with {method.call}",
            "it does not step the diffusion λΔρ",
            "mf.scharfetter_gummel(), which does, or mf.semi_lagrangian() under ridge",
        )


def chosen_for(problem: Problem | KernelProblem, grid: Grid, method: Method | None) -> Method:
    """The caller's method, or the one that suits the problem."""
    if not isinstance(problem, Problem | KernelProblem):
        raise InvalidInput(f"problem = {problem!r} is not a problem", fix="mf.two_layer(x, y)")
    if method is not None and not isinstance(method, Method):
        raise InvalidInput(
            f"method = {method!r} is not a method",
            "a method is what its constructor returns, called",
            "mf.semi_lagrangian(), mf.muscl() or mf.upwind()",
        )
    if method is not None:
        check_steppable(problem, method)
        return method
    if problem.entropy > 0:
        return scharfetter_gummel()
    suits = isinstance(problem, Problem) and declared(problem)
    return semi_lagrangian() if suits and obstacle(problem, grid) is None else muscl()
