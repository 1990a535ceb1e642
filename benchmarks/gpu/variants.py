"""One bundle with other windows at once, or another workspace of cuBLAS: its memory and its times.

Each variant is a part, so it has a process of its own, whose memory nothing else has touched.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from odise_trt.errors import BackendError

from .bundles import bundles_of, once, opened, streamed, timed, title
from .memory import Memory
from .sections import Bench

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
#: As many windows at once as the engines take.
MOST = "most"


def variant(bench: Bench, windows: str) -> Iterator[tuple[str, Any]]:
    """Measure the bundles with so many windows at once, on the first size.

    Args:
        bench: what is measured.
        windows: the option `max_windows`, or "most".

    Yields:
        "BUNDLE, HxW, VARIANT": seconds of one picture, pictures per second of a stream, and bytes: after
        opening, the most while pictures and a stream ran, and those left after closing.

    Raises:
        BackendError: no bundle was given, or the process has a workspace for cuBLAS and no GPU.
    """
    workspace = os.environ.get(WORKSPACE)
    if workspace is not None and bench.device.type != "cuda":
        raise BackendError("a CPU has no cuBLAS, whose workspace is measured here", "give --device cuda")
    said = f"windows at once: {'as many as engines take' if windows == MOST else windows}"
    if workspace is not None:
        said += f", {WORKSPACE}={workspace}"
    for folder in bundles_of(bench):
        yield (
            title(folder, bench.sizes[0], said),
            _measured(bench, folder, windows) | {"workspace": workspace},
        )


def _measured(bench: Bench, folder: str, windows: str) -> dict[str, Any]:
    pixels = bench.pixels(bench.sizes[0])
    memory = Memory(bench.device)
    began = time.perf_counter()
    # No engine takes more, and on a CPU the runtime would choose fewer.
    most = sys.maxsize if windows == MOST else int(windows)
    with opened(bench, folder, max_windows=most) as segmenter:
        seconds, held = time.perf_counter() - began, memory.used()
        with memory.watched():
            first, second = (once(lambda: segmenter(pixels)) for _ in range(2))
            segmenter(pixels)
        found = {
            "max_windows": windows,
            "opened_seconds": seconds,
            "opened_bytes": held,
            "first_seconds": first,
            "second_seconds": second,
            "peak_bytes": memory.peak,
            "bytes_of": memory.of,
            **timed(bench, lambda: segmenter(pixels)),
            "streamed_per_second": streamed(segmenter, pixels, bench.seconds),
        }
        with memory.watched():
            for one in segmenter.stream(pixels for _ in range(8)):
                if one.error is not None:
                    raise one.error
        found["stream_peak_bytes"] = memory.peak
        found["runs_on"] = segmenter.runs_on
    found["left_bytes_after_close"] = memory.used()
    return found
