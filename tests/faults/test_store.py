"""A run on disk, while the machine stops, the disk fills, bits flip and files go.

By default everything fails once at every kind of operation, and in every file; MFPDE_FAULTS=100
makes it a hundred times, MFPDE_FAULTS=0 at every single operation.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from faults.disk import (
    CLOUD,
    GRID,
    PROBLEM,
    TIMES,
    Crash,
    bits,
    density,
    everything,
    failing,
    kind,
    leftovers,
    particles,
    places,
)
from loop.planted import X, Y

import mfpde as mf
import particle_ref as pr
from mfpde.errors import AlreadyExists, InvalidInput, StorageError
from mfpde.loop import checkpoint, store
from mfpde.loop.files import Busy, locked, sealed, unsealed

RUNS = {
    "upwind": density(mf.upwind()),
    "implicit": density(mf.scharfetter_gummel()),
    "marginals": density(mf.upwind(), keep="marginals"),
    "flow": particles(pr.GradientFlow(rtol=1e-6)),
    "descent": particles(pr.Descent(0.25)),
}
RESUMED = RUNS | {
    "muscl": density(mf.muscl()),
    "semi-Lagrangian": density(
        mf.semi_lagrangian(), mf.Grid(a=mf.uniform(-4, 4, 12), w=mf.uniform(-4, 4, 11))
    ),
    "fixed steps": density(mf.scharfetter_gummel(dt=0.05)),
    "characteristics": particles(pr.Characteristics(rtol=1e-6)),
}


@pytest.fixture
def count() -> int:
    """How often everything fails; 0 for all there is."""
    return int(os.environ.get("MFPDE_FAULTS", 1))


@cache
def truth(name: str) -> dict:
    """The run that nothing happened to."""
    return bits(RESUMED[name](None))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dict[str, Path]:
    """Folders of runs that nothing happened to."""
    folders = {name: tmp_path_factory.mktemp(name) / "run" for name in ("upwind", "descent")}
    for name, folder in folders.items():
        with failing():
            RUNS[name](folder)
    return folders


@pytest.fixture
def instant():
    """No waiting for a real disk."""
    with failing():
        yield


def whole(folder: Path, name: str) -> None:
    """The folder holds the run that nothing happened to, and nothing else."""
    assert bits(mf.load(folder)) == truth(name)
    assert (folder / "DONE").exists()
    assert leftovers(folder) == []


def interrupted(folder: Path, name: str, at: int, **how) -> None:
    """A run that fails at its operation number ``at``."""
    with failing(at=at, **how), pytest.raises(Crash if "error" not in how else StorageError):
        RESUMED[name](folder)


def readable(folder: Path, name: str) -> int:
    """Readers see whole snapshots, or that there is no run yet; how many."""
    try:
        run = mf.load(folder)
    except InvalidInput:
        assert not (folder / "COMMIT").exists()
        return 0
    for variable, values in run.variables.items():
        if "time" in values.dims:
            stored = values.values.tobytes()
            assert truth(name)[variable][: len(stored)] == stored
    return run.sizes["time"]


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_goes_on_bit_for_bit(tmp_path, name, instant, monkeypatch):
    """From a checkpoint at every snapshot, and between them after every step."""
    monkeypatch.setattr(store, "PAUSE", 0.0)
    seen = []

    class Enough(BaseException):
        pass

    def save(folder, data, keep=checkpoint.save):
        keep(folder, data)
        seen.append(1)
        if len(seen) == limit:
            raise Enough

    monkeypatch.setattr(checkpoint, "save", save)
    for limit in (1, 2, 4):
        seen.clear()
        folder = tmp_path / str(limit)
        try:
            RESUMED[name](folder)
        except Enough:
            assert not (folder / "DONE").exists()
        limit = 0
        RESUMED[name](folder)
        whole(folder, name)


@pytest.mark.parametrize("name", [name for name in RESUMED if name != "characteristics"])
def test_longer_times_go_on_as_if_asked_for_at_once(tmp_path, name, instant):
    for count in (1, 2, 3):
        assert RESUMED[name](tmp_path / "run", count).sizes["time"] == count
    whole(tmp_path / "run", name)


def test_steps_that_depend_on_the_last_time_do_not_go_on(tmp_path, instant):
    RESUMED["characteristics"](tmp_path / "run", 2)
    with pytest.raises(InvalidInput, match="last time"):
        RESUMED["characteristics"](tmp_path / "run", 3)


def test_a_crash_while_times_grow(tmp_path, count):
    """The finished beginning stays readable."""
    with failing():
        RUNS["marginals"](tmp_path / "counted", 2)
    before = everything(tmp_path / "counted")
    for at in places(RUNS["marginals"], tmp_path / "counted", count):
        folder = tmp_path / str(at)
        copied(before, folder)
        interrupted(folder, "marginals", at, power=True)
        assert readable(folder, "marginals") >= 2
        with failing():
            assert bits(RUNS["marginals"](folder)) == truth("marginals"), at
        assert leftovers(folder) == []


def spoiled(data: bytes, rng: np.random.Generator) -> bytes:
    """One bit flipped, or the end cut off."""
    if rng.random() < 0.3:
        return data[: rng.integers(len(data))]
    flipped = bytearray(data)
    flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(flipped)


@pytest.mark.parametrize("name", ["upwind", "descent"])
def test_a_spoiled_file_of_a_finished_run_is_named(finished, name, count):
    """Or it is one that the run's numbers do not depend on."""
    folder, rng = finished[name], np.random.default_rng(3)
    few = one_of_a_kind(everything(folder))
    for file, data in everything(folder).items():
        for _ in range(max(1, count) if data else 0):
            (folder / file).write_bytes(spoiled(data, rng))
            for read in (mf.load, RUNS[name]) if file in few else (mf.load,):
                found = attempted(read, folder)
                if file.startswith("checkpoint"):
                    assert found == truth(name)
                else:
                    assert file in str(found)
        (folder / file).write_bytes(data)
    whole(folder, name)


