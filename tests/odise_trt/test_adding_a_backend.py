"""The backend of docs/adding-a-backend.md, taken from the page, runs and is built for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from odise_trt import Segmenter
from odise_trt.backends import open_backend, registry
from odise_trt.bundle import Bundle
from odise_trt.doctor import examine
from odise_trt.errors import BackendError
from tests.odise_trt import toy_bundle
from tests.pages import Page

NAME = "onnx_reference"
PAGE = Page("adding-a-backend.md")


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file and one entry in the registry; nothing else."""
    assert list(PAGE.files) == [f"odise_trt/backends/{NAME}.py"]
    assert list(PAGE.lines) == ["odise_trt/backends/registry.py"]
    PAGE.install(tmp_path / "code", monkeypatch)
    changed = PAGE.with_line("odise_trt/backends/registry.py", after="_ENTRIES = (")
    monkeypatch.setitem(registry.BACKENDS, NAME, changed.BACKENDS[NAME])


def bundle(folder: Path, name: str) -> Path:
    return toy_bundle.make(folder / name, backend={"name": name, "version": onnx.__version__})


def test_it_segments_as_onnxruntime_does(tmp_path: Path) -> None:
    image = np.zeros((128, 192, 3), np.uint8)
    image[:, :64, 0], image[:64, 64:, 1], image[64:, 64:, 2] = 255, 255, 255
    seen: dict[str, Any] = {}
    exec(PAGE.examples[0], {"folder": bundle(tmp_path, NAME), "image": image}, seen)
    with Segmenter.open(bundle(tmp_path, "onnxruntime")) as segmenter:
        segmenter.vocabulary = "red; green; blue"
        expected = segmenter(image)
    assert {segment.name for segment in expected.segments} == {"red", "green", "blue"}
    assert seen["result"].segments == expected.segments
    np.testing.assert_array_equal(seen["result"].panoptic, expected.panoptic)


def test_doctor_lists_it_with_its_version() -> None:
    finding = next(finding for finding in examine() if finding.name == NAME)
    assert (finding.group, finding.found, finding.detail) == ("backends", True, onnx.__version__)


def test_what_is_missing_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match=f"{NAME} runs on the CPU, not on cuda"):
        open_backend(NAME, device="cuda")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(
        BackendError, match=rf'{NAME} is not installed.*\n.*pip install "odise-trt\[export\]"'
    ):
        open_backend(NAME)


def test_it_can_be_built_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from export.build import build
    from export.console import ConsoleReporter
    from export.plan import Request
    from reference.preset import PRESETS
    from tests.tiny_preset import TINY

    monkeypatch.setitem(PRESETS, "tiny", TINY)
    request = Request("tiny", "random:1", backends=(NAME,), stages=("clip_pool",), output=tmp_path)
    with ConsoleReporter(Console(quiet=True)) as reporter:
        (built,) = build(request, reporter)
        (again,) = build(request, reporter)
    assert built.folder.name == f"tiny-{NAME}-fp32"
    assert again.stages == ()
    manifest = Bundle.open(built.folder).manifest
    assert manifest.backend == {"name": NAME, "version": onnx.__version__}
    # The operators of the real stage are ones that the evaluator has, too.
    engine = open_backend(NAME).open_stage(built.folder, manifest.stage("clip_pool"))
    other = open_backend("onnxruntime").open_stage(built.folder, manifest.stage("clip_pool"))
    sizes = {"height": 64, "width": 128}
    random = np.random.default_rng(0)
    inputs = {t.name: random.standard_normal(t.resolve(sizes), dtype=np.float32) for t in engine.spec.inputs}
    found, expected = engine.run(inputs)["clip_mask_embed"], other.run(inputs)["clip_mask_embed"]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
