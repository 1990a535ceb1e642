"""From mask and text embeddings to class probabilities, for any vocabulary (ODISE, sec. 3.4).

`odise_trt.classify` computes the same in numpy. This module is its oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from reference import torchvision_free  # noqa: F401

# isort: split
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Labels = Sequence[Sequence[str]]  # categories, each with its synonyms


@dataclass(frozen=True)
class EncodedTexts:
    """The embeddings of a vocabulary. They are computed once and used for any number of images.

    Attributes:
        labels: the categories with their synonyms. A row of the tables below is one synonym, in order.
        names_embed: (K', E), CLIP embeddings of the texts for the head (`preset.category_prompt`).
        text_embed: (K', D), their projection.
        clip_text_embed: (K', E), CLIP embeddings of the texts for CLIP (`preset.clip_prompt`).
    """

    labels: tuple[tuple[str, ...], ...]
    names_embed: Tensor
    text_embed: Tensor
    clip_text_embed: Tensor


@dataclass(frozen=True)
class Classification:
    """The classification of the masks of one image, with its intermediate results.

    Attributes:
        category_logits: (B, Q, K), of the head; label models append the logit of "none": (B, Q, K+1).
        open_patches: (B, Q, N), the patches each mask attends to, see `ClipPool`.
        clip_mask_embed: (B, Q, E).
        clip_logits: (B, Q, K), of CLIP.
        fused: (B, Q, K), both classifiers combined, unnormalised log-probabilities.
        mask_cls: (B, Q, K+1), log-probabilities, "no object" last.
    """

    category_logits: Tensor
    open_patches: Tensor
    clip_mask_embed: Tensor
    clip_logits: Tensor
    fused: Tensor
    mask_cls: Tensor


class CategoryHead(nn.Module):
    """Text head of label models: a projection, and a learned embedding of "none of the categories"."""

    def __init__(self, clip_dim: int, mask_dim: int) -> None:
        super().__init__()
        self.null_embed = nn.Parameter(torch.zeros(1, clip_dim))
        self.text_proj = nn.Linear(clip_dim, mask_dim)

    def null(self) -> Tensor:
        """Return the projected embedding of "none", (1, D)."""
        return self.text_proj(self.null_embed)


class WordHead(nn.Module):
    """Text head of caption models: a projection."""

    def __init__(self, clip_dim: int, mask_dim: int) -> None:
        super().__init__()
        self.text_proj = nn.Linear(clip_dim, mask_dim)


def prompted(labels: Labels, template: str | None) -> list[str]:
    """List every synonym of every category in order, in the template ("a photo of a {}.") if given."""
    names = [name for synonyms in labels for name in synonyms]
    return names if template is None else [template.format(name) for name in names]


def tokenize(names: Sequence[str], length: int) -> Tensor:
    """Tokenize for CLIP, padded with zeros or truncated to `length`: int64 (N, length)."""
    return _tokenizer()(list(names), length)


@cache
def _tokenizer() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()


def similarity(embed: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Scaled cosine of every mask with every text: (B, Q, D), (K', D), () -> (B, Q, K')."""
    return scale * (F.normalize(embed, dim=-1) @ F.normalize(text, dim=-1).mT)


def best_synonym(logits: Tensor, labels: Labels) -> Tensor:
    """Give every category the logit of its best synonym: (B, Q, K') -> (B, Q, K)."""
    parts = logits.split([len(synonyms) for synonyms in labels], dim=-1)
    return torch.stack([part.amax(-1) for part in parts], dim=-1)


def fuse(category_logits: Tensor, clip_logits: Tensor, seen: Tensor, alpha: float, beta: float) -> Tensor:
    """Combine both classifiers by a geometric mean; CLIP weighs `alpha` for seen categories, else `beta`.

    All steps are in logarithms. The official code takes the logarithm of a product of powers, which is NaN if
    a probability underflows to zero. Here the result is the correct finite number.

    Args:
        category_logits, clip_logits: (B, Q, K).
        seen: bool (K,), the categories seen in training.
        alpha, beta: weights of CLIP in [0, 1].

    Returns:
        Unnormalised log-probabilities (B, Q, K).
    """
    weight = torch.where(seen, alpha, beta).to(category_logits)
    return (1 - weight) * category_logits.log_softmax(-1) + weight * clip_logits.log_softmax(-1)


def with_void(fused: Tensor, void: Tensor) -> Tensor:
    """Append "no object" to the class log-probabilities.

    Args:
        fused: (B, Q, K), from `fuse`.
        void: (B, Q, 1), probability that a query is no object.

    Returns:
        (B, Q, K+1). The official model adds 1e-8 too; post-processing takes the softmax of this.
    """
    return torch.log(torch.cat([fused.softmax(-1) * (1 - void), void], dim=-1) + 1e-8)
