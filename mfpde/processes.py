"""Processes that compute for the command line, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess

MOST_WORKERS = 8
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
UNTOLD = "ignore:resource_tracker:UserWarning"  # that it tidies up after a process ended at once


class Sheltered(SpawnProcess):
    """A process that Ctrl-C does not reach: it ends with this one, which decides when."""

    def start(self) -> None:
        """Begin, with Ctrl-C held back for good."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Shelter(SpawnContext):
    """Starts such processes."""

    Process = Sheltered


def end_with_parent() -> None:
    """In a worker: outlive the process that started it by nothing."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """Processes of one BLAS thread each: results do not depend on how many cores there are."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))  # read when a process loads NumPy
    quiet = [before.get("PYTHONWARNINGS", ""), UNTOLD]
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, quiet))
    count = min(jobs, os.cpu_count() or 1, MOST_WORKERS)
    executor = ProcessPoolExecutor(count, Shelter(), initializer=end_with_parent)
    try:
        yield executor
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        os.environ.clear()
        os.environ.update(before)
