"""`odise-trt run`."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console

if TYPE_CHECKING:
    from ..segmenter import Segmenter


class Task(StrEnum):
    """Choices of --task."""

    panoptic = "panoptic"
    semantic = "semantic"
    instance = "instance"


def run(
    images: Annotated[
        list[str],
        typer.Argument(help='Images, folders, or globs in quotes ("photos/*.jpg").', show_default=False),
    ],
    engines: Annotated[Path, typer.Option(help="Folder of a bundle.", show_default=False)],
    vocab: Annotated[
        str,
        typer.Option(
            help='A preset ("coco"), presets joined with +, a file, or words ("purse, handbag; table").',
            show_default=False,
        ),
    ],
    things: Annotated[
        str | None, typer.Option(help='Categories that are things, countable: "purse, table".')
    ] = None,
    stuff: Annotated[
        str | None, typer.Option(help='Categories that are stuff, one segment each: "sky, wall".')
    ] = None,
    task: Annotated[Task, typer.Option(help="Kind of segmentation.")] = Task.panoptic,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs"),
    overlap_threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Drop panoptic segments of which less than this share is visible."
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all, if left out.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1; cpu for onnxruntime, if left out.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Segment images: writes an overlay, a panoptic PNG and a JSON for each."""
    from ..batch import find_images
    from ..output import prepare_folder
    from ..vocabulary import Vocabulary

    # What can be wrong is looked at before engines are loaded.
    vocabulary = Vocabulary.parse(vocab)
    if things is not None:
        vocabulary = vocabulary.with_things(things)
    if stuff is not None:
        vocabulary = vocabulary.with_stuff(stuff)
    paths = find_images(images)
    prepare_folder(output)

    from ..segmenter import Segmenter

    with nullcontext() if quiet else console.errors().status(f"opening {engines}"):
        segmenter = Segmenter.open(engines, vocabulary=vocabulary, device=device, threads=threads)
    with segmenter:
        if not quiet and segmenter.bundle.manifest.weights.get("seeded"):
            console.warn(f"{engines} has {console.SEEDED}")
        bad = _segment(segmenter, paths, output, task, overlap_threshold, quiet)
    if bad:
        if len(paths) > 1:
            names = ", ".join(map(str, bad))
            console.error(f"{len(bad)} of {len(paths)} images were not segmented: {names}")
        raise typer.Exit(1)


def _segment(
    segmenter: Segmenter,
    paths: list[Path],
    folder: Path,
    task: Task,
    overlap_threshold: float | None,
    quiet: bool,
) -> list[Path]:
    """Run, printing as results come; returns the images that could not be read."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ..batch import segment_files
    from .show import show_result, show_timings

    bad: list[Path] = []
    timings: list[dict[str, float]] = []
    out, notes = console.output(), console.errors()
    if out.is_terminal and notes.is_terminal:
        notes = out  # one screen: what is printed has to go above the bar
    bar = Progress(
        TextColumn("segmenting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=notes if notes.is_terminal else out,
        transient=True,
        redirect_stdout=False,
        disable=quiet or not (notes.is_terminal or out.is_terminal),
    )
    with bar:
        step = bar.add_task("", total=len(paths))
        outcomes = segment_files(segmenter, paths, folder, task.value, overlap_threshold=overlap_threshold)
        for outcome in outcomes:
            if outcome.error is not None:
                bad.append(outcome.image)
                console.error(f"{type(outcome.error).__name__}: {outcome.error}", notes)
            elif outcome.result is not None and not quiet:
                timings.append(dict(outcome.result.timings))
                show_result(out, outcome.image, outcome.result, outcome.files, brief=len(paths) > 3)
            bar.advance(step)
    if timings:
        show_timings(out, timings, segmenter.runs_on)
    return bad
