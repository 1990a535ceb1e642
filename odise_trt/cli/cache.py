"""`odise-trt cache`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console

if TYPE_CHECKING:
    from ..bundle.stopped_builds import StoppedBuild

_ACTIONS = ("list", "prune", "verify")


def cache(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to do, and a bundle or the folder that bundles are in. Default: list engines.",
            metavar="[list|prune|verify] [FOLDER]",
            show_default=False,
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the tables; they are made again.")] = False,
) -> None:
    """List, prune or verify what is kept beside bundles: text embeddings, and stages of stopped builds.

    `prune` removes what stopped builds left; `verify` compares it with its hashes.
    """
    from .. import table_cache
    from ..bundle.stopped_builds import stopped_builds
    from ..files.paths import expanded

    action, folder = _parsed(words or [])
    if clear and action != "list":
        raise typer.BadParameter(f"it is not for {action}", param_hint="--clear")
    place = table_cache.find_folder(Path(expanded(folder)))
    builds = stopped_builds(_bundles(Path(expanded(folder)), place))
    out = console.output()
    if action == "prune":
        _prune(builds)
    elif action == "verify":
        _verify(builds, place)
    elif clear:
        cleared = table_cache.clear(place)
        console.plain(out, f"{place}: removed {cleared.files} files, {_size(cleared.bytes)}")
    else:
        found = table_cache.cached_tables(place)
        for one in found:
            console.plain(out, f"{one.path.name[:12]}  {_size(one.bytes):>9}  {one.description}")
        total = sum(one.bytes for one in found)
        console.plain(out, f"{place}: {len(found)} tables, {_size(total)}")
        for build in builds:
            console.plain(out, _line(build))


def _parsed(words: list[str]) -> tuple[str, str]:
    """Return what to do, and the folder. A folder that has the name of an action is written `./list`."""
    action, *rest = words if words and words[0] in _ACTIONS else ["list", *words]
    if len(rest) > 1 or "" in rest:
        why = "it is empty" if "" in rest else f"one folder, not {len(rest)}"
        raise typer.BadParameter(why, param_hint="FOLDER")
    return action, rest[0] if rest else "engines"


def _bundles(given: Path, tables: Path) -> Path:
    """Return the folder that bundles are in: the given one, or the one that a bundle or a cache lies in."""
    from ..bundle.manifest import MANIFEST

    return given.absolute().parent if given == tables or (given / MANIFEST).is_file() else given


def _line(build: StoppedBuild) -> str:
    what = "is being built" if build.runs else "a build was stopped"
    have = f"{', '.join(build.stages)} finished" if build.stages else "no stage finished"
    return f"{build.bundle}: {what}; {have}, {_size(build.bytes)}"


def _prune(builds: list[StoppedBuild]) -> None:
    from ..bundle.stopped_builds import prune

    out = console.output()
    for build in builds:
        if build.runs:
            console.plain(out, f"{build.bundle}: is being built, left alone")
            continue
        prune(build)
        console.plain(out, f"{build.bundle}: removed what a stopped build left, {_size(build.bytes)}")
    if not builds:
        console.plain(out, "no build was stopped: nothing to remove")


def _verify(builds: list[StoppedBuild], tables: Path) -> None:
    """Raise BundleError if a file is not what it was when it was written."""
    from .. import table_cache
    from ..bundle.stopped_builds import damage
    from ..errors import BundleError

    wrong = [problem for build in builds if not build.runs for problem in damage(build).values()]
    found = table_cache.cached_tables(tables)
    wrong += [f"{one.path} is {one.description}" for one in found if one.is_damaged]
    if wrong:
        raise BundleError(
            "\n".join(wrong), "the next build or run makes it again; odise-trt cache prune removes it"
        )
    stages = sum(len(build.stages) for build in builds)
    console.plain(
        console.output(), f"{len(found)} tables and {stages} finished stages are as they were written"
    )


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
