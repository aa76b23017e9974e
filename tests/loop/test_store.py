"""A run on disk: bit for bit, readable by plain xarray, never over another result."""

import errno
import hashlib
import os
import pickle
from functools import partial

import numpy as np
import pytest
import xarray as xr
from faults import disk
from loop.planted import Uphill, X, Y, method, plain, square

import mfpde as mf
from mfpde import inspection
from mfpde.errors import AlreadyExists, EnergyRise, InvalidInput, StorageError
from mfpde.loop import checkpoint, ledger, reading, store
from mfpde.loop.files import sealed, unsealed

TIMES = [0.0, 0.1, 0.25]


def same(one, other):
    """Equal variables bit for bit, equal coordinates and attributes."""
    xr.testing.assert_identical(one, other)
    for name in one.variables:
        left, right = one[name].values, other[name].values
        assert left.shape == right.shape
        if left.dtype.kind == "f":
            assert np.array_equal(left.view(np.int64), right.view(np.int64)), name


KERNEL = mf.kernel_problem(
    ("w",), lambda p, q: np.exp(-((p - q.T) ** 2)), lambda p: p[:, 0], initial=mf.gaussian(0, 0.4)
)
RUNS = {
    "network": (plain(), square()),
    "inputs (n, d), circle and walls": (
        mf.two_layer(
            np.column_stack([X, np.arange(len(X))]),
            Y,
            mf.cos,
            initial=mf.gaussian(0, 0.5),
            domain={"w2": mf.circle(2 * np.pi)},
        ),
        mf.Grid(
            a=mf.stretched(-4, 4, 9, walls="closed"),
            w1=mf.uniform(-4, 4, 8),
            w2=mf.periodic(0, 2 * np.pi, 7),
        ),
    ),
    "no samples": (KERNEL, mf.Grid(w=mf.uniform(-3, 3, 30))),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("keep", ["density", "marginals", "last"])
def test_round_trip(tmp_path, name, keep):
    problem, grid = RUNS[name]
    run = mf.solve(
        problem, grid, times=TIMES, to=tmp_path / "deep" / "run", keep=keep, escaped_tolerance=1
    )
    same(mf.load(tmp_path / "deep" / "run"), run)
    with xr.open_zarr(tmp_path / "deep" / "run" / "out.zarr") as plainly:
        same(plainly.load(), run)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]  # nothing left over


def test_zeros_and_signs_survive(tmp_path):
    """A law on a compact support: exact zeros, which a store may be tempted not to write."""
    problem = plain(initial=mf.uniform_box(-0.5, 0.5))
    run = mf.solve(problem, square(), times=[0], to=tmp_path / "run")
    assert (run.rho == 0).any()
    same(mf.load(tmp_path / "run"), run)


def test_an_existing_folder_is_refused_before_anything_is_computed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")

    def not_called(state, end):
        raise AssertionError("time moved")

    for target in (tmp_path / "run", str(tmp_path / "run")):
        with pytest.raises(AlreadyExists) as refusal:
            mf.solve(plain(), square(), to=target, progress=not_called)
        assert str(tmp_path / "run") in str(refusal.value)
        assert refusal.value.exit_code == 4
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_the_same_call_again_returns_the_finished_run(tmp_path):
    """Without a step, whoever holds the writer; a result is never written over."""

    def not_called(state, end):
        raise AssertionError("time moved")

    target = mf.store(tmp_path / "run")
    run = mf.solve(plain(), square(), times=TIMES, to=target)
    for to in (target, tmp_path / "run"):
        same(mf.solve(plain(), square(), times=TIMES, to=to, progress=not_called), run)
    with pytest.raises(AlreadyExists):
        target.write(run)
    same(mf.load(tmp_path / "run"), run)


def test_what_lies_beside_the_folder_is_left_alone(tmp_path):
    """The place where a run is written before its rename may not be someone's folder."""
    mine = tmp_path / "run.unfinished"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    mf.solve(plain(), square(), times=TIMES, to=tmp_path / "run")
    assert (mine / "notes.txt").read_text() == "mine"


def test_a_stopped_run_is_loadable_up_to_the_last_good_state(tmp_path):
    with pytest.raises(EnergyRise) as stop:
        mf.solve(plain(), square(), method(Uphill), times=TIMES, to=tmp_path / "run")
    assert str(tmp_path / "run") in str(stop.value)
    same(mf.load(tmp_path / "run"), stop.value.last)


