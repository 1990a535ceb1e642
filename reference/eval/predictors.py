"""Predictors for evaluation: the PyTorch reference, and bundles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from odise_trt.bundle.manifest import MANIFEST
from odise_trt.segmenter import Segmenter
from odise_trt.task import Task
from odise_trt.vocabulary import Vocabulary
from reference.checkpoint import WeightsDescription
from reference.eval.prediction import Detection, Prediction, Region
from reference.eval.rle import encode_mask
from reference.inference import segment_photo
from reference.model import ODISE
from reference.model.open_vocabulary import EncodedTexts


class ReferencePredictor:
    """The model in PyTorch."""

    def __init__(self, model: ODISE, weights: WeightsDescription) -> None:
        """Args:
        model: in evaluation mode.
        weights: where its weights are from, see `reference.checkpoint.describe_weights`.
        """
        self.name = "reference"
        self._model = model
        self._vocabulary: Vocabulary | None = None
        self._encoded: EncodedTexts | None = None
        parameter = next(model.parameters())
        self.identity: Mapping[str, Any] = {
            "kind": "reference",
            "preset": model.preset.name,
            "weights": dict(weights),
            "precision": str(parameter.dtype).removeprefix("torch."),
            "way": "pruned",
            "ablation": model.preset.ablation.summary(),
            "runs_on": {"backend": "torch", "version": torch.__version__, "device": str(parameter.device)},
        }

    def look_for(self, vocabulary: Vocabulary) -> None:
        """Encode the names once for all images."""
        self._vocabulary, self._encoded = vocabulary, self._model.encode(vocabulary.synonyms)

    def predict(self, image: np.ndarray, tasks: Sequence[Task]) -> Prediction:
        """Only what the tasks need is computed."""
        assert self._vocabulary is not None, "look_for comes first"
        found = segment_photo(self._model, image, self._vocabulary, encoded=self._encoded)
        regions, semantic, detections = None, None, None
        if "panoptic" in tasks:
            regions = tuple(Region(one.id, one.category_id) for one in found.panoptic.segments)
        if "semantic" in tasks:
            semantic = found.semantic.argmax(0).to(torch.int32).cpu().numpy()
        if "instance" in tasks:
            objects = found.instances
            detections = _detections(
                objects.classes.tolist(), objects.scores.tolist(), objects.masks.cpu().numpy()
            )
        return Prediction(
            panoptic=None if regions is None else found.panoptic.map.cpu().numpy(),
            regions=regions or (),
            semantic=semantic,
            detections=detections,
        )


class BundlePredictor:
    """The engines of a bundle."""

    def __init__(self, segmenter: Segmenter) -> None:
        """Args: segmenter: an open bundle, which the caller closes."""
        self._segmenter = segmenter
        bundle = segmenter.bundle
        manifest = bundle.manifest
        self.name = bundle.folder.name
        self.identity: Mapping[str, Any] = {
            "kind": "bundle",
            "preset": manifest.preset,
            "weights": dict(manifest.weights),
            "precision": manifest.precision,
            # The manifest contains the hashes of all other files.
            "manifest_sha256": hashlib.sha256((bundle.folder / MANIFEST).read_bytes()).hexdigest(),
            "runs_on": dict(segmenter.runs_on),
        }

    def look_for(self, vocabulary: Vocabulary) -> None:
        """Read the text embeddings from the bundle's cache, or compute them."""
        self._segmenter.vocabulary = vocabulary

    def predict(self, image: np.ndarray, tasks: Sequence[Task]) -> Prediction:
        """Segment an image. The engines run once for all tasks."""
        results = self._segmenter.results(image, tasks)
        panoptic, semantic, detections = None, None, None
        regions: tuple[Region, ...] = ()
        if "panoptic" in results:
            panoptic = results["panoptic"].panoptic
            regions = tuple(Region(one.id, one.category_id) for one in results["panoptic"].segments)
        if "semantic" in results:
            semantic = results["semantic"].semantic
        if "instance" in results:
            objects = results["instance"].instances or ()
            detections = _detections(
                [one.category_id for one in objects],
                [one.score for one in objects],
                [one.mask for one in objects],
            )
        return Prediction(panoptic, regions, semantic, detections)


def _detections(
    categories: Sequence[int], scores: Sequence[float], masks: Sequence[np.ndarray] | np.ndarray
) -> tuple[Detection, ...]:
    """Return the objects that have pixels; an empty mask can match nothing."""
    return tuple(
        Detection(int(category), float(score), encode_mask(mask))
        for category, score, mask in zip(categories, scores, masks, strict=True)
        if mask.any()
    )
