"""Scharfetter–Gummel finite volumes for the entropic flow ∂_t ρ = ∇·(ρ∇V_ρ) + λΔρ.

    m' = m + dt·Q(V) m           explicit
    m' = m + dt·Q(V_θ) m'        implicit, V_θ between the potentials before and after the step

Q holds the exact fluxes of −ρ∇V − λ∇ρ between two centres (Scharfetter & Gummel 1969): Gibbs
densities e^{−V/λ} rest, and λ → 0 is the upwind scheme (Schlichting & Seis, arXiv:2004.13981;
Hraivoronska, Schlichting & Tse, arXiv:2306.02226). Order 2 in space where h|∇V| ≪ λ, 1 where it is
large; order 1 in time.

The implicit step is positive and conservative for any dt. With θ = ½ its potential is that of the
mean-value residual, and whatever the loss

    F(ρ) − F(ρ') = dt·D + λ KL(ρ|ρ') + (2θ − 1)·(Bregman distance of the risk) ≥ 0

holds to round-off, D the dissipation through faces; for the square loss the last term is
(θ − ½) Σ p_i (f'_i − f_i)². The step is an equation for the n numbers that V_θ is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from scipy.special import rel_entr

from mfpde.arguments import check_flag, number, shown
from mfpde.errors import InvalidInput
from mfpde.flows.interaction import Observation
from mfpde.flows.wasserstein import Field, WassersteinFlow
from mfpde.kernels.tiles import WIDTH
from mfpde.methods.averaged import averaged
from mfpde.methods.exactness import Exact, checked_exact, given
from mfpde.methods.exchange import Exchange
from mfpde.methods.faces import Faces, faces_of
from mfpde.methods.flux import explicit_limit
from mfpde.methods.newton import newton
from mfpde.methods.step import Held, Method, Step
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Array, Problem

CFL = 0.45
TOLERANCE = 2e-4  # L1 error of a density in one step, by default
FIRST = 0.1  # of 1/stiffness, the first step tried
GROW, SHRINK, SAFETY = 3.0, 0.2, 0.8
ROUND_OFF = 1e-13  # of an L1 difference
MOST_DIRECT = 2**18  # cells of one sparse factorisation
PER_ENTRY = 1.7  # numbers an entry of a factor takes with its index; 1.4 to 2.4 as it is grown
INSIDE = ("lines", "direct")


def scharfetter_gummel(
    implicit: bool = True,
    dt: float | None = None,
    tolerance: float | None = None,
    theta: float = 0.5,
    inside: str = "lines",
    exact: Exact = None,
) -> Method:
    """Scharfetter–Gummel finite volumes: Gibbs states exact, free energy falls at any step.

    Args:
        implicit: stable at any step; else forward Euler with steps that keep it positive.
        dt: fixed step (explicit: the longest). None: as long as the tolerance allows, growing
            without bound towards equilibrium; explicit: the longest positive one.
        tolerance: of implicit steps without ``dt``: L1 error of the density that each may add; 2e-4
            by default. Steps go with its square root, and so does the error at the end.
        theta: where between the potentials before and after the step the implicit one is, in
            [0.5, 1]; 0.5 makes the energy fall by exactly what is dissipated.
        inside: how implicit steps are solved: "lines", one axis after the other, fast, for any
            dimension; or "direct", all axes at once by a sparse factorisation, without the
            splitting's error and with the fewest steps to an equilibrium, up to 3 axes.
        exact: for explicit steps: "averaged" takes V as the mean of before and after the step, so
            that F(ρ) − F(ρ') = dt·D − λ KL(ρ'|ρ) to round-off. Implicit ones are exact anyway.

    Raises:
        InvalidInput: for values outside these ranges, or that the kind of step does not take.
    """
    call = f"scharfetter_gummel(dt={shown(dt)}, tolerance={shown(tolerance)}, theta={shown(theta)})"
    if dt is not None and not 0 < number(dt) < np.inf:
        raise InvalidInput(call, "a step is positive", "a number above 0")
    if dt is not None and tolerance is not None:
        raise InvalidInput(call, "the tolerance chooses the step", "one of the two")
    if tolerance is not None and not 0 < number(tolerance) < 1:
        raise InvalidInput(call, "the tolerance is an L1 error", "a number between 0 and 1")
    if not 0.5 <= number(theta) <= 1:
        raise InvalidInput(call, "below θ = ½ energy may rise", "a number from 0.5 to 1")
    check_flag("scharfetter_gummel's implicit", implicit)
    if not isinstance(inside, str) or inside not in INSIDE:
        raise InvalidInput(f"scharfetter_gummel(inside={shown(inside)})", fix=f"one of {INSIDE}")
    if not implicit:
        if tolerance is not None or theta != 0.5 or inside != "lines":
            raise InvalidInput(
                "scharfetter_gummel(implicit=False) with tolerance, theta or inside",
                "they shape implicit steps",
                "scharfetter_gummel(implicit=False, dt=None)",
            )
        return explicit(dt, exact)
    if exact is not None:
        raise InvalidInput(
            f"scharfetter_gummel(exact={shown(exact)})",
            "it is for explicit steps; the energy of implicit ones is exact",
            "leave exact out, or implicit=False",
        )
    allowed = TOLERANCE if tolerance is None else float(tolerance)
    parameters: dict[str, object] = {"tolerance": allowed} if dt is None else {"dt": dt}
    parameters |= {} if theta == 0.5 else {"theta": theta}
    parameters |= {} if inside == "lines" else {"inside": inside}
    return Method(
        name="scharfetter_gummel",
        order=2.0,
        parameters=parameters,
        limit="dt by the tolerance" if dt is None else "dt as given",
        promise="exact",
        begin=lambda flow: Implicit(flow, dt, allowed, theta, inside),
        order_in_time=1.0,
        diffuses=True,
        order_at_zero=1.0,
        adaptive=dt is None,
        holding=held_by_lines if inside == "lines" else held_directly,
    )


def explicit(dt: float | None, exact: Exact) -> Method:
    """Forward Euler."""
    checked_exact("scharfetter_gummel", exact)
    if exact == "relaxed":
        raise InvalidInput(
            'scharfetter_gummel(exact="relaxed")',
            "relaxation weighs the stages of a step, and forward Euler has one",
            'exact="averaged"',
        )
    parameters = {"implicit": False} | ({} if dt is None else {"dt": dt}) | given(exact)
    return Method(
        name="scharfetter_gummel",
        order=2.0,
        parameters=parameters,
        limit=f"dt ≤ min({CFL:g}/emptying rate, 1/stiffness)",
        promise="exact" if exact else "monotone",
        begin=lambda flow: Explicit(flow, np.inf if dt is None else dt, exact),
        order_in_time=1.0,
        diffuses=True,
        order_at_zero=1.0,
        holding=held_explicitly,
    )


def held_explicitly(problem: Problem | KernelProblem, shape: tuple[int, ...]) -> Held:
    """Areas and the latest rates; copies of these, of which the sum is taken."""
    cells, D = math.prod(shape), len(shape)
    return Held(3 * D * cells, (2 * D + 1) * cells + 4 * WIDTH * max(shape))


def held_by_lines(problem: Problem | KernelProblem, shape: tuple[int, ...]) -> Held:
    """Areas; two trials of a step: rates (2 an axis), masses and carried densities (1), the last ρ.

    With λ > 0 the dissipation of the one that is left may hold more.
    """
    cells, D = math.prod(shape), len(shape)
    trials = (7 * D + 6) * cells + 7 * WIDTH * max(shape)
    judged = (4.1 * D + 14) * cells if problem.entropy > 0 else 0.0
    return Held(D * cells, max(trials, judged))


def held_directly(problem: Problem | KernelProblem, shape: tuple[int, ...]) -> Held:
    """Areas; two trials of a step, the factors of one, and the parts of a matrix."""
    cells, D = math.prod(shape), len(shape)
    factors = PER_ENTRY * fill(shape) * cells
    return Held(D * cells, (13 * D + 16) * cells + factors)


def fill(shape: tuple[int, ...]) -> float:
    """Entries per cell in the factors of I − dt·Q, as counted on squares and cubes."""
    cells = math.prod(shape)
    if len(shape) < 3:
        return max(10.8 * math.log2(cells) - 70, 6.0)
    return 2.07 * cells**0.6


class Explicit:
    """Forward Euler bound to a flow."""

    def __init__(self, flow: WassersteinFlow, dt: float, exact: Exact) -> None:
        self.flow, self.dt, self.exact, self.faces = flow, dt, exact, faces_of(flow)
        self.latest: Exchange | None = None

    def rates(self, potential: Array) -> Exchange:
        """Those of a potential; the step takes the ones that its length was found with."""
        if self.latest is None or self.latest.potential is not potential:
            self.latest = Exchange(self.faces, potential, self.flow.entropy)
        return self.latest

    def longest(self, rho: Array, field: Field) -> float:
        emptying = self.rates(field.potential).emptying()
        return min(self.dt, explicit_limit(CFL, emptying, field.stiffness))

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        if self.exact:
            return averaged(self.flow, rho, field, partial(self.euler, rho, dt))
        return self.euler(rho, dt, field.potential)

    def euler(self, rho: Array, dt: float, potential: Array) -> Step:
        """A step down a potential."""
        rates = self.rates(potential)
        masses = rho * self.flow.volumes
        escaped, carried = rates.left(masses, dt, range(rho.ndim))
        gained = dt * rates.applied(masses)
        return Step(rho + gained / self.flow.volumes, escaped, carried)


@dataclass
class Pace:
    """The controller's memory: the next step to try."""

    dt: float


