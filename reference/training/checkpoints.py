"""Checkpoints of a run: the state that the next step depends on, in a folder that is complete or absent.

They hold no state of random generators: the random numbers of a step follow from the seed and the step.
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


class Checkpoints:
    """The checkpoints of a run, in a folder.

    Args:
        folder: the folder.
        keep: number of the newest checkpoints to keep.
        every: keep that many of those at multiples of `every` steps as well. 0: only the newest.
    """

    def __init__(self, folder: Path, keep: int, every: int = 0) -> None:
        self._folder, self._keep, self._every = folder, keep, every

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in order."""
        if not self._folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self._folder.iterdir() if path.is_dir())
        return sorted(int(name[1]) for name in names if name)

    def path(self, step: int) -> Path:
        """Return the folder of a checkpoint."""
        return self._folder / f"step-{step:06d}"

    def save(self, step: int, model: ODISE, state: dict[str, Any]) -> Path:
        """Write a checkpoint after `step` steps, then remove those that are too old.

        Args:
            state: further tensors and plain data, as `torch.save` takes them.

        Raises:
            OutputError: it cannot be written. Older checkpoints stay unchanged.
        """
        target = self.path(step)
        if target.exists():
            # The run resumed here and stopped before the next step, so nothing has changed.
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
        """Load the weights of a checkpoint into a model and return its state, with all tensors on the CPU.

        Args:
            use: called with the state before the weights are loaded. Its errors, except `TrainingError`, mean
                that the file is damaged.

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
