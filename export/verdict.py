"""The last line of a build, for people and for scripts that read logs."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def command_line() -> str:
    """Return how the program was called, as a shell takes it."""
    program, *words = sys.argv
    name = Path(program).name
    start = f"python {shlex.quote(program)}" if name.endswith(".py") else name
    return " ".join([start, *map(shlex.quote, words)])


@contextmanager
def verdict(say: Callable[[str, float], None]) -> Iterator[None]:
    """Say how a block ended and how many seconds it took: "PASSED", "FAILED" or "STOPPED" (by a signal)."""
    start = time.perf_counter()
    try:
        yield
    except Exception:
        say("FAILED", time.perf_counter() - start)
        raise
    except BaseException:
        say("STOPPED", time.perf_counter() - start)
        raise
    say("PASSED", time.perf_counter() - start)
