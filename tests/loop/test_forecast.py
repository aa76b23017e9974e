"""What a run will take, told before it is taken; and what is there to take."""

import math
import re
import shutil
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from faults.memory import Case, agrees, cases, measured
from loop.planted import plain, square

import mfpde as mf
from mfpde.errors import InvalidInput, NotEnoughMemory, StorageError
from mfpde.loop.forecast import check_disk, check_memory, largest, on_disk
from mfpde.loop.machine import available_memory, free_disk

MIB = 2**20
TIMES = np.linspace(0, 1, 5)


def told(cells=64, keep="density", to=None, method=None, times=TIMES):
    """A forecast for the plain problem."""
    return mf.forecast(plain(), square(cells=cells), method or mf.muscl(), times, keep, to)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is asked of Linux")
@pytest.mark.parametrize("case", cases(full=False), ids=lambda case: case.method)
def test_as_measured(case):
    assert agrees(*measured(case))


def test_a_forecast_that_is_a_field_short_would_be_noticed():
    """The cases are large enough for 15 % to mean something: a density more or less is seen."""
    case = Case("muscl", 2, 512, snapshots=12)
    arguments = case.arguments(case.cells)
    right = mf.forecast(*arguments).memory
    fewer = mf.forecast(*arguments[:3], arguments[3][:9]).memory
    assert not agrees(right, fewer)


def system(root, files):
    """A made-up /proc and /sys."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


FREE = {
    "proc/meminfo": f"MemTotal: 9999999 kB\n\nMemAvailable:   {900 * 1024} kB\nSwapFree: 0 kB\n"
}
V2 = "sys/fs/cgroup/"
V1 = "sys/fs/cgroup/memory/"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 900),
        ({"proc/self/cgroup": "0::/job\n", V2 + "job/memory.max": "max\n"}, 900),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                V2 + "job/memory.max": f"{500 * MIB}\n",
                V2 + "job/memory.current": f"{100 * MIB}\n",
                V2 + "job/step/memory.max": f"{800 * MIB}\n",
                V2 + "job/step/memory.current": f"{90 * MIB}\n",
            },
            400,  # the outer group's
        ),
        (
            {
                "proc/self/cgroup": "0::/elsewhere\n",  # a container sees its own group at the top
                V2 + "memory.max": f"{300 * MIB}\n",
                V2 + "memory.current": f"{120 * MIB}\n",
                V2 + "memory.stat": f"anon 1\ninactive_file {20 * MIB}\n",
            },
            200,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/job\n0::/\n",
                V1 + "job/memory.limit_in_bytes": f"{250 * MIB}\n",
                V1 + "job/memory.usage_in_bytes": f"{100 * MIB}\n",
                V1 + "job/memory.stat": f"inactive_file 5\ntotal_inactive_file {10 * MIB}\n",
                V1 + "memory.limit_in_bytes": "9223372036854771712\n",  # no limit
                V1 + "memory.usage_in_bytes": f"{999 * MIB}\n",
            },
            160,
        ),
        (
            {
                "proc/self/cgroup": "0::/job\n",
                V2 + "job/memory.max": f"{100 * MIB}\n",
                V2 + "job/memory.current": f"{101 * MIB}\n",
            },
            0,
        ),
    ],
    ids=["no groups", "no limit", "an outer group", "container", "version 1", "over its limit"],
)
def test_available_memory(tmp_path, files, expected):
    assert available_memory(system(tmp_path, FREE | files)) == expected * MIB


def test_a_system_without_proc(tmp_path):
    """What the C library says instead."""
    assert 0 < available_memory(tmp_path) <= 2**60


def test_refused_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr("mfpde.loop.forecast.available_memory", lambda: 1000 * MIB)
    tracemalloc.start()
    huge = told(45_000)
    with pytest.raises(NotEnoughMemory) as refusal:
        check_memory(huge)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * MIB  # a density would take 75 GiB
    assert refusal.value.exit_code == 2
    named = int(re.search(r"= (\d+) × (\d+) cells", refusal.value.fix)[1])
    check_memory(told(named))
    with pytest.raises(NotEnoughMemory):
        check_memory(told(named + 1))
    assert "1000 MiB are available" in refusal.value.why
    assert "does not fit" in repr(huge)
    assert " fits" in repr(told(named))


def test_a_grid_that_fits_keeps_its_proportions():
    shape = largest((400, 100, 10), lambda shape: math.prod(shape) <= 10**6)
    assert shape == (555, 138, 13)  # 556 × 139 × 13 > 10⁶
    assert largest((64, 64), lambda shape: False) == (4, 4)


def test_what_is_kept_counts():
    """Snapshots in memory stand twice while they become one array; on disk or not kept, never."""
    few, many = (told(512, times=np.linspace(0, 1, count)) for count in (50, 60))
    assert many.memory - few.memory == 2 * 10 * 8 * 512**2
    few_last, many_last = (told(512, "last", times=np.arange(count)) for count in (50, 60))
    assert many_last.memory == few_last.memory
    assert told(512, to="run", times=np.arange(60)).memory < few.memory / 5


def test_a_store_of_no_less_than_was_written(tmp_path):
    """The bytes of a real run, whose numbers compression may only lower."""
    predicted = told(96, to=tmp_path / "run", method=mf.upwind()).disk
    mf.solve(
        plain(), square(cells=96), mf.upwind(), TIMES, to=tmp_path / "run", escaped_tolerance=1
    )
    written = sum(
        on_disk(path.stat().st_size / 8) for path in tmp_path.rglob("*") if path.is_file()
    )
    assert 0.2 * predicted < written < predicted


def test_a_full_disk_is_refused(monkeypatch, tmp_path):
    disk = SimpleNamespace(total=0, used=0, free=100 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk)
    assert free_disk(tmp_path / "not" / "yet" / "there") == 100 * MIB
    with pytest.raises(StorageError) as refusal:
        check_disk(told(2048, to=tmp_path / "run"))
    assert refusal.value.exit_code == 5
    check_disk(told(1024, to=tmp_path / "run", times=[0, 1]))
    with pytest.raises(StorageError):  # 104 MiB
        check_disk(told(1024, to=tmp_path / "run", times=np.arange(10)))
    check_disk(told(2048))
    assert not list(tmp_path.iterdir())


def test_what_a_run_has_written_already_is_its_own(monkeypatch, tmp_path):
    """A run that goes on is not refused for what its own beginning takes."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "chunk").write_bytes(bytes(500))
    assert free_disk(tmp_path / "run") == 510


def test_the_default_method_is_that_of_solve():
    assert (
        mf.forecast(plain(), square(), None, TIMES).memory
        == mf.forecast(plain(), square(), mf.semi_lagrangian(), TIMES).memory
    )


def test_bad_arguments():
    with pytest.raises(InvalidInput, match="method"):
        mf.forecast(plain(), square(), "muscl", TIMES)
    with pytest.raises(InvalidInput, match="keep"):
        told(keep="all")
    with pytest.raises(InvalidInput, match="axes"):
        mf.forecast(plain(), mf.Grid(w=mf.uniform(-1, 1, 8)), mf.muscl(), TIMES)
