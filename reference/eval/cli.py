"""`odise-trt eval` and `python -m reference.eval`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from odise_trt.cli import console
from odise_trt.cli.places import folder as folder_of

if TYPE_CHECKING:
    from reference.ablation import Ablation
    from reference.datasets.example import Dataset
    from reference.eval.evaluation import Progress
    from reference.eval.prediction import Predictor

#: Drawn scenes, by all their words, by those of training, by synonyms alone; see `reference.demo.held_out`.
SCENES = ("scenes", "scenes-names", "scenes-synonyms")
#: Scenes that are evaluated unless --limit says more.
_SCENES = 100

#: Opens a predictor, and closes it again.
Opener = Callable[[], AbstractContextManager["Predictor"]]


class TaskName(StrEnum):
    """Choices of --task."""

    panoptic = "panoptic"
    semantic = "semantic"
    instance = "instance"


DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        help=f"A dataset, or held-out drawn scenes: {', '.join(SCENES)} (no --data).",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Where the dataset is.", show_default=False, parser=folder_of, metavar="PATH"),
]
Split = Annotated[
    str | None, typer.Option(help="Part of the dataset: train or val; val, if left out.", show_default=False)
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
    typer.Option(help="Evaluate only this; may be given several times. All there is truth for, if left out."),
]
PerCategory = Annotated[bool, typer.Option("--per-category", help="Print a row for each category.")]
Preset = Annotated[
    str | None, typer.Option(help="Preset of the reference; demo, if left out.", show_default=False)
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights of the reference: random:SEED, demo, or a safetensors file; demo, if left out.",
        show_default=False,
    ),
]
CaptionerOption = Annotated[str, typer.Option(help="Ablation: implicit or empty.")]
Timesteps = Annotated[str, typer.Option(help='Ablation: diffusion steps, "0+100+200" or "learnable".')]
Classifier = Annotated[
    str, typer.Option(help='Ablation: both, diffusion, discriminative, or the weight of "diffusion".')
]
ClipMasks = Annotated[str, typer.Option(help="Ablation: pool, crop or crop-masked.")]
Features = Annotated[str, typer.Option(help="Ablation: diffusion or clip.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all, if left out.")]


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
    preset: Preset = None,
    weights: Weights = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Evaluate bundles on a dataset: PQ, mIoU, AP and more, side by side.

    Predictions are kept; the same command goes on where it was stopped.
    """
    for option, value in (("--preset", preset), ("--weights", weights)):
        if value is not None and not reference:
            raise typer.BadParameter("it is of the PyTorch model: give --reference, too", param_hint=option)
    _check_named(preset, weights)
    openers = {folder.resolve().name: _bundle(folder, device, threads) for folder in engines or ()}
    if len(openers) < len(engines or ()) or (reference and "reference" in openers):
        raise typer.BadParameter("models of the same name cannot be told apart", param_hint="--engines")
    if reference:
        # First: the others are compared with it.
        openers = {"reference": _reference(preset, weights, device, threads), **openers}
    if not openers:
        raise typer.BadParameter("say what to evaluate: a bundle, or --reference", param_hint="--engines")
    _run(openers, dataset, data, split, output, limit, task, per_category)


def reference_command(
    dataset: DatasetName,
    data: Data = None,
    split: Split = None,
    output: Output = Path("outputs/eval"),
    limit: Limit = None,
    task: TaskOption = None,
    per_category: PerCategory = False,
    preset: Preset = None,
    weights: Weights = None,
    device: Device = None,
    threads: Threads = None,
    captioner: CaptionerOption = "implicit",
    timesteps: Timesteps = "0",
    classifier: Classifier = "both",
    clip_masks: ClipMasks = "pool",
    features: Features = "diffusion",
) -> None:
    """Evaluate the PyTorch model on a dataset: PQ, mIoU, AP and more.

    Predictions are kept; the same command goes on where it was stopped.
    """
    from reference.ablation import Ablation

    _check_named(preset, weights)
    ablation = Ablation.parse(
        captioner=captioner,
        timesteps=timesteps,
        classifier=classifier,
        clip_masks=clip_masks,
        features=features,
    )
    opener = _reference(preset, weights, device, threads, ablation)
    _run({_reference_name(ablation): opener}, dataset, data, split, output, limit, task, per_category)


