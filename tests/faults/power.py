"""Cuts of power: a file system is shut down under a run, and what was not forced to disk is lost.

    python tests/faults/power.py [CUTS]

Only root may do this. The file system is an ext4 image in memory, mounted where no other process
sees it, and gone with the last process that does. After a cut, every snapshot that the run had
acknowledged must be there, and the same call must go on to the bits of the run that nothing
happened to. That cuts do lose what was not forced is shown by runs that do not force anything.
"""

import ast
import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import xarray as xr

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from faults import disk  # noqa: E402

import mfpde as mf  # noqa: E402
from mfpde.errors import InvalidInput, MfpdeError, StorageError  # noqa: E402
from mfpde.loop import files  # noqa: E402
from mfpde.loop.store import Book  # noqa: E402

CUTS, CONTROLS = 24, 4
SOME = 10  # snapshots
SEED = 17
IMAGE_BYTES = 2**26
SHUTDOWN, LOSE_THE_JOURNAL = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
MEMORY = ("-t", "tmpfs", "none")
TOOLS = ("unshare", "mkfs.ext4", "mount", "umount")
PATIENCE = 60.0  # seconds until a run without a disk must have ended


def obstacle() -> str:
    """Why no power can be cut here; nothing where it can."""
    if os.geteuid() != 0:
        return "only root may mount a file system"
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    with tempfile.TemporaryDirectory() as folder:
        image = formatted(Path(folder) / "image")
        tried = subprocess.run(
            ["unshare", "--mount", "mount", "-o", "loop", image, folder],
            capture_output=True,
            check=False,
        )
    return "" if tried.returncode == 0 else "no loop device may be mounted"


def formatted(image: Path) -> Path:
    """A file that holds an empty file system."""
    image.touch()
    os.truncate(image, IMAGE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    return image


@contextmanager
def mounted(place: Path, *what: str | Path) -> Iterator[None]:
    """Within it a file system is at ``place``."""
    place.mkdir()
    subprocess.run(["mount", *what, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


def image_at(image: Path, place: Path) -> AbstractContextManager[None]:
    """An image, mounted; its loop device goes when it is unmounted.

    Nothing is forced but by those who ask: the journal is left in memory for ten minutes.
    """
    return mounted(place, "-o", "loop,commit=600", image)


def shut_down(place: Path) -> None:
    """Nothing reaches the disk any more, nor does the journal that is still in memory."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", LOSE_THE_JOURNAL))
    finally:
        os.close(descriptor)


def acknowledging(name: str, folder: str, forced: str) -> None:
    """In a process of its own: a run that says a number after each committed snapshot."""
    append = Book.append

    def acknowledged(book: Book, row: Any, state: Any) -> None:
        append(book, row, state)
        print(book.count, flush=True)

    Book.append = acknowledged
    if not ast.literal_eval(forced):
        files.force = lambda descriptor: None  # force_names looks it up there too
    print("begins", flush=True)
    with suppress(StorageError):
        disk.LONG[name](Path(folder))


def cut(
    name: str, image: Path, place: Path, after: float = 0.0, first: int = 0, forced: bool = True
) -> int:
    """Start a run, shut its file system down ``after`` so many seconds; how much it acknowledged.

    Seconds count from when it had acknowledged the ``first`` snapshots.
    """
    with image_at(image, place):
        child = subprocess.Popen(
            [sys.executable, __file__, "acknowledging", name, str(place / "run"), str(forced)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "begins\n"
            for _ in range(first):
                child.stdout.readline()
            time.sleep(after)
            shut_down(place)
            told, _ = child.communicate(timeout=PATIENCE)
        finally:
            child.kill()
            child.wait()
    assert child.returncode == 0
    return first + len(told.split())


def kept(folder: Path, truth: xr.Dataset) -> int:
    """Snapshots that a reader sees; 0 where there is no run yet, -1 where something is wrong."""
    try:
        run = mf.load(folder)
    except InvalidInput:
        return 0
    except StorageError:
        return -1
    count = run.sizes["time"]
    right, found = disk.bits(truth.isel(time=slice(count))), disk.bits(run)
    same = all(found[name] == right[name] for name in right if name != "attributes")
    return count if same else -1


def survived(name: str, image: Path, place: Path, truth: xr.Dataset, acknowledged: int) -> bool:
    """Whether everything acknowledged is there, and the run goes on to the same bits."""
    folder = place / "run"
    with image_at(image, place):
        try:
            there = kept(folder, truth) >= acknowledged
            again = disk.bits(disk.LONG[name](folder))
        except MfpdeError as error:
            print(error, file=sys.stderr)
            return False
        return there and again == disk.bits(truth) and disk.leftovers(folder) == []


def lost(image: Path, place: Path, truth: xr.Dataset, acknowledged: int) -> bool:
    """Whether something acknowledged is gone, or spoiled."""
    with image_at(image, place):
        return kept(place / "run", truth) < acknowledged


def found(cuts: int) -> dict[str, int]:
    """In a mount namespace of its own: what became of runs whose power was cut."""
    rng = random.Random(SEED)
    counts = dict.fromkeys(("survived", "within", "acknowledged", "lost"), 0)
    with (
        tempfile.TemporaryDirectory() as folder,
        mounted(above := Path(folder) / "memory", *MEMORY),
    ):
        place, image = above / "disk", above / "image"
        for name, run in disk.LONG.items():
            truth = run(None)
            with image_at(formatted(image), place):
                begun = time.monotonic()
                run(place / "run")
                length = time.monotonic() - begun
            for _ in range(cuts // len(disk.LONG)):
                formatted(image)
                acknowledged = cut(name, image, place, rng.uniform(0, length))
                counts["survived"] += survived(name, image, place, truth, acknowledged)
                counts["within"] += acknowledged < truth.sizes["time"]
                counts["acknowledged"] += acknowledged
            for _ in range(CONTROLS // len(disk.LONG)):
                formatted(image)
                acknowledged = cut(name, image, place, first=SOME, forced=False)
                counts["lost"] += lost(image, place, truth, acknowledged)
    return counts


def outcome(cuts: int = CUTS) -> tuple[str, bool | None]:
    """What a scorecard says of it."""
    why = obstacle()
    if why:
        return f"skipped: {why}", None
    inside = ["unshare", "--mount", sys.executable, __file__, "found", str(cuts)]
    done = subprocess.run(inside, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return "broke off", False
    counts = json.loads(done.stdout.splitlines()[-1])
    told = (
        f"{counts['survived']} of {cuts} kept all {counts['acknowledged']} acknowledged snapshots "
        f"and went on bitwise, {counts['within']} cut before their end; "
        f"{counts['lost']} of {CONTROLS} that force nothing lost some"
    )
    return told, counts["survived"] == cuts and counts["lost"] == CONTROLS


if __name__ == "__main__":
    if sys.argv[1:2] == ["acknowledging"]:
        acknowledging(*sys.argv[2:])
    elif sys.argv[1:2] == ["found"]:
        print(json.dumps(found(int(sys.argv[2]))))
    else:
        told, passed = outcome(*map(int, sys.argv[1:2]))
        print(told)
        sys.exit(passed is False)
