"""What a download reports while it runs. `reference.download.console` shows it to people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Reporter:
    """Reports nothing. Subclasses show what they are told."""

    def note(self, text: str) -> None:
        """Take a line for people: a file was found, a wait begins."""

    @contextmanager
    def counting(self, what: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
        """Give a function to call with each number of bytes that was read or fetched.

        Args:
            what: the work, as "fetching sd-v1-3".
            total: bytes of all of it; None if it is not known.
            done: bytes that were there before.
        """
        yield lambda count: None


#: The reporter of callers who want none.
SILENT = Reporter()
