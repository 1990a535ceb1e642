"""The roofline as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .ceilings import Ceilings
from .judgement import StageRow
from .work import total

if TYPE_CHECKING:
    from rich.table import Table


def table(rows: Sequence[StageRow], limits: Ceilings) -> Table:
    """Make a table with a row per stage, and the ceilings in its caption.

    MB is the least that any engine moves. "floor" is the time of that work at the ceilings, "layers" the time
    if every layer moves its own tensors, "share" the floor over the judged time.
    """
    from rich.table import Table

    shown = Table(
        "stage", title="best time against the floor", caption_justify="left", caption=ceilings_text(limits)
    )
    for name in ("GFLOP", "MB", "ms", "CPU ms", "floor", "layers", "share", "above"):
        shown.add_column(name, justify="right")
    for one in rows:
        shown.add_row(
            f"{one.stage} x{one.calls}" if one.calls > 1 else one.stage,
            *_cells(one.work.flops, one.work.bytes, one.seconds, one.cpu_seconds),
            *_times(one.floor, one.layered_floor, one.judged),
        )
    shown.add_section()
    work = total(one.work for one in rows)
    seconds, cpu = (sum(getattr(one, name) for one in rows) for name in ("seconds", "cpu_seconds"))
    floors = (sum(getattr(one, name) for one in rows) for name in ("floor", "layered_floor", "judged"))
    shown.add_row("all", *_cells(work.flops, work.bytes, seconds, cpu), *_times(*floors))
    return shown


def _cells(flops: int, moved: int, seconds: float, cpu: float) -> tuple[str, ...]:
    return f"{flops / 1e9:.2f}", f"{moved / 1e6:.1f}", f"{seconds * 1000:.1f}", f"{cpu * 1000:.1f}"


def _times(floor: float, layered: float, judged: float) -> tuple[str, ...]:
    return (
        f"{floor * 1000:.1f}",
        f"{layered * 1000:.1f}",
        f"{floor / judged:.0%}",
        f"{(judged - floor) * 1000:.1f}",
    )


def ceilings_text(limits: Ceilings) -> str:
    """Return the ceilings in words."""
    return (
        f"measured ceilings: matrix product {limits.matmul / 1e9:.0f} GFLOP/s,"
        f" 3x3 convolution {limits.conv / 1e9:.0f} GFLOP/s, copy {limits.copy / 1e9:.1f} GB/s"
    )
