"""Who is told how a build goes."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Is told how a build goes."""

    def begin(self, steps: int) -> None:
        """The build takes this many steps."""

    def step(self, what: str) -> None:
        """The next step has begun."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Progress inside an engine build."""

    def note(self, text: str) -> None:
        """Something worth a line."""
