"""The log of a run: a JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from odise_trt.files.writing import write_file, writing


class JsonLines:
    """A log file that is appended to; one that was removed meanwhile is begun anew."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, start: int) -> int:
        """Remove the lines of steps after `start`, and lines that are not entries of a log.

        Returns:
            The number of lines that were not entries; a truncated last line is not counted.

        Raises:
            OutputError: the file cannot be read or written.
        """
        if self.path.is_char_device():  # it has no earlier lines, and reading it may never end
            return 0
        with writing(self.path, _hint):
            try:
                lines = self.path.read_bytes().splitlines(keepends=True)
            except FileNotFoundError:
                return 0
            steps = [_step(line) for line in lines]
            kept = [
                line for line, step in zip(lines, steps, strict=True) if step is not None and step <= start
            ]
            if kept != lines or (kept and not kept[-1].endswith(b"\n")):
                content = b"".join(line.rstrip(b"\r\n") + b"\n" for line in kept)
                write_file(self.path, content, _hint)
        return sum(step is None for step in steps[:-1])

    def append(self, entry: Mapping[str, object]) -> None:
        """Write a line.

        Raises:
            OutputError: it cannot be written.
        """
        with writing(self.path, _hint):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def _hint(error: OSError) -> str:
    return "make room, or check its folder"


def _step(line: bytes) -> int | None:
    """The step of an entry; None: it is none."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    return step if isinstance(step, int) else None
