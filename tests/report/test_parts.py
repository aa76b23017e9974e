"""The budget in a report: a table, numbers that JSON holds, and a figure that shows them."""

import json

import numpy as np
import pytest

import mfpde as mf
from mfpde.report import parts


def test_the_table_holds_the_parts_of_the_last_time(world):
    header, rows = parts.table(world.budget)
    assert header == ["particles", "20", "80", "density"]
    assert [row[0] for row in rows] == [
        "gap", "sampling", "grid", "time", "truncation", "particles for 0.05",
    ]  # fmt: skip
    assert all(len(row) == len(header) for row in rows)
    last = world.budget.dataset.isel(time=-1)
    assert rows[1][2].startswith(f"{float(last.sampling[-1]):.2g} [")
    assert rows[2][-1].startswith(f"{float(last.grid):.2g} [")
    assert rows[3][-1] == "not known"
    assert rows[5][-1] == (world.budget.needed() or "no number is enough")


def test_numbers_are_those_of_the_budget_and_plain_json(world):
    found = json.loads(json.dumps(parts.found(world.budget), allow_nan=False))
    last = world.budget.dataset.isel(time=-1)
    assert found["grid"]["high"] == pytest.approx(float(last.grid_high))
    assert found["sampling_slope"]["value"] == pytest.approx(float(last.slope))
    assert found["dominant"] == world.budget.dominant()
    alone = mf.budget(world.run, world.flows[20], own=world.own, tolerance=1e-9)
    found = json.loads(json.dumps(parts.found(alone), allow_nan=False))
    assert found["sampling_slope"]["value"] is None
    assert found["width_needed"] is None


def test_the_figure_shows_the_guide_and_the_width_that_would_do(world):
    left = parts.drawn(world.budget).axes[0]
    shown = {str(line.get_label()): line for line in left.lines}
    m, guide = shown["$m^{-1/2}$"].get_xdata(), shown["$m^{-1/2}$"].get_ydata()
    assert np.log(guide[1] / guide[0]) / np.log(m[1] / m[0]) == pytest.approx(-0.5)
    star = shown["enough for 0.05"]
    last = world.budget.dataset.isel(time=-1)
    assert star.get_xdata()[0] == pytest.approx(float(last.width_needed))
    hopeless = mf.budget(world.run, world.flows, own=world.own, tolerance=1e-9)
    labels = [line.get_label() for line in parts.drawn(hopeless).axes[0].lines]
    assert not any(str(label).startswith("enough") for label in labels)
