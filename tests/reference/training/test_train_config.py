"""The recipe: the paper's numbers, the learning rate over a run, which parameters decay."""

from __future__ import annotations

import pytest
import torch

from reference.errors import TrainingError
from reference.model import ODISE
from reference.preset import PRESETS
from reference.training.config import TrainConfig
from reference.training.param_groups import optimizer_groups, parameter_table, total
from reference.training.schedule import learning_rate
from tests.reference.training.tiny_training import tiny_model


def test_the_recipe_is_the_papers():
    config = TrainConfig()
    assert (config.steps, config.batch, config.milestones) == (90_000, 64, (81_000, 86_000))
    assert (config.learning_rate, config.weight_decay, config.clip_norm) == (1e-4, 0.05, 0.01)
    assert (config.image_size, config.scales) == (1024, (0.1, 2.0))
    assert (config.losses.num_points, config.losses.num_words) == (12_544, 8)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.067e-4),
        (125, (0.067 + 0.933 / 2) * 1e-4),
        (249, (0.067 + 0.933 * 249 / 250) * 1e-4),
        (250, 1e-4),
        (80_999, 1e-4),
        (81_000, 1e-5),
        (85_999, 1e-5),
        (86_000, 1e-6),
        (89_999, 1e-6),
    ],
)
def test_the_learning_rate_warms_up_and_falls_tenfold_twice(step, rate):
    assert learning_rate(TrainConfig(), step) == pytest.approx(rate, rel=1e-12)


def test_a_shorter_run_falls_at_the_same_shares_of_it():
    config = TrainConfig().of_length(300)
    assert (config.steps, config.milestones, config.warmup_steps) == (300, (270, 287), 30)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch": 0},
        {"learning_rate": 0.0},
        {"clip_norm": float("nan")},
        {"scales": (2.0, 0.1)},
        {"workers": -1},
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name(wrong):
    with pytest.raises(TrainingError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_28_of_1522_million_parameters_are_trained():
    with torch.device("meta"):
        model = ODISE(PRESETS["odise-label"])
    parts = {part.name: part for part in parameter_table(model)}
    trainable = {name: part.trainable for name, part in parts.items() if part.trainable}
    frozen = {name: part.frozen for name, part in parts.items() if part.frozen}
    # From the official model's parameters: projections (768 -> 768 and 1280, positions, gates); etc.
    assert trainable == {
        "implicit captioner": 59_136 + 1_280 + 649_728 + 985_600,
        "feature projections": 4 * 280_064 + 1_853_952 + 1_444_352 + 829_952 + 625_152,
        "pixel decoder": 395_520 + 4_393_920 + 65_792 + 131_584 + 590_336,
        "mask decoder": 2 * 2_373_120 + 9_462_528 + 512 + 2 * 25_600 + 768 + 197_376 + 264_193,
        "category head": 768 + 196_608 + 256,
    }
    assert frozen == {
        "CLIP": 427_944_193,
        "UNet": 859_520_964,
        "VAE": 83_653_863,
        "text encoder of Stable Diffusion": 123_060_480,
    }
    whole = total(parts.values())
    assert (whole.trainable, whole.frozen) == (28_067_009, 1_494_179_500)


def test_norms_and_biases_do_not_decay_and_embeddings_do():
    model = tiny_model()
    decaying, constant = optimizer_groups(model, TrainConfig())
    assert (decaying["weight_decay"], constant["weight_decay"]) == (0.05, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    decays = {names[id(p)] for p in decaying["params"]}
    stays = {names[id(p)] for p in constant["params"]}
    assert decays | stays == {name for name, p in model.named_parameters() if p.requires_grad}
    assert not decays & stays
    predictor = "sem_seg_head.predictor."
    assert {
        f"{predictor}query_feat.weight",
        f"{predictor}level_embed.weight",
        f"{predictor}post_mask_embed.logit_scale",
        # detectron2 goes by the name "bias", which this is not.
        f"{predictor}transformer_self_attention_layers.0.self_attn.in_proj_bias",
        "backbone.feature_extractor.alpha_cond",
        "category_head.null_embed",
        "category_head.text_proj.weight",
    } <= decays
    assert {
        f"{predictor}decoder_norm.weight",
        f"{predictor}decoder_norm.bias",
        "backbone.feature_projections.0.0.conv1.norm.weight",
        "sem_seg_head.pixel_decoder.mask_features.bias",
        "category_head.text_proj.bias",
    } <= stays
