"""A run may come from anywhere: what its files declare is looked at before any of it is read.

Numbers and words only, codecs of our own writing, sizes that the machine can hold, and nothing
outside the folder. Hashes say that files are as they were written, not by whom.
"""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mfpde.errors import StorageError
from mfpde.loop.machine import available_memory

NUMBERS = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))}
NUMBERS |= {"float32", "float64"}
WORDS = {"string"}
CODECS = {"bytes", "zstd", "crc32c", "vlen-utf8"}
MOST_OF_MEMORY = 0.8  # that one chunk may ask for
ROOT = "zarr.json"


def check_names(folder: Path, names: list[str]) -> None:
    """Raise StorageError for names of files that lead out of the folder."""
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith(("/", "\\")) or ".." in parts or "\0" in name:
            raise distrusted(folder, f"it names a file outside of it, {name[:80]!r}")


def check_metadata(data: Path) -> None:
    """Raise StorageError unless every array in the folder is one that a run holds."""
    root = read(data / ROOT)
    declared = root.get("consolidated_metadata", {}).get("metadata", {})
    if not isinstance(declared, dict):
        raise distrusted(data / ROOT, "its metadata are no record")
    check_names(data, list(declared))
    most = MOST_OF_MEMORY * available_memory()
    for name, metadata in declared.items():
        own = data / name / ROOT
        for path, found in ((data / ROOT, metadata), (own, read(own))):
            trouble = wrong_with(found, most)
            if trouble:
                raise distrusted(path, f"the array {name[:80]!r} {trouble}")


def wrong_with(metadata: Any, most: float) -> str:
    """What is not as a run's arrays are, chunks above ``most`` bytes too; empty where all is."""
    try:
        if metadata["node_type"] != "array":
            return "is no array"
        kind, shape = metadata["data_type"], metadata["shape"]
        chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        codecs = {codec["name"] for codec in metadata["codecs"]}
        sizes = [int(size) for size in (*shape, *chunk)]
    except (KeyError, TypeError, ValueError):
        return "is not described as one"
    words = not isinstance(kind, str)  # texts of a given length
    if words and kind.get("name") != "fixed_length_utf32":
        return f"holds {str(kind)[:80]}"
    if not words and kind not in NUMBERS | WORDS:
        return f"holds {kind[:80]!r}"
    if not codecs <= CODECS:
        return f"is coded by {sorted(codecs - CODECS)}"
    if min(sizes, default=0) < 0 or len(shape) != len(chunk):
        return f"has shape {shape}"
    width = 8 if words or kind in WORDS else np.dtype(kind).itemsize
    if math.prod(chunk) * width > most:
        return f"asks for {math.prod(chunk) * width:.3g} bytes at once"
    return ""


def read(path: Path) -> dict[str, Any]:
    """A JSON record."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise distrusted(path, f"it is no JSON: {str(error)[:80]}") from error
    if path.is_symlink() or not isinstance(found, dict):
        raise distrusted(path, "it is a link, or no record")
    return found


def distrusted(path: Path, why: str) -> StorageError:
    """What is said of a file that no run of ours would hold."""
    return StorageError(f"{path} is not read", why, "a run that this software wrote")
