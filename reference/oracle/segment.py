"""`ODISE.segment` as the official code runs it, and with a record of every intermediate tensor."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from reference.model import ODISE, Segmentation
from reference.model.clock import Clock, untimed
from reference.model.odise import as_planes
from reference.model.open_vocabulary import EncodedTexts, Labels
from reference.oracle import official_pass, trace
from reference.oracle.trace import Taps, Way


class Traced(NamedTuple):
    """A segmentation, and every intermediate tensor by its name in the golden files."""

    result: Segmentation
    taps: Taps


@torch.no_grad()
def segment_official(
    model: ODISE,
    image: Tensor,
    labels: Labels | EncodedTexts,
    things: Collection[int],
    out_hw: tuple[int, int] | None = None,
    *,
    overlap_threshold: float | None = None,
    clock: Clock = untimed,
) -> Segmentation:
    """Segment one image as the official code does. Arguments are those of `ODISE.segment`.

    Raises:
        AblationError: the model is ablated.
    """
    _refuse_ablations(model)
    encoded, planes = model.encode(labels), as_planes(image)
    pyramid = official_pass.image_features(model.backbone, model.pad(planes), clock)
    with clock("mask_head"):
        head = model.mask_head(*pyramid, resize_masks=True)
    with clock("clip_pool"):
        mask_cls = model.classify(planes, head, encoded).mask_cls[0]
    with clock("postprocess"):
        return model.results(planes, head, mask_cls, things, out_hw, overlap_threshold=overlap_threshold)


@torch.no_grad()
def segment_traced(
    model: ODISE,
    image: Tensor,
    labels: Labels | EncodedTexts,
    things: Collection[int],
    out_hw: tuple[int, int] | None = None,
    *,
    way: Way = "pruned",
) -> Traced:
    """Segment one image and record every intermediate tensor. Arguments are those of `ODISE.segment`.

    Raises:
        AblationError: the model is ablated.
    """
    _refuse_ablations(model)
    taps: Taps = {}
    planes = as_planes(image)
    pyramid = trace.features_of(way)(model.backbone, model.pad(planes), taps)
    return segment_pyramid_traced(model, planes, pyramid, labels, things, out_hw, way=way, taps=taps)


@torch.no_grad()
def segment_pyramid_traced(
    model: ODISE,
    planes: Tensor,
    pyramid: tuple[Tensor, ...],
    labels: Labels | EncodedTexts,
    things: Collection[int],
    out_hw: tuple[int, int] | None = None,
    *,
    way: Way = "pruned",
    taps: Taps,
) -> Traced:
    """Run the part of `segment_traced` after the backbone.

    Args:
        planes: (1, 3, H, W), the image in [0, 1], without padding.
        pyramid: (s2, s3, s4, s5) of the padded image.
        taps: receives the tensors.
    """
    encoded = model.encode(labels)
    head = trace.traced_head(model.mask_head, pyramid, way == "official", taps)
    classes = model.classify(planes, head, encoded)
    result = model.results(planes, head, classes.mask_cls[0], things, out_hw)
    trace.record_texts(model, encoded, taps)
    trace.record_classification(model, planes, classes, taps)
    trace.record_results(result, taps)
    return Traced(result, taps)


def _refuse_ablations(model: ODISE) -> None:
    model.preset.ablation.refuse("the official way and its traces do not exist for")
