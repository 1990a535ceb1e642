"""The output of `odise-trt run`, during the run and at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from ..errors import OdiseError
from . import console
from .boundary import message_of
from .progress import progress_bars
from .show import show_result, show_timings

if TYPE_CHECKING:
    from ..batch import Outcome
    from ..files.inputs import Inputs

#: If there are more images than this, each gets one line instead of a table.
_MOST_TABLES = 3
# The most images named of those that were not tried. Failed images are all named.
_MOST_NAMES = 20


class Report:
    """Prints outcomes as they come. At the end it lists the images that were not segmented."""

    def __init__(self, inputs: Inputs, quiet: bool) -> None:
        self._count = len(inputs.images) + len(inputs.refused)
        self._quiet = quiet
        self._bad: list[str] = []
        self._not_tried: list[str] = []
        self._done = 0
        self._faults = 0
        for one in inputs.refused:
            self._bad.append(one.name or "''")
            console.error(_message(one.error))

    def follow(self, outcomes: Iterable[Outcome], runs_on: Mapping[str, str] | None = None) -> None:
        """Print outcomes as they come, then the time per stage."""
        out, notes = console.output(), console.errors()
        if out.is_terminal and notes.is_terminal:
            notes = out  # both streams are one screen: messages have to go above the bar
        timings: list[dict[str, float]] = []
        bar = _bar(notes if notes.is_terminal else out, self._quiet)
        with bar:
            step = bar.add_task("", total=self._count - len(self._bad))
            try:
                for outcome in outcomes:
                    if outcome.error is not None:
                        self._show_error(outcome, notes)
                    else:
                        self._done += 1
                        self._show_done(outcome, out, timings)
                    bar.advance(step)
            except BaseException:
                # Ctrl-C, a signal, or an error of all images: report how far the run got.
                self.close()
                left = self._count - self._done - len(self._bad) - len(self._not_tried)
                console.error(f"{self._done} of {self._count} images were segmented, {left} were not tried")
                raise
        if timings and runs_on is not None:
            show_timings(out, timings, runs_on)

    def close(self) -> bool:
        """Print what was not segmented. Return whether everything was segmented."""
        if self._bad and self._count > 1:
            names = ", ".join(console.shown(name) for name in self._bad)
            console.error(f"{len(self._bad)} of {self._count} images were not segmented: {names}")
        if self._not_tried:
            names = ", ".join(console.shown(name) for name in self._not_tried[:_MOST_NAMES])
            if len(self._not_tried) > _MOST_NAMES:
                names += f", ... to {console.shown(self._not_tried[-1])}"
            console.error(f"{len(self._not_tried)} of {self._count} images were not tried: {names}")
        return not self._bad and not self._not_tried

    def _show_done(self, outcome: Outcome, out: Console, timings: list[dict[str, float]]) -> None:
        if self._quiet:
            return
        if outcome.result is not None:
            timings.append(dict(outcome.result.timings))
            brief = self._count > _MOST_TABLES
            show_result(out, outcome.image, outcome.result, outcome.files, brief)
        else:
            names = (console.shown(path) for path in (outcome.image, outcome.files[0]))
            console.plain(out, ": ".join(names))

    def _show_error(self, outcome: Outcome, notes: Console) -> None:
        if not outcome.tried:
            self._not_tried.append(str(outcome.image))
            return
        self._bad.append(str(outcome.image))
        assert outcome.error is not None
        text = _message(outcome.error)
        fault = outcome.error.__cause__
        if type(outcome.error) is OdiseError and isinstance(fault, Exception):
            self._faults += 1
            if self._faults == 1:  # its traceback is saved in a file
                text = f"{console.shown(outcome.image)} could not be segmented: {message_of(fault)}"
        console.error(text, notes)


def _message(error: OdiseError) -> str:
    return f"{type(error).__name__}: {error}"


def _bar(screen: Console, quiet: bool) -> Progress:
    return progress_bars(screen, hidden=quiet or not screen.is_terminal, transient=True)
