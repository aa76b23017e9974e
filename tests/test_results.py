"""The folder of an answer: what a crash left in it is no answer and in nobody's way."""

import os
from pathlib import Path

import pytest

from mfpde import results
from mfpde.errors import AlreadyExists, InvalidInput
from mfpde.loop import files
from mfpde.loop.files import TEMPORARY
from mfpde.loop.store import LOCK

ANSWERED = {"data": "a.csv", "cells": 12}


def test_a_folder_that_was_just_begun_is_gone_on_with(tmp_path):
    """The process that made it came no further than its lock and half a plan."""
    (tmp_path / LOCK).touch()
    (tmp_path / (results.PLAN + TEMPORARY)).write_text("{")
    assert not results.is_finished(tmp_path, ANSWERED)
    (tmp_path / (results.CHOSEN + TEMPORARY)).write_text("{")
    with results.opened(tmp_path, ANSWERED):
        assert not list(tmp_path.glob(f"*{TEMPORARY}")), "what the crash left is swept up"
        assert not results.is_finished(tmp_path, ANSWERED)
    results.verify(tmp_path)


def test_a_folder_that_was_only_made_is_free(tmp_path):
    assert not results.is_finished(tmp_path, ANSWERED)


def test_anything_else_is_in_the_way(tmp_path):
    (tmp_path / LOCK).touch()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(AlreadyExists, match="never overwritten"):
        results.is_finished(tmp_path, ANSWERED)


def test_results_are_on_disk_before_they_are_said_to_be(tmp_path, monkeypatch):
    """Every content and every name of them is forced first."""
    forced = []
    force = files.force

    def watched(descriptor):
        forced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        force(descriptor)

    def last(path, data):
        forced.append(results.DONE)
        replace(path, data)

    replace = results.replace
    monkeypatch.setattr(files, "force", watched)
    with results.opened(tmp_path / "out", ANSWERED):
        forced.clear()
        monkeypatch.setattr(results, "replace", last)
        with results.room(tmp_path / "out") as room:
            (room / "figures").mkdir()
            (room / "figures" / "fit.png").write_bytes(b"png")
            (room / "report.html").write_bytes(b"html")
    before = forced[: forced.index(results.DONE)]
    assert {"fit.png", "report.html", "figures", "out"} <= set(before)


def test_an_error_removes_what_is_ours_and_is_told(tmp_path):
    """Whatever someone put there meanwhile stays, beside it and within."""
    folder = tmp_path / "new" / "out"

    def fails() -> None:
        (folder / "notes.txt").touch()
        (folder / "mine.new").touch()
        (tmp_path / "new" / "other").mkdir()
        raise InvalidInput("the true reason")

    with pytest.raises(InvalidInput, match="the true reason"), results.opened(folder, ANSWERED):
        fails()
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "mine.new"}
    assert (tmp_path / "new" / "other").exists()
    with pytest.raises(InvalidInput), results.opened(tmp_path / "a" / "b", ANSWERED):
        raise InvalidInput("another")
    assert not (tmp_path / "a").exists()
    (tmp_path / "made").mkdir()
    with pytest.raises(InvalidInput), results.opened(tmp_path / "made", ANSWERED):
        raise InvalidInput("another")
    assert list((tmp_path / "made").iterdir()) == []
