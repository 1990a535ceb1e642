"""The process of one contender. It reads requests, a JSON a line, and answers each with a JSON line.

    {"do": "open", "contender": {...}}               -> seconds, cpu_seconds, bytes, runs_on
    {"do": "segment", "image": ..., "folder": ...}   -> seconds per stage, and in all: with and without saving
    {"do": "words", "names": [...]}                  -> seconds
    {"do": "vocabulary", "source": ...}              -> seconds; a value of `--vocab`
    {"do": "stream", "images": [...], "folder": ...} -> total_seconds, cpu_seconds, or not_measured
    {"do": "memory_used"}                               -> peak_bytes since the start, bytes now
    {"do": "outcome", "image": ..., "folder": ...}   -> masks.npy and panoptic.npy in the folder; comes last

An error is answered with {"error": ..., "kind": ..., "hint": ...}. The end of the input ends the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contest.contender import Contender
from benchmarks.contest.memory import resident
from export.measure import Measure
from odise_trt.errors import OdiseError


class Worker:
    """Answers the requests for one contender."""

    def __init__(self) -> None:
        self._memory = Measure()
        self._memory.__enter__()
        self._runner: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks. Errors become an answer."""
        try:
            does: Callable[..., dict[str, Any]] = getattr(self, f"_{request.pop('do')}")
            return does(**request)
        except OdiseError as error:
            return {"error": error.message, "kind": type(error).__name__, "hint": error.hint}
        except Exception as error:
            first = (str(error).strip().splitlines() or ["no message"])[0]
            return {"error": first[:400], "kind": type(error).__name__, "hint": None}

    def _open(self, contender: dict[str, Any]) -> dict[str, Any]:
        from benchmarks.runners import open_runner

        begin, cpu = time.perf_counter(), time.process_time()
        self._runner = open_runner(Contender(**contender))
        return {
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": time.process_time() - cpu,
            "bytes": resident(),
            "runs_on": self._runner.runs_on,
        }

    def _segment(self, image: str, folder: str) -> dict[str, Any]:
        begin, cpu = time.perf_counter(), time.process_time()
        stages, save = self._runner.segment(Path(image))
        segmented, segmented_cpu = time.perf_counter(), time.process_time()
        save(Path(folder))
        saved = time.perf_counter()
        return {
            "stages": stages | {"encode": saved - segmented},
            "seconds": segmented - begin,
            "cpu_seconds": segmented_cpu - cpu,
            "total_seconds": saved - begin,
            "total_cpu_seconds": time.process_time() - cpu,
        }

    def _words(self, names: list[str]) -> dict[str, Any]:
        return self._vocabulary(names)

    def _vocabulary(self, source: Any) -> dict[str, Any]:
        from odise_trt.vocabulary import Vocabulary

        begin = time.perf_counter()
        self._runner.look_for(Vocabulary.of(source))
        return {"seconds": time.perf_counter() - begin}

    def _stream(self, images: list[str], folder: str) -> dict[str, Any]:
        begin, cpu = time.perf_counter(), time.process_time()
        missing = self._runner.stream([Path(image) for image in images], Path(folder))
        if missing is not None:
            return {"not_measured": missing}
        return {"total_seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}

    def _memory_used(self) -> dict[str, Any]:
        self._memory.__exit__(None, None, None)
        return {"peak_bytes": self._memory.peak_bytes, "bytes": resident()}

    def _outcome(self, image: str, folder: str) -> dict[str, Any]:
        import numpy as np

        panoptic, masks = self._runner.outcome(Path(image))
        np.save(Path(folder, "panoptic.npy"), panoptic)
        np.save(Path(folder, "masks.npy"), masks)
        return {}


def main() -> None:
    """Answer requests until the input ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        answers.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        answers.flush()
