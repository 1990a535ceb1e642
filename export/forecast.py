"""What a build will do, before it does it: stages, what is kept, and estimates of time, memory and files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odise_trt.backends import available_threads
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Manifest
from odise_trt.bundle.place import nearest_folder
from odise_trt.machine_memory import available_bytes, memory_bytes
from odise_trt.stage_spec import PRECISIONS, StageSpec
from reference.on_demand import LARGE

from .builders.compatibility import price_of
from .cost_model import PROCESS_BYTES, SPREAD, Cost, engine_cost, export_cost, other_seconds
from .finished import finished_folder, usable
from .parity import sizes_to_check
from .plan import Target, existing, stage_keys
from .prepared import Prepared
from .quantizing.cost import with_quantizing
from .stage_work import StageWork, work_of
from .stages import all_stages

_BYTES = {"float32": 4, "float16": 2}


@dataclass(frozen=True)
class StageForecast:
    """A stage of a bundle that will be built, or is kept.

    Attributes:
        spec: its declaration at the precision it computes in.
        shared: the export of an earlier bundle of the build serves this one, too. Its time counts there.
        kept: an earlier build finished it; it costs nothing, and the sizes are those of its files.
        onnx_bytes: of its graph, without weights that it reads from files of other stages.
        engine_bytes: of its engine. None: the graph is the engine.
        seconds: without other programs, up to `SPREAD` times as long with them.
        peak_bytes: of the memory of a process that builds it.
    """

    spec: StageSpec
    precision: str
    kept: bool
    onnx_bytes: int
    engine_bytes: int | None
    seconds: float
    peak_bytes: int
    shared: bool = False


@dataclass(frozen=True)
class BundleForecast:
    """A bundle of a build.

    Attributes:
        disk_bytes: what it adds to its disk.
        free_bytes: what is free there.
        price: what its options cost that engines are compatible by, a line each.
    """

    folder: Path
    backend: str
    stages: tuple[StageForecast, ...]
    disk_bytes: int
    free_bytes: int
    price: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """What a build will do. All numbers but those of the machine are estimates.

    Attributes:
        seconds: least and most.
        peak_bytes: of the memory of all processes.
        memory, available: bytes of this machine. None: not known.
    """

    bundles: tuple[BundleForecast, ...]
    seconds: tuple[float, float]
    peak_bytes: int
    memory: int | None
    available: int | None


def forecast(prepared: Prepared) -> Forecast:
    """Estimate a build. It loads no weights, and takes a few seconds.

    Files of earlier builds are compared by size, not by hash: a build may find one that was changed, and
    build that stage, too.
    """
    request, preset = prepared.request, prepared.preset
    whole, work = work_of(preset, request.stage_names())
    # A large model is read on demand, see `reference.on_demand`.
    held = 0 if whole > LARGE else whole
    exported: set[object] = set()
    bundles = tuple(_bundle(target, prepared, held, work, exported) for target in prepared.targets)
    built = [stage for bundle in bundles for stage in bundle.stages if not stage.kept]
    jobs = max(1, min(request.jobs, len(built)))
    seconds = sum(stage.seconds for stage in built) / jobs + other_seconds(whole) if built else 0.0
    # The first process exports nothing then.
    peaks = sorted((stage.peak_bytes for stage in built), reverse=True)[:jobs]
    peak = sum(peaks) + (round(PROCESS_BYTES) + held if jobs > 1 else 0)
    return Forecast(bundles, (seconds, SPREAD * seconds), peak, memory_bytes(), available_bytes())


def _bundle(
    target: Target,
    prepared: Prepared,
    model_bytes: int,
    work: Mapping[str, StageWork],
    exported: set[object],
) -> BundleForecast:
    """Estimate a bundle. `exported`: the stages that bundles before it export, with their kind of graph."""
    kept = {} if prepared.request.force else _kept(target, prepared)
    stages: list[StageForecast] = []
    known: set[int] = set()
    for name, one in work.items():
        stage = _stage(
            target, prepared, name, model_bytes, one, kept, known, (name, target.graph) in exported
        )
        stages.append(stage)
        known |= one.weights.keys()
        if not stage.kept:
            exported.add((name, target.graph))
    built = [stage for stage in stages if not stage.kept]
    graphs, engines = [stage.onnx_bytes for stage in built], [stage.engine_bytes or 0 for stage in built]
    keeps_graphs = target.builder is None or target.strips_weights
    # A graph that is no part of the bundle lies on the disk while its engine is built.
    beside = 0 if target.builder is None else max(graphs, default=0)
    files = sum(engines) + (sum(graphs) if keeps_graphs else 0)
    place = nearest_folder(target.folder)
    free = shutil.disk_usage(place).free
    price = price_of(target.backend)
    return BundleForecast(target.folder, target.name, tuple(stages), files + beside, free, price)


def _kept(target: Target, prepared: Prepared) -> dict[str, int]:
    """Return the stages that the build will take over, and the bytes of their own files."""
    request, weights = prepared.request, prepared.weights
    keys = stage_keys(request, target, weights)
    found: dict[str, int] = {}
    hashes: dict[str, str] = {}
    for folder in (finished_folder(target.folder), target.folder):
        manifest: Manifest | None = existing(target, request, weights, folder)
        if manifest is None:
            continue
        wanted = {name: key for name, key in keys.items() if name not in found}
        for entry in usable(Bundle(folder, manifest), wanted, hashes, verify="size"):
            own = [file for file in entry.files if file.startswith(f"{entry.spec.name}.")]
            found[entry.spec.name] = sum(int(manifest.files[file]["bytes"]) for file in own)
            hashes |= {file: str(manifest.files[file]["sha256"]) for file in entry.files}
    return found


def _stage(
    target: Target,
    prepared: Prepared,
    name: str,
    model_bytes: int,
    work: StageWork,
    kept: Mapping[str, int],
    known: set[int],
    shared: bool,
) -> StageForecast:
    stage, preset = all_stages()[name], prepared.preset
    precision = stage.computes_in(target.precision)
    request = prepared.request
    spec = stage.spec(preset, precision, request.max_windows, request.image_sizes)
    if name in kept:
        engine = None if target.builder is None else kept[name]
        return StageForecast(spec, precision, True, kept[name] if engine is None else 0, engine, 0.0, 0)
    size = _BYTES[PRECISIONS[precision]]
    export = export_cost(
        work,
        spec,
        preset,
        model_bytes,
        sizes_to_check(stage, preset, spec, request.image_sizes, request.parity_limits),
        bytes_per_number=size,
        threads=available_threads(),
    )
    if target.quantizing is not None and stage.quantized:
        export = with_quantizing(export, work, len(target.quantizing.pictures), available_threads())
    if shared:
        export = Cost(0.0, export.peak_bytes, export.file_bytes)
    engine_build = None
    if target.builder is not None:
        engine_build = engine_cost(work, model_bytes, size, target.strips_weights)
        if not target.strips_weights:
            return _built(spec, precision, export, engine_build, shared)
    # Graphs of one bundle keep what several of them read once.
    common = size * sum(count for key, count in work.weights.items() if key in known)
    kept_graph = Cost(export.seconds, export.peak_bytes, export.file_bytes - common)
    return _built(spec, precision, kept_graph, engine_build, shared)


def _built(spec: StageSpec, precision: str, export: Cost, engine: Cost | None, shared: bool) -> StageForecast:
    costs: Sequence[Cost] = [export] if engine is None else [export, engine]
    return StageForecast(
        spec,
        precision,
        False,
        round(export.file_bytes),
        None if engine is None else round(engine.file_bytes),
        sum(cost.seconds for cost in costs),
        round(max(cost.peak_bytes for cost in costs)),
        shared,
    )
