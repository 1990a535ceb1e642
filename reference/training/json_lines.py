"""The log of a run: a JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from odise_trt.errors import OutputError, reason


class Log:
    """A log file that is appended to; one that was removed meanwhile is begun anew."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, start: int) -> int:
        """Drop the lines of steps that will be done again, and what is no entry of a log.

        Returns:
            How many lines were no entries, but for a last one that was cut off.

        Raises:
            OutputError: the file cannot be read or written.
        """
        if self.path.is_char_device():  # it has no lines of old, and reading some never ends
            return 0
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
            steps = [_step(line) for line in lines]
            kept = [
                line for line, step in zip(lines, steps, strict=True) if step is not None and step <= start
            ]
            if kept != lines or (kept and not kept[-1].endswith(b"\n")):
                self._replace(b"".join(line.rstrip(b"\r\n") + b"\n" for line in kept))
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._error(error) from error
        return sum(step is None for step in steps[:-1])

    def append(self, entry: Mapping[str, object]) -> None:
        """Write a line.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise self._error(error) from error

    def _replace(self, content: bytes) -> None:
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        try:
            temporary.write_bytes(content)
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _error(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path} cannot be written: {reason(error)}", "make room, or check its folder"
        )


def _step(line: bytes) -> int | None:
    """The step of an entry; None: it is none."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    return step if isinstance(step, int) else None
