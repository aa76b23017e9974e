"""The folder of an answer: what a crash left in it is no answer and in nobody's way."""

import pytest

from mfpde import results
from mfpde.errors import AlreadyExists
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
