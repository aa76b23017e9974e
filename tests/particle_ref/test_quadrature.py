"""Rules for the law at time 0, and its density on circles."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

import particle_ref as pr
from particle_ref.quadrature import rules, wrapped_log_density
from particle_ref.spaces import Space

LINES = Space(("a", "w"), {})


def uniform(low, high):
    """The uniform law on a box, its ends included."""
    low, high = np.atleast_1d(low).astype(float), np.atleast_1d(high).astype(float)

    def log_density(u):
        inside = ((low <= u) & (u <= high)).all(axis=1)
        return np.where(inside, -np.log(high - low).sum(), -np.inf)

    def nodes(k):
        x, w = np.polynomial.legendre.leggauss(k)
        return ((low + high) / 2 + (high - low) / 2 * x[:, None]), w / 2

    return SimpleNamespace(
        log_density=log_density, nodes=nodes, support=(low, high), reach=lambda tail: (low, high)
    )


def on(toy, law, *coords, **domain):
    return toy.KernelProblem(coords=coords, initial=law, domain=domain)


@pytest.mark.parametrize(
    ("m", "D", "k"), [(1, 1, 1), (7, 1, 7), (99, 2, 9), (100, 2, 10), (1000, 3, 10), (80, 4, 2)]
)
def test_a_quadrature_cloud_has_k_nodes_per_coordinate(toy, m, D, k):
    coords = tuple("abcd"[:D])
    law = toy.normal(np.arange(D) / 4, 0.5)
    cloud = pr.sample(on(toy, law, *coords), m, kind="quadrature")
    nodes, weights = law.nodes(k)
    np.testing.assert_array_equal(cloud.position, nodes)
    np.testing.assert_array_equal(cloud.weight, weights)


def test_a_quadrature_cloud_knows_moments_exactly(toy):
    """E a^i w^j of independent normal coordinates, for degrees below 2k = 12."""
    cloud = pr.sample(on(toy, toy.normal([0.0, 0.0], [0.5, 2.0]), "a", "w"), 36, kind="quadrature")
    a, w = cloud.position.T / [[0.5], [2.0]]
    for i, j, moment in [(2, 0, 1), (4, 2, 3), (6, 4, 45), (10, 10, 945**2), (3, 5, 0)]:
        assert cloud.weight @ (a**i * w**j) == pytest.approx(moment, rel=1e-12, abs=1e-10)


def test_a_point_is_one_node_and_needs_no_more(toy):
    def law(*std):
        """Coordinates at 0.3, or normal where there is a standard deviation."""
        free = np.flatnonzero(std)
        ends = np.where(np.array(std) > 0, np.inf, 0.3)

        def nodes(k):
            z, w = np.polynomial.hermite_e.hermegauss(k)
            points = np.full((k if len(free) else 1, len(std)), 0.3)
            points[:, free] = z[:, None]
            return points, w / w.sum() if len(free) else np.ones(1)

        return SimpleNamespace(nodes=nodes, support=(np.minimum(ends, -ends + 0.6), ends))

    assert len(pr.sample(on(toy, law(0.0, 0.0), "a", "w"), 50, kind="quadrature")) == 1
    assert len(pr.sample(on(toy, law(0.0, 1.0), "a", "w"), 50, kind="quadrature")) == 50


def test_laws_without_a_rule_are_refused(toy):
    with pytest.raises(pr.InvalidInput, match="has no nodes"):
        pr.sample(toy.KernelProblem(coords=("q",)), 8, kind="quadrature")
    pairs = SimpleNamespace(
        nodes=lambda k: (np.zeros((2 * k, 1)), np.full(2 * k, 0.5 / k)),
        support=(np.array([-1.0]), np.array([1.0])),
    )
    assert len(pr.sample(on(toy, pairs, "q"), 9, kind="quadrature")) == 8
    with pytest.raises(pr.InvalidInput, match="m = 1"):
        pr.sample(on(toy, pairs, "q"), 1, kind="quadrature")


# ------------------------------------------------------------------------------ rules by density


def test_the_tensor_rule_of_a_wide_law(toy):
    """E 1/(1 + a²) for a of deviation 3, a Voigt profile, of which a Gauss rule knows little."""
    law = toy.normal([0.0], [3.0])
    exact = np.sqrt(np.pi / 2) / 3 * special.erfcx(1 / np.sqrt(18))
    errors = {}
    for name, rule in rules(law, Space(("a",), {}), 1e-14).items():
        u, p = rule(220)
        errors[name] = abs(p @ (1 / (1 + u[:, 0] ** 2)) - exact)
        assert p.sum() == pytest.approx(1, abs=1e-13)
    assert errors["tensor"] < 1e-12
    assert errors["gauss"] > 1e-5


def test_the_tensor_rule_leaves_out_what_weighs_nothing(toy):
    """In 3 dimensions nearly half of a box lies outside the ball that holds the mass."""
    law = toy.normal([0.3, -0.2, 0.1], [3.0, 0.7, 1.0])
    u, p = rules(law, Space(("a", "w", "b"), {}), 1e-14)["tensor"](24)
    assert 0.4 * 24**3 < len(p) < 0.7 * 24**3
    assert p.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(p @ u, law.mean, rtol=0, atol=1e-12)


def test_a_rule_too_coarse_does_not_see_the_mass(toy):
    narrow = toy.normal([0.0, 0.0], [1.0, 1e-3])
    wide = SimpleNamespace(**{n: getattr(narrow, n) for n in ("log_density", "nodes", "support")})
    wide.reach = lambda tail: (np.array([-8.0, -8.0]), np.array([8.0, 8.1]))
    assert abs(rules(wide, LINES, 1e-14)["tensor"](40)[1].sum() - 1) > 0.5


def test_laws_with_sharp_ends_and_on_circles():
    """Gauss–Legendre inside a box; equal weights round a circle, exact below the k-th harmonic."""
    box = rules(uniform([-1.0], [2.0]), Space(("w",), {}), 1e-14)["tensor"]
    w, p = box(6)
    assert p @ w[:, 0] ** 11 == pytest.approx((2**12 - 1) / 12 / 3, rel=1e-12)
    space = Space(("w",), {"w": SimpleNamespace(kind="circle", low=0.0, high=3.0)})
    w, p = rules(uniform([0.0], [3.0]), space, 1e-14)["tensor"](7)
    np.testing.assert_allclose(p, 1 / 7, rtol=1e-14)
    for harmonic in range(1, 7):
        assert abs(p @ np.exp(2j * np.pi * harmonic * w[:, 0] / 3)) < 1e-14


def test_mass_on_points_has_no_tensor_rule():
    law = uniform([0.0, 0.0], [1.0, 1.0])
    law.support = (np.zeros(2), np.array([1.0, 0.0]))
    assert list(rules(law, LINES, 1e-14)) == ["gauss"]


def circles(length, *coords):
    return Space(coords, {coords[-1]: SimpleNamespace(kind="circle", low=0.0, high=length)})


def test_a_normal_law_wrapped_round_a_circle(toy):
    """Against its Fourier series 1/L Σ_k e^{−(2πkσ/L)²/2} cos(2πk(w − m)/L)."""
    length, mean, std = 2.0, 0.3, 1.1
    w = np.array([0.0, 0.4, 1.999, -3.6, 14.4])
    k = np.arange(1, 30)[:, None]
    decay = np.exp(-((2 * np.pi * k * std / length) ** 2) / 2)
    series = (1 + 2 * (decay * np.cos(2 * np.pi * k * (w - mean) / length)).sum(axis=0)) / length
    wrapped = wrapped_log_density(toy.normal([mean], [std]), circles(length, "w"))
    np.testing.assert_allclose(np.exp(wrapped(w[:, None])), series, rtol=1e-12)


def test_a_law_that_fills_the_circle_is_not_doubled_where_it_closes(toy):
    for low in (0.0, -1.0, 0.25):
        wrapped = wrapped_log_density(uniform([low], [low + 2.0]), circles(2.0, "w"))
        seam = np.array([[0.0], [2.0], [low], [low + 2.0], [0.7]])
        np.testing.assert_allclose(np.exp(wrapped(seam)), 0.5, rtol=1e-14)


def test_only_circles_are_wrapped(toy):
    law = toy.normal([0.0, 0.0], [0.3, 0.3])
    wrapped = wrapped_log_density(law, circles(4.0, "a", "w"))
    u = np.array([[0.2, 0.1], [0.2, 4.1], [4.2, 0.1]])
    np.testing.assert_allclose(wrapped(u), law.log_density(u * [1, 0] + [0, 0.1]), rtol=1e-12)
    with pytest.raises(pr.InvalidInput, match="log_density"):
        wrapped_log_density(SimpleNamespace(), LINES)