def attempted(read: Callable[[Path], xr.Dataset], folder: Path) -> dict | StorageError:
    """The bits of a run, or the refusal."""
    try:
        return bits(read(folder))
    except StorageError as error:
        return error


@pytest.mark.parametrize("name", ["upwind", "descent"])
def test_a_lost_file_of_a_finished_run_is_named(finished, name):
    folder = finished[name]
    for file, data in everything(folder).items():
        if not file.startswith("out.zarr"):
            continue
        (folder / file).unlink()
        with pytest.raises(StorageError, match=re.escape(file)):
            mf.load(folder)
        (folder / file).write_bytes(data)
    whole(folder, name)


@pytest.mark.parametrize("name", ["upwind", "descent"])
def test_a_spoiled_file_of_an_interrupted_run(tmp_path, name, count):
    """It is named, or the run comes out as if nothing had happened."""
    every = places(RUNS[name], tmp_path / "counted", 2, of="put DONE")
    folder, rng = tmp_path / "run", np.random.default_rng(4)
    interrupted(folder, name, every[-1])
    before = everything(folder)
    recovered = set()
    for file in before if count > 1 else one_of_a_kind(before):
        data = before[file]
        for k in range(max(1, count) if data else 0):
            copy = tmp_path / f"{k}-{file.replace('/', '-')}"
            copied(before | {file: spoiled(data, rng)}, copy)
            with failing():
                found = attempted(RUNS[name], copy)
            if isinstance(found, StorageError):
                assert file in str(found)
            else:
                assert found == truth(name), file
                whole(copy, name)
                recovered.add(file)
    assert {"checkpoint", "checkpoint.previous"} <= recovered


def one_of_a_kind(names: Iterable[str]) -> list[str]:
    """One of the files that differ by a variable or a snapshot only."""
    return list({kind(name): name for name in names}.values())


