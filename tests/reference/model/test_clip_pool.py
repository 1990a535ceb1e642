"""MaskCLIP: embeddings of masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reference.model.clip import Clip
from reference.model.clip_pool import ClipPool
from reference.preset import ClipPreset
from tests.golden_case import relative_l2
from tests.reference.golden_models import ALL_CASES, golden_case, golden_model

PRESET = ClipPreset(16, 56, 14, 128, 3, 2, 64, 1, 1)


@pytest.fixture(scope="module")
def pool() -> ClipPool:
    torch.manual_seed(0)
    return ClipPool(Clip(PRESET)).eval()


@pytest.mark.parametrize(("kind", "size"), ALL_CASES)
@torch.no_grad()
def test_mask_embeddings_are_the_official_ones(kind, size):
    case, pool = golden_case(kind, size), golden_model(kind).clip_pool
    side, queries = pool.clip.preset.image_size, 12
    image = case["image_uint8"][None].float() / 255
    clip_image = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)
    open_patches = (~case.attention_mask[:1, :queries, queries + 1 :]).float()
    case.check("clip_head.mask_embed", pool.pool(clip_image, open_patches))


@torch.no_grad()
def test_the_pool_equals_one_long_masked_sequence(pool):
    # The official formulation: mask tokens, CLS and patches in one sequence through open_clip's layers.
    clip_image = torch.rand(1, 3, 56, 56)
    open_patches = (torch.rand(1, 5, 16) > 0.5).float()
    tokens = pool.clip.image_tokens(clip_image)
    x = torch.cat([tokens[:, :1].expand(-1, 5, -1), tokens], dim=1)
    blocked = torch.zeros(22, 22, dtype=torch.bool)
    blocked[:, :5] = True
    blocked[:5, 6:] = open_patches[0] == 0
    mask = torch.zeros(22, 22).masked_fill(blocked, float("-inf"))
    for layer in pool.clip.visual.transformer.resblocks:
        x = layer(x, attn_mask=mask)
    expected = pool.clip.visual.ln_post(x[:, :5]) @ pool.clip.visual.proj
    assert relative_l2(pool.pool(clip_image, open_patches), expected) < 1e-5


def test_a_patch_is_open_where_the_mask_reaches_into_it(pool):
    # 4 x 4 patches of 14 pixels, 56 pixels in all, masks at full size: no resizing in between.
    masks = torch.full((1, 3, 56, 56), -5.0)
    masks[0, 0, 13, 14] = 3.0  # row 0, column 1
    masks[0, 1, 28:42, 42:56] = 1.0  # row 2, column 3
    masks[0, 1, 0, 0] = 0.0  # exactly one half after the sigmoid: open
    expected = torch.zeros(1, 3, 16)
    expected[0, 0, 1] = expected[0, 1, 11] = expected[0, 1, 0] = 1.0
    assert torch.equal(pool.open_patches(masks), expected)


@torch.no_grad()
def test_an_empty_mask_sees_only_the_whole_image_token(pool):
    def embed(seed: int, logits: Tensor) -> Tensor:
        return pool(torch.rand(1, 3, 56, 56, generator=torch.Generator().manual_seed(seed)), logits)

    empty, full = torch.full((1, 2, 8, 8), -9.0), torch.full((1, 2, 8, 8), 9.0)
    assert embed(0, empty).isfinite().all()
    assert not torch.allclose(embed(0, empty), embed(0, full), rtol=1e-3)


@torch.no_grad()
def test_a_full_mask_is_the_image_embedding(pool):
    clip_image = torch.rand(1, 3, 56, 56)
    pooled = pool(clip_image, torch.full((1, 2, 16, 24), 9.0))
    assert relative_l2(pooled[0, 1], pool.clip.embed_image(clip_image)[0]) < 1e-5
