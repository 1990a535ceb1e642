"""A download on a console: what is to be accepted, progress, and questions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from odise_trt.cli.console import plain
from odise_trt.cli.progress import progress_bars

from .artefacts import Artefact, size_in_words
from .consent import Consent, ask, nobody_to_ask
from .hub import address
from .reporter import Reporter

#: Seconds between two lines of progress where there is no terminal.
_SECONDS_BETWEEN_LINES = 15.0


def console_consent(console: Console, accept_licenses: bool) -> Consent:
    """Return a consent that shows files and licences, and asks for each licence on the terminal.

    Args:
        console: of standard error.
        accept_licenses: they were accepted on the command line: show them, and ask nothing.
    """

    def consent(artefacts: Sequence[Artefact]) -> str:
        plain(console, "To be fetched:")
        show_artefacts(console, artefacts)
        if accept_licenses:
            return "--accept-licenses"
        if sys.stdin is None or not sys.stdin.isatty():
            raise nobody_to_ask(artefacts)
        return ask(artefacts, lambda text: console.input(text, markup=False))

    return consent


def show_artefacts(console: Console, artefacts: Sequence[Artefact]) -> None:
    """Print name, size, address, hash and licence of files.

    Addresses stay on one line, so that they can be copied.
    """
    for artefact in artefacts:
        licence = artefact.licence
        plain(console, f"{artefact.name}: {artefact.file}, {artefact.size_in_words}", "bold")
        plain(console, f"  {address(artefact)}")
        plain(console, f"  {artefact.hash_in_words}")
        plain(console, f"  {licence.name}, {licence.url}:\n    {licence.restriction}")


class ConsoleReporter(Reporter):
    """Shows bytes, their rate and the time left: a bar on a terminal, a line now and then elsewhere.

    Args:
        console: of standard error.
        clock: seconds, which only go up.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock

    def note(self, text: str) -> None:
        """See `Reporter`."""
        plain(self._console, text)

    @contextmanager
    def counting(self, what: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
        """See `Reporter`."""
        if self._console.is_terminal:
            with progress_bars(self._console, transient=True, counted=False, transferred=True) as bars:
                task = bars.add_task(what, total=total, completed=done)
                yield lambda count: bars.advance(task, count)
            return
        lines = _Lines(what, total, done, self.note, self._clock)
        yield lines.advance


class _Lines:
    """Progress as lines: one whenever enough time has gone by."""

    def __init__(
        self, what: str, total: int | None, done: int, note: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._what, self._total, self._note, self._clock = what, total, note, clock
        self._begin = self._done = done
        self._began = self._last = clock()

    def advance(self, count: int) -> None:
        """Count bytes."""
        self._done += count
        now = self._clock()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = (self._done - self._begin) / (now - self._began)
        text = f"{self._what}: {size_in_words(self._done)}"
        if self._total is not None:
            text += f" of {size_in_words(self._total)}"
        text += f", {size_in_words(round(rate))}/s"
        if self._total is not None and rate > 0:
            text += f", {(self._total - self._done) / rate / 60:.0f} min left"
        self._note(text)
