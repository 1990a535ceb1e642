"""Printing of the verbs. Results go to standard output; progress, warnings and errors to standard error."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, TextIO

from ..errors import OdiseWarning

if TYPE_CHECKING:
    from rich.console import Console

SEEDED = "random weights: the shapes are real, the meaning is not"


def output() -> Console:
    """Return the console of standard output."""
    from rich.console import Console

    return Console(highlight=False)


def errors() -> Console:
    """Return the console of standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def shown(text: str | os.PathLike[str]) -> str:
    """Return the name of a file or category on one line. Invisible or unwritable characters are escaped."""
    text = os.fspath(text).encode(errors="backslashreplace").decode()
    return "".join(repr(letter)[1:-1] if _is_control(letter) else letter for letter in text)


def plain(console: Console, text: str, style: str | None = None) -> None:
    """Print text as it is: brackets are no markup, and paths are not broken into lines.

    Lone surrogates (which cannot be written) and control characters (which could change the terminal) are
    escaped.
    """
    from rich.text import Text

    text = "\n".join(map(shown, text.split("\n")))
    # A style given to print() would also colour a progress bar below, so the style is part of a Text.
    console.print(Text(text, style=style or ""), soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    plain(errors(), text, "yellow")


def error(text: str, console: Console | None = None) -> None:
    """Print an error on standard error. `console` is the one that shows a progress bar now, if any."""
    plain(console or errors(), text, "red")


def show_warnings() -> None:
    """From now on print the product's own warnings without file name and line number of the code."""
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
