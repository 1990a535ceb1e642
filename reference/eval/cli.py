"""`odise-trt eval`; `python -m reference.eval` is `odise-trt eval --reference`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from odise_trt.cli import console
from odise_trt.cli.completion import devices_like
from odise_trt.cli.places import folder as folder_of
from odise_trt.cli.progress import progress_bars
from odise_trt.cli.task import TaskName, task_of
from reference.completion import presets_like
from reference.datasets.completion import datasets_like
from reference.eval.openers import (
    SCENES,
    Opener,
    folder_name,
    open_bundle,
    open_named,
    open_reference,
    reference_name,
)

if TYPE_CHECKING:
    from reference.ablation import Ablation
    from reference.eval.evaluation import Progress


def _datasets_like(incomplete: str) -> list[str]:
    return [name for name in SCENES if name.startswith(incomplete)] + datasets_like(incomplete)


DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        help=f"A dataset, or held-out drawn scenes: {', '.join(SCENES)} (no --data).",
        show_default=False,
        autocompletion=_datasets_like,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Where the dataset is.", show_default=False, parser=folder_of, metavar="PATH"),
]
Split = Annotated[
    str | None, typer.Option(help="Part of the dataset: train or val. Default: val.", show_default=False)
]
Output = Annotated[
    Path,
    typer.Option(
        help="Folder for predictions and reports, one folder within for each.",
        parser=folder_of,
        metavar="PATH",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Evaluate only so many images.")]
TaskOption = Annotated[
    list[TaskName] | None,
    typer.Option(help="Evaluate only this; may be given several times. Default: all with truth."),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        "--picture",
        help="PNG file: draw the first images (at most 8) beside truth and prediction, with scores.",
        show_default=False,
        parser=folder_of,
        metavar="PATH",
    ),
]
PerCategory = Annotated[bool, typer.Option("--per-category", help="Print a row for each category.")]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Preset of the reference. Default: demo.", show_default=False, autocompletion=presets_like
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights of the reference: random:SEED, demo, official, or a safetensors file. Default: demo.",
        show_default=False,
    ),
]
CaptionerOption = Annotated[
    str | None,
    typer.Option(help="Ablation: empty. Default: implicit, as in the paper.", show_default=False),
]
Timesteps = Annotated[
    str | None,
    typer.Option(
        help='Ablation: diffusion steps, "0+100+200" or "learnable". Default: 0.', show_default=False
    ),
]
Classifier = Annotated[
    str | None,
    typer.Option(
        help='Ablation: diffusion, discriminative, or the weight of "diffusion". Default: both.',
        show_default=False,
    ),
]
ClipMasks = Annotated[
    str | None,
    typer.Option(help="Ablation: crop or crop-masked. Default: pool.", show_default=False),
]
Features = Annotated[str | None, typer.Option(help="Ablation: clip. Default: diffusion.", show_default=False)]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.", autocompletion=devices_like)]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all.")]


def eval_command(
    dataset: DatasetName,
    engines: Annotated[
        list[Path] | None,
        typer.Option(
            help="A bundle; may be given several times.", show_default=False, parser=folder_of, metavar="PATH"
        ),
    ] = None,
    reference: Annotated[bool, typer.Option("--reference", help="Evaluate the PyTorch model, too.")] = False,
    data: Data = None,
    split: Split = None,
    output: Output = Path("outputs/eval"),
    limit: Limit = None,
    task: TaskOption = None,
    per_category: PerCategory = False,
    picture: Picture = None,
    preset: Preset = None,
    weights: Weights = None,
    device: Device = None,
    threads: Threads = None,
    captioner: CaptionerOption = None,
    timesteps: Timesteps = None,
    classifier: Classifier = None,
    clip_masks: ClipMasks = None,
    features: Features = None,
) -> None:
    """Evaluate bundles and the PyTorch model on a dataset: PQ, mIoU, AP and more, side by side.

    Predictions are kept; the same command goes on where it was stopped. Ablations are of the PyTorch model.
    """
    ablation = {
        "captioner": captioner,
        "timesteps": timesteps,
        "classifier": classifier,
        "clip_masks": clip_masks,
        "features": features,
    }
    _check_of_reference({"preset": preset, "weights": weights, **ablation}, reference)
    openers = {folder.resolve().name: open_bundle(folder, device, threads) for folder in engines or ()}
    if reference:
        chosen = _ablation(ablation)
        # First: the others are compared with it.
        openers = {
            reference_name(chosen): open_reference(preset, weights, device, threads, chosen),
            **openers,
        }
    if len(openers) < len(engines or ()) + reference:
        raise typer.BadParameter("models of the same name cannot be told apart", param_hint="--engines")
    if not openers:
        raise typer.BadParameter("say what to evaluate: a bundle, or --reference", param_hint="--engines")
    _run(openers, dataset, data, split, output, limit, task, per_category, picture)


def _check_of_reference(given: Mapping[str, str | None], reference: bool) -> None:
    """Raise BadParameter for an option of the PyTorch model that is empty, or has no effect."""
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if value is not None and not reference:
            raise typer.BadParameter("it is of the PyTorch model: give --reference, too", param_hint=option)
        if value == "":
            raise typer.BadParameter("it is empty; is a variable of the shell unset?", param_hint=option)


def _ablation(given: Mapping[str, str | None]) -> Ablation:
    from reference.ablation import Ablation

    return Ablation.parse(**{name: value for name, value in given.items() if value is not None})


def _run(
    openers: dict[str, Opener],
    dataset_name: str,
    data: Path | None,
    split: str | None,
    output: Path,
    limit: int | None,
    tasks: Sequence[TaskName] | None,
    per_category: bool,
    picture: Path | None,
) -> None:
    # Torch and the datasets take seconds to import: --help and wrong options do not wait for them.
    notes, out = console.errors(), console.output()
    with notes.status(escape(f"opening {dataset_name}")):
        from odise_trt.files.output import prepare_folder
        from odise_trt.files.writing import write_together
        from reference.errors import DatasetError
        from reference.eval.comparison import compare
        from reference.eval.evaluation import evaluate
        from reference.eval.example_picture import OWN, draw_examples
        from reference.eval.example_rows import ExampleRows
        from reference.eval.show import show_comparison, show_report

        if picture is not None:
            OWN.check_place(picture)
        dataset = open_named(dataset_name, data, split, limit)
        rows = ExampleRows(dataset)
        home = prepare_folder(output) / folder_name(dataset)
    reports = []
    failed: DatasetError | None = None
    for name, opener in openers.items():
        try:
            with opener() as predictor, _progress(notes, name) as progress:
                report = evaluate(
                    predictor,
                    dataset,
                    output=home / name,
                    limit=limit,
                    tasks=None if not tasks else [task_of(one) for one in tasks],
                    progress=progress,
                    examined=None if picture is None else rows.of(name),
                )
        except DatasetError as error:
            # A bad image is one for the other models, too: what can be predicted by them is stored as well.
            failed = failed or error
            continue
        show_report(out, report, per_category)
        console.plain(out, str(home / name), "dim")
        reports.append(report)
    if failed is not None:
        raise failed
    if len(reports) > 1:
        comparison = compare(reports)
        show_comparison(out, comparison)
        write_together(home, {"comparison.md": comparison.markdown().encode(errors="backslashreplace")})
    if picture is not None:
        OWN.write(draw_examples(rows, reports), picture)
        console.plain(out, str(picture), "dim")


@contextmanager
def _progress(notes: Console, name: str) -> Iterator[Progress]:
    with progress_bars(notes, hidden=not notes.is_terminal, transient=True) as bar:
        step = bar.add_task(name, total=None)

        def advance(done: int, count: int, seconds: float | None) -> None:
            bar.update(step, completed=done, total=count)

        yield advance
