"""TensorBoard, if it is installed. The log has the same numbers, so an error here never ends a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Curves:
    """Writes the numbers of a run for TensorBoard, until the first error.

    A context manager.

    Args:
        folder: for TensorBoard's files.
        start: number of finished steps.
        warn: called once, with the reason why writing stopped.
    """

    def __init__(self, folder: Path, start: int, warn: Callable[[str], object]) -> None:
        self._folder, self._start, self._warn = folder, start, warn
        self._writer: Any = None
        self._given_up = False

    def __enter__(self) -> Curves:
        self._hook = threading.excepthook
        threading.excepthook = self._thread_failed
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=self._start + 1)
        except ImportError:
            self._give_up("it is not installed (pip install tensorboard)")
        except Exception as error:
            self._give_up(error)
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if not self._given_up:
                self._writer.close()
        except Exception as error:
            self._give_up(error)
        finally:
            threading.excepthook = self._hook

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the numbers of a step."""
        try:
            for name, value in values.items():
                if not self._given_up:
                    self._writer.add_scalar(_group(name), value, step)
        except Exception as error:
            self._give_up(error)

    def _thread_failed(self, failure: Any) -> None:
        # TensorBoard writes in its own thread, whose errors would be printed with their traceback.
        module = type(failure.thread).__module__
        if module.startswith(("tensorboard.", "torch.utils.tensorboard")):
            self._give_up(failure.exc_value)
        else:
            self._hook(failure)

    def _give_up(self, why: object) -> None:
        # The writing thread and the next call both report the same error; warn once.
        if not self._given_up:
            self._given_up = True
            first = (str(why).strip().splitlines() or [""])[0]
            self._warn(f"no TensorBoard: {first or type(why).__name__}; the log has the numbers")


def _group(name: str) -> str:
    return f"losses/{name}" if name.startswith("loss") else f"run/{name}"
