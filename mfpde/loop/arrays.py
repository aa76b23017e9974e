"""A run as zarr v3: which files hold it, and their bytes, before any of them is written.

A chunk is one snapshot of one variable, compressed by zstd and closed by a CRC, so a single chunk
tells when it changed; what was never written reads as NaN.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mfpde.errors import InvalidInput
from mfpde.loop.trust import NUMBERS

Row = Mapping[str, Any]

ROOT = "zarr.json"


class Arrays:
    """The files of a run of ``length`` snapshots.

    Attributes:
        template: the run before its first snapshot: variables over time have length 0.
        files: metadata and whatever does not depend on time, by name.
        chunks: names of the chunks of a snapshot, with * for its number, by variable.
    """

    def __init__(self, template: xr.Dataset, length: int) -> None:
        self.template = template
        over_time = {str(name): v for name, v in template.variables.items() if "time" in v.dims}
        like = alike(template)
        self.files = files_of(template.drop_vars(list(like)))
        self.repeat(like)
        self.chunks = {
            name: f"{name}/*" + ".0" * (v.ndim - 1)
            for name, v in over_time.items()
            if all(v.shape[1:])
        }
        self.make_room(list(over_time), length)

    def repeat(self, like: Mapping[str, str]) -> None:
        """Give variables the metadata of others, which they are like, with their own attributes."""
        root = json.loads(self.files[ROOT])
        arrays = root["consolidated_metadata"]["metadata"]

        def renamed(metadata: dict[str, Any], name: str) -> dict[str, Any]:
            attrs = {**metadata["attributes"], **self.template[name].attrs}
            return metadata | {"attributes": attrs}

        for name, other in like.items():
            arrays[name] = renamed(arrays[other], name)
            own = renamed(json.loads(self.files[f"{other}/{ROOT}"]), name)
            self.files[f"{name}/{ROOT}"] = json.dumps(own).encode()
        self.files[ROOT] = json.dumps(root).encode()

    def make_room(self, names: list[str], length: int) -> None:
        """Let variables have ``length`` snapshots, in their own metadata and in the root's."""
        root = json.loads(self.files[ROOT])
        for name in names:
            metadata = root["consolidated_metadata"]["metadata"][name]
            metadata["shape"] = [length, *metadata["shape"][1:]]
            own = json.loads(self.files[f"{name}/{ROOT}"]) | {"shape": metadata["shape"]}
            self.files[f"{name}/{ROOT}"] = json.dumps(own).encode()
        self.files[ROOT] = json.dumps(root).encode()

    def finished(self, attrs: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, bytes]:
        """The files with further attributes and variables: those are written, the others stay."""
        more = files_of(self.template.assign(last).assign_attrs(attrs)[list(last)])
        root, added = json.loads(self.files[ROOT]), json.loads(more.pop(ROOT))
        new = {name: data for name, data in more.items() if name.split("/")[0] in last}
        arrays = added["consolidated_metadata"]["metadata"]
        root["attributes"] = added["attributes"]
        root["consolidated_metadata"]["metadata"] |= {name: arrays[name] for name in last}
        return self.files | new | {ROOT: json.dumps(root).encode()}

    def encoded(self, index: int, row: Row) -> dict[str, bytes]:
        """The chunks of snapshot ``index``, by name."""
        return {
            chunk.replace("*", str(index)): compressed(
                np.asarray(row[name], dtype=self.template[name].dtype)
            )
            for name, chunk in self.chunks.items()
        }


def alike(template: xr.Dataset) -> dict[str, str]:
    """Variables over time that differ from an earlier one in name and words, and that one's."""
    first: dict[Any, str] = {}
    found: dict[str, str] = {}
    for name, v in template.data_vars.items():
        if "time" in v.dims:
            other = first.setdefault((v.dims, v.dtype, tuple(v.attrs)), str(name))
            found |= {str(name): other} if other != name else {}
    return found


def check_kinds(run: xr.Dataset) -> None:
    """Raise InvalidInput unless every variable comes back from its files as it is."""
    first = run.drop_encoding().isel(time=slice(1), missing_dims="ignore")
    for name, v in first.variables.items():
        trouble = unkept(name, v)
        if trouble:
            raise InvalidInput(
                f"the variable {name!r} {trouble}",
                "a run holds numbers over (time, …), and numbers and words that do not change",
                "run.drop_vars(…), or numbers in its place",
            )


def unkept(name: object, v: xr.Variable) -> str:
    """Why a variable cannot be stored as it is; empty where it can."""
    if not isinstance(name, str) or "/" in name or name.startswith("."):
        return "has no name of a folder"
    if "time" in v.dims[1:]:
        return f"has the dimensions {v.dims}"
    words = v.dtype.kind == "U" or (v.dtype == object and {type(w) for w in v.values.flat} <= {str})
    numbers = v.dtype.name in NUMBERS and v.dtype.isnative
    if not numbers and not (words and "time" not in v.dims):
        return f"holds {v.dtype}"
    return f"has attributes that are read as an encoding: {list(v.attrs)}" if is_code(v) else ""


def is_code(v: xr.Variable) -> bool:
    """Whether xarray would read the attributes as those of something else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = xr.decode_cf(xr.Dataset({"v": v.to_base_variable()})).variables["v"]
    except (ValueError, Warning):
        return True
    return read.dtype != v.dtype or set(read.attrs) != set(v.attrs)


def files_of(dataset: xr.Dataset) -> dict[str, bytes]:
    """A dataset as zarr, by the names of files."""
    from zarr.storage import MemoryStore  # late, in this file alone: zarr takes long to load

    kept: dict[str, Any] = {}
    with quietly():
        spelled(dataset).to_zarr(
            MemoryStore(kept), zarr_format=3, consolidated=True, encoding=encoding(dataset)
        )
    return {name: data.to_bytes() for name, data in sorted(kept.items())}


def compressed(values: np.ndarray) -> bytes:
    """A chunk as the codecs of :func:`encoding` make it: little-endian bytes, zstd, CRC."""
    from google_crc32c import value  # late: libraries that zarr itself does this with
    from numcodecs import Zstd  # type: ignore[import-untyped]

    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    packed = bytes(Zstd().encode(plain))
    return packed + value(packed).to_bytes(4, "little")


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
    words = {c: v.astype(object) for c, v in dataset.variables.items() if v.dtype.kind == "U"}
    return dataset.drop_encoding().assign(words)


def opened(path: Path, count: int, names: Collection[str]) -> xr.Dataset:
    """The first ``count`` snapshots; numbers are read when they are asked for.

    Args:
        path, count: where, and how many.
        names: files whose loss is an error; any other that is missing holds fill values.
    """
    from mfpde.loop.present import Present  # late, as above

    with quietly():
        run = xr.open_zarr(Present(path, names), chunks=None, consolidated=True)
    words = {c: v for c, v in run.variables.items() if v.dtype.kind in "OT"}
    run = run.assign({c: v.copy(data=np.array(v.values.tolist())) for c, v in words.items()})
    return run.isel(time=slice(count)) if "time" in run.dims else run


@contextmanager
def quietly() -> Iterator[None]:
    """Without the remark that others may not read consolidated metadata: xarray does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        yield
