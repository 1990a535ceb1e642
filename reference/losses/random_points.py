"""Where the losses' randomness comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Draws(Protocol):
    """Random numbers in the order the losses ask for them.

    The order: the words of every image; then for every prediction, the last one first, the matching
    points of every image, the candidates of the loss and its uniform points.
    """

    def uniform(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Float32 numbers in [0, 1)."""
        ...

    def words(self, words: Sequence[str], count: int) -> tuple[str, ...]:
        """`count` of the words, with replacement; there is at least one."""
        ...


@dataclass(frozen=True)
class RandomDraws:
    """Draws from a generator; from the global one of the device where it is None."""

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
