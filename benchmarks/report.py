"""The tables of the benchmark on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.texts import milliseconds, number, parity_texts

if TYPE_CHECKING:
    from rich.table import Table


def tables(record: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of a record: contenders, their stages, and growth."""
    yield contenders(record)
    yield stages(record)
    if record["growth"]:
        yield words(record["growth"]["words"]["rows"])
        yield windows(record["growth"]["windows"])


def contenders(record: Mapping[str, Any]) -> Table:
    """Make a table with a row per contender: times, rates, memory and parity."""
    shown = _table(
        *("segmentation, ms", "p50", "p90", "p99", "best", "CPU", "saved: p50", "CPU"),
        *("FPS", "folder", "peak GB", "J", "equal pixels", "masks L2", "others"),
    )
    for row in record["contenders"]:
        if "not_run" in row:
            shown.add_row(row["technique"], "not run", *[""] * 13)
            continue
        spread, saved = row["segmentation"], row["end_to_end"]
        shown.add_row(
            row["technique"],
            *(_ms(spread[key]) for key in ("p50", "p90", "p99", "min")),
            _ms(row["segmentation_cpu"]["p50"]),
            _ms(saved["p50"]),
            _ms(row["end_to_end_cpu"]["p50"]),
            number(1 / saved["p50"]),
            number(row["streaming_fps"]),
            number(row["peak_bytes"] / 1e9, "{:.2f}"),
            number(row["joules"]),
            *parity_texts(row),
            number(row["foreign"], "{:.2f}"),
        )
    return shown


def stages(record: Mapping[str, Any]) -> Table:
    """Make a table with a row per stage and a column per contender: median and best milliseconds."""
    ran = [row for row in record["contenders"] if "not_run" not in row]
    shown = _table("stage, ms (best)", *(row["technique"] for row in ran))
    for stage in dict.fromkeys(stage for row in ran for stage in row["stages"]):
        spreads = (row["stages"].get(stage) for row in ran)
        shown.add_row(
            stage, *("-" if one is None else f"{_ms(one['p50'])} ({_ms(one['min'])})" for one in spreads)
        )
    return shown


def words(rows: list[Mapping[str, Any]]) -> Table:
    """Make a table of the growth with words, best milliseconds."""
    names = ("classify", "panoptic", "semantic", "instance", "encode")
    shown = _table("words", "segmentation, ms", "panoptic, saved", *names, "first encoded, s")
    for row in rows:
        best = {stage: spread["min"] for stage, spread in row["stages"].items()}
        shown.add_row(
            f"{row['words']:,}",
            _ms(row["segmentation"]["min"]),
            _ms(row["panoptic_saved"]["min"]),
            *(_ms(best[name]) for name in names),
            f"{row['encoded_seconds']:.1f}",
        )
    return shown


def windows(rows: list[Mapping[str, Any]]) -> Table:
    """Make a table of the growth with windows, best milliseconds of segmentation."""
    names = list(rows[0]["contenders"]) if rows else []
    shown = _table("windows", "picture", *(f"{name}, ms" for name in names))
    for row in rows:
        best = (row["contenders"][name]["segmentation"]["min"] for name in names)
        shown.add_row(str(row["windows"]), f"{row['width']} x {row['height']}", *map(_ms, best))
    return shown


def _ms(seconds: float) -> str:
    return milliseconds(seconds).removesuffix(" ms")


def _table(first: str, *others: str) -> Table:
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    shown.add_column(first)
    for name in others:
        shown.add_column(name, justify="right")
    return shown
