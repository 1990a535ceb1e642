"""Which parts are still to be run, in which order, and whether one fits into the time that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .parts import Part
from .records import CUT, FINAL, PartRecord, read_record

#: A part is not begun if less than this is left, in seconds: loading the model takes a part of it.
LEAST_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """The parts of one call.

    Attributes:
        pending: parts to run, in order.
        kept: parts that are there already, with their records.
    """

    pending: tuple[Part, ...]
    kept: Mapping[str, PartRecord]


def plan(folder: Path, parts: Sequence[Part], key: Mapping[str, Any], *, again: bool = False) -> Plan:
    """Look at what is there, and decide what to run.

    A part that was cut off comes first, since it needs the time of a whole call. Parts that were not tried
    follow, and then those that failed.

    Args:
        folder: the folder of records.
        parts: the chosen parts.
        key: what is measured now.
        again: run parts again that are there.
    """
    kept: dict[str, PartRecord] = {}
    cut: list[Part] = []
    new: list[Part] = []
    failed: list[Part] = []
    for part in parts:
        record = read_record(folder, part.name)
        if record is None or record.key != key or again:
            new.append(part)
        elif record.status in FINAL:
            kept[part.name] = record
        else:
            (cut if record.status == CUT else failed).append(part)
    return Plan((*cut, *new, *failed), kept)


def limit_of(part: Part, left: float) -> float | None:
    """Return the seconds that a part may take when so many are left. None: it is not begun."""
    if left < min(part.limit, LEAST_SECONDS):
        return None
    return min(part.limit, left)
