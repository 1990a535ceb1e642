"""The runtime itself on a device: one picture, many pictures, its memory, and the time of every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odise_trt import Segmenter
from odise_trt.chains.program import Launch, Program
from odise_trt.chains.recordings import Recordings
from odise_trt.errors import BackendError

from .sections import Bench
from .timing import measure

_STREAMED = 40
_WARM = 4


def runtime(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Measure the bundles of the job, each at the size of the pictures.

    A picture is an array on the host. Its time ends with ids and segments there.

    Yields:
        "BUNDLE, HxW": seconds of one panoptic picture, and of one with all tasks; pictures per second of a
        stream; bytes of the device that opening and running took; seconds of every step.

    Raises:
        BackendError: no bundle was given, or one does not run here.
    """
    if not bench.engines:
        raise BackendError("there is no bundle to measure", "give --engines")
    for folder in bench.engines:
        for size in bench.sizes:
            yield f"{Path(folder).name}, {size[0]}x{size[1]}", _measured(bench, folder, size)


def _measured(bench: Bench, folder: str, size: tuple[int, int]) -> dict[str, Any]:
    pixels = bench.pixels(size)
    used = _used(bench.device)
    began = time.perf_counter()
    kind = bench.device.type
    device = kind if bench.device.index is None else f"{kind}:{bench.device.index}"
    with Segmenter.open(
        folder, vocabulary=bench.vocabulary, device=device, verify="size", cache=False
    ) as segmenter:
        opened, held = time.perf_counter() - began, _used(bench.device) - used
        one = _timed(bench, lambda: segmenter(pixels))
        every = _timed(bench, lambda: segmenter.results(pixels))
        return one | {
            "all_tasks": every,
            "streamed_per_second": _streamed(segmenter, pixels),
            "steps": _steps(segmenter, pixels) if kind == "cuda" else {},
            "opened_seconds": opened,
            "opened_bytes": held,
            "bytes": _used(bench.device) - used,
            "segments": len(segmenter(pixels).segments),
            "runs_on": segmenter.runs_on,
        }


def _timed(bench: Bench, work: Callable[[], object]) -> dict[str, Any]:
    found = measure(lambda clock: work(), bench.device, repeats=bench.repeats, seconds=bench.seconds)
    return {name: found[name] for name in ("seconds", "p10", "p90", "runs")}


def _streamed(segmenter: Segmenter, pixels: np.ndarray) -> float:
    """Return pictures per second, after the first few."""
    began = 0.0
    for number, one in enumerate(segmenter.stream(pixels for _ in range(_WARM + _STREAMED))):
        if one.error is not None:
            raise one.error
        if number == _WARM - 1:
            began = time.perf_counter()
    return _STREAMED / (time.perf_counter() - began)


def _steps(segmenter: Segmenter, pixels: np.ndarray) -> dict[str, float]:
    """Return the median seconds of every step of a panoptic picture, by events around its runs.

    They are queued one by one, also where a picture is one CUDA graph otherwise.
    """
    runs: list[dict[str, float]] = []
    with _events_around_launches() as marks:
        for _ in range(7):
            marks.clear()
            segmenter(pixels)
            torch.cuda.synchronize()
            found: dict[str, float] = {}
            for stage, begin, end in marks:
                found[stage] = found.get(stage, 0.0) + begin.elapsed_time(end) / 1000
            runs.append(found)
    return {stage: float(np.median([one[stage] for one in runs])) for stage in runs[-1]}


@contextmanager
def _events_around_launches() -> Iterator[list[tuple[str, Any, Any]]]:
    marks: list[tuple[str, Any, Any]] = []
    queue = Launch.queue

    def marked(self: Launch, cuda: Any) -> None:
        stream = torch.cuda.ExternalStream(cuda.stream)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record(stream)
        queue(self, cuda)
        end.record(stream)
        marks.append((self.engine.spec.name, begin, end))

    def not_recorded(
        self: Recordings, key: Hashable, program: Program, picture: int, ran_before: bool
    ) -> None:
        program.queue(self._cuda)

    recorded = Recordings.run
    Launch.queue = marked  # type: ignore[method-assign]
    Recordings.run = not_recorded  # type: ignore[method-assign]
    try:
        yield marks
    finally:
        Launch.queue = queue  # type: ignore[method-assign]
        Recordings.run = recorded  # type: ignore[method-assign]


def _used(device: torch.device) -> int:
    """Return the bytes of the device that are in use, by whatever."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free)
