"""CLIP's two towers."""

from __future__ import annotations

import pytest
import torch

from reference.model.clip import Clip
from reference.preset import ClipPreset
from tests.golden_case import relative_l2
from tests.reference.golden_models import golden_case, golden_model, golden_tokens


def padded(tokens: list[int]) -> list[int]:
    return tokens + [0] * (77 - len(tokens))


@pytest.mark.parametrize("kind", ["label", "caption"])
@torch.no_grad()
def test_the_image_embedding_is_the_official_one(kind):
    case, clip = golden_case(kind, "512"), golden_model(kind).clip
    image = case["w0.clip.preprocessed"] * clip.std + clip.mean
    case.check("w0.clip.prefix", clip.embed_image(image))


@pytest.mark.parametrize("kind", ["label", "caption"])
@torch.no_grad()
def test_the_text_embeddings_are_the_official_ones(kind):
    case, clip = golden_case(kind, "512"), golden_model(kind).clip
    names = [name for synonyms in case.labels for name in synonyms]
    head = {"label": "category_head", "caption": "word_head"}[kind]
    templates = {head: {"label": "{}", "caption": "a photo of a {}."}[kind], "clip_head": "a photo of a {}."}
    for prefix, template in templates.items():
        tokens = torch.tensor([padded(golden_tokens()[template.format(name)]) for name in names])
        case.check(f"{prefix}.clip_text_embed", clip.embed_text(tokens))


@torch.no_grad()
def test_both_towers_give_what_open_clip_gives():
    torch.manual_seed(0)
    preset = ClipPreset(16, 28, 14, 128, 3, 2, 64, 2, 1)
    clip = Clip(preset).eval()
    image = torch.rand(3, 3, 28, 28)
    assert relative_l2(clip.embed_image(image), clip.encode_image(clip.normalise(image))) < 1e-5
    tokens = torch.tensor([padded([49406, 320, 49407]), padded([49406, 49407]), [49406] + [5] * 75 + [49407]])
    assert relative_l2(clip.embed_text(tokens), clip.encode_text(tokens)) < 1e-5


def test_the_scale_of_similarities_stops_at_100():
    clip = Clip(ClipPreset(16, 28, 14, 64, 1, 1, 64, 1, 1))
    clip.logit_scale.fill_(5.0)
    assert clip.scale().item() == 100.0
    clip.logit_scale.fill_(0.0)
    assert clip.scale().item() == 1.0


def test_clip_is_not_trained():
    assert not any(p.requires_grad for p in Clip(ClipPreset(16, 28, 14, 64, 1, 1, 64, 1, 1)).parameters())
