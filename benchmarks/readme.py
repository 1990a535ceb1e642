"""The speed table of the README, made from a record of `odise-trt bench`.

    odise-trt bench readme

The table stands between two comments. A test holds it equal to what the record in `results/` gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.texts import machine_line, milliseconds, parity_texts
from odise_trt.errors import OdiseError

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "README.md"
RECORD = ROOT / "benchmarks" / "results" / "demo-cpu.json"
_BEGIN, _END = "<!-- speed: odise-trt bench readme -->\n", "<!-- end of speed -->"


class PageError(OdiseError):
    """The page has no place for the table, or the record is none of the benchmark."""


def table(record: Mapping[str, Any]) -> str:
    """Return the rows of a record in Markdown. Its first heading names picture, machine and foreign load."""
    height, width = record["job"]["image_size"]
    about = f"`{record['job']['preset']}`, {width} x {height}, all tasks; {machine_line(record)}"
    lines = [
        f"| {about} | median | best | CPU time | pixels equal | peak GB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in record["contenders"]:
        if "not_run" in row:
            continue
        name = f"`{row['name']}`" if row["backend"] != "torch" else f"PyTorch, {row['technique']}"
        times = (row["segmentation"]["p50"], row["segmentation"]["min"], row["segmentation_cpu"]["p50"])
        cells = [*map(milliseconds, times), parity_texts(row)[0], f"{row['peak_bytes'] / 1e9:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, shown: str) -> str:
    """Return the page with the table between its two comments.

    Raises:
        PageError: the page has no such comments.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise PageError(f"the page has no place for the table: {_BEGIN.strip()} ... {_END}")
    return f"{before}{begin}{shown}{end}{after}"


def read_record(path: Path) -> dict[str, Any]:
    """Read a record of `odise-trt bench`.

    Raises:
        PageError: the file cannot be read, or it is none.
    """
    from benchmarks.whole import KEYS

    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PageError(f"{path} cannot be read: {error}", "odise-trt bench --json writes it") from error
    if not isinstance(record, dict) or not record.keys() >= KEYS:
        raise PageError(f"{path} is not a record of odise-trt bench", "odise-trt bench --json writes one")
    return record


def update(page: Path, record: Path) -> bool:
    """Write the table of a record into a page. Return whether the page has changed."""
    from odise_trt.files.writing import write_file

    old = page.read_text(encoding="utf-8")
    new = with_table(old, table(read_record(record)))
    if new != old:
        write_file(page, new.encode())
    return new != old
