"""Checkpoints of a run: all that the next step depends on, in a folder that appears whole or not at all.

Random numbers are not in it: those of a step follow from the seed and the step, so none are carried over.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from odise_trt.errors import OdiseError
from odise_trt.files.writing import put_in_place, unfinished_folder, writing
from reference.checkpoint import load_official, save_weights
from reference.errors import TrainingError
from reference.model import ODISE
from reference.training.state_file import read_state, why_unreadable, write_state
from reference.weights.safetensors_file import WeightsFile

WEIGHTS = "trainable.safetensors"
STATE = "state.pt"
_NAME = re.compile(r"step-(\d{6,18})")


class Snapshots:
    """The checkpoints in a folder.

    Args:
        folder: where they are.
        keep: the newest so many stay,
        every: and as many of those after a multiple of so many steps; 0: no others.
    """

    def __init__(self, folder: Path, keep: int, every: int = 0) -> None:
        self._folder, self._keep, self._every = folder, keep, every

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, in order."""
        if not self._folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self._folder.iterdir() if path.is_dir())
        return sorted(int(name[1]) for name in names if name)

    def path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self._folder / f"step-{step:06d}"

    def save(self, step: int, model: ODISE, state: dict[str, Any]) -> Path:
        """Write a checkpoint after `step` steps, then remove those that are too old.

        Args:
            state: what else to keep; of what `torch.save` takes, tensors and plain data.

        Raises:
            OutputError: it cannot be written; older ones are left as they were.
        """
        target = self.path(step)
        if target.exists():
            # Taken up there and stopped before the next step: nothing has changed since.
            return target
        with writing(target, _hint), unfinished_folder(self._folder) as temporary:
            save_weights(temporary / WEIGHTS, model, part="trainable", step=str(step))
            write_state(temporary / STATE, {"step": step, **state})
            put_in_place(temporary, target)
        self._remove_old()
        return target

    def load(
        self, step: int, model: ODISE, use: Callable[[dict[str, Any]], object] = lambda _: None
    ) -> dict[str, Any]:
        """Put a checkpoint's weights into a model and return its state, with all tensors on the CPU.

        Args:
            use: is given the state before; any error of it but `TrainingError` is one of the file.

        Raises:
            TrainingError: it cannot be read, or is of another model.
        """
        folder = self.path(step)
        try:
            state = read_state(folder / STATE)
            if state["step"] != step:
                raise ValueError(f"it is the state after step {state['step']}")
            with WeightsFile(folder / WEIGHTS) as tensors:
                use(state)
                load_official(model, tensors, part="trainable")
            return state
        except TrainingError:
            raise
        except OdiseError as error:
            raise self._damaged(step, error.message) from error
        except Exception as error:  # PyTorch raises a dozen kinds for files that are cut off
            why = f"{folder / STATE} cannot be read: {why_unreadable(error)}"
            raise self._damaged(step, why) from error

    def _damaged(self, step: int, what: str) -> TrainingError:
        older = [other for other in self.steps() if other < step]
        way = (
            f"remove {self.path(step)}: --resume goes on after step {older[-1]} then"
            if older
            else "there is no older checkpoint: train anew, in another folder"
        )
        return TrainingError(f"the checkpoint of step {step} is damaged: {what}", way)

    def _remove_old(self) -> None:
        steps = self.steps()
        regular = [step for step in steps if self._every and step % self._every == 0]
        for old in set(steps) - set(steps[-self._keep :]) - set(regular[-self._keep :]):
            with suppress(OSError):
                shutil.rmtree(self.path(old))


def _hint(error: OSError) -> str:
    return "make room, or check the folder"
