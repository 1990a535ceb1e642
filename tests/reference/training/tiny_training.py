"""A model so small that a step takes a fraction of a second.

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

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from reference.checkpoint import load_weights
from reference.losses import training_losses
from reference.model import ODISE
from reference.preset import Preset
from reference.training.distributed import processes
from reference.training.initialise import initialise
from reference.training.labels import labels_of, use_labels
from reference.training.trainer import Trainer
from tests.reference.training.squares import CONFIG, Squares
from tests.tiny_preset import TINY


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
