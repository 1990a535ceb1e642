"""The graphs between the model's parts give what numpy gives in the CPU chain, at any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from export.stages.classify import Classify
from export.stages.examples import fields
from export.stages.panoptic import Panoptic
from export.stages.top_instances import TopInstances
from odise_trt.chains.vectors import (
    PictureSize,
    picture_tensors,
    request_tensors,
    stitch_tensors,
    taps_of,
    vocabulary_tensors,
)
from odise_trt.classify import classify
from odise_trt.errors import ExportError
from odise_trt.interpolate import AxisMap
from odise_trt.masks import MaskTiles
from odise_trt.postprocess import class_probabilities, instances, panoptic
from odise_trt.preprocess import clip_image, pad, to_planes
from odise_trt.semantic_map import semantic
from odise_trt.text_table import TextTable
from odise_trt.vocabulary import Vocabulary
from odise_trt.windows import Grid, Stitcher
from reference.preset import GOLDEN_CAPTION, GOLDEN_LABEL
from tests.pipeline_interpreter import Arrays, Interpreter
from tests.test_pipeline import instances_of, segments_of

#: Of the demo model: queries, widths of both embeddings, and the side of windows.
Q, D, E, WINDOW = 32, 64, 64, 128
#: Height and width: of one pixel and of a row, portrait and landscape, with windows that overlap along no
#: axis, one or both, and lower than a window.
PICTURES = [(1, 1), (1, 7), (256, 256), (256, 342), (200, 150), (150, 300), (70, 640), (640, 64), (256, 640)]
OUTPUTS = [(1, 1), (1, 7), (7, 1), (40, 60), (131, 53), (9, 300)]


@pytest.fixture(scope="module")
def interpreter(demo_bundle: Path) -> Interpreter:
    return Interpreter(demo_bundle, {"rows": 50})


def size_of(picture: tuple[int, int], output: tuple[int, int] = (1, 1)) -> PictureSize:
    height, width = (side + -side % 64 for side in picture)
    return PictureSize(picture, (height, width), output, WINDOW, 168)


@pytest.mark.parametrize("picture", PICTURES, ids=str)
def test_windows_and_the_picture_for_clip_equal_numpys(
    picture: tuple[int, int], interpreter: Interpreter
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*picture, 3), dtype=np.uint8)
    size = size_of(picture)
    tensors = {"picture.picture": pixels} | picture_tensors(size)
    interpreter.step("cut", tensors)
    planes = to_planes(pixels)
    padded = pad(planes, 64)
    np.testing.assert_array_equal(tensors["cut.windows"], Grid.over(*size.padded, WINDOW).cut(padded))
    np.testing.assert_array_equal(tensors["cut.clip_image"], clip_image(planes, 168))


def maps_of(grid: Grid, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        f"s{level}": rng.standard_normal((len(grid), 128, grid.side // k, grid.side // k), dtype=np.float32)
        for level, k in ((2, 4), (3, 8), (4, 16), (5, 32))
    }


def stitched(grid: Grid, maps: Arrays, interpreter: Interpreter) -> Arrays:
    blocks = {f"picture.{name}": tensor for name, tensor in stitch_tensors(grid).items()}
    tensors = blocks | {f"features.{name}": array for name, array in maps.items()}
    interpreter.step("stitch", tensors)
    return tensors


@pytest.mark.parametrize("picture", PICTURES, ids=str)
def test_stitched_maps_equal_numpys(picture: tuple[int, int], interpreter: Interpreter) -> None:
    grid = Grid.over(*size_of(picture).padded, WINDOW)
    maps = maps_of(grid)
    tensors = stitched(grid, maps, interpreter)
    for name, stride in (("s2", 4), ("s3", 8), ("s4", 16), ("s5", 32)):
        stitcher = Stitcher(grid, stride)
        stitcher.add(maps[name])
        np.testing.assert_array_equal(tensors[f"stitch.{name}"], stitcher.result())
    assert not tensors["stitch.maps_not_finite"].any()


def test_numbers_that_are_not_finite_are_counted_per_level(interpreter: Interpreter) -> None:
    grid = Grid.over(192, 192, WINDOW)
    maps = maps_of(grid)
    maps["s2"][0, 3, :2, 5] = np.nan
    maps["s3"][1, 0, 0, 0] = np.inf
    maps["s5"][3, 0, 0, :3] = -np.inf
    maps["s4"][0, 0, 0, 0] = np.finfo(np.float32).max
    assert stitched(grid, maps, interpreter)["stitch.maps_not_finite"].tolist() == [2, 1, 0, 3]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 640), (256, 320), (192, 192), (320, 640)])
def test_shares_of_blocks_add_up_to_one_and_no_block_of_a_window_is_left_out(height: int, width: int) -> None:
    grid = Grid.over(height, width, WINDOW)
    tensors = stitch_tensors(grid)
    assert (tensors["tap_weight"].sum(0) == 1).all()
    used = tensors["tap_block"][tensors["tap_weight"] > 0]
    assert sorted(used) == list(range(len(grid) * (grid.side // 32) ** 2))


def test_taps_add_the_weights_of_the_same_element() -> None:
    axis = AxisMap.bilinear(16, 64).then(AxisMap.bilinear(60, 131))
    index, weight = taps_of(axis)
    dense = np.zeros((131, 16))
    np.add.at(dense, (np.arange(131)[:, None], index), weight)
    rows, block = axis.block(0, 131)
    np.testing.assert_array_equal(dense.astype(np.float32)[:, rows], block)


def table_of(sizes: Sequence[int], seed: int = 0) -> TextTable:
    rng = np.random.default_rng(seed)
    names = [[f"name {k} {i}" for i in range(count)] for k, count in enumerate(sizes)]
    return TextTable(
        vocabulary=Vocabulary.parse("".join(f"{', '.join(some)};" for some in names)),
        clip_text_embed=rng.standard_normal((sum(sizes), E), dtype=np.float32),
        text_embed=rng.standard_normal((sum(sizes), D), dtype=np.float32),
        row_to_category=np.repeat(np.arange(len(sizes)), sizes),
        isthing=np.arange(len(sizes)) % 2 == 0,
        seen=np.arange(len(sizes)) % 3 == 0,
    )


def embeds_of(table: TextTable, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of masks that look like a name, more or less."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(table.text_embed), size=Q)
    made = []
    for table_embed in (table.text_embed, table.clip_text_embed):
        noise = rng.standard_normal((Q, table_embed.shape[1]), dtype=np.float32)
        made.append((7 * (table_embed[rows] + 0.5 * noise))[None])
    return made[0], made[1]


def classified(
    table: TextTable, embeds: Sequence[np.ndarray], interpreter: Interpreter, threshold: float
) -> Arrays:
    tensors = {
        "mask_head.mask_embed": embeds[0],
        "clip_pool.clip_mask_embed": embeds[1],
        "mask_head.pred_masks": np.zeros((1, Q, 16, 16), np.float32),
        **vocabulary_tensors(table, 0.3, 0.7),
        **request_tensors(threshold, 0.8),
    }
    interpreter.step("classify", tensors)
    return tensors


VOCABULARIES = {
    "one word": [1],
    "one category with many names": [40],
    "one of many names and many of one": [70, *[1] * 300],
    "names of many counts": [1, 2, 3, 5, 8, 13, 1, 1],
    "many": [1, 2] * 700,
}


@pytest.mark.parametrize("threshold", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("sizes", VOCABULARIES.values(), ids=VOCABULARIES)
def test_class_probabilities_are_numpys(
    sizes: list[int], threshold: float, interpreter: Interpreter, demo_bundle: Path
) -> None:
    table = table_of(sizes)
    embeds = embeds_of(table)
    tensors = classified(table, embeds, interpreter, threshold)
    constants = np.load(demo_bundle / "constants.npz")
    expected = class_probabilities(
        classify(
            embeds[0][0],
            embeds[1][0],
            table,
            logit_scale=float(constants["logit_scale"]),
            clip_logit_scale=float(constants["clip_logit_scale"]),
            alpha=0.3,
            beta=0.7,
            null_embed=constants["null_embed"],
        )
    )
    np.testing.assert_allclose(tensors["classify.probabilities"], expected[:, :-1], atol=5e-6)
    best, score = expected.argmax(1), expected.max(1)
    competes = (best != len(sizes)) & (score > threshold)
    np.testing.assert_allclose(tensors["classify.score"], np.where(competes, score, -1), atol=5e-6)
    np.testing.assert_array_equal(tensors["classify.category"][competes], best[competes])
    assert not tensors["classify.numbers_not_finite"].any()


def test_masks_and_embeddings_that_are_not_finite_are_counted(interpreter: Interpreter) -> None:
    table = table_of([2, 3])
    mask_embed, clip_mask_embed = embeds_of(table)
    mask_embed[0, 3, 5] = np.nan
    clip_mask_embed[0, :2, 0] = np.inf
    counts = classified(table, (mask_embed, clip_mask_embed), interpreter, 0.0)["classify.numbers_not_finite"]
    assert counts[:3].tolist() == [0, 1, 2]
    assert counts[3] >= 2  # their probabilities


def masks_of(padded: tuple[int, int], seed: int, offset: float = -2.0) -> np.ndarray:
    """Mask logits (1, Q, h, w) of blobs, with an empty one and a full one."""
    generator = torch.Generator().manual_seed(seed)
    masks = (4 * fields(1, Q, padded[0] // 4, padded[1] // 4, generator) + offset).numpy()
    masks[:, 0], masks[:, 1] = -9, 9
    return np.ascontiguousarray(masks)


def probabilities_of(categories: int, seed: int) -> np.ndarray:
    """Class probabilities (Q, categories + 1)."""
    logits = np.random.default_rng(seed).standard_normal((Q, categories + 1)) * 2
    logits[:, -1] -= 1
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32)


def given(
    masks: np.ndarray,
    probabilities: np.ndarray,
    size: PictureSize,
    thresholds: tuple[float, float] = (0.0, 0.8),
) -> tuple[Arrays, TextTable]:
    """What the steps after the classification take."""
    table = table_of([1] * (probabilities.shape[1] - 1))
    best, score = probabilities.argmax(1), probabilities.max(1)
    competes = (best != len(table.vocabulary)) & (score > np.float32(thresholds[0]))
    return {
        "mask_head.pred_masks": masks,
        "classify.probabilities": np.ascontiguousarray(probabilities[:, :-1]),
        "classify.category": probabilities[:, :-1].argmax(1),
        "classify.score": np.where(competes, score, -1).astype(np.float32),
        **picture_tensors(size),
        **vocabulary_tensors(table, 0.3, 0.7),
        **request_tensors(*thresholds),
    }, table


def check_panoptic(
    masks: np.ndarray,
    probabilities: np.ndarray,
    size: PictureSize,
    interpreter: Interpreter,
    thresholds: tuple[float, float] = (0.0, 0.8),
) -> list[int]:
    """Compare with numpy. Returns the category of each segment."""
    tensors, table = given(masks, probabilities, size, thresholds)
    for stage in ("panoptic", "assign", "paint"):
        interpreter.step(stage, tensors)
    tiles = MaskTiles(masks[0], size.padded, size.picture, size.output)
    isthing = table.isthing.tolist()
    ids, segments = panoptic(tiles, probabilities, table.vocabulary.names, isthing, *thresholds)
    np.testing.assert_array_equal(tensors["paint.panoptic"], ids)
    assert segments_of(tensors, table) == segments
    return [segment.category_id for segment in segments]


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
@pytest.mark.parametrize("picture", [(256, 256), (60, 200), (251, 190)], ids=str)
def test_panoptic_ids_and_segments_equal_numpys(
    picture: tuple[int, int], output: tuple[int, int], interpreter: Interpreter
) -> None:
    size = size_of(picture, output)
    check_panoptic(masks_of(size.padded, sum(output)), probabilities_of(5, sum(picture)), size, interpreter)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_thresholds_are_those_of_numpy(score: float, overlap: float, interpreter: Interpreter) -> None:
    size = size_of((100, 128), (60, 70))
    found = check_panoptic(
        masks_of(size.padded, 3), probabilities_of(9, 3), size, interpreter, (score, overlap)
    )
    assert bool(found) == (max(score, overlap) < 1)


def test_stuff_of_one_category_becomes_one_segment(interpreter: Interpreter) -> None:
    size = size_of((128, 128), (90, 80))
    # All queries have one of two categories: the first is a thing, the second is stuff.
    found = check_panoptic(masks_of(size.padded, 8), probabilities_of(2, 8), size, interpreter, (0.0, 0.3))
    assert found.count(1) == 1
    assert found.count(0) > 1


@pytest.mark.parametrize("logit", [-200.0, -9.0, 0.0, 200.0])
def test_masks_that_are_all_the_same(logit: float, interpreter: Interpreter) -> None:
    size = size_of((64, 64), (10, 12))
    masks = np.full((1, Q, 16, 16), logit, np.float32)
    found = check_panoptic(masks, probabilities_of(4, 0), size, interpreter)
    assert len(found) == (logit >= 0)


def test_a_share_that_equals_the_threshold_is_enough(interpreter: Interpreter) -> None:
    # Two masks of ten columns each; the second, which scores higher, takes two columns of the first.
    size = PictureSize((64, 64), (64, 64), (64, 64), WINDOW, 168)
    masks = np.full((1, Q, 16, 16), -9, np.float32)
    probabilities = np.full((Q, 3), 1e-3, np.float32)
    probabilities[:, 2] = 1
    masks[0, 0, :, :10], masks[0, 1, :, 8:] = 9, 9
    probabilities[0], probabilities[1] = (0.7, 0.1, 0.2), (0.8, 0.1, 0.1)
    tensors, _ = given(masks, probabilities, size)
    interpreter.step("panoptic", tensors)
    won = tensors["panoptic.row_counts"].sum(0)[:2].sum()
    share = float(won) / float(tensors["panoptic.whole"][0])
    assert 0.7 < share < 0.9
    assert len(check_panoptic(masks, probabilities, size, interpreter, (0.0, share))) == 2
    above = float(np.nextafter(np.float32(share * (1 + 1e-5)), np.float32(1)))
    assert len(check_panoptic(masks, probabilities, size, interpreter, (0.0, above))) == 1


@pytest.mark.parametrize("categories", [1, 2, 30])
@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_the_semantic_map_equals_numpys(
    output: tuple[int, int], categories: int, interpreter: Interpreter
) -> None:
    size = size_of((200, 256), output)
    masks, probabilities = masks_of(size.padded, 2), probabilities_of(categories, 2)
    tensors, _ = given(masks, probabilities, size)
    interpreter.step("semantic", tensors)
    tiles = MaskTiles(masks[0], size.padded, size.picture, size.output)
    np.testing.assert_array_equal(tensors["semantic.semantic"], semantic(tiles, probabilities))


def test_of_equal_categories_the_first_is_on_the_map(interpreter: Interpreter) -> None:
    size = size_of((64, 64), (20, 20))
    probabilities = probabilities_of(4, 5)
    probabilities[:, 2] = probabilities[:, 1]
    tensors, _ = given(masks_of(size.padded, 5), probabilities, size)
    interpreter.step("semantic", tensors)
    found = set(tensors["semantic.semantic"].ravel().tolist())
    assert 1 in found
    assert 2 not in found


@pytest.mark.parametrize("categories", [1, 2, 3, 150])
@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_instances_equal_numpys(output: tuple[int, int], categories: int, interpreter: Interpreter) -> None:
    size = size_of((256, 200), output)
    masks, probabilities = masks_of(size.padded, 7), probabilities_of(categories, 7)
    tensors, table = given(masks, probabilities, size)
    for stage in ("top_instances", "instances"):
        interpreter.step(stage, tensors)
    tiles = MaskTiles(masks[0], size.padded, size.picture, size.output)
    names, isthing = table.vocabulary.names, table.isthing
    expected = instances(tiles, probabilities, names, isthing, len(tensors["top_instances.instance_score"]))
    found = instances_of(tensors, table, output)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5)
        assert (one.category_id, one.area, one.bbox) == (other.category_id, other.area, other.bbox)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_pairs_that_do_not_exist_have_a_score_below_all() -> None:
    # Of 12 queries and one category, the best 20 pairs.
    stage = TopInstances(SimpleNamespace(preset=GOLDEN_LABEL))  # type: ignore[arg-type]
    probabilities = torch.linspace(0.1, 0.9, 12)[:, None]
    score, query, category = stage(probabilities)
    assert score[:12].tolist() == probabilities[:, 0].flip(0).tolist()
    assert query[:12].tolist() == list(range(12))[::-1]
    assert (score[12:] == -1).all()
    assert not query[12:].any()
    assert not category.any()


def test_a_byte_holds_no_more_than_128_queries() -> None:
    preset = replace(GOLDEN_LABEL, head=replace(GOLDEN_LABEL.head, num_queries=129))
    with pytest.raises(ExportError, match="129 queries"):
        Panoptic(SimpleNamespace(preset=preset))  # type: ignore[arg-type]


def test_a_caption_model_says_itself_what_is_nothing() -> None:
    head = SimpleNamespace(scale=lambda: torch.tensor(30.0))
    model = SimpleNamespace(
        preset=GOLDEN_CAPTION,
        mask_head=SimpleNamespace(predictor=SimpleNamespace(post_mask_embed=head)),
        clip=SimpleNamespace(scale=lambda: torch.tensor(100.0)),
    )
    table = table_of([1, 2, 3])
    embeds = embeds_of(table)
    pred_logits = np.random.default_rng(0).standard_normal((1, Q, 2)).astype(np.float32)
    expected = class_probabilities(
        classify(
            embeds[0][0],
            embeds[1][0],
            table,
            logit_scale=30.0,
            clip_logit_scale=100.0,
            alpha=0.35,
            beta=0.65,
            pred_logits=pred_logits[0],
        )
    )
    host = vocabulary_tensors(table, 0.35, 0.65) | request_tensors(0.0, 0.8)
    names = [tensor.name for tensor in Classify.declare(GOLDEN_CAPTION).inputs]
    values = {name.partition(".")[2]: array for name, array in host.items()} | {
        "mask_embed": embeds[0],
        "clip_mask_embed": embeds[1],
        "pred_masks": np.zeros((1, Q, 16, 16), np.float32),
        "pred_logits": pred_logits,
    }
    stage = Classify(model)  # type: ignore[arg-type]
    probabilities, score, category, _ = stage(*(torch.from_numpy(values[name]) for name in names))
    np.testing.assert_allclose(probabilities, expected[:, :-1], atol=5e-6)
    nothing = expected.argmax(1) == 3
    assert nothing.any()
    assert ((score == -1).numpy() == nothing).all()
    np.testing.assert_array_equal(category[~nothing], expected.argmax(1)[~nothing])
