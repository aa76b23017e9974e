"""Problem and grid speak of the same space, or the error says where they do not."""

import numpy as np
import pytest

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.flows.agreement import resolved_walls

DOMAIN = {"theta": mf.circle(2.0), "r": mf.half_line(), "h": mf.interval(-1, 1)}
COORDS = ("u", "theta", "r", "h")


def problem(entropy=0.0, penalty=None):
    return mf.Problem(
        COORDS,
        lambda q: np.cos(np.pi * q[:, :2]),
        None,
        mf.square([1.0, 2.0]),
        penalty=penalty,
        entropy=entropy,
        initial=mf.uniform_box(0.1, 0.9),
        domain=DOMAIN,
    )


AXES = {
    "u": mf.uniform(-2, 2, 4),
    "theta": mf.periodic(0, 2, 4),
    "r": mf.uniform(0, 3, 4),
    "h": mf.uniform(-1, 1, 4),
}


def test_default_walls():
    """Open on a line at λ = 0; closed on intervals, half lines, and for λ > 0."""
    grid = mf.Grid(**AXES)
    walls = {"u": "open", "theta": "periodic", "r": "closed", "h": "closed"}
    assert resolved_walls(problem(), grid) == walls
    confined = problem(entropy=0.1, penalty=mf.ridge(1.0))
    assert resolved_walls(confined, grid) == walls | {"u": "closed"}


@pytest.mark.parametrize("walls", ["open", "closed"])
def test_walls_named_on_the_axis_of_a_line_hold(walls):
    grid = mf.Grid(**AXES | {"u": mf.uniform(-2, 2, 4, walls=walls)})
    assert resolved_walls(problem(), grid)["u"] == walls


@pytest.mark.parametrize("free", ["u", "r"])
def test_diffusion_is_refused_where_nothing_confines(free):
    """On lines and half lines; a penalty that grows, or closed walls that are named, allow it."""
    strengths = [0.0 if name == free else 1.0 for name in AXES]
    held = problem(entropy=0.1, penalty=mf.ridge(strengths))
    with pytest.raises(InvalidInput, match=f"nothing confines {free}"):
        resolved_walls(held, mf.Grid(**AXES))
    axis = AXES[free]
    walled = mf.uniform(axis.low, axis.high, axis.cells, walls="closed")
    assert resolved_walls(held, mf.Grid(**AXES | {free: walled}))[free] == "closed"
    assert resolved_walls(problem(penalty=mf.ridge(strengths)), mf.Grid(**AXES))


def test_diffusion_through_open_walls_is_refused():
    grid = mf.Grid(**AXES | {"u": mf.uniform(-2, 2, 4, walls="open")})
    with pytest.raises(InvalidInput, match="open walls"):
        resolved_walls(problem(entropy=0.1, penalty=mf.ridge(1.0)), grid)


def test_a_circle_may_be_cut_anywhere():
    for low in (-1.0, 0.0, 0.7):
        grid = mf.Grid(**AXES | {"theta": mf.periodic(low, low + 2, 5)})
        assert resolved_walls(problem(), grid)["theta"] == "periodic"


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ({"theta": mf.uniform(0, 2, 4)}, "theta=mf.periodic(0, 2, cells)"),
        ({"theta": mf.periodic(0, 2.1, 4)}, "circle of length 2"),
        ({"u": mf.periodic(-2, 2, 4)}, "u = periodic"),
        ({"h": mf.uniform(-1, 1.1, 4)}, "h=mf.uniform(-1, 1, cells)"),
        ({"h": mf.uniform(-1, 1, 4, walls="open")}, "interval is filled and closed"),
        ({"h": mf.periodic(-1, 1, 4)}, "h = periodic"),
        ({"r": mf.uniform(0.1, 3, 4)}, "half line"),
        ({"r": mf.uniform(-1, 3, 4)}, "half line"),
        ({"r": mf.uniform(0, 3, 4, walls="open")}, "half line"),
        ({"r": mf.periodic(0, 3, 4)}, "r = periodic"),
    ],
)
def test_geometries_that_disagree_are_refused(axes, named):
    with pytest.raises(InvalidInput) as refusal:
        resolved_walls(problem(), mf.Grid(**AXES | axes))
    assert named in str(refusal.value)


@pytest.mark.parametrize("names", ["u theta r", "theta u r h", "a theta r h"])
def test_axes_come_by_the_problems_names_in_its_order(names):
    grid = mf.Grid(**{name: AXES.get(name, AXES["u"]) for name in names.split()})
    with pytest.raises(InvalidInput) as refusal:
        mf.solve(problem(), grid, times=[0, 1])
    assert str(list(COORDS)) in str(refusal.value)
    assert "mf.Grid(u=…, theta=…, r=…, h=…)" in str(refusal.value)


def test_closed_ends_of_an_interval_may_be_named():
    grid = mf.Grid(**AXES | {"h": mf.stretched(-1, 1, 6, walls="closed")})
    assert resolved_walls(problem(), grid)["h"] == "closed"
    assert np.all(grid.axes["h"].edges[[0, -1]] == [-1, 1])
