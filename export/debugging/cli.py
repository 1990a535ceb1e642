"""`odise-trt debug precision STAGE`."""

from __future__ import annotations

import json as to_json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reference.completion import presets_like

from ..completion import stages_like

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .nodes import NodeError
    from .precision import LayerErrors

app = typer.Typer(
    no_args_is_help=True,
    help="Find what is wrong with a build that misses its tolerance.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _debug() -> None:
    """Keep `precision` a verb within: typer makes an app of one verb that verb."""


@app.command()
def precision(
    stage: Annotated[
        str, typer.Argument(help="A stage.", show_default=False, autocompletion=stages_like, metavar="STAGE")
    ],
    preset: Annotated[
        str | None, typer.Option(help="The model. Default: demo.", autocompletion=presets_like)
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="As for `odise-trt build`. Default: demo, or those of the bundle.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Look at the graph of this fp16 bundle.", metavar="DIR")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Print so many layers.")] = 10,
    json: Annotated[
        bool, typer.Option("--json", help="Print every node as JSON, an object per line.")
    ] = False,
) -> None:
    """Find the layers of a stage that half precision breaks.

    The half-precision graph runs beside the same graph in float32, and every node is compared.
    """
    console = Console(quiet=json)
    with console.status("comparing nodes") if console.is_terminal else nullcontext():
        from odise_trt.files.paths import expanded

        from .sources import find

        found = find(stage, preset, weights, None if bundle is None else Path(expanded(bundle)))
    if json:
        for node in found.nodes:
            typer.echo(to_json.dumps(vars(node)))
        return
    _show(console, found, count)


def _show(console: Console, found: LayerErrors, count: int) -> None:
    from odise_trt.cli.console import plain

    from ..console import parity_table
    from .nodes import entering, steepest

    console.print(parity_table(found.rows))
    limit = f"{found.tolerance:.0e}"
    broken = entering(found.nodes, found.tolerance)
    if broken:
        plain(console, f"{len(broken)} nodes are beyond {limit}, and their inputs are not:")
    else:
        plain(console, f"no node is beyond {limit}; the largest steps of {len(found.nodes)} nodes:")
    for line in _lines(broken[:count] or steepest(found.nodes, count)):
        plain(console, line)
    if broken:
        path = broken[0].module or "the module"
        plain(console, f"name it in the stage's `float32` to keep its weights float32: {path}")


def _lines(nodes: Sequence[NodeError]) -> list[str]:
    """Return a line per node. The path comes last: it is as long as it is, and can be copied."""
    wide = max((len(node.operator) for node in nodes), default=0)
    head = f"{'inputs':>8} {'output':>8} {'largest':>9} {'not finite':>10}  {'operator':<{wide}}  layer"
    return [head] + [
        f"{node.given:8.1e} {node.found:8.1e} {node.largest:9.3g} {node.not_finite or '':>10}"
        f"  {node.operator:<{wide}}  {node.module}"
        for node in nodes
    ]
