"""What can go wrong, in one short paragraph: what happened, why, and what to do about it."""

from __future__ import annotations

from typing import Any


def _paragraph(what: str, because: str, fix: str) -> str:
    lines = [what, because and f"  because  {because}", fix and f"  fix      {fix}"]
    return "\n".join(filter(None, lines))


class InvalidInput(ValueError):
    """An argument or a combination that has no meaning here; there is no result."""

    def __init__(self, what: str, because: str = "", fix: str = "") -> None:
        super().__init__(_paragraph(what, because, fix))


class NumericalStop(ArithmeticError):
    """A run ended before its last time: numbers are not finite, or steps lead nowhere.

    Attributes:
        last: what had been reached: the ``xarray.Dataset`` of the times before the stop, or the
            losses before it when a network was trained.
    """

    last: Any = None

    def __init__(self, what: str, because: str = "", fix: str = "") -> None:
        super().__init__(_paragraph(what, because, fix))


class Stopped(RuntimeError):
    """A run ended early because its time was over; ``last`` holds it as far as it came."""

    last: Any = None

    def __init__(self, what: str, because: str = "", fix: str = "") -> None:
        super().__init__(_paragraph(what, because, fix))
