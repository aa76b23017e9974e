"""Folders without permission to write: exit code 5, one paragraph, nothing changed.

By default by the command line alone; with MFPDE_FAULTS by a script too.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.disk import (
    Crash,
    bits,
    density,
    everything,
    failing,
    laid,
    leftovers,
    particles,
    places,
)
from faults.test_signals import ASKED, answered
from test_cli import at_once
from typer.testing import CliRunner

import mfpde as mf
import particle_ref as pr
from mfpde import cli

HERE = Path(__file__).parents[1]
WRITING = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
# Root writes anywhere, unless it lays that right down.
AS_ANYONE = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
RUNS = {"density": density(mf.upwind()), "particles": particles(pr.GradientFlow(rtol=1e-6))}
SCRIPT = """
import sys
from pathlib import Path
from faults.test_read_only import RUNS
from mfpde.errors import StorageError
try:
    RUNS[sys.argv[1]](Path(sys.argv[2]))
except StorageError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""

pytestmark = pytest.mark.skipif(
    bool(AS_ANYONE) and shutil.which("setpriv") is None, reason="root writes anywhere"
)
by_script = pytest.mark.skipif("MFPDE_FAULTS" not in os.environ, reason="when all is asked for")


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Within it nobody may write to a folder, nor to what is in it."""
    inside = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    for path, mode in inside.items():
        path.chmod(mode & ~WRITING)
    try:
        yield
    finally:
        for path, mode in inside.items():
            path.chmod(mode)


def refused(kept: Path, *command: str) -> None:
    """The command is, and leaves everything in a folder as it is."""
    before = everything(kept)
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    with closed(kept):
        child = subprocess.run(
            [*AS_ANYONE, sys.executable, *command],
            cwd=kept.parent,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    assert child.returncode == 5, child.stderr
    assert "Permission denied" in child.stderr
    assert 0 < len(child.stderr.strip().splitlines()) <= 4
    assert "Traceback" not in child.stderr
    assert everything(kept) == before


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> dict:
    """The answer of the command line that nothing interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        return answered(tmp_path_factory.mktemp("truth"), patch, "run", "--out", "out", *ASKED)


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> dict[str, bytes]:
    """What is in the folder of a run that stopped after some snapshots."""
    folder = tmp_path_factory.mktemp("begun") / "out"
    with pytest.MonkeyPatch.context() as patch, failing(at=600):
        patch.setattr(cli, "workers", at_once)
        with pytest.raises(Crash):
            CliRunner().invoke(cli.app, ["run", "--out", str(folder), *ASKED])
    assert mf.load(folder / "density").sizes["time"] > 1
    return everything(folder)


def test_a_fresh_run_of_the_command_line(tmp_path, truth, monkeypatch):
    (tmp_path / "closed").mkdir()
    refused(tmp_path / "closed", "-m", "mfpde", "run", "--out", "closed/out", *ASKED)
    assert answered(tmp_path / "closed", monkeypatch, "run", "--out", "out", *ASKED) == truth


@pytest.mark.parametrize("part", ["out", "out/density"])
def test_a_begun_run_of_the_command_line(tmp_path, truth, begun, monkeypatch, part):
    laid(begun, tmp_path / "out")
    refused(tmp_path / part, "-m", "mfpde", "resume", str(tmp_path / "out"))
    assert answered(tmp_path, monkeypatch, "resume", "out") == truth


@by_script
@pytest.mark.parametrize("name", RUNS)
def test_a_fresh_run_of_a_script(tmp_path, name):
    (tmp_path / "closed").mkdir()
    refused(tmp_path / "closed", "-c", SCRIPT, name, str(tmp_path / "closed" / "run"))
    assert bits(RUNS[name](tmp_path / "closed" / "run")) == bits(RUNS[name](None))


@by_script
@pytest.mark.parametrize("name", RUNS)
def test_a_begun_run_of_a_script(tmp_path, name):
    last = places(RUNS[name], tmp_path / "counted", 0, of="put checkpoint")[-1]
    with failing(at=last), pytest.raises(Crash):
        RUNS[name](tmp_path / "run")
    refused(tmp_path / "run", "-c", SCRIPT, name, str(tmp_path / "run"))
    assert bits(RUNS[name](tmp_path / "run")) == bits(RUNS[name](None))
    assert leftovers(tmp_path / "run") == []
