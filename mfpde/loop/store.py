"""A finished run on disk: a folder with ``out.zarr``, which plain xarray opens.

Written beside its place and renamed into it, so a reader never sees half a run, and never over an
existing result.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import xarray as xr

from mfpde.errors import AlreadyExists, InvalidInput, StorageError
from mfpde.version import __version__

MANIFEST = "manifest.json"
DATA = "out.zarr"


class Store:
    """The folder of one run; made by :func:`store`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.check_free()

    def check_free(self) -> None:
        """Raise AlreadyExists if something stands in the run's place, StorageError if none may."""
        if self.path.exists():
            raise AlreadyExists(
                f"{self.path} exists", "a result is never overwritten", "another folder, or move it"
            )
        above = next(folder for folder in self.path.absolute().parents if folder.exists())
        if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
            raise StorageError(
                f"nothing can be written to {self.path}", f"{above} is not a folder of yours"
            )

    def write(self, run: xr.Dataset) -> None:
        """Write the run, all or nothing.

        Raises:
            AlreadyExists: when the folder came to be meanwhile.
            StorageError: when it cannot be written; ``error.run`` is the run.
        """
        self.check_free()
        beside = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=f".{self.path.name}-", dir=self.path.parent))
            beside.chmod(0o755)
            write_dataset(run, beside / DATA)
            manifest = {"software": f"mfpde {__version__}", "title": run.attrs.get("title", "")}
            (beside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
            beside.rename(self.path)
        except Exception as error:
            if beside is not None:
                shutil.rmtree(beside, ignore_errors=True)
            failure = StorageError(
                f"{self.path} could not be written",
                f"{type(error).__name__}: {error}",
                "mf.store(another folder).write(error.run)",
            )
            failure.run = run
            raise failure from error


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """One dataset as a zarr folder that ``xr.open_zarr(path)`` opens without a word."""
    text = {name: v.astype(object) for name, v in dataset.variables.items() if v.dtype.kind == "U"}
    dataset = dataset.assign_coords({n: v for n, v in text.items() if n in dataset.coords})
    with warnings.catch_warnings():
        # zarr 3 says that others may not read consolidated metadata; xarray warns without them
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        dataset.to_zarr(path, zarr_format=3, consolidated=True)


def store(path: str | os.PathLike[str]) -> Store:
    """A writer for a run's folder, to hand to ``solve(to=…)`` or ``particle_ref.run(to=…)``.

    Raises:
        AlreadyExists: when the folder exists.
        StorageError: when it could not be made.
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
            inside = [found.parent.name for found in sorted(folder.glob(f"*/{MANIFEST}"))]
            raise InvalidInput(
                f"{folder} holds no run",
                f"there is no {part} in it",
                f"one of its folders: {', '.join(inside)}" if inside else "the folder of to=…",
            )
    return xr.open_zarr(folder / DATA).load()
