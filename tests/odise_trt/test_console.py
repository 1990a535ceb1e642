"""What verbs print."""

from __future__ import annotations

import io

from rich.console import Console

from odise_trt.cli import console


def test_a_file_name_that_is_not_utf8_is_printed_with_its_bytes() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    console.plain(Console(file=stream), "caf\udce9.jpg [1]")
    stream.seek(0)
    assert stream.read() == "caf\\udce9.jpg [1]\n"
