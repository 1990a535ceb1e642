"""Softmax attention, against a loop in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reference.model.attention import BLOCKED, attention, merge_heads, split_heads


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=torch.float64)
    for index in torch.cartesian_prod(*(torch.arange(size) for size in q.shape[:-1])):
        b, h, n = index.tolist()
        weights = torch.tensor(
            [math.exp(float(q[b, h, n].double() @ key.double()) / math.sqrt(q.shape[-1])) for key in k[b, h]]
        ).double()
        out[b, h, n] = (weights[:, None] * v[b, h].double()).sum(0) / weights.sum()
    return out


@pytest.fixture
def qkv() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 3, n, 8, generator=generator) for n in (4, 5, 5))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5), (torch.float16, 5e-3)]
)
def test_attention_is_the_softmax_of_scaled_products(qkv, dtype, tolerance):
    q, k, v = (x.to(dtype) for x in qkv)
    result = attention(q, k, v)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), by_hand(q, k, v), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_blocked_pair_counts_for_nothing(qkv, dtype):
    q, k, v = (x.to(dtype) for x in qkv)
    mask = torch.zeros(4, 5, dtype=dtype)
    mask[:, 3:] = BLOCKED
    torch.testing.assert_close(attention(q, k, v, mask), attention(q, k[..., :3, :], v[..., :3, :]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_row_that_blocks_everything_stays_finite(qkv, dtype):
    q, k, v = (x.to(dtype) for x in qkv)
    assert attention(q, k, v, torch.full((4, 5), BLOCKED, dtype=dtype)).isfinite().all()


def test_the_exported_graph_takes_the_softmax_in_single_precision(qkv):
    class Layer(torch.nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attention(q, k, v)

    graph = torch.export.export(Layer(), tuple(x.half() for x in qkv)).graph
    softmax = [node for node in graph.nodes if "softmax" in str(node.target)]
    assert len(softmax) == 1
    assert softmax[0].args[0].meta["val"].dtype == torch.float32
    assert not any("scaled_dot_product" in str(node.target) for node in graph.nodes)


def test_heads_split_and_merge_back():
    x = torch.arange(2 * 3 * 8.0).view(2, 3, 8)
    heads = split_heads(x, 4)
    assert heads.shape == (2, 4, 3, 2)
    assert heads[1, 3, 2].tolist() == x[1, 2, 6:8].tolist()
    assert torch.equal(merge_heads(heads), x)
