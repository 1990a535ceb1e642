"""The training loop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from rich.console import Console

from odise_trt.cli.console import plain
from odise_trt.errors import OdiseError
from odise_trt.files.writing import write_together
from reference.checkpoint import save_weights
from reference.datasets.example import Dataset
from reference.errors import DivergedError, LoaderError, TrainingError
from reference.losses import Batch, training_losses
from reference.model import ODISE
from reference.training.checkpoints import WEIGHTS, Checkpoints
from reference.training.config import TrainConfig
from reference.training.distributed import Processes
from reference.training.labels import check_labels
from reference.training.loader import batches, check_truth, part_size
from reference.training.reading import Skipped
from reference.training.recipe import (
    CHECKPOINTS,
    CONFIG,
    MODEL,
    changed_images,
    check_free,
    check_room,
    check_same,
    prepare_output,
    recipe_of,
)
from reference.training.run_log import RunLog
from reference.training.schedule import learning_rate
from reference.training.signals import Stops
from reference.training.stepper import Losses, Stepper


class Trainer:
    """Trains a model on a data set with a recipe.

    Steps are exactly repeatable: images, augmentation and random points of a step follow from the seed and
    the step. So a run that was stopped and resumed computes the same as one that was not.
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
            facts: further data that must be the same when the run is resumed, as the source of the weights.

        Raises:
            TrainingError: model, data set and recipe do not fit together.
            OutputError: the folder cannot be written to.
        """
        check_labels(model, dataset)
        check_truth(dataset, captions=_reads_captions(model), skip_bad_images=config.skip_bad_images)
        images = part_size(config, processes.world) * processes.world
        if model.preset.kind == "caption" and images < 2:
            raise TrainingError(
                "the caption loss compares the images of a part of a step, and there is one image in it",
                "give a larger --batch, or a smaller --accumulate",
            )
        if config.autocast == "fp16" and processes.device.type != "cuda":
            raise TrainingError("fp16 is for GPUs", "train with --autocast bf16 or none")
        self._config, self._output, self._processes = config, prepare_output(output), processes
        self._dataset = dataset
        self._model = model.to(processes.device)
        self._stepper = Stepper(self._model, losses, config, processes)
        self._checkpoints = Checkpoints(output / CHECKPOINTS, config.keep, config.checkpoint_steps)
        self._saved, self._saved_at = 0, 0.0
        self._console = console or Console(stderr=True, highlight=False)
        self._facts = {"preset": model.preset.name, **(facts or {}), "dataset": dataset.name}
        self._stops = Stops(together=1.0 if processes.world > 1 else 0.0)
        self._skipped: list[Skipped] = []

    @property
    def step(self) -> int:
        """Number of finished steps."""
        return self._stepper.done

    def resume(self) -> int:
        """Resume from the newest checkpoint of the output folder; return its step.

        Raises:
            TrainingError: there is none, it is damaged, or its run had another recipe.
        """
        steps = self._checkpoints.steps()
        if not steps:
            raise TrainingError(
                f"there is no checkpoint in {self._output}", "start without --resume, or look at --output"
            )

        def use(state: dict[str, Any]) -> None:
            recipe, saved = self._recipe(), state["recipe"]
            check_same(recipe, saved, self._checkpoints.path(steps[-1]) / WEIGHTS)
            if self._processes.first and (news := changed_images(recipe, saved)):
                plain(self._console, news, "yellow")
            self._stepper.take_up(steps[-1], state)

        self._checkpoints.load(steps[-1], self._model, use)
        self._saved = self.step
        return self.step

    def run(self) -> int:
        """Train to the end. SIGINT, SIGTERM and SIGHUP end the run after the current step.

        A run that ends early, also by an error, leaves a checkpoint of its last step.

        Returns:
            The signal that stopped the run. 0: all steps are done, and the trained model (`MODEL`) is in the
            output folder.

        Raises:
            TrainingError: the loss is not finite, a process was lost, or the folder has a checkpoint of
                another run.
            ImageError, DatasetError: an image cannot be read.
            OutputError: a file cannot be written.
        """
        self._processes.by_first(self._begin)
        self._prepare_model()
        run_log = RunLog(
            self._output,
            start=self.step,
            steps=self._config.steps,
            every=self._config.log_steps,
            batch=self._config.batch,
            console=self._console,
            active=self._processes.first,
        )
        with self._stops:
            try:
                with run_log:
                    self._train(run_log)
                if self.step == self._config.steps:
                    self._processes.by_first(self._write_model)
            except BaseException as error:
                known = _translated(error, self.step + 1, self._processes.world)
                self._keep(known)
                # A signal that stops the trainer may also have ended workers that had just started.
                if not (isinstance(known, LoaderError) and self._stops.asked):
                    raise known from (None if known is error else error)
        return 0 if self.step == self._config.steps else self._stops.asked

    def _train(self, run_log: RunLog) -> None:
        data = batches(
            self._dataset,
            self._config,
            captions=_reads_captions(self._model),
            start=self.step,
            rank=self._processes.rank,
            world=self._processes.world,
            skipped=self._skipped.append,
        )
        self._saved_at = monotonic()
        stopped = 0
        while self.step < self._config.steps and not stopped:
            rate = learning_rate(self._config, self.step)
            values = self._stepper.advance(lambda: self._next(data, run_log), rate, self._stops)
            run_log.step(self.step, values, rate)
            stopped, due = self._processes.largest(self._stops.asked, self._is_due())
            if stopped or due:
                self._processes.by_first(lambda: run_log.say(f"checkpoint: {self._save()}"))
                self._saved_at = monotonic()

    def _is_due(self) -> bool:
        """Return whether a checkpoint is due. Only the first process checks the time."""
        config = self._config
        if self.step == config.steps or (
            config.checkpoint_steps and self.step % config.checkpoint_steps == 0
        ):
            return True
        passed = monotonic() - self._saved_at
        return self._processes.first and 0 < config.checkpoint_minutes * 60 <= passed

    def _next(self, data: Iterator[Batch], run_log: RunLog) -> Batch:
        """Return the next batch. If a process has an error, all of them end here, where none waits."""
        batch, error = None, None
        try:
            batch = next(data)
        except Exception as caught:
            error = caught
        self._processes.agree(error)
        if self._config.skip_bad_images:
            (news,) = self._processes.largest(len(self._skipped))
            if news:
                run_log.skipped(self._processes.gather(self._skipped))
                self._skipped.clear()
        assert batch is not None
        return batch

    def _begin(self) -> None:
        if self.step == 0:
            if self._checkpoints.steps():
                raise TrainingError(
                    f"{self._output} has checkpoints of a run already",
                    "go on with --resume, or give another folder",
                )
            check_free(self._output)
        check_room(self._output, self._model, self._config.keep, self._console)
        text = json.dumps(self._recipe(), indent=2) + "\n"
        write_together(self._output, {CONFIG: text.encode()})

    def _prepare_model(self) -> None:
        self._model.train()
        for frozen in (self._model.clip, getattr(self._model.backbone, "diffusion", None)):
            if frozen is not None:
                frozen.eval()

    def _save(self) -> Path:
        with self._stops.shielded():
            state = {"recipe": self._recipe(), **self._stepper.state()}
            path = self._checkpoints.save(self.step, self._model, state)
            self._saved = self.step
        return path

    def _write_model(self) -> None:
        save_weights(self._output / MODEL, self._model, step=str(self.step))

    def _keep(self, error: BaseException) -> None:
        """Save a checkpoint after an error, and add its place to the hint. Needs no other process."""
        if not self._processes.first:
            return
        problem = ""
        if self._stepper.whole and self.step > self._saved:
            try:
                self._save()
            except Exception as second:
                problem = f"step {self.step} is lost: {_first_line(second)}"
                if _first_line(second) == _first_line(error):
                    problem = f"step {self.step} is lost"
        elif not self._stepper.whole:
            problem = f"step {self.step + 1} was ended in the middle of its update"
        text = "\n  ".join([*([problem] if problem else []), self._way_on(error)])
        if isinstance(error, OdiseError):
            error.hint = text if error.hint is None else f"{error.hint}\n  {text}"
        else:
            plain(self._console, text)

    def _way_on(self, error: BaseException) -> str:
        """Return the hint after an error, which depends on the checkpoints in the folder."""
        diverged = isinstance(error, DivergedError)
        change = "with a lower --learning-rate or without --autocast"
        steps = self._checkpoints.steps()
        if not steps:
            state = "no checkpoint is there" if self.step else "nothing was learnt yet"
            return f"{state}: start again{f' {change}' if diverged else ''}"
        kept = self._checkpoints.path(steps[-1])
        if diverged:
            weights = f"the weights after step {steps[-1]} are in {kept / WEIGHTS}"
            return f"{weights}: train from them (--weights, with --frozen) into another folder, {change}"
        return f"step {steps[-1]} is kept in {kept}: go on with the same command and --resume"

    def _recipe(self) -> dict[str, Any]:
        facts = {**self._facts, "images": len(self._dataset), "labels": self._model.train_labels}
        return recipe_of(self._config, facts)


def _translated(error: BaseException, step: int, world: int) -> BaseException:
    """Turn an error of PyTorch about memory or about other processes into a TrainingError."""
    text = str(error).lower()
    if isinstance(error, OdiseError | OSError) or not isinstance(error, MemoryError | RuntimeError):
        return error
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text:
        return TrainingError(
            f"there is not enough memory for step {step}",
            "close other programs; a larger --accumulate or a smaller --image-size need less, in a new run",
        )
    if world > 1 and any(word in text for word in ("connection", "socket", "gloo", "nccl", "peer")):
        return TrainingError("another process of this run has ended", "its message says why")
    return error


def _reads_captions(model: ODISE) -> bool:
    """Return whether a model uses captions: for its losses, or as the condition of its UNet (an ablation)."""
    return model.preset.kind == "caption" or model.preset.ablation.captioner == "given"


def _first_line(error: BaseException) -> str:
    return error.message if isinstance(error, OdiseError) else str(error).strip().partition("\n")[0]
