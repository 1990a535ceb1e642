"""Train the small CLIP: contrast matching pictures and captions with all others of the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reference.demo.crops import Captioned, close_up, segments_by_category, square
from reference.demo.fit import Schedule, fit
from reference.demo.scene_store import SceneStore
from reference.model.clip import Clip
from reference.model.open_vocabulary import tokenize


def train(clip: Clip, store: SceneStore, schedule: Schedule, checkpoint: Path) -> list[float]:
    """Train CLIP, half on close-ups of one segment and half on larger parts of scenes."""
    side, by_category = clip.preset.image_size, segments_by_category(store)

    def loss(rng: np.random.Generator, _: torch.Generator) -> Tensor:
        samples = [
            close_up(store, by_category, rng, side) if number % 2 else square(store, rng, side, 0.3)
            for number in range(schedule.batch)
        ]
        return contrastive_loss(clip, samples)

    clip.requires_grad_(True)
    losses = fit("CLIP", clip.named_parameters(), loss, schedule, checkpoint)
    clip.requires_grad_(False)
    return losses


def contrastive_loss(clip: Clip, samples: list[Captioned]) -> Tensor:
    """Return CLIP's loss in both directions; all captions of equal contents are positives.

    With CLIP's one positive per picture, close-ups of one category would be negatives of each other. UniCL
    (arXiv 2204.03610, eq. 3) shares the target among equal contents instead.
    """
    device = clip.positional_embedding.device
    images = to_planes(samples).to(device)
    image_embed = F.normalize(clip.embed_image(images), dim=-1)
    tokens = trimmed(tokenize([sample.caption for sample in samples], clip.preset.context_length))
    text_embed = F.normalize(clip.embed_text(tokens.to(device)), dim=-1)
    logits = clip.scale() * image_embed @ text_embed.T
    kinds = {contents: number for number, contents in enumerate({s.contents for s in samples})}
    kind = torch.tensor([kinds[sample.contents] for sample in samples], device=device)
    target = (kind[:, None] == kind[None, :]).float()
    target = target / target.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def to_planes(samples: list[Captioned]) -> Tensor:
    """Stack pictures to float32 (B, 3, side, side), RGB in [0, 1]."""
    stacked = np.stack([sample.image for sample in samples])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255


def trimmed(tokens: Tensor) -> Tensor:
    """Cut off the padding that all texts share. Attention is causal, so the results do not change."""
    longest = int(tokens.argmax(dim=1).max()) + 1
    return tokens[:, :longest]


def text_states(clip: Clip, tokens: Tensor) -> Tensor:
    """Return the last hidden states (N, L, width) of tokens (N, L), which condition a diffusion model."""
    return clip.ln_final(clip.text_states(tokens.to(clip.positional_embedding.device)))
