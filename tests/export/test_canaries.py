"""What engines ran wrong without an error is tried first, and a machine that does it again builds nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export import build as building
from export.build import build
from export.canaries import OneGroup, WideAttention, canaries, require_canaries
from export.checked_export import CheckedExport, Task
from export.engine_parity import check_engine
from export.onnx_export import DEFAULT_OPSET, export_stage
from export.plan import Target, plan
from export.stages import all_stages
from odise_trt.errors import ParityError
from reference.checkpoint import load_weights
from tests.export.quick_build import Log, make_quick, quick_request
from tests.tiny_preset import TINY


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    make_quick(monkeypatch)
    return plan(quick_request(tmp_path))[0]


def test_canaries_are_right_where_nothing_is_wrong(target: Target, tmp_path: Path) -> None:
    log = Log()
    require_canaries(target, DEFAULT_OPSET, tmp_path, log)
    (note,) = log.notes
    assert OneGroup.what in note
    assert WideAttention.what in note


@pytest.mark.parametrize("canary", [OneGroup, WideAttention])
def test_a_part_that_is_wrong_for_several_windows_is_named_with_its_source(
    canary: type, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = canary.forward  # type: ignore[attr-defined]

    def wrong(self, x):  # type: ignore[no-untyped-def]
        y = right(self, x)
        return y + y.mean(0, keepdim=True) * 1e-3 if torch.compiler.is_exporting() else y

    monkeypatch.setattr(canary, "forward", wrong)
    with pytest.raises(ParityError, match=f"onnxruntime runs {canary.what} wrong on this machine") as caught:  # type: ignore[attr-defined]
        require_canaries(target, DEFAULT_OPSET, tmp_path, Log())
    assert canary.source in caught.value.message  # type: ignore[attr-defined]


def test_grid_sample_is_tried_only_where_it_is_used() -> None:
    assert [one.name for one in set(canaries("grid_sample")) - set(canaries("gather"))] == ["grid_sample"]


def test_a_machine_that_misses_a_canary_builds_nothing(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def miss(*arguments: object) -> None:
        raise ParityError("a canary missed", "use another version")

    monkeypatch.setattr(building, "require_canaries", miss)
    monkeypatch.setattr(
        "export.prepared.plan", lambda _: (replace(target, entry=replace(target.entry, checks=True)),)
    )
    log = Log()
    with pytest.raises(ParityError, match="a canary missed"):
        build(quick_request(tmp_path), log)
    assert log.exported() == []
    assert not target.folder.exists()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> CheckedExport:
    """The graph of a small stage, taken for an engine of ONNX Runtime."""
    wrapper = all_stages()["classify"]
    spec = wrapper.spec(TINY, "fp32")
    graph = export_stage(
        wrapper(load_weights(TINY, "random:7")), spec, tmp_path_factory.mktemp("g"), precision="fp32"
    )
    return CheckedExport(spec, "fp32", Task("classify", "fp32"), graph, (), 0.0, 0)


def test_an_engine_is_compared_where_it_runs(exported: CheckedExport, target: Target, tmp_path: Path) -> None:
    model = load_weights(TINY, "random:7")
    rows = check_engine(exported.graph.path, exported, target, model, quick_request(tmp_path))
    assert {row.check for row in rows} == {"onnxruntime"}
    assert {row.tensor for row in rows} == {tensor.name for tensor in exported.spec.outputs}


def test_an_engine_that_is_wrong_is_not_installed_and_leaves_a_report(
    exported: CheckedExport, target: Target, tmp_path: Path
) -> None:
    other = load_weights(TINY, "random:8")
    with pytest.raises(ParityError, match="the whole table: ") as caught:
        check_engine(exported.graph.path, exported, target, other, quick_request(tmp_path))
    page = tmp_path / "tiny-onnxruntime-fp32-classify.parity.html"
    assert str(page) in str(caught.value)
    assert "tiny-onnxruntime-fp32, classify (not installed)" in page.read_text()
