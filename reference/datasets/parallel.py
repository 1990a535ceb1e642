"""Work on many items in threads, which run in parallel because Pillow and numpy release Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def in_parallel(
    items: Iterable[Item], work: Callable[[Item], Outcome], threads: int
) -> Iterator[tuple[Item, Future[Outcome]]]:
    """Yield items with their finished futures, as they finish.

    Only a few items are in work at a time, so memory does not grow with their number.
    """
    waiting = iter(items)
    running: dict[Future[Outcome], Item] = {}
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                while len(running) < 2 * threads and (item := next(waiting, _END)) is not _END:
                    running[pool.submit(work, item)] = item  # type: ignore[arg-type, assignment]
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future
        finally:
            pool.shutdown(cancel_futures=True)


_END = object()
