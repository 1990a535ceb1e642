"""A command in a process of its own with a time limit. Its whole group of processes ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

#: Characters of the error output that a record keeps.
_KEPT = 2000


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: its exit status. Negative: the signal that ended it. None: it took longer than its limit.
        seconds: how long it took.
        stderr: the end of its error output.
    """

    status: int | None
    seconds: float
    stderr: str

    @property
    def message(self) -> str:
        """Why it did not end well, in words. "" if it did."""
        if self.status is None:
            return f"it took longer than {self.seconds:.0f} s"
        if self.status == 0:
            return ""
        if self.status < 0:
            why = f"it was ended by {signal.Signals(-self.status).name}"
            return f"{why}, most often because memory ran out" if self.status == -signal.SIGKILL else why
        last = self.stderr.strip().splitlines()[-1:] or [f"exit status {self.status}"]
        return last[0]


def run_limited(command: Sequence[str], limit: float, environment: Mapping[str, str] | None = None) -> Ended:
    """Run a command. It and what it has started end after `limit` seconds, or when this function is left.

    Args:
        command: program and arguments.
        limit: in seconds.
        environment: variables that it has beside those of this process.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        status: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(limit)
        finally:
            # Compilers and watchers that it started are in its group.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        size = errors.seek(0, os.SEEK_END)
        errors.seek(max(0, size - _KEPT))
        text = errors.read().decode("utf-8", errors="replace")
    return Ended(status, time.perf_counter() - began, text)
