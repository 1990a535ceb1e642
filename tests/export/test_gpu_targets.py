"""Several GPUs are built for at once: a bundle for each, from one export."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from export.build import build
from export.builders import Progress
from export.gpu_targets import capabilities_of
from odise_trt.bundle import Bundle
from odise_trt.stage_spec import StageSpec
from tests.export.quick_build import STAGES, Log, make_quick, quick_request

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)


@pytest.fixture(autouse=True)
def built_for(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """Stage and GPUs of every engine that is built. The engine is the graph."""
    make_quick(monkeypatch)
    calls: list[tuple[str, tuple[str, ...]]] = []

    def copying(self: object, spec: StageSpec, onnx: Path, engine: Path, progress: Progress) -> None:
        calls.append((spec.name, self.__dict__["_capabilities"]))
        engine.write_bytes(onnx.read_bytes())

    monkeypatch.setattr("export.builders.tensorrt.TensorRTBuilder.build", copying)
    return calls


def test_every_gpu_gets_a_bundle_of_its_own_from_one_export(
    tmp_path: Path, built_for: list[tuple[str, tuple[str, ...]]]
) -> None:
    request = quick_request(tmp_path, backends=("tensorrt_rtx",), targets=("8.6", "12.0", "8.6"))
    log = Log()
    bundles = build(request, log)
    names = [f"tiny-tensorrt_rtx-fp16-{gpu}" for gpu in ("sm86", "sm120")]
    assert [bundle.folder.name for bundle in bundles] == names
    assert [Bundle.open(bundle.folder).manifest.backend["compute_capability"] for bundle in bundles] == [
        ["8.6"],
        ["12.0"],
    ]
    assert log.exported() == list(STAGES)
    assert built_for == [(stage, (number,)) for stage in STAGES for number in ("8.6", "12.0")]
    assert len(log.begun) == log.steps


def test_a_gpu_more_leaves_the_others_as_they_are(
    tmp_path: Path, built_for: list[tuple[str, tuple[str, ...]]]
) -> None:
    request = quick_request(tmp_path, backends=("tensorrt_rtx",), targets=("8.6",))
    build(request, Log())
    built_for.clear()
    first, second = build(replace(request, targets=("8.6", "8.9")), Log())
    assert first.stages == ()
    assert len(second.stages) == len(STAGES)
    assert {numbers for _, numbers in built_for} == {("8.9",)}


def test_a_bundle_for_all_of_them_has_another_name(tmp_path: Path) -> None:
    request = quick_request(tmp_path, backends=("tensorrt_rtx",), compute_capabilities=("8.6", "8.9"))
    (bundle,) = build(request, Log())
    assert bundle.folder.name == "tiny-tensorrt_rtx-fp16-sm86-sm89"


def test_backends_of_graphs_have_one_bundle_beside_them(tmp_path: Path) -> None:
    request = quick_request(tmp_path, backends=("onnxruntime", "tensorrt_rtx"), targets=("8.6", "8.9"))
    assert [bundle.folder.name for bundle in build(request, Log())] == [
        "tiny-onnxruntime-fp32",
        "tiny-tensorrt_rtx-fp16-sm86",
        "tiny-tensorrt_rtx-fp16-sm89",
    ]


@pytest.mark.parametrize("text", ["sm86,sm120", "SM_86, sm_120", "8.6,12.0", "86,120,sm86"])
def test_a_gpu_has_several_names(text: str) -> None:
    assert capabilities_of([text]) == ("8.6", "12.0")


def test_names_may_be_given_one_by_one() -> None:
    assert capabilities_of(["sm89", "sm75"]) == ("8.9", "7.5")
    assert capabilities_of([]) == ()
