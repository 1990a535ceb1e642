"""Signals that ask a process to end, as exceptions: `with` blocks clean up on the way out."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

#: The exit status after Ctrl-C; typer makes it of a KeyboardInterrupt.
CTRL_C = 128 + signal.SIGINT
_ENDING = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
_USUAL = (signal.SIG_DFL, signal.default_int_handler)
_SECONDS = 0.01


class Stopped(SystemExit):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class Signals:
    """Turns SIGTERM and SIGHUP into `Stopped`, and SIGINT into KeyboardInterrupt.

    Python ignores exceptions that arise in a finalizer or in a callback of the interpreter, with a traceback
    on standard error. A signal that is lost so is sent again.

    Attributes:
        received: the last one; None: nobody asked the process to end.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._ignored_usually = sys.unraisablehook

    def catch(self) -> None:
        """Begin. Without effect outside the main thread: only that one receives signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _ENDING:
            # `nohup` has SIGHUP ignored, a shell SIGINT of what it runs in the background: they want it so.
            if signal.getsignal(number) in _USUAL:
                signal.signal(number, self._stop)
        self._ignored_usually, sys.unraisablehook = sys.unraisablehook, self._ignored

    def release(self) -> None:
        """From now on signals end the process at once and silently: the work is over."""
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING:
                if signal.getsignal(number) == self._stop:
                    signal.signal(number, signal.SIG_DFL)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        # Asked twice, it ends at once.
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(number)

    def _ignored(self, lost: Any) -> None:
        if self.received is None or not issubclass(lost.exc_type, KeyboardInterrupt | Stopped):
            self._ignored_usually(lost)
            return
        signal.signal(self.received, self._stop)
        # Not from here: it would be lost again.
        again = threading.Timer(_SECONDS, _send, (self.received,))
        again.daemon = True
        again.start()


def _send(number: signal.Signals) -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, number)  # wakes it from waiting, too
    else:
        signal.raise_signal(number)
