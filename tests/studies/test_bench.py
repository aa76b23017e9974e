"""The benchmarks: known densities are right, solvers converge to them, numbers become a page."""

import json
from importlib import import_module
from inspect import signature

import numpy as np
import pytest
from exact.cases import ENTROPIC
from orders.observed import observed_orders

import particle_ref as pr
from studies.bench.__main__ import RESULTS, measure
from studies.bench.attempts import ACCOUNTS, account_of
from studies.bench.cases import case
from studies.bench.goals import duration, fastest, points_of, rows
from studies.bench.ladders import Point, frontier, measured, reach
from studies.bench.page import draw, text
from studies.bench.plan import NEEDS, Job, jobs


def points(name, on, *cells):
    return [measured(name, case(on), n, 0, 1) for n in cells]


def test_case_a_is_the_closed_form():
    """Its horizon and an error as in the package's reference tables; mass 1."""
    a = case("A")
    assert a.horizon == pytest.approx(1.031, abs=1e-3)
    assert a.averages(48).sum() * (6 / 48) ** 2 == pytest.approx(1.0, abs=1e-5)
    assert points("muscl", "A", 64)[0].error == pytest.approx(1.43e-2, rel=0.01)


def test_case_e_is_that_of_the_orders():
    known, e = ENTROPIC["X1 entropy"], case("E")
    assert known.horizon == e.horizon
    exact = known.averages(e.grid(32), known.horizon)
    np.testing.assert_allclose(e.averages(32), exact, rtol=0, atol=1e-7)  # 3 nodes, and 4


def test_a_spline_holds_the_truth_of_characteristics(tmp_path):
    """To 1e-6 of its maximum, also where it is read again from the scratch folder."""
    t = case("T", tmp_path)
    where = np.random.default_rng(0).uniform(-1.5, 2.0, (60, 2))
    exact = pr.Truth(t.problem, t.horizon, tolerance=1e-10).density(where, t.horizon)
    for density in (t.density, case.__wrapped__("T", tmp_path).density):
        found = [density(a[None], w[None])[0, 0] for a, w in where]
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6 * exact.max())


@pytest.mark.parametrize(
    ("peer", "ours", "cells"),
    [
        ("NumPy upwind", "upwind", (24, 48)),
        ("NumPy MUSCL", "muscl", (24, 48)),
        ("FiPy upwind", "upwind", (24,)),
        ("JAX MUSCL", "muscl", (24, 48)),
    ],
)
def test_peers_of_one_scheme_miss_the_density_by_the_same(peer, ours, cells):
    """Steps differ by rounding up, so errors may by 2 %."""
    if peer in NEEDS:
        pytest.importorskip(NEEDS[peer])
    theirs, mine = (points(name, "A", *cells) for name in (peer, ours))
    for one, other in zip(theirs, mine, strict=True):
        assert one.error == pytest.approx(other.error, rel=0.02)


@pytest.mark.parametrize(
    ("name", "cells", "order", "slack"),
    [
        ("NumPy MUSCL", (48, 64), 2.05, 0.1),
        ("FiPy VanLeer", (24, 32), 1.6, 0.2),  # underresolved, and of order 1 in time
    ],
)
def test_peers_converge_to_the_density(name, cells, order, slack):
    found = points(name, "A", *cells)
    assert observed_orders([p.error for p in found], cells)[0] == pytest.approx(order, abs=slack)


def test_fipy_and_scharfetter_gummel_are_one_discretisation():
    theirs, ours = (
        points(name, "E", 32)[0] for name in ("fipy('exponential', dt)", "scharfetter_gummel(dt)")
    )
    assert theirs.steps == ours.steps == 8
    assert theirs.error == pytest.approx(ours.error, rel=0.05)


def test_reaching_a_target():
    """Errors of order 2, seconds ∝ cells³: a hundredth of the error costs a thousand times."""
    ladder = [Point(32, 10, 4e-2, 1.0, 0.0), Point(64, 20, 1e-2, 8.0, 0.0)]
    assert reach(ladder, 5e-2).mark == "≤"
    assert (reach(ladder, 1e-2).seconds, reach(ladder, 1e-2).mark) == (8.0, "")
    far = reach(ladder, 1e-4)
    assert far.mark == "*"
    assert far.seconds == pytest.approx(8000.0)
    assert reach(ladder[:1], 1e-3) is None
    assert reach([ladder[1], Point(96, 30, 2e-2, 30.0, 0.0)], 1e-3) is None  # grows
    slower = Point(96, 30, 2e-2, 30.0, 0.0)
    assert frontier([slower, *ladder]) == ladder


