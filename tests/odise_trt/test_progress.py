"""Progress bars: on the console they are given, with nothing of the results in them."""

from __future__ import annotations

import io

from rich.console import Console

from odise_trt.cli.progress import followed, progress_bars


def terminal() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=True, width=100, color_system=None), text


def test_items_are_handed_on_in_order_and_counted() -> None:
    console, text = terminal()
    assert list(followed(iter("abc"), "drawing [3]", 3, console)) == ["a", "b", "c"]
    assert "drawing [3]" in text.getvalue()
    assert "3/3" in text.getvalue()


def test_a_hidden_display_writes_nothing() -> None:
    console, text = terminal()
    with progress_bars(console, hidden=True) as bars:
        bars.advance(bars.add_task("segmenting", total=1))
    assert text.getvalue() == ""


def test_what_is_printed_meanwhile_goes_to_standard_output(capsys) -> None:
    console, text = terminal()
    with progress_bars(console) as bars:
        bars.add_task("segmenting", total=1)
        print("a result")
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in text.getvalue()
