"""The bench of particles runs; what it measures is finite and grows with the work."""

import runpy
from pathlib import Path

import pytest

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "studies" / "bench" / "particles.py"))


@pytest.mark.parametrize("name", BENCH["METHODS"])
def test_a_step_is_timed(name):
    size = BENCH["Size"](50, 4, 2, 2)
    taken, peak = BENCH["measured"](size, name, 1)
    assert 0 < taken < 1e5
    assert 10 < peak < 1e5


def test_the_goals_are_stated_once():
    goals = {(s.m, s.n, s.d): s.goal for s in BENCH["SIZES"] if s.goal == s.goal}
    assert goals == {(10**4, 64, 1): 1.5, (1000, 256, 100): 3.0}
