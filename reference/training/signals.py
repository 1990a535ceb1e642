"""Signals that stop a run. It ends after the current step, never in the middle of an update."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from odise_trt.cli.signals import Stopped

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stops:
    """Records SIGINT (Ctrl-C), SIGTERM and SIGHUP. The second signal of a kind raises an exception.

    A context manager. Outside the main thread it does nothing.

    Args:
        together: seconds in which a repeated signal is not a second request. `torchrun` forwards signals that
            the terminal has already sent to all processes.

    Attributes:
        asked: number of the recorded signal. 0: none.
    """

    def __init__(self, together: float = 0.0) -> None:
        self.asked = 0
        self._together, self._since = together, 0.0
        self._shields, self._postponed = 0, 0
        self._handlers = ExitStack()

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # `nohup` ignores SIGHUP; it stays ignored.
                if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    self._handlers.callback(signal.signal, number, signal.signal(number, self._note))
        return self

    def __exit__(self, *exception: object) -> None:
        self._handlers.close()

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Protect this block: a second signal takes effect at its end."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self._postponed and not self._shields:
            self.end(self._postponed)

    def end(self, number: int) -> None:
        """Raise the exception of a signal: `KeyboardInterrupt` or `Stopped`."""
        self._postponed = 0
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Stopped(number)

    def _note(self, number: int, _: object) -> None:
        if number != self.asked:
            self.asked, self._since = number, time.monotonic()
        elif time.monotonic() - self._since >= self._together:
            if not self._shields:
                self.end(number)
            self._postponed = number
