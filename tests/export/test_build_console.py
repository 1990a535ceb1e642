"""The summary of a build prints paths as they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from export.build import BuiltBundle
from export.console import ConsoleReporter, show
from export.unfinished import StageResult
from odise_trt.bundle.manifest import Parity

PATHS = ["eng [final]", "a[/b]", "[red]", "[bold]x[/]", "[link=x]", "\\[x]", ":smile:", "a\udcffb", "ü [/]"]
ROW = Parity("clip_pool", "clip_mask_embed", "onnx", {}, 1e-7, 1e-7, 1e-4)
STAGE = StageResult("clip_pool", 1, 1, 1.0, ROW, 1)


def shown(path: str) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=60)
    with ConsoleReporter(console) as reporter:
        reporter.begin(2)
        reporter.step(f"loading weights {path}")
        reporter.phase(path, 1, 2)
        reporter.note(path)
    show(
        console,
        [BuiltBundle(Path(path), (STAGE,), ("features",), True), BuiltBundle(Path(path), (), (), False)],
    )
    return out.getvalue().splitlines()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_with_brackets_is_no_markup(path: str) -> None:
    seen = path.encode(errors="backslashreplace").decode()
    lines = shown(path)
    assert lines[:2] == [f"[1/2] loading weights {seen}", seen]
    assert f"{seen} is a partial bundle: it has no features; build without --stage to complete it" in lines
    assert f"{seen}: up to date" in lines


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), min_size=1))
def test_every_path_is_printed_as_it_is(path: str) -> None:
    path = str(Path(path))
    assert f"{path}: up to date".rstrip() in [line.rstrip() for line in shown(path)]


def test_a_terminal_shows_steps_that_look_like_markup() -> None:
    out = io.StringIO()
    with ConsoleReporter(Console(file=out, width=80, force_terminal=True)) as reporter:
        reporter.begin(1)
        reporter.step("loading weights a[/b].safetensors")
    assert "a[/b].safetensors" in out.getvalue()
