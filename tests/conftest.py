"""Strict arithmetic: a division by zero, an overflow or an invalid operation fails the test."""

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def strict_arithmetic() -> Iterator[None]:
    with np.errstate(divide="raise", over="raise", invalid="raise"):  # Gaussian tails underflow
        yield
