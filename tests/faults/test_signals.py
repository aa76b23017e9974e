"""Signals and limits in time: the right exit code, no traceback, and the same bits in the end.

By default one signal of a kind; MFPDE_FAULTS=20 makes it twenty of each and ten limits.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from faults.disk import CLOUD, GRID, PROBLEM, TIMES, bits, density, failing, leftovers, particles
from test_cli import at_once
from typer.testing import CliRunner

import mfpde as mf
import particle_ref as pr
from mfpde import cli
from mfpde.errors import InvalidInput, Stopped
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.problems.data import motorcycle

COUNT = int(os.environ.get("MFPDE_FAULTS", 1)) or 20
SNAPSHOTS = 21
ASKED = ["--no-bias", "--cells", "14", "--horizon", "1", "--particles", "5", "--seeds", "2"]


# The command line -------------------------------------------------------------------------------


def started(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mfpde", *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def committed(folder: Path) -> int:
    """Snapshots so far; -1 before there is a plan."""
    if not (folder / "plan.json").exists():
        return -1
    try:
        return json.loads((folder / "density" / "COMMIT").read_text())["snapshots"]
    except FileNotFoundError:
        return 0


def ended(process: subprocess.Popen, code: int) -> str:
    """The paragraph of a process that was stopped."""
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "Exception" not in errors
    return errors


def answered(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict:
    """The rest of the work in this process, without drawing; bits of all numbers."""
    found = []
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(cli, "workers", at_once)
        patch.setattr(cli, "write", lambda outcome, room: found.append(outcome))
        result = CliRunner().invoke(cli.app, [*arguments])
    assert result.exit_code == 0, result.stderr
    assert leftovers(folder / "out") == []
    (outcome,) = found
    parts = {"density": mf.load(folder / "out" / "density"), "gaps": outcome.gaps}
    parts |= {f"{m}, {k}": f for m, flows in outcome.flows.items() for k, f in enumerate(flows)}
    return {name: bits(part) for name, part in parts.items()}


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> dict:
    """The answer that nothing interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        return answered(tmp_path_factory.mktemp("truth"), patch, "run", "--out", "out", *ASKED)


def instants(seed: int) -> list[int]:
    """Counts of snapshots at which a signal is sent, all different where they can be."""
    return np.random.default_rng(seed).permutation(SNAPSHOTS)[:COUNT].tolist()


SENT = [(n, k) for seed, n in enumerate((signal.SIGINT, signal.SIGTERM)) for k in instants(seed)]


@pytest.mark.parametrize(("sent", "at"), SENT)
def test_a_signal_ends_a_run_that_goes_on_bit_for_bit(tmp_path, truth, sent, at, monkeypatch):
    folder = tmp_path / "out"
    process = started(tmp_path, "run", "--out", "out", *ASKED)
    while committed(folder) < at and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(sent)
    told = ended(process, 128 + sent)
    assert sent.name in told
    assert leftovers(folder) == []
    assert committed(folder) >= at
    if at == 0 and not (folder / "plan.json").exists():  # nothing was begun: nothing is there
        assert not folder.exists()
        assert answered(tmp_path, monkeypatch, "run", "--out", "out", *ASKED) == truth
        return
    if at > 0:  # before, the folder may be there and the word not yet
        assert "mfpde resume out goes on" in told
    assert not (folder / "report.html").exists()
    assert answered(tmp_path, monkeypatch, "resume", "out") == truth


def test_signals_reach_a_process_that_is_still_loading(tmp_path):
    """Python tells of every module that is loaded: after the first of ours signals are heeded."""
    for sent in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "mfpde", "run"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "mfpde.signals" in line:
                break
        process.send_signal(sent)
        assert "mfpde.cli" not in ended(process, 128 + sent)
    assert not list(tmp_path.iterdir())


FINE = ["--no-bias", "--cells", "200", "--horizon", "8", "--particles", "5", "--seeds", "1"]


def test_the_second_signal_ends_everything_at_once(tmp_path):
    """The first waits for a step of a run that is stopped meanwhile, so the second overtakes it."""
    process = started(tmp_path, "run", "--out", "out", *FINE)
    while committed(tmp_path / "out") < 1 and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)
    for sent in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(sent)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate()
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert not errors
    assert mf.load(tmp_path / "out" / "density").sizes["time"] >= 1


