"""What every law promises: density, map of the cube, quadrature and structure tell one story."""

import pickle
from itertools import product as pairs

import numpy as np
import pytest
from scipy import special

from mfpde.errors import InvalidInput
from mfpde.problems.laws import (
    CorrelatedGaussian,
    Gaussian,
    Point,
    UniformBox,
    gaussian,
    mixture,
    point,
    product,
    shell,
    uniform_box,
)

COV2 = [[1.3, -0.4], [-0.4, 0.5]]
COV3 = [[1.0, 0.3, 0.1], [0.3, 0.8, -0.2], [0.1, -0.2, 0.6]]
A, AW, AWB = ("a",), ("a", "w"), ("a", "w1", "w2")

# Laws with a density. A new law is one line here.
DENSE = [
    gaussian().on(A),
    gaussian(1.0, 0.4).on(AW),
    gaussian([1.0, -2.0, 0.3], [0.5, 2.0, 1.0]).on(AWB),
    gaussian([1.0, 0.0], cov=COV2).on(AW),
    gaussian(0.2, cov=COV3).on(AWB),
    uniform_box(-1.0, 2.0).on(A),
    uniform_box([0.0, -1.0, 2.0], [1.0, 1.0, 2.5]).on(AWB),
    product(w=uniform_box(0, 3), a=gaussian(1, 0.5)).on(AW),
    product(w=gaussian(0, cov=COV2), a=uniform_box(0, 1)).on(AWB),
    product(b=gaussian(0, 0.3), w=shell(2.0, 0.3)).on(("w1", "b", "w2")),
    shell(0.8, 0.5).on(A),
    shell(2.0, 0.3).on(AW),
    shell(2.0, 0.3).on(AWB),
    mixture([0.25, 0.75], [gaussian(-1, 0.3), gaussian([1, 0], cov=COV2)]).on(AW),
    mixture([0.4, 0.6], [gaussian(), mixture([0.5, 0.5], [shell(1, 0.5), gaussian(1)])]).on(A),
]
ATOMIC = [
    point(0.5).on(AW),
    product(a=point(0.0), w=gaussian(0, cov=COV2)).on(AWB),
    mixture([0.3, 0.7], [point(0.0), uniform_box(0, 1)]).on(A),
]
dense = pytest.mark.parametrize("law", DENSE, ids=str)
one_to_one = pytest.mark.parametrize(
    "law", [law for law in DENSE if len(law.components) == 1], ids=str
)  # the map of a mixture covers space once for every component
everyone = pytest.mark.parametrize("law", DENSE + ATOMIC, ids=str)


def smooth(points):
    """A bounded smooth function whose mean tells laws apart."""
    return np.cos(points @ np.arange(1.0, points.shape[1] + 1) / 2 + 0.3)


def midpoints(count, dimension):
    """The tensor midpoint rule of the unit cube."""
    u = (np.arange(count) + 0.5) / count
    return np.stack(np.meshgrid(*[u] * dimension, indexing="ij"), -1).reshape(-1, dimension)


def integral(law, f):
    """The integral of f times the density, by composite Gauss-Legendre over the law's reach."""
    x, w = special.roots_legendre(16)
    low, high = law.reach(1e-14)
    panels = {1: 40, 2: 10, 3: 4}[law.dimension]
    axes, weights = [], []
    for lo, hi in zip(low, high, strict=True):
        edges = np.union1d(np.linspace(lo, hi, panels + 1), np.clip(0, lo, hi))  # a shell's kink
        half = np.diff(edges) / 2
        axes.append((edges[:-1] + half + np.outer(x, half)).T.ravel())
        weights.append(np.outer(half, w).ravel())
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(low))
    cell = weights[0]
    for more in weights[1:]:
        cell = np.multiply.outer(cell, more)
    return cell.ravel() @ (f(points) * np.exp(law.log_density(points)))


def density_defect(law, sampler, u, h=1e-5):
    """Largest |log rho(T(u)) + log |det DT(u)|| of the map T: 0 if T samples the density.

    DT by central differences of the map: error about h^2 T''' / 6 + 1e-16 / h.
    """
    columns = [(sampler(u + h * e) - sampler(u - h * e)) / (2 * h) for e in np.eye(u.shape[1])]
    log_det = np.linalg.slogdet(np.stack(columns, axis=-1))[1]
    return np.abs(law.log_density(sampler(u)) + log_det).max()


def interior(law, count=200):
    """Points of the cube away from its border."""
    return 0.05 + 0.9 * np.random.default_rng(1).random((count, law.dimension))


