"""A zarr folder in which a file that was there is never taken for one that was not written.

Loaded late: zarr takes long, and reads a missing chunk as fill values.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from mfpde.loop.files import damaged


class Present(LocalStore):
    """Reads a folder; StorageError for files among ``names`` that went since."""

    def __init__(self, root: Path, names: Collection[str]) -> None:
        super().__init__(root.absolute(), read_only=True)
        self.names = frozenset(names)

    async def get(self, key: str, *how: Any, **also: Any) -> Any:
        """What a file holds; None for one that was never written."""
        found = await super().get(key, *how, **also)
        if found is None and key in self.names:
            raise damaged(self.root / key, "it went while the run was being read")
        return found
