"""The random numbers of the losses: points and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Draws(Protocol):
    """Random numbers, requested by the losses in a fixed order.

    The order: the words of every image; then for every prediction, the last one first, the matching
    points of every image, the candidates of the loss and its uniform points.
    """

    def uniform(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Draw float32 numbers in [0, 1)."""
        ...

    def words(self, words: Sequence[str], count: int) -> tuple[str, ...]:
        """Draw `count` of the words with replacement. There is at least one word."""
        ...


@dataclass(frozen=True)
class RandomDraws:
    """Draws from a generator, or from the global generator of the device if it is None."""

    generator: torch.Generator | None = None

    def uniform(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """See `Draws`."""
        own = device if self.generator is None else self.generator.device
        return torch.rand(shape, generator=self.generator, device=own).to(device)

    def words(self, words: Sequence[str], count: int) -> tuple[str, ...]:
        """See `Draws`."""
        device = None if self.generator is None else self.generator.device
        picks = torch.randint(len(words), (count,), generator=self.generator, device=device)
        return tuple(words[pick] for pick in picks.tolist())
