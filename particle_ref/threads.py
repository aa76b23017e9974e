"""The same bits for any number of threads: sums of linear algebra are made by one.

How a threaded library splits a sum depends on how many threads there are, and with it the last bit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def controller() -> ThreadpoolController:
    """Of the libraries that are loaded."""
    return ThreadpoolController()


class Users:
    """Those who want one thread now: the first sets it, the last gives back what was before."""

    def __init__(self) -> None:
        self.lock, self.count = threading.Lock(), 0
        self.limit: Any = None  # what was before, while there are users

    def enter(self) -> None:
        """One more."""
        with self.lock:
            if self.count == 0:
                self.limit = controller().limit(limits=1, user_api="blas")
            self.count += 1

    def leave(self) -> None:
        """One less."""
        with self.lock:
            self.count -= 1
            if self.count == 0:
                self.limit.restore_original_limits()


users = Users()


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it linear algebra runs on one thread: in the whole process, whose setting it is."""
    users.enter()
    try:
        yield
    finally:
        users.leave()
