"""The verbs together: those of the runtime, and those of packages that join it.

A package adds a verb by an entry point of the group `odise_trt.commands`. It names a function with typer's
annotations or a `typer.Typer`; its module should import little, since `odise-trt --help` loads it.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ..errors import OdiseError
from . import console

GROUP = "odise_trt.commands"


class VerbGroup(TyperGroup):
    """Finds verbs by entry point, and ends with status 1 and one message on errors of the product."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The runtime's verbs, then the joined ones by name."""
        own = super().list_commands(ctx)
        return own + sorted(_joined().keys() - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A verb; one of another package is loaded only now."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _joined():
            return own
        return _load(_joined()[cmd_name])

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except OdiseError as error:
            console.error(f"{type(error).__name__}: {error}")
            raise typer.Exit(1) from error


def _joined() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> Any:
    try:
        target = point.load()
        return get_command(target if isinstance(target, typer.Typer) else _app(point.name, target))
    except Exception as error:
        # Whatever is wrong with it, the other verbs work; this one says so when it is called.
        return get_command(_broken(point, error))


def _app(name: str, function: Any, **settings: Any) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_show_locals=False)
    app.command(name, **settings)(function)
    return app


def _broken(point: EntryPoint, error: Exception) -> typer.Typer:
    package = point.dist.name if point.dist is not None else point.value
    message = f"the verb {point.name} of {package} cannot be loaded: {type(error).__name__}: {error}"

    def verb() -> None:
        raise OdiseError(message, f"install {package} again, or remove it")

    help = f"(cannot be loaded: {type(error).__name__}: {error})"
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return _app(point.name, verb, help=help, context_settings=anything)
