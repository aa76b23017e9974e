"""Cell averages of laws: mass 1, the right masses, moments that converge, atoms in place."""

from math import erf

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.flows.initial import (
    MOST_DENSITIES,
    MOST_OUTSIDE,
    cell_averages,
    mass_outside,
    mixture_averages,
)

COV = [[1.0, -0.4], [-0.4, 0.5]]
LAWS = {
    "gaussian": mf.gaussian([0.2, -0.1], [0.8, 0.6]),
    "correlated": mf.gaussian([0.2, -0.1], cov=COV),
    "box": mf.uniform_box([-0.77, -1.0], [1.31, 0.5]),
    "product": mf.product(w=mf.uniform_box(-1.03, 0.4), a=mf.gaussian(0.5, 0.7)),
    "shell": mf.shell(1.5, 0.3),
    "mixture": mf.mixture([0.3, 0.7], [mf.gaussian(-1, 0.5), mf.gaussian([1, 0], cov=COV)]),
    "mixture of unlike laws": mf.mixture(
        [0.5, 0.5], [mf.uniform_box(-1, 1), mf.product(a=mf.gaussian(1, 0.6), w=mf.shell(1, 0.4))]
    ),
    "product of mixtures": mf.product(
        a=mf.mixture([0.5, 0.5], [mf.uniform_box(-1, 0), mf.gaussian(1, 0.5)]), w=mf.gaussian(0, 1)
    ),
}


def plane(cells, kind=mf.uniform):
    return mf.Grid(a=kind(-7, 7, cells), w=kind(-7, 7, cells + 3))


def moments(law, grid):
    """Mean (D,) and covariance (D, D) of the cells' masses at their centres."""
    rho, outside = cell_averages(law.on(grid.coords), grid)
    masses = (rho * grid.volumes).ravel()
    assert rho.min() >= 0
    assert rho.flags.c_contiguous
    assert abs(masses.sum() - 1) <= 1e-14
    assert 0 <= outside <= MOST_OUTSIDE
    centred = grid.points() - masses @ grid.points()
    return masses @ grid.points(), (masses[:, None] * centred).T @ centred


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("kind", [mf.uniform, mf.stretched])
def test_mean_and_variance_converge(name, kind):
    """Against the law's own Gauss rule: within h²/6, which is twice a cell's own variance."""
    law = LAWS[name].on(("a", "w"))
    nodes, weights = law.nodes(40)
    mean = weights @ nodes
    covariance = (weights[:, None] * (nodes - mean)).T @ (nodes - mean)
    for cells in (24, 48, 96):
        grid = plane(cells, kind)
        h = max(axis.widths.max() for axis in grid.axes.values())
        found, spread = moments(law, grid)
        assert_allclose(found, mean, atol=0.1 * h**2)
        assert_allclose(spread, covariance, atol=h**2 / 6)


@pytest.mark.parametrize("kind", [mf.uniform, mf.stretched])
@pytest.mark.parametrize("std", [2.0, 0.5, 0.1, 0.03, 0.003])
@pytest.mark.parametrize("mean", [0.0, 0.1, 0.33])
def test_masses_of_a_gaussian_however_narrow(kind, std, mean):
    """Against the error function, to 1e-7 of the whole, also when all mass sits in one cell."""
    axis = kind(-12, 12, 61)
    rho, _ = cell_averages(mf.gaussian(mean, std).on(("w",)), mf.Grid(w=axis))
    below = np.array([erf((edge - mean) / std / np.sqrt(2)) for edge in axis.edges]) / 2
    assert_allclose(rho * axis.widths, np.diff(below), rtol=0, atol=1e-7)


def test_a_narrow_law_in_the_plane():
    """A correlated gaussian thinner than a cell: moments to a cell's own variance."""
    law = mf.gaussian([0.3, 0.1], cov=[[0.01, 0.004], [0.004, 0.0025]])
    grid = plane(40)
    found, spread = moments(law, grid)
    h = max(axis.widths.max() for axis in grid.axes.values())
    assert_allclose(found, [0.3, 0.1], atol=h / 2)
    assert_allclose(spread, 0, atol=h**2 / 2)


def test_masses_of_a_box_that_cuts_cells():
    axis = mf.uniform(-2, 2, 16)
    rho, _ = cell_averages(mf.uniform_box(-0.9, 1.3).on(("w",)), mf.Grid(w=axis))
    inside = np.clip(axis.edges, -0.9, 1.3)
    assert_allclose(rho * axis.widths, np.diff(inside) / 2.2, atol=1e-15)


