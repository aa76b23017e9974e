"""A finished run on disk: a folder with ``out.zarr``, which plain xarray opens.

Written beside its place and renamed into it, so a reader never sees half a run, and never over an
existing result.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import xarray as xr

from mfpde.errors import AlreadyExists, InvalidInput
from mfpde.version import __version__

MANIFEST = "manifest.json"
DATA = "out.zarr"


class Store:
    """The folder of one run; made by :func:`store`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.check_free()

    def check_free(self) -> None:
        """Raise AlreadyExists if something stands in the run's place."""
        if self.path.exists():
            raise AlreadyExists(
                f"{self.path} exists", "a result is never overwritten", "another folder, or move it"
            )

    def write(self, run: xr.Dataset) -> None:
        """Write the run, all or nothing.

        Raises:
            AlreadyExists: when the folder came to be meanwhile.
        """
        self.check_free()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{self.path.name}-", dir=self.path.parent))
        beside.chmod(0o755)
        run.to_zarr(beside / DATA, zarr_format=3, consolidated=False)
        manifest = {"software": f"mfpde {__version__}", "title": run.attrs.get("title", "")}
        (beside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        beside.rename(self.path)


def store(path: str | os.PathLike[str]) -> Store:
    """A writer for a run's folder, to hand to ``solve(to=…)`` or ``particle_ref.run(to=…)``.

    Raises:
        AlreadyExists: when the folder exists.
    """
    return Store(path)


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """The run stored in a folder.

    Raises:
        InvalidInput: when the folder does not hold a run of this software.
    """
    folder = Path(path)
    for part in (MANIFEST, DATA):
        if not (folder / part).exists():
            raise InvalidInput(
                f"{folder} holds no run", f"there is no {part} in it", "the folder given as to=…"
            )
    return xr.open_zarr(folder / DATA, consolidated=False).load()
