"""The loop: it lands on the instants, keeps what was asked for, and repeats itself bit for bit."""

import os
import subprocess
import sys

import numpy as np
import pytest
from loop.planted import X, Y, plain, square
from numpy.testing import assert_allclose

import mfpde as mf
from mfpde.errors import InvalidInput, NotAvailable, NumericalStop
from mfpde.loop.stepping import paced


@pytest.mark.parametrize(
    "times", [[0.0, 0.1, 0.35, 1.0], [0.5], [0.0], [0.3, 0.30000001], np.linspace(0, 0.7, 8)]
)
def test_it_lands_on_the_instants(times):
    run = mf.solve(plain(), square(), times=times)
    assert run.time.values.tolist() == list(times)
    assert_allclose(run.mass + run.escaped, 1, atol=1e-12)


def test_time_zero_is_the_law_itself():
    flow = mf.WassersteinFlow(plain(), square())
    run = mf.solve(plain(), square(), times=[0, 0.1])
    assert np.array_equal(run.rho[0], flow.start)
    assert run.attrs["steps"] > 0


def test_instants_do_not_bend_the_flow():
    """More instants only shorten steps: the end moves by the error of the steps alone."""
    few, many = (
        mf.solve(plain(), square(7, 32), times=np.linspace(0, 1, n)).prediction[-1] for n in (2, 41)
    )
    assert_allclose(few, many, atol=3e-3)


@pytest.mark.parametrize("remaining", [1.0, 1e-9, 0.3, 123.4])
@pytest.mark.parametrize("longest", [0.1, 0.3, 1 / 3, 7.0, np.inf])
def test_steps_are_equal_and_within_the_limit(remaining, longest):
    t, instant, dts = 5.0, 5.0 + remaining, []
    while t < instant:
        dt, t = paced(t, instant, longest)
        dts.append(dt)
        if len(dts) > 2000:
            break
    assert max(dts) <= longest * (1 + 1e-11)
    assert t == instant
    assert_allclose(dts, (instant - 5.0) / len(dts), rtol=1e-6)
    assert len(dts) == max(1, np.ceil((instant - 5.0) / longest * (1 - 1e-12)))


@pytest.mark.parametrize("t", [0.0, 1.0])
@pytest.mark.parametrize("longest", [0.0, 1e-30, 1e-120])
def test_steps_too_short_to_arrive_stop_in_words(t, longest):
    """Also at t = 0, where t + dt > t for every dt: no run may take 1e30 steps in silence."""
    with pytest.raises(NumericalStop) as stop:
        paced(t, t + 1.0, longest)
    assert f"t = {t:g}" in str(stop.value)


def test_two_identical_calls_agree_bitwise():
    runs = [
        mf.solve(plain(), square(), mf.muscl("vanleer"), times=[0, 0.3, 0.9], progress=False)
        for _ in range(2)
    ]
    assert runs[0].identical(runs[1])


def test_what_a_run_holds():
    x = np.column_stack([X, X**2])
    problem = mf.two_layer(x, Y, initial=mf.gaussian(0, 0.5), penalty=mf.ridge(0.1))
    axes = {"a": mf.uniform(-4, 4, 7), "w1": mf.stretched(-4, 4, 8), "w2": mf.uniform(-4, 4, 6)}
    run = mf.solve(problem, mf.Grid(**axes), mf.upwind(), times=[0, 0.2], escaped_tolerance=1)
    assert run.rho.dims == ("time", "a", "w1", "w2")
    assert run.prediction.dims == ("time", "sample")
    assert run.x.dims == ("sample", "input")
    for name in ("risk", "energy", "dissipation", "mass", "escaped", "escaped_energy"):
        assert run[name].dims == ("time",)
    assert np.array_equal(run.weight, np.full(6, 1 / 6))
    for c, axis in axes.items():
        assert np.array_equal(run[c], axis.centres)
        assert np.array_equal(run[f"{c}_edges"], axis.edges)
        assert run[c].attrs == {
            "geometry": "line",
            "low": -4.0,
            "high": 4.0,
            "wall_low": "open",
            "wall_high": "open",
        }
    facts = {"method": "upwind(cfl=0.9)", "order": 1.0, "quadrature": 2, "entropy": 0.0}
    assert facts.items() <= run.attrs.items()
    assert run.attrs["software"] == f"mfpde {mf.__version__}"
    volumes = mf.Grid(**axes).volumes
    assert_allclose((run.rho * volumes).sum(("a", "w1", "w2")), run.mass, rtol=1e-13)
    flow = mf.WassersteinFlow(problem, mf.Grid(**axes))
    field = flow.field(run.rho.values[-1])
    assert run.energy.values[-1] == field.energy
    assert run.risk.values[-1] == problem.loss.risk(run.prediction.values[-1])


def test_a_run_without_samples():
    problem = mf.kernel_problem(
        ("w",),
        lambda p, q: np.cos(p - q.T),
        lambda p: np.cos(p[:, 0] - 1),
        const=0.5,
        initial=mf.gaussian(0, 0.7),
        domain={"w": mf.circle(2 * np.pi)},
    )
    run = mf.solve(problem, mf.Grid(w=mf.periodic(0, 2 * np.pi, 40)), times=[0, 1, 2])
    assert run.sizes["sample"] == 0
    assert (np.diff(run.risk) < 0).all()
    assert (run.escaped == 0).all()


