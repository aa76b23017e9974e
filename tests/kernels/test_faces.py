"""Fluxes kept face by face: what cells give is at most what they hold, and nothing else changes."""

import numpy as np
import pytest
from kernels.lines import WALLS
from numpy.testing import assert_allclose, assert_array_equal

from mfpde.kernels.faces import ALMOST, DUST, beside, delivered, given, shares, spent
from mfpde.kernels.limiters import FIRST_ORDER, MC
from mfpde.kernels.tiles import WALL

SHAPE = outer, N, inner = 2, 6, 3
WIDTHS = np.array([0.5, 1.0, 0.7, 0.3, 2.0, 1.1])
every_wall = pytest.mark.parametrize("wall", WALLS)


def densities_and_fluxes(wall, seed=4):
    """Cells of many sizes, one of them dust and one empty; a third of the faces carries nothing."""
    rng = np.random.default_rng(seed)
    rho = 10.0 ** rng.uniform(-12, 0, SHAPE)
    rho[0, 2, 1], rho[1, 4, 0] = 0.5 * DUST, 0.0
    flux = rng.normal(size=(outer, N + 1, inner)) * (rng.random((outer, N + 1, inner)) < 0.7)
    if wall == "closed":
        flux[:, [0, -1]] = 0.0
    if wall == "open":  # nothing enters
        flux[:, 0], flux[:, -1] = -abs(flux[:, 0]), abs(flux[:, -1])
    if wall == "periodic":
        flux[:, -1] = flux[:, 0]
    return rho, flux


def gifts(rho, flux, dt):
    """The scaled fluxes, and how many cells cannot afford what they would give."""
    asked = dt * (np.maximum(flux[:, 1:], 0) + np.maximum(-flux[:, :-1], 0)) / WIDTHS[:, None]
    enough, dust = asked <= ALMOST * rho, rho <= DUST
    share = np.where(enough, 1.0, ALMOST * rho / np.where(enough, 1.0, asked))
    share[dust] = 0.0
    donor = (np.arange(N + 1)[:, None] - (flux > 0)) % N
    return flux * np.take_along_axis(share, donor, axis=1), np.count_nonzero(~enough & ~dust)


@every_wall
@pytest.mark.parametrize("dt", [1e-14, 1e-3, 10.0])
def test_cells_give_at_most_what_they_hold(wall, dt):
    """Against the rule: who is scaled and by how much, sign, sum."""
    rho, flux = densities_and_fluxes(wall)
    expected, short = gifts(rho, flux, dt)
    share, through, after = np.zeros(SHAPE), flux.copy(), rho.copy()
    spent(through, 1 / WIDTHS, share)
    count = shares(rho.ravel(), share.ravel(), dt)
    given(through, share, WALL[wall])
    delivered(through, 1 / WIDTHS, dt, after)
    assert count == short
    assert_allclose(through, expected, rtol=1e-14, atol=0)
    assert after.min() >= 0
    left = dt * (through[:, -1] - through[:, 0])
    change = np.einsum("oki,k->oi", after - rho, WIDTHS)
    assert_allclose(change, -left, rtol=0, atol=1e-15 * N * (rho.max() + dt * abs(through).max()))
    empty = rho <= DUST
    assert (after[empty] >= rho[empty]).all(), "what holds next to nothing keeps it"


@pytest.mark.parametrize("limiter", [FIRST_ORDER, MC])
@every_wall
def test_linear_densities_are_seen_from_both_sides(wall, limiter):
    """A line is met exactly at inner faces; to first order both sides are the cells' own values."""
    centres = np.cumsum(WIDTHS) - WIDTHS / 2
    rho = np.broadcast_to(3.0 - 0.4 * centres[:, None], SHAPE).copy()
    gaps = np.diff(centres)
    around = np.concatenate([[gaps[0]], gaps, [gaps[-1]]])
    centred = WIDTHS / (around[1:] + around[:-1])
    below, above = np.full((2, outer, N + 1, inner), np.nan)
    beside(rho, centred, WALL[wall], limiter, below, above)
    inside = slice(2, N - 1)  # faces between cells that have neighbours on both sides
    if limiter == FIRST_ORDER:
        assert_array_equal(below[:, 1:N], rho[:, :-1])
        assert_array_equal(above[:, 1:N], rho[:, 1:])
    else:
        faces = 3.0 - 0.4 * np.cumsum(WIDTHS)[1 : N - 2, None]
        assert_allclose(below[:, inside], np.broadcast_to(faces, below[:, inside].shape))
        assert_allclose(above[:, inside], np.broadcast_to(faces, above[:, inside].shape))
    if wall == "periodic":
        assert_array_equal(below[:, 0], below[:, -1])
        assert_array_equal(above[:, 0], above[:, -1])
    else:
        assert not below[:, 0].any()
        assert not above[:, -1].any()
    assert (above[:, 0] == 0).all() == (below[:, -1] == 0).all() == (wall == "closed")
