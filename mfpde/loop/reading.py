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
from mfpde.loop.ledger import Ledger
from mfpde.loop.trust import check_metadata, check_names

MANIFEST, DATA, DONE = "manifest.json", "out.zarr", "DONE"
LONGEST_NAME = 200  # bytes of a folder's name


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
    with reported(folder, "permission to read it"):
        unsealed(folder / MANIFEST)
        ledger = Ledger.read(folder)
        count = len(ledger.snapshots)
        if (folder / DONE).exists() and unsealed(folder / DONE)["snapshots"] != count:
            raise damaged(folder / DONE)
        check_names(folder, [name for name, _ in ledger.named()])
        ledger.verify(folder / DATA)
        check_metadata(folder / DATA)
        return opened(folder / DATA, count)
