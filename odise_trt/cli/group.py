"""The group of all verbs: those of the runtime, and those that other packages add.

A package adds a verb by an entry point of the group `odise_trt.commands`. The entry point names a function
with typer's annotations or a `typer.Typer`. Its module should import little, since `odise-trt --help` loads
it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ..errors import OdiseError
from .extras import DISTRIBUTION, TOOLKIT, missing_package, toolkit_is_here, toolkit_is_missing

GROUP = "odise_trt.commands"
#: Headings of `odise-trt --help`: verbs of the wheel, verbs of a checkout, verbs of other packages.
RUNTIME_PANEL, TOOLKIT_PANEL, OTHER_PANEL = "Runtime", "Toolkit (checkout)", "Other packages"
#: Every command has both options. The verbs of `odise-trt` inherit them.
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class VerbGroup(TyperGroup):
    """Finds verbs by entry point."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the verbs of the runtime, the toolkit (in a checkout only), and other packages (by name)."""
        own = super().list_commands(ctx)
        there = {name: point for name, point in _joined().items() if not _left_out(point)}
        joined = sorted(set(there) - set(own), key=lambda name: (not _is_own(there[name]), name))
        return own + joined

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb. A verb of another package is loaded only now."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _joined():
            return own
        return _load(_joined()[cmd_name])


def command_of(target: str) -> Any:
    """Return the command that "module:function" or "module:app" names, to be run on its own.

    Raises:
        ImportError: the module cannot be imported.
    """
    module, _, attribute = target.partition(":")
    command = _command(attribute, getattr(import_module(module), attribute))
    command.context_settings = {**HELP_OPTIONS, **command.context_settings}
    return command


def _joined() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _is_own(point: EntryPoint) -> bool:
    """Whether an entry point is a verb of odise-trt's own toolkit."""
    own = point.dist is not None and point.dist.name == DISTRIBUTION
    return own and point.module.partition(".")[0] in TOOLKIT


def _left_out(point: EntryPoint) -> bool:
    """Whether an entry point is a verb of the toolkit, and the toolkit is not installed here."""
    return _is_own(point) and not toolkit_is_here(point.module.partition(".")[0])


def _load(point: EntryPoint) -> Any:
    if _left_out(point):
        command = _failing(toolkit_is_missing(point.module.partition(".")[0]))
    else:
        try:
            command = _command(point.name, point.load())
        except Exception as error:
            # The other verbs must work whatever the error. The broken verb reports it when it is called.
            command = _broken(point, error)
    command.name = point.name
    command.rich_help_panel = TOOLKIT_PANEL if _is_own(point) else OTHER_PANEL
    return command


def _command(name: str, target: Any, **settings: Any) -> Any:
    if isinstance(target, typer.Typer):
        return get_command(target)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name, **settings)(target)
    return get_command(app)


def _broken(point: EntryPoint, error: Exception) -> Any:
    if isinstance(error, ModuleNotFoundError) and (missing := missing_package(error)) is not None:
        return _failing(missing)
    package = point.dist.name if point.dist is not None else point.value
    why = f"cannot be loaded: {type(error).__name__}: {error}"
    message = f"the verb {point.name} of {package} {why}"
    return _failing(OdiseError(message, f"install {package} again, or remove it"), f"({why})")


def _failing(error: OdiseError, help: str | None = None) -> Any:
    def verb() -> None:
        raise error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return _command("verb", verb, help=help or f"({error.message})", context_settings=anything)
