"""The same bits for any number of threads: sums of linear algebra are made by one.

How a threaded library splits a sum depends on how many threads there are, and with it the last bit.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def controller() -> ThreadpoolController:
    """Of the libraries that are loaded."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Within it linear algebra runs on one thread."""
    return controller().limit(limits=1, user_api="blas")
