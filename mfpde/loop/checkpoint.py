"""A state as one file that describes and proves itself: JSON header, raw numbers, SHA-256.

The newest checkpoint and the one before are kept: a file that a crash or a disk spoiled is known by
its hash, and the other goes on.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from mfpde.errors import StorageError
from mfpde.loop.files import TEMPORARY, damaged, force_names, rename, write_forced

NAME, PREVIOUS = "checkpoint", "checkpoint.previous"
MAGIC = b"mfpde checkpoint 1\n"
HASH = hashlib.sha256().digest_size
NUMBERS = "biuf"  # kinds of dtypes

State = dict[str, Any]  # arrays, and what JSON holds


def encoded(count: int, state: State) -> bytes:
    """``state``, reached after ``count`` snapshots, as bytes; the same for the same state."""
    arrays = {k: np.ascontiguousarray(v) for k, v in state.items() if isinstance(v, np.ndarray)}
    header = {
        "count": count,
        "plain": {k: v for k, v in state.items() if k not in arrays},
        "arrays": {k: [v.dtype.str, v.shape] for k, v in arrays.items()},
    }
    text = json.dumps(header).encode()
    body = MAGIC + len(text).to_bytes(8, "little") + text
    body += b"".join(v.tobytes() for v in arrays.values())
    return body + hashlib.sha256(body).digest()


def decoded(data: bytes) -> tuple[int, State] | None:
    """The count and the state, or None where the bytes are not those that were written."""
    body = data[:-HASH]
    if not body.startswith(MAGIC) or hashlib.sha256(body).digest() != data[-HASH:]:
        return None
    start = len(MAGIC) + 8
    end = start + int.from_bytes(body[len(MAGIC) : start], "little")
    header = json.loads(body[start:end])
    state = dict(header["plain"])
    for name, (kind, shape) in header["arrays"].items():
        dtype, size = np.dtype(kind), int(np.prod(shape))
        if dtype.kind not in NUMBERS:
            return None
        values = np.frombuffer(body, dtype, size, end).reshape(shape)
        state[name], end = values.copy(), end + size * dtype.itemsize
    return int(header["count"]), state


def save(folder: Path, data: bytes) -> None:
    """Make ``data`` the newest checkpoint and keep the one before."""
    newest = folder / NAME
    beside = folder / (NAME + TEMPORARY)
    write_forced(beside, data)
    if newest.exists():
        rename(newest, folder / PREVIOUS)
    rename(beside, newest)
    force_names(folder)


def newest(folder: Path, committed: int) -> tuple[int, State] | None:
    """The newest good checkpoint; None where a run has none yet.

    Raises:
        StorageError: when there is none that is good and of a time with snapshots on disk.
    """
    present = [path for path in (folder / NAME, folder / PREVIOUS) if path.exists()]
    for path in present:
        found = decoded(path.read_bytes())
        if found is not None and found[0] <= committed:
            return found
    if present:
        raise damaged(present[0], "neither it nor the checkpoint before holds what was written")
    if committed > 1:  # one snapshot is committed before there is a checkpoint
        raise StorageError(
            f"{folder / NAME} is missing",
            f"{committed} snapshots were stored, but not where to go on from",
            f"they are there: mf.load({str(folder)!r}); compute again in another folder",
        )
    return None
