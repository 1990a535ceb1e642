"""Writes what each quantized layer loses as one HTML page without external files."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from odise_trt.errors import ParityError
from odise_trt.files.writing import write_file
from odise_trt.stage_spec import QUANTIZED

FILE = "layers.html"
#: A bar is empty at this error, and full at 1. Its scale is logarithmic.
_FLOOR = 1e-3

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
  color: #1d2433; background: #fff; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; } p { color: #5b6475; margin-top: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; border-top: 2px solid #d8dce5; padding-top: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid #d8dce5; padding: .4rem .6rem; }
td { border-bottom: 1px solid #eceef3; padding: .2rem .6rem; } td.number { text-align: right; }
td.module { overflow-wrap: anywhere; font-size: .85rem; }
.bar { width: 12rem; height: .7rem; background: #eef1f6; border-radius: .2rem; }
.bar i { display: block; height: 100%; background: #3568b8; border-radius: .2rem; }
"""


def write_layers(path: Path, maps: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the file.
        maps: stage -> what is computed in which precision, with its "layers", as from `stage.precision_map`.
        title: of the page.

    Raises:
        OutputError: it cannot be written.
    """
    parts = "\n".join(_stage(name, found) for name, found in maps.items())
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Layers of {html.escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>
<h1>Layers of {html.escape(title)}</h1>
<p>Each quantized layer by itself, on calibration inputs: the relative L2 distance of its output to half
precision, given the input of half precision. Largest first; the scale is logarithmic from {_FLOOR:.0e}.</p>
{parts}
</body></html>
"""
    write_file(path, page.encode())


@contextmanager
def layers_of_a_miss(
    beside: Path, title: str, precision_map: Mapping[str, Any] | None, stage: str
) -> Iterator[None]:
    """Write the page of a stage whose comparison misses in the block: nobody sees its bundle.

    Args:
        beside: the file, without its end.
        title: of the page.
        precision_map: of the stage. None: it is not quantized, and nothing is written.
        stage: its name.

    Raises:
        ParityError: that of the block. The message names the page.
        OutputError: the page cannot be written.
    """
    try:
        yield
    except ParityError as error:
        if precision_map is None:
            raise
        path = beside.with_name(f"{beside.name}.{FILE}")
        write_layers(path, {stage: precision_map}, f"{title} (not installed)")
        raise ParityError(f"{error.message}\n  what each layer loses: {path}", error.hint) from error


def _stage(name: str, found: Mapping[str, Any]) -> str:
    layers: Sequence[Mapping[str, Any]] = sorted(found["layers"], key=lambda layer: -layer["error"])
    kept = "; ".join(str(one) for one in found["float16"])
    what = ", ".join(f"{', '.join(found[key])} in {key}" for key in QUANTIZED if key in found)
    rows = "\n".join(map(_row, layers))
    return f"""<h2>{html.escape(name)}</h2>
<p>{html.escape(what)}. In half precision: {html.escape(kept)}.</p>
<table><thead><tr><th>layer</th><th>operator</th><th>weights</th><th>error</th><th>dB</th><th></th></tr></thead>
<tbody>
{rows}
</tbody></table>"""


def _row(layer: Mapping[str, Any]) -> str:
    share = 100 * (1 - math.log(min(1.0, max(_FLOOR, layer["error"]))) / math.log(_FLOOR))
    weights = " x ".join(map(str, layer["weights"]))
    return (
        f'<tr><td class="module">{html.escape(layer["module"])}</td><td>{html.escape(layer["operator"])}</td>'
        f'<td>{weights}</td><td class="number">{layer["error"]:.1e}</td>'
        f'<td class="number">{layer["decibels"]:.1f}</td>'
        f'<td><div class="bar"><i style="width:{share:.1f}%"></i></div></td></tr>'
    )
