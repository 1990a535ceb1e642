"""Writes the comparisons of a bundle as one HTML page without external files."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

from odise_trt.bundle.manifest import Parity
from odise_trt.files.writing import write_file

from .exhibits import Exhibit
from .figures import Figures, sizes_of
from .maps import Panel

FILE = "parity.html"
#: A bar is empty at this distance and full at ten times the tolerance. Its scale is logarithmic.
_FLOOR = 1e-8

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
  color: #1d2433; background: #fff; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; } p { color: #5b6475; margin-top: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid #d8dce5; padding: .4rem .6rem; }
td { border-bottom: 1px solid #eceef3; padding: .3rem .6rem; white-space: nowrap; }
td.number { text-align: right; } tr.stage td { border-top: 2px solid #d8dce5; }
.bar { position: relative; width: 16rem; height: .8rem; background: #eef1f6; border-radius: .2rem; }
.bar i { position: absolute; inset: 0 auto 0 0; background: #2e9e6b; border-radius: .2rem; }
.bar b { position: absolute; top: -.15rem; bottom: -.15rem; width: 2px; background: #1d2433; }
.missed .bar i { background: #cf3b3b; } .missed td { color: #a32020; font-weight: 600; }
h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; border-top: 2px solid #d8dce5; padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; } h3 small { font-weight: 400; color: #5b6475; }
.panels { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-start; }
figure { margin: 0; } figcaption { font-size: .8rem; color: #5b6475; max-width: 14rem; }
figure img { width: 14rem; image-rendering: pixelated; border: 1px solid #d8dce5; display: block; }
.scene { margin-bottom: 1.5rem; }
svg { max-width: 100%; height: auto; }
"""


def write_report(
    path: Path,
    rows: Sequence[Parity],
    title: str,
    exhibits: Sequence[Exhibit] = (),
    scene: Sequence[Panel] = (),
) -> None:
    """Write the page, whole or not at all. It has less than 3 MB for any bundle of this model.

    Args:
        path: the file.
        rows: every comparison.
        title: of the page.
        exhibits: what outputs look like. Pictures beyond `figures.MOST_BYTES` are left out, with a note.
        scene: a picture segmented by the reference and by the bundle.

    Raises:
        OutputError: it cannot be written.
    """
    missed = sum(not row.passed for row in rows)
    verdict = (
        f"{missed} of {len(rows)} comparisons missed" if missed else f"all {len(rows)} comparisons passed"
    )
    body = "\n".join(
        _row(row, index == 0 or rows[index - 1].stage != row.stage) for index, row in enumerate(rows)
    )
    figures = Figures()
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Parity of {html.escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>
<h1>Parity of {html.escape(title)}</h1>
<p>{verdict}. Relative L2 distance of every exported output to the fp32 reference on the same inputs; the
black mark is the tolerance, the scale is logarithmic from {_FLOOR:.0e}.</p>
{figures.scene(scene)}
<table><thead><tr><th>stage</th><th>output</th><th>sizes</th><th>relative L2</th><th>largest difference</th>
<th>tolerance</th><th></th></tr></thead><tbody>
{body}
</tbody></table>
{figures.stages(list(dict.fromkeys(row.stage for row in rows)), exhibits)}
</body></html>
"""
    write_file(path, page.encode())


def _row(row: Parity, first: bool) -> str:
    classes = " ".join(name for name, holds in (("stage", first), ("missed", not row.passed)) if holds)
    end = row.tolerance * 10
    filled, mark = _place(row.relative_l2, end), _place(row.tolerance, end)
    cells = [
        f"<td>{html.escape(row.stage if first else '')}</td><td>{html.escape(row.tensor)}</td>",
        f"<td>{html.escape(sizes_of(row))}</td>",
        f'<td class="number">{row.relative_l2:.2e}</td><td class="number">{row.max_abs:.2e}</td>',
        f'<td class="number">{row.tolerance:.0e}</td>',
        (
            f'<td><div class="bar"><i style="width:{filled:.1f}%"></i>'
            f'<b style="left:{mark:.1f}%"></b></div></td>'
        ),
    ]
    return f'<tr class="{classes}">{"".join(cells)}</tr>'


def _place(value: float, end: float) -> float:
    """Return the position between the floor and `end` in percent, on a logarithmic scale."""
    if value <= _FLOOR:
        return 0.0
    if not math.isfinite(value):
        return 100.0
    return min(100.0, 100 * math.log(value / _FLOOR) / math.log(end / _FLOOR))
