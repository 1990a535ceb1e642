"""`odise-trt data list | verify NAME PATH | prepare NAME PATH`, also as `python -m reference.datasets`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from odise_trt.cli import console
from odise_trt.cli.places import folder as folder_of
from odise_trt.cli.progress import progress_bars
from reference.datasets.completion import datasets_like

if TYPE_CHECKING:
    from reference.datasets.verify import Report

#: So many notes of `verify` are printed; the rest are counted.
_NOTES = 50


class Split(StrEnum):
    """Parts of a dataset."""

    train = "train"
    val = "val"


app = typer.Typer(
    no_args_is_help=True,
    help="Datasets on disk: list them, verify that one is complete, prepare what evaluation reads.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Name = Annotated[
    str, typer.Argument(help="A dataset of `list`.", show_default=False, autocompletion=datasets_like)
]
Folder = Annotated[
    Path,
    typer.Argument(
        help="Its folder, or a folder of datasets that it lies in.",
        show_default=False,
        parser=folder_of,
        metavar="PATH",
    ),
]


@app.command("list")
def list_() -> None:
    """List the datasets that can be read."""
    from rich.table import Table

    from . import catalogue
    from .overlap import overlap_with

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "categories", "things", "seen in COCO", "for", "what"):
        numeric = heading in ("categories", "things", "seen in COCO")
        table.add_column(heading, justify="right" if numeric else "left")
    for layout in catalogue.LAYOUTS.values():
        words = layout.vocabulary
        numbers = (
            ("from the data", "", "")
            if words is None
            else (str(len(words)), str(sum(words.isthing)), str(sum(overlap_with(words))))
        )
        table.add_row(layout.name, *numbers, layout.tasks, layout.description)
    console.output().print(table)


@app.command()
def verify(
    name: Name,
    path: Folder,
    split: Annotated[Split, typer.Option(help="Which part.")] = Split.val,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Read only so many images. Default: all.", show_default=False)
    ] = None,
) -> None:
    """Look for every file, read every image to see that the files fit each other, and count what is there."""
    from .verify import verify as verify_dataset

    with progress_bars(console.errors()) as bar:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        report = verify_dataset(name, path, split.value, samples=samples, progress=tell)
    _show(report)


def _show(report: Report) -> None:
    from reference.errors import counted

    out = console.output()
    unread = report.images - report.sampled
    console.plain(
        out,
        f"{report.name}, {report.split}: {counted(report.images, 'image')}, all files are there\n"
        f"{report.categories} categories: {counted(report.things, 'thing')}, "
        f"{report.categories - report.things} stuff; "
        f"{report.seen} of them with a name of a COCO training category\n"
        f"{counted(report.sampled, 'image')} read: "
        + ", ".join(f"{count} {what}" for what, count in report.found.items())
        + (f"\n{counted(unread, 'image')} not read: leave --samples out to read all" if unread else ""),
    )
    for note in report.notes[:_NOTES]:
        console.plain(out, note, "yellow")
    if len(report.notes) > _NOTES:
        console.plain(out, f"and {counted(len(report.notes) - _NOTES, 'more note')}", "yellow")


@app.command()
def prepare(
    name: Name,
    path: Folder,
    split: Annotated[Split | None, typer.Option(help="Which part. Default: val.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option(help="Make again what exists.")] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Threads. Default: one per core.", show_default=False)
    ] = None,
) -> None:
    """Make what evaluation reads from what can be downloaded. A run that was stopped is taken up again.

    Images that cannot be converted are listed at the end; the others are done.
    """
    from reference.errors import DatasetError, counted

    from . import catalogue
    from .needs import check_folder, command
    from .prepare.convert import carry_out

    layout = catalogue.layout_of(name)
    chosen = (split or Split.val).value
    if layout.work is None:
        raise DatasetError(
            f"{layout.name} is read as it is: there is nothing to prepare",
            f"check it: {command('verify', layout.name, path, chosen)}",
        )
    check_folder(layout.name, path)
    work = layout.work(path, chosen)
    with progress_bars(console.errors()) as bar:
        task = bar.add_task(f"{layout.name}, {chosen}", total=len(work.jobs))
        made = carry_out(
            work, overwrite=overwrite, threads=jobs, progress=lambda done: bar.advance(task, done)
        )
    total = len(work.jobs)
    text = f"{layout.name}, {chosen}: {counted(made, 'image')} prepared"
    console.plain(console.output(), text if made == total else f"{text}, {total - made} were there already")
