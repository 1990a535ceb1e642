"""Processes that begin with torch and the reference already imported.

A new Python needs six seconds of a processor to import torch, diffusers and open_clip. That is most of what a
training run of a few steps takes. These processes are forked from one that has done it, and that has done
nothing else: it has run no operator, so no thread of torch is lost by the fork.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_IMPORTED = ["tests.reference.training.tiny_training", "reference.losses.gather"]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(_IMPORTED)


@dataclass(frozen=True)
class Ended:
    """A process that ended.

    Attributes:
        status: what it exited with; minus the number of the signal that killed it.
        output: what it printed to both streams.
    """

    status: int
    output: str


class Running:
    """A process that calls a function of a module, in a session of its own.

    Args:
        function: what it calls; its result is the exit status, as of `main`.
        arguments: what it is called with.
        environment: variables that are set before.
    """

    def __init__(
        self,
        function: Callable[..., int | None],
        *arguments: object,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        descriptor, name = tempfile.mkstemp(prefix="odise-test-")
        os.close(descriptor)
        self._output = Path(name)
        self._process = _FORKS.Process(
            target=_call, args=(function, arguments, dict(environment or {}), self._output)
        )
        self._process.start()

    def wait(self, timeout: float = 120) -> Ended:
        """Wait for its end.

        Raises:
            TimeoutError: it did not end, and was killed.
        """
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            self._process.kill()
            self._process.join()
        output = self._output.read_text(errors="replace")
        self._output.unlink()
        if status is None:
            raise TimeoutError(f"the process did not end in {timeout} seconds\n{output}")
        return Ended(status, output)


def free_port() -> int:
    """A port of this machine on which processes can meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _call(
    function: Callable[..., int | None],
    arguments: tuple[object, ...],
    environment: Mapping[str, str],
    output: Path,
) -> None:
    os.setsid()
    os.environ.update(environment)
    with output.open("wb", buffering=0) as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.exit(function(*arguments))
