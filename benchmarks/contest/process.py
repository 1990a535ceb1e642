"""The handle of a contender's process: it is started, asked, and ended."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from odise_trt.errors import OdiseError

_WORKER = (sys.executable, "-c", "from benchmarks.contest.worker import main; main()")


class ContenderError(OdiseError):
    """A contender failed, ended, or gave no answer. The others go on."""


class Process:
    """A process that answers requests, one at a time. Use it as a context manager.

    Args:
        name: of the contender, for messages.
        patience: seconds to wait for an answer.
        command: what is started.
    """

    def __init__(self, name: str, patience: float, command: Sequence[str] = _WORKER) -> None:
        self.name = name
        self.patience = patience
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
        )
        self.number = self._process.pid
        assert self._process.stdout is not None
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._process.stdout, selectors.EVENT_READ)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            ContenderError: the contender reports an error, or its process ended or gives no answer.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do} | request) + "\n")
            self._process.stdin.flush()
            if not self._ready.select(self.patience):
                self.end(now=True)
                raise ContenderError(f"{self.name} gave no answer in {self.patience:g} seconds")
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            line = ""
        if not line:
            raise ContenderError(f"{self.name}: its process ended{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderError(f"{self.name}: {answer['kind']}: {answer['error']}", answer["hint"])
        return answer

    def end(self, now: bool = False) -> None:
        """End the process: by the end of its input, or at once. Ending it twice is allowed."""
        if now:
            self._process.kill()
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(now=error is not None)
        self._ready.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def _last_words(self) -> str:
        """Return the status of the ended process, and its last line on standard error."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - 4000))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        status = self._process.returncode
        killed = ", perhaps because memory ran out" if status == -9 else ""
        return f" with status {status}{killed}" + (f": {lines[-1]}" if lines else "")
