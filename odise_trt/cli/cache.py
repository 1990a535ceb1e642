"""`odise-trt cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console


def cache(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="A bundle, or the folder that bundles are in; left out: engines.", show_default=False
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the tables; they are made again.")] = False,
) -> None:
    """List or clear the cached text embeddings of vocabularies."""
    from .. import cache as tables

    place = _place(folder or Path("engines"))
    out = console.output()
    if clear:
        cleared = tables.clear(place)
        console.plain(out, f"{place}: removed {cleared.files} files, {_size(cleared.bytes)}")
        return
    found = tables.cached_tables(place)
    for one in found:
        console.plain(out, f"{one.path.name[:12]}  {_size(one.bytes):>9}  {one.description}")
    total = sum(one.bytes for one in found)
    console.plain(out, f"{place}: {len(found)} tables, {_size(total)}")


def _place(folder: Path) -> Path:
    """The cache of a bundle, of a folder of bundles, or the folder itself if it is one."""
    from ..cache import VOCABULARIES, cached_tables, vocabulary_folder
    from ..manifest import MANIFEST

    if folder.name == VOCABULARIES or cached_tables(folder):
        return folder
    # A bundle's cache lies beside the bundle.
    return vocabulary_folder(folder if (folder / MANIFEST).is_file() else folder / "bundle")


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