# ------------------------------------------------------------- density, sampler and nodes agree
@dense
def test_density_integrates_to_one(law):
    assert integral(law, lambda points: 1.0) == pytest.approx(1, abs=1e-11)


@one_to_one
def test_sampler_has_the_density(law):
    assert density_defect(law, law.from_uniform, interior(law)) < 1e-6


@one_to_one
def test_a_sampler_with_a_wrong_spread_is_found_out(law):
    centre = law.from_uniform(np.full((1, law.dimension), 0.5))

    def wrong(u):
        return centre + 1.1 * (law.from_uniform(u) - centre)

    inside = interior(law)
    inside = inside[np.isfinite(law.log_density(wrong(inside)))]
    assert density_defect(law, wrong, inside) > 0.05


@dense
def test_sampler_reaches_all_of_the_law(law):
    """A map with the right Jacobian may still cover only a part; means over the cube show it.

    The midpoint rule errs by the tails, and by the jumps of mixtures: below 4e-3. A spread wrong by
    10 % moves the means of the mixtures, which have no Jacobian test, by more than 4e-2.
    """
    u = midpoints({1: 4000, 2: 300, 3: 60}[law.dimension], law.dimension)
    assert smooth(law.from_uniform(u)).mean() == pytest.approx(integral(law, smooth), abs=4e-3)


@dense
def test_nodes_integrate_smooth_functions(law):
    points, weights = law.nodes(20)
    assert weights.sum() == pytest.approx(1, abs=1e-13)
    assert (weights >= 0).all()
    assert weights @ smooth(points) == pytest.approx(integral(law, smooth), abs=1e-11)


@dense
def test_nodes_integrate_polynomials_exactly(law):
    """Rules of 4 and of 12 nodes agree on every monomial of degree below 8."""
    rules = [law.nodes(4), law.nodes(12)]
    for powers in pairs(*[range(8)] * law.dimension):
        if sum(powers) < 8:
            coarse, fine = (w @ np.prod(x ** np.array(powers), axis=1) for x, w in rules)
            scale = rules[1][1] @ np.prod(np.abs(rules[1][0]) ** np.array(powers), axis=1)
            assert coarse == pytest.approx(fine, abs=1e-12 * scale)


# ----------------------------------------------------------------------------------- closed forms
def test_gaussian_is_the_textbook_formula():
    theta = np.array([[0.3, -1.0], [2.0, 0.5]])
    inverse, mean = np.linalg.inv(COV2), np.array([1.0, 0.0])
    exponent = np.einsum("ni,ij,nj->n", theta - mean, inverse, theta - mean) / 2
    expected = -exponent - np.log(2 * np.pi * np.sqrt(np.linalg.det(COV2)))
    law = gaussian(mean, cov=COV2)
    np.testing.assert_allclose(law.log_density(theta), expected, rtol=1e-13)
    diagonal = gaussian(mean, cov=np.diag([0.04, 9.0]))
    np.testing.assert_allclose(
        diagonal.log_density(theta), gaussian(mean, [0.2, 3.0]).log_density(theta), rtol=1e-13
    )


@pytest.mark.parametrize("D", [1, 2, 3, 10, 101])
def test_a_shell_of_radius_zero_is_a_gaussian(D):
    u = np.random.default_rng(D).random((50, D))
    u[:3, 0] = [1e-250, 1e-17, 1 - 2.0**-53]  # the tails count too
    left, right = shell(0.0, 0.7), gaussian(0.0, 0.7)
    np.testing.assert_allclose(left.from_uniform(u), right.from_uniform(u), atol=1e-13)
    np.testing.assert_allclose(left.log_density(u), right.log_density(u), rtol=1e-12)


def radial_cdf(r, R, s, D):
    """P(|theta| < r) under a shell in one and two dimensions, by the error function."""
    gauss = special.ndtr((r - R) / s) - special.ndtr(-R / s)
    if D == 1:
        return gauss
    bells = np.exp(-(R**2) / (2 * s**2)) - np.exp(-((r - R) ** 2) / (2 * s**2))
    return s**2 * bells + R * s * np.sqrt(2 * np.pi) * gauss