def test_a_gaussian_is_wrapped_round_the_circle():
    """Against the theta series Σ_k exp(−2π²k²s²) cos(2πk(x − m)), integrated over every cell."""
    for mean, std in ((0.3, 0.1), (0.95, 0.4), (-3.2, 1.2)):
        for low in (0.0, -0.25):
            axis = mf.periodic(low, low + 1, 40)
            rho, _ = cell_averages(mf.gaussian(mean, std).on(("t",)), mf.Grid(t=axis))
            k = np.arange(1, 30)[:, None]
            size = np.exp(-2 * np.pi**2 * k**2 * std**2) / (np.pi * k)
            primitive = axis.edges + (size * np.sin(2 * np.pi * k * (axis.edges - mean))).sum(0)
            assert_allclose(rho * axis.widths, np.diff(primitive), atol=1e-12)


def test_a_box_is_wrapped_round_the_circle():
    axis = mf.periodic(0, 1, 10)
    rho, _ = cell_averages(mf.uniform_box(0.75, 1.25).on(("t",)), mf.Grid(t=axis))
    expected = [2, 2, 1, 0, 0, 0, 0, 1, 2, 2]
    assert_allclose(rho, expected, atol=1e-14)


@pytest.mark.parametrize("axis", [mf.uniform(-2, 2, 9), mf.stretched(-2, 2, 12)], ids=repr)
def test_a_point_has_its_first_moment_exactly(axis):
    for value in (*np.linspace(axis.centres[0], axis.centres[-1], 23), 0.0, axis.centres[3]):
        rho, _ = cell_averages(mf.point(value).on(("a",)), mf.Grid(a=axis))
        masses = rho * axis.widths
        assert np.count_nonzero(masses) <= 2
        assert masses.min() >= 0
        assert_allclose([masses.sum(), masses @ axis.centres], [1, value], atol=1e-14)


def test_a_point_on_the_circle():
    axis = mf.periodic(0, 1, 8)
    for value in (0.01, 0.5, 0.99, -0.3, 4.2):
        rho, _ = cell_averages(mf.point(value).on(("t",)), mf.Grid(t=axis))
        masses = rho * axis.widths
        assert np.count_nonzero(masses) <= 2
        gaps = (axis.centres - value + 0.5) % 1 - 0.5
        assert_allclose([masses.sum(), masses @ gaps], [1, 0], atol=1e-14)


def test_points_beside_densities():
    """CB18's start a = 0; and an atom as one component of a mixture, and of a factor."""
    w = mf.gaussian(0, 0.8)
    some = mf.mixture([0.25, 0.75], [mf.point(0.2), mf.gaussian(0, 1)])
    for law, mean, variance in (
        (mf.product(a=mf.point(0.0), w=w), 0.0, 0.0),
        (mf.mixture([0.25, 0.75], [mf.point(0.2), mf.gaussian(0, 1)]), 0.05, 0.7575),
        (mf.product(a=some, w=w), 0.05, 0.7575),
        (mf.product(a=mf.mixture([1.0], [mf.point(0.3)]), w=w), 0.3, 0.0),
    ):
        found, spread = moments(law, plane(64))
        assert_allclose(found[0], mean, atol=1e-6)
        assert_allclose(spread[0, 0], variance, atol=0.03)


def test_a_law_outside_the_box_names_a_box_that_holds_it():
    law = mf.gaussian([0.0, 3.0], [1.0, 0.2]).on(("a", "w"))
    with pytest.raises(InvalidInput) as refusal:
        cell_averages(law, mf.Grid(a=mf.uniform(-4, 4, 20), w=mf.uniform(2, 4, 20)))
    numbers = str(refusal.value).split("a box that holds it: ")[1].split(";")[0]
    ends = [
        [float(number) for number in part.split("=(")[1].strip(")").split(", ")]
        for part in numbers.split("), ")
    ]
    box = {c: mf.uniform(lo, hi, 30) for c, (lo, hi) in zip("aw", ends, strict=True)}
    _, outside = cell_averages(law, mf.Grid(**box))
    assert outside <= MOST_OUTSIDE
    assert ends[0][1] - ends[0][0] < 14


@pytest.mark.parametrize("value", [-1.99, 1.99, 3.0])
def test_a_point_beyond_the_centres_is_refused(value):
    with pytest.raises(InvalidInput) as refusal:
        cell_averages(mf.point(value).on(("a",)), mf.Grid(a=mf.uniform(-2, 2, 8)))
    assert f"{value:g}" in str(refusal.value)


# ---------------------------------------------------------------------- laws thinner than a cell
def quarters():
    """32² cells of width 1/4."""
    return mf.Grid(a=mf.uniform(-4, 4, 32), w=mf.uniform(-4, 4, 32))


