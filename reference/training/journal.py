"""What a run says of itself: lines of JSON, TensorBoard, and the console."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from odise_trt.errors import OutputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG = "log.jsonl"
#: Shown on the console; the losses of the layers before the last are in the log.
_SHOWN = ("loss", "loss_ce", "loss_mask", "loss_dice", "loss_mask_word", "gradient_norm")


class Journal:
    """Collects numbers of every step and tells their medians, as single steps jump about.

    A context manager. Nothing is written but by the first process.
    """

    def __init__(
        self, folder: Path, *, start: int, steps: int, every: int, batch: int, console: Console, active: bool
    ) -> None:
        self._folder, self._start, self._every, self._batch = folder, start, every, batch
        self._active, self._console = active, console
        self._window: dict[str, list[float]] = {}
        self._since = time.monotonic()
        self._tensorboard: SummaryWriter | None = None
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not active or not console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=steps, completed=start)

    def __enter__(self) -> Journal:
        if self._active:
            _cut(self._folder / LOG, self._start)
            self._file = (self._folder / LOG).open("a", encoding="utf-8")
            self._tensorboard = _tensorboard(self._folder, self._start)
            if self._tensorboard is None:
                self.say(
                    f"TensorBoard is not installed (pip install tensorboard): the numbers are in {LOG} alone"
                )
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._active:
            self._progress.stop()
            self._file.close()
            if self._tensorboard is not None:
                self._tensorboard.close()

    def step(self, step: int, values: Mapping[str, float], learning_rate: float) -> None:
        """Note what came out of a step; `step` counts from 1."""
        if not self._active:
            return
        for name, value in values.items():
            self._window.setdefault(name, []).append(value)
        self._progress.update(self._bar, completed=step)
        if step % self._every == 0:
            self._tell(step, learning_rate)

    def say(self, text: str) -> None:
        """A line on the console, above the progress bar."""
        if self._active:
            self._console.print(text, markup=False, soft_wrap=True)

    def _tell(self, step: int, learning_rate: float) -> None:
        count = len(self._window["loss"])
        seconds = (time.monotonic() - self._since) / count
        medians = {name: statistics.median(values) for name, values in self._window.items()}
        facts = {**medians, "learning_rate": learning_rate, "images_per_second": self._batch / seconds}
        line = json.dumps({"step": step, **facts})
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{self._folder / LOG} cannot be written: {error}", "make room, then resume"
            ) from error
        if self._tensorboard is not None:
            for name, value in facts.items():
                self._tensorboard.add_scalar(_group(name), value, step)
        shown = "  ".join(f"{name} {medians[name]:.4g}" for name in _SHOWN if name in medians)
        self.say(f"step {step}: {shown}  {facts['images_per_second']:.2f} images/s")
        self._window.clear()
        self._since = time.monotonic()


def _group(name: str) -> str:
    return f"losses/{name}" if name.startswith("loss") else f"run/{name}"


def _cut(log: Path, start: int) -> None:
    """Drop the lines of steps that will be done again, and one that was cut off."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= start:
                kept.append(line + "\n")
        except ValueError:
            continue
    temporary = log.with_name(f".{log.name}.tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(log)


def _tensorboard(folder: Path, start: int) -> Any:
    """A writer, where TensorBoard is installed; the log has the same numbers."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
