"""`odise-trt cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console


def cache(
    folder: Annotated[
        str | None,
        typer.Argument(
            help="A bundle, or the folder that bundles are in. Default: engines.", show_default=False
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the tables; they are made again.")] = False,
) -> None:
    """List or clear the cached text embeddings of vocabularies."""
    from .. import table_cache
    from ..files.paths import expanded

    if folder == "":
        raise typer.BadParameter("it is empty", param_hint="FOLDER")
    place = table_cache.find_folder(Path(expanded(folder or "engines")))
    out = console.output()
    if clear:
        cleared = table_cache.clear(place)
        console.plain(out, f"{place}: removed {cleared.files} files, {_size(cleared.bytes)}")
        return
    found = table_cache.cached_tables(place)
    for one in found:
        console.plain(out, f"{one.path.name[:12]}  {_size(one.bytes):>9}  {one.description}")
    total = sum(one.bytes for one in found)
    console.plain(out, f"{place}: {len(found)} tables, {_size(total)}")


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
