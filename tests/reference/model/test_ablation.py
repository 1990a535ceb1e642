"""Ablations as configuration: their words, the classifiers, and what an ablated model refuses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from export.checked_export import Task, export_checked
from odise_trt.errors import ExportError, OdiseError
from reference.ablation import Ablation
from reference.checkpoint import load_weights
from reference.errors import AblationError
from reference.model import ODISE
from reference.model.ablations.ablate import ablate
from reference.model.open_vocabulary import Classification
from reference.oracle import segment_official
from reference.preset import DEMO, ODISE_CAPTION, PRESETS

LABELS = (("person", "human"), ("sky",), ("unicorn", "magic horse"))
SEEN = [True, True, False]


@cache
def demo(classifier: str = "both") -> ODISE:
    return load_weights(DEMO.with_ablation(Ablation.parse(classifier=classifier)), "random:3")


@torch.no_grad()
def classify(model: ODISE) -> Classification:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 128, 128, generator=generator)
    levels = (
        torch.randn(1, 128, 128 // stride, 128 // stride, generator=generator) for stride in (4, 8, 16, 32)
    )
    return model.classify(image, model.mask_head(*levels), model.encode(LABELS))


def test_every_preset_is_the_papers_model():
    assert all(preset.ablation == Ablation() for preset in PRESETS.values())
    assert Ablation.parse() == Ablation()
    assert Ablation().is_paper
    assert DEMO.with_ablation(Ablation()) == DEMO
    assert Ablation().summary() == "the paper's model"


def test_words_of_the_command_line_become_an_ablation():
    ablation = Ablation.parse(captioner="empty", timesteps="0+100+200", classifier="0.75", clip_masks="crop")
    assert ablation.captioner == "empty"
    assert ablation.time_steps == (0, 100, 200)
    assert ablation.runs == 3
    assert ablation.classifier == (0.25, 0.25)
    assert ablation.clip_masks == "crop"
    assert Ablation.parse(timesteps="learnable").runs == 1
    assert Ablation.parse(features="clip").features == "clip"
    assert not ablation.is_paper


def test_the_summary_is_what_a_command_line_would_say():
    assert Ablation.parse() == Ablation()
    ablation = Ablation.parse(
        captioner="given", timesteps="100+500", classifier="0.5,0.25", clip_masks="crop-masked"
    )
    assert ablation == Ablation("given", (100, 500), (0.5, 0.75), "crop-masked")
    words = "--captioner given --timesteps 100+500 --classifier 0.5,0.25 --clip-masks crop-masked"
    assert ablation.summary() == words


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("captioner", "blip"),
        ("timesteps", "soon"),
        ("timesteps", ""),
        ("timesteps", "0+"),
        ("timesteps", "1000"),
        ("timesteps", "100+100"),
        ("timesteps", "-1"),
        ("classifier", "none"),
        ("classifier", "1.5"),
        ("classifier", "nan"),
        ("classifier", "0.1,0.2,0.3"),
        ("clip_masks", "box"),
        ("features", "dino"),
    ],
)
def test_a_word_that_means_nothing_is_refused_with_what_would(option, value):
    with pytest.raises(AblationError) as caught:
        Ablation.parse(**{option: value})
    assert isinstance(caught.value, OdiseError)
    assert caught.value.hint


@pytest.mark.parametrize("options", [{"captioner": "empty"}, {"timesteps": "100"}])
def test_features_of_clip_have_no_captioner_and_no_steps(options):
    with pytest.raises(AblationError, match="neither captioner nor time steps"):
        Ablation.parse(features="clip", **options)


def test_lambda_weighs_diffusion_where_alpha_and_beta_weigh_clip():
    def weights(classifier: str) -> tuple[float, float]:
        preset = ODISE_CAPTION.with_ablation(Ablation.parse(classifier=classifier))
        return preset.alpha, preset.beta

    assert weights("both") == (0.35, 0.65)
    assert weights("diffusion") == weights("1") == (0.0, 0.0)
    assert weights("discriminative") == weights("0") == (1.0, 1.0)
    assert weights("0.75,0.25") == (0.25, 0.75)


def log_softmax(logits: Tensor) -> Tensor:
    return logits.double().log_softmax(-1)


def test_one_classifier_alone_is_what_it_says_and_both_are_their_geometric_mean():
    diffusion, discriminative = classify(demo("diffusion")), classify(demo("discriminative"))
    own, clip = diffusion.category_logits[..., :3], diffusion.clip_logits
    torch.testing.assert_close(diffusion.fused.double(), log_softmax(own))
    torch.testing.assert_close(discriminative.fused.double(), log_softmax(clip))
    assert not torch.allclose(diffusion.fused, discriminative.fused)
    fused = classify(demo("0.75,0.5")).fused.double()
    share = torch.tensor([0.75 if seen else 0.5 for seen in SEEN], dtype=torch.float64)
    expected = (log_softmax(own).exp() ** share * log_softmax(clip).exp() ** (1 - share)).log()
    torch.testing.assert_close(fused, expected, rtol=1e-5, atol=1e-5)


def test_diffusion_only_is_the_papers_model_with_both_weights_zero():
    by_hand = load_weights(replace(DEMO, alpha=0.0, beta=0.0), "random:3")
    assert torch.equal(classify(demo("diffusion")).mask_cls, classify(by_hand).mask_cls)


def test_only_an_ablated_classifier_can_be_exported(tmp_path: Path):
    Ablation.parse(classifier="diffusion").refuse_export()
    model = load_weights(DEMO.with_ablation(Ablation.parse(captioner="empty")), "random:3")
    with pytest.raises(ExportError, match="--captioner empty"):
        export_checked(model, Task("captioner", "fp32"), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_official_way_is_for_the_papers_model():
    image = torch.zeros(128, 128, 3, dtype=torch.uint8)
    model = load_weights(DEMO.with_ablation(Ablation.parse(clip_masks="crop")), "random:3")
    with pytest.raises(AblationError, match="--clip-masks crop"):
        segment_official(model, image, LABELS, {0})
    with pytest.raises(AblationError):
        ablate(model, Ablation())