@pytest.mark.parametrize("correlation", [0.999, 0.9995])
def test_masses_of_a_gaussian_thinner_than_a_cell(correlation):
    """Given a, w is normal about ρa: the error function in w, 100 Gauss nodes a cell in a."""
    std, grid = 0.5, quarters()
    law = mf.gaussian(cov=std**2 * np.array([[1, correlation], [correlation, 1]]))
    rho, outside = cell_averages(law.on(("a", "w")), grid)
    edges = grid.axes["a"].edges
    x, weight = np.polynomial.legendre.leggauss(100)
    a = grid.centres[0][:, None] + x / 8
    density = np.exp(-((a / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi)) * weight / 8
    given = std * np.sqrt(1 - correlation**2)
    below = special.ndtr((edges - correlation * a[..., None]) / given)
    masses = np.einsum("iq,iqj->ij", density, np.diff(below))
    assert_allclose(rho * grid.volumes, masses, rtol=0, atol=1e-7)
    assert outside < 1e-12


@pytest.mark.parametrize("width", [0.02, 0.01])
def test_masses_of_a_ring_thinner_than_a_cell(width):
    """1000 radii of equal probability, and weight r, times 2000 equal angles."""
    grid = quarters()
    rho, outside = cell_averages(mf.shell(1, width).on(("a", "w")), grid)
    r = 1 + width * special.ndtri((np.arange(1000) + 0.5) / 1000)
    angle = 2 * np.pi * (np.arange(2000) + 0.5) / 2000
    weight = np.repeat(r / r.sum() / 2000, 2000)
    ring = np.outer(r, np.cos(angle)).ravel(), np.outer(r, np.sin(angle)).ravel()
    edges = grid.axes["a"].edges
    masses = np.histogram2d(*ring, bins=(edges, edges), weights=weight)[0]
    assert_allclose(rho * grid.volumes, masses, rtol=0, atol=1e-4)
    assert outside < 1e-12


@pytest.mark.parametrize(
    "law", [mf.gaussian(cov=[[0.25, 0.249999999], [0.249999999, 0.25]]), mf.shell(1, 1e-3)], ids=str
)
def test_laws_that_no_quadrature_resolves_are_refused_for_that(law):
    grid = quarters()
    with pytest.raises(InvalidInput, match=r"(?s)do not resolve.*finer cells") as refusal:
        cell_averages(law.on(grid.coords), grid)
    assert "box" not in str(refusal.value)


def test_a_thin_law_within_a_few_cells_is_no_longer_work():
    """Its panels are cut to its reach: what counts are evaluations, not cells."""
    law = mf.gaussian(cov=1e-2 * np.array([[1, 0.999999], [0.999999, 1]])).on(("a", "w"))
    evaluations = []

    class Watched(type(law)):
        def _log_density(self, points):
            evaluations.append(len(points))
            return super()._log_density(points)

    watched = Watched(law.mean, law.cov, coords=law.coords)
    with pytest.raises(InvalidInput, match="do not resolve"):
        cell_averages(watched, quarters())
    assert 0 < sum(evaluations) <= 4 / 3 * MOST_DENSITIES


@pytest.mark.parametrize(("R", "s"), [(1.0, 0.4), (0.0, 0.5), (0.3, 1.0), (2.0, 0.01)])
def test_masses_of_a_shell_on_the_line(R, s):
    """Against the error function; the kink at the centre lies within a cell."""
    axis = mf.uniform(-12, 12, 61)
    rho, outside = cell_averages(mf.shell(R, s).on(("w",)), mf.Grid(w=axis))

    def below(r):
        return (erf((r - R) / s / np.sqrt(2)) + erf(R / s / np.sqrt(2))) / 2

    distribution = [
        0.5 + np.sign(edge) * below(abs(edge)) / below(np.inf) / 2 for edge in axis.edges
    ]
    assert_allclose(rho * axis.widths, np.diff(distribution), rtol=0, atol=1e-9)
    assert outside < 1e-12


@pytest.mark.parametrize("name", LAWS)
def test_the_quadrature_itself_has_all_the_mass(name):
    """Before anything is normalised: what the cells hold and what lies outside make 1."""
    grid = plane(24)
    law, axes = LAWS[name].on(("a", "w")), tuple(grid.axes.values())
    mass = float(np.sum(mixture_averages(law, axes) * grid.volumes))
    assert abs(mass + mass_outside(law, axes) - 1) <= 3e-9


def test_the_mass_outside_is_the_laws_own():
    """1 − (1 − Q(5.1))², to the order at which both coordinates lie outside."""
    grid = mf.Grid(a=mf.uniform(-9, 5.1, 40), w=mf.uniform(-9, 5.1, 40))
    _, outside = cell_averages(mf.gaussian().on(("a", "w")), grid)
    tail = (1 - erf(5.1 / np.sqrt(2))) / 2
    assert abs(outside - 2 * tail) < 1e-12
