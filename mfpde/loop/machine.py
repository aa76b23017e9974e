"""What the machine has left for this process: memory within every limit, and disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
CONTROL = Path("sys/fs/cgroup")
UNLIMITED = 2**60  # version 1 writes some such number for no limit

# limit, use, and what of it is cache that gives way, in the files of both versions
VERSIONS = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory(root: Path = ROOT) -> int:
    """Bytes that this process may still take: what is free, within its control groups' limits.

    Args:
        root: where /proc and /sys are looked for.
    """
    return min([free_memory(root), *control_groups(root)])


def free_memory(root: Path) -> int:
    """What the system could give without swapping; where it does not say, free pages, or all."""
    found = field_of(root / "proc/meminfo", "MemAvailable:")
    if found is not None:
        return 1024 * found
    names = getattr(os, "sysconf_names", {})
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") if pages in names else UNLIMITED


def control_groups(root: Path) -> Iterator[int]:
    """What is left of the limit of every control group that holds this process."""
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in set(controllers.split(",")) & set(VERSIONS):
            top = root / CONTROL / name
            group = top / path.strip("/")
            # in a container the group may be seen at the top alone
            for folder in (group, *group.parents):
                if folder.is_relative_to(top):
                    yield from left_of(folder, *VERSIONS[name])


def left_of(folder: Path, limit: str, use: str, cache: str) -> Iterator[int]:
    """A control group's limit minus its use, if it has one; cache that gives way is no use."""
    most, used = text_of(folder / limit).strip(), text_of(folder / use).strip()
    if most.isdecimal() and used.isdecimal() and int(most) < UNLIMITED:
        gives_way = field_of(folder / "memory.stat", cache) or 0
        yield max(int(most) - int(used) + gives_way, 0)


def free_disk(path: Path) -> int:
    """Bytes that ``path`` may take in all: those free where it is or will be, and its own."""
    above = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    own = sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return shutil.disk_usage(above).free + own


def field_of(path: Path, name: str) -> int | None:
    """The number beside a name in a file of the system's."""
    for line in text_of(path).splitlines():
        key, number, *_ = [*line.split(), "", ""]
        if key == name and number.isdecimal():
            return int(number)
    return None


def text_of(path: Path) -> str:
    """A file's text; nothing where it is missing or closed to us."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
