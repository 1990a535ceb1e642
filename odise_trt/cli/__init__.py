"""The command line `odise-trt`.

A verb parses, calls public functions and prints; imports that take time are inside the verbs. Other packages
add verbs by entry points of the group `odise_trt.commands`, see `odise_trt.cli.group`.
"""

from __future__ import annotations

import signal
from typing import Any


def main() -> None:
    """Entry point of `odise-trt`."""
    # Python shows a traceback for Ctrl-C while modules are imported; there is nothing to clean up yet.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from . import boundary

    boundary.run(_command)


def _command() -> int | None:
    from .application import app

    status: int | None = app(prog_name="odise-trt")
    return status


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .application import app

    return app
