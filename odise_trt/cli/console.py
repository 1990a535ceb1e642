"""Where verbs print: results to standard output, progress, warnings and errors to standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

SEEDED = "random weights: the shapes are real, the meaning is not"


def output() -> Console:
    """Standard output."""
    from rich.console import Console

    return Console(highlight=False)


def errors() -> Console:
    """Standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def plain(console: Console, text: str, style: str | None = None) -> None:
    """Print text as it is: brackets are no markup, and paths are not broken into lines."""
    from rich.text import Text

    # A file name that is not UTF-8 could not be written.
    text = text.encode(errors="backslashreplace").decode()
    # As Text: a style given to print() would colour a progress bar below as well.
    console.print(Text(text, style=style or ""), soft_wrap=True)


def warn(text: str) -> None:
    """A warning, on standard error."""
    plain(errors(), text, "yellow")


def error(text: str, console: Console | None = None) -> None:
    """An error, on standard error; `console`: the one that shows a progress bar now."""
    plain(console or errors(), text, "red")