@pytest.mark.parametrize("seconds", np.linspace(1.5, 6.0, (COUNT + 1) // 2).tolist())
def test_a_limit_in_time_ends_a_run(tmp_path, seconds):
    process = started(tmp_path, "run", "--out", "out", "--max-seconds", str(seconds), *FINE)
    assert "--max-seconds" in ended(process, 75)
    folder = tmp_path / "out"
    assert leftovers(folder) == []
    assert (folder / "plan.json").exists()
    count = committed(folder)
    if count > 0:
        chosen = json.loads((folder / "chosen.json").read_text())
        axes = {c: mf.uniform(*chosen["box"][c], chosen["cells"][c]) for c in chosen["box"]}
        x, y = motorcycle()
        problem = mf.two_layer(*((v - v.mean()) / v.std() for v in (x, y)))
        times = np.linspace(0, 8, SNAPSHOTS)[:count]
        whole = mf.solve(problem, mf.Grid(**axes), mf.muscl(), times)
        np.testing.assert_array_equal(mf.load(folder / "density").rho, whole.rho)


# In a script ------------------------------------------------------------------------------------


SMALL_STEPS = mf.upwind(cfl=0.1)


def solved(folder, method, **limit):
    return mf.solve(PROBLEM, GRID, method, TIMES, to=folder, escaped_tolerance=1, **limit)


@pytest.mark.parametrize("method", [SMALL_STEPS, mf.scharfetter_gummel(dt=0.1)], ids=repr)
def test_a_limit_in_time_keeps_every_step(tmp_path, method):
    """Calls of one step each."""
    whole, folder = density(method)(None), tmp_path / "run"
    with failing():
        for _ in range(whole.attrs["steps"] - 1):
            with pytest.raises(Stopped, match="max_seconds") as stop:
                solved(folder, method, max_seconds=1e-12)
            assert stop.value.exit_code == 75
            assert "the same call again" in stop.value.kept
            assert bits(stop.value.last) == bits(mf.load(folder))
            assert leftovers(folder) == []
        assert bits(solved(folder, method, max_seconds=1e-12)) == bits(whole)
    assert whole.attrs["steps"] > 6


def test_in_memory_a_limit_keeps_the_last_step():
    with pytest.raises(Stopped) as stop:
        solved(None, SMALL_STEPS, max_seconds=1e-12)
    assert stop.value.last.attrs["steps"] == 1
    assert 0 < float(stop.value.last.time[-1]) < TIMES[1]
    assert "error.last" in stop.value.kept


@pytest.mark.parametrize("wrong", [0, -1, np.nan, "1", [1.0]])
def test_limits_that_are_no_time(wrong):
    with pytest.raises(InvalidInput, match="max_seconds"):
        solved(None, SMALL_STEPS, max_seconds=wrong)
    with pytest.raises(pr.InvalidInput, match="max_seconds"):
        pr.run(PROBLEM, CLOUD, pr.Descent(0.25), TIMES, max_seconds=wrong)


def test_particles_stop_between_snapshots(tmp_path):
    whole = particles(pr.Descent(0.25))(None)
    parts = PROBLEM, CLOUD, pr.Descent(0.25), TIMES
    for count in range(1, len(TIMES)):
        with pytest.raises(pr.Stopped) as stop:
            pr.run(*parts, to=mf.store(tmp_path / "run"), max_seconds=1e-12)
        assert stop.value.last.sizes["time"] == count
    assert bits(pr.run(*parts, to=mf.store(tmp_path / "run"), max_seconds=1e-12)) == bits(whole)
    with pytest.raises(pr.Stopped) as stop:
        pr.run(*parts, max_seconds=1e-12)
    assert stop.value.last.sizes["time"] == 1


@pytest.mark.parametrize("after", [1, 4, 9])
def test_ctrl_c_in_a_script_leaves_what_goes_on(tmp_path, after, monkeypatch):
    """In the middle of a step."""
    whole = density(SMALL_STEPS)(None)
    left, field = [after], WassersteinFlow.field

    def interrupted(flow, rho):
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return field(flow, rho)

    with failing():
        monkeypatch.setattr(WassersteinFlow, "field", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solved(tmp_path / "run", SMALL_STEPS)
        assert bits(solved(tmp_path / "run", SMALL_STEPS)) == bits(whole)
    assert leftovers(tmp_path / "run") == []
