"""`odise-trt bench layers`: the layers of every stage for NVIDIA's viewer, and the costliest as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from odise_trt.cli import console
from odise_trt.cli.places import folder
from odise_trt.cli.progress import progress_bars

if TYPE_CHECKING:
    from rich.table import Table

    from .viewer_form import StageProfile

Engines = Annotated[Path, typer.Option(help="A bundle.", parser=folder, metavar="PATH")]
Image = Annotated[
    Path | None, typer.Option(help="A photo; the shipped one if left out.", parser=folder, metavar="FILE")
]
Device = Annotated[str | None, typer.Option(help="As `odise-trt run --device`.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all if left out.")]
Windows = Annotated[int | None, typer.Option(min=1, help="Windows per run; as `odise-trt run` if left out.")]


def main(
    engines: Engines,
    output: Annotated[
        Path,
        typer.Option(help="Folder for layers_STAGE.json, profile_STAGE.json.", parser=folder, metavar="DIR"),
    ],
    image: Image = None,
    device: Device = None,
    threads: Threads = None,
    windows: Windows = None,
    repeats: Annotated[int, typer.Option(min=1, help="Measured runs of each stage.")] = 5,
    count: Annotated[int, typer.Option(min=1, help="Layers in the table.")] = 12,
) -> None:
    """Write the layers of every stage and their times for NVIDIA's viewer, and print the costliest."""
    from .profiles import profile_bundle
    from .viewer_files import check_folder, write_profiles

    check_folder(output)
    out = console.output()
    with progress_bars(console.errors(), transient=True) as bars:
        task = bars.add_task("profiling", total=None)

        def ahead(stage: str, number: int, stages: int) -> None:
            bars.update(task, description=stage, completed=number, total=stages)

        found = profile_bundle(
            engines, image=image, device=device, threads=threads, windows=windows, runs=repeats, ahead=ahead
        )
    write_profiles(output, found)
    out.print(table(found, count))
    console.plain(out, f"written: {output}")


def table(found: dict[str, StageProfile], count: int) -> Table:
    """Make a table of the layers that cost most in all stages, and of their share of all time."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table("stage", "layer", "type", "output", title=f"the {count} costliest layers")
    for name in ("ms", "share"):
        shown.add_column(name, justify="right")
    layers = [
        (stage, profile.median(layer["Name"]), layer)
        for stage, profile in found.items()
        for layer in profile.timed
    ]
    whole = sum(spent for _, spent, _ in layers) or 1.0
    for stage, spent, layer in sorted(layers, key=lambda one: -one[1])[:count]:
        shape = "x".join(str(size) for one in layer["Outputs"][:1] for size in one["Dimensions"])
        name = escape(layer["Name"].removeprefix(f"{stage}/"))
        shown.add_row(stage, name, layer["LayerType"], shape, f"{spent:.2f}", f"{spent / whole:.1%}")
    shown.add_section()
    shown.add_row("all", f"{len(layers)} layers", "", "", f"{whole:.1f}", "")
    return shown
