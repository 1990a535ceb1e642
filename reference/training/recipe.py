"""The recipe of a run, which resuming must match, and the checks of its output folder."""

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

#: The whole trained model, for the exporter and the evaluation.
MODEL = "model.safetensors"
CONFIG = "config.json"
CHECKPOINTS = "checkpoints"

#: Fields that may change when a run is resumed. No result depends on them.
_FREE = frozenset(
    {"workers", "log_steps", "checkpoint_steps", "checkpoint_minutes", "keep", "skip_bad_images", "images"}
)
#: Fields that follow from the number of steps.
_OF_STEPS = frozenset({"milestones", "warmup_steps"})


def recipe_of(config: TrainConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe in JSON's types, so that it compares equal to one that was read from a file."""
    return json.loads(json.dumps({**dataclasses.asdict(config), **facts}))


def check_same(recipe: dict[str, Any], saved: dict[str, Any], weights: Path) -> None:
    """Raise TrainingError unless a checkpoint was written with this recipe.

    Args:
        weights: file with the weights of the checkpoint; the hint names it.

    Raises:
        TrainingError: the recipes differ. The message lists the differences.
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
    """Return a note if the number of images of the data set has changed since the checkpoint, else None."""
    then, now = saved.get("images"), recipe.get("images")
    if then is None or then == now:
        return None
    return f"the data set had {then} images, it has {now} now: the run goes on with these, in a new order"


def _differing(recipe: dict[str, Any], saved: dict[str, Any]) -> list[str]:
    names = [name for name in sorted(recipe.keys() | saved.keys()) if recipe.get(name) != saved.get(name)]
    implied = _OF_STEPS if "steps" in names else frozenset()
    return [name for name in names if name not in _FREE | implied]


def prepare_output(output: Path) -> Path:
    """Create an output folder and return it.

    Raises:
        OutputError: the folder or a file in it cannot be written.
    """
    prepare_folder(output)
    prepare_folder(output / CHECKPOINTS)
    for name in (MODEL, CONFIG, LOG):
        if (output / name).is_dir():
            raise OutputError(f"{output / name} is a folder", "give another folder with --output")
    return output


def check_free(output: Path) -> None:
    """Raise OutputError if a new run would replace files of another program, or a trained model.

    Raises:
        OutputError: the folder has such files.
    """
    ours = _is_recipe(output / CONFIG)
    names = (MODEL,) if ours else (MODEL, CONFIG, LOG)
    there = [name for name in names if (output / name).exists()]
    if there:
        whose = "the model of another run" if ours else f"{', '.join(there)} of something else"
        raise OutputError(f"{output} has {whose}", "give another folder with --output")


def check_room(output: Path, model: nn.Module, keep: int, console: Console) -> None:
    """Raise OutputError unless the disk has room for a checkpoint. Warn if all files of the run do not fit.

    Raises:
        OutputError: not even one checkpoint fits.
    """
    sizes = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    # Weights and two moments of AdamW.
    one = 3 * sum(sizes[id(p)] for p in model.parameters() if p.requires_grad)
    every = keep * one + sum(sizes.values())
    disk = shutil.disk_usage(output)
    # A file system that does not report its size has a total of 0.
    if disk.total and disk.free < one:
        raise OutputError(
            f"{output} has room for {disk.free / 1e6:.1f} MB, a checkpoint takes {one / 1e6:.1f} MB",
            "make room, or give another folder with --output",
        )
    if disk.total and disk.free < every:
        text = f"{output} has room for {disk.free / 1e6:.0f} MB, the run will write {every / 1e6:.0f} MB"
        plain(console, text, "yellow")


def _is_recipe(path: Path) -> bool:
    """Return whether a run wrote this file, even a run that ended before its first checkpoint."""
    try:
        recipe = json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {reason(error)}", "give another folder") from error
    except (ValueError, RecursionError):
        return False
    return isinstance(recipe, dict) and recipe.keys() >= {"preset", "labels", "warmup_factor"}
