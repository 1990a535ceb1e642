"""Groups of pictures: which steps run together, and that each picture gets what it would get alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from odise_trt.backends.device import DeviceTensor
from odise_trt.backends.tensorrt import TensorRTBackend
from odise_trt.bundle.manifest import StageEntry
from odise_trt.chains.plan import make_plan, most_pictures
from odise_trt.chains.program import Copy, Launch, bind
from odise_trt.pipeline import Pipeline, Step
from odise_trt.pipeline.group import can_group, group_steps
from odise_trt.pipeline.sizes import named, size_steps
from odise_trt.stage_spec import Profile
from tests.odise_trt import toy_bundle
from tests.odise_trt.small_stage import spec
from tests.stand_in.tensorrt import Machine, engine_file

#: Windows are cut of a picture. `slow` doubles them, `join` adds their mean and the pixels, `sum` adds rows.
PIPELINE = Pipeline(
    (
        Step("cut", {"picture": "picture.picture", "shift": "picture.shift"}),
        Step("slow", {"part": "cut.windows"}, repeat="windows"),
        Step("join", {"maps": "slow.maps", "mean": "cut.mean", "pixels": "picture.picture"}),
        Step("sum", {"row": "join.whole"}, repeat="rows", carried={"total": "so_far"}),
    ),
    {
        "cut": spec(
            "cut",
            {"picture": ("height", "width"), "shift": ("windows", "width")},
            {"windows": ("windows", "width"), "mean": (1, "width")},
        ),
        "slow": spec("slow", {"part": ("windows", "width")}, {"maps": ("windows", "width")}),
        "join": spec(
            "join",
            {"maps": ("windows", "width"), "mean": (1, "width"), "pixels": ("height", "width")},
            {"whole": ("height", "width")},
        ),
        "sum": spec("sum", {"row": ("rows", "width"), "so_far": (1, "width")}, {"total": (1, "width")}),
    },
)
GRAPHS = {
    "cut": [
        helper.make_node("Add", ["picture", "shift"], ["windows"]),
        helper.make_node("ReduceMean", ["windows", "axis"], ["mean"], keepdims=1),
    ],
    "slow": [helper.make_node("Add", ["part", "part"], ["maps"])],
    "join": [
        helper.make_node("Add", ["maps", "mean"], ["raised"]),
        helper.make_node("Add", ["raised", "pixels"], ["whole"]),
    ],
    "sum": [
        helper.make_node("ReduceSum", ["row", "axis"], ["rows"], keepdims=1),
        helper.make_node("Add", ["rows", "so_far"], ["total"]),
    ],
}
WINDOWS = 3


def given(width: int) -> dict[str, tuple[int, ...]]:
    return {"picture.picture": (WINDOWS, width), "picture.shift": (WINDOWS, width)}


def steps(pictures: int, width: int = 64):
    return group_steps(size_steps(PIPELINE, PIPELINE.steps, given(width)), pictures)


def test_a_picture_alone_has_the_steps_it_always_had() -> None:
    PIPELINE.check()
    assert steps(1) == size_steps(PIPELINE, PIPELINE.steps, given(64))


def test_steps_over_windows_run_once_and_all_others_for_each_picture_in_turn() -> None:
    assert [(one.step.stage, one.picture) for one in steps(2)] == [
        ("cut", 0), ("cut", 1), ("slow", None), ("join", 0), ("sum", 0), ("join", 1), ("sum", 1)
    ]  # fmt: skip
    assert [one.sizes["windows"] for one in steps(2) if "windows" in one.sizes] == [3, 3, 6, 3, 3]


def test_windows_are_one_tensor_and_everything_else_is_of_a_picture() -> None:
    _, cut, slow, _, _, join, total = steps(2)
    windows, mean = cut.spec.outputs
    assert (cut.target(windows), cut.whole(windows), cut.rows(windows)) == ("cut.windows", (6, 64), (3, 6))
    assert (cut.target(mean), cut.rows(mean)) == ("cut.mean of picture 2", None)
    picture, shift = cut.spec.inputs
    assert cut.source(picture) == "picture.picture of picture 2"
    # It has a row for each window, but those of one picture: all pictures of a group have the same.
    assert (cut.source(shift), cut.rows(shift)) == ("picture.shift", None)
    assert (slow.source(slow.spec.inputs[0]), slow.target(slow.spec.outputs[0])) == (
        "cut.windows",
        "slow.maps",
    )
    assert [join.source(tensor) for tensor in join.spec.inputs] == [
        "slow.maps", "cut.mean of picture 2", "picture.picture of picture 2"
    ]  # fmt: skip
    assert total.own("so_far") == "sum.so_far of picture 2"


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (1, {"repeat": None}),  # nothing is repeated over windows
        (1, {"inputs": {"part": "picture.shift"}}),  # windows of one picture only
        (1, {"inputs": {"part": "picture.picture"}}),
        (1, {"inputs": {"part": "cut.mean"}}),  # no windows
        (1, {"carried": {"maps": "part"}}),  # sums over the windows of all pictures
        (2, {"inputs": {"maps": "cut.mean", "mean": "cut.mean", "pixels": "picture.picture"}}),
    ],
)  # fmt: skip
def test_pictures_whose_windows_would_mix_with_anything_else_never_run_together(number: int, changes) -> None:
    assert can_group(PIPELINE)
    changed = [replace(step, **changes) if n == number else step for n, step in enumerate(PIPELINE.steps)]
    assert not can_group(replace(PIPELINE, steps=tuple(changed)))


@pytest.mark.parametrize(
    ("at_once", "profile", "most"), [(12, 1000, 4), (11, 1000, 3), (2, 1000, 1), (12, 7, 2)]
)
def test_as_many_pictures_run_together_as_a_run_takes_windows(at_once: int, profile: int, most: int) -> None:
    slow = replace(PIPELINE.stages["slow"], profiles=(Profile("any", {"windows": (1, 4, profile)}),))
    pipeline = replace(PIPELINE, stages={**PIPELINE.stages, "slow": slow})
    assert most_pictures(size_steps(pipeline, pipeline.steps, given(64)), {"windows": at_once}) == most


@pytest.mark.parametrize("width", [64, 5])  # windows at aligned addresses, and between them
@pytest.mark.parametrize("windows", [12, 4])
def test_each_picture_of_a_group_gets_what_it_gets_alone(tmp_path: Path, width: int, windows: int) -> None:
    machine = Machine()
    cuda = machine.cuda()
    backend = TensorRTBackend("tensorrt", machine.module(), cuda)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 100, (4, WINDOWS, width)).astype(np.float32)
    shift = np.arange(WINDOWS * width, dtype=np.float32).reshape(WINDOWS, width)
    with cuda.current():
        engines = {}
        for name, stage in PIPELINE.stages.items():
            axis = {} if name in ("slow", "join") else {"axis": np.array([0])}
            onnx.save(toy_bundle.model(stage, GRAPHS[name], **axis), tmp_path / f"{name}.onnx")
            (tmp_path / f"{name}.engine").write_bytes(engine_file(tmp_path / f"{name}.onnx", stage))
            entry = StageEntry(stage, f"{name}.engine", (f"{name}.engine",), "", 0.0, 0)
            engines[name] = backend.open_stage(tmp_path, entry)
        at_once = {"windows": windows, "rows": 2}
        plan = make_plan(
            PIPELINE, ("panoptic",), given(width), ["sum.total"], engines, at_once, 2**30, pictures=4
        )  # type: ignore[arg-type]
        backend.reserve_scratch(plan.most_scratch)
        tensors = {}
        arrays = {named("picture.picture", n): one for n, one in enumerate(pictures)}
        for name, array in {**arrays, "picture.shift": shift}.items():
            tensors[name] = DeviceTensor(cuda.allocate(array.nbytes), "float32", array.shape)
            cuda.upload(tensors[name].address, array)
        for name, (shape, dtype) in plan.kept.items():
            tensors[name] = DeviceTensor(cuda.allocate(4 * width), dtype, shape)
        program = bind(plan, engines, cuda.allocate(plan.arena.bytes), tensors)  # type: ignore[arg-type]
        program.queue(cuda)
        found = np.empty((4, 1, width), np.float32)
        for number in range(4):
            cuda.download(found[number], tensors[named("sum.total", number)].address)
        cuda.synchronize()
    cut = pictures + shift
    whole = 2 * cut + cut.mean(axis=1, keepdims=True) + pictures
    expected = whole.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    ran = [shapes["part"][0] for stage, shapes in machine.ran if stage == "slow"]
    assert ran == [windows] * (12 // windows)
    copies = [one for one in program.operations if isinstance(one, Copy)]
    launches = [one for one in program.operations if isinstance(one, Launch)]
    assert (copies == []) == (width == 64)
    assert len(launches) == 4 + 12 // windows + 4 + 4 * 2
