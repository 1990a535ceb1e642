"""Ceilings, floors and advice, and the command on a toy bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import TensorProto, helper
from PIL import Image

from benchmarks.roofline.ceilings import Ceilings, Probe, Size, ceilings, probes
from benchmarks.roofline.chart import draw
from benchmarks.roofline.judgement import advice, floor_seconds, furthest, row
from benchmarks.roofline.measurement import expanded, measure
from benchmarks.roofline.rounds import Timing, timed_in_rounds
from benchmarks.roofline.work import GraphWork, NodeWork, Work, count
from export.fusing import DOMAIN
from odise_trt.backends import open_backend
from odise_trt.errors import BundleError
from tests.door import call, verb
from tests.odise_trt import toy_bundle

#: In a second: a matrix product of 100 operations, a convolution of 200, or 10 bytes moved.
MACHINE = Ceilings(matmul=100.0, conv=200.0, copy=10.0)
SMALL = Size(side=8, channels=2, height=8, repeats=2, copied=1024)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (200, 130), (200, 30, 30)).save(path)
    return path


def work_of(**amounts: int) -> GraphWork:
    least = Work(**amounts)
    return GraphWork((NodeWork("one", "Conv", least), NodeWork("two", "Relu", Work(activations=50))), least)


def test_products_follow_each_other_and_bytes_move_beside_them() -> None:
    assert floor_seconds(Work(matmul=100, conv=200, activations=10), MACHINE) == 1.0 + 1.0
    assert floor_seconds(Work(matmul=100, weights=20, activations=10), MACHINE) == 3.0


def test_a_stage_is_judged_by_the_sum_of_its_calls() -> None:
    found = row("features", [work_of(conv=200), work_of(conv=400)], Timing(6.0, 7.0, 9.0), MACHINE, None)
    assert found.floor == 1.0 + 2.0
    assert found.layered_floor == 3.0 + 2 * 5.0
    assert found.share == 0.5
    assert found.above == 3.0
    assert found.calls == 2


def test_under_load_the_processor_time_is_judged() -> None:
    time = Timing(best=10.0, median=20.0, cpu=8.0)
    assert row("features", [work_of(conv=200)], time, MACHINE, 2).judged == 4.0
    assert row("features", [work_of(conv=200)], time, MACHINE, None).judged == 10.0


def test_the_next_stage_is_the_one_with_most_seconds_to_win() -> None:
    near = row("features", [work_of(conv=2000)], Timing(11.0, 11.0, 11.0), MACHINE, None)
    far = row("mask_head", [work_of(conv=200)], Timing(4.0, 4.0, 4.0), MACHINE, None)
    assert furthest([near, far]) is far
    text = advice([near, far], {"Relu": 2.0, "Conv": 1.0}, MACHINE)
    assert "next: mask_head" in text
    assert "Relu 67%, Conv 33%: less than half is products" in text
    assert "most is products" in advice([near, far], {"Conv": 3.0, "Relu": 1.0}, MACHINE)
    assert advice([near, far], {}, MACHINE).endswith("allow 1000.0 ms.")


def test_rounds_alternate_and_the_first_one_does_not_count() -> None:
    order: list[str] = []
    done: list[int] = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    found = timed_in_rounds(works, 2, ahead=done.append)
    assert order == ["a", "b"] * 3
    assert done == [1, 2, 3]
    assert all(0 <= one.best <= one.median for one in found.values())


def test_a_ceiling_is_the_amount_over_the_time() -> None:
    found = {name: Probe(100, lambda: None) for name in ("matmul", "conv", "copy")}
    assert ceilings({"matmul": 2.0, "conv": 4.0, "copy": 5.0}, found) == Ceilings(50.0, 25.0, 20.0)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_probes_run_in_the_backend_and_give_one_finite_number(precision: str) -> None:
    backend = open_backend("onnxruntime", precision=precision, threads=1)
    with probes(backend, precision, "cpu", 1, SMALL) as found:
        assert found["matmul"].amount == 2 * 8**3 * 2
        assert found["conv"].amount == 2 * 2 * 2 * 9 * 64 * 2
        for name in ("matmul", "conv"):
            (number,) = found[name].run().values()  # type: ignore[attr-defined]
            assert number.shape == (1, 1)
            assert number.dtype == {"fp32": "float32", "fp16": "float16"}[precision]
            assert abs(number.item()) < 1000


def test_every_stage_of_a_bundle_is_measured(toy: Path, photo: Path) -> None:
    found = measure(toy, image=photo, threads=1, rounds=1, size=SMALL)
    assert [one.stage for one in found.rows] == ["captioner", "features", "mask_head", "clip_pool"]
    assert all(one.floor > 0 and one.seconds > 0 for one in found.rows)
    assert found.next.startswith("next: ")
    assert found.bundle["inputs"]["captioner"]["windows"][1:] == (3, 128, 128)


def test_windows_one_at_a_time_are_more_calls_with_the_same_operations(toy: Path, photo: Path) -> None:
    together, alone = (
        measure(toy, image=photo, threads=1, rounds=1, size=SMALL, windows=count) for count in (2, 1)
    )
    assert (together.rows[0].calls, alone.rows[0].calls) == (1, 2)
    assert together.rows[0].work.flops == alone.rows[0].work.flops
    assert together.rows[0].work.weights * 2 == alone.rows[0].work.weights


def test_engines_without_a_graph_ask_for_a_bundle_with_one(toy: Path, photo: Path, tmp_path: Path) -> None:
    other = toy_bundle.make(tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    stage = next(one for one in manifest["stages"] if one["spec"]["name"] == "captioner")
    renamed = {"captioner.onnx": "captioner.engine"}
    stage["file"], stage["files"] = "captioner.engine", [renamed.get(name, name) for name in stage["files"]]
    manifest["files"] = {renamed.get(name, name): facts for name, facts in manifest["files"].items()}
    (other / "manifest.json").write_text(json.dumps(manifest))
    (other / "captioner.onnx").rename(other / "captioner.engine")
    with pytest.raises(BundleError, match=r"no ONNX file of captioner.*\n.*give --graphs"):
        measure(other, image=photo, threads=1, rounds=1, size=SMALL)
    assert measure(other, image=photo, graphs=toy, threads=1, rounds=1, size=SMALL).rows


def test_the_command_writes_numbers_and_a_picture(
    toy: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.roofline.measurement.SIZES", {"cpu": SMALL})
    record, picture = tmp_path / "out" / "roofline.json", tmp_path / "out" / "roofline.png"
    arguments = ["--engines", toy, "--image", photo, "--threads", "1", "--repeats", "1"]
    done = call(verb("benchmarks.cli:app", "roofline"), *arguments, "--json", record, "--picture", picture)
    assert done.status == 0, done.stderr
    assert "measured ceilings" in done.stdout
    found = json.loads(record.read_text())
    assert found["stages"]["features"]["flops"] > 0
    assert found["judged_by"] in ("wall time", "processor time")
    with Image.open(picture) as image:
        assert image.size == (960, 600)


def test_a_picture_of_others_is_kept_and_named_before_anything_is_measured(tmp_path: Path) -> None:
    Image.new("RGB", (3, 3)).save(tmp_path / "mine.png")
    before = (tmp_path / "mine.png").read_bytes()
    for name, message in (("mine.png", "is not a picture of a roofline"), ("r.jpg", "not the name of a PNG")):
        arguments = ["--engines", "/nowhere", "--picture", tmp_path / name]
        done = call(verb("benchmarks.cli:app", "roofline"), *arguments)
        assert done.status == 1
        assert message in done.stderr
    assert (tmp_path / "mine.png").read_bytes() == before


def test_dots_and_roofs_are_inside_the_picture() -> None:
    rows = [
        row(name, [work_of(conv=10**power, weights=5)], Timing(1.0, 1.0, 1.0), MACHINE, None)
        for power, name in ((1, "captioner"), (2, "features"))
    ]
    image = draw(rows, MACHINE, "a machine")
    assert {(31, 119, 180), (214, 39, 40), (90, 90, 90)} <= {
        color for _, color in image.getcolors(1 << 20) or []
    }


def test_fused_operators_are_counted_as_what_they_stand_for() -> None:
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, (1, 5, 8)) for name in "qkvy"]
    node = helper.make_node("MultiHeadAttention", list("qkv"), ["y"], domain=DOMAIN, num_heads=2, scale=0.5)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)]
    graph = helper.make_graph([node], "attention", rows[:3], rows[3:])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    found = count(expanded(model), dict.fromkeys("qkv", (1, 5, 8)))
    # Two heads of four numbers: two products of 5 x 4 by 4 x 5, and two of 5 x 5 by 5 x 4.
    assert found.least.matmul == 2 * 2 * (5 * 5 * 4) + 2 * 2 * (5 * 5 * 4)
    assert found.least.activations == 4 * 5 * 8 * 2