@pytest.mark.parametrize(("D", "R", "s"), [(1, 0.4, 0.5), (2, 0.4, 0.5), (1, 3, 0.1), (2, 3, 0.1)])
def test_the_radius_of_a_shell_follows_the_closed_form(D, R, s):
    u = np.random.default_rng(3).random((500, D))
    r = np.linalg.norm(shell(R, s).from_uniform(u), axis=1)
    wanted = special.gammainc(D / 2, (special.ndtri(u) ** 2).sum(axis=1) / 2)
    reached = radial_cdf(r, R, s, D) / radial_cdf(np.inf, R, s, D)
    np.testing.assert_allclose(reached, wanted, atol=1e-12)


@pytest.mark.parametrize("D", [1, 2, 3])
def test_shell_nodes_give_the_moments_of_the_radius(D):
    """E |theta|^2 by the polar integral on a fine grid of radii."""
    r = np.linspace(0, 3, 30001)
    density = r ** (D - 1) * np.exp(-((r - 0.5) ** 2) / (2 * 0.2**2))
    points, weights = shell(0.5, 0.2).on(AWB[:D]).nodes(3)
    expected = np.trapezoid(r**2 * density, r) / np.trapezoid(density, r)
    assert weights @ (points**2).sum(axis=1) == pytest.approx(expected, rel=1e-7)


def test_the_first_uniform_chooses_the_component_and_is_used_up():
    law = mixture([0.0, 0.25, 0.75], [point(9.0), uniform_box(0, 1), uniform_box(5, 6)])
    u = np.array([[0.05], [0.2], [0.25], [0.625], [0.9999]])
    expected = [[0.2], [0.8], [5.0], [5.5], [5 + 0.7499 / 0.75]]
    np.testing.assert_allclose(law.from_uniform(u), expected, atol=1e-12)


def test_boxes_are_closed_and_empty_outside():
    law = uniform_box(0, [1.0, 4.0])
    theta = [[0.0, 4.0], [0.5, 2.0], [1.1, 2.0], [0.5, -1e-9]]
    expected = [-np.log(4), -np.log(4), -np.inf, -np.inf]
    np.testing.assert_allclose(law.log_density(theta), expected)
    mixed = mixture([0.5, 0.5], [law, uniform_box(0, 1)])
    assert mixed.log_density([[9.0, 9.0]]) == -np.inf


@everyone
def test_tails_of_the_cube_and_of_space_stay_numbers(law):
    extreme = np.array([1e-300, 1e-17, 0.5, 1 - 2.0**-53])
    u = np.array(list(pairs(extreme, repeat=law.dimension)))
    assert np.isfinite(law.from_uniform(u)).all()
    if law in DENSE and not np.isfinite(law.support[0]).any():
        assert np.isfinite(law.log_density(1e6 * (u - 0.5))).all()


# -------------------------------------------------------------------------------------- structure
@dense
def test_factors_multiply_to_the_law(law):
    u = interior(law, 50)
    theta = law.from_uniform(u)
    parts = sum(factor.log_density(theta[:, list(at)]) for at, factor in law.factors)
    np.testing.assert_allclose(parts, law.log_density(theta), rtol=1e-12, atol=1e-12)


@dense
def test_components_add_to_the_law(law):
    theta = law.from_uniform(interior(law, 50))
    parts = sum(weight * np.exp(part.log_density(theta)) for weight, part in law.components)
    np.testing.assert_allclose(parts, np.exp(law.log_density(theta)), rtol=1e-12)
    assert all(len(part.components) == 1 for _, part in law.components)


@everyone
def test_factors_share_out_the_coordinates(law):
    at = [i for positions, _ in law.factors for i in positions]
    assert sorted(at) == list(range(law.dimension))
    for positions, factor in law.factors:
        assert factor.coords == tuple(law.coords[i] for i in positions)


def test_separable_laws_split_into_lines():
    law = product(w=gaussian(1, [2.0, 3.0]), a=uniform_box(0, 1)).on(AWB)
    assert dict(law.factors) == {
        (0,): UniformBox(0.0, 1.0, coords=("a",)),
        (1,): Gaussian(1.0, 2.0, coords=("w1",)),
        (2,): Gaussian(1.0, 3.0, coords=("w2",)),
    }
    assert [len(at) for at, _ in gaussian(0, cov=COV2).on(AW).factors] == [2]
    assert [type(part) for _, part in point((1, 2)).on(AW).factors] == [Point, Point]
    np.testing.assert_array_equal(point(2).on(AW).value, [2, 2])


