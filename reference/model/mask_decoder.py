"""Mask2Former's masked-attention decoder (arXiv 2112.01527, sec. 3.2) with ODISE's pooled mask embedding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.model.attention import BLOCKED, attention, merge_heads, split_heads
from reference.model.pixel_decoder import PixelDecoderOutput
from reference.model.position import sine_position
from reference.model.precision import at_least_float32, products_as_they_are
from reference.preset import HeadPreset

MAX_LOGIT_SCALE = 100.0


class Prediction(NamedTuple):
    """The prediction of all queries after a decoder layer, or before the first one.

    Attributes:
        pred_masks: (B, Q, H/4, W/4) logits, at least float32.
        mask_embed: (B, Q, D), compared with text embeddings, at least float32.
        pred_logits: (B, Q, 2), object and no object. None for label models, which have a null embedding.
        mask_pooled_features: (B, Q, D), pooled pixels plus query, from which `mask_embed` is made.
    """

    pred_masks: Tensor
    mask_embed: Tensor
    pred_logits: Tensor | None
    mask_pooled_features: Tensor


class MultiheadAttention(nn.Module):
    """Multi-head attention with the parameter names of `torch.nn.MultiheadAttention`."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * dim, dim)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """query (B, L, D), key and value (B, S, D), additive mask (B, L, S) for all heads -> (B, L, D)."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            split_heads(F.linear(x, weight, bias), self.num_heads)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        mixed = attention(q, k, v, None if mask is None else mask[:, None])
        return self.out_proj(merge_heads(mixed))


class CrossAttentionLayer(nn.Module):
    """Every query attends to the pixels of one level that lie in its own mask."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.multihead_attn = MultiheadAttention(dim, num_heads)
        self.norm = nn.LayerNorm(dim)

    def forward(self, query: Tensor, query_embed: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """query (B, Q, D), key and value (B, S, D), mask (B, Q, S) -> (B, Q, D)."""
        return self.norm(query + self.multihead_attn(query + query_embed, key, value, mask))


class SelfAttentionLayer(nn.Module):
    """Queries attend to one another."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(dim, num_heads)
        self.norm = nn.LayerNorm(dim)

    def forward(self, query: Tensor, query_embed: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, D)."""
        placed = query + query_embed
        return self.norm(query + self.self_attn(placed, placed, query))


class FeedForwardLayer(nn.Module):
    """Two linear layers around a ReLU."""

    def __init__(self, dim: int, feedforward: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, feedforward)
        self.linear2 = nn.Linear(feedforward, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, query: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, D)."""
        return self.norm(query + self.linear2(self.linear1(query).relu()))


class ThreeLayers(nn.Module):
    """Perceptron of three linear layers with ReLU between them."""

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        super().__init__()
        sizes = ((dim, hidden), (hidden, hidden), (hidden, out))
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., out)."""
        first, second, third = self.layers
        return third(second(first(x).relu()).relu())


class PooledMaskEmbed(nn.Module):
    """Embedding of a mask: the mean feature of its pixels, plus the query (ODISE, sec. 3.4)."""

    def __init__(self, hidden_dim: int, mask_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.pool_proj = nn.Sequential(nn.LayerNorm(mask_dim), nn.Linear(mask_dim, hidden_dim))
        self.mask_embed = nn.Sequential(
            nn.LayerNorm(hidden_dim), ThreeLayers(hidden_dim, hidden_dim, embed_dim)
        )
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, query: Tensor, pred_masks: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Pool and embed; an empty mask pools to zero.

        Args:
            query: (B, Q, D), normalised.
            pred_masks: (B, Q, h, w) logits; no gradient flows through them.
            mask_features: (B, D, h, w).

        Returns:
            mask_embed and mask_pooled_features, each (B, Q, D); mask_embed is at least float32.
        """
        inside = (pred_masks.detach().sigmoid() > 0.5).to(pred_masks.dtype).flatten(2)
        features = at_least_float32(mask_features).flatten(2).transpose(1, 2)
        with products_as_they_are(features):
            mean = inside @ features / (inside.sum(-1, keepdim=True) + 1e-8)
        pooled = self.pool_proj(mean.to(query.dtype)) + query
        return at_least_float32(self.mask_embed(pooled)), pooled

    def scale(self) -> Tensor:
        """Return the factor of the cosine with a text embedding, a scalar of at most 100, as in CLIP."""
        return at_least_float32(self.logit_scale).exp().clamp(max=MAX_LOGIT_SCALE)


