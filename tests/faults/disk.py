"""A disk that fails at a chosen operation, and runs small enough to fail at every one of them."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from loop.planted import X, Y

import mfpde as mf
import particle_ref as pr
from mfpde.loop import checkpoint, files, netcdf, store
from mfpde.loop.arrays import Arrays

OPERATIONS = ("put", "force", "rename", "remove", "make")
MODULES = (files, checkpoint, netcdf, store)


class Crash(BaseException):
    """The machine stops: nothing that is done afterwards reaches the disk."""


@dataclass
class Disk:
    """Counts operations on files, and fails at number ``at``; forcing takes no time here.

    Attributes:
        at: the operation that fails, from 1; none fails by default.
        error: the error number of the system's refusal, which lasts; without it, the machine stops.
        power: whether, when the machine stops, what was not forced to disk is lost: contents of
            files are cut off, new names vanish, and renamed files have their old names.
        unforced: files with unforced content, and how much of each is on disk.
    """

    at: int | None = None
    error: int | None = None
    power: bool = False
    count: int = 0
    log: list[tuple[str, Path]] = field(default_factory=list)
    unforced: dict[Path, int] = field(default_factory=dict)
    unnamed: list[tuple[Path, Callable[[], object]]] = field(default_factory=list)

    def before(self, name: str, path: Path) -> bool:
        """Count an operation; whether it is the one that fails."""
        self.log.append((name, path))
        self.count += 1
        if self.at is None or self.count < self.at:
            return False
        if self.error is None and self.count > self.at:
            raise Crash
        return True

    def fail(self) -> None:
        """Refuse, or stop."""
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        if self.power:
            self.lose()
        raise Crash

    def lose(self) -> None:
        """Forget what was not forced."""
        for path, length in self.unforced.items():
            if path.exists():
                os.truncate(path, length)
        for _, undo in reversed(self.unnamed):
            undo()

    def put(self, file, data) -> None:
        path = Path(file.name)
        self.unforced.setdefault(path, os.fstat(file.fileno()).st_size)
        if "a" not in file.mode:  # which extends a file that has its name
            self.unnamed.append((path.parent, lambda: path.unlink(missing_ok=True)))
        if self.before("put", path):
            ORIGINAL["put"](file, data[: len(data) // 2])
            self.fail()
        ORIGINAL["put"](file, data)

    def force(self, descriptor: int) -> None:
        if self.before("force", Path(os.readlink(f"/proc/self/fd/{descriptor}"))):
            self.fail()
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self.unnamed = [u for u in self.unnamed if not os.path.samestat(u[0].stat(), status)]
        else:
            self.unforced = {
                p: n for p, n in self.unforced.items() if not os.path.samestat(p.stat(), status)
            }

    def rename(self, old: Path, new: Path) -> None:
        if self.before("rename", new):
            self.fail()
        covered = new.read_bytes() if new.exists() else None

        def undo() -> None:
            new.rename(old)
            if covered is not None:
                new.write_bytes(covered)

        ORIGINAL["rename"](old, new)
        if old in self.unforced:  # a new name makes no content safe
            self.unforced[new] = self.unforced.pop(old)
        self.unnamed.append((new.parent, undo))

    def remove(self, path: Path) -> None:
        if self.before("remove", path):
            self.fail()
        held = path.read_bytes()
        ORIGINAL["remove"](path)
        self.unforced.pop(path, None)
        self.unnamed.append((path.parent, lambda: path.write_bytes(held)))

    def make(self, folder: Path) -> None:
        if self.before("make", folder):
            self.fail()
        ORIGINAL["make"](folder)


ORIGINAL = {name: getattr(files, name) for name in OPERATIONS}


@contextmanager
def failing(**how) -> Iterator[Disk]:
    """Everything that the store does to the disk goes through a :class:`Disk`."""
    disk = Disk(**how)
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            for name in OPERATIONS:
                if getattr(module, name, None) is ORIGINAL[name]:
                    patch.setattr(module, name, getattr(disk, name))
        patch.setattr(store, "Arrays", known_arrays)
        patch.setattr(files, "at_once", in_turn)
        yield disk


def in_turn(work, items) -> None:
    """Operations that may come in any order come in the same one each time."""
    for item in sorted(items):
        work(item)


KNOWN: dict[str, Arrays] = {}


def known_arrays(template: xr.Dataset, length: int) -> Arrays:
    """The bytes of metadata, which take most of the time and are the same for the same template."""
    key = f"{length} {template.to_dict()}"
    if key not in KNOWN:
        KNOWN[key] = Arrays(template, length)
    return copy(KNOWN[key])


Solve = Callable[[Path | None, int], xr.Dataset]  # folder, how many of its times -> the run

PROBLEM = mf.two_layer(X, Y, initial=mf.gaussian(0.2, 0.7))
GRID = mf.Grid(a=mf.uniform(-4, 4, 5), w=mf.uniform(-4, 4, 4))
CLOUD = pr.sample(PROBLEM, 5, seed=1)
TIMES = [0.0, 0.25, 0.75]


def density(method: mf.Method, grid: mf.Grid = GRID, keep="density") -> Solve:
    """A density run."""

    def solve(folder: Path | None, count: int = len(TIMES)) -> xr.Dataset:
        return mf.solve(
            PROBLEM, grid, method, TIMES[:count], to=folder, escaped_tolerance=1, keep=keep
        )

    return solve


def particles(method) -> Solve:
    """A particle run."""

    def solve(folder: Path | None, count: int = len(TIMES)) -> xr.Dataset:
        to = None if folder is None else mf.store(folder)
        return pr.run(PROBLEM, CLOUD, method, TIMES[:count], to=to)

    return solve


LONG_TIMES = np.linspace(0, 2, 81)
LONG_GRID = mf.Grid(a=mf.uniform(-4, 4, 48), w=mf.uniform(-4, 4, 48))
LONG_CLOUD = pr.sample(PROBLEM, 400, seed=1)


def long_density(folder: Path | None) -> xr.Dataset:
    """A density run of a second or so, to be stopped in the middle."""
    return mf.solve(
        PROBLEM,
        LONG_GRID,
        mf.muscl(),
        LONG_TIMES,
        to=folder,
        escaped_tolerance=1,
        progress=False,
    )


def long_particles(folder: Path | None) -> xr.Dataset:
    """The same of particles."""
    to = None if folder is None else mf.store(folder)
    return pr.run(PROBLEM, LONG_CLOUD, pr.GradientFlow(), LONG_TIMES, to=to)


LONG = {"density": long_density, "particles": long_particles}


def bits(run: xr.Dataset) -> dict[str, bytes | list]:
    """All numbers of a run, and its attributes."""
    found = {
        str(name): v.values.tobytes() if v.dtype.kind == "f" else v.values.tolist()
        for name, v in run.variables.items()
    }
    return found | {"attributes": sorted((k, str(v)) for k, v in run.attrs.items())}


def begins(truth: dict, read: dict) -> bool:
    """Whether the bits that a reader sees are the right ones as far as they go."""
    return all(
        value == truth[name] or (isinstance(value, bytes) and truth[name].startswith(value))
        for name, value in read.items()
        if name != "attributes"
    )


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def laid(files: dict[str, bytes], folder: Path) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def leftovers(folder: Path) -> list[str]:
    """Temporary files below a folder."""
    return [name for name in everything(folder) if name.endswith(files.TEMPORARY)]


def kind(name: str) -> str:
    """The name of a file in a run's folder without the variable and the number of a snapshot."""
    return re.sub(r"/\d[\d.]*\b", "/0", re.sub(r"out.zarr/(\w+)(?=/|$)", "out.zarr/variable", name))


def places(solve: Solve, folder: Path, count: int, of: str = "") -> list[int]:
    """Numbers of operations of a run into ``folder``: up to ``count`` of every kind; 0 for all.

    Two are of a kind if they do the same to files that differ by a variable or a snapshot.
    """
    with failing() as disk:
        solve(folder)
    found: dict[str, list[int]] = {}
    for number, (name, path) in enumerate(disk.log, 1):
        beneath = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else ""
        found.setdefault(f"{name} {kind(beneath)}", []).append(number)
    chosen = [
        [numbers[k] for k in spread(len(numbers), count or len(numbers))]
        for what, numbers in found.items()
        if what.startswith(of)
    ]
    return sorted(number for numbers in chosen for number in numbers)


def spread(length: int, count: int) -> list[int]:
    """Up to ``count`` different places in a list, the last among them."""
    return sorted({length - 1 - k * length // count for k in range(min(count, length))})


ERRORS = {"no space": errno.ENOSPC, "input/output": errno.EIO}