def _check_named(preset: str | None, weights: str | None) -> None:
    for option, value in (("--preset", preset), ("--weights", weights)):
        if value == "":
            raise typer.BadParameter("it is empty; is a variable of the shell unset?", param_hint=option)


def open_named(name: str, data: Path | None, split: str | None, limit: int | None) -> Dataset:
    """What --dataset, --data and --split name.

    Raises:
        DatasetError: there is none of the name, or it is not complete.
    """
    if name in SCENES:
        from reference.demo.held_out import held_out

        if data is not None:
            raise typer.BadParameter(f"{name} are drawn, and read nothing: leave it out", param_hint="--data")
        if split is not None:
            raise typer.BadParameter(f"{name} has no parts: leave it out", param_hint="--split")
        return held_out(max(_SCENES, limit or 0), name)
    from reference.datasets import open_dataset
    from reference.datasets.catalogue import layout_of
    from reference.errors import DatasetError

    try:
        layout_of(name)
    except DatasetError as error:
        raise DatasetError(error.message, f"{error.hint}; and drawn ones: {', '.join(SCENES)}") from error
    if data is None:
        raise typer.BadParameter(f"say where {name} is", param_hint="--data")

    return open_dataset(name, data) if split is None else open_dataset(name, data, split)


def folder_name(dataset: Dataset) -> str:
    """The folder of a dataset's predictions within --output, by whichever of its names it was opened."""
    split = getattr(dataset, "split", None)
    return dataset.name if split is None else f"{dataset.name}-{split}"


def _run(
    openers: dict[str, Opener],
    dataset_name: str,
    data: Path | None,
    split: str | None,
    output: Path,
    limit: int | None,
    tasks: Sequence[TaskName] | None,
    per_category: bool,
) -> None:
    # Torch and the datasets take seconds to import: --help and wrong options do not wait for them.
    notes, out = console.errors(), console.output()
    with notes.status(escape(f"opening {dataset_name}")):
        from odise_trt.files.output import prepare_folder, write_together
        from reference.errors import DatasetError
        from reference.eval.comparison import compare
        from reference.eval.evaluation import evaluate
        from reference.eval.show import show_comparison, show_report

        dataset = open_named(dataset_name, data, split, limit)
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
                    tasks=None if not tasks else [one.value for one in tasks],
                    progress=progress,
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


def _bundle(folder: Path, device: str | None, threads: int | None) -> Opener:
    @contextmanager
    def opened() -> Iterator[Predictor]:
        from odise_trt.segmenter import Segmenter
        from reference.eval.predictors import BundlePredictor

        with Segmenter.open(folder, device=device, threads=threads) as segmenter:
            yield BundlePredictor(segmenter)

    return opened


def _reference_name(ablation: Ablation) -> str:
    """A name for every ablated model, as "reference-classifier-1,1": none finds predictions of another."""
    from reference.ablation import Ablation

    options = [] if ablation == Ablation() else ablation.summary().replace("--", "").split()
    return "-".join(("reference", *options))


def _reference(
    preset: str | None,
    weights: str | None,
    device: str | None,
    threads: int | None,
    ablation: Ablation | None = None,
) -> Opener:
    @contextmanager
    def opened() -> Iterator[Predictor]:
        import torch

        from reference.ablation import Ablation
        from reference.checkpoint import describe_weights, find_preset, load_weights
        from reference.device import choose_device
        from reference.errors import AblationError
        from reference.eval.predictors import ReferencePredictor

        # Before the weights, which can take a minute to read.
        place = choose_device(device or "cpu")
        chosen = ablation or Ablation()
        if chosen.captioner == "given":
            raise AblationError("evaluation gives no captions", "use --captioner empty or implicit")

        if threads is not None:
            torch.set_num_threads(threads)
        ablated = find_preset("demo" if preset is None else preset).with_ablation(chosen)
        source = "demo" if weights is None else weights
        model = load_weights(ablated, source).to(place)
        yield ReferencePredictor(model, describe_weights(ablated, source))

    return opened


@contextmanager
def _progress(notes: Console, name: str) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(name, markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as bar:
        step = bar.add_task("", total=None)

        def advance(done: int, count: int, seconds: float | None) -> None:
            bar.update(step, completed=done, total=count)

        yield advance


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(reference_command)