class MaskDecoder(nn.Module):
    """Refines queries level by level. A layer attends inside the masks that the previous layer predicted."""

    def __init__(self, preset: HeadPreset, kind: str) -> None:
        super().__init__()
        dim, heads, layers = preset.hidden_dim, preset.num_heads, preset.dec_layers
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(dim, heads) for _ in range(layers)
        )
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(dim, heads) for _ in range(layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForwardLayer(dim, preset.dec_feedforward) for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(dim)
        self.query_feat = nn.Embedding(preset.num_queries, dim)
        self.query_embed = nn.Embedding(preset.num_queries, dim)
        self.level_embed = nn.Embedding(3, dim)
        self.class_embed = nn.Linear(dim, 2) if kind == "caption" else None
        self.mask_embed = ThreeLayers(dim, dim, preset.mask_dim)
        self.post_mask_embed = PooledMaskEmbed(dim, preset.mask_dim, preset.mask_dim)

    def forward(
        self, pixels: PixelDecoderOutput, aux: bool = False, resize_masks: bool = False
    ) -> list[Prediction]:
        """Decode.

        Args:
            pixels: output of the pixel decoder.
            aux: also predict before the first layer and after every layer but the last.
            resize_masks: how the attention masks of a level are made. True: masks of stride 4 are resized to
                the level. False: the mask features are resized once per level, and masks are made from
                them. Resizing is linear, so both agree up to rounding; False needs 4 to 64 times less work.

        Returns:
            The last prediction alone, or all `dec_layers + 1` of them in order.
        """
        keys, values = self._memories(pixels.levels)
        sizes = [level.shape[-2:] for level in pixels.levels]
        features = at_least_float32(pixels.mask_features)
        resized = None if resize_masks else [_resize(features, size) for size in sizes]

        query = self.query_feat.weight.expand(features.shape[0], -1, -1)
        embed = self.query_embed.weight
        predictions = []
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for index, (cross, own, ffn) in enumerate(layers):
            level = index % 3
            if aux:
                predictions.append(self._predict(query, pixels.mask_features))
            if resized is None:
                masks = _resize(self.mask_logits(query, features), sizes[level])
            else:
                masks = self.mask_logits(query, resized[level])
            query = cross(query, embed, keys[level], values[level], attention_mask(masks).to(query.dtype))
            query = ffn(own(query, embed))
        predictions.append(self._predict(query, pixels.mask_features))
        return predictions

    def mask_logits(self, query: Tensor, features: Tensor) -> Tensor:
        """Mask logits (B, Q, h, w), at least float32, of `query` (B, Q, D) over `features` (B, D, h, w)."""
        embed = at_least_float32(self.mask_embed(self.decoder_norm(query)))
        with products_as_they_are(features):
            return (embed @ features.flatten(2)).unflatten(2, features.shape[-2:])

    def _memories(self, levels: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        keys, values = [], []
        for level, embed in zip(levels, self.level_embed.weight, strict=True):
            _, dim, height, width = level.shape
            value = level.flatten(2).transpose(1, 2) + embed
            values.append(value)
            keys.append(value + sine_position(height, width, dim, value))
        return keys, values

    def _predict(self, query: Tensor, mask_features: Tensor) -> Prediction:
        masks = self.mask_logits(query, at_least_float32(mask_features))
        normed = self.decoder_norm(query)
        logits = None if self.class_embed is None else at_least_float32(self.class_embed(normed))
        mask_embed, pooled = self.post_mask_embed(normed, masks, mask_features)
        return Prediction(masks, mask_embed, logits, pooled)


def attention_mask(masks: Tensor) -> Tensor:
    """Make the additive mask that lets a query attend inside its mask only, or everywhere if that is empty.

    It is computed by multiplication, not by boolean indexing. A row in which every pixel is blocked would be
    NaN after softmax.

    Shapes:
        masks    (B, Q, h, w) logits
        returns  (B, Q, h*w), 0 or `BLOCKED`
    """
    blocked = (masks.detach().sigmoid() < 0.5).to(masks.dtype).flatten(2)
    # Engines are slow at the minimum of a row. A sum of zeros and ones is as exact.
    has_open = (1 - blocked).sum(-1, keepdim=True).clamp(max=1)
    return blocked * has_open * BLOCKED


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
