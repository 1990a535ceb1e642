"""`odise-trt finish`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from odise_trt.errors import ExportError


def finish(
    folder: Annotated[
        Path, typer.Argument(help="A bundle built with --onnx-only.", metavar="DIR", show_default=False)
    ],
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(help="GPU to build for ahead of time, like 8.9 (tensorrt_rtx only). Default: any."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="GPUs to build a bundle for each, like sm86,sm89,sm120 (tensorrt_rtx only)."),
    ] = None,
    strip_weights: Annotated[
        bool,
        typer.Option("--strip-weights", help="Engines without weights: they take those of the graphs."),
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option("--version-compatible", help="Engines for later TensorRT of the major version, too."),
    ] = False,
    hardware_compatible: Annotated[
        bool,
        typer.Option("--hardware-compatible", help="Engines for Ampere and later GPUs (tensorrt only)."),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the progress as JSON, an object per line.")
    ] = False,
) -> None:
    """Build the engines of a bundle of graphs, on the machine they are for. It needs no torch and no weights.

    The last line begins with PASSED, FAILED or STOPPED.
    """
    from odise_trt.cli.console import plain
    from odise_trt.files.paths import expanded

    from .builders.compatibility import chosen
    from .console import ConsoleReporter
    from .exclusive import clear_held
    from .finish import finish as finish_bundle
    from .gpu_targets import capabilities_of
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
        each = capabilities_of(target or ())
        if each and compute_capability:
            raise ExportError(
                "--target builds one bundle for each GPU, --compute-capability one for all of them",
                "give one of them",
            )
        graphs = Path(expanded(folder))
        compatible = chosen(version_compatible, hardware_compatible)
        together = tuple(compute_capability or ())
        for capabilities in [each[n : n + 1] for n in range(len(each))] or [together]:
            place = finish_bundle(graphs, reporter, capabilities, strip_weights, compatible)
            reporter.note(f"the bundle is {place}")
