"""The recipe of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from reference.errors import TrainingError
from reference.losses import LossConfig

#: The type of matrix products and convolutions. "none": float32 everywhere.
Autocast = Literal["none", "bf16", "fp16"]


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of the paper (ODISE, sec. 4.1). Numbers that the paper omits are those of the official code.

    Attributes:
        steps: of the optimizer.
        batch: images per step, over all processes.
        accumulate: number of parts into which a process splits its images of a step, to save memory.
        learning_rate, weight_decay: of AdamW. Normalisations and parameters named "bias" have no decay.
            All others have it, embeddings too (official code).
        milestones: steps before which the learning rate is multiplied by `gamma`.
        warmup_steps, warmup_factor: the learning rate starts at `warmup_factor` times its value and grows
            linearly. The official code warms up for 500 / 184,375 of a run.
        clip_norm: largest norm of the gradient of all trainable parameters together.
        image_size: side of the square training images, pixels.
        scales: smallest and largest scale of large scale jittering, see `reference.training.augmentation`.
        autocast: see `Autocast`; "fp16" scales the loss.
        losses: weights of the losses, numbers of points, and whether the backward pass recomputes
            activations.
        seed: of the initialisation, the order of the images, their augmentation and the sampled points.
        workers: processes per trainer that read images. 0: the trainer reads them itself.
        log_steps: steps between two lines of the log.
        checkpoint_steps: steps between two checkpoints. 0: by time only.
        checkpoint_minutes: longest time between two checkpoints. 0: by steps only.
        keep: number of checkpoints to keep: that many of the newest, and that many of those at multiples of
            `checkpoint_steps`.
        skip_bad_images: skip images that cannot be read. Otherwise they end the run.

    Raises:
        TrainingError: a number is out of range.
    """

    steps: int = 90_000
    batch: int = 64
    accumulate: int = 1
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    milestones: tuple[int, ...] = (81_000, 86_000)
    gamma: float = 0.1
    warmup_steps: int = 250
    warmup_factor: float = 0.067
    clip_norm: float = 0.01
    image_size: int = 1024
    scales: tuple[float, float] = (0.1, 2.0)
    autocast: Autocast = "none"
    losses: LossConfig = field(default_factory=LossConfig)
    seed: int = 42
    workers: int = 4
    log_steps: int = 20
    checkpoint_steps: int = 4500
    checkpoint_minutes: float = 10.0
    keep: int = 2
    skip_bad_images: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "image_size", "log_steps", "keep"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}", "give 1 or more")
        for name in ("learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise TrainingError(f"{name} is {getattr(self, name)}", "give a number above 0")
        for name in ("weight_decay", "warmup_steps", "workers", "checkpoint_steps", "seed"):
            if getattr(self, name) < 0:
                raise TrainingError(f"{name} is {getattr(self, name)}", "give 0 or more")
        if not 0 <= self.checkpoint_minutes < math.inf:
            raise TrainingError(f"checkpoint_minutes is {self.checkpoint_minutes}", "give 0 or more")
        if not 0 < self.scales[0] <= self.scales[1] < math.inf:
            raise TrainingError(f"scales are {self.scales}", "give two above 0, the smaller first")

    def of_length(self, steps: int) -> TrainConfig:
        """Return the same recipe for another number of steps. Milestones keep their share of the steps.

        The warm-up keeps its length, but takes at most a tenth of the run.
        """
        milestones = tuple(round(milestone * steps / self.steps) for milestone in self.milestones)
        warmup = min(self.warmup_steps, steps // 10)
        return replace(self, steps=steps, milestones=milestones, warmup_steps=warmup)
