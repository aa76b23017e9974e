"""What can go wrong, said once: what happened, why, and what to do about it.

Every error of the package is one short paragraph. Bad input is an :class:`InvalidInput` (also a
``ValueError``); trouble met while time moves is a :class:`NumericalStop`, which keeps the last good
state. ``exit_code`` is what the command line returns.
"""

from __future__ import annotations

from typing import Any


class MfpdeError(Exception):
    """An error that explains itself: ``what`` happened, ``why``, and the ``fix``."""

    exit_code = 1

    def __init__(self, what: str, why: str = "", fix: str = "", kept: str = "") -> None:
        self.what, self.why, self.fix, self.kept = what, why, fix, kept
        super().__init__(what)

    def __str__(self) -> str:
        reasons = {"because": self.why, "fix": self.fix, "kept": self.kept}
        return "\n".join([self.what, *(f"  {k:<8} {v}" for k, v in reasons.items() if v)])


class InvalidInput(MfpdeError, ValueError):
    """An argument, file or combination that has no meaning; nothing was computed or written."""

    exit_code = 2


class NotEnoughMemory(InvalidInput):
    """A run that would need more memory than is available; nothing was allocated."""


class NotAvailable(MfpdeError, NotImplementedError):
    """A combination that is meaningful but that this version cannot compute."""

    exit_code = 2


class AlreadyExists(MfpdeError, FileExistsError):
    """A result is in the way; nothing is ever overwritten silently."""

    exit_code = 4


class StorageError(MfpdeError, OSError):
    """A result could not be written; ``run`` is the result, where there was one."""

    exit_code = 5
    run: Any = None


class Stopped(MfpdeError):
    """A run ended early because it was asked to; ``last`` holds it as far as it came."""

    exit_code = 75
    last: Any = None


class NumericalStop(MfpdeError, ArithmeticError):
    """The run was stopped while time moved. ``last`` holds the run up to the last good state."""

    exit_code = 3
    last: Any = None

    def keep(self, kept: str) -> None:
        """Say where the last good state is."""
        self.kept = kept


class NonFinite(NumericalStop):
    """A density or a potential is no longer a number."""


class NegativeDensity(NumericalStop):
    """A density fell below zero."""


class MassMismatch(NumericalStop):
    """Mass inside plus mass escaped is no longer one."""


class EnergyRise(NumericalStop):
    """The energy rose beyond what the method promises, even with shorter steps."""


class EnergyMismatch(NumericalStop):
    """The energy fell by other than what an exact method says that it dissipated."""


class StepRefused(NumericalStop):
    """The method could not make a step, however short."""


class MassEscaped(NumericalStop):
    """More mass left the box than ``escaped_tolerance``; ``box`` is one that would do."""

    box: dict[str, tuple[float, float]]


class UnconfinedMass(UserWarning):
    """Mass gathers at a closed wall of a line: the wall, not the flow, holds it there."""


class UnresolvedMass(UserWarning):
    """A moving window's cells are too few for the density: remaps smear it, predictions stay."""
