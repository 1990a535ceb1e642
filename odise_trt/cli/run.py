"""`odise-trt run`."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from . import console
from .completion import devices_like, vocabularies_like
from .places import folder
from .task import TaskName, task_of


def run(
    images: Annotated[
        list[str],
        typer.Argument(help='Images, folders, or globs in quotes ("photos/*.jpg").', show_default=False),
    ],
    engines: Annotated[
        Path, typer.Option(help="Folder of a bundle.", show_default=False, parser=folder, metavar="PATH")
    ],
    vocab: Annotated[
        str,
        typer.Option(
            help='A preset ("coco"), presets joined with +, a file, or words ("purse, handbag; table").',
            show_default=False,
            autocompletion=vocabularies_like,
        ),
    ],
    things: Annotated[
        str | None, typer.Option(help='Categories that are things, countable: "purse, table".')
    ] = None,
    stuff: Annotated[
        str | None, typer.Option(help='Categories that are stuff, one segment each: "sky, wall".')
    ] = None,
    task: Annotated[TaskName, typer.Option(help="Kind of segmentation.")] = "panoptic",
    output: Annotated[
        Path, typer.Option(help="Folder for the results.", parser=folder, metavar="PATH")
    ] = Path("outputs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of other pictures and programs, too.")
    ] = False,
    detectron2: Annotated[
        bool,
        typer.Option("--detectron2", help="Write panoptic_seg and segments_info as an .npz file, too."),
    ] = False,
    overlap_threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Drop panoptic segments of which less than this share is visible."
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all.")] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda or cuda:1. Default: cpu for onnxruntime, cuda for TensorRT.",
            autocompletion=devices_like,
        ),
    ] = None,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="Many GPUs or machines: Ray runs workers, see docs/evaluation.md."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="With --ray: workers. Default: as many as have room."),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(min=0.0, help="With --ray: GPUs of each worker. Default: 1 for TensorRT."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Segment images: writes an overlay, a panoptic PNG and a JSON for each."""
    from ..batch import find_inputs
    from ..bundle.manifest import Manifest
    from ..files.output import prepare_folder
    from ..vocabulary import Vocabulary
    from .report import Report

    if not ray and (workers is not None or gpus is not None):
        raise typer.BadParameter("--workers and --gpus are for --ray")
    if ray and device is not None and ":" in device:
        raise typer.BadParameter("Ray says which GPU: cpu or cuda", param_hint="--device")
    if overlap_threshold is not None and task != "panoptic":
        raise typer.BadParameter("it is for --task panoptic", param_hint="--overlap-threshold")
    if detectron2 and task != "panoptic":
        raise typer.BadParameter("it is for --task panoptic", param_hint="--detectron2")
    for option, names in (("--things", things), ("--stuff", stuff), ("--device", device)):
        if names is not None and not names.strip():
            raise typer.BadParameter("it is empty; leave it out", param_hint=option)
    # Every input is checked before any engine is loaded.
    vocabulary = Vocabulary.parse(vocab).with_flags(things, stuff)
    inputs = find_inputs(images)
    prepare_folder(output)
    seeded = Manifest.read(engines).weights.get("seeded")
    if not quiet:
        for line in [*inputs.notes(), *([f"{engines} has {console.SEEDED}"] if seeded else [])]:
            console.warn(line)
    report = Report(inputs, quiet)
    if not inputs.images:
        pass
    elif ray:
        from ..ray_run import Job, segment_with_ray

        job = Job(
            engines,
            output,
            vocabulary,
            task_of(task),
            overlap_threshold,
            workers,
            gpus,
            device,
            threads,
            overwrite,
            detectron2,
        )
        report.follow(segment_with_ray(job, inputs.images))
    else:
        from rich.markup import escape

        from ..batch import segment_files
        from ..segmenter import Segmenter

        opening = f"opening {escape(console.shown(engines))}"
        with nullcontext() if quiet else console.errors().status(opening):
            segmenter = Segmenter.open(engines, vocabulary=vocabulary, device=device, threads=threads)
        with segmenter:
            outcomes = segment_files(
                segmenter,
                inputs.images,
                output,
                task_of(task),
                overlap_threshold=overlap_threshold,
                overwrite=overwrite,
                detectron2=detectron2,
            )
            # After Ctrl-C, too, files that are being written are finished.
            with closing(outcomes):
                report.follow(outcomes, segmenter.runs_on)
    if not report.close():
        raise typer.Exit(1)
