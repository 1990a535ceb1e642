"""Measures the ceilings and the stages of a bundle in alternating rounds, and judges the stages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from benchmarks.layers.profilers import profiler_of
from benchmarks.layers.stage_calls import PHOTO, RecordingExecutor, StageCall, stage_calls
from export.fusing import DOMAIN
from export.fusing.expansion import expand
from odise_trt.backends import available_threads
from odise_trt.backends.base import Options
from odise_trt.backends.registry import find_backend
from odise_trt.bundle import Bundle
from odise_trt.errors import BundleError

from .ceilings import SIZES, Ceilings, Size, ceilings, probes
from .judgement import StageRow, advice, furthest, row
from .rounds import timed_in_rounds
from .work import GraphWork, count


@dataclass(frozen=True)
class Roofline:
    """The result.

    Attributes:
        title: what was measured, in words.
        bundle: facts about the bundle and the run.
        ceilings: the measured limits.
        rows: the stages.
        next: what to do next, in words.
        load: runnable processes per minute before the measurement; 0 where the system does not say.
    """

    title: str
    bundle: dict[str, Any]
    ceilings: Ceilings
    rows: tuple[StageRow, ...]
    next: str
    load: float

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs used more than a quarter of the processors before the measurement."""
        return _is_disturbed(self.load)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a record."""
        return {
            "bundle": self.bundle,
            "load": self.load,
            "judged_by": "processor time" if self.is_disturbed else "wall time",
            "ceilings": asdict(self.ceilings),
            "stages": {one.stage: one.to_json() for one in self.rows},
            "next": self.next,
        }


def measure(
    engines: Path,
    *,
    image: Path | None = None,
    graphs: Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    windows: int | None = None,
    rounds: int = 7,
    size: Size | None = None,
    ahead: Callable[[int], object] = lambda _: None,
) -> Roofline:
    """Measure a bundle against the ceilings of the machine.

    Args:
        engines: a bundle.
        image: a photo. None: the shipped one.
        graphs: the bundle with the ONNX files of these stages. None: `engines` itself.
        device, threads: as for `Segmenter.open`.
        windows: windows per run of captioner and features. None: as the segmenter.
        rounds: counted rounds.
        size: sizes of the graphs that measure the ceilings. None: those for the device.
        ahead: called with the number of rounds that are done.

    Raises:
        BundleError, BackendError, ImageError: as for `Segmenter`.
        BundleError: there are no ONNX files to count.
        ExportError: a graph cannot be counted before a run.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    bundle = Bundle.open(engines)
    counted = bundle if graphs is None else Bundle.open(graphs)
    entry, precision = find_backend(bundle.manifest.backend["name"]), bundle.manifest.precision
    options = Options(precision, device or entry.device, threads or available_threads())
    with ExitStack() as resources:
        executor = RecordingExecutor.open(bundle, options.device, options.threads)
        resources.callback(executor.close)
        calls = stage_calls(bundle, image or PHOTO, device=options.device, windows=windows, executor=executor)
        stages = list(dict.fromkeys(call.stage for call in calls))
        work = {
            stage: graph_work(counted, stage, [call.shapes for call in calls if call.stage == stage])
            for stage in stages
        }
        chosen = size or SIZES[options.device.partition(":")[0]]
        found = resources.enter_context(
            probes(executor.backend, precision, options.device, options.threads, chosen)
        )
        works: dict[str, Callable[[], object]] = {
            f"ceiling {name}": probe.run for name, probe in found.items()
        }
        works |= {
            stage: partial(_run, executor, [one for one in calls if one.stage == stage]) for stage in stages
        }
        timings = timed_in_rounds(works, rounds, ahead=ahead)
        # Under load, wall time says what other programs left.
        judged = options.threads if options.device == "cpu" and _is_disturbed(load) else None
        limits = ceilings({name: timings[f"ceiling {name}"].busy(judged) for name in found}, found)
    rows = tuple(row(stage, work[stage], timings[stage], limits, judged) for stage in stages)
    first = next(call for call in calls if call.stage == furthest(rows).stage)
    spent: dict[str, float] = {}
    if entry.profiles:
        spent = profiler_of(entry.name)(bundle, first.stage, first.inputs, options, 2).seconds_by_type()
    facts = {
        "name": bundle.folder.name,
        "preset": bundle.manifest.preset,
        "backend": entry.name,
        "precision": precision,
        "device": options.device,
        "threads": options.threads,
        "inputs": {call.stage: call.shapes for call in reversed(calls)},
    }
    title = f"{bundle.folder.name} on {options.device}, {options.threads} threads"
    return Roofline(title, facts, limits, rows, advice(rows, spent, limits), load)


def graph_work(bundle: Bundle, stage: str, runs: Sequence[Mapping[str, Sequence[int]]]) -> list[GraphWork]:
    """Count the work of runs of one stage, from the ONNX file in a bundle.

    Fused operators are counted as the standard ones that they stand for.

    Args:
        bundle: a bundle of ONNX files.
        stage: its name.
        runs: of each run the shape of every input.

    Raises:
        BundleError: the bundle has engines of another kind.
        ExportError: the graph cannot be counted.
    """
    entry = bundle.manifest.stage(stage)
    path = bundle.folder / (entry.weights_from or entry.file)
    if path.suffix != ".onnx":
        raise BundleError(
            f"{bundle.folder} has no ONNX file of {stage} to count the work of",
            f"give --graphs: a bundle of {bundle.manifest.preset} for onnxruntime",
        )
    model = expanded(onnx.load(path, load_external_data=False))
    known: dict[str, GraphWork] = {}
    for shapes in runs:
        if str(shapes) not in known:
            known[str(shapes)] = count(model, shapes)
    return [known[str(shapes)] for shapes in runs]


def expanded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph with its fused operators written out. Weights in other files stay there."""
    if all(node.domain != DOMAIN for node in model.graph.node):
        return model
    graph = ir.from_proto(model)
    expand(graph)
    return ir.to_proto(graph)


def _is_disturbed(load: float) -> bool:
    return load > available_threads() / 4


def _run(executor: RecordingExecutor, calls: list[StageCall]) -> None:
    for call in calls:
        executor.engine(call.stage).run(call.inputs)
