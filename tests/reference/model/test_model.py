"""The assembled model: names, its two ways, and what `segment` takes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from odise_trt.vocabulary import Vocabulary
from reference.checkpoint import load_weights
from reference.model import ODISE, Segmentation
from reference.oracle import segment_official, segment_traced
from reference.preset import DEMO, ODISE_CAPTION, ODISE_LABEL
from tests.check_golden import check
from tests.golden_case import GOLDENS, GoldenCase, load_golden_model
from tests.reference.official_keys import official_keys

LABELS = (("person", "people"), ("sky",), ("unicorn", "magic horse"))


@cache
def _demo() -> ODISE:
    return load_weights("demo", "random:3")


def _image(height: int, width: int) -> Tensor:
    """Smooth colours with an edge: uint8 (H, W, 3)."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    planes = [(x + 0 * y), (y + 0 * x), ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.05).float()]
    return (torch.stack(planes, dim=-1) * 255).to(torch.uint8)


def _assert_same(ours: Segmentation, expected: Segmentation, tolerance: float = 1e-4) -> None:
    for field in ("mask_cls", "mask_pred", "semantic"):
        a, b = getattr(ours, field), getattr(expected, field)
        assert a.shape == b.shape
        assert (a - b).norm() <= tolerance * b.norm(), field
    assert (ours.panoptic.map == expected.panoptic.map).float().mean() >= 0.999
    assert ours.panoptic.segments == expected.panoptic.segments


# The label model is compared on label_small in test_goldens.py, and from a converted file in test_convert.py.
@pytest.mark.parametrize("kind", [pytest.param("label", marks=pytest.mark.slow), "caption"])
def test_the_pruned_way_gives_the_official_numbers(kind: str):
    case = GoldenCase(GOLDENS / f"golden_{kind}_512.npz")
    rows = check(case, load_golden_model(kind), "pruned")
    assert [row for row in rows if row.verdict == "OFF"] == []


def test_both_ways_agree_on_the_demo_preset_with_windows_padding_and_another_output_size():
    model, image = _demo(), _image(300, 450)
    encoded = model.encode(LABELS)
    official = segment_official(model, image, encoded, {0, 2}, (200, 300))
    pruned = model.segment(image, encoded, {0, 2}, (200, 300))
    assert official.panoptic.map.shape == (200, 300)
    _assert_same(pruned, official)


def test_recording_the_intermediate_tensors_changes_nothing():
    model, image = _demo(), _image(256, 320)
    traced, taps = segment_traced(model, image, LABELS, {0})
    _assert_same(traced, model.segment(image, LABELS, {0}), 1e-6)
    assert taps["backbone.s2"].shape[-2:] == (64, 80)
    assert taps["w1.ldm.feature7"].shape[0] == 1


def test_planes_and_pixels_are_the_same_image_and_results_have_its_size():
    model, image = _demo(), _image(128, 192)
    pixels = model.segment(image, LABELS, {0})
    planes = model.segment(image.permute(2, 0, 1), LABELS, {0})
    assert pixels.mask_pred.shape[1:] == (128, 192)
    assert torch.equal(pixels.mask_cls, planes.mask_cls)


def test_a_vocabulary_of_one_category_works():
    result = _demo().segment(_image(64, 64), (("sky",),), set())
    assert result.mask_cls.shape[1] == 2
    assert result.semantic.shape == (1, 64, 64)
    assert result.mask_cls.isfinite().all()


def test_the_stages_chained_by_hand_give_the_masks_of_segment():
    model, image = _demo(), _image(128, 128)
    _, taps = segment_traced(model, image, LABELS, {0})
    with torch.no_grad():
        windows = image.permute(2, 0, 1)[None].float() / 255
        output = model.mask_head(*model.features(windows, *model.captioner(windows)))
    torch.testing.assert_close(output.pred_masks, taps["decoder.pred_masks"])
    torch.testing.assert_close(output.mask_embed, taps["decoder.mask_embed"], rtol=1e-3, atol=1e-4)


def test_texts_are_encoded_the_same_in_one_batch_or_many(monkeypatch: pytest.MonkeyPatch):
    model, labels = _demo(), Vocabulary.preset("voc21").synonyms[:6]
    together = model.encode(labels)
    monkeypatch.setattr("reference.model.odise.TEXT_BATCH", 2)
    torch.testing.assert_close(model.encode(labels).text_embed, together.text_embed)


@pytest.mark.parametrize("preset", [ODISE_LABEL, ODISE_CAPTION], ids=lambda preset: preset.kind)
def test_the_trainable_part_at_full_size_has_exactly_the_official_names_and_shapes(preset):
    keys = official_keys(preset.name)["trainable_checkpoint"]
    with torch.device("meta"):
        model = ODISE(preset)
    frozen = ("backbone.diffusion.", "backbone.feature_extractor.clip.", "clip_head.clip.")
    state = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    state = {name: shape for name, shape in state.items() if not name.startswith(frozen)}
    # A buffer that comes with the frozen files.
    assert state.pop("backbone.feature_extractor.uncond_inputs") == [1, 77, 768]
    assert state == keys


def test_no_object_weighs_a_tenth_in_training():
    weight = _demo().criterion.empty_weight
    assert weight.shape == (19 + 1,)
    assert weight[:-1].unique().tolist() == [1.0]
    assert weight[-1].item() == pytest.approx(0.1)


def test_the_thresholds_of_the_preset_apply_unless_another_one_is_given():
    model, image = _demo(), _image(128, 128)
    plain = model.segment(image, LABELS, {0})
    assert (plain.object_mask_threshold, plain.overlap_threshold) == (0.0, 0.8)
    assert model.segment(image, LABELS, {0}, overlap_threshold=0.0).overlap_threshold == 0.0
    model = load_weights(replace(DEMO, object_mask_threshold=1.0, overlap_threshold=0.5), "random:3")
    strict = model.segment(image, LABELS, {0})
    assert strict.overlap_threshold == 0.5
    assert strict.panoptic.segments == ()
