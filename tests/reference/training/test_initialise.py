"""What training from scratch starts from."""

from __future__ import annotations

import math

import pytest
import torch

from reference.checkpoint import load_weights
from reference.model.deformable_attention import DeformableAttention
from reference.model.open_vocabulary import tokenize
from reference.training.initialise import initialise, sampling_directions
from tests.reference.training.tiny_training import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def golden():
    """Wide enough for statistics."""
    model = load_weights("golden-caption", "random:1")
    initialise(model, 3)
    return model


def test_attention_looks_around_in_eight_directions_further_with_every_point():
    bias = sampling_directions(DeformableAttention(32, 8)).view(8, 3, 4, 2)
    corner = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    for head, direction in enumerate(corner):
        for point in range(4):
            expected = torch.tensor(direction, dtype=torch.float32) * (point + 1)
            assert torch.allclose(bias[head, :, point], expected.expand(3, 2), atol=1e-5)


def test_gates_are_shut_and_attention_is_even(model):
    captioner = model.backbone.feature_extractor
    assert not captioner.alpha_cond.any()
    assert not captioner.alpha_cond_time_embed.any()
    for module in model.modules():
        if isinstance(module, DeformableAttention):
            assert not module.sampling_offsets.weight.any()
            assert not module.attention_weights.weight.any()
            assert not module.attention_weights.bias.any()
            assert torch.equal(module.sampling_offsets.bias, sampling_directions(module))


def test_temperature_and_null_embedding_start_where_clip_is(model):
    scale = model.mask_head.predictor.post_mask_embed.logit_scale
    assert scale.item() == pytest.approx(math.log(1 / 0.07))
    empty = model.clip.embed_text(tokenize([""], 77))
    assert torch.equal(model.category_head.null_embed, empty)


def test_weights_are_spread_as_their_kind_asks(golden):
    head, decoder = golden.mask_head.pixel_decoder, golden.mask_head.predictor
    projection = golden.backbone.feature_projections[2][0]
    reach = {
        # Xavier: sqrt(6 / (in + out)); the three input projections of attention are one matrix.
        decoder.transformer_self_attention_layers[0].self_attn.in_proj_weight: math.sqrt(6 / (64 + 192)),
        decoder.transformer_ffn_layers[0].linear1.weight: math.sqrt(6 / (64 + 64)),
        head.transformer.encoder.layers[0].self_attn.value_proj.weight: math.sqrt(6 / (64 + 64)),
        head.input_proj[0][0].weight: math.sqrt(6 / (128 + 64)),
        # Caffe2's Xavier: sqrt(3 / in).
        head.mask_features.weight: math.sqrt(3 / 64),
        head.layer_1.weight: math.sqrt(3 / (9 * 64)),
        # PyTorch's linear layer: 1 / sqrt(in).
        decoder.mask_embed.layers[0].weight: 1 / 8,
        decoder.class_embed.weight: 1 / 8,
        golden.word_head.text_proj.weight: 1 / 8,
    }
    for weight, bound in reach.items():
        assert weight.abs().max() <= bound
        assert weight.abs().max() > 0.9 * bound
    # He, by fan-out: sqrt(2 / (9 * out)).
    assert projection.conv2.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 32)), rel=0.03)
    position = golden.backbone.feature_extractor.clip_project.positional_embedding
    assert position.std().item() == pytest.approx(0.02, rel=0.03)
    queries = torch.cat([decoder.query_feat.weight, decoder.query_embed.weight])
    assert queries.std().item() == pytest.approx(1.0, rel=0.06)
    assert torch.equal(golden.criterion.empty_weight, torch.tensor([1.0, 0.1]))


def test_the_frozen_part_is_left_alone_and_every_trained_number_is_the_seeds():
    first, second = load_weights("golden-caption", "random:1"), load_weights("golden-caption", "random:2")
    frozen = {name: p.clone() for name, p in first.named_parameters() if not p.requires_grad}
    initialise(first, 7)
    initialise(second, 7)
    for name, parameter in first.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter, second.get_parameter(name)), name
        else:
            assert torch.equal(parameter, frozen[name]), name
    initialise(second, 8)
    assert not torch.equal(first.word_head.text_proj.weight, second.word_head.text_proj.weight)
