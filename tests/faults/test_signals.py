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


def written(folder: Path) -> int:
    """Snapshots so far; -1 before there is a plan."""
    if not (folder / "plan.json").exists():
        return -1
    try:
        return json.loads((folder / "density" / "COMMIT").read_text())["snapshots"]
    except FileNotFoundError:
        return 0


def ended(process: subprocess.Popen, code: int) -> str:
    """The paragraph of a process that was stopped; Python's own words on loading left out."""
    _, errors = process.communicate()
    told = "\n".join(line for line in errors.splitlines() if not line.startswith("import time:"))
    assert process.returncode == code, told
    assert "Traceback" not in told
    assert "Exception" not in told
    return told


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


def goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The answer after a stop; where nothing was begun, nothing is there."""
    assert leftovers(folder) == []
    assert not (folder / "report.html").exists()
    if (folder / "plan.json").exists():
        return answered(folder.parent, monkeypatch, "resume", folder.name)
    assert not folder.exists()
    return answered(folder.parent, monkeypatch, "run", "--out", folder.name, *ASKED)


EARLY = max(1, COUNT // 4)  # signals in the first moments
MOMENTS = 0.2  # seconds


def instants(seed: int) -> list[int]:
    """Counts of snapshots at which a signal is sent, all different where they can be."""
    order = np.random.default_rng(seed).permutation(SNAPSHOTS)
    return order[: max(1, COUNT - EARLY)].tolist()


SENT = [(n, k) for seed, n in enumerate((signal.SIGINT, signal.SIGTERM)) for k in instants(seed)]


@pytest.mark.parametrize(("sent", "at"), SENT)
def test_a_signal_ends_a_run_that_goes_on_bit_for_bit(
    tmp_path, truth, sent, at, monkeypatch, record_property
):
    folder = tmp_path / "out"
    process = started(tmp_path, "run", "--out", "out", *ASKED)
    while written(folder) < at and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(sent)
    begun = time.monotonic()
    told = ended(process, 128 + sent)
    record_property(sent.name, time.monotonic() - begun)
    assert sent.name in told
    if at > 0:  # before, the folder may be there and the word not yet
        assert "mfpde resume out goes on" in told
        assert mf.load(folder / "density").sizes["time"] >= at
    assert goes_on(folder, monkeypatch) == truth


def moments(seed: int) -> list[float]:
    """Seconds, the first of them 0."""
    return [0.0, *np.random.default_rng(seed).uniform(0, MOMENTS, EARLY - 1)]


FIRST = [(n, s) for seed, n in enumerate((signal.SIGINT, signal.SIGTERM)) for s in moments(seed)]


@pytest.mark.parametrize(("sent", "after"), FIRST)
def test_signals_reach_a_process_that_is_still_loading(
    tmp_path, truth, sent, after, monkeypatch, record_property
):
    """Python tells of every module that is loaded: after the first of ours signals are heeded."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "mfpde", "run", "--out", "out", *ASKED],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "mfpde.signals" in line:
            break
    time.sleep(after)
    process.send_signal(sent)
    begun = time.monotonic()
    ended(process, 128 + sent)
    record_property(sent.name, time.monotonic() - begun)
    assert goes_on(tmp_path / "out", monkeypatch) == truth


FINE = ["--no-bias", "--cells", "200", "--horizon", "8", "--particles", "5", "--seeds", "1"]


def test_the_second_signal_ends_everything_at_once(tmp_path):
    """The first waits for a step of a run that is stopped meanwhile, so the second overtakes it."""
    process = started(tmp_path, "run", "--out", "out", *FINE)
    while written(tmp_path / "out") < 1 and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)
    for sent in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(sent)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate()
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert not errors
    assert mf.load(tmp_path / "out" / "density").sizes["time"] >= 1


LIMITS = [1.0, *np.random.default_rng(2).uniform(0.05, 1.5, (COUNT - 1) // 2)]


@pytest.mark.parametrize("seconds", LIMITS)
def test_a_limit_in_time_ends_a_run(tmp_path, truth, seconds, monkeypatch, record_property):
    begun = time.monotonic()
    process = started(tmp_path, "run", "--out", "out", "--max-seconds", str(seconds), *ASKED)
    assert "--max-seconds" in ended(process, 75)
    record_property("limits", time.monotonic() - begun - seconds)
    assert goes_on(tmp_path / "out", monkeypatch) == truth


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

    def interrupted(flow, *seen):
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return field(flow, *seen)

    with failing():
        monkeypatch.setattr(WassersteinFlow, "field", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solved(tmp_path / "run", SMALL_STEPS)
        assert bits(solved(tmp_path / "run", SMALL_STEPS)) == bits(whole)
    assert leftovers(tmp_path / "run") == []
