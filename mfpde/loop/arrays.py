"""A run as zarr v3: which files hold it, and their bytes, before any of them is written.

A chunk is one snapshot of one variable, compressed by zstd and closed by a CRC, so a single chunk
tells when it changed; what was never written reads as NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

Row = Mapping[str, Any]


class Arrays:
    """The files of a run of ``length`` snapshots.

    Attributes:
        template: the run before its first snapshot: variables over time have length 0.
        files: metadata and whatever does not depend on time, by name.
        chunks: names of the chunks of a snapshot, with * for its number.
    """

    def __init__(self, template: xr.Dataset, length: int) -> None:
        import zarr  # late: the one place, as it takes long

        self.template = template
        moving = [
            name for name, v in template.variables.items() if "time" in v.dims and all(v.shape[1:])
        ]
        kept: dict[str, Any] = {}
        self.arrays: dict[str, Any] = {}
        with quietly(), zarr.config.set({"array.write_empty_chunks": True}):
            store = zarr.storage.MemoryStore(kept)
            spelled(template).to_zarr(
                store, zarr_format=3, consolidated=False, encoding=encoding(template)
            )
            group: Any = zarr.open_group(store)
            for name in (n for n, v in template.variables.items() if "time" in v.dims):
                group[str(name)].resize((length, *template[name].shape[1:]))
            self.arrays |= {str(name): group[str(name)] for name in moving}
            zarr.consolidate_metadata(store)
        self.files = {name: data.to_bytes() for name, data in sorted(kept.items())}
        self.chunks = [f"{name}/*" + ".0" * (a.ndim - 1) for name, a in self.arrays.items()]
        self.kept = kept

    def encoded(self, index: int, row: Row) -> dict[str, bytes]:
        """The chunks of snapshot ``index``, by name."""
        for name, array in self.arrays.items():
            array[index] = row[name]
        names = (pattern.replace("*", str(index)) for pattern in self.chunks)
        return {name: self.kept.pop(name).to_bytes() for name in names}


def encoding(template: xr.Dataset) -> dict[Any, dict[str, Any]]:
    """How every variable is stored."""
    from zarr.codecs import Crc32cCodec, ZstdCodec  # late, as above

    found: dict[Any, dict[str, Any]] = {}
    for name, v in template.variables.items():
        found[name] = {
            "compressors": [ZstdCodec(), Crc32cCodec()],
            "chunk_key_encoding": {"name": "v2", "separator": "."},
        }
        if "time" in v.dims:
            found[name]["chunks"] = (1, *(max(1, size) for size in v.shape[1:]))
        if v.dtype.kind == "f":
            found[name]["_FillValue"] = np.nan
    return found


def spelled(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with its words in the one kind that zarr has agreed upon."""
    words = {c: v.astype(object) for c, v in dataset.coords.items() if v.dtype.kind == "U"}
    return dataset.drop_encoding().assign_coords(words)


def opened(path: Path, count: int) -> xr.Dataset:
    """The first ``count`` snapshots; numbers are read when they are asked for."""
    with quietly():
        run = xr.open_zarr(path, chunks=None, consolidated=True)
    run = run.assign_coords(
        {c: run[c].astype(str) for c in run.coords if run[c].dtype.kind in "OT"}
    )
    return run.isel(time=slice(count)) if "time" in run.dims else run


@contextmanager
def quietly() -> Iterator[None]:
    """Without the remark that others may not read consolidated metadata: xarray does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        yield
