"""Ends a build within seconds of a signal, even during native code.

Python handles a signal between two of its own instructions. A run of ONNX Runtime or the build of an engine
is one instruction, and takes minutes for a full model. Programs that stop a process wait a few seconds and
then kill it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from odise_trt.cli import console

#: Time for the normal clean-up of the process. `docker stop` allows ten seconds in total.
GRACE_SECONDS = 4.0
_SIGNALS = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}


@contextmanager
def ends_soon(clean_up: Callable[[], None]) -> Iterator[None]:
    """If the block does not end within `GRACE_SECONDS` of a signal, clean up and exit with its status.

    It works in the main thread only, because Python handles signals there. In other threads it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    left = threading.Event()
    threading.Thread(target=_watch, args=(ours, left, clean_up), daemon=True).start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        theirs.close()  # ends the thread


def _watch(signals: socket.socket, left: threading.Event, clean_up: Callable[[], None]) -> None:
    with signals:
        while number := signals.recv(1):
            if number[0] in _SIGNALS:
                break
        else:
            return
    if left.wait(GRACE_SECONDS):
        return
    with suppress(Exception):
        clean_up()
        name = signal.Signals(number[0]).name
        console.error("stopped by Ctrl-C" if name == "SIGINT" else f"stopped by {name}")
    os._exit(128 + number[0])
