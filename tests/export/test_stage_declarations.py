"""The stages declare the contracts that the runtime was written against, and bring inputs worth checking."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch

from export.stages import STAGES
from export.stages.examples import images, mask_logits, tokens
from odise_trt.backends.base import choose_profile
from odise_trt.files.typed_json import read_as
from odise_trt.stage_spec import StageSpec, Tensor
from reference.preset import DEMO, ODISE_CAPTION, ODISE_LABEL, PRESETS

WINDOWS = Tensor("windows", "float32", ("windows", 3, "side", "side"))
COND = (
    Tensor("cond_inputs", "float16", ("windows", 77, 768)),
    Tensor("cond_emb", "float16", ("windows", 1280)),
)
MASKS = Tensor("pred_masks", "float32", (1, 100, "height/4", "width/4"))


def pyramid(batch: int | str, height: str, width: str) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(f"s{level}", "float16", (batch, 512, f"{height}/{stride}", f"{width}/{stride}"))
        for level, stride in ((2, 4), (3, 8), (4, 16), (5, 32))
    )


CONTRACT = {
    "captioner": ((WINDOWS,), COND),
    "features": ((WINDOWS, *COND), pyramid("windows", "side", "side")),
    "mask_head": (
        pyramid(1, "height", "width"),
        (
            MASKS,
            Tensor("mask_embed", "float32", (1, 100, 256)),
            Tensor("pred_logits", "float32", (1, 100, 2)),
        ),
    ),
    "clip_pool": (
        (Tensor("clip_image", "float32", (1, 3, 336, 336)), MASKS),
        (Tensor("clip_mask_embed", "float32", (1, 100, 768)),),
    ),
    "text_encoder": (
        (Tensor("tokens", "int64", ("texts", 77)),),
        (
            Tensor("clip_text_embed", "float32", ("texts", 768)),
            Tensor("text_embed", "float32", ("texts", 256)),
        ),
    ),
}


def test_the_official_caption_model_declares_the_contract() -> None:
    specs = {name: wrapper.declare(ODISE_CAPTION).at("fp16") for name, wrapper in STAGES.items()}
    assert {name: (spec.inputs, spec.outputs) for name, spec in specs.items()} == CONTRACT


def test_label_models_have_no_foreground_logits() -> None:
    outputs = STAGES["mask_head"].declare(ODISE_LABEL).outputs
    assert [tensor.name for tensor in outputs] == ["pred_masks", "mask_embed"]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
@pytest.mark.parametrize("name", STAGES)
def test_declarations_survive_the_manifest(name: str, preset) -> None:  # type: ignore[no-untyped-def]
    spec = STAGES[name].declare(preset)
    assert spec.name == name
    spec.check()
    assert read_as(StageSpec, json.loads(json.dumps(asdict(spec)))) == spec


@pytest.mark.parametrize("preset", [DEMO, ODISE_LABEL], ids=lambda preset: preset.name)
def test_profiles_hold_every_image_that_preprocessing_can_make(preset) -> None:  # type: ignore[no-untyped-def]
    # The shorter side becomes short_side unless the longer would pass max_side; both are padded to 64.
    sides = range(64, preset.max_side + 1, 64)
    for height, width in itertools.product(sides, sides):
        if min(height, width) <= preset.short_side:
            for name in ("mask_head", "clip_pool"):
                choose_profile(STAGES[name].declare(preset), {"height": height, "width": width})
    for side, windows in itertools.product(range(64, preset.window + 1, 64), range(1, 11)):
        for name in ("captioner", "features"):
            spec = STAGES[name].declare(preset)
            chosen = spec.profiles[choose_profile(spec, {"windows": windows, "side": side})]
            assert chosen.name == ("window" if side == preset.window else "panorama")


def test_example_masks_have_both_signs_and_the_two_special_cases() -> None:
    masks = mask_logits(8, 32, 48, torch.Generator().manual_seed(0))
    inside = (masks > 0).float().mean(dim=(0, 2, 3))
    assert inside[0] == 0
    assert inside[1] == 1
    assert ((inside[2:] > 0.05) & (inside[2:] < 0.95)).all()


def test_example_images_use_the_range_and_are_not_flat() -> None:
    batch = images(3, 128, 64, torch.Generator().manual_seed(0))
    assert batch.shape == (3, 3, 128, 64)
    assert batch.min() == 0
    assert batch.max() == 1
    assert (batch.std(dim=(2, 3)) > 0.1).all()
    # Neighbours resemble each other, as they do in photographs and not in noise.
    steps = (batch[..., 1:] - batch[..., :-1]).abs().mean()
    assert steps < batch.std() / 2


def test_example_texts_are_of_many_lengths_and_well_formed() -> None:
    rows = tokens(64, 77, 49408, torch.Generator().manual_seed(0))
    assert (rows[:, 0] == 49406).all()
    ends = (rows == 49407).int()
    assert (ends.sum(1) == 1).all()
    lengths = ends.argmax(1)
    assert lengths.min() >= 2
    assert len(lengths.unique()) > 20
    after = torch.arange(77)[None] > lengths[:, None]
    assert (rows[after] == 0).all()


def test_examples_of_the_mask_head_are_one_scene_at_four_strides() -> None:
    model = SimpleNamespace(preset=DEMO)
    sizes = {"height": 128, "width": 192}
    levels = STAGES["mask_head"].examples(model, sizes, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    assert [tuple(level.shape) for level in levels] == [
        (1, 128, 32, 48),
        (1, 128, 16, 24),
        (1, 128, 8, 12),
        (1, 128, 4, 6),
    ]
    assert all((level >= 0).all() and level.std() > 0.1 for level in levels)
    coarse = torch.nn.functional.avg_pool2d(levels[0], 8)
    correlation = torch.corrcoef(torch.stack([coarse.flatten(), levels[3].flatten()]))[0, 1]
    assert correlation > 0.8
