"""Strict arithmetic: a division by zero, an overflow or an invalid operation fails the test.

And Ctrl-C as at a terminal: in the background shells let processes ignore it.
"""

import signal
from collections.abc import Iterator

import numpy as np
import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def strict_arithmetic() -> Iterator[None]:
    with np.errstate(divide="raise", over="raise", invalid="raise"):  # Gaussian tails underflow
        yield
