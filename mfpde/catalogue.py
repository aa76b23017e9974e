"""Where the studies are: they come with the sources, and are run by file, never imported."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

from mfpde.errors import InvalidInput

FOLDER, WRITER = "studies", "study.py"


def studies_folder() -> Path:
    """The folder ``studies`` beside this package, or in the working folder.

    Raises InvalidInput where there is none.
    """
    for above in (Path(__file__).parents[1], Path.cwd()):
        if (above / FOLDER / WRITER).is_file():
            return above / FOLDER
    raise InvalidInput(
        "the studies are not here",
        "they come with the sources of mfpde, not with the installed package",
        "in a copy of the sources: python -m pip install --editable . and then the same command",
    )


def studies() -> SimpleNamespace:
    """What studies/study.py defines: ``files``, ``read``, ``named``, ``perform``, …"""
    return SimpleNamespace(**runpy.run_path(str(studies_folder() / WRITER), run_name="study"))
