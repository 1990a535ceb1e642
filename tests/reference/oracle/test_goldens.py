"""The reference gives the official code's numbers, stage by stage, in all recorded cases."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from reference.model import Segmentation
from tests.check_golden import Row, check, compare, stage
from tests.golden_case import GOLDENS, GoldenCase, Run, load_golden_model
from tests.golden_outputs import WHOLE

#: Several windows. `make test` compares them in the pruned way, with label_small below.
LONG = ("label_small", "label_nonsquare", "caption_small", "caption_nonsquare")
CASES = [
    *("label_512", "caption_512"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in LONG),
]
STAGES = ["captioner", "ldm", "backbone", "pixel_decoder", "decoder", "text_head", "clip_head", "post"]


def _case(name: str) -> GoldenCase:
    return GoldenCase(GOLDENS / f"golden_{name}.npz")


@cache
def _rows(name: str) -> list[Row]:
    case = _case(name)
    return check(case, load_golden_model(case.kind))


@cache
def _small_run() -> Run:
    return _case("label_small").run(load_golden_model("label"), "pruned")


def _verdicts(case: GoldenCase) -> dict[str, str]:
    rows = compare(case, load_golden_model("label"), "pruned", _small_run())
    return {row.name: row.verdict for row in rows}


@pytest.mark.parametrize("part", STAGES)
@pytest.mark.parametrize("name", CASES)
def test_every_output_is_the_official_one(name: str, part: str):
    if part == "text_head":
        part = {"label": "category_head", "caption": "word_head"}[name.partition("_")[0]]
    rows = [row for row in _rows(name) if stage(row.name) == part]
    assert rows, "nothing was compared"
    assert [row for row in rows if row.verdict == "OFF"] == []


def test_every_array_of_a_file_is_an_input_or_compared():
    compared = {row.name.removesuffix(WHOLE) for row in _rows("label_512")}
    marks = ("__shape", "__stride", "__stats", "_packed", "_shape", "_json")
    for array in _case("label_512").arrays:
        name = array
        for mark in marks:
            name = name.removesuffix(mark) if name not in compared else name
        name = name.replace("segments_info", "panoptic_seg")
        name = "instances" if name.startswith("instances.") else name
        assert name in compared | {"image_uint8", "out_hw", "labels", "thing_classes"}, array


def test_a_change_of_a_thousandth_is_found_and_names_the_tensor():
    case = _case("label_small")
    changed = [
        "w0.clip.prefix",
        "w1.ldm.feature4",
        "backbone.s3",
        "pixel_decoder.multi_scale1",
        "decoder.aux1.pred_masks",
        "category_head.text_embed",
        "clip_head.mask_embed",
        "post.mask_cls_results",
    ]
    for name in changed:
        case.arrays[name] = case.arrays[name] * np.float32(1.001)
    case.arrays["backbone.s2__stats"][3] *= 1.01
    off = {row for row, verdict in _verdicts(case).items() if verdict == "OFF"}
    assert off == {*changed, "backbone.s2" + WHOLE}


def test_nan_other_pixels_other_segments_and_outputs_that_nobody_computes_are_off():
    case = _case("label_small")
    case.arrays["backbone.s4"][0, 0, 0, 0] = np.nan
    case.arrays["sem_seg_argmax"][:40, :40] += 1
    case.arrays["panoptic_seg"][:40, :40] += 1
    text = str(case.arrays["segments_info_ov0.1_json"])
    assert '"category_id": ' in text
    case.arrays["segments_info_ov0.1_json"] = np.array(text.replace('"category_id": ', '"category_id": 1'))
    case.arrays["decoder.something"] = np.zeros(3, np.float32)
    case.names.append("decoder.something")
    off = {name for name, verdict in _verdicts(case).items() if verdict == "OFF"}
    changed = {"backbone.s4", "sem_seg_argmax", "panoptic_seg", "panoptic_seg_ov0.1", "decoder.something"}
    assert off == changed


def test_instances_are_compared_as_a_set():
    case = _case("label_small")
    order = np.random.default_rng(0).permutation(len(case.arrays["instances.scores"]))
    shape = case.arrays["instances.masks_shape"]
    masks = np.unpackbits(case.arrays["instances.masks_packed"], count=int(shape.prod())).reshape(shape)
    case.arrays["instances.masks_packed"] = np.packbits(masks[order])
    case.arrays["instances.scores"] = case.arrays["instances.scores"][order]
    case.arrays["instances.classes"] = case.arrays["instances.classes"][order]
    assert _verdicts(case)["instances"] == "ok"
    case.arrays["instances.masks_packed"] = np.packbits(1 - masks[order])
    assert _verdicts(case)["instances"] == "OFF"


def test_a_panoptic_map_is_merged_with_the_threshold_and_the_things_of_its_name():
    # Two queries of category 1; the second covers four pixels and keeps two of them.
    probabilities = torch.full((2, 7), 0.02)
    probabilities[:, 1] = 0.88
    masks = torch.tensor([[[4.0, 4.0, -4.0, -4.0]], [[1.0, 1.0, 1.0, 1.0]]])
    result = Segmentation(
        probabilities.log(), masks, frozenset(), topk=1, object_mask_threshold=0.0, overlap_threshold=0.8
    )

    case = _case("label_512")
    case.arrays["segments_info_ov0.3_class1stuff_json"] = np.array("[]")
    assert case.panoptic("panoptic_seg", result).map.tolist() == [[1, 1, 0, 0]]
    assert case.panoptic("panoptic_seg_ov0.6", result).map.tolist() == [[1, 1, 0, 0]]
    assert case.panoptic("panoptic_seg_ov0.3", result).map.tolist() == [[1, 1, 2, 2]]
    merged = case.panoptic("panoptic_seg_ov0.3_class1stuff", result)
    assert merged.map.tolist() == [[1, 1, 1, 1]]
    assert [segment.isthing for segment in merged.segments] == [False]
