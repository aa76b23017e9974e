"""A run on disk, whole up to its last committed snapshot whatever happens to the process.

    run/manifest.json   what is run: parts that can be told apart, times, versions
    run/.lock           held while someone writes
    run/out.zarr        the run itself, which plain xarray opens; a chunk is one snapshot
    run/hashes          those of the chunks of every snapshot, a line each
    run/COMMIT          how many of these snapshots are whole, and the hashes of all other files
    run/checkpoint      where to go on from, and checkpoint.previous
    run/DONE            last: the hash of the final state

A snapshot is written in the order chunks, their hashes, COMMIT, checkpoint, each forced to disk
before the next; the chunks of its variables together. COMMIT is small and is replaced, the hashes
are appended, so that the last snapshot costs what the first did.
Whoever opens the folder again goes on from the newest good checkpoint; readers see what COMMIT
says.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mfpde.errors import AlreadyExists, InvalidInput, StorageError
from mfpde.loop import checkpoint
from mfpde.loop.arrays import Arrays, Row, quietly, spelled
from mfpde.loop.checkpoint import State
from mfpde.loop.files import (
    TEMPORARY,
    damaged,
    digest,
    locked,
    make_all,
    remove_all,
    replace,
    reported,
    sealed,
    unsealed,
    write_all,
)
from mfpde.loop.identity import Parts, differences, recorded
from mfpde.loop.ledger import HASHES, Ledger
from mfpde.loop.ledger import NAME as COMMIT
from mfpde.loop.reading import DATA, DONE, MANIFEST, folder_of, load
from mfpde.version import __version__

LOCK = ".lock"
PAUSE = 60.0  # seconds between checkpoints within one snapshot


class Book:
    """A run's folder, opened for writing.

    Attributes:
        count: snapshots committed.
        state: where to go on from; None at the beginning.
        finished: whether there is nothing left to do.
    """

    def __init__(
        self,
        folder: Path,
        arrays: Arrays,
        ledger: Ledger,
        state: State | None = None,
        finished: bool = False,
    ) -> None:
        self.folder, self.arrays, self.ledger = folder, arrays, ledger
        self.state, self.finished = state, finished
        self.saved_at = time.monotonic()

    @property
    def count(self) -> int:
        """Snapshots committed."""
        return len(self.ledger.snapshots)

    def append(self, row: Row, state: State) -> None:
        """Commit the next snapshot, and ``state``, from which the one after it follows.

        Args:
            row: a value for every variable over time.
            state: arrays and plain numbers, words or dicts of them.

        Raises:
            StorageError: when the disk does not take it; what was committed stays.
        """
        chunks = self.arrays.encoded(self.count, row)
        with reported(self.folder):
            write_all(self.folder / DATA, chunks)
            self.ledger.add(self.folder, chunks)
            self.ledger.commit(self.folder)
        self.checkpoint(state)

    def checkpoint(self, state: State) -> None:
        """Go on from ``state`` if the run is opened again."""
        with reported(self.folder):
            checkpoint.save(self.folder, checkpoint.encoded(self.count, state))
        self.state, self.saved_at = state, time.monotonic()

    def pause(self, state: Callable[[], State]) -> None:
        """A checkpoint between snapshots, where the last is a minute old."""
        if time.monotonic() - self.saved_at >= PAUSE:
            self.checkpoint(state())

    def finish(self, attrs: Mapping[str, Any], last: Mapping[str, Any] | None = None) -> None:
        """All snapshots are there: add what is known only now, and say that the run is done.

        Args:
            attrs: further attributes of the run.
            last: further variables, as ``xr.Dataset.assign`` takes them.
        """
        files = self.arrays.finished(attrs, last or {})
        with reported(self.folder):
            settle(self.folder, self.ledger, files)
            final = digest(checkpoint.encoded(self.count, self.state or {}))
            replace(self.folder / DONE, sealed({"snapshots": self.count, "state": final}))
        self.finished = True

    def stopped(self, row: Row, attrs: Mapping[str, Any], last: Mapping[str, Any]) -> xr.Dataset:
        """What is committed; a state between two snapshots is none of them."""
        return self.run()

    def run(self) -> xr.Dataset:
        """What is committed, read from the folder."""
        return load(self.folder)


class Store:
    """The folder of one run; made by :func:`store`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = folder_of(path)

    @contextmanager
    def opened(
        self, identity: Mapping[str, Any], template: xr.Dataset, times: ArrayLike
    ) -> Iterator[Book]:
        """Begin the run in this folder, or go on with it.

        Args:
            identity: what is run, by named parts: plain values, and arrays.
            template: the run before its first snapshot: variables over time have length 0.
            times: the instants that will be kept; those of a run that is there already must be
                the first of them.

        Raises:
            AlreadyExists: when the folder holds something else; ``Busy`` when another process
                writes it.
            InvalidInput: when it holds another run, with the differences.
            StorageError: when it is damaged, or the disk does not take it.
        """
        instants = np.asarray(times, dtype=float).tolist()
        arrays = Arrays(template, len(instants))
        manifest = manifest_of(identity, template, instants)
        with ExitStack() as held:
            with reported(self.path):
                check_place(self.path)
                if is_done(self.path, manifest):
                    book = reopened(self.path, arrays)
                else:
                    make_all(self.path)
                    held.enter_context(locked(self.path / LOCK))
                    book = resumed(self.path, manifest, arrays)
            yield book

    def load(self) -> xr.Dataset:
        """The committed snapshots; see :func:`load`."""
        return load(self.path)

    def write(self, run: xr.Dataset) -> None:
        """Write a run that is there already, all or nothing.

        Raises:
            AlreadyExists: when something stands in its place.
            StorageError: when it cannot be written; ``error.run`` is the run.
        """
        if os.path.lexists(self.path):  # a link that leads nowhere is in the way too
            raise AlreadyExists(
                f"{self.path} exists", "a result is never overwritten", "another folder, or move it"
            )
        moving = [name for name, v in run.variables.items() if v.dims[:1] == ("time",)]
        length = run.sizes.get("time", 0)
        template = run.isel(time=slice(0)) if "time" in run.dims else run
        ours = False
        try:
            with self.opened({"kept": "as a whole"}, template, np.arange(length)) as book:
                ours = True
                for k in range(length):
                    book.append({str(name): run[name].values[k] for name in moving}, {})
                book.finish({})
        except (AlreadyExists, InvalidInput):  # someone was faster
            raise
        except Exception as error:
            if ours or isinstance(error, StorageError):
                shutil.rmtree(self.path, ignore_errors=True)
            failure = StorageError(
                f"{self.path} could not be written",
                f"{type(error).__name__}: {error}",
                "mf.store(another folder).write(error.run)",
            )
            failure.run = run
            raise failure from error


