"""The ways to segment one photo that `benchmarks.stages` compares. Each returns seconds per stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from odise_trt.executor import Clock
from odise_trt.vocabulary import Vocabulary

#: The result of a contender: seconds per stage of every measured run, and its last panoptic map.
Outcome = tuple[list[dict[str, float]], np.ndarray]


#: As in the official demo: every query keeps the pixels it wins. A comparison then shows most differences.
OVERLAP_THRESHOLD = 0.0


@dataclass(frozen=True)
class Job:
    """The inputs of every contender.

    Attributes:
        engines: a bundle.
        preset, weights: those of the reference, from which the bundle was built.
        image, vocabulary: a file, and a value of `--vocab`.
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
    """Run the bundle with the runtime."""
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
    """Run the reference without the work whose results the model never uses, all windows in one batch."""
    return _reference(job, official_way=False)


def reference_official(job: Job) -> Outcome:
    """Run the reference like the official code: window by window, with all of its work."""
    return _reference(job, official_way=True)


CONTENDERS: dict[str, Callable[[Job], Outcome]] = {
    "engines": engines,
    "reference, pruned": reference_pruned,
    "reference, official way": reference_official,
}


def _reference(job: Job, official_way: bool) -> Outcome:
    import torch

    from reference.checkpoint import load_weights
    from reference.inference import resized_photo, things_of
    from reference.oracle import segment_official

    torch.set_num_threads(job.threads)
    model = load_weights(job.preset, job.weights)
    segment = partial(segment_official, model) if official_way else model.segment
    vocabulary = Vocabulary.parse(job.vocabulary)
    encoded, things = model.encode(vocabulary.synonyms), things_of(vocabulary)
    timings = []
    with torch.inference_mode():
        for _ in range(job.warmup + job.repeats):
            clock = Clock()
            with clock("preprocess"):
                pixels, out_hw = resized_photo(job.image, model.preset)
            found = segment(pixels, encoded, things, out_hw, overlap_threshold=OVERLAP_THRESHOLD, clock=clock)
            with clock("postprocess"):
                panoptic = found.panoptic.map.numpy()
            timings.append(clock.seconds)
    return timings[job.warmup :], panoptic
