"""Geometries: representatives on the circle, membership, and ends that suit the kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfpde.errors import InvalidInput
from mfpde.problems.geometry import Geometry, circle, half_line, interval, line, sphere

INF = np.inf
ALL = [line(), circle(2.5), half_line(), interval(-1.0, 3.0), sphere(1.5)]


def test_ends_and_names():
    assert [(g.kind, g.low, g.high) for g in ALL] == [
        ("line", -INF, INF),
        ("circle", 0.0, 2.5),
        ("half_line", 0.0, INF),
        ("interval", -1.0, 3.0),
        ("sphere", -1.5, 1.5),
    ]
    assert [eval(repr(g)) for g in ALL] == ALL


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_wrapping_changes_a_point_by_whole_turns(x, length):
    wrapped = float(circle(length).wrap(x))
    assert 0 <= wrapped < length
    turns = (x - wrapped) / length
    assert abs(turns - round(turns)) <= 1e-15 * (abs(x) / length + 1) * 4


def test_wrapping_a_tiny_negative_number_stays_below_the_length():
    assert circle(1.0).wrap(-1e-20) == 0.0


@pytest.mark.parametrize("geometry", [line(), half_line(), interval(-1, 3), sphere()], ids=str)
def test_only_circles_wrap(geometry):
    x = np.array([-7.0, 0.5, 9.0])
    np.testing.assert_array_equal(geometry.wrap(x), x)


@pytest.mark.parametrize(
    ("geometry", "inside"),
    [
        (line(), [True, True, True, True, False, False]),
        (circle(1.0), [True, True, True, True, False, False]),
        (half_line(), [False, True, True, True, False, False]),
        (interval(0, 1), [False, True, True, False, False, False]),
        (sphere(), [True, True, True, False, False, False]),
    ],
    ids=str,
)
def test_contains(geometry, inside):
    x = np.array([-0.1, 0.0, 1.0, 1.1, INF, np.nan])
    np.testing.assert_array_equal(geometry.contains(x), inside)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: circle(0),
        lambda: circle(-1),
        lambda: circle(INF),
        lambda: interval(1, 1),
        lambda: interval(2, 1),
        lambda: interval(0, INF),
        lambda: interval(np.nan, 1),
        lambda: sphere(0),
        lambda: sphere(INF),
        lambda: sphere("1"),
        lambda: Geometry("sphere", 0, 1),
        lambda: Geometry("circle", 1, 2),
    ],
)
def test_ends_that_do_not_suit_the_kind_are_refused(wrong):
    with pytest.raises(InvalidInput, match="runs from"):
        wrong()
