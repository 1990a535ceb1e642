"""The checks of a build can be repeated with the bundle, and find what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from torch import Tensor

from export.build import build
from export.parity import require
from export.plan import Request
from export.recheck import recheck
from export.stages import STAGES
from export.stages.paint import Paint
from odise_trt.bundle.manifest import Manifest
from odise_trt.errors import BackendError, BundleError, ExportError, ParityError, WeightsError
from reference.preset import PRESETS
from tests.door import call, verb
from tests.export.quick_build import Log
from tests.tiny_preset import TINY


class Recorded(Paint):
    """Runs like `paint`, and can be told to give something else."""

    wrong = False

    def forward(self, *inputs: Tensor) -> Tensor:
        painted: Tensor = super().forward(*inputs)
        return painted + 1 if self.wrong else painted


@pytest.fixture(autouse=True, scope="module")
def tiny_preset() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        patch.setitem(STAGES, "paint", Recorded)
        yield


@pytest.mark.slow
def test_a_graph_whose_runs_are_limited_takes_any_number_of_windows(tmp_path: Path) -> None:
    request = Request("tiny", "random:7", stages=("captioner",), max_windows=1, output=tmp_path)
    (built,) = build(request, Log())
    assert {row.sizes["windows"] for row in recheck(built.folder, Log())} == {1}
    graph = onnx.load(built.folder / "captioner.onnx").graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "windows"
    assert build(request, Log())[0].stages == ()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("engines")
    (built,) = build(Request("tiny", "random:7", stages=("paint",), output=output), Log())
    return built.folder


def test_a_bundle_is_as_it_was_built(bundle: Path) -> None:
    log = Log()
    rows = recheck(bundle, log)
    assert [(row.tensor, row.sizes, row.relative_l2) for row in rows] == [
        (row.tensor, row.sizes, row.relative_l2) for row in Manifest.read(bundle).parity
    ]
    assert {row.check for row in rows} == {"onnxruntime"}
    assert len(log.begun) == log.steps == 3


def test_hashes_need_no_weights(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.recheck.open_model", pytest.fail)
    log = Log()
    assert recheck(bundle, log, parity=False) == ()
    assert log.notes == ["all 4 files are as built"]


def test_a_changed_file_is_found_first(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.recheck.open_model", pytest.fail)
    copy = shutil.copytree(bundle, tmp_path / bundle.name)
    (copy / "paint.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"paint\.onnx was changed"):
        recheck(copy, Log())


def test_an_engine_that_gives_something_else_is_found(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorded, "wrong", True)
    rows = recheck(bundle, Log())
    assert not any(row.passed for row in rows)
    with pytest.raises(ParityError, match="2 outputs are further from the reference"):
        require(rows)


def test_other_weights_are_not_compared_with(bundle: Path) -> None:
    with pytest.raises(WeightsError, match="random:8 has other weights than the bundle was built from"):
        recheck(bundle, Log(), weights="random:8")


def test_weights_that_are_not_here_are_asked_for(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"parity needs the weights .*: there is no weights file"
    ) as caught:
        recheck(bundle, Log(), weights=str(tmp_path / "model.safetensors"))
    assert caught.value.hint == "give them with --weights; --no-parity compares the hashes only"


def test_engines_of_another_machine_are_said_to_be_that(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "odise_trt.backends.onnxruntime.OnnxRuntimeBackend.mismatch", lambda self, built: "they are for sm89"
    )
    with pytest.raises(BackendError, match="do not run here: they are for sm89"):
        recheck(bundle, Log())


def test_a_stage_that_is_declared_in_another_way_now_is_not_compared(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = Paint.declare(TINY)
    monkeypatch.setattr(Recorded, "declare", classmethod(lambda cls, preset: replace(declared, profiles=())))
    with pytest.raises(ExportError, match="declares stage paint in another way"):
        recheck(bundle, Log())


def test_a_stage_that_the_bundle_lacks_is_named(bundle: Path) -> None:
    with pytest.raises(ExportError, match="there is no stage 'cut'"):
        recheck(bundle, Log(), stages=("cut",))


def test_the_verb_prints_a_line_per_stage_and_writes_the_page(bundle: Path, tmp_path: Path) -> None:
    done = call(verb("export.check_cli:check"), bundle, "--report", tmp_path / "parity.html")
    assert done.status == 0
    lines = done.stdout.splitlines()
    assert [line.split()[1:4] for line in lines if line.startswith("│ paint")] == [["paint", "│", "2"]]
    assert lines[-1].startswith("PASSED | ")
    assert "all 2 comparisons passed" in (tmp_path / "parity.html").read_text()


def test_the_verb_fails_if_a_comparison_missed(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorded, "wrong", True)
    done = call(verb("export.check_cli:check"), bundle, "--json")
    assert done.status == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["passed"] for event in events if event["event"] == "parity"] == [False, False]
    assert events[-1]["event"] == "failed"


def test_options_of_comparisons_without_comparisons_are_an_error(bundle: Path) -> None:
    done = call(verb("export.check_cli:check"), bundle, "--no-parity", "--stage", "paint")
    assert done.status == 1
    assert "leave the other options out" in done.stderr
