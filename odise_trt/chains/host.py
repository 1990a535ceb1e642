"""The chain of a bundle whose engines take and give arrays of the host. numpy does the work between them.

On a CPU this is the fastest way: its tiles leave out most of the work that the graphs of these steps do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..classify import classify
from ..errors import ArgumentError, BackendError
from ..executor import Clock, Executor
from ..masks import MaskTiles
from ..postprocess import class_probabilities, instances, panoptic
from ..preprocess import clip_image, pad, to_planes
from ..semantic_map import semantic
from ..task import Task
from ..text_table import TextTable
from .base import Job, Outcome, Pending, Picture


class HostChain:
    """Runs pictures one after the other, see `Chain`."""

    def __init__(
        self,
        bundle: Bundle,
        executor: Executor,
        constants: Mapping[str, np.ndarray],
        windows_per_run: int,
        hint: str | None = None,
    ) -> None:
        """Make the chain of a bundle.

        Args:
            bundle: the bundle.
            executor: its engines. Whoever opened it closes it.
            constants: those of the bundle, see `Bundle.constants`.
            windows_per_run: windows per run of the captioner and the features.
            hint: what a chain without numpy would need, for `describe`.
        """
        self.depth = self.together = 1
        self._hint = hint
        self._bundle = bundle
        self._executor = executor
        self._constants = constants
        self._windows_per_run = windows_per_run

    def check(self, job: Job) -> None:
        """Raise ArgumentError for ids on a GPU: they are made on the host."""
        if job.ids == "device":
            raise ArgumentError(
                f'ids="device" needs engines that pass tensors on a GPU; {self._bundle.folder} makes ids on'
                " the host",
                self._hint or "leave it out: ids are numpy arrays then",
            )

    def adopt(self, image: object) -> None:
        """Return None: pictures are read on the host. There, one that lies on a GPU is an error."""

    def begin(self, picture: Picture, job: Job) -> Pending:
        """Run the engines on a picture, see `Chain.begin`. The outcomes are made at once."""
        model = self._bundle.manifest.model
        clock = Clock()
        with clock("preprocess"):
            assert isinstance(picture.resized, np.ndarray)
            planes = to_planes(picture.resized)
            padded = pad(planes, model.divisor)
        maps = self._executor.features(padded, self._windows_per_run, clock)
        with clock("mask_head"):
            heads = self._executor.run("mask_head", maps)
        with clock("clip_pool"):
            pooled = self._executor.run(
                "clip_pool",
                {"clip_image": clip_image(planes, model.clip_image_size), "pred_masks": heads["pred_masks"]},
            )
        with clock("classify"):
            probabilities = self._classify(job.table, heads, pooled["clip_mask_embed"][0])
        masks = MaskTiles(heads["pred_masks"][0], padded.shape[1:], planes.shape[1:], picture.size)
        made: dict[Task, Outcome] = {}
        for task in job.tasks:
            own = Clock()
            with own("postprocess"):
                fields = self._fields(task, masks, probabilities, job)
            made[task] = Outcome(fields, clock.seconds | own.seconds)
        return _Done(made)

    def begin_together(self, pictures: Sequence[Picture], job: Job) -> Sequence[Pending]:
        """Run the first picture, see `Chain.begin_together`."""
        return [self.begin(pictures[0], job)]

    def describe(self) -> dict[str, str]:
        """Return what runs the engines, and that numpy does the rest."""
        hint = {} if self._hint is None else {"hint": self._hint}
        return {**self._executor.backend.describe(), "between engines": "numpy", **hint}

    def _classify(
        self, table: TextTable, heads: Mapping[str, np.ndarray], clip_mask_embed: np.ndarray
    ) -> np.ndarray:
        """Compute the probabilities of K categories and of "nothing", float32 (Q, K + 1).

        Raises:
            BackendError: the probabilities are not finite.
        """
        model = self._bundle.manifest.model
        label = model.kind == "label"
        log_probabilities = classify(
            heads["mask_embed"][0],
            clip_mask_embed,
            table,
            logit_scale=float(self._constants["logit_scale"]),
            clip_logit_scale=float(self._constants["clip_logit_scale"]),
            alpha=model.alpha,
            beta=model.beta,
            null_embed=self._constants["null_embed"] if label else None,
            pred_logits=None if label else heads["pred_logits"][0],
        )
        probabilities = class_probabilities(log_probabilities)
        if not np.isfinite(probabilities).all():
            raise BackendError(
                f"the bundle {self._bundle.folder} gave class probabilities that are not finite",
                "its constants or its weights are damaged; " + self._bundle.repair_hint(),
            )
        return probabilities

    def _fields(self, task: Task, masks: MaskTiles, probabilities: np.ndarray, job: Job) -> dict[str, Any]:
        vocabulary = job.table.vocabulary
        names, isthing = vocabulary.names, vocabulary.isthing
        if task == "panoptic":
            thresholds = job.object_mask_threshold, job.overlap_threshold
            ids, segments = panoptic(masks, probabilities, names, isthing, *thresholds)
            return {"panoptic": ids, "segments": segments}
        if task == "semantic":
            return {"semantic": semantic(masks, probabilities)}
        topk = self._bundle.manifest.model.topk_per_image
        return {"instances": instances(masks, probabilities, names, isthing, topk)}


class _Done:
    """A picture whose outcomes are there."""

    def __init__(self, made: Mapping[Task, Outcome]) -> None:
        self._made = made

    def outcomes(self) -> Mapping[Task, Outcome]:
        return self._made
