"""Commands called in this process, through the boundary that every command starts with."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from odise_trt.cli import boundary
from odise_trt.cli.group import command_of


@dataclass(frozen=True)
class Done:
    """What a person gets from a command."""

    status: int
    stdout: str
    stderr: str


def call(command: Callable[[], object], *arguments: object) -> Done:
    """Run a command with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    argv = ["command", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", argv):
            boundary.run(command)  # type: ignore[arg-type]
    except SystemExit as error:
        status = error.code or 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert isinstance(status, int)
    return Done(status, out.getvalue(), err.getvalue())


def verb(target: str, *first: object) -> Callable[[], object]:
    """The command that "module:function" or "module:app" names, as `odise_trt.cli.door` runs it."""
    words = [str(word) for word in first]
    return lambda: command_of(target).main([*words, *sys.argv[1:]], prog_name="command")
