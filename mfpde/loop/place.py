"""Whose a folder is: free to begin a run in, the place of this run, or of something else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mfpde.errors import AlreadyExists, InvalidInput
from mfpde.loop.files import TEMPORARY, unsealed
from mfpde.loop.identity import Parts, differences
from mfpde.loop.ledger import Ledger
from mfpde.loop.reading import DONE, MANIFEST, WHOLE

LOCK = ".lock"


def check_free(folder: Path) -> None:
    """Raise AlreadyExists unless a run may be written there as a whole.

    What is left of one that was to be so and is not done is nobody's.
    """
    begun = folder / MANIFEST
    if (
        begun.is_file()
        and not (folder / DONE).exists()
        and unsealed(begun).get("identity") == WHOLE
    ):
        return
    if begun.exists() or (folder.is_symlink() and not folder.exists()):
        raise AlreadyExists(
            f"{folder} exists", "a result is never overwritten", "another folder, or move it"
        )
    check_place(folder)


def check_place(folder: Path) -> None:
    """Raise AlreadyExists where something stands that is no run of ours."""
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    just_begun = {LOCK, MANIFEST + TEMPORARY}  # by a process that came no further
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - just_begun:
        raise AlreadyExists(
            f"{folder} exists and holds no run",
            "nothing but runs of this software is ever written to",
            "another folder, or move it",
        )


def is_done(folder: Path, manifest: Parts) -> bool:
    """Whether the folder holds just this run, finished.

    Raises InvalidInput where it holds another.
    """
    if not (folder / MANIFEST).exists():
        return False
    stored = unsealed(folder / MANIFEST)
    check_same(folder, stored, manifest)
    return stored["times"] == manifest["times"] and (folder / DONE).exists()


def check_same(folder: Path, stored: Parts, asked: Parts) -> None:
    """Raise InvalidInput, with what differs, unless one run goes on from the other."""
    differ = differences(stored["identity"], asked["identity"])
    old, new = stored["times"], asked["times"]
    both = min(len(old), len(new))
    if old[:both] != new[:both]:
        k = next(k for k in range(both) if old[k] != new[k])
        differ.append(f"times: {old[k]!r} at place {k}, now {new[k]!r}")
    elif len(new) < len(old):
        differ.append(f"times: until {old[-1]!r}, now until {new[-1]!r} only")
    if differ:
        raise InvalidInput(
            f"{folder} holds another run",
            "; ".join(differ),
            f"another folder, or mf.load({str(folder)!r}) for what is there",
        )


def check_variables(folder: Path, ledger: Ledger, asked: Sequence[str]) -> None:
    """Raise InvalidInput unless the same variables are recorded."""
    if set(asked) != set(ledger.chunks):
        old, new = (sorted(c.split("/")[0] for c in chunks) for chunks in (ledger.chunks, asked))
        raise InvalidInput(
            f"{folder} records {', '.join(sorted(set(old) - set(new))) or 'fewer variables'}",
            f"now asked for: {', '.join(sorted(set(new) - set(old))) or 'fewer variables'}",
            "watch what was watched before, or another folder",
        )
