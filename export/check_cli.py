"""`odise-trt check`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from odise_trt.errors import ExportError


def check(
    folder: Annotated[Path, typer.Argument(help="A bundle.", metavar="DIR", show_default=False)],
    weights: Annotated[
        str | None,
        typer.Option(help="The weights it was built from. Default: those that its manifest names."),
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="Compare only this stage; may be given several times.")
    ] = None,
    parity: Annotated[bool, typer.Option(help="Compare engines with the PyTorch reference.")] = True,
    parity_windows: Annotated[
        int | None, typer.Option(min=1, help="Most windows in a parity check, where memory is short.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the comparisons as an HTML page.", metavar="FILE")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the progress and the comparisons as JSON lines.")
    ] = False,
) -> None:
    """Repeat the checks of a bundle: hashes of its files, and parity of its engines on this machine.

    The last line begins with PASSED, FAILED or STOPPED.
    """
    if not parity and (stage or weights or parity_windows or report):
        raise ExportError("--no-parity compares nothing but hashes", "leave the other options out")
    console = Console(quiet=json)
    # Torch takes seconds to import: --help and wrong options do not wait for it.
    with console.status("starting") if console.is_terminal else nullcontext():
        from odise_trt.cli.console import plain
        from odise_trt.files.paths import expanded

        from .console import ConsoleReporter, parity_table
        from .json_lines import JsonReporter
        from .parity import require
        from .recheck import recheck
        from .verdict import command_line, verdict
    command, events = command_line(), JsonReporter(typer.echo)

    def end(how: str, seconds: float) -> None:
        if json:
            events.end(how, command)
        else:
            plain(console, f"{how} | {seconds:.0f} s | {command}")

    with verdict(end):
        with nullcontext(events) if json else ConsoleReporter(console) as reporter:
            rows = recheck(
                Path(expanded(folder)),
                reporter,
                weights=weights,
                stages=tuple(stage or ()),
                parity_limits=None if parity_windows is None else {"windows": parity_windows},
                parity=parity,
                report=None if report is None else Path(expanded(report)),
            )
        if json:
            events.compared(rows)
        elif rows:
            console.print(parity_table(rows))
        require(rows, "the files are as built: do not use this bundle here; build it again on this machine")
