"""The loop that every part of the demo model is fitted with, which can be stopped and goes on exactly."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from reference.training.errors import TrainingError


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: a linear warm-up, then half a cosine down to zero.

    Attributes:
        steps: optimiser steps.
        batch: samples per step.
        rate: highest learning rate of AdamW.
        weight_decay: of matrices and kernels; vectors have none.
        clip: largest norm of the gradient of one step.
    """

    steps: int
    batch: int
    rate: float
    weight_decay: float = 0.01
    clip: float = 1.0

    def factor(self, step: int) -> float:
        """Share of `rate` at a step."""
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

    All randomness of a step comes from its number, and parameters, moments and losses are kept in
    `checkpoint`: a run that was stopped goes on where it was, with the numbers it would have had.

    Args:
        name: for the progress bar.
        parameters: what is fitted, by name.
        loss: the loss of one batch, given the randomness of the step.
        schedule: see `Schedule`.
        checkpoint: a file; read if it is there, written every `every` steps and at the end.
        seed: of the whole run.
        every: steps between checkpoints.
        stop_after: stop at this step, as if interrupted after a checkpoint.

    Returns:
        The loss of every step.

    Raises:
        TrainingError: the checkpoint is of another schedule.
    """
    named = dict(parameters)
    matrices = [p for p in named.values() if p.ndim > 1]
    vectors = [p for p in named.values() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=schedule.rate)
    losses: list[float] = []
    if checkpoint.is_file():
        losses = _read(checkpoint, named, optimizer, schedule)
    end = schedule.steps if stop_after is None else min(stop_after, schedule.steps)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=schedule.steps, completed=len(losses))
        for step in range(len(losses), end):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate * schedule.factor(step)
            value = loss(
                np.random.default_rng((seed, step)), torch.Generator().manual_seed(seed << 32 | step)
            )
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(list(named.values()), schedule.clip)
            optimizer.step()
            losses.append(float(value.detach()))
            recent = statistics.median(losses[-50:])
            progress.update(task, advance=1, description=f"{name} {recent:.4f}")
            if (step + 1) % every == 0 or step + 1 == end:
                _write(checkpoint, named, optimizer, losses, schedule)
                if not progress.console.is_terminal:  # a bar that nobody sees move
                    progress.console.print(f"{name}: step {step + 1} of {schedule.steps}, loss {recent:.4f}")
    return losses


def _write(
    path: Path,
    named: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    schedule: Schedule,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    state = {
        "parameters": {name: parameter.detach() for name, parameter in named.items()},
        "optimizer": optimizer.state_dict(),
        "losses": losses,
        "schedule": asdict(schedule),
    }
    torch.save(state, temporary)
    os.replace(temporary, path)


def _read(
    path: Path, named: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, schedule: Schedule
) -> list[float]:
    # Onto the CPU first: it may have been written on a machine with a GPU.
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["schedule"] != asdict(schedule):
        raise TrainingError(
            f"{path} is of another schedule: {Schedule(**state['schedule'])}, not {schedule}",
            "begin again in another folder, or with the recipe it was begun with",
        )
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(state["parameters"][name])
    optimizer.load_state_dict(state["optimizer"])
    return list(state["losses"])
