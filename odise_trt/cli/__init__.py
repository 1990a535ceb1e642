"""The command line `odise-trt`.

A verb parses its arguments, calls public functions and prints. Slow imports are inside the verbs. Other
packages add verbs by entry points of the group `odise_trt.commands`, see `odise_trt.cli.group`.
"""

from __future__ import annotations

import signal
import sys
from typing import Any, NoReturn


def main() -> NoReturn:
    """Run `odise-trt` and exit."""
    _end_quietly_on_ctrl_c()
    from . import boundary

    boundary.run(_odise_trt)


def door(target: str, name: str, *first: str) -> NoReturn:
    """Run one verb as a command of its own and exit, as `python -m reference.train` does.

    Args:
        target: "module:function" or "module:app", as in the entry points of `odise_trt.commands`. It is
            imported inside the error boundary, not before.
        name: name of the command in its help and messages.
        first: words inserted before those of the command line.
    """
    _end_quietly_on_ctrl_c()
    from . import boundary

    def command() -> int | None:
        from .group import command_of

        status: int | None = command_of(target).main([*first, *sys.argv[1:]], prog_name=name)
        return status

    boundary.run(command)


def _end_quietly_on_ctrl_c() -> None:
    # Python shows a traceback for Ctrl-C during imports. There is nothing to clean up yet.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _odise_trt() -> int | None:
    from .application import app

    status: int | None = app(prog_name="odise-trt")
    return status


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .application import app

    return app
