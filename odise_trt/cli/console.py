"""Where verbs print: results to standard output, progress, warnings and errors to standard error."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, TextIO

from ..errors import OdiseWarning

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


def shown(text: str | os.PathLike[str]) -> str:
    """A name, of a file or of a category, on one line: what cannot be seen or written is escaped."""
    text = os.fspath(text).encode(errors="backslashreplace").decode()
    return "".join(repr(letter)[1:-1] if _is_control(letter) else letter for letter in text)


def plain(console: Console, text: str, style: str | None = None) -> None:
    """Print text as it is: brackets are no markup, and paths are not broken into lines.

    Half a letter could not be written, and a control character could do anything to the terminal: escaped.
    """
    from rich.text import Text

    text = "\n".join(map(shown, text.split("\n")))
    # As Text: a style given to print() would colour a progress bar below as well.
    console.print(Text(text, style=style or ""), soft_wrap=True)


def warn(text: str) -> None:
    """A warning, on standard error."""
    plain(errors(), text, "yellow")


def error(text: str, console: Console | None = None) -> None:
    """An error, on standard error; `console`: the one that shows a progress bar now."""
    plain(console or errors(), text, "red")


def show_warnings() -> None:
    """From now on print the product's own warnings as people read them, without a place in the code."""
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if isinstance(message, OdiseWarning):
            warn(f"{category.__name__}: {message}")
        else:
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def _is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter < "\xa0"
