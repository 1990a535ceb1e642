"""The records of all parts as one: the form of the files in benchmarks/results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .parts import Part
from .records import PartRecord, read_record

#: Name of the file.
NAME = "summary.json"
#: Its keys.
KEYS = frozenset({"machine", "commit", "preset", "weights", "sections"})


def records_of(folder: Path, parts: Sequence[Part], key: Mapping[str, Any]) -> dict[str, PartRecord]:
    """Return part -> its record, of those that were measured for this key."""
    found = {part.name: read_record(folder, part.name) for part in parts}
    return {name: record for name, record in found.items() if record is not None and record.key == key}


def summary(
    parts: Sequence[Part], records: Mapping[str, PartRecord], key: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge records.

    Returns:
        "machine", "commit" and the job's own keys; "sections": section -> its numbers; "parts": part -> how
        it ended and why; "clocks": part -> those after its last number.
    """
    sections: dict[str, dict[str, Any]] = {}
    for part in parts:
        if part.name in records:
            sections.setdefault(part.section, {}).update(records[part.name].numbers)
    ends = {
        name: {"status": record.status, "message": record.message, "seconds": record.seconds}
        for name, record in records.items()
    }
    clocks = {name: list(record.clocks.values())[-1] for name, record in records.items() if record.clocks}
    return {"machine": key["machine"], **key["job"], "sections": sections, "parts": ends, "clocks": clocks}
