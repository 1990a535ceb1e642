"""How a conversion says what it does. The default says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Reporter:
    """Receives notes, and the progress of long work. Subclasses show them."""

    def note(self, text: str) -> None:
        """Take a line that a person should read."""

    @contextmanager
    def work(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Begin work on `total` bytes. Call the value with the number of bytes done since the last call."""
        del what, total
        yield lambda count: None
