"""`python -m reference.train`: train ODISE, on one process or on those of `torchrun`.

`docs/training.md` is the page for users.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from odise_trt.cli import boundary, console
from odise_trt.errors import OdiseError

if TYPE_CHECKING:
    from reference.ablation import Ablation
    from reference.datasets.example import Dataset
    from reference.datasets.images import ImageDataset
    from reference.model import ODISE
    from reference.preset import Preset
    from reference.training.config import TrainConfig


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

app = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def train(
    context: typer.Context,
    preset: Annotated[str, typer.Option(help="odise-label, odise-caption or demo.")] = "odise-label",
    dataset: Annotated[
        str | None, typer.Option(help="Kind of data set; python -m reference.datasets lists them.")
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
            help="Go on from these weights: safetensors, or demo. With --frozen, only the rest.",
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
        int | None, typer.Option(min=64, help="Side of training images; the preset's, if left out.")
    ] = None,
    points: Annotated[int | None, typer.Option(min=1, help="Points per mask in the losses; 12,544.")] = None,
    autocast: Annotated[Autocast | None, typer.Option(help="Half precision where it is safe.")] = None,
    checkpointing: Annotated[
        bool, typer.Option(help="Recompute activations in the backward pass: less memory, more time.")
    ] = True,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; a GPU if there is one.")] = None,
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
        str, typer.Option(help="Ablation: implicit, empty, or given: told the captions.")
    ] = "implicit",
    timesteps: Annotated[
        str, typer.Option(help='Ablation: diffusion steps, "0+100+200" or "learnable".')
    ] = "0",
    features: Annotated[str, typer.Option(help="Ablation: diffusion or clip.")] = "diffusion",
    show_parameters: Annotated[
        bool, typer.Option("--show-parameters", help="Print what is trained and what is frozen, and stop.")
    ] = False,
) -> None:
    """Train ODISE with the paper's recipe; every number left out is the paper's."""
    from reference.ablation import Ablation
    from reference.checkpoint import find_preset

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
    from reference.training.config import TrainConfig

    config = TrainConfig(image_size=image_size or chosen.short_side, workers=min(4, os.cpu_count() or 1))
    config = config if steps is None else config.of_length(steps)
    given: dict[str, Any] = {
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
    config = replace(config, **{name: value for name, value in given.items() if value is not None})
    losses = replace(config.losses, checkpointing=checkpointing)
    losses = losses if points is None else replace(losses, num_points=points)
    config = replace(config, losses=losses, skip_bad_images=skip_bad_images)
    start = Start(chosen, ablation, frozen, weights)
    stopped = _train(start, open_dataset(dataset, data, split), output, resume, config, device)
    if stopped:
        raise typer.Exit(128 + stopped)


@dataclass(frozen=True)
class Start:
    """What a model is before its first step.

    Attributes:
        preset: its sizes.
        ablation: what differs from the paper's model.
        frozen: where the frozen part comes from; the rest is initialised.
        weights: where all of it comes from, or with `frozen` the rest; of the paper's model.
    """

    preset: Preset
    ablation: Ablation
    frozen: str | None = None
    weights: str | None = None

    def model(self, dataset: Dataset, seed: int) -> ODISE:
        """The model, for the categories of a data set.

        Raises:
            WeightsError: the weights cannot be read or do not fit.
        """
        import torch

        from reference.checkpoint import load_frozen, load_weights
        from reference.model.ablations.ablate import ablate
        from reference.training.initialise import initialise
        from reference.training.labels import labels_of, use_labels

        torch.manual_seed(seed)  # parts that only an ablated model has
        if self.weights is not None:
            model = load_weights(self.preset, self.weights, frozen=self.frozen)
        elif self.frozen is not None:
            model = load_frozen(self.preset, self.frozen)
        else:
            raise OdiseError("there are no weights to begin with", "give --frozen or --weights")
        if not self.ablation.is_paper:
            model = ablate(model, self.ablation)
        use_labels(model, labels_of(dataset))
        if self.weights is None:
            initialise(model, seed)
        return model

    def facts(self) -> dict[str, str]:
        """What a run has to agree on to be taken up again."""
        from reference.checkpoint import describe_weights

        sources = {"frozen": self.frozen, "weights": self.weights}
        digests = {
            name: describe_weights(self.preset, source)["sha256"]
            for name, source in sources.items()
            if source is not None
        }
        return {"ablation": self.ablation.summary(), **digests}


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


def main() -> None:
    """Entry point."""
    boundary.run(lambda: app(prog_name="python -m reference.train"))


if __name__ == "__main__":
    main()
