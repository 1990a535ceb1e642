"""The verbs `bench pack` and `bench unpack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from odise_trt.cli import console
from odise_trt.cli.places import folder


def pack(
    engines: Annotated[Path, typer.Option(help="A bundle of ONNX files.", parser=folder, metavar="DIR")],
    output: Annotated[Path, typer.Option(help="The archive to write, .tar.xz.", parser=folder)],
) -> None:
    """Write a bundle without its large weights, to measure it on a machine where they cannot be brought."""
    from .archive import pack as write

    size = write(engines, output)
    console.plain(console.output(), f"{output}: {size / 1e6:.1f} MB")


def unpack(
    archive: Annotated[Path, typer.Argument(help="What `pack` wrote.", parser=folder)],
    output: Annotated[Path, typer.Option(help="The bundle to write.", parser=folder, metavar="DIR")],
) -> None:
    """Make a bundle of such an archive. Its large weights are drawn: measure with it, do not segment."""
    from .archive import unpack as write

    write(archive, output)
    console.plain(console.output(), f"{output}: weights are random numbers")
