"""Memory and copies of the paper's model on a GPU, worked out from its declarations alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from export.stages import STAGES, steps
from odise_trt.chains.plan import Plan, make_plan
from odise_trt.chains.read_back import READS
from odise_trt.chains.resident import Packed
from odise_trt.chains.vectors import PictureSize, picture_tensors, request_tensors
from odise_trt.pipeline import Pipeline
from odise_trt.pipeline.sizes import has_windows
from odise_trt.stage_spec import bytes_of
from odise_trt.task import TASKS, Task
from reference.preset import find_preset

PRESET = find_preset("odise-label")
PIPELINE = Pipeline(steps(PRESET), {name: stage.declare(PRESET).at("fp16") for name, stage in STAGES.items()})
#: COCO's categories with their names.
WORDS = {"texts": 254, "categories": 133, "synonyms": 17}


class NoScratch:
    """An engine that needs no memory of its own."""

    def scratch(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        return 0


def given(picture: tuple[int, int], output: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of all that the host gives."""
    padded = tuple(side + -side % PRESET.divisor for side in picture)
    size = PictureSize(picture, padded, output, PRESET.window, PRESET.clip.image_size)
    shapes = {name: array.shape for name, array in (picture_tensors(size) | request_tensors(0, 0.8)).items()}
    for step in PIPELINE.steps:
        declared = {tensor.name: tensor for tensor in PIPELINE.stages[step.stage].inputs}
        for name, wiring in step.inputs.items():
            if wiring.startswith("vocabulary."):
                shapes[wiring] = declared[name].resolve(WORDS)
    return shapes | {"picture.picture": (*picture, 3)}


def plan(
    picture: tuple[int, int], output: tuple[int, int], tasks: tuple[Task, ...], pictures: int = 1
) -> Plan:
    engines = dict.fromkeys(PIPELINE.stages, NoScratch())
    at_once = {"windows": 10, "rows": 4096}
    return make_plan(
        PIPELINE, tasks, given(picture, output), READS, engines, at_once, 2**40, pictures=pictures
    )


@pytest.mark.parametrize("tasks", [TASKS, *((task,) for task in TASKS)])
@pytest.mark.parametrize(
    ("picture", "output"),
    [
        ((1024, 1024), (1024, 1024)),
        ((1024, 1365), (1024, 1365)),
        ((1024, 2560), (3000, 7500)),
        ((2560, 300), (5001, 587)),
        ((640, 832), (1, 9)),
    ],
)
def test_the_arena_is_close_to_what_lives_at_once(picture, output, tasks) -> None:
    made = plan(picture, output, tasks)
    assert made.arena.least <= made.arena.bytes <= 1.02 * made.arena.least


def test_tensors_of_the_papers_picture_take_less_than_a_quarter_of_a_gigabyte() -> None:
    assert plan((1024, 1024), (1024, 1024), ("panoptic",)).arena.bytes < 2**28


@pytest.mark.parametrize(("side", "pictures"), [(512, 4), (512, 10), (1024, 2)])
def test_a_group_needs_more_memory_for_its_windows_and_the_masks_of_one_picture(
    side: int, pictures: int
) -> None:
    made = plan((side, side), (side, side), TASKS, pictures)
    assert made.arena.least <= made.arena.bytes <= 1.02 * made.arena.least
    alone = plan((side, side), (side, side), TASKS)
    windows = sum(
        bytes_of(tensor.dtype, one.shape(tensor))
        for one in alone.steps
        for tensor in one.spec.outputs
        if has_windows(tensor)
    )
    (head,) = (one for one in alone.steps if one.step.stage == "mask_head")
    masks = sum(bytes_of(tensor.dtype, head.shape(tensor)) + 256 for tensor in head.spec.outputs)
    clip_image = bytes_of("float32", (3, PRESET.clip.image_size, PRESET.clip.image_size)) + 256
    # Maps of all windows stay until the last picture is stitched. Alone, they are gone when masks are made.
    assert made.arena.bytes <= alone.arena.bytes + (pictures - 1) * (windows + clip_image) + masks
    assert made.per_run["features"] == pictures * alone.per_run["features"] <= 10
    assert made.kept_bytes == pictures * alone.kept_bytes


def test_less_than_8_megabytes_are_copied_for_the_papers_picture() -> None:
    size = PictureSize((1024, 1024), (1024, 1024), (1024, 1024), PRESET.window, PRESET.clip.image_size)
    vectors = Packed({name: (one.shape, str(one.dtype)) for name, one in picture_tensors(size).items()})
    copied = (
        3 * 1024 * 1024 + vectors.bytes + Packed(plan((1024, 1024), (1024, 1024), ("panoptic",)).kept).bytes
    )
    assert copied < 8_000_000


def test_large_results_run_in_blocks_of_rows() -> None:
    made = plan((1024, 2560), (3000, 7500), TASKS)
    for one in made.steps:
        if one.step.repeat == "rows":
            count = made.per_run[one.step.stage]
            assert 1 <= count <= one.spec.axis("rows").maximum
            for tensor in (*one.spec.inputs, *one.spec.outputs):
                if one.step.is_repeated(tensor):
                    assert one.part(tensor, count)[0] == count
    assert made.per_run["panoptic"] <= 64
