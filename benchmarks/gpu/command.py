"""The command: it runs the parts that are missing, each in a process of its own, and shows what there is."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from export.cli import Precision
from odise_trt.cli import console
from odise_trt.cli.places import folder
from odise_trt.errors import OdiseError

from .parts import PARTS

#: Choices of --part.
PartName = StrEnum("PartName", {part.name: part.name for part in PARTS[1:]})  # type: ignore[misc]


def main(
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for a file per part, the summary and the picture.", parser=folder, metavar="DIR"
        ),
    ],
    preset: Annotated[str, typer.Option(help="Of the reference.")] = "odise-label",
    weights: Annotated[str, typer.Option(help="random:SEED, demo, or a file.")] = "random:0",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, or cpu to try the command.")] = "cuda",
    part: Annotated[
        list[PartName] | None, typer.Option(help="Only this part; may be repeated.", metavar="NAME")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="For this call; the next one goes on.")] = 9.0,
    again: Annotated[bool, typer.Option("--again", help="Run parts again that are there.")] = False,
    side: Annotated[int, typer.Option(min=64, help="Height of the pictures, pixels.")] = 1024,
    seconds: Annotated[float, typer.Option(min=0.1, help="For the runs of one technique.")] = 8.0,
    precision: Annotated[Precision, typer.Option(help="Of the engines.")] = Precision.fp16,
    engines: Annotated[
        list[Path] | None,
        typer.Option(help="A bundle to measure; may be repeated.", parser=folder, metavar="DIR"),
    ] = None,
    commit: Annotated[str | None, typer.Option(help="What is measured; default: what git says.")] = None,
) -> None:
    """Measure all that needs a GPU, in parts: bundles, techniques, engines, parity, the floor, growth."""
    from benchmarks.provenance import commit as described
    from benchmarks.record import check_place

    from .job import Job, MeasuredBundle
    from .runner import run
    from .summary import KEYS, NAME

    check_place(output / NAME, KEYS)
    # A wrong path is reported now, not after minutes of measurement.
    bundles = tuple(MeasuredBundle.read(one) for one in engines or ())
    job = Job(preset, weights, device, side, seconds, precision.value, commit or described(), bundles)
    chosen = [one for one in PARTS[1:] if part is None or one.name in {name.value for name in part}]
    out = console.output()
    outcome = run(output, job, chosen, minutes * 60, again=again, say=lambda text: console.plain(out, text))
    for table in outcome.tables():
        out.print(table)
    if outcome.next:
        console.plain(out, outcome.next)
    console.plain(out, f"written: {output}")
    if outcome.left:
        console.plain(out, f"left for the next call: {', '.join(outcome.left)}")
    if outcome.failed:
        raise OdiseError(
            f"not all was measured: {', '.join(outcome.failed)}",
            f"the files in {output} have the reasons; the same command tries them again",
        )
