"""Builds of engines without weights: what their bundles have for them, and what decides that."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.build import build
from export.builders import Progress
from export.canaries import require_canaries
from export.forecast import forecast
from export.onnx_export import DEFAULT_OPSET, OnnxFile
from export.plan import Request, stage_keys
from export.prepared import prepare
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import StageEntry
from odise_trt.errors import BackendError
from odise_trt.stage_spec import StageSpec
from tests.door import call, verb
from tests.export.quick_build import STAGES, Log, make_quick, quick_request


class CopyingBuilder:
    """Its engines are their graphs."""

    facts: Mapping[str, Any] = {"name": "tensorrt", "version": "11.0", "compute_capability": ["8.9"]}

    def __init__(self, strips_weights: bool) -> None:
        self.strips_weights = strips_weights

    def build(self, spec: StageSpec, onnx: Path, engine: Path, progress: Progress) -> None:
        engine.write_bytes(onnx.read_bytes())


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        patch.setattr(
            "export.plan.open_builder",
            lambda entry, _, stripped, __: CopyingBuilder(stripped) if entry.builds else None,
        )
        patch.setattr("export.build.opens_engines", lambda *_: False)
        yield


def request(output: Path, **options: Any) -> Request:
    return quick_request(output, backends=("tensorrt",), strip_weights=True, **options)


@pytest.fixture(scope="module")
def bundle(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    (built,) = build(request(tmp_path_factory.mktemp("engines")), Log())
    return Bundle.open(built.folder)


def test_a_bundle_has_the_graphs_of_its_engines_with_common_weights_once(bundle: Bundle) -> None:
    entries = {entry.spec.name: entry for entry in bundle.manifest.stages}
    assert {name: (one.file, one.weights_from) for name, one in entries.items()} == {
        name: (f"{name}.engine", f"{name}.onnx") for name in STAGES
    }
    assert entries["clip_pool"].files == (
        *("clip_pool.engine", "clip_pool.onnx", "clip_pool.onnx.data"),
        "captioner.onnx.data",
    )
    sizes = {name: (bundle.folder / f"{name}.onnx.data").stat().st_size for name in STAGES}
    assert sizes["clip_pool"] < sizes["captioner"]
    assert not bundle.has_graphs_only
    assert bundle.manifest.tools["strip-weights"] == "yes"
    assert bundle.repair_hint().endswith(" --strip-weights")


def test_a_second_build_is_up_to_date_and_one_with_weights_builds_again(
    bundle: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(bundle.folder, tmp_path / bundle.folder.name)
    assert build(request(tmp_path), Log())[0].stages == ()
    (built,) = build(replace(request(tmp_path), strip_weights=False), Log())
    assert len(built.stages) == len(STAGES)
    assert not list(built.folder.glob("*.onnx*"))


def test_keys_say_whether_weights_were_left_out_and_those_of_graphs_do_not(tmp_path: Path) -> None:
    keys = []
    for stripped in (False, True):
        both = quick_request(tmp_path, backends=("onnxruntime", "tensorrt"), strip_weights=stripped)
        ready = prepare(both)
        keys.append([stage_keys(both, target, ready.weights) for target in ready.targets])
    (graphs, engines), (same_graphs, other_engines) = keys
    assert graphs == same_graphs
    assert all(engines[name] != other_engines[name] for name in STAGES)


def test_a_stopped_build_goes_on_and_shares_weights_with_what_it_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(request(tmp_path), Log(stop_at="clip_pool"))
    log = Log()
    (built,) = build(request(tmp_path), log)
    assert log.kept() == ["captioner"]
    entry = Bundle.open(built.folder).manifest.stage("clip_pool")
    assert "captioner.onnx.data" in entry.files


def test_a_stage_alone_takes_those_with_it_that_read_its_weights(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.folder, tmp_path / bundle.folder.name)
    log = Log()
    build(replace(request(tmp_path, weights="random:7"), stages=("captioner",), force=True), log)
    assert log.exported() == ["captioner", "clip_pool"]


def test_a_dry_run_counts_weights_once_and_engines_small(tmp_path: Path) -> None:
    usual, stripped = (
        forecast(prepare(replace(request(tmp_path), strip_weights=one))).bundles[0] for one in (False, True)
    )
    for before, after in zip(usual.stages, stripped.stages, strict=True):
        assert (before.engine_bytes or 0) > (after.engine_bytes or 0) > 0
    clip = {stage.spec.name: stage.onnx_bytes for stage in stripped.stages}
    assert clip["clip_pool"] < {stage.spec.name: stage.onnx_bytes for stage in usual.stages}["clip_pool"]
    own = sum(stage.onnx_bytes + (stage.engine_bytes or 0) for stage in stripped.stages)
    assert stripped.disk_bytes >= own


def test_inspect_says_where_engines_take_their_weights(bundle: Bundle) -> None:
    shown = call(verb("odise_trt.cli.inspect:inspect"), bundle.folder).stdout
    assert "engines without weights" in shown
    assert "captioner takes those of captioner.onnx" in " ".join(shown.split())


def test_engines_are_opened_and_compared_with_the_weights_of_their_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []

    def compared(engine: Path, *others: Any) -> tuple[()]:
        seen.append((engine.name, others[-1]))
        assert (engine.parent / str(others[-1])).is_file()
        return ()

    def opened(entry: object, precision: str, folder: Path, stage: StageEntry, facts: object) -> None:
        seen.append((stage.file, stage.weights_from))
        assert all((folder / file).is_file() for file in stage.files)

    monkeypatch.setattr("export.build.opens_engines", lambda *_: True)
    monkeypatch.setattr("export.build.require_canaries", lambda *_: None)
    monkeypatch.setattr("export.build.check_engine", compared)
    monkeypatch.setattr("export.unfinished.open_engine", opened)
    monkeypatch.setattr("export.unfinished.can_draw", lambda *_: False)
    build(request(tmp_path), Log())
    assert seen == [pair for name in STAGES for pair in [(f"{name}.engine", f"{name}.onnx")] * 2]


def test_canaries_are_built_and_run_without_weights_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target,) = prepare(request(tmp_path)).targets
    seen: list[tuple[str, str | None]] = []

    def export(stage: object, spec: StageSpec, folder: Path, **options: object) -> OnnxFile:
        folder.mkdir(parents=True)
        path = folder / f"{spec.name}.onnx"
        path.write_bytes(b"graph")
        return OnnxFile(path, (path,), {})

    class Opened:
        def open_stage(self, folder: Path, files: Any) -> Any:
            seen.append((files.file, files.weights_from))
            assert (folder / files.weights_from).is_file()
            raise BackendError("seen")

        def close(self) -> None:
            pass

    monkeypatch.setattr("export.canaries.export_stage", export)
    monkeypatch.setattr("export.graph_runner.open_backend", lambda *_, **__: Opened())
    with pytest.raises(BackendError, match="seen"):
        require_canaries(target, DEFAULT_OPSET, tmp_path, Log())
    assert seen == [("one_group_norm.engine", "one_group_norm.onnx")]