def test_what_is_kept():
    grid, times = square(), [0, 0.2, 0.5]
    full, sides, last = (
        mf.solve(plain(), grid, times=times, keep=k) for k in ("density", "marginals", "last")
    )
    assert "rho" not in sides
    assert "rho" not in last
    for part in (sides, last):
        assert np.array_equal(part.rho_last, full.rho[-1])
        assert np.array_equal(part.energy, full.energy)
    for c, other in (("a", "w"), ("w", "a")):
        expected = full.rho.sum(other) * grid.axes[other].widths[0]
        assert_allclose(sides[f"marginal_{c}"], expected.values, rtol=1e-12)
        assert f"marginal_{c}" not in last
    assert last.nbytes < sides.nbytes < full.nbytes


def test_watched_numbers():
    def mean_weight(now):
        return float((now.rho * now.a).sum() / now.rho.sum())

    def first(now):
        return float(now.prediction[0])

    run = mf.solve(plain(), square(), times=[0, 0.2, 0.5], watch=[mean_weight, first])
    assert np.array_equal(run.first, run.prediction[:, 0])
    expected = (run.rho * run.a).sum(("a", "w")) / run.rho.sum(("a", "w"))
    assert_allclose(run.mean_weight, expected, rtol=1e-13)


def named(name):
    def observer(now):
        return 1.0

    observer.__name__ = name
    return observer


@pytest.mark.parametrize(
    "names", [["risk"], ["rho"], ["time"], ["prediction"], ["a"], ["same", "same"]], ids=str
)
def test_watched_numbers_hide_nothing(names):
    """A name that the run uses, or one that two observers share, would overwrite a result."""
    with pytest.raises(InvalidInput) as refusal:
        mf.solve(plain(), square(), times=[0, 0.1], watch=[named(name) for name in names])
    assert names[-1] in str(refusal.value)


def test_progress(capsys, monkeypatch):
    times = [0, 0.1, 0.2]
    mf.solve(plain(), square(), times=times)
    mf.solve(plain(), square(), times=times, progress=False)
    assert capsys.readouterr() == ("", "")
    mf.solve(plain(), square(), times=times, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "t = 0.2 of 0.2" in shown.err
    assert shown.err.endswith("\n")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    mf.solve(plain(), square(), times=times)
    assert "risk" in capsys.readouterr().err
    seen = []
    run = mf.solve(
        plain(), square(), times=times, progress=lambda state, end: seen.append((state.t, end))
    )
    assert len(seen) == run.attrs["steps"]
    assert seen[-1] == (0.2, 0.2)


def test_the_tolerated_escape_is_recorded():
    """It is part of the run's identity."""
    run = mf.solve(plain(), square(), times=[0, 0.1], escaped_tolerance=0.125)
    assert 0.125 in run.attrs.values()


def test_a_method_that_does_not_diffuse_says_so():
    with pytest.raises(NotAvailable) as refusal:
        mf.solve(plain(entropy=0.1), square(), mf.upwind())
    assert "entropy = 0.1" in str(refusal.value)
    assert "scharfetter_gummel" in str(refusal.value)


def bits_by_threads(code: str) -> set[str]:
    """What the code prints with one and with two threads of linear algebra."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **dict.fromkeys(names, str(count))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in (1, 2)
    }


def test_bits_do_not_depend_on_threads():
    """Sums long enough for a library to split them; a density and particles."""
    code = """
import hashlib, numpy as np, mfpde as mf, particle_ref as pr
x = np.linspace(-2, 2, 96)
problem = mf.two_layer(x, np.sin(2 * x), initial=mf.gaussian(std=0.5))
axis = mf.uniform(-4, 4, 160)
run = mf.solve(problem, mf.Grid(a=axis, w=axis), mf.muscl(), [0, 0.2])
flow = pr.run(problem, pr.sample(problem, 20000, seed=1), pr.Descent(0.1), [0, 0.3])
for values in (run.rho, run.energy, flow.position, flow.risk):
    print(hashlib.sha256(values.values.tobytes()).hexdigest())
"""
    seen = bits_by_threads(code)
    assert len(seen) == 1
    assert len(seen.pop().split()) == 4


def test_every_variable_says_what_it_is(tmp_path):
    """In memory and on disk, where like variables share all metadata but their words."""
    asked = (plain(), square(), mf.upwind(), [0, 0.1])
    stored = mf.solve(*asked, to=tmp_path / "run", keep="marginals")
    run = mf.solve(*asked, keep="marginals")
    named = [name for name, v in run.variables.items() if "long_name" in v.attrs]
    assert {"time", "risk", "marginal_a", "rho_last", "weight"} <= set(named)
    assert all(stored[name].attrs == run[name].attrs for name in named)
    assert len({run[name].attrs["long_name"] for name in named}) == len(named)


def test_single_precision_keeps_every_cell_to_6e_8(tmp_path):
    """It is how densities are kept and nothing else: steps, numbers and resuming are the same."""
    asked, times = (plain(), square(), mf.muscl()), [0, 0.1, 0.2]
    whole, kept = mf.solve(*asked, times), mf.solve(*asked, times, keep="single")
    assert kept.rho.dtype == np.float32
    assert_allclose(kept.rho, whole.rho, rtol=2.0**-24, atol=1e-37)
    for name in set(whole.data_vars) - {"rho"}:
        assert np.array_equal(kept[name], whole[name])
    mf.solve(*asked, times[:2], to=tmp_path / "run", keep="single")
    stored = mf.solve(*asked, times, to=tmp_path / "run", keep="single")
    assert stored.identical(kept.assign_attrs(stored.attrs))
    assert mf.compare(whole, kept).prediction_gap.max() == 0
    assert float(mf.compare(whole, kept).energy_distance.max()) < 1e-6
    told = {
        keep: mf.forecast(*asked, np.arange(100), keep).memory for keep in ("density", "single")
    }
    assert 0.5 < told["single"] / told["density"] < 0.6
