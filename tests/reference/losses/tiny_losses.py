"""A model small enough for a training step in a fraction of a second, and a batch for it."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import torch

from reference.checkpoint import load_weights
from reference.losses import Batch, LossConfig, Target
from reference.model import ODISE
from tests.tiny_preset import TINY

CONFIG = LossConfig(num_points=64, checkpointing=False)


def tiny_model(kind: str) -> ODISE:
    """A fresh copy with random weights."""
    return copy.deepcopy(_tiny_model(kind))


@cache
def _tiny_model(kind: str) -> ODISE:
    preset = replace(
        TINY,
        name=f"tiny-losses-{kind}",
        kind=kind,
        head=replace(TINY.head, dec_layers=2, num_queries=6),
        window=128,
        category_prompt="a photo of a {}." if kind == "caption" else None,
        train_labels=(("person", "people"), ("car",), ("sky",)),
    )
    return load_weights(preset, "random:0")


def batch(*segments: int, words: tuple[str, ...] = ("red car", "sky"), size: int = 64) -> Batch:
    """One image per number of segments, noise with rectangles."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (len(segments), 3, size, size), generator=generator, dtype=torch.uint8)
    targets = []
    for count in segments:
        masks = torch.zeros(count, size, size, dtype=torch.bool)
        for index, mask in enumerate(masks):
            mask[10 * index : 10 * index + 20, 5 : 40 + index] = True
        targets.append(Target(masks, torch.arange(count) % 3, words))
    return Batch(images, tuple(targets))
