"""COMMIT: how many snapshots are whole, and the hash of every file that holds them.

The hashes of snapshots are lines of a file that only grows: COMMIT says how many of them count, and
their own hash. So a snapshot costs the same however many were before.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from mfpde.loop.files import damaged, digest, extend, replace, sealed, unsealed

NAME, HASHES = "COMMIT", "hashes"
DIGITS = 16  # of a chunk's hash: against accidents, and short


@dataclass
class Ledger:
    """What readers of a run may rely on.

    Attributes:
        files: hashes of the files that do not grow with time, by name.
        replacing: hashes that some of them are about to have; meanwhile either is right.
        chunks: names of the chunks of a snapshot, with * for its number.
        snapshots: of every whole snapshot the hashes of its chunks.
    """

    files: dict[str, str] = field(default_factory=dict)
    replacing: dict[str, str] = field(default_factory=dict)
    chunks: list[str] = field(default_factory=list)
    snapshots: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hashed = sha256(self.text())  # of the lines so far

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """The ledger of a run; StorageError where it is damaged."""
        told = unsealed(folder / NAME)
        if HASHES not in told:
            raise damaged(folder / NAME, "it is laid out as by an earlier version")
        count, hash_ = told.pop("snapshots"), told.pop(HASHES)
        if not (folder / HASHES).is_file():
            raise damaged(folder / HASHES, "it is missing")
        lines = (folder / HASHES).read_bytes().split(b"\n")[:-1]  # a torn one is behind the last
        text = b"".join(line + b"\n" for line in lines[:count])
        if digest(text) != hash_:
            raise damaged(folder / HASHES)
        return cls(**told, snapshots=[line.split() for line in text.decode().splitlines()])

    def text(self) -> bytes:
        """The hashes of all snapshots, a line for each."""
        return b"".join(line_of(hashes) for hashes in self.snapshots)

    def commit(self, folder: Path) -> None:
        """Let readers see it."""
        told = {"files": self.files, "replacing": self.replacing, "chunks": self.chunks}
        counted = {"snapshots": len(self.snapshots), HASHES: self.hashed.hexdigest()}
        replace(folder / NAME, sealed(told | counted))

    def add(self, folder: Path, chunks: Mapping[str, bytes]) -> None:
        """Another snapshot is whole; it counts from the next commit on."""
        hashes = [digest(data)[:DIGITS] for data in chunks.values()]
        extend(folder / HASHES, line_of(hashes))
        self.snapshots.append(hashes)
        self.hashed.update(line_of(hashes))

    def keep(self, count: int) -> None:
        """No more than the first snapshots count, from the next commit on."""
        del self.snapshots[count:]
        self.hashed = sha256(self.text())

    def trim(self, folder: Path) -> None:
        """Leave no lines behind those that were committed: the next is to follow them."""
        if (folder / HASHES).read_bytes() != self.text():
            replace(folder / HASHES, self.text())

    def named(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every file, and the beginnings of the hashes it may have."""
        for name in self.files | self.replacing:
            both = (self.files.get(name), self.replacing.get(name))
            yield name, tuple(hash_ for hash_ in both if hash_)
        yield from self.named_chunks()

    def named_chunks(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The chunks of whole snapshots, likewise."""
        for k, hashes in enumerate(self.snapshots):
            for pattern, hash_ in zip(self.chunks, hashes, strict=True):
                yield pattern.replace("*", str(k)), (hash_,)

    def verify(self, root: Path) -> None:
        """Read every file and compare.

        Raises:
            StorageError: which names the first that changed or went.
        """
        for name, allowed in self.named():
            if name in self.files or name not in self.replacing or (root / name).exists():
                verify_file(f"{root}/{name}", allowed)

    def verify_snapshots(self, root: Path) -> None:
        """The same for the chunks of snapshots alone."""
        for name, allowed in self.named_chunks():
            verify_file(f"{root}/{name}", allowed)


def line_of(hashes: list[str]) -> bytes:
    """The hashes of one snapshot as they are stored."""
    return (" ".join(hashes) + "\n").encode()


def verify_file(path: str, allowed: tuple[str, ...]) -> None:
    """Raise StorageError unless the file has one of the hashes, given by their beginnings."""
    data = content(path)
    if data is None:
        raise damaged(Path(path), "it is missing, or no file")
    if not digest(data).startswith(allowed):
        raise damaged(Path(path))


def content(path: str) -> bytes | None:
    """What a file holds; None where there is none, or a link or a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        if os.path.islink(path):
            return None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb", buffering=0) as file:
        return file.read()