@everyone
def test_all_points_lie_in_the_support_and_nearly_all_within_reach(law):
    """Of a midpoint rule with 1/64 on each side at most the share 1/8 may lie beyond a side."""
    points = law.from_uniform(midpoints(64 if law.dimension < 3 else 32, law.dimension))
    low, high = law.support
    assert ((low <= points) & (points <= high)).all()
    low, high = law.reach(0.1)
    assert (points < low).mean(axis=0).max() <= 0.125
    assert (points > high).mean(axis=0).max() <= 0.125


def test_reach_is_the_quantile_of_the_marginal():
    for law, std in [
        (gaussian(1, 2).on(AW), [2, 2]),
        (gaussian(1, cov=COV2), [1.3**0.5, 0.5**0.5]),
    ]:
        low, high = law.reach(1e-9)
        np.testing.assert_allclose((high - 1) / std, -special.ndtri(1e-9), rtol=1e-12)
        np.testing.assert_allclose(1 - low, high - 1, rtol=1e-12)
    low, high = shell(1.0, 0.1).on(A).reach(1e-6)
    assert 1 - special.ndtr((high[0] - 1) / 0.1) == pytest.approx(2e-6, rel=1e-6)  # P(|a| > high)


# --------------------------------------------------------------------------- binding and records
@everyone
def test_bound_laws_stay_themselves_and_survive_another_process(law):
    assert law.on(law.coords) is law
    assert pickle.loads(pickle.dumps(law)) == law
    assert hash(law) == hash(law.on(list(law.coords)))


@everyone
def test_repr_is_the_call_that_made_it(law):
    assert eval(repr(law)).on(law.coords) == law


def test_laws_of_plain_dimension_need_no_binding():
    u = midpoints(3, 2)
    for law in (gaussian(), uniform_box(0, [1, 2]), shell(1, 0.1), point(0), gaussian(cov=COV2)):
        np.testing.assert_array_equal(law.from_uniform(u), law.on(AW).from_uniform(u))
    assert gaussian([0, 1, 2]).dimension == 3
    assert gaussian(cov=COV2).nodes(2)[0].shape == (4, 2)
    assert isinstance(gaussian(cov=COV2), CorrelatedGaussian)


def test_a_key_covers_its_name_or_its_numbered_names():
    coords = ("a", "w1", "w2", "w10", "b")
    law = product(a=point(0), w=gaussian(), b=gaussian(1)).on(coords)
    assert [part.coords for _, part in law.parts] == [("a",), ("w1", "w2", "w10"), ("b",)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: gaussian(std=0), "> 0"),
        (lambda: gaussian(std=[1, -1]), "> 0"),
        (lambda: gaussian(np.nan), "mean=nan"),
        (lambda: gaussian([0, 1], [1, 1, 1]), r"lengths \[2, 3\]"),
        (lambda: gaussian(std=1, cov=COV2), "both std and cov"),
        (lambda: gaussian(cov=[[1, 2], [2, 1]]), "positive definite"),
        (lambda: gaussian(cov=[[1, 0.5], [0, 1]]), "symmetric"),
        (lambda: gaussian(cov=[1, 2]), r"shape \(2,\)"),
        (lambda: gaussian([0, 0, 0], cov=COV2), "lengths"),
        (lambda: uniform_box(1, 1), "low < high"),
        (lambda: uniform_box(0, np.inf), "high=inf"),
        (lambda: uniform_box([0, 0], [1, 1, 1]), "lengths"),
        (lambda: shell(-1, 1), "radius >= 0"),
        (lambda: shell(1, 0), "width > 0"),
        (lambda: point([[0.0]]), "one finite number"),
        (lambda: product(), "not a law"),
        (lambda: product(a=1.0), "not a law"),
        (lambda: mixture([], []), "not a law"),
        (lambda: mixture([0.5, 0.6], [gaussian(), point(0)]), "sum to 1.1"),
        (lambda: mixture([1.5, -0.5], [gaussian(), point(0)]), r"weights\[1\]"),
        (lambda: mixture([0.5, 0.5], [gaussian([0, 0]), point([0, 0, 0])]), "different"),
        (lambda: gaussian([0, 1]).on(AWB), r"3 coordinate\(s\): a, w1, w2"),
        (lambda: gaussian().on(()), "at least one"),
        (lambda: gaussian().on(("a", "a")), "named once"),
        (lambda: product(a=gaussian()).on(AW), r"2 coordinate\(s\) a, w"),
        (lambda: product(a=gaussian(), w=gaussian(), b=gaussian()).on(AW), "b covers none"),
        (lambda: product(w=gaussian(), w1=gaussian(), a=gaussian()).on(AWB), "w1 covers w1"),
        (lambda: product(a=gaussian()).log_density([[0.0]]), "first be bound"),
        (lambda: gaussian().nodes(3), "bind it"),
        (lambda: gaussian().on(AW).nodes(0), "at least one node"),
        (lambda: gaussian().on(AW).nodes(4000), "fewer nodes"),
        (lambda: shell(1, 0.1).on(("a", "w1", "w2", "w3")).nodes(2), "1, 2 and 3"),
        (lambda: gaussian().on(AW).log_density(np.zeros((4, 3))), r"3 column\(s\)"),
        (lambda: gaussian().log_density(np.zeros(4)), r"\(N, D\)"),
        (lambda: gaussian().from_uniform([[0.0]]), "strictly between"),
        (lambda: gaussian().from_uniform([[1.0]]), "strictly between"),
        (lambda: gaussian().from_uniform([[np.nan]]), "strictly between"),
        (lambda: gaussian().on(A).reach(0.7), "between 0 and 1/2"),
        (lambda: point(0).log_density([[0.0]]), "no density"),
        (lambda: ATOMIC[1].log_density(np.zeros((1, 3))), "no density"),
        (lambda: ATOMIC[2].log_density(np.zeros((1, 1))), "no density"),
    ],
)
def test_bad_input_is_refused_by_name(wrong, message):
    with pytest.raises(InvalidInput, match=f"(?s){message}"):
        wrong()


