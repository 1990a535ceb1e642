"""The training loop of all parts of the demo model. A stopped fit goes on with the same numbers."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from odise_trt.cli.console import output, plain
from odise_trt.cli.progress import progress_bars
from odise_trt.files.writing import unfinished
from reference.errors import DivergedError, TrainingError
from reference.training.signals import Stops
from reference.training.state_file import read_state, why_unreadable, write_state

#: Longest time between two checkpoints, seconds.
_CHECKPOINT_SECONDS = 600
#: Seconds between two lines of output if there is no terminal for a progress bar.
_LINE_SECONDS = 30


@dataclass(frozen=True)
class Schedule:
    """A learning rate schedule: a linear warm-up, then half a cosine down to zero.

    Attributes:
        steps: optimiser steps.
        batch: samples per step.
        rate: highest learning rate of AdamW.
        weight_decay: of matrices and kernels; that of vectors is 0.
        clip: largest gradient norm of one step.
    """

    steps: int
    batch: int
    rate: float
    weight_decay: float = 0.01
    clip: float = 1.0

    def factor(self, step: int) -> float:
        """Return the learning rate of a step as a share of `rate`."""
        warm_up = max(1, min(200, self.steps // 20))
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, self.steps - warm_up)))


def fit(
    name: str,
    parameters: Iterable[tuple[str, nn.Parameter]],
    loss: Callable[[np.random.Generator, torch.Generator], Tensor],
    schedule: Schedule,
    checkpoint: Path,
    *,
    seed: int = 0,
    every: int = 200,
    stop_after: int | None = None,
) -> list[float]:
    """Minimise a loss.

    The random numbers of a step depend on its number only, and `checkpoint` keeps parameters, moments and
    losses. A stopped fit therefore goes on with the numbers that it would have had without the stop.

    Args:
        name: for the progress bar.
        parameters: to fit, by name.
        loss: returns the loss of one batch, given the random generators of the step.
        schedule: see `Schedule`.
        checkpoint: a file. It is read if it exists, and written every `every` steps, every ten minutes, and
            at the end, also at an error or a stop.
        seed: of the whole fit.
        every: steps between checkpoints.
        stop_after: stop after this step, as if interrupted there.

    Returns:
        The loss of every step.

    Raises:
        TrainingError: the checkpoint is of another schedule or damaged, or the loss is not finite.
        OutputError: the checkpoint cannot be written.
    """
    run = _Fit(name, dict(parameters), schedule, checkpoint)
    end = schedule.steps if stop_after is None else min(stop_after, schedule.steps)
    with Stops() as stops, progress_bars(output()) as progress, run.kept(stops):
        task = progress.add_task(name, total=schedule.steps, completed=run.done)
        spoken = time.monotonic()
        while run.done < end and not stops.asked:
            run.advance(loss, seed, stops)
            recent = statistics.median(run.losses[-50:])
            progress.update(task, advance=1, description=f"{name} {recent:.4f}")
            if run.done % every == 0 or time.monotonic() - run.saved >= _CHECKPOINT_SECONDS:
                run.save()
            quiet = time.monotonic() - spoken
            # Without a terminal the bar is not shown.
            if not progress.console.is_terminal and (run.done == end or quiet >= _LINE_SECONDS):
                plain(progress.console, f"{name}: step {run.done} of {schedule.steps}, loss {recent:.4f}")
                spoken = time.monotonic()
        if stops.asked:
            stops.end(stops.asked)
    return run.losses


class _Fit:
    """The state of a fit.

    Attributes:
        losses: of every finished step.
        saved: time of the last checkpoint, by `time.monotonic`.
    """

    def __init__(
        self, name: str, named: dict[str, nn.Parameter], schedule: Schedule, checkpoint: Path
    ) -> None:
        self._name, self._named, self._schedule, self._checkpoint = name, named, schedule, checkpoint
        matrices = [p for p in named.values() if p.ndim > 1]
        vectors = [p for p in named.values() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": schedule.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        self._optimizer = torch.optim.AdamW(groups, lr=schedule.rate)
        self.losses: list[float] = []
        if checkpoint.is_file():
            self.losses = _read(checkpoint, named, self._optimizer, schedule)
        self.saved = time.monotonic()
        self._saved_steps = self.done
        # False in the middle of an update, when parameters and moments belong to no step.
        self._whole = True

    @property
    def done(self) -> int:
        """The number of finished steps."""
        return len(self.losses)

    def advance(
        self, loss: Callable[[np.random.Generator, torch.Generator], Tensor], seed: int, stops: Stops
    ) -> None:
        """Do one step."""
        step = self.done
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule.rate * self._schedule.factor(step)
        value = loss(np.random.default_rng((seed, step)), torch.Generator().manual_seed(seed << 32 | step))
        self._optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(list(self._named.values()), self._schedule.clip)
        number = float(value.detach())
        if not math.isfinite(number):
            raise DivergedError(f"the loss of {self._name} is {number} at step {step + 1}")
        with stops.shielded():
            self._whole = False
            self._optimizer.step()
            self.losses.append(number)
            self._whole = True

    def save(self) -> None:
        """Write the checkpoint."""
        _write(self._checkpoint, self._named, self._optimizer, self.losses, self._schedule)
        self.saved, self._saved_steps = time.monotonic(), self.done

    @contextmanager
    def kept(self, stops: Stops) -> Iterator[None]:
        """Save the last whole step at the end of the block, also after an error."""
        try:
            yield
        finally:
            if self._whole and self._saved_steps < self.done:
                with stops.shielded():
                    self.save()


def _write(
    path: Path,
    named: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    schedule: Schedule,
) -> None:
    state = {
        "parameters": {name: parameter.detach() for name, parameter in named.items()},
        "optimizer": optimizer.state_dict(),
        "losses": losses,
        "schedule": asdict(schedule),
    }
    with unfinished(path) as temporary:
        write_state(temporary, state)


def _read(
    path: Path, named: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, schedule: Schedule
) -> list[float]:
    try:
        state = read_state(path)
        if state["schedule"] != asdict(schedule):
            raise TrainingError(
                f"{path} is of another schedule: {Schedule(**state['schedule'])}, not {schedule}",
                "begin again in another folder, or with the recipe it was begun with",
            )
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(state["parameters"][name])
        optimizer.load_state_dict(state["optimizer"])
        return [float(value) for value in state["losses"]]
    except TrainingError:
        raise
    except Exception as error:  # PyTorch raises a dozen kinds for files that are damaged
        raise TrainingError(
            f"{path} cannot be read: {why_unreadable(error)}", "remove it: this part begins again then"
        ) from error
