"""Train the demo models from scratch: frozen models on scenes, then ODISE with labels and with captions."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from odise_trt.files.writing import write_together
from reference.demo import raw_features, scene_store, train_clip, train_head, train_unet, train_vae
from reference.demo.fit import Schedule
from reference.demo.recipe import Recipe
from reference.errors import TrainingError
from reference.model import ODISE
from reference.model.open_vocabulary import tokenize
from reference.preset import DEMO, DEMO_CAPTION
from reference.training.initialise import initialise
from reference.weights.random import fill

SIZE = DEMO.short_side


@dataclass
class Fitted:
    """The losses and times of the parts, for the table at the end and `losses.json`.

    Attributes:
        losses: of every step, by part.
        from_nothing: parts that start from random parameters: their losses must fall.
        seconds: of each part in this run; a part that was finished before takes about none.
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    from_nothing: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, part: Callable[[], list[float]], *, from_nothing: bool = True) -> None:
        """Fit a part and measure its time."""
        if from_nothing:
            self.from_nothing.add(name)
        started = time.perf_counter()
        self.losses[name] = part()
        self.seconds[name] = time.perf_counter() - started

    def check(self) -> None:
        """Raise TrainingError unless the losses of all parts in `from_nothing` fell."""
        for name in self.from_nothing:
            first, last = _ends(self.losses[name])
            if not last < first:
                raise TrainingError(
                    f"the loss of {name} did not fall: {first:.3f} at first, {last:.3f} at last",
                    "look at losses.json; begin again in another folder, for what came after rests on it",
                )

    def table(self) -> Table:
        """Return a table with one row per part."""
        table = Table("part", "steps", "first loss", "last loss", "seconds")
        for name, losses in self.losses.items():
            first, last = _ends(losses)
            table.add_row(name, str(len(losses)), f"{first:.3f}", f"{last:.3f}", f"{self.seconds[name]:.0f}")
        return table


def train(output: Path, recipe: Recipe, console: Console, device: torch.device) -> tuple[ODISE, ODISE]:
    """Train both demo models. Parts that `output` has finished are not trained again.

    Args:
        output: folder of the scenes, features and checkpoints.
        recipe: schedules of the parts.
        console: prints the table at the end.
        device: to train on.

    Returns:
        The label model and the caption model. Their frozen parts are equal.

    Raises:
        TrainingError: a loss did not fall.
    """
    torch.manual_seed(0)
    fitted = Fitted()
    label = ODISE(DEMO).to(device)
    train_frozen(label, output, recipe, fitted)
    scenes = scene_store.draw(output / "scenes", 0, recipe.mask_scenes, SIZE, without=(scene_store.NOVEL,))
    features = raw_features.compute(label, scenes.images, output / "features")

    initialise(label, 0)
    schedules = recipe.head, recipe.together
    _train_odise(label, "labels", scenes, features, schedules, output, fitted)

    caption = ODISE(DEMO_CAPTION).to(device)
    copy_frozen(label, caption)
    initialise(caption, 0)
    schedules = recipe.caption_head, recipe.caption_together
    _train_odise(caption, "captions", scenes, features, schedules, output, fitted)

    console.print(fitted.table())
    write_together(output, {"losses.json": json.dumps(fitted.losses).encode()})
    fitted.check()
    return label.eval(), caption.eval()


def train_frozen(model: ODISE, output: Path, recipe: Recipe, fitted: Fitted) -> None:
    """Train the models that ODISE freezes: CLIP, the autoencoder, then the UNet on CLIP's text states."""
    scenes = scene_store.draw(output / "scenes", 0, recipe.frozen_scenes, SIZE)
    diffusion, window = model.backbone.diffusion, model.preset.window
    fitted.run("CLIP", lambda: train_clip.train(model.clip, scenes, recipe.clip, output / "clip.pt"))
    fitted.run(
        "autoencoder",
        lambda: train_vae.train(
            diffusion.vae, scenes, window // 2, recipe.autoencoder, output / "autoencoder.pt"
        ),
    )
    train_vae.normalise_latents(diffusion.vae, scenes, window, diffusion.scale_factor)
    fitted.run(
        "UNet",
        lambda: train_unet.train(diffusion, model.clip, scenes, window, recipe.unet, output / "unet.pt"),
    )
    set_constants(model)


@torch.no_grad()
def set_constants(model: ODISE) -> None:
    """Set the embedding of the empty caption and the noise that is added to every window."""
    empty = tokenize([""], model.preset.clip.context_length)
    model.captioner.uncond_inputs.copy_(train_clip.text_states(model.clip, empty))
    # The noise has the seed of the official model; `fill` draws it on the CPU.
    shared_noise = model.backbone.diffusion.shared_noise
    drawn = torch.empty(shared_noise.shape)
    fill("shared_noise", drawn, seed=0)
    shared_noise.copy_(drawn)


@torch.no_grad()
def copy_frozen(source: ODISE, target: ODISE) -> None:
    """Copy CLIP, the diffusion model and their constants into another model."""
    target.clip.load_state_dict(source.clip.state_dict())
    target.backbone.diffusion.load_state_dict(source.backbone.diffusion.state_dict())
    target.captioner.uncond_inputs.copy_(source.captioner.uncond_inputs)


def _train_odise(
    model: ODISE,
    supervision: str,
    scenes: scene_store.SceneStore,
    features: raw_features.RawFeatures,
    schedules: Sequence[Schedule],
    output: Path,
    fitted: Fitted,
) -> None:
    alone, together = schedules
    kept = output / f"{supervision}-head.pt", output / f"{supervision}-together.pt"
    fitted.run(
        f"mask head, {supervision}",
        lambda: train_head.train_on_features(model, scenes, features, alone, kept[0]),
    )
    fitted.run(
        f"with captioner, {supervision}",
        lambda: train_head.train_end_to_end(model, scenes, together, kept[1]),
        from_nothing=False,
    )


def _ends(losses: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first five and of the last five losses."""
    return statistics.median(losses[:5]), statistics.median(losses[-5:])
