"""`odise-trt vocab`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .completion import vocabularies_like
from .places import folder

if TYPE_CHECKING:
    from ..vocabulary import Vocabulary


def vocab(
    vocabulary: Annotated[
        str | None,
        typer.Argument(
            help="As --vocab of run takes it. Without it, the presets are listed.",
            show_default=False,
            autocompletion=vocabularies_like,
        ),
    ] = None,
    things: Annotated[str | None, typer.Option(help='Categories to make things: "purse, table".')] = None,
    stuff: Annotated[str | None, typer.Option(help='Categories to make stuff: "sky, wall".')] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, which --vocab reads from a file.")
    ] = False,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Write the text embeddings to this .npz file, for programs in C++.",
            parser=folder,
            metavar="PATH",
        ),
    ] = None,
    engines: Annotated[
        Path | None,
        typer.Option(help="With --table: the bundle that encodes the names.", parser=folder, metavar="PATH"),
    ] = None,
) -> None:
    """Show the categories of a vocabulary: their numbers, names, and whether they are things or stuff.

    Into a file or another program it prints the lines of a text file, which --vocab reads.
    """
    import sys
    from io import TextIOWrapper

    from ..vocabulary import Vocabulary

    if vocabulary is None:
        if things is not None or stuff is not None or json or table is not None:
            raise typer.BadParameter("--things, --stuff, --json and --table are for a vocabulary: name one")
        _show_presets()
        return
    if (table is None) != (engines is None):
        raise typer.BadParameter("--table and --engines belong together")
    parsed = Vocabulary.parse(vocabulary).with_flags(things, stuff)
    if table is not None and engines is not None:
        _write_table(table, engines, parsed)
        return
    count = sum(parsed.isthing)
    summary = f"{len(parsed)} categories: {count} things, {len(parsed) - count} stuff"
    if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.isatty():
        # A vocabulary file is read as UTF-8, whatever the terminal's encoding is.
        sys.stdout.reconfigure(encoding="utf-8")
    if json:
        from json import dumps

        rows = (dumps(row, ensure_ascii=False) for row in parsed.to_data())
        typer.echo("[\n " + ",\n ".join(rows) + "\n]")
    elif sys.stdout.isatty():
        _show_categories(parsed)
        console.plain(console.output(), summary)
    else:
        typer.echo(f"# {summary}\n{parsed.to_text()}", nl=False)


def _write_table(path: Path, engines: Path, vocabulary: Vocabulary) -> None:
    from rich.markup import escape

    from ..segmenter import Segmenter
    from ..table_file import check_place

    check_place(path)
    with console.errors().status(f"opening {escape(console.shown(engines))}"):
        segmenter = Segmenter.open(engines, vocabulary=vocabulary)
    with segmenter:
        segmenter.save_table(path)
    console.plain(console.output(), f"{console.shown(path)}: {len(vocabulary)} categories")


def _show_presets() -> None:
    from rich.table import Table

    from ..vocabulary import PRESETS, Vocabulary

    table = Table(box=None, pad_edge=False)
    for heading in ("preset", "categories", "things", "what"):
        table.add_column(heading, justify="right" if heading in ("categories", "things") else "left")
    for name, what in PRESETS.items():
        preset = Vocabulary.preset(name)
        table.add_row(name, str(len(preset)), str(sum(preset.isthing)), what)
    console.output().print(table)


def _show_categories(vocabulary: Vocabulary) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("kind")
    table.add_column("names", overflow="fold")
    for number, category in enumerate(vocabulary):
        table.add_row(
            str(number), "thing" if category.isthing else "stuff", escape(", ".join(category.names))
        )
    console.output().print(table)
