"""The training loop."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from odise_trt.output import prepare_folder, write_together
from reference.checkpoint import save_weights
from reference.datasets.sample import Dataset
from reference.losses import Batch, training_losses
from reference.model import ODISE
from reference.training.config import TrainConfig
from reference.training.errors import TrainingError
from reference.training.journal import Journal
from reference.training.labels import check_labels
from reference.training.loader import batches, check_truth, part_size
from reference.training.parameters import optimizer_groups
from reference.training.processes import Processes
from reference.training.schedule import learning_rate
from reference.training.snapshots import Snapshots

#: The trained model, whole: what the exporter and the evaluation take.
MODEL = "model.safetensors"
CONFIG = "config.json"
CHECKPOINTS = "checkpoints"

#: What of a configuration may change when a run is taken up again: nothing that the numbers depend on.
_FREE = frozenset({"workers", "log_steps", "checkpoint_steps", "keep"})
#: Of the loss in half precision: 65,536 halved 16 times. A scaler that is off says 1 too.
_SMALLEST_SCALE = 1.0
#: A run is taken up with its own recipe alone; with another one it is a new run.
_NEW_RUN = (
    "train from the last checkpoint's weights into another folder (--weights, with --frozen), with a lower"
    " --learning-rate or without --autocast"
)
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

Losses = Callable[..., dict[str, Tensor]]


class Trainer:
    """A model, a data set and a recipe, and how far they have come.

    Steps are exactly repeatable: images, augmentation and random points of a step follow from the seed and
    the step, so a run that was stopped and taken up again computes what it would have computed.

    Attributes:
        step: steps done.
    """

    def __init__(
        self,
        model: ODISE,
        dataset: Dataset,
        config: TrainConfig,
        output: Path,
        processes: Processes,
        *,
        console: Console | None = None,
        losses: Losses = training_losses,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Prepare; nothing is trained yet.

        Args:
            model: with all its weights; the same in all processes.
            dataset: its categories are those of `model.train_labels`.
            output: folder for checkpoints, log and the trained model.
            losses: as `reference.losses.training_losses`.
            facts: what else a run has to agree on to be taken up again, plain data: where frozen weights
                come from, for example.

        Raises:
            TrainingError: what was asked for does not fit together.
            OutputError: the folder cannot be written to.
        """
        check_labels(model, dataset)
        check_truth(dataset, captions=_reads_captions(model))
        images = part_size(config, processes.world) * processes.world
        if model.preset.kind == "caption" and images < 2:
            raise TrainingError(
                "a caption is told from those of the same part of a step, and there is one image in it",
                "give a larger --batch, or a smaller --accumulate",
            )
        if config.autocast == "fp16" and processes.device.type != "cuda":
            raise TrainingError("fp16 is for GPUs", "train with --autocast bf16 or none")
        self.step = 0
        self._config, self._output, self._processes = config, prepare_folder(output), processes
        self._dataset = dataset
        self._model = model.to(processes.device)
        self._learner = processes.wrap(_Learner(self._model, losses, config))
        self._optimizer = torch.optim.AdamW(optimizer_groups(model, config), lr=config.learning_rate)
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=config.autocast == "fp16")
        self._snapshots = Snapshots(output / CHECKPOINTS, config.keep)
        self._console = console or Console(stderr=True, highlight=False)
        self._facts = {"preset": model.preset.name, **(facts or {})}
        self._signal = 0

    def resume(self) -> int:
        """Take up the newest checkpoint of the output folder; returns its step.

        Raises:
            TrainingError: there is none, or it is of a run with another recipe.
        """
        steps = self._snapshots.steps()
        if not steps:
            raise TrainingError(f"there is no checkpoint in {self._output}", "start without --resume")
        state = self._snapshots.load(steps[-1], self._model)
        _check_same(self._recipe(), state["recipe"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.step = steps[-1]
        return self.step

    def run(self) -> int:
        """Train to the end; on SIGINT and SIGTERM save a checkpoint after the current step and return.

        Returns:
            The signal that stopped it; 0 when all steps are done. Then the trained model is in the
            output folder (`MODEL`).

        Raises:
            TrainingError: the loss is not finite, or a checkpoint of another run is in the folder.
            OutputError: something cannot be written.
        """
        self._begin()
        data = batches(
            self._dataset,
            self._config,
            captions=_reads_captions(self._model),
            start=self.step,
            rank=self._processes.rank,
            world=self._processes.world,
        )
        journal = Journal(
            self._output,
            start=self.step,
            steps=self._config.steps,
            every=self._config.log_steps,
            batch=self._config.batch,
            console=self._console,
            active=self._processes.first,
        )
        stopped = 0
        with self._signals(), journal:
            while self.step < self._config.steps and not stopped:
                rate = learning_rate(self._config, self.step)
                values = self._advance(data, rate)
                journal.step(self.step, values, rate)
                stopped = self._processes.largest(self._signal)
                period = self._config.checkpoint_steps
                if stopped or self.step == self._config.steps or (period and self.step % period == 0):
                    self._save(journal)
        done = self.step == self._config.steps
        if done and self._processes.first:
            save_weights(self._output / MODEL, self._model, step=str(self.step))
        self._processes.wait()
        return 0 if done else stopped

    def _begin(self) -> None:
        if self._processes.first:
            self._snapshots.clean()
            if self.step == 0 and self._snapshots.steps():
                raise TrainingError(
                    f"{self._output} has checkpoints of a run already",
                    "go on with --resume, or give another folder",
                )
            text = json.dumps(self._recipe(), indent=2) + "\n"
            write_together(self._output, {CONFIG: text.encode()})
        self._processes.wait()
        self._model.train()
        for frozen in (self._model.clip, getattr(self._model.backbone, "diffusion", None)):
            if frozen is not None:
                frozen.eval()

    def _advance(self, data: Iterator[Batch], rate: float) -> dict[str, float]:
        """One step of the optimizer; returns what there is to tell about it."""
        config, device = self._config, self._processes.device
        _seed(config.seed, self.step, self._processes.rank)
        generator = torch.Generator(device).manual_seed(torch.initial_seed())
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        values: dict[str, float] = {"data_seconds": 0.0}
        for part in range(config.accumulate):
            begin = time.monotonic()
            batch = next(data).to(device)
            values["data_seconds"] += time.monotonic() - begin
            last = part + 1 == config.accumulate
            with self._averaged(last):
                with self._autocast(), self._finite():
                    terms = self._learner(batch, generator)
                    loss = torch.stack(list(terms.values())).sum() / config.accumulate
                self._scaler.scale(loss).backward()
            numbers = torch.stack([loss.detach() * config.accumulate, *(t.detach() for t in terms.values())])
            for name, number in zip(("loss", *terms), self._processes.mean(numbers).tolist(), strict=True):
                values[name] = values.get(name, 0.0) + number / config.accumulate
        self._scaler.unscale_(self._optimizer)
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        values["gradient_norm"] = float(norm)
        if not np.isfinite(values["loss"]):
            raise TrainingError(f"the loss is {values['loss']} at step {self.step + 1}", _NEW_RUN)
        # With a loss scale such a step is skipped and the scale halved, which may go on for a few steps.
        if not np.isfinite(values["gradient_norm"]) and self._scaler.get_scale() <= _SMALLEST_SCALE:
            raise TrainingError(f"the gradient is not finite at step {self.step + 1}", _NEW_RUN)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step += 1
        return values

    def _averaged(self, last: bool) -> Any:
        """Gradients are averaged over the processes once per step."""
        learner = self._learner
        if isinstance(learner, DistributedDataParallel) and not last:
            return learner.no_sync()
        return nullcontext()

    @contextmanager
    def _finite(self) -> Iterator[None]:
        """Predictions that are not finite are an error that names the step."""
        try:
            yield
        except FloatingPointError as error:
            raise TrainingError(f"{error}, at step {self.step + 1}", _NEW_RUN) from error

    def _autocast(self) -> Any:
        if self._config.autocast == "none":
            return nullcontext()
        return torch.autocast(self._processes.device.type, _DTYPES[self._config.autocast])

    def _save(self, journal: Journal) -> None:
        if self._processes.first:
            state = {
                "recipe": self._recipe(),
                "optimizer": self._optimizer.state_dict(),
                "scaler": self._scaler.state_dict(),
            }
            journal.say(f"checkpoint: {self._snapshots.save(self.step, self._model, state)}")
        self._processes.wait()

    def _recipe(self) -> dict[str, Any]:
        recipe = {**dataclasses.asdict(self._config), **self._facts, "dataset": self._dataset.name}
        recipe["labels"] = self._model.train_labels
        # As JSON has it, so that what was read compares equal to what will be written.
        return json.loads(json.dumps(recipe))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, _: object) -> None:
            if self._signal == number:
                signal.default_int_handler(number, None)
            self._signal = number

        with ExitStack() as stack:
            for number in (signal.SIGINT, signal.SIGTERM):
                stack.callback(signal.signal, number, signal.signal(number, note))
            yield


class _Learner(nn.Module):
    """The losses as a module's forward pass, which is where DDP listens."""

    def __init__(self, model: ODISE, losses: Losses, config: TrainConfig) -> None:
        super().__init__()
        self.model, self._losses, self._config = model, losses, config.losses

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return self._losses(self.model, batch, generator=generator, config=self._config)


def _reads_captions(model: ODISE) -> bool:
    """Whether captions supervise a model, or tell its diffusion model what is in an image (an ablation)."""
    return model.preset.kind == "caption" or model.preset.ablation.captioner == "given"


def _seed(seed: int, step: int, rank: int) -> None:
    """Every generator there is, so that no state of theirs outlives a step."""
    state = np.random.SeedSequence([seed, 2, step, rank]).generate_state(1, np.uint64)
    number = int(state[0]) >> 1
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def _check_same(recipe: dict[str, Any], saved: dict[str, Any]) -> None:
    differing = [
        f"{name}: {saved.get(name)} then, {recipe.get(name)} now"
        for name in sorted(recipe.keys() | saved.keys())
        if name not in _FREE and recipe.get(name) != saved.get(name)
    ]
    if differing:
        raise TrainingError(
            "the checkpoint is of another run\n  " + "\n  ".join(differing),
            "give the options it was started with, or train from its weights in a new folder (--weights)",
        )
