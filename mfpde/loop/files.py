"""Files that survive a crash: content is forced to disk before its name is relied on.

Everything that a store does to a disk goes through ``put``, ``force``, ``rename``, ``remove``,
``make``; between any two of them the machine may stop. Waiting for the disk is what a snapshot
costs, so what may be forced in any order is forced ``at_once``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

from mfpde.errors import AlreadyExists, StorageError

TEMPORARY = ".new"  # behind the name of a file that is being replaced
MOST_AT_ONCE = 16

Item = TypeVar("Item")


class Busy(AlreadyExists):
    """Someone else is writing this run."""


def put(file: IO[bytes], data: bytes) -> None:
    """Write all of ``data``."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def force(descriptor: int) -> None:
    """Wait until the content of an open file, or the names in a folder, are on disk."""
    os.fsync(descriptor)


def rename(old: Path, new: Path) -> None:
    """Give a file another name, over a file that has it."""
    os.replace(old, new)


def remove(path: Path) -> None:
    """Delete a file."""
    os.unlink(path)


def make(folder: Path) -> None:
    """Make a folder."""
    folder.mkdir(exist_ok=True)


def force_path(path: Path) -> None:
    """Wait until the content of a file that was closed, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        force(descriptor)
    finally:
        os.close(descriptor)


def force_names(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    force_path(folder)


def at_once(work: Callable[[Item], None], items: Collection[Item]) -> None:
    """``work`` on all items, each in a thread: the disk answers many waits as soon as one."""
    list(threads().map(work, items))


@cache
def threads() -> ThreadPoolExecutor:
    """Those that wait for the disk."""
    return ThreadPoolExecutor(MOST_AT_ONCE, "disk")


os.register_at_fork(after_in_child=threads.cache_clear)  # a child has none of its parent's threads


def make_all(*folders: Path) -> None:
    """Make folders and those above them, on disk."""
    missing = sorted({path for folder in folders for path in missing_above(folder)})
    for path in missing:
        make(path)
    at_once(force_names, {path.parent for path in missing})


def missing_above(folder: Path) -> Iterator[Path]:
    """A folder and those above it, as far as they are not there."""
    while not folder.exists():
        yield folder
        folder = folder.parent


def write_forced(path: Path, data: bytes) -> None:
    """Write a file and wait for its content, not for its name."""
    with open(path, "wb", buffering=0) as file:
        put(file, data)
        force(file.fileno())


def write_all(root: Path, files: Mapping[str, bytes]) -> None:
    """Files by their names below ``root``, each of them there as a whole or not at all.

    All are written before the first is waited for: the disk takes them together.
    """
    paths = {root / name: data for name, data in files.items()}
    folders = sorted({path.parent for path in paths})
    make_all(*folders)
    with ExitStack() as held:
        written = [held.enter_context(open(beside(path), "wb", buffering=0)) for path in paths]
        for file, data in zip(written, paths.values(), strict=True):
            put(file, data)
        at_once(force, [file.fileno() for file in written])
    for path in paths:
        rename(beside(path), path)
    at_once(force_names, folders)


def extend(path: Path, data: bytes) -> None:
    """More at the end of a file that is on disk already; nobody may rely on it before."""
    with open(path, "ab", buffering=0) as file:
        put(file, data)
        force(file.fileno())


def place(path: Path, data: bytes) -> None:
    """A file's content under its name; the name itself may not be on disk yet."""
    write_forced(beside(path), data)
    rename(beside(path), path)


def beside(path: Path) -> Path:
    """Where a file's new content waits for its name."""
    return path.with_name(path.name + TEMPORARY)


def remove_all(paths: Sequence[Path]) -> None:
    """Delete files, for good."""
    for path in paths:
        remove(path)
    at_once(force_names, sorted({path.parent for path in paths}))


def replace(path: Path, data: bytes) -> None:
    """A file's new content, which readers see whole or not at all."""
    place(path, data)
    force_names(path.parent)


def digest(data: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(data).hexdigest()


def sealed(body: dict[str, Any]) -> bytes:
    """A record as JSON text that carries its own hash."""
    text = json.dumps(body, sort_keys=True)
    return (laid_out({"sha256": digest(text.encode()), **body}) + "\n").encode()


def laid_out(value: Any, indent: str = "") -> str:
    """JSON text for readers: records line by line, lists in one."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    within = indent + " "
    lines = (f"{within}{json.dumps(k)}: {laid_out(v, within)}" for k, v in value.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def unsealed(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        StorageError: when the file is not, to the last bit, what was written.
    """
    if not path.is_file():
        raise damaged(path, "it is missing")
    data = path.read_bytes()
    try:
        record = json.loads(data)
        hash_ = record.pop("sha256")
        intact = digest(json.dumps(record, sort_keys=True).encode()) == hash_
    except (ValueError, KeyError, AttributeError):
        intact = False
    if not intact or sealed(record) != data:
        raise damaged(path)
    return record


def damaged(
    path: Path,
    how: str = "it does not hold what was written",
    fix: str = "a copy of the folder, or compute again in another one",
) -> StorageError:
    """The error for a file that changed or went since it was written."""
    return StorageError(f"{path} is damaged", how, fix)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, which a process that ends lets go of however it ends.

    Raises:
        Busy: when another holds it.
    """
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(
                f"{path.parent} is being written by another process",
                "a run has one writer",
                "wait for it, or choose another folder",
            ) from error
        yield


TO_GO_ON = "room or permission, then the same call: it goes on from there"


@contextmanager
def reported(folder: Path, fix: str = TO_GO_ON) -> Iterator[None]:
    """Turn what the system says of files into a StorageError."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError | AlreadyExists):
            raise
        raise StorageError(
            f"{error.filename or folder}: {error.strerror or error}",
            f"nothing that {folder} held before is lost",
            fix,
        ) from error
