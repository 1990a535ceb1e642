"""`odise-trt inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console

if TYPE_CHECKING:
    from rich.table import Table

    from ..bundle.manifest import Manifest
    from ..stage_spec import Tensor


def inspect(
    folder: Annotated[Path, typer.Argument(help="A bundle.", metavar="DIR", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
    verify: Annotated[bool, typer.Option(help="Compare the files with their hashes.")] = True,
) -> None:
    """Show what a bundle holds, how it was built, and how exact it is.

    The exit status is 1 if a file is missing or was changed.
    """
    from ..bundle import Bundle
    from ..bundle.manifest import Manifest

    manifest = Manifest.read(folder)
    if json:
        from dataclasses import asdict
        from json import dumps

        typer.echo(dumps(asdict(manifest), indent=1, ensure_ascii=False))
    else:
        out = console.output()
        for table in _tables(manifest):
            if table.row_count:
                out.print(table)
                out.print()
    if verify:
        Bundle.open(folder)
        console.plain(console.errors(), f"{folder}: all {len(manifest.files)} files are as built")
    else:
        console.warn(f"{folder}: files were not compared with their hashes")


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...] = ()) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def _tables(manifest: Manifest) -> tuple[Table, ...]:
    parts = (_summary, _stages, _pipeline, _parity, _files)
    return tuple(part(manifest) for part in parts)


def _summary(manifest: Manifest) -> Table:
    from rich.markup import escape

    seeded = f" ({console.SEEDED})" if manifest.weights.get("seeded") else ""
    model = manifest.model
    rows = {
        "preset": f"{manifest.preset} ({model.kind} model)",
        "precision": manifest.precision,
        "weights": f"{manifest.weights.get('source', 'unknown')}{seeded}",
        "weights sha256": str(manifest.weights.get("sha256", "")),
        **{f"backend {key}": _words(value) for key, value in manifest.backend.items()},
        "engines without weights": ", ".join(
            f"{entry.spec.name} takes those of {entry.weights_from}"
            for entry in manifest.stages
            if entry.weights_from is not None
        ),
        "image size": f"shorter side {model.short_side}, longer side at most {model.max_side}",
        "window": str(model.window),
        "queries": str(model.num_queries),
        **{f"precision of {key}": _words(_short(value)) for key, value in manifest.precision_map.items()},
        "built with": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
        "built at": manifest.created,
    }
    table = _table("", ("", ""))
    table.show_header = False
    for key, value in rows.items():
        if value:
            table.add_row(escape(key), escape(value))
    return table


def _short(precisions: object) -> object:
    """Leave out the list of quantized layers, which has a page of its own in the bundle."""
    if not isinstance(precisions, dict):
        return precisions
    return {key: value for key, value in precisions.items() if key != "layers"}


def _stages(manifest: Manifest) -> Table:
    from rich.markup import escape

    table = _table("stages", ("stage", "inputs", "outputs"), ("seconds", "peak GB"))
    for entry in manifest.stages:
        table.add_row(
            escape(entry.spec.name),
            _tensors(entry.spec.inputs),
            _tensors(entry.spec.outputs),
            f"{entry.build_seconds:.1f}",
            f"{entry.peak_memory_bytes / 1e9:.1f}",
        )
    return table


def _pipeline(manifest: Manifest) -> Table:
    from rich.markup import escape

    from ..pipeline.diagram import few, sources

    table = _table("pipeline", ("", "step", "inputs from", "repeated over", "tasks"))
    for number, step in enumerate(manifest.pipeline, start=1):
        taken = (f"{source}: {', '.join(few(names))}" for source, names in sources(step).items())
        carried = f", adding up {', '.join(step.carried)}" if step.carried else ""
        table.add_row(
            str(number),
            escape(step.stage),
            escape("\n".join(taken)),
            escape(f"{step.repeat}{carried}" if step.repeat else ""),
            escape(", ".join(step.tasks) or "all"),
        )
    return table


def _parity(manifest: Manifest) -> Table:
    from rich.markup import escape

    table = _table("parity with the fp32 reference", ("stage", "tensor", "check", "sizes"))
    for heading in ("relative L2", "largest", "tolerance", ""):
        table.add_column(heading, justify="right")
    for row in manifest.parity:
        table.add_row(
            escape(row.stage),
            escape(row.tensor),
            escape(row.check),
            escape(" ".join(f"{axis} {size}" for axis, size in row.sizes.items())),
            f"{row.relative_l2:.1e}",
            f"{row.max_abs:.1e}",
            f"{row.tolerance:.0e}",
            "[green]pass[/]" if row.passed else "[red]FAIL[/]",
        )
    return table


def _files(manifest: Manifest) -> Table:
    from rich.markup import escape

    table = _table("files", ("file", "sha256"), ("MB",))
    for name, facts in manifest.files.items():
        table.add_row(escape(name), escape(facts["sha256"]), f"{int(facts['bytes']) / 1e6:.2f}")
    return table


def _tensors(tensors: tuple[Tensor, ...]) -> str:
    from rich.markup import escape

    lines = (f"{t.name} {t.dtype} ({', '.join(map(str, t.shape))})" for t in tensors)
    return escape("\n".join(lines))


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_words(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "any"
    return str(value)
