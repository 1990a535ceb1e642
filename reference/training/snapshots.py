"""Checkpoints of a run: all that the next step depends on, in a folder that appears whole or not at all.

Random numbers are not in it: those of a step follow from the seed and the step, so none are carried over.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from odise_trt.errors import OutputError
from reference.checkpoint import load_official, save_weights
from reference.model import ODISE
from reference.training.errors import TrainingError
from reference.weights_file import WeightsFile

WEIGHTS = "trainable.safetensors"
STATE = "state.pt"
_NAME = re.compile(r"step-(\d{6,})")


class Snapshots:
    """The checkpoints in a folder, the newest few of them."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, in order."""
        if not self._folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self._folder / f"step-{step:06d}"

    def clean(self) -> None:
        """Remove what a process that was killed left unfinished."""
        for path in self._folder.glob(".*.tmp"):
            shutil.rmtree(path, ignore_errors=True)

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
        temporary = self._folder / f".{uuid.uuid4().hex}.tmp"
        try:
            temporary.mkdir(parents=True)
            save_weights(temporary / WEIGHTS, model, part="trainable", step=str(step))
            with (temporary / STATE).open("wb") as file:
                torch.save({"step": step, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error}", "make room, then resume") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for old in self.steps()[: -self._keep]:
            with suppress(OSError):
                shutil.rmtree(self.path(old))
        return target

    def load(self, step: int, model: ODISE) -> dict[str, Any]:
        """Put a checkpoint's weights into a model and return its state, with all tensors on the CPU.

        Raises:
            TrainingError, WeightsError: it cannot be read, or is of another model.
        """
        folder = self.path(step)
        with WeightsFile(folder / WEIGHTS) as tensors:
            load_official(model, tensors, part="trainable")
        try:
            return torch.load(folder / STATE, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen kinds for files that are cut off
            raise TrainingError(
                f"{folder / STATE} cannot be read: {error}",
                f"remove {folder}; an older checkpoint is used then",
            ) from error
