"""What verbs print."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from odise_trt.cli import console
from odise_trt.cli.show import show_result
from odise_trt.result import Result
from odise_trt.segments import Segment
from odise_trt.vocabulary import Vocabulary


def test_a_file_name_that_is_not_utf8_is_printed_with_its_bytes() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    console.plain(Console(file=stream), "caf\udce9.jpg [1]")
    stream.seek(0)
    assert stream.read() == "caf\\udce9.jpg [1]\n"


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc"])))
def test_a_name_is_one_line_that_can_be_written(name: str) -> None:
    shown = console.shown(name)
    assert shown.encode().decode() == shown
    assert len(f"x{shown}x".split("\n")) == 1
    assert not [letter for letter in shown if letter < " " or "\x7f" <= letter < "\xa0"]


@pytest.mark.parametrize("brief", [True, False])
def test_a_result_is_printed_whatever_its_names_are(brief: bool) -> None:
    odd = "half\ud83d [/b] \x1b[31m"
    segment = Segment(1, 0, odd, True, 0.5, 4, (0, 0, 2, 2))
    result = Result(
        np.zeros((2, 2, 3), np.uint8),
        Vocabulary.parse("cup"),
        panoptic=np.ones((2, 2), np.int32),
        segments=[segment],
    )
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    show_result(Console(file=stream, width=200), Path(f"{odd}.jpg"), result, [Path(f"{odd}.json")], brief)
    stream.seek(0)
    printed = stream.read()
    assert printed.count(r"half\ud83d [/b] \x1b[31m") == (2 if brief else 3)
    assert "\x1b" not in printed
