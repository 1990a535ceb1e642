"""Turns signals that end a process into exceptions, so that `with` blocks clean up."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

#: The exit status after Ctrl-C. typer turns a KeyboardInterrupt into it.
CTRL_C = 128 + signal.SIGINT
_ENDING = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
_USUAL = (signal.SIG_DFL, signal.default_int_handler)
_SECONDS = 0.01


class Stopped(SystemExit):
    """Raised when a signal requests the end of the process."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class Signals:
    """Turns SIGTERM and SIGHUP into `Stopped`, and SIGINT into KeyboardInterrupt.

    Python ignores exceptions in a finalizer or in a callback of the interpreter, and only prints a traceback
    on standard error. A signal that is lost in this way is sent again.

    Attributes:
        received: the last signal. None: no signal arrived.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._ignored_usually = sys.unraisablehook

    def catch(self) -> None:
        """Begin to catch signals. Does nothing outside the main thread, which alone receives signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _ENDING:
            # `nohup` ignores SIGHUP, and a shell ignores SIGINT for background jobs. Both are kept.
            if signal.getsignal(number) in _USUAL:
                signal.signal(number, self._stop)
        self._ignored_usually, sys.unraisablehook = sys.unraisablehook, self._ignored

    def release(self) -> None:
        """From now on signals end the process at once and silently, since the work is done."""
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING:
                if signal.getsignal(number) == self._stop:
                    signal.signal(number, signal.SIG_DFL)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        # A second signal ends the process at once.
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(number)

    def _ignored(self, lost: Any) -> None:
        if self.received is None or not issubclass(lost.exc_type, KeyboardInterrupt | Stopped):
            self._ignored_usually(lost)
            return
        signal.signal(self.received, self._stop)
        # Sent from here, it would be lost again.
        again = threading.Timer(_SECONDS, _send, (self.received,))
        again.daemon = True
        again.start()


def _send(number: signal.Signals) -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, number)  # also interrupts a blocking wait
    else:
        signal.raise_signal(number)
