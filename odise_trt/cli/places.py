"""Files and folders as they are given on the command line."""

from __future__ import annotations

from pathlib import Path

import typer

from ..files.paths import expanded, home_is_unknown, is_address, kind_of


def folder(text: str) -> Path:
    """Return the path that an option names, with `~` for the home folder.

    Raises:
        typer.BadParameter: the text is empty (it would mean the working folder), it is a URL (it would become
            a folder called "s3:"), or the home folder is not known.
    """
    if not str(text).strip():  # typer gives the default as a path
        raise typer.BadParameter(f"{text!r} names no file or folder; is a variable of the shell unset?")
    if is_address(text):
        raise typer.BadParameter(f"{text} is an address: give a path on this machine")
    if home_is_unknown(text) and not kind_of(text).is_there:
        raise typer.BadParameter(f"no home folder is known for {text}; ./{text} is a folder of that name")
    return Path(expanded(text))
