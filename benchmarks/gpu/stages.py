"""Every stage of a picture alone, as a CUDA graph on inputs that lie on the device, against its floor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.layers.stage_calls import RecordingExecutor, StageCall, stage_calls
from benchmarks.roofline.ceilings import SIZES, Ceilings, ceilings, probes
from benchmarks.roofline.judgement import floor_seconds
from benchmarks.roofline.measurement import graph_work
from benchmarks.roofline.rounds import timed_in_rounds
from benchmarks.roofline.work import total
from odise_trt import Segmenter
from odise_trt.backends import Engine, available_threads, open_backend
from odise_trt.bundle import Bundle
from odise_trt.chains.recordings import record
from odise_trt.errors import BackendError, OdiseError

from .bundles import bundles_of, device_name, opened, title
from .marks import ClockMarks, Marks, marks_on
from .programs import Taken, at_stage, is_on_device, runs_of, stage_names
from .sections import Bench, safely

#: Replays that are measured: at most, and at least if they take long.
_REPLAYS, _LEAST = 100, 5
#: Replays that are queued before the host looks at the time.
_TOGETHER = 5
_CEILING_ROUNDS = 5


@dataclass(frozen=True)
class TimedStage:
    """A stage in one picture.

    Attributes:
        stage: its name.
        runs: of each run the shape of every input.
        numbers: its times, or "error".
    """

    stage: str
    runs: Sequence[Mapping[str, tuple[int, ...]]]
    numbers: dict[str, Any]


def stages(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Measure the stages of the bundles on the first size. What one cannot give, the others do.

    On a GPU, every stage is recorded as a graph of its own, after the stages before it have run, and
    replayed. Its time is that between CUDA events. Where numpy works between engines, as on a CPU, the stages
    with weights are run from the host and timed by its clock.

    Yields:
        "BUNDLE, HxW, ceilings": the limits of the device in the bundle's backend. Then "BUNDLE, HxW, STAGE":
        median seconds of all runs of the stage in a picture, how they were run, operations, least bytes, and
        the seconds that the ceilings allow.

    Raises:
        BackendError: no bundle was given, or one does not run here.
    """
    for folder in bundles_of(bench):
        size = bench.sizes[0]
        limits = safely(partial(_ceilings, bench, folder))
        yield title(folder, size, "ceilings"), limits
        bundle = Bundle.open(folder, "size")
        for one in timed_stages(bench, folder, size):
            work = _work(bundle, one, None if "error" in limits else Ceilings(**limits))
            yield title(folder, size, one.stage), one.numbers | work


def timed_stages(bench: Bench, folder: str, size: tuple[int, int]) -> Iterator[TimedStage]:
    """Time every stage of a panoptic picture alone, one after the other, see `stages`."""
    pixels = bench.pixels(size)
    with opened(bench, folder) as segmenter:
        if is_on_device(segmenter):
            yield from _on_device(segmenter, pixels, bench)
            return
    yield from _from_host(folder, pixels, bench)


def _on_device(segmenter: Segmenter, pixels: np.ndarray, bench: Bench) -> Iterator[TimedStage]:
    def timed(stage: str, taken: Taken) -> TimedStage:
        shapes = [{name: one.shape for name, one in run.inputs.items()} for run in runs_of(taken.program)]
        marks = marks_on(taken.cuda, bench.device)
        return TimedStage(stage, shapes, safely(partial(replayed, taken, marks, bench.seconds)))

    for number, stage in enumerate(stage_names(segmenter, pixels)):
        yield at_stage(segmenter, pixels, number, partial(timed, stage))


