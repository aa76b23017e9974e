"""Blocks of lines shared among the cores.

Lines do not mix, and what is counted is whole numbers: who takes which block changes no bit. On
how many cores is Numba's setting, NUMBA_NUM_THREADS: all of them by default.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numba import config

CORES: int = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
LARGE = 2**18  # numbers in a field; with fewer, starting threads takes longer than they save


@cache
def team() -> ThreadPoolExecutor:
    """Threads beside the one that asks."""
    return ThreadPoolExecutor(CORES - 1, thread_name_prefix="mfpde")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=team.cache_clear)  # threads do not survive a fork


def shared(kernel: Callable[..., Any], arguments: tuple[Any, ...], blocks: int, size: int) -> Any:
    """Σ kernel(*arguments, begin, end) over parts of range(blocks); ``size`` numbers in all.

    What it counts is a number or several. The kernel is compiled, and leaves Python's lock alone
    while it runs.
    """
    parts = min(CORES, blocks) if size >= LARGE else 1
    if parts == 1:
        return kernel(*arguments, 0, blocks)
    bounds = [blocks * part // parts for part in range(parts + 1)]
    try:
        others = [team().submit(kernel, *arguments, *bounds[k : k + 2]) for k in range(1, parts)]
    except RuntimeError:  # the main thread is gone: no other takes work any more
        return kernel(*arguments, 0, blocks)
    counts = [kernel(*arguments, *bounds[:2]), *(other.result() for other in others)]
    return np.sum(counts, axis=0).tolist()
