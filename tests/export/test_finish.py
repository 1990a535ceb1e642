"""Graphs that are built anywhere, and their engines, which are built where the GPU is."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from export import finish as finishing
from export.build import BuiltBundle, build
from export.builders import Progress
from export.console import show
from export.finish import finish
from odise_trt.bundle import Bundle
from odise_trt.errors import BundleError, ExportError
from odise_trt.executor import Executor
from odise_trt.stage_spec import StageSpec
from tests.door import call, verb
from tests.export.quick_build import STAGES, Log, make_quick, quick_request


class CopyingBuilder:
    """Its engines are their graphs."""

    strips_weights = False

    def __init__(self, **facts: Any) -> None:
        self.facts: Mapping[str, Any] = {
            "name": "tensorrt",
            "version": "11.0",
            "compute_capability": ["8.9"],
            **facts,
        }
        self.built: list[str] = []
        self.stop_at = ""

    def build(self, spec: StageSpec, onnx: Path, engine: Path, progress: Progress) -> None:
        if spec.name == self.stop_at:
            raise KeyboardInterrupt
        self.built.append(spec.name)
        engine.write_bytes(onnx.read_bytes())


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        patch.setattr(finishing, "opens_engines", lambda *_: False)
        yield


@pytest.fixture
def built(tmp_path: Path) -> BuiltBundle:
    """A bundle of graphs. TensorRT is not installed for it."""
    return build(quick_request(tmp_path, backends=("tensorrt",), onnx_only=True), Log())[0]


@pytest.fixture
def graphs(built: BuiltBundle) -> Path:
    return built.folder


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> CopyingBuilder:
    made = CopyingBuilder()

    def opened(
        entry: object, capabilities: Sequence[str], strip_weights: bool, compatible: Sequence[str]
    ) -> CopyingBuilder:
        made.strips_weights = strip_weights
        return made

    monkeypatch.setattr(finishing, "open_builder", opened)
    return made


def test_graphs_for_a_gpu_are_built_without_its_backend(graphs: Path) -> None:
    assert graphs.name == "tiny-tensorrt-fp16-onnx"
    bundle = Bundle.open(graphs)
    assert bundle.has_graphs_only
    assert bundle.manifest.backend == {"name": "tensorrt"}
    assert [entry.file for entry in bundle.manifest.stages] == [f"{name}.onnx" for name in STAGES]
    assert bundle.repair_hint().endswith(" --onnx-only")


def test_the_build_ends_with_the_command_that_builds_the_engines(built: BuiltBundle) -> None:
    out = io.StringIO()
    show(Console(file=out, width=200), [built])
    assert "  odise-trt finish tiny-tensorrt-fp16-onnx\n" in out.getvalue()


def test_opening_graphs_names_the_command(graphs: Path) -> None:
    with pytest.raises(BundleError, match="has graphs for tensorrt, but no engines yet") as caught:
        Executor.open(Bundle.open(graphs), stages=())
    assert str(caught.value.hint).endswith(f"odise-trt finish {graphs}")


def test_engines_make_a_bundle_beside_the_graphs(graphs: Path, builder: CopyingBuilder) -> None:
    log = Log()
    place = finish(graphs, log)
    assert place == graphs.with_name("tiny-tensorrt-fp16-sm89")
    assert len(log.begun) == log.steps == 3
    finished, before = Bundle.open(place).manifest, Bundle.open(graphs).manifest
    assert finished.backend == builder.facts
    assert [entry.files for entry in finished.stages] == [(f"{name}.engine",) for name in STAGES]
    assert (finished.parity, finished.weights, finished.model) == (
        before.parity,
        before.weights,
        before.model,
    )
    assert not Bundle.open(place).has_graphs_only
    assert sorted(os.listdir(graphs.parent)) == sorted([graphs.name, place.name])


def test_engines_without_weights_have_the_graphs_beside_them(graphs: Path, builder: CopyingBuilder) -> None:
    assert call(verb("export.finish_cli:finish"), graphs, "--strip-weights").status == 0
    place = graphs.with_name("tiny-tensorrt-fp16-sm89")
    finished, before = Bundle.open(place).manifest, Bundle.open(graphs).manifest
    for entry, graph in zip(finished.stages, before.stages, strict=True):
        name = entry.spec.name
        assert (entry.file, entry.weights_from) == (f"{name}.engine", f"{name}.onnx")
        assert entry.files == (f"{name}.engine", *graph.files)
        assert all(finished.files[file] == before.files[file] for file in graph.files)
    # The second CLIP is stored once, as in the bundle of graphs, and takes no room of its own.
    assert "captioner.onnx.data" in finished.stage("clip_pool").files
    assert (place / "captioner.onnx.data").samefile(graphs / "captioner.onnx.data")
    assert Bundle.open(place).repair_hint().endswith(" --strip-weights")


def test_leaving_weights_out_builds_every_engine_again(graphs: Path, builder: CopyingBuilder) -> None:
    place = finish(graphs, Log())
    for strip_weights in (True, True, False):
        finish(graphs, Log(), strip_weights=strip_weights)
    assert builder.built == list(STAGES) * 3
    assert all(entry.weights_from is None for entry in Bundle.open(place).manifest.stages)
    assert not list(place.glob("*.onnx*"))
    assert "strip-weights" not in Bundle.open(place).manifest.tools


def test_a_stopped_call_without_weights_goes_on(graphs: Path, builder: CopyingBuilder) -> None:
    builder.stop_at = "text_encoder"
    with pytest.raises(KeyboardInterrupt):
        finish(graphs, Log(), strip_weights=True)
    builder.stop_at = ""
    place = finish(graphs, Log(), strip_weights=True)
    assert builder.built == list(STAGES)
    assert {entry.weights_from for entry in Bundle.open(place).manifest.stages} == {
        f"{name}.onnx" for name in STAGES
    }


def test_weights_of_a_finished_bundle_that_were_changed_are_taken_again(
    graphs: Path, builder: CopyingBuilder
) -> None:
    place = finish(graphs, Log(), strip_weights=True)
    data = place / "text_encoder.onnx.data"
    content = bytearray(data.read_bytes())
    content[5] ^= 1
    data.unlink()  # it is a link to the file of the graphs
    data.write_bytes(content)
    with pytest.raises(BundleError, match=r"text_encoder\.onnx\.data was changed"):
        Bundle.open(place)
    finish(graphs, Log(), strip_weights=True)
    assert builder.built == [*STAGES, "text_encoder"]
    Bundle.open(place)


def test_a_second_call_finds_the_bundle_up_to_date(graphs: Path, builder: CopyingBuilder) -> None:
    finish(graphs, Log())
    log = Log()
    place = finish(graphs, log)
    assert builder.built == list(STAGES)
    assert log.notes == [f"{place}: up to date"]


def test_a_call_that_was_stopped_goes_on_after_the_last_engine(graphs: Path, builder: CopyingBuilder) -> None:
    builder.stop_at = "text_encoder"
    with pytest.raises(KeyboardInterrupt):
        finish(graphs, Log())
    assert not graphs.with_name("tiny-tensorrt-fp16-sm89").exists()
    builder.stop_at = ""
    log = Log()
    place = finish(graphs, log)
    assert builder.built == list(STAGES)
    assert [step.split(":")[0] for step in log.begun if step.endswith("kept")] == ["captioner", "clip_pool"]
    assert sorted(os.listdir(graphs.parent)) == sorted([graphs.name, place.name])


def test_another_driver_builds_every_engine(graphs: Path, builder: CopyingBuilder) -> None:
    finish(graphs, Log())
    builder.facts = {**builder.facts, "driver": "13.1"}
    finish(graphs, Log())
    assert builder.built == [*STAGES, *STAGES]


def test_an_engine_that_was_changed_is_built_again(graphs: Path, builder: CopyingBuilder) -> None:
    place = finish(graphs, Log())
    (place / "clip_pool.engine").write_bytes(b"x")
    finish(graphs, Log())
    assert builder.built == [*STAGES, "clip_pool"]
    Bundle.open(place)


def test_graphs_that_were_changed_build_nothing(graphs: Path, builder: CopyingBuilder) -> None:
    (graphs / "clip_pool.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"clip_pool\.onnx was changed"):
        finish(graphs, Log())
    assert builder.built == []


def test_a_gpu_without_the_precision_of_the_graphs_is_refused(
    graphs: Path, builder: CopyingBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.facts = {**builder.facts, "compute_capability": ["8.6"]}
    manifest = Bundle.open(graphs).manifest
    replace(manifest, precision="fp8").write(graphs)
    with pytest.raises(ExportError, match=r"8\.6 have no fp8"):
        finish(graphs, Log())
    assert builder.built == []


def test_a_bundle_with_engines_is_finished(tmp_path: Path) -> None:
    (built,) = build(quick_request(tmp_path), Log())
    with pytest.raises(ExportError, match="has its engines"):
        finish(built.folder, Log())


def test_it_needs_no_torch(root: Path) -> None:
    code = (
        "import sys\nimport export.finish, export.finish_cli, export.console, export.json_lines\n"
        "sys.exit(sum(name in sys.modules for name in ('torch', 'onnx', 'diffusers')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_engines_are_really_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    from export.checked_export import export_all, load_model
    from export.plan import Request

    monkeypatch.setattr("export.build.export_all", export_all)
    monkeypatch.setattr("export.build.load_model", load_model)
    request = Request(
        "tiny", "random:7", backends=("tensorrt_rtx",), stages=("paint",), onnx_only=True, output=tmp_path
    )
    (built,) = build(request, Log())
    place = finish(built.folder, Log(), ["8.9"])
    assert place.name == "tiny-tensorrt_rtx-fp16-sm89"
    assert Bundle.open(place).manifest.backend["compute_capability"] == ["8.9"]
    assert (place / "paint.engine").stat().st_size > 10_000


def test_the_verb_builds_a_bundle_for_each_target(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(entry: object, capabilities: Sequence[str], *_: object) -> CopyingBuilder:
        return CopyingBuilder(compute_capability=list(capabilities))

    monkeypatch.setattr(finishing, "open_builder", opened)
    done = call(verb("export.finish_cli:finish"), graphs, "--target", "sm86,sm120")
    assert done.status == 0
    names = {path.name for path in graphs.parent.iterdir()} - {graphs.name}
    assert names == {"tiny-tensorrt-fp16-sm86", "tiny-tensorrt-fp16-sm120"}
    assert done.stdout.splitlines()[-1].startswith("PASSED | ")


def test_targets_and_capabilities_are_not_given_together(graphs: Path, builder: CopyingBuilder) -> None:
    done = call(verb("export.finish_cli:finish"), graphs, "--target", "sm86", "--compute-capability", "8.9")
    assert done.status == 1
    assert "give one of them" in done.stderr
    assert builder.built == []
