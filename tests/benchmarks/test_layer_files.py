"""The files for NVIDIA's viewer: its rules, and what becomes of profiles of ONNX Runtime and TensorRT."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from benchmarks.layers import onnxruntime as ort_layers
from benchmarks.layers import openvino as ov_layers
from benchmarks.layers import tensorrt as trt_layers
from benchmarks.layers.command import table
from benchmarks.layers.profilers import profiler_of
from benchmarks.layers.profiles import profile_bundle
from benchmarks.layers.viewer_files import write_profiles
from benchmarks.layers.viewer_form import StageProfile, of_first_profile, problems, tensor
from odise_trt.backends.base import Options
from odise_trt.backends.registry import BACKENDS, BackendEntry, resolve
from odise_trt.bundle import Bundle
from odise_trt.errors import BackendError, OutputError
from tests.door import call, verb
from tests.odise_trt import toy_bundle


def layer(name: str, kind: str = "Relu", **more: Any) -> dict[str, Any]:
    ends = {side: [tensor(f"{name}.{side}", (1, 4), "float32")] for side in ("Inputs", "Outputs")}
    return {"Name": name, "LayerType": kind, **ends, **more}


@pytest.fixture
def profile() -> StageProfile:
    layers = [layer("a"), layer("fixed", "Constant"), layer("b", "Conv")]
    return StageProfile(layers, ["x", "y"], {"a": [1.0, 3.0, 2.0], "b": [6.0, 6.0, 6.0]})


def files(profile: StageProfile) -> tuple[Any, Any]:
    return json.loads(profile.layers_json()), json.loads(profile.profile_json())


def test_the_profile_starts_with_the_count_and_has_a_record_per_timed_layer(profile: StageProfile) -> None:
    _, (count, first, second) = files(profile)
    assert count == {"count": 3}
    assert first == {"name": "a", "timeMs": 6.0, "averageMs": 2.0, "medianMs": 2.0, "percentage": 25.0}
    assert (second["name"], second["percentage"]) == ("b", 75.0)
    assert problems(*files(profile)) == []


def test_seconds_by_type_are_medians_and_the_largest_is_first(profile: StageProfile) -> None:
    assert profile.seconds_by_type() == {"Conv": 0.006, "Relu": 0.002}
    assert list(profile.seconds_by_type()) == ["Conv", "Relu"]


def test_a_layer_without_a_time_has_zero(profile: StageProfile) -> None:
    without = StageProfile(profile.layers, profile.bindings, {"b": [6.0]})
    assert problems(*files(without)) == []
    assert files(without)[1][1]["averageMs"] == 0.0


def _drop(key: str) -> Callable[[Any, Any], Any]:
    return lambda layers, times: layers["Layers"][0].pop(key)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop("Name"), "has no Name or no LayerType"),
        (_drop("LayerType"), "has no Name or no LayerType"),
        (_drop("Inputs"), "has no list of Inputs"),
        (lambda layers, times: layers["Layers"][0]["Outputs"][0].pop("Dimensions"), "without Dimensions"),
        (lambda layers, times: layers["Layers"][0]["Inputs"][0].pop("Format/Datatype"), "without Format"),
        (lambda layers, times: layers.update(Layers=["only", "names"]), "only their names"),
        (lambda layers, times: layers.update(Layers=[]), "there are no layers"),
        (lambda layers, times: layers.pop("Layers"), "no object with a list called Layers"),
        (lambda layers, times: layers.update(Bindings=[]), "no binding belongs to the first profile"),
        (lambda layers, times: layers["Layers"][2].update(Name="a"), "two layers have one name"),
        (
            lambda layers, times: layers["Layers"][2].update(ParameterType="Convolution"),
            "needs Kernel, Groups",
        ),
        (lambda layers, times: times.pop(), "the profile has other layers"),
        (lambda layers, times: times.reverse(), "in another order"),
        (lambda layers, times: times[1].update(averageTime=times[1].pop("averageMs")), "lacks averageMs"),
    ],
)
def test_what_the_viewer_cannot_open_is_named(
    profile: StageProfile, spoil: Callable[[Any, Any], Any], message: str
) -> None:
    layers, times = copy.deepcopy(files(profile))
    spoil(layers, times)
    assert message in "; ".join(problems(layers, times))


def test_a_name_of_another_optimisation_profile_is_shown_as_the_first() -> None:
    assert of_first_profile("conv + relu [profile 1]") == "conv + relu"
    assert of_first_profile("conv + relu") == "conv + relu"


@pytest.fixture(scope="module")
def toy_profiles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StageProfile]:
    bundle = toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")
    return profile_bundle(bundle, threads=1, windows=1, runs=2)


def test_every_stage_of_a_bundle_opens_in_the_viewer(toy_profiles: dict[str, StageProfile]) -> None:
    assert list(toy_profiles) == ["captioner", "features", "mask_head", "clip_pool"]
    for profile in toy_profiles.values():
        assert problems(*files(profile)) == []
        assert profile.runs == 2
        assert sum(profile.seconds_by_type().values()) > 0


def test_layers_of_onnx_runtime_are_joined_by_their_tensors(toy_profiles: dict[str, StageProfile]) -> None:
    profile = toy_profiles["features"]
    made = {one["Name"] for layer in profile.layers for one in layer["Outputs"]}
    assert {"s2", "s3", "s4", "s5"} <= made & set(profile.bindings)
    read = {one["Name"] for layer in profile.layers for one in layer["Inputs"]}
    assert read <= made | set(profile.bindings)


def test_a_convolution_has_what_the_viewer_works_out_its_intensity_from() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", kernel_shape=[3, 3], group=2)
    weight = helper.make_tensor("w", TensorProto.FLOAT, (8, 3, 3, 3), bytes(8 * 27 * 4), raw=True)
    graph = helper.make_graph([node], "one", [], [], [weight])
    facts = {
        "node_index": "0",
        "op_name": "Conv",
        "provider": "CPUExecutionProvider",
        "input_type_shape": [{"float": [1, 6, 10, 10]}, {"float": [8, 3, 3, 3]}],
        "output_type_shape": [{"float": [1, 8, 8, 8]}],
    }
    events = [
        {"cat": "Node", "name": "conv_kernel_time", "dur": dur, "args": facts} for dur in (9000, 2000, 4000)
    ]
    profile = ort_layers.converted([{"cat": "Session", "name": "model_run"}, *events], graph)
    (conv,) = profile.layers
    assert profile.milliseconds == {"conv": [2.0, 4.0]}, "the first run does not count"
    assert conv["Inputs"] == [tensor("x", (1, 6, 10, 10), "float32")]
    assert conv["Weights"] == {"Type": "Float", "Count": 8 * 27}
    assert (conv["ParameterType"], conv["Kernel"], conv["Groups"], conv["OutMaps"]) == (
        "Convolution",
        [3, 3],
        2,
        8,
    )


def test_nodes_without_a_name_get_one_each() -> None:
    facts = {
        "op_name": "Relu",
        "provider": "CPU",
        "input_type_shape": [],
        "output_type_shape": [{"float16": [2]}],
    }
    events = [
        {"cat": "Node", "name": "_kernel_time", "dur": 1, "args": facts | {"node_index": index}}
        for index in ("0", "1")
        for _ in range(2)
    ]
    profile = ort_layers.converted(events, helper.make_graph([], "none", [], []))
    assert [one["Name"] for one in profile.layers] == ["Relu #0", "Relu #1"]
    assert profile.layers[0]["Outputs"][0]["Format/Datatype"] == "Row major linear FP16 format"


def test_a_profile_without_two_runs_is_refused() -> None:
    with pytest.raises(BackendError, match="no two runs"):
        ort_layers.converted([], helper.make_graph([], "none", [], []))


def test_of_a_tensorrt_engine_only_the_profile_that_ran_is_kept() -> None:
    described = {
        "Layers": [layer("a"), layer("b"), layer("a [profile 1]"), layer("b [profile 1]")],
        "Bindings": ["x", "y", "x [profile 1]", "y [profile 1]"],
    }
    profile = trt_layers.converted(described, {"a [profile 1]": [2.0], "b [profile 1]": [3.0]})
    assert [one["Name"] for one in profile.layers] == ["a", "b"]
    assert profile.bindings == ["x", "y"]
    assert profile.median("b") == 3.0
    assert problems(*files(profile)) == []


def test_a_tensorrt_engine_without_details_asks_for_another_build() -> None:
    with pytest.raises(BackendError, match=r"only the names of its layers\n.*build the stage again"):
        trt_layers.converted({"Layers": ["a", "b"], "Bindings": ["x"]}, {})


def test_times_of_tensorrt_are_kept_per_layer_and_run() -> None:
    flavour = SimpleNamespace(IProfiler=type("IProfiler", (), {}))
    recorder = trt_layers.layer_times(flavour)
    for run in (1.0, 2.0):
        recorder.report_layer_time("a", run)
        recorder.report_layer_time("b", 10 * run)
    assert recorder.milliseconds == {"a": [1.0, 2.0], "b": [10.0, 20.0]}


def test_every_profiler_is_a_function_and_other_backends_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(callable(resolve(entry.profiles)) for entry in BACKENDS.values() if entry.profiles)
    monkeypatch.setitem(BACKENDS, "abacus", BackendEntry("abacus", "abacus:open", package="abacus"))
    with pytest.raises(BackendError, match=r"the backend abacus cannot be profiled\n.*onnxruntime"):
        profiler_of("abacus")


def test_openvino_counts_every_run_but_the_first_and_its_files_follow_the_rules(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    bundle = Bundle.open(toy_bundle.make(tmp_path / "toy"))
    manifest = replace(bundle.manifest, backend={"name": "openvino"})
    windows = np.random.default_rng(0).random((2, 3, 128, 128), dtype=np.float32)
    found = ov_layers.profile(
        Bundle(bundle.folder, manifest), "captioner", {"windows": windows}, Options("fp32", "cpu", 1), 3
    )
    assert found.runs == 3
    assert {*found.bindings} == {"windows", "cond_inputs", "cond_emb"}
    assert problems(*files(found)) == []
    assert all(one["Outputs"][0]["Format/Datatype"] == "Row major linear FP32" for one in found.layers)


def test_the_table_has_the_costliest_layer_first(profile: StageProfile) -> None:
    shown = table({"features": profile}, 1)
    assert shown.row_count == 2
    assert [next(iter(column.cells)) for column in shown.columns] == [
        "features",
        "b",
        "Conv",
        "1x4",
        "6.00",
        "75.0%",
    ]


def test_the_command_writes_two_files_per_stage(tmp_path: Path) -> None:
    bundle, output = toy_bundle.make(tmp_path / "toy"), tmp_path / "layers"
    arguments = ["--engines", bundle, "--threads", "1", "--repeats", "1", "--output", output]
    for _ in range(2):  # an older run is replaced
        done = call(verb("benchmarks.cli:app", "layers"), *arguments)
        assert done.status == 0, done.stderr
    stages = ("captioner", "features", "mask_head", "clip_pool")
    assert {path.name for path in output.iterdir()} == {
        f"{kind}_{stage}.json" for kind in ("layers", "profile") for stage in stages
    }


def test_a_file_of_others_is_kept_and_named_before_anything_is_measured(
    tmp_path: Path, profile: StageProfile
) -> None:
    mine = tmp_path / "layers_features.json"
    mine.write_text('{"mine": 1}')
    done = call(verb("benchmarks.cli:app", "layers"), "--engines", "/nowhere", "--output", tmp_path)
    assert done.status == 1
    assert "is no file of layers" in done.stderr
    with pytest.raises(OutputError):
        write_profiles(tmp_path, {"features": profile})
    assert mine.read_text() == '{"mine": 1}'
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
