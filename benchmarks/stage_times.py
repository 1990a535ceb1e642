"""Seconds per stage and peak memory of a bundle and of the PyTorch reference, on one image, in one run.

    odise-trt bench stages --engines engines/demo-onnxruntime-fp32 --image assets/photo.jpg

Contenders run one after the other, each in its own process, because the full preset does not fit twice in
24 GB. The numbers are medians over `--repeats` runs after `--warmup` runs. The text side is cached for all.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.runners import CONTENDERS, Job, Outcome

if TYPE_CHECKING:
    from rich.table import Table

#: Keys of the written record.
KEYS = frozenset({"job", "machine", "commit", "contenders"})


def measure(name: str, job: Job) -> tuple[Outcome, int]:
    """Run one contender. Return its outcome, and the peak resident memory of its process in bytes."""
    from export.measure import Measure

    with Measure() as used:
        outcome = CONTENDERS[name](job)
    return outcome, used.peak_bytes


def compare(job: Job, names: Iterable[str], begin: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Measure contenders, one after the other, each in its own process.

    Args:
        names: names of `CONTENDERS`.
        begin: called with the name of a contender before its measurement.

    Returns:
        Name -> seconds per stage and in total (medians), peak_bytes, segments and panoptic_agreement, the
        share of pixels in the same segment as in the first contender's map.
    """
    rows: dict[str, dict[str, Any]] = {}
    first_map = None
    for name in dict.fromkeys(names):
        begin(name)
        # Each contender has a new process, so that the memory of one does not count for the next.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            (timings, panoptic), peak = alone.submit(measure, name, job).result()
        first_map = panoptic if first_map is None else first_map
        rows[name] = {
            "seconds": {stage: statistics.median(run[stage] for run in timings) for stage in timings[0]},
            "total_seconds": statistics.median(sum(run.values()) for run in timings),
            "peak_bytes": peak,
            "segments": len(np.unique(panoptic[panoptic > 0])),
            "panoptic_agreement": float((panoptic == first_map).mean()),
        }
    return rows


def table(rows: dict[str, dict[str, Any]]) -> Table:
    """Make a table with a row per stage and a column per contender. Ratios are to the last contender."""
    from rich.table import Table

    shown = Table("seconds", *rows, title="median per stage")
    stages = dict.fromkeys(stage for row in rows.values() for stage in row["seconds"])
    for stage in stages:
        shown.add_row(stage, *(f"{row['seconds'].get(stage, 0):.3f}" for row in rows.values()))
    baseline = list(rows.values())[-1]["total_seconds"]
    totals = [row["total_seconds"] for row in rows.values()]
    shown.add_section()
    shown.add_row("total", *(f"{total:.3f}" for total in totals))
    shown.add_row("ratio to the last", *(f"{baseline / total:.2f}x" for total in totals))
    shown.add_row("peak GB", *(f"{row['peak_bytes'] / 1e9:.2f}" for row in rows.values()))
    shown.add_row("segments", *(str(row["segments"]) for row in rows.values()))
    shown.add_row(
        "panoptic map equal to the first", *(f"{row['panoptic_agreement']:.2%}" for row in rows.values())
    )
    return shown