# --------------------------------------------------------------------------------- mass outside
@everyone
def test_outside_is_the_inverse_of_reach(law):
    """Beyond each of the 2D sides of reach(tail) lies at most tail; beyond none nothing."""
    wide = np.full(law.dimension, np.inf)
    assert law.outside(-wide, wide) == 0
    for tail in (1e-9, 1e-3, 0.2):
        assert law.outside(*law.reach(tail)) <= 2 * law.dimension * tail * (1 + 1e-6)


@dense
def test_outside_bounds_the_mass_outside_a_box(law):
    """Against the share of a fine lattice of the cube that falls out, to the lattice's own error.

    Exact in one dimension; in more, mass beyond two sides counts twice, and shells take spheres.
    """
    count = {1: 4000, 2: 300, 3: 60}[law.dimension]
    theta = law.from_uniform(midpoints(count, law.dimension))
    for tail in (0.02, 0.1):
        low, high = law.reach(tail)
        low, high = low + 0.1 * (high - low), high - 0.05 * (high - low)
        share = ((theta < low) | (theta > high)).any(axis=1).mean()
        bound = law.outside(low, high)
        assert bound >= share - 3 / count
        if law.dimension == 1:
            assert bound == pytest.approx(share, abs=3 / count)
        sides = (theta < low).mean(axis=0) + (theta > high).mean(axis=0)
        if "shell" not in repr(law):
            assert bound == pytest.approx(sides.sum(), abs=6 * law.dimension / count)


def test_outside_of_atoms_and_of_a_ball_about_nothing():
    assert point([0.5, 2.0]).outside([0, 0], [1, 1]) == 1
    assert point(0.5).on(A).outside([0.5], [0.5]) == 0
    mixed = mixture([0.25, 0.75], [point(3.0), uniform_box(0.0, 2.0)]).on(A)
    assert mixed.outside([0.5], [np.inf]) == pytest.approx(0.75 / 4)
    assert shell(1.0, 0.1).on(AW).outside([2.0, -5.0], [5.0, 5.0]) == pytest.approx(1.0)
    assert shell(1.0, 0.1).on(A).outside([0.0], [5.0]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: gaussian("a"), "gaussian's mean is not an array of numbers: 'a'"),
        (lambda: gaussian(cov=[[1, 2], [3]]), "cov is not an array of numbers"),
        (lambda: gaussian(cov=[]), r"give \(D, D\)"),
        (lambda: gaussian(std=0.0), r"point\(mean\)"),
        (lambda: shell("a", 1.0), "shell.'a', 1.0"),
        (lambda: mixture("ab", [gaussian(), gaussian()]), "weights is not an array of numbers"),
        (lambda: gaussian(0.0).on(AW).outside([0.0], [1.0]), "ends of shapes"),
    ],
)
def test_what_is_no_number_is_refused(wrong, message):
    with pytest.raises(InvalidInput, match=f"(?s){message}"):
        wrong()


def test_a_negative_spread_is_not_sent_to_a_point():
    with pytest.raises(InvalidInput) as refusal:
        gaussian(std=-1)
    assert "point" not in str(refusal.value)
