"""The outputs of a golden file, as recorded and as computed, and how far one is from the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from reference.model import postprocess
from tests.golden_case import PANOPTIC, GoldenCase, Run

#: Where two outputs cannot be compared: another shape, other segments, no output at all.
NEVER = math.inf
#: Marks the statistics of a whole tensor.
WHOLE = " (whole)"
#: Largest relative L2 distance.
TOLERANCE = 1e-4
#: Largest share of pixels that may differ, being ties.
PIXELS = 1e-3


class Output(Protocol):
    """One output. `tolerance` is the largest distance that is within rounding."""

    tolerance: ClassVar[float]

    def distance(self, ours: Any) -> float:
        """How far `ours`, of the same class, is from this one."""


@dataclass(frozen=True)
class Values:
    """A tensor, or every k-th element of its last two dimensions, and its full shape."""

    tolerance: ClassVar[float] = TOLERANCE
    values: np.ndarray
    shape: tuple[int, ...]

    def distance(self, ours: Values) -> float:
        """Relative L2."""
        if ours.shape != self.shape or ours.values.shape != self.values.shape:
            return NEVER
        return _relative(ours.values, self.values)


@dataclass(frozen=True)
class Statistics:
    """Mean, standard deviation, minimum, maximum and norm of a whole tensor of `size` elements."""

    tolerance: ClassVar[float] = TOLERANCE
    values: np.ndarray
    size: int

    def distance(self, ours: Statistics) -> float:
        """The largest relative difference; mean and deviation by the root mean square of the tensor."""
        error = np.abs(ours.values - self.values)
        norm, largest = self.values[4], np.abs(self.values[2:4]).max()
        rms = norm / math.sqrt(self.size)
        scale = np.array([rms, rms, largest, largest, norm])
        return float((error / np.where(scale > 0, scale, 1.0)).max())

    @property
    def leverage(self) -> float:
        """The most that `distance` can be, per relative L2 of the tensor: one extreme takes it all."""
        largest = np.abs(self.values[2:4]).max()
        return float(self.values[4] / largest) if largest > 0 else 1.0


@dataclass(frozen=True)
class Map:
    """A category per pixel, or a segment per pixel with what the segments are."""

    tolerance: ClassVar[float] = PIXELS
    values: np.ndarray
    segments: list[dict[str, Any]] | None = None

    def distance(self, ours: Map) -> float:
        """Share of pixels that differ."""
        if ours.values.shape != self.values.shape or ours.segments != self.segments:
            return NEVER
        return float((ours.values != self.values).mean())


@dataclass(frozen=True)
class Bits:
    """Decisions, none of which may differ but for a tie."""

    tolerance: ClassVar[float] = 0.0
    values: np.ndarray

    def distance(self, ours: Bits) -> float:
        """Share of bits that differ."""
        return NEVER if ours.values.shape != self.values.shape else float((ours.values != self.values).mean())


@dataclass(frozen=True)
class Instances:
    """Scores (N,), classes (N,) and masks (N, H, W) of objects, in any order."""

    tolerance: ClassVar[float] = TOLERANCE
    scores: np.ndarray
    classes: np.ndarray
    masks: np.ndarray

    def distance(self, ours: Instances) -> float:
        """Relative L2 of the scores once every object has found its partner, if their masks agree."""
        if sorted(ours.classes) != sorted(self.classes) or ours.masks.shape[1:] != self.masks.shape[1:]:
            return NEVER
        free, partners = list(range(len(ours.scores))), []
        for score, category, mask in zip(self.scores, self.classes, self.masks, strict=True):
            candidates = [
                ((ours.masks[i] != mask).mean() + abs(float(ours.scores[i] - score)), i)
                for i in free
                if ours.classes[i] == category
            ]
            partners.append(min(candidates)[1])
            free.remove(partners[-1])
        if any((ours.masks[i] != mask).mean() > PIXELS for i, mask in zip(partners, self.masks, strict=True)):
            return NEVER
        return _relative(ours.scores[partners], self.scores)


def recorded(case: GoldenCase) -> dict[str, Output]:
    """The outputs in a file. Whole-tensor statistics stand under the name with `WHOLE`."""
    arrays = case.arrays
    outputs: dict[str, Output] = {}
    for name in case.names:
        if name == "instances":
            masks = _unpack(arrays["instances.masks_packed"], arrays["instances.masks_shape"])
            outputs[name] = Instances(arrays["instances.scores"], arrays["instances.classes"], masks)
        elif PANOPTIC.fullmatch(name):
            outputs[name] = Map(arrays[name], case.segments(name))
        elif name == "sem_seg_argmax":
            outputs[name] = Map(arrays[name])
        elif f"{name}_packed" in arrays:
            outputs[name] = Bits(_unpack(arrays[f"{name}_packed"], arrays[f"{name}_shape"]))
        else:
            shape = arrays.get(f"{name}__shape")
            sizes = arrays[name].shape if shape is None else tuple(shape.astype(int).tolist())
            if name in arrays:
                outputs[name] = Values(arrays[name], sizes)
            if f"{name}__stats" in arrays:
                outputs[name + WHOLE] = Statistics(arrays[f"{name}__stats"], math.prod(sizes))
    return outputs


def computed(case: GoldenCase, run: Run) -> dict[str, Output]:
    """The same outputs of a run, as far as there are any."""
    height, width = run.taps["backbone.s2"].shape[-2:]
    padded = np.array([1, 3, 4 * height, 4 * width])
    outputs: dict[str, Output] = {"padded_image_shape": Values(padded, padded.shape)}
    for name in case.names:
        if name == "instances":
            found = run.result.instances
            outputs[name] = Instances(found.scores.numpy(), found.classes.numpy(), found.masks.numpy())
        elif PANOPTIC.fullmatch(name):
            outputs[name] = _panoptic(case.panoptic(name, run.result))
        elif name == "sem_seg_argmax":
            outputs[name] = Map(run.taps[name].numpy())
        elif f"{name}_packed" in case.arrays:
            outputs[name] = Bits(run.taps[name].numpy())
        elif name in run.taps:
            tensor = run.taps[name]
            stride = int(case.arrays.get(f"{name}__stride", 1))
            thinned = tensor[..., ::stride, ::stride] if stride > 1 else tensor
            outputs[name] = Values(thinned.numpy(), tuple(tensor.shape))
            outputs[name + WHOLE] = _statistics(tensor)
    return outputs


def _panoptic(result: postprocess.Panoptic) -> Map:
    return Map(result.map.numpy(), [segment.to_json() for segment in result.segments])


def _statistics(tensor: torch.Tensor) -> Statistics:
    x = tensor.double()
    deviation = x.std() if x.numel() > 1 else 0.0
    values = [x.mean(), deviation, x.min(), x.max(), x.norm()]
    return Statistics(np.array([float(value) for value in values]), tensor.numel())


def _unpack(packed: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, count=int(shape.prod())).reshape(shape).astype(bool)


def _relative(ours: np.ndarray, golden: np.ndarray) -> float:
    golden = golden.astype(np.float64)
    norm, error = np.linalg.norm(golden), np.linalg.norm(ours.astype(np.float64) - golden)
    return float(error / norm) if norm > 0 else float(error)
