"""A finished run on disk: a folder with ``out.zarr``, which plain xarray opens.

Written beside its place and renamed into it, so a reader never sees half a run, and never over an
existing result.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import xarray as xr

from mfpde.errors import AlreadyExists, InvalidInput
from mfpde.version import __version__

MANIFEST = "manifest.json"


class Store:
    """The folder of one run; made by :func:`store`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.exists():
            raise AlreadyExists(
                f"{self.path} exists", "a result is never overwritten", "another folder, or move it"
            )

    def write(self, run: xr.Dataset) -> None:
        """Write the run, all or nothing."""
        beside = self.path.with_name(self.path.name + ".unfinished")
        if beside.exists():
            shutil.rmtree(beside)
        beside.mkdir(parents=True)
        run.to_zarr(beside / "out.zarr", zarr_format=3, consolidated=False)
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
    if not (folder / MANIFEST).is_file():
        raise InvalidInput(
            f"{folder} holds no run", f"there is no {MANIFEST} in it", "the folder given as to=…"
        )
    return xr.open_zarr(folder / "out.zarr", consolidated=False).load()
