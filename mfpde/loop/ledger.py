"""COMMIT: how many snapshots are whole, and the hash of every file that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mfpde.loop.files import damaged, digest, replace, sealed, unsealed

NAME = "COMMIT"
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

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """The ledger of a run; StorageError where it is damaged."""
        return cls(**unsealed(folder / NAME))

    def commit(self, folder: Path) -> None:
        """Let readers see it."""
        replace(folder / NAME, sealed(vars(self)))

    def add(self, chunks: Mapping[str, bytes]) -> None:
        """Another snapshot is whole."""
        self.snapshots.append([digest(data)[:DIGITS] for data in chunks.values()])

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
                verify_file(root / name, allowed)

    def verify_snapshots(self, root: Path) -> None:
        """The same for the chunks of snapshots alone."""
        for name, allowed in self.named_chunks():
            verify_file(root / name, allowed)


def verify_file(path: Path, allowed: tuple[str, ...]) -> None:
    """Raise StorageError unless the file has one of the hashes, given by their beginnings."""
    if path.is_symlink() or not path.is_file():
        raise damaged(path, "it is missing, or a link")
    if not digest(path.read_bytes()).startswith(allowed):
        raise damaged(path)
