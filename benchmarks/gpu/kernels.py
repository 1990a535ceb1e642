"""What every stage runs on a device: its operators by kind, and on a GPU its kernels by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.layers.profilers import profiler_of
from benchmarks.layers.profiles import first_calls
from benchmarks.layers.stage_calls import RecordingExecutor, StageCall, stage_calls
from odise_trt import Segmenter
from odise_trt.backends import available_threads
from odise_trt.backends.base import Options
from odise_trt.bundle import Bundle
from odise_trt.chains.program import Launch
from odise_trt.errors import BackendError

from .bundles import bundles_of, device_name, opened, title
from .programs import Taken, at_stage, is_on_device, runs_of, stage_names
from .sections import Bench, safely

#: Measured runs of a stage in the profiler of its backend.
_RUNS = 5
#: Kernels that a record lists by name. The rest is counted.
_LISTED = 12
#: Whose seconds those of operators are.
PROCESSOR, HOST, GPU = "the processor's", "the host's, to queue them", "the GPU's"


def kernels(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Profile the stages of the bundles on the first size. What one cannot give, the others do.

    Yields:
        "BUNDLE, HxW, STAGE": "operators": kind -> count and seconds of one run, by the profiler of the
        backend, and "times": whose seconds these are. Before that on a GPU "BUNDLE, HxW, STAGE, kernels", of
        all runs of the stage in a picture, by CUPTI: see `grouped`.

    Raises:
        BackendError: no bundle was given, or one does not run here.
    """
    for folder in bundles_of(bench):
        size = bench.sizes[0]
        pixels = bench.pixels(size)
        calls: list[StageCall] = []
        with opened(bench, folder) as segmenter:
            for number, stage in enumerate(_stages_on_device(segmenter, pixels)):
                calls.append(at_stage(segmenter, pixels, number, partial(_first_call, stage)))
                if bench.device.type == "cuda":
                    found = at_stage(
                        segmenter, pixels, number, lambda taken: safely(partial(_profiled, taken))
                    )
                    yield title(folder, size, stage, "kernels"), found
        bundle = Bundle.open(folder, "size")
        for call in calls or _from_host(bundle, pixels, bench):
            yield title(folder, size, call.stage), safely(partial(operators, bundle, call, bench.device))


def operators(bundle: Bundle, call: StageCall, device: torch.device) -> dict[str, Any]:
    """Profile one stage in its backend, see `benchmarks.layers`."""
    manifest = bundle.manifest
    name = manifest.backend["name"]
    options = Options(manifest.precision, device_name(device), available_threads())
    profile = profiler_of(name)(bundle, call.stage, call.inputs, options, _RUNS)
    counts = profile.counts_by_type()
    times = PROCESSOR if device.type == "cpu" else HOST if profile.queued else GPU
    spent = profile.seconds_by_type()
    return {
        "times": times,
        "count": sum(counts.values()),
        "seconds": sum(spent.values()),
        "operators": {kind: {"count": counts[kind], "seconds": seconds} for kind, seconds in spent.items()},
    }


def grouped(found: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """Group runs of kernels by name.

    Args:
        found: the name and the seconds of each run.

    Returns:
        "count", "seconds": of all. "longest": the names that take longest, with count and seconds of each.
    """
    by_name: dict[str, list[float]] = {}
    for name, seconds in found:
        by_name.setdefault(name, []).append(seconds)
    longest = sorted(by_name.items(), key=lambda one: -sum(one[1]))[:_LISTED]
    return {
        "count": sum(map(len, by_name.values())),
        "seconds": sum(map(sum, by_name.values())),
        "longest": [{"name": name, "count": len(every), "seconds": sum(every)} for name, every in longest],
    }


def device_events(events: Iterable[Any], kind: str = "CUDA") -> Iterator[tuple[str, float]]:
    """Yield name and seconds of what ran on a kind of device, from the events of PyTorch's profiler.

    CUPTI sees every kernel and copy of the process, also those of other libraries than PyTorch.
    """
    for event in events:
        if event.device_type.name == kind:
            yield event.name, event.time_range.elapsed_us() / 1e6


def _stages_on_device(segmenter: Segmenter, pixels: np.ndarray) -> list[str]:
    """Return the stages of a picture, or none where numpy works between the engines."""
    return stage_names(segmenter, pixels) if is_on_device(segmenter) else []


def _first_call(stage: str, taken: Taken) -> StageCall:
    """Copy the inputs of the first run of a stage to the host. The stages before it were queued."""
    cuda = taken.cuda
    for one in taken.program.operations:
        if isinstance(one, Launch):
            break
        one.queue(cuda)  # what is cleared or copied for that run
    cuda.synchronize()
    tensors = runs_of(taken.program)[0].inputs
    inputs = {name: np.empty(given.shape, given.dtype) for name, given in tensors.items()}
    for name, array in inputs.items():
        cuda.fetch(array, tensors[name].address)
    return StageCall(stage, inputs)


def _profiled(taken: Taken) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile

    taken.program.queue(taken.cuda)
    taken.cuda.synchronize()
    # Without a PyTorch for CUDA, one with CUDA alone has nothing to do and fails otherwise.
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        taken.program.queue(taken.cuda)
        taken.cuda.synchronize()
    found = grouped(device_events(profiler.events()))
    if not found["count"]:
        raise BackendError("PyTorch's profiler has seen no kernel", "install a PyTorch for CUDA with CUPTI")
    return found


def _from_host(bundle: Bundle, pixels: np.ndarray, bench: Bench) -> list[StageCall]:
    device = device_name(bench.device)
    executor = RecordingExecutor.open(bundle, device)
    try:
        return first_calls(stage_calls(bundle, pixels, device=device, executor=executor))
    finally:
        executor.close()
