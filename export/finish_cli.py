"""`odise-trt finish`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def finish(
    folder: Annotated[
        Path, typer.Argument(help="A bundle built with --onnx-only.", metavar="DIR", show_default=False)
    ],
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(help="GPU to build for ahead of time, like 8.9 (tensorrt_rtx only). Default: any."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the progress as JSON, an object per line.")
    ] = False,
) -> None:
    """Build the engines of a bundle of graphs, on the machine they are for. It needs no torch and no weights.

    The last line begins with PASSED, FAILED or STOPPED.
    """
    from odise_trt.cli.console import plain
    from odise_trt.files.paths import expanded

    from .console import ConsoleReporter
    from .exclusive import clear_held
    from .finish import finish as finish_bundle
    from .json_lines import JsonReporter
    from .stopping import ends_soon
    from .verdict import command_line, verdict

    command, events, console = command_line(), JsonReporter(typer.echo), Console(quiet=json)

    def end(how: str, seconds: float) -> None:
        if json:
            events.end(how, command)
        else:
            plain(console, f"{how} | {seconds:.0f} s | {command}")

    shown = nullcontext(events) if json else ConsoleReporter(console)
    with verdict(end), ends_soon(clear_held), shown as reporter:
        place = finish_bundle(Path(expanded(folder)), reporter, tuple(compute_capability or ()))
        reporter.note(f"the bundle is {place}")
