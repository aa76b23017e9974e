"""The folder of ``mfpde run``: what was asked, the density as it is solved, then all the rest.

    DIR/plan.json     what was asked, and the hash of the data
    DIR/.lock         held while someone writes
    DIR/chosen.json   horizon and box, once they are known
    DIR/density       the density, snapshot by snapshot (mfpde.loop.store)
    DIR/...           particles, comparison, figures, report; moved in when all are written
    DIR/DONE          last: the hashes of these

Whatever happens in between, the same question goes on from what is there.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mfpde.errors import AlreadyExists, InvalidInput, Stopped
from mfpde.loop.files import (
    TEMPORARY,
    at_once,
    damaged,
    digest,
    force_path,
    locked,
    make_all,
    replace,
    sealed,
    unsealed,
)
from mfpde.loop.identity import differences
from mfpde.loop.place import LOCK
from mfpde.loop.reading import DONE, MANIFEST

PLAN, CHOSEN, DENSITY = "plan.json", "chosen.json", "density"
ROOM = "results" + TEMPORARY
DROPPED = DENSITY + TEMPORARY
FILE = "file"  # of a plan: where the data were, which makes no difference


def plan_in(folder: Path) -> dict[str, Any]:
    """What was asked for in a folder.

    Raises InvalidInput where it is not one of ``mfpde run``.
    """
    if (folder / PLAN).is_file():
        return unsealed(folder / PLAN)
    if (folder / MANIFEST).is_file():
        raise InvalidInput(
            f"{folder} was written by solve or run from a script",
            "what is run is known there alone",
            "call solve again from your script, which goes on bit for bit",
        )
    raise InvalidInput(f"{folder} holds no results", f"there is no {PLAN} in it", "mfpde run")


def is_finished(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Whether a folder holds the answer already.

    Raises AlreadyExists where it holds something else.
    """
    if not os.path.lexists(folder):  # a link that leads nowhere is in the way too
        return False
    if not (folder / PLAN).is_file():
        just_begun = {LOCK, PLAN + TEMPORARY}  # by a process that came no further
        if not folder.is_dir() or {path.name for path in folder.iterdir()} - just_begun:
            fix = "another --out, or move it"
            raise AlreadyExists(f"{folder} exists", "a result is never overwritten", fix)
        return False
    old, new = ({k: v for k, v in p.items() if k != FILE} for p in (unsealed(folder / PLAN), plan))
    differ = differences(old, new)
    if differ:
        raise AlreadyExists(
            f"{folder} exists and answers another question",
            "; ".join(differ),
            "another --out; or the same data and arguments, which go on there",
        )
    return (folder / DONE).is_file()


@contextmanager
def opened(folder: Path, plan: Mapping[str, Any]) -> Iterator[None]:
    """Write to a folder: nobody else does meanwhile.

    What an error leaves vanishes unless some of the density is there.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    make_all(folder)
    with locked(folder / LOCK):
        begins = not (folder / PLAN).exists()
        try:
            if begins:
                replace(folder / PLAN, sealed(dict(plan)))
            clear(folder)
            yield
        except Stopped:
            raise
        except Exception:
            if begins and not (folder / DENSITY / MANIFEST).exists():
                clear(folder)
                for name in (DENSITY, CHOSEN, PLAN, LOCK):
                    removed(folder / name)
                with suppress(OSError):  # something else is there by now, and stays
                    for path in missing:
                        path.rmdir()
            raise


def clear(folder: Path) -> None:
    """Remove what a crash left behind."""
    for name in (ROOM, DROPPED, *(name + TEMPORARY for name in (PLAN, CHOSEN, DONE))):
        removed(folder / name)


def removed(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def chosen_in(folder: Path) -> dict[str, Any] | None:
    """What was found out before the density was solved for; None where it was not yet."""
    path = folder / CHOSEN
    return unsealed(path) if path.exists() else None


def choose(folder: Path, **chosen: Any) -> None:
    """Record it; a density of other choices goes first."""
    if (folder / DENSITY).exists():
        (folder / DENSITY).rename(folder / DROPPED)
        removed(folder / DROPPED)
    replace(folder / CHOSEN, sealed(chosen))


@contextmanager
def room(folder: Path) -> Iterator[Path]:
    """A place for the results, which are all moved into the folder, or vanish."""
    beside = folder / ROOM
    beside.mkdir()
    try:
        yield beside
    except BaseException:
        removed(beside)
        raise
    names = [path.relative_to(beside).as_posix() for path in files_below(beside)]
    at_once(force_path, list(beside.rglob("*")))  # contents, and names in folders
    for path in sorted(beside.iterdir()):
        removed(folder / path.name)  # of one who came no further
        path.rename(folder / path.name)
    beside.rmdir()
    force_path(folder)
    hashes = {name: digest((folder / name).read_bytes()) for name in names}
    replace(folder / DONE, sealed({"files": hashes}))


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def verify(folder: Path) -> None:
    """Compare all results with their hashes.

    Raises StorageError, which names the first that changed or went.
    """
    for name in (PLAN, CHOSEN):
        if (folder / name).exists():
            unsealed(folder / name)
    if not (folder / DONE).exists():
        return
    again = f"delete {folder / DONE}; mfpde resume {folder} then makes it again from the density"
    for name, hash_ in unsealed(folder / DONE)["files"].items():
        path = folder / name
        if not path.is_file():
            raise damaged(path, "it is missing", again)
        if digest(path.read_bytes()) != hash_:
            raise damaged(path, fix=again)


def next_free(name: str) -> Path:
    """The first of runs/NAME-1, -2, … that nobody has taken."""
    paths = (Path("runs") / f"{name}-{number}" for number in itertools.count(1))
    return next(path for path in paths if not os.path.lexists(path))
