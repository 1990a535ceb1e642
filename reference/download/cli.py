"""`odise-trt download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from odise_trt.cli import console
from odise_trt.cli.places import folder as place


def _names_like(incomplete: str) -> list[str]:
    from .artefacts import ARTEFACTS, OF_PRESET

    return [name for name in (*OF_PRESET, *ARTEFACTS) if name.startswith(incomplete)]


def download(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="odise-label or odise-caption: the three files of a preset; or files by name. Without it,"
            " the files are listed.",
            show_default=False,
            autocompletion=_names_like,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the files. Default: weights in $ODISE_CACHE, or in the user's cache folder.",
            show_default=False,
            parser=place,
            metavar="DIR",
        ),
    ] = None,
    accept_licenses: Annotated[
        bool,
        typer.Option("--accept-licenses", help="Accept the licences that are shown, without a question."),
    ] = False,
) -> None:
    """Fetch the published files of ODISE, Stable Diffusion and CLIP, and verify them.

    Files that this machine has already are used where they are. A download that was stopped goes on.
    """
    from reference.weights.place import weights_folder

    from .artefacts import ARTEFACTS, artefacts_of
    from .console import ConsoleReporter, console_consent, show_artefacts

    if not names:
        show_artefacts(console.output(), tuple(ARTEFACTS.values()))
        return
    if any(not name.strip() for name in names):
        raise typer.BadParameter("it is empty", param_hint="NAME")
    from .fetching import fetch

    errors = console.errors()
    files = fetch(
        artefacts_of(names),
        output or weights_folder(),
        console_consent(errors, accept_licenses),
        reporter=ConsoleReporter(errors),
    )
    for name, path in files.items():
        console.plain(console.output(), f"{name}: {path}")
