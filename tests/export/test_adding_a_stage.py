"""The stage of docs/adding-a-stage.md, taken from the page, is exported, checked, built and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from export.build import build
from export.checked_export import load_model
from export.console import ConsoleReporter
from export.plan import Request
from export.stages import STAGES
from odise_trt.bundle import Bundle
from odise_trt.cli import app
from reference.preset import PRESETS
from tests.pages import Page
from tests.tiny_preset import TINY

NAME = "image_encoder"
PAGE = Page("adding-a-stage.md")


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file and one line; nothing else."""
    assert list(PAGE.files) == [f"export/stages/{NAME}.py"]
    assert list(PAGE.lines) == ["export/stages/__init__.py"]
    PAGE.install(tmp_path / "code", monkeypatch)
    changed = PAGE.with_line("export/stages/__init__.py", after='    "text_encoder": "TextEncoder",')
    assert list(changed.STAGES) == [*STAGES, NAME]
    monkeypatch.setitem(STAGES, NAME, changed.STAGES[NAME])
    monkeypatch.setitem(PRESETS, "tiny", TINY)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.slow)])
def test_it_is_built_and_gives_what_the_reference_gives(precision: str, tmp_path: Path) -> None:
    request = Request("tiny", "random:2", precision=precision, stages=(NAME,), output=tmp_path)
    with ConsoleReporter(Console(quiet=True)) as reporter:
        (built,) = build(request, reporter)
    manifest = Bundle.open(built.folder).manifest
    assert [entry.spec.name for entry in manifest.stages] == [NAME]
    # The smallest and the largest batch that the page declares.
    assert [row.sizes for row in manifest.parity] == [{"images": 1}, {"images": 8}]
    assert all(row.passed for row in manifest.parity)
    assert manifest.precision_map[NAME]["float32"]

    side = manifest.model.clip_image_size
    pictures = np.random.default_rng(0).random((3, 3, side, side), dtype=np.float32)
    seen = {"folder": built.folder, "pictures": pictures}
    exec(PAGE.examples[0], seen)
    with torch.inference_mode():
        expected = load_model(request).clip.embed_image(torch.from_numpy(pictures)).numpy()
    distance = np.linalg.norm(seen["embed"] - expected) / np.linalg.norm(expected)
    assert distance < (1e-4 if precision == "fp32" else 1e-2)

    shown = CliRunner().invoke(app, ["inspect", str(built.folder)])
    assert shown.exit_code == 0
    assert "clip_image_embed" in shown.stdout
