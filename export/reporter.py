"""The interface for reports on the progress of a build."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives the progress of a build."""

    def begin(self, steps: int) -> None:
        """Called once, with the number of steps of the build."""

    def step(self, what: str) -> None:
        """Called when the next step begins."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Called with the progress within a step: see `export.builders.Progress`."""

    def note(self, text: str) -> None:
        """Called with a message of one line."""


def silent(phase: str, done: int, total: int) -> None:
    """Show no progress."""