@pytest.mark.parametrize("make", ["nothing", "empty", "file"])
def test_folders_without_a_run(tmp_path, make):
    path = tmp_path / "run"
    if make == "empty":
        path.mkdir()
    if make == "file":
        path.write_text("no folder")
    with pytest.raises(InvalidInput) as refusal:
        mf.load(path)
    assert str(path) in str(refusal.value)


def test_nothing_is_computed_for_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    problem, grid = RUNS["network"]
    with pytest.raises(StorageError, match="Not a directory"):
        mf.solve(problem, grid, times=TIMES, to=tmp_path / "file" / "run")


def test_a_failed_write_leaves_nothing_and_keeps_the_run(tmp_path):
    problem, grid = RUNS["network"]
    run = mf.solve(problem, grid, times=TIMES, escaped_tolerance=1)
    run.attrs["unwritable"] = object()
    with pytest.raises(StorageError) as failure:
        mf.store(tmp_path / "run").write(run)
    assert failure.value.run is run
    assert failure.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


def test_the_last_density_is_a_measure_even_where_no_other_was_kept():
    problem, grid = RUNS["network"]
    full = mf.solve(problem, grid, times=TIMES, escaped_tolerance=1)
    last = mf.solve(problem, grid, times=TIMES, escaped_tolerance=1, keep="last")
    for one, other in zip(
        mf.as_measure(full.isel(time=-1)), mf.as_measure(last.isel(time=-1)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(mf.InvalidInput, match="did not keep"):
        mf.as_measure(last.isel(time=0))


def test_a_run_in_memory_is_written_as_it_is(tmp_path):
    run = mf.solve(plain(), square(), times=TIMES, escaped_tolerance=1)
    target = mf.store(tmp_path / "run")
    target.write(run)
    same(target.load(), run)
    assert (tmp_path / "run" / "DONE").exists()


@pytest.mark.parametrize("at", [1, 40, 120])
def test_a_full_disk_leaves_no_half_of_a_run_in_memory(tmp_path, at):
    run = mf.solve(plain(), square(), times=TIMES, escaped_tolerance=1)
    with disk.failing(at=at, error=errno.ENOSPC), pytest.raises(StorageError) as refusal:
        mf.store(tmp_path / "run").write(run)
    assert refusal.value.run is run
    assert list(tmp_path.iterdir()) == []


def test_fewer_times_are_another_run(tmp_path):
    mf.solve(plain(), square(), times=TIMES, escaped_tolerance=1, to=tmp_path / "run")
    before = disk.everything(tmp_path)
    with pytest.raises(InvalidInput, match=r"until 0\.25, now until 0\.1 only"):
        mf.solve(plain(), square(), times=TIMES[:2], escaped_tolerance=1, to=tmp_path / "run")
    assert disk.everything(tmp_path) == before


@pytest.mark.parametrize(("lost", "named"), [("COMMIT", "COMMIT"), ("checkpoint*", "checkpoint")])
def test_what_a_run_cannot_go_on_without_is_named(tmp_path, lost, named):
    """A checkpoint without the list of snapshots, and snapshots without a checkpoint."""
    folder = tmp_path / "run"
    stop_after(folder, 2)
    for path in folder.glob(lost):
        path.unlink()
    before = disk.everything(tmp_path)
    with pytest.raises(StorageError, match=named) as refusal:
        mf.solve(plain(), square(), times=TIMES, escaped_tolerance=1, to=folder)
    assert "missing" in str(refusal.value)
    assert disk.everything(tmp_path) == before
    if lost != "COMMIT":
        assert mf.load(folder).sizes["time"] == 2


def test_a_run_said_to_be_done_with_fewer_snapshots_is_damaged(tmp_path):
    folder = tmp_path / "run"
    mf.solve(plain(), square(), times=TIMES, escaped_tolerance=1, to=folder)
    done = unsealed(folder / "DONE")
    (folder / "DONE").write_bytes(sealed(done | {"snapshots": 2}))
    with pytest.raises(StorageError, match="DONE is damaged"):
        mf.load(folder)


def test_a_checkpoint_holds_numbers_alone():
    """Another kind of array is no checkpoint, whatever its hash says."""
    whole = checkpoint.encoded(1, {"u": np.zeros(2)})
    assert checkpoint.decoded(whole) is not None
    body = whole[: -checkpoint.HASH].replace(b"<f8", b"|S8")
    assert checkpoint.decoded(body + hashlib.sha256(body).digest()) is None


def stop_after(folder, snapshots):
    """Solve until so many snapshots are committed."""

    class Enough(Exception):
        pass

    def watch(state, end):
        if state.t >= TIMES[snapshots - 1] and count(folder) == snapshots:
            raise Enough

    with pytest.raises(Enough):
        mf.solve(plain(), square(), times=TIMES, escaped_tolerance=1, to=folder, progress=watch)


def count(folder):
    return unsealed(folder / "COMMIT")["snapshots"] if (folder / "COMMIT").exists() else 0


@pytest.mark.parametrize("part", ["COMMIT", "manifest.json", "out.zarr"])
def test_a_part_that_a_finished_run_lost_is_damage_to_everyone(tmp_path, part):
    folder = tmp_path / "run"
    call = partial(mf.solve, plain(), square(), times=TIMES, escaped_tolerance=1, to=folder)
    call()
    (folder / part).rename(tmp_path / "elsewhere")
    readers = [lambda: mf.load(folder), lambda: inspection.verified(folder)]
    for read in readers if part == "manifest.json" else [*readers, call]:
        with pytest.raises(StorageError, match=f"{part}.* is damaged"):
            read()


def test_ctrl_c_says_what_is_kept(tmp_path):
    def interrupt(state, end):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        mf.solve(plain(), square(), times=TIMES, to=tmp_path / "run", progress=interrupt)
    assert stop.value.__notes__ == [f"kept in {tmp_path / 'run'}: the same call again goes on"]


def finished(folder, times=TIMES):
    """The plain run, as far as those times."""
    return mf.solve(plain(), square(), times=times, escaped_tolerance=1, to=folder)


def test_a_chunk_that_goes_after_loading_is_no_nan(tmp_path):
    finished(tmp_path / "run")
    run = pickle.loads(pickle.dumps(mf.load(tmp_path / "run")))
    (tmp_path / "run" / "out.zarr" / "rho" / "1.0.0").unlink()
    with pytest.raises(StorageError, match=r"rho/1\.0\.0 is damaged"):
        run.rho.load()


def test_a_folder_in_place_of_a_chunk_is_named(tmp_path):
    finished(tmp_path / "run")
    chunk = tmp_path / "run" / "out.zarr" / "rho" / "1.0.0"
    chunk.unlink()
    chunk.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StorageError, match=r"rho/1\.0\.0 is damaged"):
        mf.load(tmp_path / "run")
    assert len(os.listdir("/proc/self/fd")) == before


UNKEPT = {
    "dates": ("time", np.array([1, 2, 3], "datetime64[ns]")),
    "durations": ("time", np.array([1, 2, 3], "timedelta64[ns]")),
    "complex": ("time", np.ones(3, complex)),
    "halves": ("time", np.ones(3, np.float16)),
    "another byte order": ("time", np.ones(3, ">f8")),
    "words": ("time", np.array(["x", "yy", "z"])),
    "objects": ("a", np.array([1, {}], object)),
    "time second": (("a", "time"), np.ones((2, 3))),
    "scaled": ("time", np.ones(3), {"scale_factor": 2.0}),
    "days": ("time", np.arange(3), {"units": "days since 2000-01-01"}),
    "a/b": ("time", np.ones(3)),
}


@pytest.mark.parametrize("name", UNKEPT)
def test_what_would_come_back_as_something_else_is_not_written(tmp_path, name):
    run = xr.Dataset({name: UNKEPT[name]}, {"time": np.arange(3.0)})
    with pytest.raises(InvalidInput, match=name):
        mf.store(tmp_path / "run").write(run)
    assert list(tmp_path.iterdir()) == []


def test_what_comes_back_as_it_is(tmp_path):
    run = xr.Dataset(
        {
            "flag": ("time", np.array([True, False, True])),
            "count": ("time", np.array([1, -2, 2**62])),
            "single": ("time", np.ones(3, np.float32), {"units": "m"}),
            "named": ("kind", np.array(["x", "yyy"])),
        },
        {"time": np.arange(3.0), "kind": ["p", "q"]},
        {"title": "ours"},
    )
    mf.store(tmp_path / "run").write(run)
    xr.testing.assert_identical(mf.load(tmp_path / "run").load(), run)


def stopping(monkeypatch, stop):
    """The second snapshot is not written."""
    append = store.Book.append

    def ends(book, row, state):
        if book.count == 1:
            stop(book.folder)
        append(book, row, state)

    monkeypatch.setattr(store.Book, "append", ends)


def test_a_run_written_as_a_whole_is_there_as_a_whole(tmp_path, monkeypatch):
    """What a killed process left is no run, and in nobody's way."""
    run, folder = finished(tmp_path / "first").load(), tmp_path / "run"
    left = {}

    def dies(there):
        left.update(disk.everything(there))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        stopping(patch, dies)
        with pytest.raises(KeyboardInterrupt):
            mf.store(folder).write(run)
    assert not folder.exists()
    disk.laid(left, folder)
    with pytest.raises(InvalidInput, match="beginning of a run"):
        mf.load(folder)
    mf.store(folder).write(run)
    same(mf.load(folder), run)


def test_a_failed_write_removes_its_own_alone(tmp_path, monkeypatch):
    run, folder = finished(tmp_path / "first").load(), tmp_path / "run"

    def refused(there):
        (there / "notes.txt").write_text("mine")
        raise OSError(errno.ENOSPC, "No space left on device")

    stopping(monkeypatch, refused)
    with pytest.raises(StorageError):
        mf.store(folder).write(run)
    assert disk.everything(folder) == {"notes.txt": b"mine"}


@pytest.mark.parametrize("moment", ["COMMIT", "names"])
def test_a_reader_whom_a_writer_overtakes_reads_again(tmp_path, monkeypatch, moment):
    """It saw an old COMMIT, and the writer was set back, or has finished."""
    folder = tmp_path / "run"
    finished(folder, TIMES[:2])
    module, name = {"COMMIT": (ledger, "unsealed"), "names": (reading, "check_names")}[moment]
    original, work = getattr(module, name), []

    def overtaken(*arguments):
        found = original(*arguments)
        if not work:
            work.append(1)
            for part in (ledger.NAME, "checkpoint"):
                assert (folder / part).exists()
            # set back to the first snapshot, and as far as the second again, in other bytes
            (folder / "out.zarr" / "rho" / "1.0.0").unlink()
            told = ledger.Ledger.read(folder)
            told.keep(1)
            (folder / "DONE").unlink()
            told.commit(folder)
            told.trim(folder)
        return found

    monkeypatch.setattr(module, name, overtaken)
    assert mf.load(folder).load().sizes["time"] == 1
    assert work


def test_going_on_removes_nothing_of_others(tmp_path):
    folder = tmp_path / "run"
    stop_after(folder, 2)
    data = folder / "out.zarr"
    (data / "mine").mkdir()
    (data / "rho" / "mine").mkdir()
    (data / "mine" / "7").mkdir()
    foreign = [folder / "mine.new", data / "mine" / "notes.txt", data / "rho" / "notes.txt"]
    ours = [folder / "COMMIT.new", data / "rho" / "2.0.0.new", data / "rho" / "99.0.0"]
    for path in foreign + ours:
        path.write_text("left")
    finished(folder)
    assert all(path.exists() for path in foreign)
    assert not any(path.exists() for path in ours)


def test_a_run_stays_where_it_began(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def moves(state, end):
        os.chdir(tmp_path / "elsewhere")

    run = mf.solve(plain(), square(), times=TIMES, escaped_tolerance=1, to="run", progress=moves)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    same(mf.load(tmp_path / "run"), run)


def test_snapshots_whose_commit_and_checkpoints_are_gone(tmp_path):
    folder = tmp_path / "run"
    stop_after(folder, 2)
    for path in (folder / "COMMIT", *folder.glob("checkpoint*")):
        path.unlink()
    before = disk.everything(folder)
    with pytest.raises(StorageError, match="COMMIT is damaged"):
        finished(folder)
    assert disk.everything(folder) == before
