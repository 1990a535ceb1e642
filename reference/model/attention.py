"""Softmax attention: the one place where the model computes it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reference.model.precision import at_least_float32

#: Added to the score of a blocked pair. Finite, so that a row that blocks everything stays finite, and
#: within half precision; exp(-10000) is exactly zero, so a blocked pair counts for nothing.
BLOCKED = -1.0e4


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + mask) v, per head.

    Eager models take PyTorch's fused kernel, which never holds the scores: at the UNet's 64 x 64 tokens
    that is three times faster on a CPU and saves half a gigabyte per window, at the same distance to
    float64. Its softmax is in at least fp32, also in half precision. Export takes the steps one by one: the
    graph then holds plain MatMul and Softmax at any opset, with the softmax in at least fp32 as well.

    Args:
        q: (B, heads, N, d).
        k, v: (B, heads, M, d).
        mask: added to the scores, broadcast to (B, heads, N, M); see `BLOCKED`.

    Returns:
        (B, heads, N, d), in the dtype of `v`.
    """
    if not torch.compiler.is_exporting():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask.to(q.dtype))
    scores = at_least_float32((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1))
    if mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1).to(v.dtype) @ v


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, heads * d) -> (B, heads, N, d)."""
    return x.unflatten(-1, (heads, x.shape[-1] // heads)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads * d)."""
    return x.transpose(1, 2).flatten(2)
