"""A small run is stopped, or refused by its disk, at its operations on files.

By default at one of each kind; MFPDE_FAULTS=0 does it at every single operation, of which the
number is recorded.
"""

import os
from functools import cache
from pathlib import Path

import pytest
from faults.disk import (
    ERRORS,
    OPERATIONS,
    Crash,
    begins,
    bits,
    density,
    failing,
    leftovers,
    particles,
    places,
    spread,
)

import mfpde as mf
import particle_ref as pr
from mfpde.errors import InvalidInput, StorageError

RUNS = {
    "upwind": density(mf.upwind()),
    "semi-Lagrangian": density(
        mf.semi_lagrangian(), mf.Grid(a=mf.uniform(-4, 4, 12), w=mf.uniform(-4, 4, 11))
    ),
    "particles": particles(pr.GradientFlow(rtol=1e-6)),
}
STOPS = {"killed": {"power": False}, "without power": {"power": True}}
REFUSALS = {name: {"error": number} for name, number in ERRORS.items()}
COUNT = int(os.environ.get("MFPDE_FAULTS", 1))

every = pytest.mark.parametrize(
    ("name", "operation"), [(name, operation) for name in RUNS for operation in OPERATIONS]
)


@cache
def truth(name: str) -> dict:
    """The run that nothing happened to."""
    return bits(RUNS[name](None))


def chosen(name: str, operation: str, folder: Path) -> list[int]:
    """Numbers of operations of one kind: all, or the last."""
    every = places(RUNS[name], folder, 0, of=operation)
    return [every[k] for k in spread(len(every), COUNT or len(every))] if every else []


@every
@pytest.mark.parametrize("how", STOPS)
def test_a_stop(tmp_path, record_property, name, operation, how):
    numbers = chosen(name, operation, tmp_path / "counted")
    for at in numbers:
        folder = tmp_path / str(at)
        with failing(at=at, **STOPS[how]), pytest.raises(Crash):
            RUNS[name](folder)
        went_on(folder, name)
        assert (folder / "DONE").read_bytes() == (tmp_path / "counted" / "DONE").read_bytes()
    record_property(operation, len(numbers))


@every
@pytest.mark.parametrize("how", REFUSALS)
def test_a_refusal(tmp_path, record_property, name, operation, how):
    """It lasts, and is told in one paragraph."""
    numbers = chosen(name, operation, tmp_path / "counted")
    for at in numbers:
        folder = tmp_path / str(at)
        with failing(at=at, **REFUSALS[how]), pytest.raises(StorageError) as refusal:
            RUNS[name](folder)
        assert refusal.value.exit_code == 5
        assert os.strerror(ERRORS[how]) in str(refusal.value)
        assert len(str(refusal.value).splitlines()) <= 4
        went_on(folder, name)
    record_property(operation, len(numbers))


def went_on(folder: Path, name: str) -> None:
    """Readers see whole snapshots, and the same call again gives the right bits."""
    try:
        run = mf.load(folder)
    except InvalidInput:
        assert not (folder / "COMMIT").exists()
    else:
        assert begins(truth(name), bits(run))
    with failing():
        assert bits(RUNS[name](folder)) == truth(name)
    assert leftovers(folder) == []
