"""Random inputs for parity checks, with the structure of images, masks and texts.

White noise would hide errors: convolutions average it out, and masks made of it have no inside. These inputs
are sums of noise at several scales, similar to photos.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_SCALES = (32, 8, 2)  # pixels per grain of noise


def fields(batch: int, channels: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Make smooth random fields (batch, channels, height, width), float32, with mean ~0 and variance ~1."""
    total = torch.zeros(batch, channels, height, width)
    for scale in _SCALES:
        grains = torch.randn(batch, channels, -(-height // scale), -(-width // scale), generator=generator)
        total += F.interpolate(grains, size=(height, width), mode="bilinear")
    return total / total.std()


def images(batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Make RGB images (batch, 3, height, width), float32 in [0, 1]. Some places are clipped at 0 or at 1."""
    return (0.5 + 0.3 * fields(batch, 3, height, width, generator)).clamp(0, 1)


def mask_logits(queries: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Make mask logits (1, queries, height, width), float32, of both signs.

    The first query has an empty mask, and the second has a full one. Both occur in practice, and both are
    special cases for every pooling.
    """
    logits = 4 * fields(1, queries, height, width, generator)
    logits[:, 0] = -logits[:, 0].abs() - 1
    logits[:, 1 % queries] = logits[:, 1 % queries].abs() + 1
    return logits


def tokens(texts: int, length: int, vocab_size: int, generator: torch.Generator) -> Tensor:
    """Make token rows (texts, length), int64: start, one to `length - 2` words, end, zeros.

    The last two tokens of CLIP's vocabulary are start and end.
    """
    rows = torch.zeros(texts, length, dtype=torch.int64)
    for row in rows:
        words = int(torch.randint(1, length - 1, (), generator=generator))
        row[1 : 1 + words] = torch.randint(vocab_size - 2, (words,), generator=generator)
        row[0], row[1 + words] = vocab_size - 2, vocab_size - 1
    return rows