class Implicit:
    """Implicit steps bound to a flow."""

    def __init__(
        self, flow: WassersteinFlow, dt: float | None, tolerance: float, theta: float, inside: str
    ) -> None:
        self.flow, self.dt, self.tolerance, self.theta = flow, dt, tolerance, theta
        axes = tuple(range(len(flow.grid.axes)))
        if inside == "direct" and (len(axes) > 3 or flow.grid.cells > MOST_DIRECT):
            raise InvalidInput(
                f'scharfetter_gummel(inside="direct") on {flow.grid.cells} cells, {len(axes)} axes',
                f"a sparse factorisation fills in; the limit is 3 axes and {MOST_DIRECT} cells",
                'inside="lines"',
            )
        self.parts: list[tuple[int, ...]] = [axes] if inside == "direct" else [(k,) for k in axes]
        self.faces = faces_of(flow)
        self.resting = flow.interaction.observe(np.zeros(flow.grid.shape)).size
        self.memory = Pace(np.inf if dt is None else dt)

    def longest(self, rho: Array, field: Field) -> float:
        if not np.isfinite(self.memory.dt):
            self.memory.dt = FIRST / field.stiffness if field.stiffness > 0 else 1.0
        return self.memory.dt

    def step(self, rho: Array, field: Field, dt: float) -> Step:
        before, interaction = field.seen, self.flow.interaction
        masses = rho * self.flow.volumes
        settle = partial(Settled.of, self.flow, self.faces, self.parts, masses, dt)

        def defect(z: Array) -> tuple[Array, Settled]:
            settled = settle(self.flow.potential(z))
            return z - interaction.mean_response(before, settled.seen, self.theta), settled

        def derivative(settled: Settled, change: Array) -> Array:
            moved = settled.moved(interaction.exerted(change)) / self.flow.volumes
            return change - interaction.mean_change(before, settled.seen, moved, self.theta)

        found = newton(defect, derivative, before.response, max(self.resting, before.size))
        if found is None:
            nothing = dict.fromkeys(self.flow.grid.coords, (0.0, 0.0))
            return Step(rho, nothing, 0.0, error=np.inf)
        z, settled = found
        escaped, carried = settled.left()
        return Step(
            rho=settled.rho,
            escaped=escaped,
            carried=carried,
            error=0.0 if self.dt is not None else self.judged(masses, field, settled),
            dissipated=settled.dissipated() + self.later(field, settled, z),
        )

    def later(self, field: Field, settled: Settled, z: Array) -> float:
        """∫(V_θ − V_½) d(ρ' − ρ): what a potential later than the mean does in addition."""
        if self.theta == 0.5:
            return 0.0
        interaction = self.flow.interaction
        mean = interaction.mean_response(field.seen, settled.seen)
        change = settled.masses[-1] - settled.masses[0]
        return float(np.vdot(interaction.exerted(z - mean), change))

    def judged(self, masses: Array, field: Field, settled: Settled) -> float:
        """The error over what is allowed, and the next step.

        Half the difference to the explicit step is the error of an implicit Euler step, dt²ρ''/2.
        What moves faster than dt is damped by (I − dt·Q)⁻², as its true error is (after Shampine,
        SIAM J. Sci. Stat. Comput. 5 (1984)): rough densities do not shorten steps for ever.
        """
        dt = settled.dt
        rate = Exchange(self.faces, field.potential, self.flow.entropy).applied(masses)
        difference = settled.masses[-1] - masses - dt * rate
        for inverse in 2 * settled.inverses:
            difference = inverse(difference)
        error, allowed = 0.5 * float(np.abs(difference).sum()), max(self.tolerance, ROUND_OFF)
        factor = SAFETY * np.sqrt(allowed / max(error, ROUND_OFF * allowed))
        proposed = dt * float(np.clip(factor, SHRINK, GROW))
        cut_short = dt < 0.99 * self.memory.dt  # to land on an instant: no reason to go on so
        keeps = cut_short and error <= allowed
        self.memory.dt = max(self.memory.dt, proposed) if keeps else proposed
        return error / allowed


