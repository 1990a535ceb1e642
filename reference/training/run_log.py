"""The log of a run: a JSON file, TensorBoard, and the console."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from time import monotonic

from rich.console import Console

from odise_trt.cli.console import plain
from odise_trt.cli.progress import progress_bars
from reference.training.curves import Curves
from reference.training.json_lines import JsonLines
from reference.training.reading import Skipped

LOG = "log.jsonl"
#: Seconds between two lines where there is no progress bar.
PERIOD = 30.0
#: Numbers on the console. The log also has the losses of the earlier layers.
_SHOWN = ("loss", "loss_ce", "loss_mask", "loss_dice", "loss_mask_word", "gradient_norm")


class RunLog:
    """Collects the numbers of every step and logs their medians, because single steps vary much.

    A context manager. Only the first process writes.
    """

    def __init__(
        self, folder: Path, *, start: int, steps: int, every: int, batch: int, console: Console, active: bool
    ) -> None:
        self._start, self._steps, self._every, self._batch = start, steps, every, batch
        self._active, self._console = active, console
        self._log = JsonLines(folder / LOG)
        self._curves = Curves(folder / "tensorboard", start, self._warn)
        self._window: dict[str, list[float]] = {}
        self._skipped: dict[str, str] = {}
        self._since = self._spoken = monotonic()
        self._counted, self._counted_since = start, self._since
        hidden = not active or not console.is_terminal
        self._progress = progress_bars(console, hidden=hidden, transient=True, elapsed=True)
        self._bar = self._progress.add_task("training", total=steps, completed=start)

    def __enter__(self) -> RunLog:
        if self._active:
            foreign = self._log.cut(self._start)
            if foreign:
                self.say(f"{self._log.path}: {foreign} lines that were no entries are gone")
            self._curves.__enter__()
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._active:
            self._progress.stop()
            self._curves.__exit__(*exception)
            if self._skipped:
                self.say(f"pictures left out, as they cannot be read: {len(self._skipped)}")

    def step(self, step: int, values: Mapping[str, float], learning_rate: float) -> None:
        """Record the numbers of a step; `step` counts from 1.

        Raises:
            OutputError: the log cannot be written.
        """
        if not self._active:
            return
        for name, value in values.items():
            self._window.setdefault(name, []).append(value)
        self._progress.update(self._bar, completed=step)
        if step % self._every == 0 or step == self._steps:
            self._tell(step, learning_rate)
        elif not self._console.is_terminal and self._silent(step):
            share = f"{step / self._steps:.0%}"
            self.say(f"step {step} of {self._steps} ({share}): {self._pace()}  {self._left(step)}")
        if step == self._start + 1:
            # The first step includes the start of the workers, so the remaining time is counted from here.
            self._counted, self._counted_since = step, monotonic()

    def skipped(self, pictures: list[Skipped]) -> None:
        """Print the name of every skipped image once."""
        for one in pictures:
            if one.image not in self._skipped:
                self._skipped[one.image] = one.reason
                self._warn(f"left out: {one.reason}")

    def say(self, text: str) -> None:
        """Print a line on the console, above the progress bar."""
        if self._active:
            plain(self._console, text)
            self._spoken = monotonic()

    def _tell(self, step: int, learning_rate: float) -> None:
        medians = {name: statistics.median(values) for name, values in self._window.items()}
        facts = {**medians, "learning_rate": learning_rate, "images_per_second": self._speed()}
        if self._skipped:
            facts["skipped_images"] = len(self._skipped)
        self._log.append({"step": step, **facts})
        self._curves.add(step, facts)
        shown = "  ".join(f"{name} {medians[name]:.4g}" for name in _SHOWN if name in medians)
        self.say(f"step {step}: {shown}  {self._pace()}  {self._left(step)}")
        self._window.clear()
        self._since = monotonic()

    def _silent(self, step: int) -> bool:
        return step == self._start + 1 or monotonic() - self._spoken >= PERIOD

    def _speed(self) -> float:
        """Images per second since the last line of the log."""
        return self._batch * len(self._window["loss"]) / (monotonic() - self._since)

    def _pace(self) -> str:
        return f"{self._speed():.2f} images/s"

    def _left(self, step: int) -> str:
        per_step = (monotonic() - self._counted_since) / (step - self._counted)
        return f"{timedelta(seconds=round(per_step * (self._steps - step)))} left"

    def _warn(self, text: str) -> None:
        if self._active:
            plain(self._console, text, "yellow")
