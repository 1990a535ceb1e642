"""The result of a segmentation: the output of the model, and its panoptic, semantic and instance forms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from reference.model import postprocess


@dataclass(frozen=True)
class Segmentation:
    """All results for one image. Each is computed when it is first read.

    Attributes:
        mask_cls: (Q, K+1) class log-probabilities, "no object" last.
        mask_pred: (Q, H, W) mask logits at the size of the result.
        things: indices of the thing categories; each of their objects is a segment of its own.
        topk: largest number of instances.
        object_mask_threshold, overlap_threshold: see `postprocess.panoptic`.
    """

    mask_cls: Tensor
    mask_pred: Tensor
    things: frozenset[int]
    topk: int
    object_mask_threshold: float
    overlap_threshold: float

    @cached_property
    def panoptic(self) -> postprocess.Panoptic:
        """See `postprocess.panoptic`."""
        return postprocess.panoptic(
            self.mask_cls,
            self.mask_pred,
            self.things,
            object_mask_threshold=self.object_mask_threshold,
            overlap_threshold=self.overlap_threshold,
        )

    @cached_property
    def semantic(self) -> Tensor:
        """(K, H, W), see `postprocess.semantic`."""
        return postprocess.semantic(self.mask_cls, self.mask_pred)

    @cached_property
    def instances(self) -> postprocess.Instances:
        """See `postprocess.instances`."""
        return postprocess.instances(self.mask_cls, self.mask_pred, self.topk, self.things)
