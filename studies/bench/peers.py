"""The same equation as users of other packages would write it, each with its best set-up.

All of them know that V = a g(w), g = Σ p_i (f_i − y_i) σ(w x_i), so one evaluation costs n·cells
along w, not n·cells². Walls are closed: what reaches them is below the errors that are measured.
Explicit steps are a fraction ``cfl`` of the time in which the fastest cell would empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from studies.bench.cases import Case
from studies.bench.timing import Array, Run, Start

Slopes = Callable[[Any, Any, Any], Any]


class Network(NamedTuple):
    """What V is made of: width and centres of the cells along both axes, σ(w x), targets, p."""

    h: float
    a: Array
    features: Array
    y: Array
    p: Array


def network(case: Case, cells: int) -> Network:
    """Of a case on cells × cells."""
    problem, h = case.problem, 2 * case.half / cells
    centres = -case.half + h * (np.arange(cells) + 0.5)
    features = problem.activation.value(np.outer(centres, problem.x))
    return Network(h, centres, features, problem.y, problem.loss.weights)


def g_of(net: Network, rho: Any) -> Any:
    """g at the centres of w; NumPy or JAX arrays alike."""
    f = (net.a @ rho) @ net.features * net.h**2
    return net.features @ (net.p * (f - net.y))


def emptying(xp: Any, net: Network, g: Any) -> Any:
    """An upper bound of the rate at which cells empty, sharp in the corners."""
    a_rate = xp.max(xp.abs(g)) / net.h
    return a_rate + xp.max(xp.abs(net.a)) * xp.max(xp.abs(xp.diff(g))) / net.h**2


def no_slopes(xp: Any, low: Any, high: Any) -> Any:
    """Of order 1."""
    return 0.0 * low


def limited_slopes(xp: Any, low: Any, high: Any) -> Any:
    """Monotonised central changes across cells, from the differences beside them."""
    size = xp.minimum(0.5 * xp.abs(low + high), 2 * xp.minimum(xp.abs(low), xp.abs(high)))
    return xp.where(low * high > 0, xp.copysign(size, low), 0.0)


def gain(xp: Any, rho: Any, u: Any, axis: int, slopes: Slopes) -> Any:
    """−h ∂(uρ) along an axis, u at all its faces; slices only, which XLA makes one loop of."""

    def cut(z: Any, first: int, beyond: int) -> Any:
        return z[(slice(None),) * axis + (slice(first, beyond or None),)]

    ghosts = [(2, 2) if k == axis else (0, 0) for k in range(2)]
    r = xp.pad(rho, ghosts, mode="edge")
    differences = cut(r, 1, 0) - cut(r, 0, -1)
    half, r = 0.5 * slopes(xp, cut(differences, 0, -1), cut(differences, 1, 0)), cut(r, 1, -1)
    flux = xp.maximum(u, 0) * cut(r + half, 0, -1) + xp.minimum(u, 0) * cut(r - half, 1, 0)
    return cut(flux, 0, -1) - cut(flux, 1, 0)


def rate(xp: Any, net: Network, rho: Any, g: Any, slopes: Slopes) -> Any:
    """∇·(ρ∇V); nothing passes the outer faces."""
    inner = np.pad(np.ones(len(net.a) - 1), 1)
    along_a = gain(xp, rho, -inner[:, None] * g, 0, slopes)
    along_w = gain(xp, rho, -net.a[:, None] * xp.pad(xp.diff(g), 1) / net.h, 1, slopes)
    return (along_a + along_w) / net.h


def euler_step(xp: Any, net: Network, rho: Any, left: Any) -> tuple[Any, Any]:
    """Upwind, forward Euler."""
    g = g_of(net, rho)
    dt = xp.minimum(0.9 / emptying(xp, net, g), left)
    return rho + dt * rate(xp, net, rho, g, no_slopes), dt


def heun_step(xp: Any, net: Network, rho: Any, left: Any) -> tuple[Any, Any]:
    """MUSCL, Heun."""
    g = g_of(net, rho)
    dt = xp.minimum(0.45 / emptying(xp, net, g), left)
    middle = rho + dt * rate(xp, net, rho, g, limited_slopes)
    end = middle + dt * rate(xp, net, middle, g_of(net, middle), limited_slopes)
    return 0.5 * (rho + end), dt


def numpy_with(step: Callable[..., tuple[Any, Any]]) -> Callable[[Case, int, int], Start]:
    """Plain NumPy."""

    def ready(case: Case, cells: int, steps: int = 0) -> Start:
        net, first = network(case, cells), case.start(cells)

        def run() -> tuple[Array, int]:
            rho, left, count = first, case.horizon, 0
            while left > 0:
                rho, dt = step(np, net, rho, left)
                left, count = left - dt, count + 1
            return rho, count

        return lambda: run

    return ready


def jax_muscl(case: Case, cells: int, steps: int = 0) -> Start:
    """The same lines, compiled as one loop by XLA."""
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    net, first = network(case, cells), jnp.asarray(case.start(cells))

    @jax.jit
    def evolved(rho: Any, horizon: Any) -> tuple[Any, Any, Any]:
        def on(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            rho, left, count = state
            rho, dt = heun_step(jnp, net, rho, left)
            return rho, left - dt, count + 1

        return jax.lax.while_loop(lambda state: state[1] > 0, on, (rho, horizon, 0))

    evolved(first, 0.0)[0].block_until_ready()  # compiles

    def run() -> tuple[Array, int]:
        rho, _, count = evolved(first, case.horizon)
        return np.asarray(rho.block_until_ready()), int(count)

    return lambda: run


def pypde_central(case: Case, cells: int, steps: int = 0) -> Start:
    """py-pde: ∇ρ·∇V + ρΔV by central differences, fixed steps of RK4, compiled by numba.

    Two gradients with different conditions at the walls in one right-hand side grew without bound
    (0.59), so ρ's alone is the package's; those of V need g alone.
    """
    import pde
    from pde.solvers import RungeKuttaSolver

    net, half = network(case, cells), case.half
    h, a, features, y, p = net
    column = a.reshape(-1, 1).copy()

    class MeanField(pde.PDEBase):
        def make_evolution_rate(self, state: Any, backend: Any) -> Callable[..., Any]:
            slope = state.grid.make_operator(
                "gradient", bc={"value": 0}, backend=backend, dtype=state.dtype
            )

            def rhs(rho, t=0):  # type: ignore[no-untyped-def]
                f = np.dot(np.dot(a, rho), features) * h**2
                g = np.dot(features, p * (f - y))
                first, second = np.empty_like(g), np.zeros_like(g)
                first[1:-1] = (g[2:] - g[:-2]) / (2 * h)
                first[0], first[-1] = (g[1] - g[0]) / h, (g[-1] - g[-2]) / h
                second[1:-1] = (g[2:] - 2 * g[1:-1] + g[:-2]) / h**2
                along = slope(rho)
                return along[0] * g + column * (along[1] * first + rho * second)

            return rhs

        def evolution_rate(self, state: Any, t: float = 0) -> Any:
            raise NotImplementedError("only compiled")

    grid = pde.CartesianGrid([[-half, half], [-half, half]], cells)
    first = pde.ScalarField(grid, case.start(cells))
    fastest = emptying(np, net, g_of(net, first.data))
    count = int(np.ceil(case.horizon * fastest / 1.4))
    dt = case.horizon / count
    stepper = RungeKuttaSolver(MeanField(), backend="numba").make_stepper(first.copy(), dt=dt)
    stepper(first.copy(), 0.0, dt)  # compiles

    def start() -> Run:
        state = first.copy()

        def run() -> tuple[Array, int]:
            stepper(state, 0.0, case.horizon)
            return state.data, count

        return run

    return start


def fipy_with(term: str, cfl: float) -> Callable[[Case, int, int], Start]:
    """FiPy: an explicit convection term down V, forward Euler."""

    def ready(case: Case, cells: int, steps: int = 0) -> Start:
        from mfpde.methods.fipy_backend import loaded

        library, net, first = loaded(), network(case, cells), case.start(cells)
        mesh = library.Grid2D(nx=cells, ny=cells, dx=net.h, dy=net.h)  # x, the faster one, is w
        rho, V = library.CellVariable(mesh=mesh), library.CellVariable(mesh=mesh)
        equation = library.TransientTerm() == getattr(library, term)(coeff=V.faceGrad)
        solver = library.solvers.LinearLUSolver(tolerance=0.0, iterations=1)

        def run() -> tuple[Array, int]:
            left, count = case.horizon, 0
            while left > 0:
                g = g_of(net, rho.value.reshape(cells, cells))
                dt = min(cfl / emptying(np, net, g), left)
                V.setValue(np.outer(net.a, g).ravel())
                equation.solve(var=rho, dt=dt, solver=solver)
                left, count = left - dt, count + 1
            return rho.value.reshape(cells, cells), count

        def start() -> Run:
            rho.setValue(first.ravel())
            return run

        return start

    return ready


PEERS: dict[str, Callable[[Case, int, int], Start]] = {
    "NumPy upwind": numpy_with(euler_step),
    "NumPy MUSCL": numpy_with(heun_step),
    "JAX MUSCL": jax_muscl,
    "py-pde central RK4": pypde_central,
    "FiPy upwind": fipy_with("ExplicitUpwindConvectionTerm", 0.9),
    "FiPy VanLeer": fipy_with("VanLeerConvectionTerm", 0.45),
}
NEEDS = {"JAX MUSCL": "jax", "py-pde central RK4": "pde"}  # packages of the extra `bench`