def test_durations():
    shown = [duration(s) for s in (2e-6, 3.4e-3, 0.5, 1.5, 90, 150, 8000, 2e5, 1e9)]
    assert shown == [
        "2 µs",
        "3.4 ms",
        "500 ms",
        "1.5 s",
        "90 s",
        "2.5 min",
        "2.22 h",
        "2.31 days",
        "31.7 years",
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A few jobs of the plan on tiny grids, as the command runs and keeps them."""
    folder = tmp_path_factory.mktemp("bench")
    file = folder / "results" / "results.json"
    ladder = {"on": "A", "scratch": str(folder), "longest": 0.2, "cells": [24, 32], "repeats": 1}
    plan = [
        Job(("ladder", "A", name), "ladders.ladder", {"name": name} | ladder)
        for name in ("muscl", "semi_lagrangian(9, dt)", "NumPy MUSCL")
    ]
    plan += [Job(("machine",), "costs.machine"), Job(("work",), "costs.works")]
    plan += [Job(("nowhere",), "costs.machine", needs="no_such_package")]
    plan += [Job(("step", "upwind", "64"), "costs.stepped", {"name": "upwind", "cells": 64})]
    size = {"cells": 16, "inputs": 2, "steps": 2}
    plan += [Job(("dimension", "muscl", "3"), "costs.stepped", {"name": "muscl"} | size)]
    measure(plan[:1], file, inside=True)
    measure(plan[1:], file, inside=True)
    return json.loads(file.read_text(encoding="utf-8"))


def test_what_is_measured(results):
    assert "nowhere" not in results
    for name in ("muscl", "NumPy MUSCL"):
        coarse, fine = points_of(results, "A", name)
        assert (coarse.cells, fine.cells) == (24, 32)
        assert coarse.error > fine.error > 1e-2
        assert 0 < coarse.seconds < 60
    steps = [p.steps for p in points_of(results, "A", "semi_lagrangian(9, dt)") if p.cells == 24]
    assert steps == [2**k for k in range(len(steps))]
    assert len(steps) > 1
    assert results["dimension | muscl | 3"]["cells"] == 16**3


def test_the_page_is_made_of_the_stored_numbers(results, tmp_path):
    results = results | {"bandwidth": {"L2": 100.0, "L3": 80.0, "DRAM": 20.0}}
    draw(results, tmp_path)
    page = (tmp_path / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert page == text(results)
    best = fastest(results, "A", ["muscl", "semi_lagrangian(9, dt)"], 5e-2)
    assert f"{duration(best.seconds)} (1)" in page
    for wanted in (
        "`muscl`",
        "NumPy MUSCL",
        "quoted",
        "not measured",
        results["machine"]["processor"],
    ):
        assert wanted in page
    for name in ("work-precision-A", "costs"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000
    step = {"processor": 1e-4, "clock": 1e-4, "cells": 512.0**2}
    reached = {r.figure: r for r in rows(results | {"step | upwind | 512": step})}
    row = reached["upwind step in cache, 512²"]
    assert (row.measured, row.reached) == ("2621 Mcells/s", True)


def test_the_plan_names_what_exists(tmp_path):
    """Every job's function is there, for the whole run and the quick one; keys are unique."""
    for quick in (False, True):
        plan = jobs(str(tmp_path), quick)
        assert len({job.name for job in plan}) == len(plan)
        for job in plan:
            module, function = job.work.split(".")
            wanted = signature(getattr(import_module(f"studies.bench.{module}"), function))
            wanted.bind(**json.loads(json.dumps(job.arguments)))


def test_every_goal_that_is_missed_has_its_account():
    """In the numbers that the page is drawn from; two attempts at least, no account too many."""
    stored = rows(json.loads(RESULTS.read_text(encoding="utf-8")))
    for row in stored:
        if row.reached is False:
            told = account_of(row.figure)
            assert told is not None, row.figure
            assert len(told.kept + told.dropped) >= 2, row.figure
    for each in ACCOUNTS:
        assert any(account_of(row.figure) is each for row in stored), each.figures
