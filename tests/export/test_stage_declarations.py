"""The stages declare the contracts that the runtime was written against, and bring inputs worth checking."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from export.stages import STAGES, steps
from export.stages.examples import images, mask_logits, tokens
from odise_trt.backends.base import choose_profile
from odise_trt.chains.vectors import (
    PictureSize,
    picture_tensors,
    request_tensors,
    stitch_tensors,
    vocabulary_tensors,
)
from odise_trt.files.typed_json import read_as
from odise_trt.pipeline import Pipeline
from odise_trt.pipeline.step import HOST
from odise_trt.stage_spec import PRECISIONS, StageSpec, Tensor
from odise_trt.task import Task
from odise_trt.windows import Grid
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


#: Of the stages with weights. The others are held against the pipeline's wiring, and against numpy.
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
    specs = {name: STAGES[name].declare(ODISE_CAPTION).at("fp16") for name in CONTRACT}
    assert {name: (spec.inputs, spec.outputs) for name, spec in specs.items()} == CONTRACT


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_step_is_given_what_its_stage_takes(preset, precision: str) -> None:  # type: ignore[no-untyped-def]
    stages = {name: stage.declare(preset).at(stage.computes_in(precision)) for name, stage in STAGES.items()}
    found = Pipeline(steps(preset), stages)
    found.check()
    assert [step.stage for step in found.steps] == [name for name in STAGES if name != "text_encoder"]


def test_each_task_runs_its_own_steps_after_those_that_all_need() -> None:
    found = Pipeline(steps(DEMO), {})
    shared = ["cut", "captioner", "features", "stitch", "mask_head", "clip_pool", "classify"]
    own: dict[Task, list[str]] = {
        "panoptic": ["panoptic", "assign", "paint"],
        "semantic": ["semantic"],
        "instance": ["top_instances", "instances"],
    }
    for task, stages in own.items():
        assert [step.stage for step in found.for_tasks([task])] == [*shared, *stages]


def test_host_tensors_are_those_that_the_steps_take() -> None:
    size = PictureSize((250, 300), (256, 320), (100, 77), DEMO.window, DEMO.clip.image_size)
    table = SimpleNamespace(
        starts=np.array([0, 2]),
        row_to_category=np.array([0, 0, 1]),
        unit_text_embed=np.zeros((3, DEMO.head.mask_dim), np.float32),
        unit_clip_text_embed=np.zeros((3, DEMO.clip.embed_dim), np.float32),
        seen=np.array([True, False]),
        isthing=np.array([True, False]),
    )
    given = {
        "picture.picture": np.zeros((250, 300, 3), np.uint8),
        **picture_tensors(size),
        **vocabulary_tensors(table, 0.3, 0.7),  # type: ignore[arg-type]
        **request_tensors(0.0, 0.8),
    }
    taken = set()
    for step in steps(DEMO):
        inputs = {tensor.name: tensor for tensor in STAGES[step.stage].declare(DEMO).inputs}
        for name, source in step.inputs.items():
            if source.partition(".")[0] in HOST:
                taken.add(source)
                array, tensor = given[source], inputs[name]
                assert array.dtype == np.dtype(tensor.dtype)
                assert array.flags.c_contiguous
                fixed = [(a, b) for a, b in zip(array.shape, tensor.shape, strict=True) if isinstance(b, int)]
                assert all(a == b for a, b in fixed)
    assert taken == set(given)


@pytest.mark.parametrize("preset", [DEMO, ODISE_LABEL], ids=lambda preset: preset.name)
def test_profiles_hold_results_of_any_size(preset) -> None:  # type: ignore[no-untyped-def]
    masks = {"height": 64, "width": preset.max_side}
    for width in (1, 8, 640, 4000, 12000, 32768):
        for name in ("panoptic", "semantic", "paint"):
            spec = STAGES[name].declare(preset)
            for categories in (1, 133, 20000):
                sizes = {**masks, "rows": 1, "output_width": width, "categories": categories}
                choose_profile(spec, sizes)
        choose_profile(
            STAGES["instances"].declare(preset), {**masks, "rows": 1, "padded_width": 8 * -(-width // 8)}
        )
    for vocabulary in ((1, 1, 1), (60000, 20000, 8), (300, 20, 200), (20000, 20000, 1)):
        sizes = dict(zip(("texts", "categories", "synonyms"), vocabulary, strict=True))
        choose_profile(STAGES["classify"].declare(preset), sizes)


@pytest.mark.parametrize("preset", [DEMO, ODISE_LABEL], ids=lambda preset: preset.name)
def test_profiles_hold_all_windows_of_a_picture_at_once(preset) -> None:  # type: ignore[no-untyped-def]
    sides = range(64, preset.max_side + 1, 64)
    for height, width in itertools.product(sides, sides):
        if min(height, width) <= preset.short_side:
            grid = Grid.over(height, width, preset.window)
            taps = len(stitch_tensors(grid)["tap_block"]) if preset is DEMO else 4
            sizes = {
                "windows": len(grid),
                "side": grid.side,
                "picture_height": height,
                "picture_width": width,
            }
            choose_profile(STAGES["cut"].declare(preset), sizes)
            sizes = {"windows": len(grid), "side": grid.side, "height": height, "width": width, "taps": taps}
            choose_profile(STAGES["stitch"].declare(preset), sizes)


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
