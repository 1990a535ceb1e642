"""Console output of a build: progress with an estimate, a line per finished step, and a table at the end."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from odise_trt.bundle.manifest import Parity
from odise_trt.cli.console import plain
from odise_trt.cli.progress import progress_bars

if TYPE_CHECKING:
    from .build import BuiltBundle


class ConsoleReporter:
    """Context manager that shows the progress of a build on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = progress_bars(
            console,
            hidden=not console.is_terminal,
            transient=True,
            counted=False,
            elapsed=True,
            spinner=True,
        )
        self._build: TaskID | None = None
        self._steps, self._step = 0, 0
        self._phases: dict[str, TaskID] = {}

    def __enter__(self) -> ConsoleReporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, steps: int) -> None:
        """See `export.reporter.Reporter`."""
        # A step is complete when the next one begins. The first step therefore completes none.
        self._build = self._progress.add_task("", total=steps, completed=-1)
        self._steps = steps

    def step(self, what: str) -> None:
        """See `export.reporter.Reporter`."""
        for task in self._phases.values():
            self._progress.remove_task(task)
        self._phases.clear()
        self._step += 1
        if self._build is not None:
            self._progress.update(self._build, description=what, advance=1)
        if not self._console.is_terminal:
            # A log has a line per step, where a terminal has the display.
            plain(self._console, f"[{self._step}/{self._steps}] {what}")

    def phase(self, name: str, done: int, total: int) -> None:
        """See `export.reporter.Reporter`."""
        if name not in self._phases:
            self._phases[name] = self._progress.add_task(f"  {name}", total=total)
        task = self._phases[name]
        self._progress.update(task, completed=done, total=total, visible=done < total)

    def note(self, text: str) -> None:
        """See `export.reporter.Reporter`."""
        plain(self._console, text)


def show(console: Console, bundles: Sequence[BuiltBundle]) -> None:
    """Print the summary of a build."""
    for bundle in bundles:
        if bundle.stages or bundle.kept:
            # A table's title would break a long path into lines.
            plain(console, str(bundle.folder))
            console.print(_table(bundle))
        else:
            plain(console, f"{bundle.folder}: up to date")
        if bundle.missing:
            what = f"{bundle.folder} is a partial bundle: it has no {', '.join(bundle.missing)};"
            plain(console, f"{what} build without --stage to complete it", "yellow")
        if bundle.graphs_only:
            name = shlex.quote(bundle.folder.name)
            what = f"{bundle.folder} has no engines yet: copy it to the machine they are for, and run there"
            plain(console, f"{what}\n  odise-trt finish {name}")
        if bundle.seeded:
            plain(console, f"{bundle.folder} has seeded random weights: they show that it runs, nothing more")


def parity_table(rows: Sequence[Parity]) -> Table:
    """Return comparisons as a table: for every stage how many, and the one closest to its tolerance."""
    table = Table()
    table.add_column("stage", no_wrap=True)
    table.add_column("compared", justify="right")
    table.add_column("worst", no_wrap=True)
    for heading in ("relative L2", "tolerance", "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in dict.fromkeys(row.stage for row in rows):
        some = [row for row in rows if row.stage == stage]
        worst = max(some, key=lambda row: row.relative_l2 / row.tolerance)
        table.add_row(
            escape(stage),
            str(len(some)),
            escape(worst.tensor),
            f"{worst.relative_l2:.1e}",
            f"{worst.tolerance:.0e}",
            str(sum(not row.passed for row in some)),
        )
    return table


def _table(bundle: BuiltBundle) -> Table:
    table = Table()
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
    for name in bundle.kept:
        table.add_row(name, "", "", "kept", "", "", "")
    return table
