"""`odise-trt vocab`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import console


def vocab(
    vocabulary: Annotated[
        str | None,
        typer.Argument(
            help="As --vocab of run takes it; left out: the presets there are.", show_default=False
        ),
    ] = None,
    things: Annotated[str | None, typer.Option(help="Categories to make things.")] = None,
    stuff: Annotated[str | None, typer.Option(help="Categories to make stuff.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, which --vocab reads from a file.")
    ] = False,
) -> None:
    """Show the categories of a vocabulary: their numbers, names, and whether they are things or stuff."""
    from rich.markup import escape
    from rich.table import Table

    from ..vocabulary import PRESETS, Vocabulary

    out = console.output()
    table = Table(box=None, pad_edge=False)
    if vocabulary is None:
        for heading in ("preset", "categories", "things", "what"):
            table.add_column(heading, justify="right" if heading in ("categories", "things") else "left")
        for name, what in PRESETS.items():
            preset = Vocabulary.preset(name)
            table.add_row(name, str(len(preset)), str(sum(preset.isthing)), what)
        out.print(table)
        return
    parsed = Vocabulary.parse(vocabulary)
    if things is not None:
        parsed = parsed.with_things(things)
    if stuff is not None:
        parsed = parsed.with_stuff(stuff)
    if json:
        from json import dumps

        # From 1, as in the JSON of a result.
        rows = [
            {"id": number, "names": list(category.names), "isthing": category.isthing}
            for number, category in enumerate(parsed, 1)
        ]
        typer.echo("[\n " + ",\n ".join(dumps(row, ensure_ascii=False) for row in rows) + "\n]")
        return
    table.add_column("id", justify="right")
    table.add_column("kind")
    table.add_column("names", overflow="fold")
    for number, category in enumerate(parsed):
        table.add_row(
            str(number), "thing" if category.isthing else "stuff", escape(", ".join(category.names))
        )
    out.print(table)
    count = sum(parsed.isthing)
    console.plain(out, f"{len(parsed)} categories: {count} things, {len(parsed) - count} stuff")
