"""`odise-trt run`."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..batch import Outcome


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
    ray: Annotated[
        bool,
        typer.Option("--ray", help="Many GPUs or machines: Ray runs workers, see docs/evaluation.md."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="With --ray: workers; as many as have room, if left out."),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(min=0.0, help="With --ray: GPUs of each worker; 1 for TensorRT, if left out."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Segment images: writes an overlay, a panoptic PNG and a JSON for each."""
    from ..batch import find_images
    from ..manifest import Manifest
    from ..output import prepare_folder
    from ..vocabulary import Vocabulary

    if not ray and (workers is not None or gpus is not None):
        raise typer.BadParameter("--workers and --gpus are for --ray")
    if ray and device is not None and ":" in device:
        raise typer.BadParameter("Ray says which GPU: cpu or cuda", param_hint="--device")
    # What can be wrong is looked at before engines are loaded.
    vocabulary = Vocabulary.parse(vocab)
    if things is not None:
        vocabulary = vocabulary.with_things(things)
    if stuff is not None:
        vocabulary = vocabulary.with_stuff(stuff)
    paths = find_images(images)
    prepare_folder(output)

    seeded = Manifest.read(engines).weights.get("seeded")
    if seeded and not quiet:
        console.warn(f"{engines} has {console.SEEDED}")
    if ray:
        from ..ray_run import Job, segment_with_ray

        job = Job(engines, output, vocabulary, task.value, overlap_threshold, workers, gpus, device, threads)
        bad = _show(segment_with_ray(job, paths), len(paths), quiet)
    else:
        from ..batch import segment_files
        from ..segmenter import Segmenter

        with nullcontext() if quiet else console.errors().status(f"opening {engines}"):
            segmenter = Segmenter.open(engines, vocabulary=vocabulary, device=device, threads=threads)
        with segmenter:
            outcomes = segment_files(
                segmenter, paths, output, task.value, overlap_threshold=overlap_threshold
            )
            bad = _show(outcomes, len(paths), quiet, segmenter.runs_on)
    if bad:
        if len(paths) > 1:
            names = ", ".join(map(str, bad))
            console.error(f"{len(bad)} of {len(paths)} images were not segmented: {names}")
        raise typer.Exit(1)


def _show(
    outcomes: Iterable[Outcome], count: int, quiet: bool, runs_on: Mapping[str, str] | None = None
) -> list[Path]:
    """Print results as they come; returns the images that could not be read."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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
        step = bar.add_task("", total=count)
        for outcome in outcomes:
            if outcome.error is not None:
                bad.append(outcome.image)
                console.error(f"{type(outcome.error).__name__}: {outcome.error}", notes)
            elif outcome.result is not None and not quiet:
                timings.append(dict(outcome.result.timings))
                show_result(out, outcome.image, outcome.result, outcome.files, brief=count > 3)
            elif not quiet:
                console.plain(out, f"{outcome.image}: {outcome.files[0]}")
            bar.advance(step)
    if timings and runs_on is not None:
        show_timings(out, timings, runs_on)
    return bad
