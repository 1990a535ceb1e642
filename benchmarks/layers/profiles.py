"""Profiles every stage of a bundle that a picture needs, with the inputs it has in a real run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from odise_trt.backends import available_threads
from odise_trt.backends.base import Options
from odise_trt.backends.registry import find_backend
from odise_trt.bundle import Bundle

from .profilers import profiler_of
from .stage_calls import PHOTO, RecordingExecutor, StageCall, stage_calls
from .viewer_form import StageProfile


def profile_bundle(
    engines: Path,
    *,
    image: Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    windows: int | None = None,
    runs: int = 5,
    ahead: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, StageProfile]:
    """Return stage -> its layers and their times, of the stage's first call.

    Args:
        engines: a bundle.
        image: a photo. None: the shipped one.
        device, threads: as for `Segmenter.open`.
        windows: windows per run. None: as the segmenter.
        runs: measured runs of each stage.
        ahead: called with a stage, its number and the number of stages before it is profiled.

    Raises:
        BundleError, BackendError, ImageError: as for `Segmenter`.
        BackendError: engines of this backend cannot be profiled.
    """
    bundle = Bundle.open(engines)
    entry = find_backend(bundle.manifest.backend["name"])
    profiler = profiler_of(entry.name)
    executor = RecordingExecutor.open(bundle, device, threads)
    try:
        calls = stage_calls(bundle, image or PHOTO, device=device, windows=windows, executor=executor)
    finally:
        executor.close()
    options = Options(bundle.manifest.precision, device or entry.device, threads or available_threads())
    found = {}
    first = first_calls(calls)
    for number, call in enumerate(first):
        ahead(call.stage, number, len(first))
        found[call.stage] = profiler(bundle, call.stage, call.inputs, options, runs)
    return found


def first_calls(calls: Iterable[StageCall]) -> list[StageCall]:
    """Return the first call of every stage, in order."""
    found: dict[str, StageCall] = {}
    for call in calls:
        found.setdefault(call.stage, call)
    return list(found.values())