def copied(files: dict[str, bytes], folder: Path) -> None:
    """The same files in another folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_other_versions_are_told(tmp_path):
    """What they computed is kept; that bits may differ from there on is said."""
    every = places(RUNS["upwind"], tmp_path / "counted", 2, of="put DONE")
    interrupted(tmp_path / "run", "upwind", every[-1])
    manifest = tmp_path / "run" / "manifest.json"
    body = unsealed(manifest)
    body["versions"]["numpy"] = "1.0"
    manifest.write_bytes(sealed(body))
    with pytest.warns(UserWarning, match=r"begun with .*1\.0"):
        RUNS["upwind"](tmp_path / "run")


def test_both_checkpoints_spoiled(tmp_path):
    every = places(RUNS["upwind"], tmp_path / "counted", 2, of="put DONE")
    interrupted(tmp_path / "run", "upwind", every[-1])
    for name in ("checkpoint", "checkpoint.previous"):
        path = tmp_path / "run" / name
        path.write_bytes(path.read_bytes()[:-1])
    before = everything(tmp_path / "run")
    with pytest.raises(StorageError, match="checkpoint"):
        RUNS["upwind"](tmp_path / "run")
    assert everything(tmp_path / "run") == before
    assert readable(tmp_path / "run", "upwind") == len(TIMES)


def test_links_are_not_followed(finished, tmp_path):
    folder = finished["upwind"]
    chunk = folder / "out.zarr" / "rho" / "0.0.0"
    moved = tmp_path / "elsewhere"
    chunk.rename(moved)
    chunk.symlink_to(moved)
    with pytest.raises(StorageError, match=re.escape(str(chunk))):
        mf.load(folder)
    chunk.unlink()
    moved.rename(chunk)


def test_a_second_writer_is_refused(tmp_path):
    places(RUNS["upwind"], tmp_path / "counted", 1)
    interrupted(tmp_path / "run", "upwind", 150)
    before = everything(tmp_path / "run")
    with locked(tmp_path / "run" / ".lock"), pytest.raises(Busy) as refusal:
        RUNS["upwind"](tmp_path / "run")
    assert refusal.value.exit_code == 4
    assert isinstance(refusal.value, AlreadyExists)
    assert everything(tmp_path / "run") == before


@pytest.mark.parametrize("name", ["upwind", "descent"])
def test_a_foreign_folder_is_left_alone(tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(AlreadyExists):
        RUNS[name](tmp_path / "run")
    assert everything(tmp_path / "run") == {"notes.txt": b"mine"}


OTHERS = {
    "loss": {"problem": mf.two_layer(X, Y, loss=mf.huber(1.0), initial=mf.gaussian(0.2, 0.7))},
    "activation": {"problem": mf.two_layer(X, Y, activation=mf.erf, initial=mf.gaussian(0.2, 0.7))},
    "y": {"problem": mf.two_layer(X, -Y, initial=mf.gaussian(0.2, 0.7))},
    "initial": {"problem": mf.two_layer(X, Y, initial=mf.gaussian(0.2, 0.6))},
    "penalty": {
        "problem": mf.two_layer(X, Y, penalty=mf.ridge(0.1), initial=mf.gaussian(0.2, 0.7))
    },
    "grid w": {"grid": mf.Grid(a=GRID.axes["a"], w=mf.uniform(-4, 4, 6))},
    "method": {"method": mf.upwind(cfl=0.5)},
    "times": {"times": [0.0, 0.5]},
    "keep": {"keep": "last"},
    "escaped_tolerance": {"escaped_tolerance": 0.5},
}


def asked(folder, **parts):
    """The first run of the table, or one like it."""
    same = {"problem": PROBLEM, "grid": GRID, "method": mf.upwind(), "times": TIMES}
    return mf.solve(**(same | {"escaped_tolerance": 1} | parts), to=folder)


@pytest.mark.parametrize("part", OTHERS)
def test_another_run_is_refused_by_its_name(finished, part):
    before = everything(finished["upwind"])
    with pytest.raises(InvalidInput) as refusal:
        asked(finished["upwind"], **OTHERS[part])
    differ = re.findall(r"(?:because\s+|; )([\w ]+): ", str(refusal.value))
    assert differ == [part]
    assert everything(finished["upwind"]) == before


def of_user(slope: float) -> mf.Problem:
    """Functions without names of their own, which differ where they are told to."""
    loss = mf.Loss(
        lambda f, y: slope * (f - y) ** 2 / 2, lambda f, y: slope * (f - y), smoothness=2.0
    )
    return mf.two_layer(X, Y, loss=loss, initial=mf.gaussian(0.2, 0.7))


def test_functions_of_users_are_known_by_their_values(tmp_path, instant):
    asked(tmp_path / "run", problem=of_user(1.0))
    asked(tmp_path / "run", problem=of_user(1.0))
    with pytest.raises(InvalidInput, match="loss: user with other values"):
        asked(tmp_path / "run", problem=of_user(1.0 + 1e-6))


def moved(folder, problem=PROBLEM, cloud=CLOUD, method=None, times=TIMES):
    """The last run of the table, or one like it."""
    return pr.run(problem, cloud, method or pr.Descent(0.25), times, to=mf.store(folder))


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"problem": OTHERS["loss"]["problem"]}, "loss"),
        ({"cloud": pr.sample(PROBLEM, 5, seed=2)}, "start"),
        ({"method": pr.Descent(0.125)}, "method"),
        ({"times": [0.0, 0.5]}, "times"),
    ],
)
def test_another_particle_run_is_refused_by_its_name(finished, parts, named):
    with pytest.raises(InvalidInput) as refusal:
        moved(finished["descent"], **parts)
    assert f"{named}:" in str(refusal.value)


def test_other_observers_are_refused(finished):
    def first(now):
        return float(now.prediction[0])

    with pytest.raises(InvalidInput, match="first"):
        asked(finished["upwind"], watch=[first])


def test_what_was_stopped_stays(tmp_path, instant):
    """Particles that blow up: what was reached is on disk, and the same call stops there again."""
    reg = mf.Penalty(lambda u: -(u[:, 0] ** 4) / 4, lambda u: u * [-1.0, 0.0] * u**2)
    problem = mf.two_layer([0.0], [0.0], penalty=reg)
    for _ in range(2):
        with pytest.raises(pr.NumericalStop) as stop:
            moved(tmp_path / "run", problem, pr.Cloud([[1.0, 0.0]]), times=[0.0, 0.5, 9.0])
        assert stop.value.last.time.values.tolist() == [0.0, 0.5]
        assert bits(mf.load(tmp_path / "run")) == bits(stop.value.last)


KILLED = """
import os, signal, sys
from pathlib import Path
import faults.test_store as these
from faults import disk
from mfpde.loop import files

