"""Results as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..drawing.legend import percentage
from ..result import Result
from .console import plain, shown

_MOST_ROWS = 12
_WORDS = {
    "panoptic": ("segment", "segments"),
    "semantic": ("category", "categories"),
    "instance": ("object", "objects"),
}

Row = tuple[str, str, str, str]


def show_result(console: Console, image: Path, result: Result, files: Sequence[Path], brief: bool) -> None:
    """Print what was found in an image, and where its files are.

    Args:
        brief: print one line only, for runs of many images.
    """
    rows = _rows(result)
    height, width = result.image.shape[:2]
    seconds = sum(result.timings.values())
    one, many = _WORDS[result.task]
    line = (
        f"{shown(image)} ({width} x {height}): {len(rows)} {one if len(rows) == 1 else many}, {seconds:.2f} s"
    )
    if brief:
        plain(console, f"{line}, {shown(files[0])}")
        return
    plain(console, line, "bold")
    if rows:
        console.print(_table(rows))
    for file in files:
        plain(console, f"  {shown(file)}")


def show_timings(
    console: Console, timings: Sequence[Mapping[str, float]], runs_on: Mapping[str, str]
) -> None:
    """Print the seconds per stage (median over images) and the backend and device that ran them."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column(
        "seconds" if len(timings) == 1 else f"seconds (median of {len(timings)})", justify="right"
    )
    total = 0.0
    for stage in timings[0]:
        seconds = float(np.median([one.get(stage, 0.0) for one in timings]))
        total += seconds
        table.add_row(stage, f"{seconds:.3f}")
    table.add_row("total", f"{total:.3f}", style="bold")
    console.print(table)
    plain(console, ", ".join(f"{key} {value}" for key, value in runs_on.items()), "dim")


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading, side in (("segment", "left"), ("", "left"), ("area", "right"), ("score", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for name, *rest in rows[:_MOST_ROWS]:
        table.add_row(escape(shown(name)), *rest)
    if len(rows) > _MOST_ROWS:
        table.add_row(f"+ {len(rows) - _MOST_ROWS} more", style="dim")
    return table


def _rows(result: Result) -> list[Row]:
    pixels = result.image.shape[0] * result.image.shape[1]
    if result.semantic is not None:
        areas = np.bincount(result.semantic[result.semantic >= 0], minlength=len(result.vocabulary))
        found: Iterable[int] = [int(n) for n in np.argsort(-areas, kind="stable") if areas[n]]
        return [(result.vocabulary[n].name, "", percentage(areas[n] / pixels), "") for n in found]
    if result.instances is not None:
        return [
            (one.name, "thing", percentage(one.area / pixels), f"{one.score:.2f}") for one in result.instances
        ]
    return [
        (s.name, "thing" if s.isthing else "stuff", percentage(s.area / pixels), f"{s.score:.2f}")
        for s in sorted(result.segments, key=lambda segment: -segment.area)
    ]
