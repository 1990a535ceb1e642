"""`odise-trt doctor`."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import typer

from . import console


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show versions, devices and backends, what the missing ones need, and versions known to be bad.

    The exit status is 1 if no backend can run engines here, or if a version should be changed.
    """
    from ..doctor import examine, usable_backends

    findings = examine()
    usable = usable_backends(findings)
    bad = [finding.name for finding in findings if finding.is_bad]
    status = 0 if usable and not bad else 1
    if json:
        from json import dumps

        typer.echo(dumps([finding.to_json() for finding in findings], indent=1))
        raise typer.Exit(status)

    from rich.markup import escape
    from rich.table import Table

    out = console.output()
    for group, members in groupby(findings, key=lambda finding: finding.group):
        table = Table(title=group, title_justify="left", box=None, pad_edge=False, show_header=False)
        table.add_column()
        table.add_column(min_width=16)
        table.add_column(overflow="fold")
        for finding in members:
            mark = "[green]yes[/]" if finding.found else "[yellow]no[/]"
            needs = f"\n[dim]{escape(finding.needs)}[/]" if finding.needs else ""
            for fault in finding.faults:
                word = "[red]bad version[/]" if fault.is_bad else "[cyan]known[/]"
                needs += f"\n{word}: {escape(fault.what)}\n[dim]{escape(fault.advice)} ({fault.source})[/]"
            table.add_row(mark, escape(finding.name), escape(console.shown(finding.detail)) + needs)
        out.print(table)
        out.print()
    if bad:
        console.plain(out, f"versions known to be bad: {', '.join(bad)}", "bold red")
    console.plain(out, f"engines run here on: {', '.join(usable) or 'nothing; install a backend'}", "bold")
    raise typer.Exit(status)
