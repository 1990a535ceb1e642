"""CLIP embeddings of texts. CLIP is frozen, so they are computed once and cached."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from reference.model.clip import Clip
from reference.model.open_vocabulary import tokenize
from reference.model.precision import at_least_float32

#: Texts encoded at a time.
BATCH = 256
#: Texts kept per CLIP: 50 MB at 768 floats each. It holds the labels of a data set and its frequent words.
CAPACITY = 16_384


class TextCache:
    """Caches the text embeddings of one CLIP; the oldest are dropped first.

    The cache is emptied when the weights of the CLIP are replaced or moved to another device.
    """

    def __init__(self) -> None:
        self._version: tuple[object, ...] | None = None
        self._embeddings: dict[str, Tensor] = {}

    @torch.no_grad()
    def embed(self, clip: Clip, texts: Sequence[str]) -> Tensor:
        """Embed N texts: `clip_text_embed` (N, E), at least float32, not normalised."""
        self._check_version(clip)
        missing = [text for text in dict.fromkeys(texts) if text not in self._embeddings]
        found = {text: self._embeddings[text] for text in texts if text in self._embeddings}
        device = clip.positional_embedding.device
        with torch.autocast(device.type, enabled=False):
            for start in range(0, len(missing), BATCH):
                part = missing[start : start + BATCH]
                tokens = tokenize(part, clip.preset.context_length).to(device)
                found |= zip(part, at_least_float32(clip.embed_text(tokens)), strict=True)
        self._embeddings |= {text: found[text] for text in missing}
        while len(self._embeddings) > CAPACITY:
            del self._embeddings[next(iter(self._embeddings))]
        return torch.stack([found[text] for text in texts])

    def _check_version(self, clip: Clip) -> None:
        weight = clip.text_projection
        version = (weight.data_ptr(), weight._version, weight.device)
        if version != self._version:
            self._version = version
            self._embeddings.clear()


_caches: WeakKeyDictionary[Clip, TextCache] = WeakKeyDictionary()


def embed_texts(clip: Clip, texts: Sequence[str]) -> Tensor:
    """Embed texts with the cache of `clip`, see `TextCache.embed`."""
    return _caches.setdefault(clip, TextCache()).embed(clip, texts)
