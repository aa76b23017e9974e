"""Cell averages of a law: Gauss quadrature inside every cell, atoms in the nearest cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cache, reduce

import numpy as np

from mfpde.errors import InvalidInput
from mfpde.flows.agreement import MOST_OUTSIDE
from mfpde.grids.axis import Axis
from mfpde.grids.grid import Grid
from mfpde.problems.laws import Law, Point
from mfpde.problems.problem import Array

Ends = tuple[float, float]
Rule = tuple[Array, Array]  # nodes and weights in every cell of an axis, (cells, nodes) each

REST = 1e-15  # mass beyond each end of what is called a law's reach
PANELS = 8  # into which the reach is divided at most
NODES = {1: 8, 2: 6, 3: 4, 4: 3}  # Gauss nodes per axis and panel, by dimension of the factor
AIM = 1e-9  # error of the mass at which panels are no longer halved
MOST_MISSED = 1e-6  # error of the mass at which the quadrature has failed
MOST_DENSITIES = 2 * 10**7  # evaluations that a refined quadrature may take


def cell_averages(law: Law, grid: Grid) -> tuple[Array, float]:
    """Cell averages of ``law`` on ``grid``, of total mass 1, and the mass left outside the box.

    Separable laws are integrated axis by axis. A law on the line is wrapped round periodic axes.
    A point is shared by the neighbouring centres, linearly: the first moment is exact. The mass
    outside is the law's own (``Law.outside``, a bound for laws that are not separable), not what
    the quadrature has missed.

    Raises:
        InvalidInput: when more than 1e-6 of the law lies outside the box, with a box that holds
            it, and when the law is too thin for the cells.
    """
    axes = tuple(grid.axes.values())
    rho = mixture_averages(law, axes)
    outside = checked_outside(law, grid)
    return rho / np.sum(rho * grid.volumes), outside


def checked_outside(law: Law, grid: Grid) -> float:
    """The law's mass outside the box of a grid.

    Raises:
        InvalidInput: when it is more than 1e-6, with a box that holds the law.
    """
    outside = mass_outside(law, tuple(grid.axes.values()))
    if outside > MOST_OUTSIDE:
        low, high = law.reach(1e-9)
        box = [
            f"{c}=({lo:.4g}, {hi:.4g})" for c, lo, hi in zip(grid.coords, low, high, strict=True)
        ]
        raise InvalidInput(
            f"{outside:.2e} of the initial law lies outside the grid's box",
            f"{law!r} reaches beyond {grid!r}",
            f"a box that holds it: {', '.join(box)}; or mf.fit_grid(problem)",
        )
    return outside


def mass_outside(law: Law, axes: tuple[Axis, ...]) -> float:
    """The law's mass beyond the ends of the axes; nothing lies beyond a circle."""
    low = [-np.inf if axis.is_periodic else axis.low for axis in axes]
    high = [np.inf if axis.is_periodic else axis.high for axis in axes]
    return law.outside(low, high)


def mixture_averages(law: Law, axes: tuple[Axis, ...]) -> Array:
    """Σ_c weight_c (averages of component c)."""
    return sum(weight * product_averages(part, axes) for weight, part in law.components)  # type: ignore[return-value]


def product_averages(law: Law, axes: tuple[Axis, ...]) -> Array:
    """Averages of a separable law: the outer product of those of its factors."""
    averages = np.ones([axis.cells for axis in axes])
    for indices, factor in law.factors:
        own = tuple(axes[k] for k in indices)
        values = factor_averages(factor, own)
        order = np.argsort(indices)
        shape = [axis.cells if k in indices else 1 for k, axis in enumerate(axes)]
        averages = averages * np.transpose(values, order).reshape(shape)
    return averages


def factor_averages(law: Law, axes: tuple[Axis, ...]) -> Array:
    """Averages of one independent part: a mixture, a point or a density."""
    if law.components[0][1] is not law:
        return mixture_averages(law, axes)
    return deposit(law, axes) if isinstance(law, Point) else resolved_averages(law, axes)


def resolved_averages(law: Law, axes: tuple[Axis, ...]) -> Array:
    """Quadrature, refined until the mass is 1 less at most what lies beyond the axes.

    Raises InvalidInput where no affordable refinement brings its error below MOST_MISSED.
    """
    outside = mass_outside(law, axes)
    volumes = reduce(np.multiply.outer, [axis.widths for axis in axes])
    for rules in refinements(law, axes):
        averages = quadrature(law, rules)
        mass = float(np.sum(averages * volumes))
        missed = max(mass - 1.0, 1.0 - outside - mass)
        if missed <= AIM:
            break
    if missed > MOST_MISSED:
        nodes = math.prod(nodes.shape[1] for nodes, _ in rules)
        raise InvalidInput(
            f"the cells do not resolve the initial law {law!r}",
            f"its mass comes out as {mass:.6g} with {nodes} nodes in every cell: it is too thin",
            "finer cells, of about its width, or a wider law",
        )
    return averages


