"""The numbers of a record in words, the same in tables, pictures and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds with three digits, such as "7.35 ms", "148 ms" and "1,230 ms"."""
    value = seconds * 1000
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:,.{digits}f} ms"


def parity_texts(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the share of equal pixels and the distance of the masks of a contender that ran."""
    if row["name"] == row["compared_with"]:
        return "baseline", "-"
    return f"{row['panoptic_agreement']:.2%}", f"{row['masks_relative_l2']:.0e}"


def number(value: Any, form: str = "{:.1f}") -> str:
    """Return a number of a record, or "-" if it was not measured."""
    return "-" if value is None or isinstance(value, Mapping) else form.format(value)


def machine_line(record: Mapping[str, Any]) -> str:
    """Return one line about machine, commit, and the load of others."""
    count = record["job"]["threads"]
    threads = f"{count} thread" if count == 1 else f"{count} threads"
    return f"{record['machine']['device']}, {threads}; {load_text(record['load'])}"


def load_text(load: Mapping[str, Any]) -> str:
    """Return what other programs did during the measurement."""
    if load["foreign"] is None:
        return "the load of other programs is not known"
    text = f"other programs took {load['foreign']:.2f} of {load['processors']} processors"
    return f"BUSY: {text}" if load["busy"] else text