def manifest_of(
    identity: Mapping[str, Any], template: xr.Dataset, instants: Sequence[float]
) -> dict[str, Any]:
    """What is run."""
    parts = recorded(identity)
    a_row = sum(
        v.dtype.itemsize * int(np.prod(v.shape[1:]))
        for v in template.variables.values()
        if "time" in v.dims
    )
    return {
        "software": f"mfpde {__version__}",
        "title": template.attrs.get("title", ""),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "xarray": xr.__version__,
        },
        "machine": platform.platform(),
        "predicted_bytes": template.nbytes + a_row * len(instants),
        "hash": digest(json.dumps(parts, sort_keys=True).encode()),
        "identity": parts,
        "times": instants,
    }


def check_place(folder: Path) -> None:
    """Raise AlreadyExists where something stands that is no run of ours."""
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    just_begun = {LOCK, MANIFEST + TEMPORARY}  # by a process that came no further
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - just_begun:
        raise AlreadyExists(
            f"{folder} exists and holds no run",
            "nothing but runs of this software is ever written to",
            "another folder, or move it",
        )


def is_done(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether the folder holds just this run, finished.

    Raises InvalidInput where it holds another.
    """
    if not (folder / MANIFEST).exists():
        return False
    stored = unsealed(folder / MANIFEST)
    check_same(folder, stored, manifest)
    return stored["times"] == manifest["times"] and (folder / DONE).exists()


def check_same(folder: Path, stored: Parts, asked: Parts) -> None:
    """Raise InvalidInput, with what differs, unless one run goes on from the other."""
    differ = differences(stored["identity"], asked["identity"])
    old, new = stored["times"], asked["times"]
    both = min(len(old), len(new))
    if old[:both] != new[:both]:
        k = next(k for k in range(both) if old[k] != new[k])
        differ.append(f"times: {old[k]!r} at place {k}, now {new[k]!r}")
    elif len(new) < len(old):
        differ.append(f"times: until {old[-1]!r}, now until {new[-1]!r} only")
    if differ:
        raise InvalidInput(
            f"{folder} holds another run",
            "; ".join(differ),
            f"another folder, or mf.load({str(folder)!r}) for what is there",
        )


def check_variables(folder: Path, ledger: Ledger, asked: Sequence[str]) -> None:
    """Raise InvalidInput unless the same variables are recorded."""
    if set(asked) != set(ledger.chunks):
        old, new = (sorted(c.split("/")[0] for c in chunks) for chunks in (ledger.chunks, asked))
        raise InvalidInput(
            f"{folder} records {', '.join(sorted(set(old) - set(new))) or 'fewer variables'}",
            f"now asked for: {', '.join(sorted(set(new) - set(old))) or 'fewer variables'}",
            "watch what was watched before, or another folder",
        )


def reopened(folder: Path, arrays: Arrays) -> Book:
    """The book of a finished run, for nobody to write in."""
    ledger = Ledger.read(folder)
    check_variables(folder, ledger, [*arrays.chunks.values()])
    return Book(folder, arrays, ledger, finished=True)


def resumed(folder: Path, manifest: dict[str, Any], arrays: Arrays) -> Book:
    """The book of a run that begins or goes on, set back to its newest good checkpoint."""
    stored = unsealed(folder / MANIFEST) if (folder / MANIFEST).exists() else None
    begun = (folder / COMMIT).exists()
    if not begun and (folder / checkpoint.NAME).exists():
        raise damaged(folder / COMMIT, "it is missing")
    ledger = Ledger.read(folder) if begun else Ledger(chunks=[*arrays.chunks.values()])
    check_variables(folder, ledger, [*arrays.chunks.values()])
    if stored is not None and stored["versions"] != manifest["versions"]:
        warnings.warn(
            f"{folder} was begun with {stored['versions']} and goes on with "
            f"{manifest['versions']}: the same to about 1e-12, not bit for bit",
            stacklevel=6,
        )
    ledger.verify_snapshots(folder / DATA)
    found = checkpoint.newest(folder, len(ledger.snapshots))
    if stored is None or stored["times"] != manifest["times"]:
        if (folder / DONE).exists():
            remove_all([folder / DONE])
        replace(folder / MANIFEST, sealed(manifest))
    count, state = found or (0, None)
    ledger.keep(count)
    if not begun:
        write_all(folder / DATA, arrays.files)
        replace(folder / HASHES, ledger.text())
    settle(folder, ledger, arrays.files)
    ledger.trim(folder)  # readers no longer ask for what was behind
    clear(folder, ledger)
    return Book(folder, arrays, ledger, state)


def settle(folder: Path, ledger: Ledger, files: Mapping[str, bytes]) -> None:
    """Bring what does not grow with time to ``files``; readers may look on meanwhile."""
    hashes = {name: digest(data) for name, data in files.items()}
    paths = {name: folder / DATA / name for name in files}
    stale = [
        name
        for name, path in paths.items()
        if not path.is_file() or digest(path.read_bytes()) != hashes[name]
    ]
    if stale:
        ledger.replacing = {name: hashes[name] for name in stale}
        ledger.commit(folder)
        for depth in sorted({name.count("/") for name in stale}, reverse=True):  # the root last
            write_all(
                folder / DATA, {name: files[name] for name in stale if name.count("/") == depth}
            )
    ledger.files, ledger.replacing = hashes, {}
    ledger.commit(folder)


def clear(folder: Path, ledger: Ledger) -> None:
    """Remove what a crash left behind: chunks that were not committed, temporary files."""
    known = {folder / DATA / name for name, _ in ledger.named()}
    stray = [path for path in (folder / DATA).glob("*/*") if path not in known]
    remove_all(
        stray + [path for top in (folder, folder / DATA) for path in top.glob(f"*{TEMPORARY}")]
    )


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """One dataset as a zarr folder that ``xr.open_zarr(path)`` opens without a word."""
    with quietly():
        spelled(dataset).to_zarr(path, zarr_format=3, consolidated=True)


def store(path: str | os.PathLike[str]) -> Store:
    """A run's folder, to hand to ``solve(to=…)`` or ``particle_ref.run(to=…)``."""
    return Store(path)
