"""Semantic maps with few and with very many categories, whose rows go by in blocks on a device."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_table import keep_random_table
from odise_trt.bundle import Bundle

from .bundles import bundles_of, once, opened, timed, title
from .memory import Memory
from .programs import Taken, is_on_device, programs_given_to, queued, runs_of
from .sections import Bench


def categories(bench: Bench, count: str) -> Iterator[tuple[str, Any]]:
    """Measure the semantic task on the first size, with text embeddings that are random numbers.

    Args:
        bench: what is measured.
        count: how many categories.

    Yields:
        "BUNDLE, HxW, N categories": seconds of one picture and of the first, the rows that a run of the
        stage takes, how many runs there are, and bytes after opening and the most in the first pictures.

    Raises:
        BackendError: no bundle was given, or one does not run here.
    """
    for folder in bundles_of(bench):
        name = title(folder, bench.sizes[0], f"{count} categories")
        yield name, _measured(bench, folder, int(count))


def _measured(bench: Bench, folder: str, count: int) -> dict[str, Any]:
    pixels = bench.pixels(bench.sizes[0])
    with tempfile.TemporaryDirectory() as place:
        words = keep_random_table(Bundle.open(folder, "size"), count, Path(place))
        memory = Memory(bench.device)
        with opened(bench, folder, vocabulary=words, cache=place) as segmenter:
            held = memory.used()
            with memory.watched():
                first = once(lambda: segmenter(pixels, "semantic"))
                for _ in range(2):
                    segmenter(pixels, "semantic")
            rows: list[int] = []

            def run(taken: Taken) -> None:
                semantic = [one for one in runs_of(taken.program) if one.engine.spec.name == "semantic"]
                rows.extend(one.outputs["semantic"].shape[0] for one in semantic)
                queued(taken)

            with programs_given_to(run):
                result = segmenter(pixels, "semantic")
            return {
                **timed(bench, lambda: segmenter(pixels, "semantic")),
                "first_seconds": first,
                "rows_per_run": max(rows) if is_on_device(segmenter) else None,
                "runs_of_semantic": len(rows),
                "categories_found": len(np.unique(np.asarray(result.semantic))),
                "opened_bytes": held,
                "peak_bytes": memory.peak,
                "bytes_of": memory.of,
                "notes": {
                    name: result.provenance[name] for name in ("rows per run",) if name in result.provenance
                },
            }
