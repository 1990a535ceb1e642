"""Progress bars in one common style."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Item = TypeVar("Item")


def progress_bars(
    console: Console,
    *,
    hidden: bool = False,
    transient: bool = False,
    counted: bool = True,
    elapsed: bool = False,
    spinner: bool = False,
    transferred: bool = False,
) -> Progress:
    """Make a display for tasks: description, bar, and an estimate of the time left.

    Args:
        hidden: show nothing.
        transient: the bars vanish at the end.
        counted: show "3/10" beside the bar.
        elapsed: show the time since the beginning, too.
        spinner: show a moving sign in front, for tasks whose steps take minutes.
        transferred: the steps are bytes: show how many there were, and their rate.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        *([SpinnerColumn()] if spinner else []),
        # Descriptions can be paths. Brackets in a path are no markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *([MofNCompleteColumn()] if counted else []),
        *([DownloadColumn(), TransferSpeedColumn()] if transferred else []),
        *([TimeElapsedColumn(), TextColumn("left")] if elapsed else []),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        disable=hidden,
        # A verb prints its result to standard output. It must not go through a bar on standard error.
        redirect_stdout=False,
    )


def followed(
    items: Iterable[Item], description: str, total: int, console: Console | None = None
) -> Iterator[Item]:
    """Yield items while a progress bar is shown.

    Args:
        total: number of items.
        console: where the bar is shown. None: standard error.
    """
    from .console import errors

    with progress_bars(console or errors()) as bars:
        task = bars.add_task(description, total=total)
        for item in items:
            yield item
            bars.advance(task)
