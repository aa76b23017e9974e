"""Flipped bits, files cut short and files gone: named, or made good; never read as numbers.

By default one of each in every kind of run; MFPDE_FAULTS=200 makes it two hundred flips and two
hundred truncations, and tries every file that may go.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from faults.disk import (
    Crash,
    begins,
    bits,
    density,
    everything,
    failing,
    kind,
    laid,
    leftovers,
    particles,
    places,
)

import mfpde as mf
import particle_ref as pr
from mfpde.errors import StorageError

FULL = "MFPDE_FAULTS" in os.environ
RUNS = {"density": density(mf.upwind()), "particles": particles(pr.GradientFlow(rtol=1e-6))}
STATES = [(name, state) for state in ("finished", "interrupted") for name in RUNS]
COUNT = int(os.environ.get("MFPDE_FAULTS", len(STATES)))


@pytest.fixture(scope="module")
def truths() -> dict[str, dict]:
    """The runs that nothing happened to."""
    return {name: bits(solve(None)) for name, solve in RUNS.items()}


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> dict[tuple[str, str], dict[str, bytes]]:
    """What a folder holds of finished runs, and of those that stopped before they said so."""
    found = {}
    for name, solve in RUNS.items():
        above = tmp_path_factory.mktemp(name)
        last = places(solve, above / "finished", 0, of="put DONE")[-1]
        with failing(at=last), pytest.raises(Crash):
            solve(above / "interrupted")
        found |= {(name, state): everything(above / state) for state in ("finished", "interrupted")}
    return found


def drawn(files: dict[str, bytes], rng: np.random.Generator) -> str:
    """A file: one of the store, of COMMIT, or of a checkpoint, each a third of the time."""
    parts = ("out.zarr/", "COMMIT", "checkpoint")
    part = parts[rng.integers(len(parts))]
    return str(rng.choice([name for name, data in files.items() if name.startswith(part) and data]))


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Another bit at one place."""
    changed = bytearray(data)
    changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(changed)


def cut_short(data: bytes, rng: np.random.Generator) -> bytes:
    """The end is missing, or everything."""
    return data[: rng.integers(len(data))]


@pytest.mark.parametrize("number", range(COUNT))
@pytest.mark.parametrize("spoil", [flipped, cut_short], ids=lambda spoil: spoil.__name__)
def test_a_spoiled_file(tmp_path, held, truths, record_property, spoil, number):
    name, state = STATES[number % len(STATES)]
    files, rng = held[name, state], np.random.default_rng(number)
    file = drawn(files, rng)
    folder = laid(files | {file: spoil(files[file], rng)}, tmp_path / "run")
    record_property("told", met(folder, file, name, truths[name]))


def met(folder: Path, file: str, name: str, truth: dict) -> str:
    """How readers, and the same call again, meet a file that was spoiled or is gone.

    Whoever does not name it gives the right numbers.
    """
    with failing():
        read, again = attempted(mf.load, folder), attempted(RUNS[name], folder)
    for found in (read, again):
        assert isinstance(found, dict) or file in str(found)
    if isinstance(read, dict):
        assert begins(truth, read)
    if isinstance(again, dict):
        assert again == truth
        assert leftovers(folder) == []
    return "made good" if isinstance(read, dict) and isinstance(again, dict) else "named"


def attempted(read: Callable[[Path], xr.Dataset], folder: Path) -> dict | StorageError:
    """The bits of a run, or the refusal."""
    try:
        return bits(read(folder))
    except StorageError as error:
        return error


def gone(files: dict[str, bytes]) -> list[str]:
    """Files of the store that are deleted in turn: all of them, or one of a kind."""
    store = [name for name in files if name.startswith("out.zarr/")]
    return store if FULL else list({kind(name): name for name in store}.values())


@pytest.mark.parametrize(("name", "state"), STATES)
def test_a_file_that_is_gone(tmp_path, held, truths, record_property, name, state):
    files = held[name, state]
    for number, file in enumerate(gone(files)):
        rest = {other: data for other, data in files.items() if other != file}
        told = met(laid(rest, tmp_path / str(number)), file, name, truths[name])
        assert told == "named"
        record_property("deletion", told)
