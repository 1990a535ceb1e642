"""Builds of engines for later versions and other GPUs: their keys, notes, forecasts and bundles."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from export import finish as finishing
from export.build import build
from export.builders import Progress
from export.builders.compatibility import price_of
from export.dry_run import as_data, show
from export.finish import finish
from export.fit import judge
from export.forecast import forecast
from export.plan import Request, stage_keys
from export.prepared import prepare
from odise_trt.bundle import Bundle
from odise_trt.stage_spec import StageSpec
from tests.door import call, verb
from tests.export.quick_build import STAGES, Log, make_quick, quick_request


class CopyingBuilder:
    """Its engines are their graphs."""

    strips_weights = False

    def __init__(self, compatible: Sequence[str]) -> None:
        self.facts = {"name": "tensorrt", "version": "10.13", "compute_capability": ["8.9"], "gpu": "L4"}
        self.facts |= {"compatible": list(compatible)} if compatible else {}

    def build(self, spec: StageSpec, onnx: Path, engine: Path, progress: Progress) -> None:
        engine.write_bytes(onnx.read_bytes())


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    def opened(entry: Any, _: object, __: object, compatible: Sequence[str]) -> CopyingBuilder | None:
        return CopyingBuilder(compatible) if entry.builds else None

    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        patch.setattr("export.plan.open_builder", opened)
        patch.setattr(finishing, "open_builder", opened)
        patch.setattr("export.build.opens_engines", lambda *_: False)
        patch.setattr("export.finish.opens_engines", lambda *_: False)
        yield


def alone(request: Request) -> Request:
    """A stage that has its weights to itself."""
    return replace(request, stages=("text_encoder",))


def test_every_choice_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys = []
    for version, hardware in ((False, False), (True, False), (False, True)):
        request = quick_request(
            tmp_path,
            backends=("tensorrt",),
            version_compatible=version,
            hardware_compatible=hardware,
        )
        ready = prepare(alone(request))
        keys += stage_keys(ready.request, ready.targets[0], ready.weights).values()
    assert len(set(keys)) == 3


def test_a_build_says_the_price_and_prints_how_to_build_it_again(tmp_path: Path) -> None:
    request = quick_request(
        tmp_path, backends=("tensorrt",), version_compatible=True, hardware_compatible=True
    )
    log = Log()
    (built,) = build(request, log)
    assert set(price_of({"compatible": ["version", "hardware"]})) <= set(log.notes)
    opened = Bundle.open(built.folder)
    assert opened.manifest.backend["compatible"] == ["version", "hardware"]
    assert opened.repair_hint().endswith(" --version-compatible --hardware-compatible")
    shown = call(verb("odise_trt.cli.inspect:inspect"), built.folder).stdout
    assert "backend compatible" in shown


def test_a_dry_run_has_the_price(tmp_path: Path) -> None:
    request = alone(quick_request(tmp_path, backends=("tensorrt",), hardware_compatible=True))
    found = forecast(prepare(request))
    verdict, out = judge(found, request), io.StringIO()
    (price,) = as_data(found, verdict)["bundles"][0]["price"]
    assert price.startswith("hardware-compatible engines can be slower")
    show(Console(file=out, width=80), found, verdict)
    assert f"{price}\n" in out.getvalue()


def test_the_verb_finishes_graphs_with_compatible_engines(tmp_path: Path) -> None:
    graphs = build(quick_request(tmp_path, backends=("tensorrt",), onnx_only=True), Log())[0].folder
    done = call(verb("export.finish_cli:finish"), graphs, "--version-compatible", "--hardware-compatible")
    assert done.status == 0
    assert "lean runtime" in done.stdout
    place = graphs.with_name("tiny-tensorrt-fp16-sm89")
    assert Bundle.open(place).manifest.backend["compatible"] == ["version", "hardware"]
    log = Log()
    finish(graphs, log)
    # Without the options every engine is built again.
    assert len(log.begun) == len(STAGES)
    assert not any("kept" in step for step in log.begun)
    assert "compatible" not in Bundle.open(place).manifest.backend
