"""The masked-attention decoder, its attention masks and the pooled mask embedding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reference.model.attention import BLOCKED, attention
from reference.model.mask_decoder import PooledMaskEmbed, attention_mask
from reference.model.mask_head import MaskHead
from reference.preset import GOLDEN_CAPTION, GOLDEN_LABEL, ODISE_CAPTION, ODISE_LABEL
from tests.reference.official_keys import official_keys


def _head(preset=GOLDEN_LABEL) -> MaskHead:
    torch.manual_seed(0)
    return MaskHead(preset).eval()


def _pyramid(height: int = 4, width: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 128, height * k, width * k, generator=generator) for k in (8, 4, 2, 1)]


def test_a_query_with_an_empty_mask_attends_everywhere_and_nothing_is_nan():
    masks = torch.tensor([[[[-1.0, -2.0], [-3.0, -4.0]], [[1.0, -2.0], [-3.0, 0.0]]]])
    mask = attention_mask(masks)
    # Zero is in the mask: the sigmoid is exactly one half there, and only less than that is blocked.
    assert mask.tolist() == [[[0, 0, 0, 0], [0, BLOCKED, BLOCKED, 0]]]
    everything_blocked = torch.full((1, 1, 1, 4), BLOCKED)
    value = torch.arange(4.0).view(1, 1, 4, 1)
    result = attention(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 4, 1), value, everything_blocked)
    assert result.item() == pytest.approx(1.5)


def test_pooling_takes_the_mean_inside_the_mask_and_zero_for_an_empty_one():
    embed = PooledMaskEmbed(4, 4, 4).double().eval()
    seen = []
    embed.pool_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    features = torch.arange(16.0, dtype=torch.float64).view(1, 4, 2, 2)  # channel c: 4c, 4c+1, 4c+2, 4c+3
    masks = torch.tensor([[[[2.0, -1.0], [0.0, 5.0]], [[-1.0, -1.0], [-1.0, -1.0]]]], dtype=torch.float64)
    embed(torch.zeros(1, 2, 4, dtype=torch.float64), masks, features)
    # The first and the last pixel; the third has a logit of zero, which is not above one half.
    assert seen[0][0, 0].tolist() == pytest.approx([1.5, 5.5, 9.5, 13.5])
    assert seen[0][0, 1].tolist() == [0, 0, 0, 0]


def test_autocast_to_half_precision_leaves_sums_over_a_mask_alone():
    head = _head()
    features = torch.full((1, 64, 256, 256), 3.0)
    seen = []
    predictor = head.predictor
    predictor.post_mask_embed.pool_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    query = torch.zeros(1, 1, features.shape[1])
    with torch.autocast("cpu", torch.float16):
        # 65,536 times 3 is not a number of half precision.
        predictor.post_mask_embed(query, torch.ones(1, 1, 256, 256), features.half())
        assert predictor.mask_logits(query, features).dtype == torch.float32
    assert seen[0].flatten().tolist() == [3.0] * features.shape[1]


def test_the_scale_is_at_most_one_hundred():
    embed = PooledMaskEmbed(4, 4, 4)
    with torch.no_grad():
        embed.logit_scale.fill_(2.0)
        assert embed.scale().item() == pytest.approx(7.389056)
        embed.logit_scale.fill_(9.0)
        assert embed.scale().item() == 100.0


def test_there_is_one_prediction_more_than_layers_and_the_last_does_not_depend_on_asking_for_them():
    head = _head()
    with torch.no_grad():
        alone, all_of_them = head(*_pyramid()), head(*_pyramid(), aux=True)
    assert alone.aux == ()
    assert len(all_of_them.aux) == GOLDEN_LABEL.head.dec_layers
    assert torch.equal(alone.pred_masks, all_of_them.pred_masks)
    assert torch.equal(alone.mask_embed, all_of_them.mask_embed)


@pytest.mark.parametrize("size", [(2, 2), (4, 3), (5, 9)])
def test_resizing_features_or_masks_for_the_attention_is_the_same(size):
    head = _head(replace(GOLDEN_CAPTION, head=replace(GOLDEN_CAPTION.head, dec_layers=6))).double()
    pyramid = [level.double() for level in _pyramid(*size)]
    with torch.no_grad():
        official, ours = head(*pyramid, resize_masks=True), head(*pyramid)
    for field in ("pred_masks", "mask_embed", "pred_logits"):
        # `attention` works in float32 at the softmax, whatever comes in.
        torch.testing.assert_close(getattr(ours, field), getattr(official, field), rtol=1e-5, atol=1e-5)


def test_a_half_precision_head_stays_close_and_returns_float32():
    head, pyramid = _head(GOLDEN_CAPTION), _pyramid()
    head.use_lowering("gather")
    with torch.no_grad():
        exact = head(*pyramid)
        half = head.half()(*(level.half() for level in pyramid))
    for field in ("pred_masks", "mask_embed", "pred_logits"):
        ours, expected = getattr(half, field), getattr(exact, field)
        assert ours.dtype == torch.float32
        assert (ours - expected).norm() / expected.norm() < 1e-2, field


@pytest.mark.parametrize("preset", [ODISE_LABEL, ODISE_CAPTION], ids=lambda preset: preset.kind)
def test_the_full_size_head_has_exactly_the_official_names_and_shapes(preset):
    keys = official_keys(preset.name)["trainable_checkpoint"]
    prefix = "sem_seg_head."
    official = {name.removeprefix(prefix): shape for name, shape in keys.items() if name.startswith(prefix)}
    with torch.device("meta"):
        head = MaskHead(preset)
    assert {name: list(tensor.shape) for name, tensor in head.state_dict().items()} == official
