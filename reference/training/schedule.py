"""The learning rate over a run."""

from __future__ import annotations

from reference.training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate after `step` finished steps: warm-up, then a fall at every milestone."""
    falls = sum(step >= milestone for milestone in config.milestones)
    rate = config.learning_rate * config.gamma**falls
    if step < config.warmup_steps:
        progress = step / config.warmup_steps
        rate *= config.warmup_factor + (1 - config.warmup_factor) * progress
    return rate