def refinements(law: Law, axes: tuple[Axis, ...]) -> Iterator[list[Rule]]:
    """Rules for every axis with panels halved again and again, as far as MOST_DENSITIES go."""
    for halvings in itertools.count():
        rules = [
            cell_nodes(axis, *span, NODES[len(axes)], 2**halvings)
            for axis, span in zip(axes, spans(law), strict=True)
        ]
        if halvings > 0 and math.prod(nodes.size for nodes, _ in rules) > MOST_DENSITIES:
            return
        yield rules


def quadrature(law: Law, rules: list[Rule]) -> Array:
    """Means of the density over every cell, by all combinations of the axes' nodes.

    A single axis takes its nodes together; more of them one combination after the other, in memory
    that does not grow with the nodes.
    """
    if len(rules) == 1:
        ((nodes, weight),) = rules
        density = np.exp(law.log_density(nodes.reshape(-1, 1)))
        return (weight * density.reshape(nodes.shape)).sum(axis=1)
    averages = np.zeros([len(nodes) for nodes, _ in rules])
    for combination in itertools.product(*(range(nodes.shape[1]) for nodes, _ in rules)):
        columns = [nodes[:, q] for (nodes, _), q in zip(rules, combination, strict=True)]
        weights = [weight[:, q] for (_, weight), q in zip(rules, combination, strict=True)]
        points = np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1)
        density = np.exp(law.log_density(points.reshape(-1, len(rules)))).reshape(averages.shape)
        averages += reduce(np.multiply.outer, weights) * density
    return averages


def spans(law: Law) -> Iterator[tuple[Ends, Ends]]:
    """Per coordinate the support of a law, and the reach of all but REST of its mass."""
    for low, high, first, last in zip(*law.support, *law.reach(REST), strict=True):
        yield (float(low), float(high)), (float(first), float(last))


def cell_nodes(axis: Axis, support: Ends, reach: Ends, count: int, division: int) -> Rule:
    """Gauss–Legendre nodes and weights of every cell, cut to the support, weights per cell width.

    Where cells are wider than a PANELS-th of the law's reach (2 standard deviations of a gaussian),
    they are cut to the reach and divided, or a narrow law would fall between the nodes; each panel
    is then divided into ``division`` ones. Two arrays (cells, nodes); on a periodic axis the nodes
    of all images stand side by side.
    """
    (unit, weight), widths = gauss(count), axis.widths
    panels = math.ceil(min(widths.max() * PANELS / (reach[1] - reach[0]), PANELS)) * division
    low, high = support if panels == 1 else reach
    nodes, weights = [], []
    for shift in shifts(axis, reach):
        lower = np.clip(axis.edges[:-1] + shift, low, high)
        width = (np.clip(axis.edges[1:] + shift, low, high) - lower)[:, None] / panels
        for panel in range(panels):
            nodes.append(lower[:, None] + width * (panel + 0.5 * (1 + unit)))
            weights.append(0.5 * width / widths[:, None] * weight)
    return np.concatenate(nodes, axis=1), np.concatenate(weights, axis=1)


@cache
def gauss(count: int) -> tuple[Array, Array]:
    """Gauss–Legendre nodes and weights on [−1, 1]."""
    return np.polynomial.legendre.leggauss(count)


def shifts(axis: Axis, reach: Ends) -> Array:
    """Whole periods by which the axis is moved until it has covered the law's reach; 0 on lines."""
    if not axis.is_periodic:
        return np.zeros(1)
    length = axis.high - axis.low
    first, last = np.floor((np.array(reach) - axis.low) / length)
    return length * np.arange(first, last + 1)


def deposit(law: Point, axes: tuple[Axis, ...]) -> Array:
    """A unit mass at a point, shared by the two centres beside it on every axis."""
    return reduce(
        np.multiply.outer,
        [
            linear_weights(axis, float(value)) / axis.widths
            for axis, value in zip(axes, law.value, strict=True)
        ],
    )


def linear_weights(axis: Axis, value: float) -> Array:
    """Masses (cells,) with sum 1 and first moment ``value``, on the two centres beside it."""
    centres, weights = axis.centres, np.zeros(axis.cells)
    if axis.is_periodic:
        position = (value - centres[0]) / axis.widths[0]
        below = int(np.floor(position))
        weights[below % axis.cells] += 1.0 - (position - below)
        weights[(below + 1) % axis.cells] += position - below
        return weights
    if not centres[0] <= value <= centres[-1]:
        raise InvalidInput(
            f"the point {value:g} lies outside the centres of {axis!r}",
            f"they reach from {centres[0]:g} to {centres[-1]:g}",
            "a box that holds the point",
        )
    above = int(np.clip(np.searchsorted(centres, value), 1, axis.cells - 1))
    share = (value - centres[above - 1]) / (centres[above] - centres[above - 1])
    weights[above - 1], weights[above] = 1.0 - share, share
    return weights
