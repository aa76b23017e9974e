"""A run as one netCDF file, for other software: an export, never what a run is kept in."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import xarray as xr

from mfpde.errors import AlreadyExists
from mfpde.loop.files import TEMPORARY, force, force_names, make_all, rename, reported
from mfpde.loop.reading import load

Engine = Literal["netcdf4", "h5netcdf", "scipy"]
ENGINES: dict[Engine, list[str]] = {
    "netcdf4": ["netCDF4"],
    "h5netcdf": ["h5netcdf", "h5py"],
    "scipy": [],
}


def export(run: xr.Dataset | str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Write a run, or the run in a folder, to the netCDF file ``path``, all or nothing.

    netCDF4 where netCDF4, or h5netcdf and h5py, are installed; else netCDF3 by scipy, which every
    reader of netCDF takes too.

    Raises:
        AlreadyExists: when the file exists.
        InvalidInput, StorageError: as of :func:`~mfpde.loop.reading.load`; StorageError also when
            the file cannot be written.
    """
    target = Path(path)
    if target.exists():
        raise AlreadyExists(f"{target} exists", "a result is never overwritten", "another name")
    dataset = run if isinstance(run, xr.Dataset) else load(run)
    beside = target.with_name(target.name + TEMPORARY)
    with reported(target, "room or permission, or another name"):
        make_all(target.parent)
        try:
            dataset.drop_encoding().to_netcdf(beside, engine=engine_found())
            with open(beside, "rb") as file:
                force(file.fileno())
            rename(beside, target)
        finally:
            beside.unlink(missing_ok=True)
        force_names(target.parent)
    return target


def engine_found() -> Engine:
    """The first engine whose libraries are installed."""
    return next(name for name, needs in ENGINES.items() if all(map(find_spec, needs)))
