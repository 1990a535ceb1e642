"""What one training step is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Target:
    """The truth of one image of a batch.

    Attributes:
        masks: bool (N, H, W), the segments, at the size of the batch's images before padding.
        classes: int64 (N,), indices into the training labels; ignored by caption supervision.
        words: nouns and noun phrases of the image's caption, for caption supervision; () otherwise.
        caption: a sentence about the image, for models that are told one; "" otherwise.
    """

    masks: Tensor
    classes: Tensor
    words: tuple[str, ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Batch:
    """Images with their truth.

    Attributes:
        images: uint8 (B, 3, H, W), RGB.
        targets: one per image.
    """

    images: Tensor
    targets: tuple[Target, ...]

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        targets = tuple(
            Target(t.masks.to(device), t.classes.to(device), t.words, t.caption) for t in self.targets
        )
        return Batch(self.images.to(device), targets)
