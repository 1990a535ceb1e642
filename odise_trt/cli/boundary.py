"""Where every command begins and ends: streams, signals, and one message per error.

`odise_trt.cli.main` and `odise_trt.cli.door` start all commands through `run`. `--debug` anywhere on a
command line, or `ODISE_DEBUG=1`, shows tracebacks in addition.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import NoReturn

from ..errors import OdiseError, hint_for, reason
from . import console
from .extras import missing_package
from .signals import CTRL_C, Signals, Stopped
from .streams import protect_streams

#: Environment variable with the effect of --debug.
ENVIRONMENT = "ODISE_DEBUG"


def run(command: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit.

    The exit status is what the command returns (None: 0), 1 for an error, 130 after Ctrl-C, and 128 plus the
    signal's number after another signal.

    Args:
        command: reads `sys.argv`, as a typer application does. `--debug` has been removed from it.
    """
    debug = _take_debug()
    output = protect_streams()
    console.show_warnings()
    signals = Signals()
    signals.catch()
    status: str | int | None
    try:
        status = command()
    except SystemExit as error:
        status = error.code
        if isinstance(error, Stopped):  # of a command that has handlers of its own
            signals.received = error.signal
    except KeyboardInterrupt:
        status = CTRL_C
    except BaseException as error:
        status = 1
        # Libraries may turn an exception that they do not expect into another error.
        if signals.received is None:
            console.error(message_of(error, debug))
        if debug:
            traceback.print_exception(error)
    signals.release()
    if status and signals.received is not None:
        status = 128 + signals.received
    if status == CTRL_C:
        console.error("stopped by Ctrl-C")
    elif signals.received is not None and status:
        console.error(f"stopped by {signals.received.name}")
    if isinstance(status, str):  # sys.exit("text")
        console.error(status)
        status = 1
    with suppress(Exception):
        sys.stdout.flush()
    if output is not None and output.error is not None and output.lost_something:
        console.error(f"standard output could not be written: {reason(output.error)}")
        status = status or 1
    sys.exit(status)


def message_of(error: BaseException, debug: bool = False) -> str:
    """Return the message that a person reads for an error.

    An error of the product has its own message. An error of the operating system gets its cause and a hint.
    Any other error is a bug of the product: its traceback is saved in a file for a bug report.

    Args:
        debug: the traceback is shown, so no file is written.
    """
    if isinstance(error, OdiseError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and (missing := missing_package(error)) is not None:
        return f"{type(missing).__name__}: {missing}"
    if isinstance(error, OSError):
        return f"OSError: {_place(error)}{reason(error)}" + _indented(hint_for(error))
    if isinstance(error, MemoryError):
        return "MemoryError: there is not enough memory" + _indented(
            "close other programs, or give smaller images, fewer jobs or workers"
        )
    if isinstance(error, BrokenProcessPool):
        return "OdiseError: a worker process was killed" + _indented(
            "most often memory ran out: give fewer jobs or workers"
        )
    first = (str(error).strip().splitlines() or [""])[0]
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    hint = "this is a fault of odise-trt, please report it"
    if not debug:
        kept = _keep_traceback(error)
        hint += f" with {kept}" if kept else "; --debug shows where it arose"
    return text + _indented(hint)


def _place(error: OSError) -> str:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return f"{' and '.join(names)}: " if names else ""


def _indented(hint: str | None) -> str:
    return "" if hint is None else f"\n  {hint}"


def _keep_traceback(error: BaseException) -> str | None:
    with suppress(OSError):
        descriptor, path = tempfile.mkstemp(prefix="odise-trt-", suffix=".traceback.txt")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{sys.argv}\n")
            traceback.print_exception(error, file=file)
        return path
    return None


def _take_debug() -> bool:
    arguments = sys.argv[1:]
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    asked = "--debug" in options
    sys.argv[1:] = [one for one in options if one != "--debug"] + arguments[len(options) :]
    return asked or os.environ.get(ENVIRONMENT, "") not in ("", "0")
