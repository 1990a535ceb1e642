"""The file of a part: what it measured, for what, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.record import write_record

#: Keys of the file of a part.
KEYS = frozenset({"part", "key", "status", "message", "seconds", "numbers", "clocks"})
#: All was measured.
DONE = "done"
#: The machine lacks what the part needs; the message says what. It is not tried again.
REFUSED = "refused"
#: Some number is missing; the message or the number says why.
FAILED = "failed"
#: It took longer than its limit.
TIMEOUT = "timeout"
#: The call of the command ended before the part did.
CUT = "cut"
RUNNING = "running"
#: Ends after which a part is not run again.
FINAL = frozenset({DONE, REFUSED})


@dataclass
class PartRecord:
    """What is known of a part.

    Attributes:
        part: its name.
        key: what it was measured for: machine, job with the commit, code. A record with another key is
            passed over.
        status: how it ended.
        message: why, unless it is done.
        seconds: how long it took.
        numbers: name -> what was measured.
        clocks: clocks, temperature and power of the GPU after each number; empty without nvidia-smi.
    """

    part: str
    key: Mapping[str, Any]
    status: str = RUNNING
    message: str = ""
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)
    clocks: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """The names of numbers that could not be measured."""
        return [
            name
            for name, one in self.numbers.items()
            if name == "error" or (isinstance(one, dict) and "error" in one)
        ]

    def write(self, folder: Path) -> None:
        """Write the record into a folder.

        Raises:
            OutputError: it cannot be written, or another file has its name.
        """
        write_record(path_of(folder, self.part), asdict(self))


def path_of(folder: Path, part: str) -> Path:
    """Return the file of a part."""
    return folder / f"{part}.json"


def read_record(folder: Path, part: str) -> PartRecord | None:
    """Read the record of a part. None: there is none that can be read."""
    try:
        found = json.loads(path_of(folder, part).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.keys() != KEYS:
        return None
    record = PartRecord(**found)
    return record if isinstance(record.numbers, dict) and isinstance(record.key, dict) else None
