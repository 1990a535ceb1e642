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
from .extras import DISTRIBUTION, TOOLKIT, missing_package, toolkit_is_here, toolkit_is_missing

GROUP = "odise_trt.commands"


class VerbGroup(TyperGroup):
    """Finds verbs by entry point."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The runtime's verbs, then the joined ones by name; not those that a wheel leaves out."""
        own = super().list_commands(ctx)
        there = {name for name, point in _joined().items() if not _left_out(point)}
        return own + sorted(there - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A verb; one of another package is loaded only now."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _joined():
            return own
        return _load(_joined()[cmd_name])


def _joined() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _left_out(point: EntryPoint) -> bool:
    """Whether it is a verb of odise-trt's own toolkit, and the toolkit is not here."""
    own = point.dist is not None and point.dist.name == DISTRIBUTION
    package = point.module.partition(".")[0]
    return own and package in TOOLKIT and not toolkit_is_here(package)


def _load(point: EntryPoint) -> Any:
    if _left_out(point):
        return get_command(_failing(point.name, toolkit_is_missing(point.module.partition(".")[0])))
    try:
        target = point.load()
        return get_command(target if isinstance(target, typer.Typer) else _app(point.name, target))
    except Exception as error:
        # Whatever is wrong with it, the other verbs work; this one says so when it is called.
        return get_command(_broken(point, error))


def _app(name: str, function: Any, **settings: Any) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command(name, **settings)(function)
    return app


def _broken(point: EntryPoint, error: Exception) -> typer.Typer:
    if isinstance(error, ModuleNotFoundError) and (missing := missing_package(error)) is not None:
        return _failing(point.name, missing)
    package = point.dist.name if point.dist is not None else point.value
    why = f"cannot be loaded: {type(error).__name__}: {error}"
    message = f"the verb {point.name} of {package} {why}"
    return _failing(point.name, OdiseError(message, f"install {package} again, or remove it"), f"({why})")


def _failing(name: str, error: OdiseError, help: str | None = None) -> typer.Typer:
    def verb() -> None:
        raise error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return _app(name, verb, help=help or f"({error.message})", context_settings=anything)
