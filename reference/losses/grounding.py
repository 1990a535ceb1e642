"""The grounding loss of caption supervision: the masks of an image match the words of its caption."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reference.losses.gather import gather, mean, rank, world_size


def image_text_similarity(mask_embed: Tensor, word_embed: Tensor, scale: Tensor) -> Tensor:
    """Score every pair of image and caption (ODISE, eq. 7).

    S = scale * cos(mask, word). The score of a word is the mean of S over the queries, weighted by the
    softmax of S over the queries. The score of a caption is the mean over its words:
    mean_k sum_q softmax_q(S) S.

    Args:
        mask_embed: (L, B, Q, D), of B images in L predictions.
        word_embed: (C, K, D), of C captions.
        scale: (), the temperature of the mask embeddings.

    Returns:
        (L, B, C)
    """
    masks, words = F.normalize(mask_embed, dim=-1), F.normalize(word_embed, dim=-1)
    pairs = scale * torch.einsum("lbqd,ckd->lbqck", masks, words)
    return (pairs.softmax(2) * pairs).sum(2).mean(-1)


def grounding_loss(mask_embed: Tensor, word_embed: Tensor, valid: Tensor, scale: Tensor) -> Tensor:
    """Contrast between images and captions over the batches of all processes (ODISE, eq. 8).

    The loss is the mean of two cross entropies: find the caption of an image among all captions, and the
    image of a caption among all images. An image whose caption has no words is left out of both, but its
    caption remains a negative. The mean of the loss over the processes is the loss of the whole batch.

    Args:
        mask_embed: (L, B, Q, D).
        word_embed: (B, K, D), of the captions of these images.
        valid: bool (B,), whether a caption has words.
        scale: ().

    Returns:
        (L,), one loss per prediction.
    """
    batch = len(word_embed)
    images = gather(mask_embed.transpose(0, 1)).transpose(0, 1)
    captions = gather(word_embed)
    own = torch.arange(batch, device=word_embed.device) + rank() * batch
    weight = valid.to(mask_embed.dtype)

    image_of_caption = _cross_entropy(image_text_similarity(images, word_embed, scale).mT, own)
    caption_of_image = _cross_entropy(image_text_similarity(mask_embed, captions, scale), own)
    # The first is a mean over all images, the second over the images whose captions have words.
    counted = mean(weight.sum()).clamp(min=1 / world_size())
    return 0.5 * ((image_of_caption * weight).mean(1) + (caption_of_image * weight).sum(1) / counted)


def _cross_entropy(similarity: Tensor, answers: Tensor) -> Tensor:
    """(L, B, C) and the index of the right answer, (B,) -> (L, B)."""
    return -similarity.log_softmax(-1).gather(-1, answers.expand(len(similarity), -1)[..., None])[..., 0]
