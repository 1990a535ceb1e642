"""What the parts that measure bundles share: opening one, and times of pictures and streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odise_trt import Segmenter
from odise_trt.errors import BackendError

from .sections import Bench
from .timing import measure

#: Pictures of a stream that are counted: at most, and at least if they take long.
_STREAMED, _LEAST = 60, 8
#: Pictures before them. Groups of a stream are recorded from the third one on.
_WARM, _WARM_GROUPS = 12, 4


def bundles_of(bench: Bench) -> tuple[str, ...]:
    """Return the folders of the bundles.

    Raises:
        BackendError: none was given.
    """
    if not bench.engines:
        raise BackendError("there is no bundle to measure", "give --engines")
    return bench.engines


def title(folder: str, size: tuple[int, int], *further: str) -> str:
    """Return the name of a number: "BUNDLE, HxW, ..."."""
    return ", ".join((Path(folder).name, f"{size[0]}x{size[1]}", *further))


def device_name(device: torch.device) -> str:
    """Return a device as `Segmenter.open` takes it."""
    return device.type if device.index is None else f"{device.type}:{device.index}"


def opened(bench: Bench, folder: str, **options: Any) -> Segmenter:
    """Open a bundle on the device of the measurement.

    Args:
        bench: device and vocabulary.
        folder: the bundle.
        options: further ones of `Segmenter.open`, or others in place of the usual ones.
    """
    usual = {
        "device": device_name(bench.device),
        "vocabulary": bench.vocabulary,
        "verify": "size",
        "cache": False,
    }
    return Segmenter.open(folder, **{**usual, **options})


def timed(bench: Bench, work: Callable[[], object]) -> dict[str, Any]:
    """Return median and best seconds of something that ends with its result on the host."""
    found = measure(lambda clock: work(), bench.device, repeats=bench.repeats, seconds=bench.seconds)
    return {name: found[name] for name in ("seconds", "best_seconds", "p10", "p90", "runs")}


def once(work: Callable[[], object]) -> float:
    """Return the seconds of one run, the first one too."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def streamed(segmenter: Segmenter, pixels: np.ndarray, seconds: float, task: str = "panoptic") -> float:
    """Return pictures per second of a stream, after the first ones.

    Args:
        segmenter: an opened bundle.
        pixels: every picture.
        seconds: after so long, the stream ends when there are a few pictures.
        task: of the stream.

    Raises:
        OdiseError: the error of the first picture that has one.
    """
    warm = max(_WARM, _WARM_GROUPS * segmenter._chain.together)
    enough = threading.Event()

    def pictures() -> Iterator[np.ndarray]:
        # It is asked in a thread.
        for _ in range(warm + _STREAMED):
            if enough.is_set():
                return
            yield pixels

    began = ended = 0.0
    done = 0
    for one in segmenter.stream(pictures(), task):  # type: ignore[arg-type]
        if one.error is not None:
            raise one.error
        done += 1
        ended = time.perf_counter()
        if done == warm:
            began = ended
        elif done >= warm + _LEAST and ended - began > seconds:
            enough.set()
    return (done - warm) / (ended - began)
