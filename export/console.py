"""A build as a person sees it: progress with an estimate, a line per finished step, a table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from .build import BuiltBundle


class ConsoleReporter:
    """Shows a build on a console; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._build: TaskID | None = None
        self._phases: dict[str, TaskID] = {}

    def __enter__(self) -> ConsoleReporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, steps: int) -> None:
        """See `export.build.Reporter`."""
        # The first step completes nothing: a step is complete when the next one begins.
        self._build = self._progress.add_task("", total=steps, completed=-1)

    def step(self, what: str) -> None:
        """See `export.build.Reporter`."""
        for task in self._phases.values():
            self._progress.remove_task(task)
        self._phases.clear()
        if self._build is not None:
            self._progress.update(self._build, description=what, advance=1)

    def phase(self, name: str, done: int, total: int) -> None:
        """See `export.build.Reporter`."""
        if name not in self._phases:
            self._phases[name] = self._progress.add_task(f"  {name}", total=total)
        task = self._phases[name]
        self._progress.update(task, completed=done, total=total, visible=done < total)

    def note(self, text: str) -> None:
        """See `export.build.Reporter`."""
        self._console.print(text, highlight=False, soft_wrap=True)


def show(console: Console, bundles: Sequence[BuiltBundle]) -> None:
    """Print the summary of a build."""
    for bundle in bundles:
        if bundle.stages:
            console.print(_table(bundle))
        else:
            console.print(f"{bundle.folder}: up to date", highlight=False, soft_wrap=True)
        if bundle.missing:
            console.print(
                f"[yellow]{bundle.folder} is a partial bundle[/]: it has no {', '.join(bundle.missing)};"
                " build without --stage to complete it",
                highlight=False,
                soft_wrap=True,
            )
        if bundle.seeded:
            console.print(
                f"{bundle.folder} has seeded random weights: they show that it runs, nothing more",
                highlight=False,
                soft_wrap=True,
            )


def _table(bundle: BuiltBundle) -> Table:
    table = Table(title=str(bundle.folder), title_justify="left")
    table.add_column("stage")
    for heading in ("nodes", "MB", "seconds", "worst parity", "tolerance", "peak GB"):
        table.add_column(heading, justify="right")
    for stage in bundle.stages:
        table.add_row(
            stage.stage,
            str(stage.nodes),
            f"{stage.bytes / 1e6:.1f}",
            f"{stage.seconds:.1f}",
            f"{stage.worst.relative_l2:.1e}",
            f"{stage.worst.tolerance:.0e}",
            f"{stage.peak_bytes / 1e9:.1f}",
        )
    return table
