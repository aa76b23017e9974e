"""What readers of a run's folder see: the snapshots that are whole, compared with their hashes."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from mfpde.arguments import shown
from mfpde.errors import InvalidInput
from mfpde.loop.arrays import opened
from mfpde.loop.files import damaged, reported, unsealed
from mfpde.loop.ledger import NAME as COMMIT
from mfpde.loop.ledger import Ledger, content
from mfpde.loop.trust import check_metadata, check_names

MANIFEST, DATA, DONE = "manifest.json", "out.zarr", "DONE"
WHOLE = {"kept": "as a whole"}  # identity of a run that is no run before it is done
LONGEST_NAME = 200  # bytes of a folder's name
MOST_CHANGES = 5  # by a writer, that a reader tries again after


def folder_of(path: object) -> Path:
    """The path of a folder, made so that asking for it does not fail."""
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        raise InvalidInput(f"{shown(path)} is no path", "a run is kept in a folder", '"runs/x"')
    folder = Path(os.path.normpath(path))
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in folder.parts):
        raise InvalidInput(
            f"the folder {shown(path)}", f"names have at most {LONGEST_NAME} bytes", "a shorter one"
        )
    return folder


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """The snapshots that are whole of the run in a folder, whether it is finished or not.

    Every file is read once and compared with its hash; numbers are then read from the folder when
    they are asked for (``.load()`` brings them to memory at once).

    Raises:
        InvalidInput: when the folder does not hold a run of this software.
        StorageError: when a file of it changed or went, or is none that a run holds; it is named.
    """
    folder = folder_of(path)
    with reported(folder, "permission to read it"):
        for _ in range(MOST_CHANGES):
            before = marks(folder)
            try:
                return read(folder)
            except OSError:
                if marks(folder) == before:
                    raise
        return read(folder)


def marks(folder: Path) -> list[bytes | None]:
    """What changes whenever a writer takes something back, or adds to it."""
    return [content(f"{folder}/{name}") for name in (COMMIT, DONE)]


def read(folder: Path) -> xr.Dataset:
    """The same, unless a writer changes the files meanwhile."""
    for part in (MANIFEST, DATA, COMMIT):
        if not (folder / part).exists():
            if (folder / DONE).exists():
                raise damaged(folder / part, "it is missing")
            inside = [found.parent.name for found in sorted(folder.glob(f"*/{MANIFEST}"))]
            raise InvalidInput(
                f"{folder} holds no run",
                f"there is no {part} in it",
                f"one of its folders: {', '.join(inside)}" if inside else "the folder of to=…",
            )
    manifest = unsealed(folder / MANIFEST)
    if manifest.get("identity") == WHOLE and not (folder / DONE).exists():
        raise InvalidInput(
            f"{folder} holds the beginning of a run",
            "it was to be written as a whole, and was not",
            "write it again",
        )
    ledger = Ledger.read(folder)
    count = len(ledger.snapshots)
    if (folder / DONE).exists() and unsealed(folder / DONE)["snapshots"] != count:
        raise damaged(folder / DONE)
    names = [name for name, _ in ledger.named()]
    check_names(folder, names)
    ledger.verify(folder / DATA)
    check_metadata(folder / DATA)
    return opened(folder / DATA, count, names)
