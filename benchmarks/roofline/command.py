"""`odise-trt bench roofline`: every stage against the floor that the machine sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.layers.command import Device, Engines, Image, Threads, Windows
from odise_trt.cli import console
from odise_trt.cli.places import folder
from odise_trt.cli.progress import progress_bars

#: Keys of the record.
KEYS = frozenset({"machine", "bundle", "ceilings", "stages", "next"})


def main(
    engines: Engines,
    image: Image = None,
    graphs: Annotated[
        Path | None,
        typer.Option(
            help="A bundle for onnxruntime with the same stages, where --engines has no ONNX files.",
            parser=folder,
            metavar="PATH",
        ),
    ] = None,
    device: Device = None,
    threads: Threads = None,
    windows: Windows = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; the best one counts.")] = 7,
    json: Annotated[
        Path | None, typer.Option(help="Where to write the numbers.", parser=folder, metavar="FILE")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Where to draw the roofline, PNG.", parser=folder, metavar="FILE")
    ] = None,
) -> None:
    """Compare every stage with the floor that the machine sets, and say what to do next."""
    from benchmarks.provenance import commit, machine
    from benchmarks.record import check_place, write_record

    from .chart import OWN, draw
    from .measurement import measure
    from .report import table

    if json is not None:
        check_place(json, KEYS)
    if picture is not None:
        OWN.check_place(picture)
    out = console.output()
    with progress_bars(console.errors(), transient=True) as bars:
        task = bars.add_task("rounds", total=repeats + 1)
        found = measure(
            engines,
            image=image,
            graphs=graphs,
            device=device,
            threads=threads,
            windows=windows,
            rounds=repeats,
            ahead=lambda done: bars.update(task, completed=done),
        )
    out.print(table(found.rows, found.ceilings))
    console.plain(out, found.next)
    if found.is_disturbed:
        console.warn(
            f"other programs used the processors (load {found.load:.1f} at the start): shares are of"
            " processor time, which they disturb less than wall time"
        )
    if json is not None:
        write_record(json, {"machine": machine(), "commit": commit(), **found.to_json()})
        console.plain(out, f"written: {json}")
    if picture is not None:
        OWN.write(draw(found.rows, found.ceilings, found.title), picture)
        console.plain(out, f"written: {picture}")
