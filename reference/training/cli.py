"""`odise-trt train`, also as `python -m reference.train`: on one process, or on those of `torchrun`.

`docs/training.md` is the page for users.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from odise_trt.cli import console
from odise_trt.cli.completion import devices_like
from odise_trt.errors import OdiseError
from reference.completion import presets_like
from reference.datasets.completion import datasets_like

if TYPE_CHECKING:
    from reference.datasets.images import ImageDataset
    from reference.preset import Preset
    from reference.training.config import TrainConfig
    from reference.training.start import Start


class Autocast(StrEnum):
    """Choices of --autocast."""

    none = "none"
    bf16 = "bf16"
    fp16 = "fp16"


def _path(text: str) -> Path:
    if not text:
        raise typer.BadParameter("it is empty, as a variable that is not set would leave it")
    return Path(text)


def _text(text: str | None) -> str | None:
    if text == "":
        raise typer.BadParameter("it is empty, as a variable that is not set would leave it")
    return text


#: Options that say something about the parameters of a model.
_OF_PARAMETERS = frozenset({"preset", "captioner", "timesteps", "features", "show_parameters"})


def train(
    context: typer.Context,
    preset: Annotated[
        str, typer.Option(help="odise-label, odise-caption or demo.", autocompletion=presets_like)
    ] = "odise-label",
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Kind of data set; `odise-trt data list` lists them.", autocompletion=datasets_like
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set.", parser=_path, metavar="PATH")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
    frozen: Annotated[
        str | None,
        typer.Option(
            help="Train from scratch: where UNet, VAE and CLIP come from; safetensors, or demo.",
            callback=_text,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Go on from these weights: safetensors, official, or demo. With --frozen, only the rest.",
            callback=_text,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(help="Folder for checkpoints, log and the trained model.", parser=_path, metavar="PATH"),
    ] = Path("training"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Take up the newest checkpoint of --output.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; 90,000 in the paper.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images per step; 64 in the paper.")] = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="Do a step in this many parts, to need less memory.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of AdamW; 1e-4 in the paper.")] = None,
    image_size: Annotated[
        int | None, typer.Option(min=64, help="Side of training images. Default: the preset's.")
    ] = None,
    points: Annotated[int | None, typer.Option(min=1, help="Points per mask in the losses; 12,544.")] = None,
    autocast: Annotated[Autocast | None, typer.Option(help="Half precision where it is safe.")] = None,
    checkpointing: Annotated[
        bool, typer.Option(help="Recompute activations in the backward pass: less memory, more time.")
    ] = True,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda or cuda:1; a GPU if there is one.", autocompletion=devices_like),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read images.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything that is random.")] = None,
    log_steps: Annotated[int | None, typer.Option(min=1, help="Steps between two lines of the log.")] = None,
    checkpoint_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps between two checkpoints; 0: by time alone.")
    ] = None,
    checkpoint_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Longest time between two checkpoints; 10; 0: by steps alone."),
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Checkpoints to keep.")] = None,
    skip_bad_images: Annotated[
        bool,
        typer.Option("--skip-bad-images", help="Leave out pictures that cannot be read, and name them."),
    ] = False,
    captioner: Annotated[
        str, typer.Option(help="Ablation: implicit, empty, or given (the captions of the data set).")
    ] = "implicit",
    timesteps: Annotated[
        str, typer.Option(help='Ablation: diffusion steps, "0+100+200" or "learnable".')
    ] = "0",
    features: Annotated[str, typer.Option(help="Ablation: diffusion or clip.")] = "diffusion",
    show_parameters: Annotated[
        bool, typer.Option("--show-parameters", help="Print what is trained and what is frozen, and stop.")
    ] = False,
) -> None:
    """Train ODISE with the paper's recipe; the default of every number is the paper's."""
    # Imported first: it needs the extra, and the error boundary names the extra where it is missing.
    from reference import checkpoint  # noqa: F401
    from reference.ablation import Ablation
    from reference.preset import find_preset

    chosen = find_preset(preset)
    ablation = Ablation.parse(captioner=captioner, timesteps=timesteps, features=features)
    if show_parameters:
        _refuse_training_options(context)
        _show_parameters(chosen.with_ablation(ablation))
        return
    if dataset is None or data is None:
        raise OdiseError("there is nothing to train on", "give --dataset KIND and --data PATH")
    if frozen is None and weights is None:
        raise OdiseError("there are no weights to begin with", "give --frozen or --weights")
    from reference.datasets import open_dataset
    from reference.training.start import Start

    given = {
        "batch": batch,
        "accumulate": accumulate,
        "learning_rate": learning_rate,
        "autocast": None if autocast is None else autocast.value,
        "workers": workers,
        "seed": seed,
        "log_steps": log_steps,
        "checkpoint_steps": checkpoint_steps,
        "checkpoint_minutes": checkpoint_minutes,
        "keep": keep,
    }
    config = _config(image_size or chosen.short_side, steps, given, points, checkpointing, skip_bad_images)
    start = Start(chosen, ablation, frozen, weights)
    stopped = _train(start, open_dataset(dataset, data, split), output, resume, config, device)
    if stopped:
        raise typer.Exit(128 + stopped)


def _config(
    image_size: int,
    steps: int | None,
    given: Mapping[str, Any],
    points: int | None,
    checkpointing: bool,
    skip_bad_images: bool,
) -> TrainConfig:
    """The paper's recipe, with what is given in place of its numbers.

    Args:
        given: fields of `TrainConfig`; None: as in the paper.
    """
    from reference.training.config import TrainConfig

    config = TrainConfig(image_size=image_size, workers=min(4, os.cpu_count() or 1))
    config = config if steps is None else config.of_length(steps)
    config = replace(config, **{name: value for name, value in given.items() if value is not None})
    losses = replace(config.losses, checkpointing=checkpointing)
    losses = losses if points is None else replace(losses, num_points=points)
    return replace(config, losses=losses, skip_bad_images=skip_bad_images)


def _train(
    start: Start, dataset: ImageDataset, output: Path, resume: bool, config: TrainConfig, device: str | None
) -> int:
    from reference.training.distributed import processes
    from reference.training.param_groups import parameter_table, rendered
    from reference.training.recipe import MODEL
    from reference.training.trainer import Trainer

    notes = console.errors()
    with processes(device) as group:
        model = start.model(dataset, config.seed)
        if group.first:
            notes.print(rendered(parameter_table(model), start.preset.name))
        facts = {**start.facts(), "split": dataset.split}
        trainer = Trainer(model, dataset, config, output, group, console=notes, facts=facts)
        if resume:
            step = trainer.resume()
            if group.first:
                console.plain(notes, f"taken up after step {step}")
        stopped = trainer.run()
        if group.first:
            _say_what_next(output / MODEL, start, stopped, trainer.step)
    return stopped


def _refuse_training_options(context: typer.Context) -> None:
    sources = {name: context.get_parameter_source(name) for name in context.params}
    told = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    given = [name for name in told if name not in _OF_PARAMETERS]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise OdiseError(f"--show-parameters trains nothing: {options} has no effect", "leave it out")


def _show_parameters(preset: Preset) -> None:
    import torch

    from reference.model import ODISE
    from reference.training.param_groups import parameter_table, rendered

    with torch.device("meta"):
        model = ODISE(preset)
    console.output().print(rendered(parameter_table(model), preset.name))


def _say_what_next(model: Path, start: Start, stopped: int, step: int) -> None:
    out = console.output()
    if stopped:
        console.plain(out, f"stopped after step {step}; go on with the same command and --resume")
        return
    console.plain(out, f"trained: {model}")
    if start.ablation.is_paper:
        options = ["--preset", start.preset.name, "--weights", str(model)]
        console.plain(out, f"engines of it: {shlex.join(['python', 'export/build_engines.py', *options])}")
