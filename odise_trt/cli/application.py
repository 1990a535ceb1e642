"""The verbs of `odise-trt` and the options that stand before them."""

from __future__ import annotations

from typing import Annotated

import typer

from .cache import cache
from .doctor import doctor
from .group import HELP_OPTIONS, RUNTIME_PANEL, VerbGroup
from .inspect import inspect
from .run import run
from .vocab import vocab

app = typer.Typer(
    name="odise-trt",
    cls=VerbGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
)


def _version(asked: bool) -> None:
    if asked:
        from .. import __version__

        typer.echo(f"odise-trt {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error arose; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Open-vocabulary panoptic segmentation with ODISE, on ONNX Runtime or TensorRT."""


for _verb in (run, vocab, inspect, doctor, cache):
    app.command(rich_help_panel=RUNTIME_PANEL)(_verb)
