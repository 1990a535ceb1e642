"""Reads pictures ahead in threads, and gives them in order. Never more than a few are in memory."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from .prepared import Prepared

Made = TypeVar("Made")

#: Seconds that `Reader.close` waits for its threads. One that is still in a caller's function ends after it.
PATIENCE = 1.0


@dataclass(eq=False)
class Read:
    """A source, and what became of it.

    Attributes:
        index: its place among the sources, from 0.
        source: what the sources gave.
        prepared: the picture. None: there was an error, or it has not been read yet.
        error: why it could not be read.
    """

    index: int
    source: Any
    prepared: Prepared | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether reading has ended, well or not."""
        return self.prepared is not None or self.error is not None


class Reader:
    """Asks an iterable for sources and reads them, as far ahead as there is room.

    Threads start with the first `take`. Whoever forgets a reader has to close it.
    """

    def __init__(
        self, sources: Iterator[Any], read: Callable[[Any], Prepared], depth: int, together: int = 1
    ) -> None:
        """Make a reader.

        Args:
            sources: what to read; it may be endless. One thread at a time asks it.
            read: reads a source. It is called in the threads.
            depth: that of the chain. A deeper one is fed by more threads.
            together: the most pictures that the chain begins together. So many are read ahead.
        """
        self._sources = sources
        self._read = read
        self._threads = max(1, min(depth, os.cpu_count() or 1))
        #: The most sources that were asked for and not taken: one more than are being read, or a group.
        self._room = max(self._threads + 1, together)
        self._changed = threading.Condition()
        self._asked: deque[Read] = deque()
        self._count = 0
        self._is_asking = False
        self._at_end = False
        self._failure: BaseException | None = None
        self._closed = False
        self._running: list[threading.Thread] = []

    def take(self, wait: bool) -> Read | None:
        """Return the next source.

        Args:
            wait: whether to wait until it is read.

        Returns:
            The source. None: there is no further one, or without `wait`, none that is read.

        Raises:
            BaseException: what the iterable raised, once all sources before it were taken. Only with `wait`.
        """
        with self._changed:
            self._start()
            if wait:
                self._changed.wait_for(lambda: self._closed or self._is_next_known())
            if self._asked and self._asked[0].is_done:
                self._changed.notify_all()
                return self._asked.popleft()
            if wait and self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            return None

    def close(self) -> None:
        """Stop reading and forget what was read. Closing twice is allowed."""
        with self._changed:
            self._closed = True
            self._asked.clear()
            self._changed.notify_all()
        until = time.monotonic() + PATIENCE
        for thread in self._running:
            # The garbage collector may close a reader in any thread.
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def _start(self) -> None:
        if self._running or self._closed:
            return
        for number in range(self._threads):
            # A thread that hangs in a caller's iterable must not keep the process alive.
            thread = threading.Thread(target=self._work, name=f"odise-trt-read-{number}", daemon=True)
            thread.start()
            self._running.append(thread)

    def _is_next_known(self) -> bool:
        return self._asked[0].is_done if self._asked else self._at_end

    def _may_ask(self) -> bool:
        return not self._is_asking and len(self._asked) < self._room

    def _work(self) -> None:
        while self._read_one():
            pass

    def _read_one(self) -> bool:
        """Read the next source. Return whether there was one. A waiting thread holds no picture."""
        one = self._ask()
        if one is None:
            return False
        prepared, error = tried(self._read, one.source)
        with self._changed:
            one.prepared, one.error = prepared, error
            self._changed.notify_all()
        return True

    def _ask(self) -> Read | None:
        """Ask for the next source, when there is room. None: there is no more to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._at_end or self._may_ask())
            if self._closed or self._at_end:
                return None
            self._is_asking = True
        # Asking may take long, for example until a camera has a frame. Nobody waits for the lock meanwhile.
        one, failure = None, None
        try:
            one = Read(self._count, next(self._sources))
        except StopIteration:
            pass
        except BaseException as raised:
            failure = raised
        with self._changed:
            self._is_asking = False
            self._changed.notify_all()
            if one is None:
                self._at_end, self._failure = True, failure
            elif self._closed:
                return None
            else:
                self._count += 1
                self._asked.append(one)
            return one


def tried(function: Callable[..., Made], *arguments: Any) -> tuple[Made | None, Exception | None]:
    """Call a function. Return what it made, or its error, whose traceback holds nothing of the caller."""
    try:
        return function(*arguments), None
    except Exception as error:
        return None, error
