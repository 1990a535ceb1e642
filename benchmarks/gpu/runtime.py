"""The runtime itself on a device: one picture, many pictures, its memory, and the time of every step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from odise_trt import Segmenter

from .bundles import bundles_of, once, opened, streamed, timed, title
from .marks import marks_on
from .memory import Memory
from .programs import Taken, is_on_device, programs_given_to, stages_of
from .recorded import recorded_and_queued
from .sections import Bench

_STEP_RUNS = 7
#: Runs of one picture that are compared with each other.
_COMPARED = 3


def runtime(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Measure the bundles of the job, each at the size of the pictures.

    A picture is an array on the host. Its time ends with ids and segments there.

    Yields:
        "BUNDLE, HxW": seconds of one panoptic picture, of the first two, and of one with all tasks; pictures
        per second of a stream; recorded beside queued; seconds of every step, and of the host to queue it;
        bytes after opening, after pictures, after a stream, and after closing.

    Raises:
        BackendError: no bundle was given, or one does not run here.
    """
    for folder in bundles_of(bench):
        for size in bench.sizes:
            yield title(folder, size), _measured(bench, folder, size)


def _measured(bench: Bench, folder: str, size: tuple[int, int]) -> dict[str, Any]:
    pixels = bench.pixels(size)
    memory = Memory(bench.device)
    began = time.perf_counter()
    with opened(bench, folder) as segmenter:
        seconds, held = time.perf_counter() - began, memory.used()
        first, second = (once(lambda: segmenter(pixels)) for _ in range(2))
        found = timed(bench, lambda: segmenter(pixels)) | {
            "first_seconds": first,
            "second_seconds": second,
            "all_tasks": timed(bench, lambda: segmenter.results(pixels)),
            "opened_seconds": seconds,
            "opened_bytes": held,
            "bytes": memory.used(),
            "bytes_of": memory.of,
        }
        found["streamed_per_second"] = streamed(segmenter, pixels, bench.seconds)
        found["stream_bytes"] = memory.used()
        found["recording"] = recorded_and_queued(segmenter, pixels, bench.seconds)
        found["steps"], found["host_seconds_to_queue"] = _steps(segmenter, pixels, bench.device)
        maps = [np.asarray(segmenter(pixels).panoptic) for _ in range(_COMPARED)]
        found["agreement_of_runs"] = min(float((one == maps[0]).mean()) for one in maps[1:])
        found["segments"] = len(segmenter(pixels).segments)
        found["runs_on"] = segmenter.runs_on
    found["left_bytes_after_close"] = memory.used()
    return found


def _steps(
    segmenter: Segmenter, pixels: np.ndarray, device: torch.device
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the median seconds of every step of a panoptic picture, and of the host to queue it.

    They are queued one by one, also where a picture is one CUDA graph otherwise. Both are empty where numpy
    works between the engines.
    """
    spent: dict[str, list[float]] = {}
    queuing: dict[str, list[float]] = {}

    def run(taken: Taken) -> None:
        marks = marks_on(taken.cuda, device)
        moments = []
        for stage, piece in stages_of(taken.program):
            begin = marks.mark()
            began = time.perf_counter()
            piece.queue(taken.cuda)
            queuing.setdefault(stage, []).append(time.perf_counter() - began)
            moments.append((stage, begin, marks.mark()))
        for stage, begin, end in moments:
            spent.setdefault(stage, []).append(marks.seconds(begin, end))

    if is_on_device(segmenter):
        with programs_given_to(run):
            for _ in range(_STEP_RUNS):
                segmenter(pixels)
    medians = [
        {stage: statistics.median(every) for stage, every in found.items()} for found in (spent, queuing)
    ]
    return medians[0], medians[1]
