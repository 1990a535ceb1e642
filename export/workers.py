"""Worker processes that end when the process that started them ends.

This module imports no heavy packages, so a worker watches its parent before it imports torch for seconds.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, TypeVar

from odise_trt.errors import ExportError

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
#: Exit code of a worker that this process ended on purpose.
_ENDED_BY_US = -signal.SIGTERM


def run_in_workers(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], count: int
) -> Generator[Result, None, None]:
    """Run `function(*call)` for every call in `count` processes, and yield results in the order of the calls.

    If an error or a signal ends the iteration early, the workers are killed at once.

    Raises:
        ExportError: a worker crashed or was killed, most often because memory ran out.
        Exception: any error that `function` raised.
    """
    # If a process that has used torch's threads is forked, its children can hang.
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, context, _begin)
    workers: set[Any] = set()
    futures: list[Future[Result]] = []
    try:
        with _ctrl_c_is_for_the_parent():
            futures.extend(pool.submit(function, *call) for call in calls)
        workers = set(multiprocessing.active_children()) - before
        for future in futures:
            yield future.result()
    except BrokenProcessPool as error:
        raise _broken(workers) from error
    finally:
        if len(futures) < len(calls) or not all(future.done() for future in futures):
            for worker in set(multiprocessing.active_children()) - before:
                worker.kill()
        pool.shutdown(cancel_futures=True)


def _broken(workers: Collection[Any]) -> ExportError:
    for worker in workers:
        worker.join(1)
    codes = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0, _ENDED_BY_US)]
    code = codes[0] if codes else 0
    if code == -signal.SIGKILL or code >= 0:
        return ExportError(
            "a worker process was killed, most often because memory ran out",
            "use --jobs 1, or fewer jobs: every job holds a stage in memory",
        )
    return ExportError(
        f"a worker process crashed ({signal.Signals(-code).name})",
        "use --jobs 1 to see which stage is at fault; if memory is short, this helps as well",
    )


@contextmanager
def _ctrl_c_is_for_the_parent() -> Iterator[None]:
    """Shield the processes started in the block from Ctrl-C, which a terminal sends to all processes."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The signal is blocked, not ignored: it stays pending for the parent, and the processes inherit the mask.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Prepare a worker: it ends with its parent, and its locks leave no files behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    if "fork" in multiprocessing.get_all_start_methods():
        # A worker starts no processes, but it makes locks, as tqdm does when imported. Locks for forked
        # processes have no name, so a killed worker leaves none behind.
        multiprocessing.set_start_method("fork", force=True)
    if sys.platform == "linux":
        # The thread cannot run while native code holds Python's lock. The kernel needs no lock.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