def replayed(taken: Taken, marks: Marks, seconds: float) -> dict[str, Any]:
    """Time a piece of a program as one CUDA graph, and queued run by run. What it reads is there.

    Args:
        taken: the piece.
        marks: those of the device.
        seconds: for each of both.

    Returns:
        "seconds", "best_seconds", "runs": of the graph, or queued if it cannot be recorded. "how": which of
        both, and why not the graph. "queued_seconds", "host_seconds_to_queue": medians. "launches": runs of
        the engine.
    """
    program, cuda = taken.program, taken.cuda
    hosts: list[float] = []

    def queue() -> None:
        began = time.perf_counter()
        program.queue(cuda)
        hosts.append(time.perf_counter() - began)

    program.keep()
    try:
        program.queue(cuda)
        plain = _between_marks(queue, marks, seconds)
        refusal = taken.refusal
        if refusal is None and not program.can_be_recorded():
            refusal = "an engine cannot be recorded"
        if refusal is None:
            try:
                graph = record(program, cuda, host_allowed=taken.host_allowed)
            except BackendError as error:
                refusal = error.message
        if refusal is None:
            times, how = _between_marks(partial(cuda.launch, graph), marks, seconds), "CUDA graph"
            cuda.synchronize()
            cuda.free_graph(graph)
        else:
            times, how = plain, f"queued, not recorded: {refusal}"
    finally:
        cuda.synchronize()
        program.release()
    return _medians(times) | {
        "how": how,
        "queued_seconds": statistics.median(plain),
        "host_seconds_to_queue": statistics.median(hosts),
        "launches": len(runs_of(program)),
    }


def _between_marks(work: Callable[[], object], marks: Marks, seconds: float) -> list[float]:
    """Return the seconds of many runs. Some are queued in a row, so that none waits for the host."""
    began = time.perf_counter()
    found: list[float] = []
    while len(found) < _REPLAYS:
        moments = []
        for _ in range(_TOGETHER):
            begin = marks.mark()
            work()
            moments.append((begin, marks.mark()))
        found += [marks.seconds(begin, end) for begin, end in moments]
        if len(found) >= _LEAST and time.perf_counter() - began > seconds:
            break
    return found


def _from_host(folder: str, pixels: np.ndarray, bench: Bench) -> Iterator[TimedStage]:
    bundle = Bundle.open(folder, "size")
    device = device_name(bench.device)
    executor = RecordingExecutor.open(bundle, device)
    try:
        calls = stage_calls(bundle, pixels, device=device, executor=executor)
        for stage in dict.fromkeys(call.stage for call in calls):
            own = [call for call in calls if call.stage == stage]
            run = partial(_run, executor.engine(stage), own)
            run()
            numbers = _medians(_between_marks(run, ClockMarks(), bench.seconds))
            how = "run from the host: numpy works between the engines"
            yield TimedStage(
                stage, [call.shapes for call in own], numbers | {"how": how, "launches": len(own)}
            )
    finally:
        executor.close()


def _run(engine: Engine, calls: Sequence[StageCall]) -> None:
    for call in calls:
        engine.run(call.inputs)


def _medians(times: Sequence[float]) -> dict[str, Any]:
    return {"seconds": statistics.median(times), "best_seconds": min(times), "runs": len(times)}


def _ceilings(bench: Bench, folder: str) -> dict[str, float]:
    manifest = Bundle.open(folder, "size").manifest
    name, device = manifest.backend["name"], device_name(bench.device)
    threads = available_threads()
    backend = open_backend(name, precision=manifest.precision, device=device, threads=threads)
    try:
        size = SIZES[bench.device.type]
        with probes(backend, manifest.precision, device, threads, size) as found:
            works: dict[str, Callable[[], object]] = {one: probe.run for one, probe in found.items()}
            timings = timed_in_rounds(works, _CEILING_ROUNDS)
            return asdict(ceilings({one: timings[one].best for one in found}, found))
    finally:
        backend.close()


def _work(bundle: Bundle, one: TimedStage, limits: Ceilings | None) -> dict[str, Any]:
    """Return operations, least bytes and floor of a stage, or why they are not known."""
    try:
        runs = graph_work(bundle, one.stage, one.runs)
    except OdiseError as error:
        return {"not_counted": str(error)}
    least = total(run.least for run in runs)
    found: dict[str, Any] = {"flops": least.flops, "bytes": least.bytes}
    if limits is not None:
        found["floor_seconds"] = sum(floor_seconds(run.least, limits) for run in runs)
    return found
