"""Steps of the optimizer: losses, gradients, updates."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from reference.errors import DivergedError
from reference.losses import Batch
from reference.model import ODISE
from reference.training.config import TrainConfig
from reference.training.distributed import Processes
from reference.training.param_groups import optimizer_groups
from reference.training.signals import Stops

#: Smallest scale of the loss in half precision: 65,536 halved 16 times. A disabled scaler has scale 1 too.
_SMALLEST_SCALE = 1.0
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

Losses = Callable[..., dict[str, Tensor]]


class Stepper:
    """A model and its optimizer.

    Steps are exactly repeatable: all random numbers of a step follow from the seed and the step.

    Attributes:
        done: number of finished steps.
        whole: model and optimizer are in the state after `done` steps. False after an error in the middle of
            an update.
    """

    def __init__(self, model: ODISE, losses: Losses, config: TrainConfig, processes: Processes) -> None:
        """`model` is on its device already."""
        self.done, self.whole = 0, True
        self._config, self._processes = config, processes
        self._learner = processes.wrap(_Learner(model, losses, config))
        self._optimizer = torch.optim.AdamW(optimizer_groups(model, config), lr=config.learning_rate)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=config.autocast == "fp16")

    def state(self) -> dict[str, Any]:
        """Return the state that the next step depends on, without the weights."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def take_up(self, done: int, state: dict[str, Any]) -> None:
        """Continue after `done` steps with their `state`.

        Raises:
            ValueError, KeyError: the state does not fit the model.
        """
        self._optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self._optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if moments[name].shape != parameter.shape:
                    raise ValueError(f"a moment has shape {tuple(moments[name].shape)}")
        # With a scaled loss, every step so far may have been skipped.
        if not self._optimizer.state and not self.scaler.is_enabled():
            raise ValueError("it has no moments")
        self.scaler.load_state_dict(state["scaler"])
        self.done = done

    def advance(self, batches: Callable[[], Batch], rate: float, stops: Stops) -> dict[str, float]:
        """Do one step and return its numbers for the log, by name.

        Args:
            batches: gives the next part of the step.
            rate: learning rate.
            stops: the signals, which must not interrupt the update.

        Raises:
            DivergedError: predictions, loss or gradient are not finite. Nothing was updated.
        """
        config, device = self._config, self._processes.device
        _seed(config.seed, self.done, self._processes.rank)
        generator = torch.Generator(device).manual_seed(torch.initial_seed())
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        values: dict[str, float] = {"data_seconds": 0.0}
        for part in range(config.accumulate):
            begin = time.monotonic()
            batch = batches().to(device)
            values["data_seconds"] += time.monotonic() - begin
            last = part + 1 == config.accumulate
            with self._averaged(last):
                with self._autocast(), self._finite():
                    terms = self._learner(batch, generator)
                    loss = torch.stack(list(terms.values())).sum() / config.accumulate
                self.scaler.scale(loss).backward()
            numbers = torch.stack([loss.detach() * config.accumulate, *(t.detach() for t in terms.values())])
            for name, number in zip(("loss", *terms), self._processes.mean(numbers).tolist(), strict=True):
                values[name] = values.get(name, 0.0) + number / config.accumulate
        self.scaler.unscale_(self._optimizer)
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        values["gradient_norm"] = float(norm)
        self._check(values)
        with stops.shielded():
            self.whole = False
            self.scaler.step(self._optimizer)
            self.scaler.update()
            self.done += 1
            self.whole = True
        return values

    def _check(self, values: dict[str, float]) -> None:
        if not np.isfinite(values["loss"]):
            raise DivergedError(f"the loss is {values['loss']} at step {self.done + 1}")
        # With a scaled loss such a step is skipped and the scale is halved, for a few steps at most.
        if not np.isfinite(values["gradient_norm"]) and self.scaler.get_scale() <= _SMALLEST_SCALE:
            raise DivergedError(f"the gradient is not finite at step {self.done + 1}")

    def _averaged(self, last: bool) -> Any:
        """Average gradients over the processes in the last part of a step only."""
        learner = self._learner
        if isinstance(learner, DistributedDataParallel) and not last:
            return learner.no_sync()
        return nullcontext()

    @contextmanager
    def _finite(self) -> Iterator[None]:
        """Turn FloatingPointError into a DivergedError that names the step."""
        try:
            yield
        except FloatingPointError as error:
            raise DivergedError(f"{error}, at step {self.done + 1}") from error

    def _autocast(self) -> Any:
        if self._config.autocast == "none":
            return nullcontext()
        return torch.autocast(self._processes.device.type, _DTYPES[self._config.autocast])


class _Learner(nn.Module):
    """The losses as the forward pass of a module, so that DDP can wrap it."""

    def __init__(self, model: ODISE, losses: Losses, config: TrainConfig) -> None:
        super().__init__()
        self.model, self._losses, self._config = model, losses, config.losses

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return self._losses(self.model, batch, generator=generator, config=self._config)


def _seed(seed: int, step: int, rank: int) -> None:
    """Seed all global generators, so that none carries its state from step to step."""
    state = np.random.SeedSequence([seed, 2, step, rank]).generate_state(1, np.uint64)
    number = int(state[0]) >> 1
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002 (libraries draw from the global generator)
    torch.manual_seed(number)
