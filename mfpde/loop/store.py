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
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mfpde.errors import AlreadyExists, InvalidInput, StorageError
from mfpde.loop import checkpoint
from mfpde.loop.arrays import ROOT, Arrays, Row, check_kinds, quietly, spelled
from mfpde.loop.checkpoint import State
from mfpde.loop.files import (
    TEMPORARY,
    beside,
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
from mfpde.loop.identity import Parts, recorded
from mfpde.loop.ledger import HASHES, Ledger, content
from mfpde.loop.ledger import NAME as COMMIT
from mfpde.loop.place import LOCK, check_free, check_place, check_variables, is_done
from mfpde.loop.reading import DATA, DONE, MANIFEST, WHOLE, folder_of, load
from mfpde.version import __version__

NAMES = (HASHES, COMMIT, checkpoint.NAME, checkpoint.PREVIOUS, DONE, MANIFEST)
OWN = re.compile(rf"({re.escape(ROOT)}|\d+(\.\d+)*)({re.escape(TEMPORARY)})?")  # of an array
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
        folder = self.path.absolute()  # wherever the process goes meanwhile
        with ExitStack() as held:
            with reported(folder):
                check_place(folder)
                if not is_done(folder, manifest):
                    make_all(folder)
                    held.enter_context(locked(folder / LOCK))
                    check_place(folder)
                # Asked again: someone may have been here before the lock was ours.
                start = reopened if is_done(folder, manifest) else resumed
                book = start(folder, manifest, arrays)
            yield book

    def load(self) -> xr.Dataset:
        """The committed snapshots; see :func:`load`."""
        return load(self.path)

    def write(self, run: xr.Dataset) -> None:
        """Write a run that is there already, all or nothing.

        Raises:
            AlreadyExists: when something stands in its place.
            InvalidInput: for variables and attributes that would not come back as they are.
            StorageError: when it cannot be written; ``error.run`` is the run.
        """
        folder = self.path.absolute()
        check_free(folder)
        check_kinds(run)
        try:
            with reported(folder), whole_or_nothing(folder):
                write_whole(run, folder)
        except (AlreadyExists, InvalidInput):  # someone was faster
            raise
        except Exception as error:
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


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[None]:
    """A new folder that is locked, and vanishes with whatever ends the work in it early."""
    try:
        make_all(folder)
        with locked(folder / LOCK):
            check_free(folder)
            discard(folder)
            try:
                yield
            except BaseException:
                with suppress(OSError):  # the disk may refuse that too
                    discard(folder)
                    (folder / LOCK).unlink()
                raise
    except BaseException:
        with suppress(OSError):  # it was never there, or someone else began in it
            folder.rmdir()
        raise


def discard(folder: Path) -> None:
    """Remove a run that was begun."""
    if (folder / DATA).exists():
        shutil.rmtree(folder / DATA)
    for name in NAMES:  # the manifest, which says what this was, last
        (folder / name).unlink(missing_ok=True)
        beside(folder / name).unlink(missing_ok=True)


def write_whole(run: xr.Dataset, folder: Path) -> None:
    """All snapshots of a run, into a folder that is ours."""
    length = run.sizes.get("time", 0)
    template = run.isel(time=slice(0)) if "time" in run.dims else run
    manifest = manifest_of(WHOLE, template, np.arange(length, dtype=float).tolist())
    book = resumed(folder, manifest, Arrays(template, length))
    for k in range(length):
        book.append({name: run[name].values[k] for name in book.arrays.chunks}, {})
    book.finish({})


def reopened(folder: Path, manifest: Parts, arrays: Arrays) -> Book:
    """The book of a finished run, for nobody to write in."""
    ledger = Ledger.read(folder)
    check_variables(folder, ledger, [*arrays.chunks.values()])
    return Book(folder, arrays, ledger, finished=True)


def resumed(folder: Path, manifest: Parts, arrays: Arrays) -> Book:
    """The book of a run that begins or goes on, set back to its newest good checkpoint."""
    stored = unsealed(folder / MANIFEST) if (folder / MANIFEST).exists() else None
    begun = (folder / COMMIT).exists()
    if not begun and ((folder / checkpoint.NAME).exists() or content(f"{folder}/{HASHES}")):
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
    """Remove what a crash left behind: chunks that were not committed, temporary files.

    Files of other names than the store gives are not its own.
    """
    known = {folder / DATA / name for name, _ in ledger.named()}
    arrays = [path for path in (folder / DATA).glob("*/*") if OWN.fullmatch(path.name)]
    half = [beside(folder / name) for name in (*NAMES, f"{DATA}/{ROOT}")]
    remove_all([path for path in arrays + half if path not in known and path.is_file()])


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """One dataset as a zarr folder that ``xr.open_zarr(path)`` opens without a word."""
    with quietly():
        spelled(dataset).to_zarr(path, zarr_format=3, consolidated=True)


def store(path: str | os.PathLike[str]) -> Store:
    """A run's folder, to hand to ``solve(to=…)`` or ``particle_ref.run(to=…)``."""
    return Store(path)