left = [int(sys.argv[3])]
for name in ("put", "rename"):
    def count(*arguments, original=getattr(files, name)):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        original(*arguments)
    for module in disk.MODULES:
        if hasattr(module, name):
            setattr(module, name, count)
these.RUNS[sys.argv[1]](Path(sys.argv[2]))
"""


@pytest.mark.parametrize("name", ["upwind", "flow"])
def test_killed_processes(tmp_path, name, count):
    rng, here = np.random.default_rng(5), Path(__file__).parents[1]
    path = os.pathsep.join([str(here), str(here.parent)])
    for k in range(max(1, count)):
        folder, at = tmp_path / str(k), int(rng.integers(20, 110))
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, name, str(folder), str(at)],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        readable(folder, name)
        with failing():
            RUNS[name](folder)
        whole(folder, name)


def test_export(finished, tmp_path):
    path = mf.export(finished["descent"], tmp_path / "flow.nc")
    with xr.open_dataset(path) as exported:
        run = mf.load(finished["descent"])
        assert exported.coord.values.astype(str).tolist() == run.coord.values.tolist()
        np.testing.assert_array_equal(exported.position, run.position)
    with pytest.raises(AlreadyExists):
        mf.export(finished["descent"], path)
    assert os.listdir(tmp_path) == ["flow.nc"]
