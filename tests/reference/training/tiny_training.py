"""A model and a data set so small that a step takes a fraction of a second.

Run as a program it trains them: what the tests start, kill and take up again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from odise_trt.errors import ImageError
from odise_trt.vocabulary import Vocabulary
from reference.checkpoint import load_weights
from reference.datasets.example import Example, PanopticSegment
from reference.losses import LossConfig, training_losses
from reference.model import ODISE
from reference.preset import Preset
from reference.training.config import TrainConfig
from reference.training.distributed import processes
from reference.training.initialise import initialise
from reference.training.labels import labels_of, use_labels
from reference.training.trainer import Trainer
from tests.tiny_preset import TINY

CONFIG = TrainConfig(
    steps=6,
    batch=2,
    milestones=(4,),
    warmup_steps=2,
    image_size=64,
    scales=(0.5, 1.5),
    losses=LossConfig(num_points=64, checkpointing=False),
    workers=0,
    log_steps=1,
    checkpoint_steps=0,
)


class Squares:
    """Coloured squares on a ground, each with a caption; three segments in every image."""

    name = "squares"
    vocabulary = Vocabulary.parse("square, box; disc; ground")

    def __init__(self, bad: int | None = None) -> None:
        self._bad = bad

    def __len__(self) -> int:
        return 5

    def image_id(self, index: int) -> int:
        return index

    def __getitem__(self, index: int) -> Example:
        if index == self._bad:
            raise ImageError(f"{index}.png is damaged", "a truncated download?")
        random = np.random.default_rng(index)
        image = np.full((64, 64, 3), 90, np.uint8)
        panoptic = np.full((64, 64), 3, np.int32)
        for number, colour in ((1, (250, 30, 30)), (2, (20, 60, 250))):
            top, left = random.integers(2, 24), random.integers(2, 8) + 30 * (number - 1)
            image[top : top + 22, left : left + 22] = colour
            panoptic[top : top + 22, left : left + 22] = number
        segments = tuple(PanopticSegment(number, number - 1) for number in (1, 2, 3))
        return Example(index, image, panoptic, segments, captions=("a red square and a blue disc",))


def tiny_model(preset: Preset = TINY, seed: int = 0) -> ODISE:
    """The tiny model before its first step on `Squares`."""
    model = load_weights(preset, "random:1")
    use_labels(model, labels_of(Squares()))
    initialise(model, seed)
    return model


class SameDraws:
    """Random points that are the same for every mask, so that they do not depend on how a batch is cut up."""

    def uniform(self, shape, device):
        row = torch.rand(shape[1:], generator=torch.Generator().manual_seed(shape[1]))
        return row.expand(shape).to(device)

    def words(self, words, count):
        return tuple(words[:1]) * count


def same_draws_losses(model, batch, *, generator, config):
    """`training_losses` whose randomness does not depend on the process."""
    return training_losses(model, batch, config=config, draws=SameDraws())


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--steps", type=int, default=CONFIG.steps)
    parser.add_argument("--batch", type=int, default=CONFIG.batch)
    parser.add_argument("--checkpoint-steps", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--die-after", type=int, help="end the hard way after this step")
    parser.add_argument("--stop-after", type=int, help="SIGTERM to the process group in this step")
    parser.add_argument("--bad-image", type=int, help="one that cannot be read")
    parser.add_argument("--skip-bad-images", action="store_true")
    parser.add_argument("--same-draws", action="store_true")
    parser.add_argument("--whole", action="store_true", help="images as they are, three segments in each")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    config = replace(
        CONFIG,
        steps=asked.steps,
        batch=asked.batch,
        checkpoint_steps=asked.checkpoint_steps,
        workers=asked.workers,
        skip_bad_images=asked.skip_bad_images,
        scales=(1.0, 1.0) if asked.whole else CONFIG.scales,
    )
    calls = 0

    def losses(model, batch, *, generator, config):
        nonlocal calls
        calls += 1
        if calls == asked.stop_after:
            # From another process, as a terminal or torchrun does: from its parent a worker would take it.
            subprocess.run(["kill", "-TERM", "--", str(-os.getpgrp())], check=False)
        if asked.die_after is not None and calls > asked.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        chosen = same_draws_losses if asked.same_draws else training_losses
        return chosen(model, batch, generator=generator, config=config)

    with processes("cpu") as group:
        trainer = Trainer(
            tiny_model(),
            Squares(asked.bad_image),
            config,
            asked.output,
            group,
            console=Console(stderr=True),
            losses=losses,
        )
        if asked.resume:
            trainer.resume()
        return trainer.run()


if __name__ == "__main__":
    sys.exit(main())