@dataclass(frozen=True)
class Settled:
    """An implicit step with a given potential, part after part.

    Attributes:
        parts: the axes that exchange mass in each part; masses after it solve
            m' = m + dt·Σ_{k in part} Q_k m'.
        inverses: (I − dt·Σ Q_k)⁻¹ of every part.
        masses: before the first part, and after each.
    """

    flow: WassersteinFlow
    rates: Exchange
    dt: float
    parts: list[tuple[int, ...]]
    inverses: list[Callable[[Array], Array]]
    masses: list[Array]

    @classmethod
    def of(
        cls,
        flow: WassersteinFlow,
        faces: list[Faces],
        parts: list[tuple[int, ...]],
        start: Array,
        dt: float,
        potential: Array,
    ) -> Settled:
        """The step down ``potential`` from masses ``start``."""
        rates = Exchange(faces, potential, flow.entropy)
        inverses = [rates.inverse(part, dt) for part in parts]
        masses = [start]
        for inverse in inverses:
            masses.append(inverse(masses[-1]))
        return cls(flow, rates, dt, parts, inverses, masses)

    @cached_property
    def rho(self) -> Array:
        """The density after the step."""
        return self.masses[-1] / self.flow.volumes

    @cached_property
    def seen(self) -> Observation:
        """What it shows."""
        return self.flow.interaction.observe(self.rho)

    @cached_property
    def carrying(self) -> list[Array]:
        """The densities that faces carry, by axis."""
        densities = (m / self.flow.volumes for m in self.masses[1:])
        pairs = zip(self.parts, densities, strict=True)
        return [self.rates.carrying(rho, k) for part, rho in pairs for k in part]

    def moved(self, change: Array) -> Array:
        """How the masses after the step answer a change of the potential, to first order."""
        moved = np.zeros_like(change)
        for part, inverse in zip(self.parts, self.inverses, strict=True):
            for k in part:
                f = self.rates.faces[k]
                moved += self.dt * f.divergence(self.carrying[k] * f.rise(change))
            moved = inverse(moved)
        return moved

    def dissipated(self) -> float:
        """dt·D + λ KL(before|after), summed over the parts."""
        total = 0.0
        for n, part in enumerate(self.parts):
            before, after = self.masses[n : n + 2]
            total += self.dt * sum(
                self.rates.dissipation(after / self.flow.volumes, k) for k in part
            )
            if self.flow.entropy > 0:
                kept = after > 0  # or both have underflowed
                total += self.flow.entropy * float(rel_entr(before[kept], after[kept]).sum())
        return total

    def left(self) -> tuple[dict[str, tuple[float, float]], float]:
        """Masses that left through open walls, by coordinate, and the energy they took along."""
        escaped: dict[str, tuple[float, float]] = {}
        carried = 0.0
        for part, after in zip(self.parts, self.masses[1:], strict=True):
            out, energy = self.rates.left(after, self.dt, part)
            escaped |= out
            carried += energy
        return {c: escaped[c] for c in self.flow.grid.coords}, carried
