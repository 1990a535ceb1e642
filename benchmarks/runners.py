"""The ways to segment one photo that `benchmarks.stages` compares; each returns seconds per stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from odise_trt.executor import Clock
from odise_trt.vocabulary import Vocabulary

if TYPE_CHECKING:
    from reference.model import ODISE
    from reference.model.open_vocabulary import EncodedTexts

#: What a contender returns: seconds per stage of every measured run, and its last panoptic map.
Outcome = tuple[list[dict[str, float]], np.ndarray]


#: As in the official demo: every query keeps what it wins, so that maps have as much to differ in as can be.
OVERLAP_THRESHOLD = 0.0


@dataclass(frozen=True)
class Job:
    """What every contender is given.

    Attributes:
        engines: a bundle.
        preset, weights: of the reference, the ones the bundle was built from.
        image, vocabulary: a file, and what `--vocab` takes.
        threads: CPU threads.
        repeats, warmup: measured runs, and runs before them.
    """

    engines: str
    preset: str
    weights: str
    image: str
    vocabulary: str
    threads: int
    repeats: int
    warmup: int


def engines(job: Job) -> Outcome:
    """The bundle through the runtime."""
    from odise_trt import Segmenter

    vocabulary = Vocabulary.parse(job.vocabulary)
    with Segmenter.open(job.engines, threads=job.threads, vocabulary=vocabulary) as segmenter:
        results = [
            segmenter(job.image, overlap_threshold=OVERLAP_THRESHOLD) for _ in range(job.warmup + job.repeats)
        ]
    panoptic = results[-1].panoptic
    assert panoptic is not None
    return [dict(result.timings) for result in results[job.warmup :]], panoptic


def reference_pruned(job: Job) -> Outcome:
    """The reference without the work that nobody reads, windows in one batch."""
    return _reference(job, official_way=False)


def reference_official(job: Job) -> Outcome:
    """The reference as the official code runs it: window by window, everything computed."""
    return _reference(job, official_way=True)


CONTENDERS: dict[str, Callable[[Job], Outcome]] = {
    "engines": engines,
    "reference, pruned": reference_pruned,
    "reference, official way": reference_official,
}


def _reference(job: Job, official_way: bool) -> Outcome:
    import torch

    from reference.checkpoint import load_weights

    torch.set_num_threads(job.threads)
    model = load_weights(job.preset, job.weights)
    vocabulary = Vocabulary.parse(job.vocabulary)
    encoded = model.encode(vocabulary.synonyms)
    timings = []
    with torch.inference_mode():
        for _ in range(job.warmup + job.repeats):
            clock = Clock()
            panoptic = _segment(model, job.image, vocabulary, encoded, clock, official_way)
            timings.append(clock.seconds)
    return timings[job.warmup :], panoptic


def _segment(
    model: ODISE, image: str, vocabulary: Vocabulary, encoded: EncodedTexts, clock: Clock, official_way: bool
) -> np.ndarray:
    """`reference.inference.segment_photo`, with a clock around each stage."""
    import torch
    from torch.nn import functional as F

    from odise_trt.preprocess import load_image, resize_shortest
    from reference.model import postprocess
    from reference.model.captioner import resize_bicubic
    from reference.model.windows import extract_windows, join
    from reference.oracle import official_pass

    preset = model.preset
    with clock("preprocess"):
        photo = load_image(image)
        pixels = torch.from_numpy(resize_shortest(photo, preset.short_side, preset.max_side))
        planes = pixels.permute(2, 0, 1)[None].float() / 255
        height, width = planes.shape[-2:]
        padded = F.pad(planes, (0, -width % preset.divisor, 0, -height % preset.divisor))
        windows, origins = extract_windows(padded, preset.window)
    pyramids = []
    for batch in windows.split(1) if official_way else [windows]:
        with clock("captioner"):
            caption = official_pass.caption if official_way else lambda captioner, x: captioner(x)
            condition = caption(model.captioner, batch)
        with clock("features"):
            if official_way:
                resized = resize_bicubic(batch, preset.window)
                run = official_pass.diffuse(model.backbone.diffusion, resized, *condition)
                pyramids.append(model.backbone.project(run.features, batch.shape[-1]))
            else:
                pyramids.append(model.features(batch, *condition))
    with clock("stitch"):
        batched = [torch.cat(level) for level in zip(*pyramids, strict=True)]
        pyramid = join(batched, origins, *padded.shape[-2:])
    with clock("mask_head"):
        head = model.mask_head(*pyramid, official=official_way)
    # The reference pools and classifies in one call.
    with clock("clip_pool"):
        mask_cls = model.classify(planes, head, encoded).mask_cls[0]
    with clock("postprocess"):
        masks = postprocess.resize_masks(
            head.pred_masks[0], (padded.shape[-2], padded.shape[-1]), (height, width), photo.shape[:2]
        )
        things = {index for index, isthing in enumerate(vocabulary.isthing) if isthing}
        return postprocess.panoptic(mask_cls, masks, things, overlap_threshold=OVERLAP_THRESHOLD).map.numpy()
