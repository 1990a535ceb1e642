"""What a run has to agree on to be taken up again, and whose an output folder is."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from odise_trt.cli.console import plain
from odise_trt.errors import OutputError, reason
from odise_trt.files.output import prepare_folder
from reference.errors import TrainingError
from reference.training.config import TrainConfig
from reference.training.run_log import LOG

#: The trained model, whole: what the exporter and the evaluation take.
MODEL = "model.safetensors"
CONFIG = "config.json"
CHECKPOINTS = "checkpoints"

#: What may change when a run is taken up again: nothing that the numbers depend on.
_FREE = frozenset(
    {"workers", "log_steps", "checkpoint_steps", "checkpoint_minutes", "keep", "skip_bad_images", "images"}
)
#: What follows from the number of steps, and is no option.
_OF_STEPS = frozenset({"milestones", "warmup_steps"})


def recipe_of(config: TrainConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """The recipe as JSON has it, so that what was read compares equal to what will be written."""
    return json.loads(json.dumps({**dataclasses.asdict(config), **facts}))


def check_same(recipe: dict[str, Any], saved: dict[str, Any], weights: Path) -> None:
    """Whether a checkpoint is of a run with this recipe.

    Args:
        weights: those of the checkpoint, to train from if it is not.

    Raises:
        TrainingError: it is not; the message lists what differs.
    """
    differing = [
        f"{name}: {saved.get(name)} then, {recipe.get(name)} now" for name in _differing(recipe, saved)
    ]
    if differing:
        steps = "the learning rate follows from the number of steps, which cannot change in a run\n  "
        raise TrainingError(
            "the checkpoint is of another run\n  " + "\n  ".join(differing),
            f"{steps if recipe.get('steps') != saved.get('steps') else ''}"
            "go on with the options it was started with; for others, leave out --resume, and train from its"
            f" weights into a new folder: --weights {shlex.quote(str(weights))}, with --frozen",
        )


def changed_images(recipe: dict[str, Any], saved: dict[str, Any]) -> str | None:
    """What to say if the data set of a run has changed since its checkpoint."""
    then, now = saved.get("images"), recipe.get("images")
    if then is None or then == now:
        return None
    return f"the data set had {then} images, it has {now} now: the run goes on with these, in a new order"


def _differing(recipe: dict[str, Any], saved: dict[str, Any]) -> list[str]:
    names = [name for name in sorted(recipe.keys() | saved.keys()) if recipe.get(name) != saved.get(name)]
    implied = _OF_STEPS if "steps" in names else frozenset()
    return [name for name in names if name not in _FREE | implied]


def prepare_output(output: Path) -> Path:
    """Make an output folder ready; returns it.

    Raises:
        OutputError: it or what will be written there cannot be written.
    """
    prepare_folder(output)
    prepare_folder(output / CHECKPOINTS)
    for name in (MODEL, CONFIG, LOG):
        if (output / name).is_dir():
            raise OutputError(f"{output / name} is a folder", "give another folder with --output")
    return output


def check_free(output: Path) -> None:
    """Whether a new run may write into a folder: nothing of others is replaced, nor a trained model.

    Raises:
        OutputError: there are files that a new run would replace.
    """
    ours = _is_recipe(output / CONFIG)
    names = (MODEL,) if ours else (MODEL, CONFIG, LOG)
    there = [name for name in names if (output / name).exists()]
    if there:
        whose = "the model of another run" if ours else f"{', '.join(there)} of something else"
        raise OutputError(f"{output} has {whose}", "give another folder with --output")


def check_room(output: Path, model: nn.Module, keep: int, console: Console) -> None:
    """Whether there is room for a checkpoint; warns where there is none for all that a run writes.

    Raises:
        OutputError: not even one checkpoint fits.
    """
    sizes = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    # Weights and two moments of AdamW.
    one = 3 * sum(sizes[id(p)] for p in model.parameters() if p.requires_grad)
    every = keep * one + sum(sizes.values())
    disk = shutil.disk_usage(output)
    # A total of 0 is a file system that does not tell.
    if disk.total and disk.free < one:
        raise OutputError(
            f"{output} has room for {disk.free / 1e6:.1f} MB, a checkpoint takes {one / 1e6:.1f} MB",
            "make room, or give another folder with --output",
        )
    if disk.total and disk.free < every:
        text = f"{output} has room for {disk.free / 1e6:.0f} MB, the run will write {every / 1e6:.0f} MB"
        plain(console, text, "yellow")


def _is_recipe(path: Path) -> bool:
    """Whether a run wrote this file; one that ended before its first checkpoint leaves it, too."""
    try:
        recipe = json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {reason(error)}", "give another folder") from error
    except (ValueError, RecursionError):
        return False
    return isinstance(recipe, dict) and recipe.keys() >= {"preset", "labels", "warmup_factor"}
