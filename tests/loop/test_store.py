"""A run on disk: bit for bit, readable by plain xarray, never over another result."""

import errno
import hashlib
from functools import partial

import numpy as np
import pytest
import xarray as xr
from faults import disk
from loop.planted import Uphill, X, Y, method, plain, square

import mfpde as mf
from mfpde import inspection
from mfpde.errors import AlreadyExists, EnergyRise, InvalidInput, StorageError
from mfpde.loop import checkpoint
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
