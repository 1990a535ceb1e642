"""A bundle during its build: kept stages, built stages, and the other files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from odise_trt.bundle import BundleWriter
from odise_trt.bundle.bundle import sha256_of, sha256_of_files
from odise_trt.bundle.manifest import CONSTANTS, MANIFEST, TOKENIZER, Manifest, Parity, StageEntry
from odise_trt.files.writing import writing
from odise_trt.pipeline import Step
from reference.checkpoint import WeightsDescription
from reference.preset import Preset

from .checked_export import CheckedExport
from .engine_check import open_engine
from .finished import keep_finished
from .measure import Measure
from .model_spec import check_constants, constants, model_spec
from .plan import Target
from .quantizing.page import FILE as LAYERS
from .quantizing.page import write_layers
from .report import FILE as REPORT
from .report import Exhibit, write_report
from .report.maps import Panel
from .report.scene import can_draw, draw_scene
from .reporter import Reporter
from .shared_weights import SharedWeights
from .stages import StageWrapper, all_stages, steps
from .tokenizer import check_tokenizer, write_tokenizer

if TYPE_CHECKING:
    from reference.model import ODISE


_IN_BF16 = "convolutions, products, and what lies between them"


@dataclass(frozen=True)
class StageResult:
    """One line of the summary of a build."""

    stage: str
    nodes: int
    bytes: int
    seconds: float
    worst: Parity
    peak_bytes: int


@dataclass
class Unfinished:
    """A bundle during its build.

    Attributes:
        opens_engines: its engines can be opened on this machine.
        tools: versions, options and code of the build.
        keys: the keys of the requested stages, see `export.stage_key`.
        entries, rows, results: the stages so far, their comparisons, and the time and memory of their builds.
        exhibits: what the outputs of the stages built now look like.
        hashes: file name -> SHA-256 of the files of these stages.
        kept: the requested stages that an earlier build had finished.
        precision_maps: of quantized stages, see `export.quantizing`.
        weights: where the weights of its stages lie.
    """

    target: Target
    writer: BundleWriter
    opens_engines: bool
    tools: Mapping[str, str]
    keys: Mapping[str, str]
    entries: dict[str, StageEntry] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    rows: list[Parity] = field(default_factory=list)
    results: list[StageResult] = field(default_factory=list)
    exhibits: list[Exhibit] = field(default_factory=list)
    kept: tuple[str, ...] = ()
    precision_maps: dict[str, Mapping[str, object]] = field(default_factory=dict)
    weights: SharedWeights = field(init=False)

    def __post_init__(self) -> None:
        self.weights = SharedWeights(self.writer.folder)

    def lacking(self) -> tuple[str, ...]:
        """Return the requested stages that it does not have yet."""
        return tuple(name for name in self.keys if name not in self.entries)


def add(bundle: Unfinished, exported: CheckedExport, reporter: Reporter) -> None:
    """Add a stage to a bundle: its graph, or the engine built from the graph."""
    target, spec, graph = bundle.target, exported.spec, exported.graph
    seconds, peak = exported.seconds, exported.peak_bytes
    if target.builder is None:
        with writing(target.folder / graph.path.name):
            files = bundle.weights.join(graph.path, graph.files, bundle.writer.adopt)
    else:
        reporter.step(f"{spec.name}: {target.name} engine{_for(target)}")
        engine = bundle.writer.folder / f"{spec.name}{target.entry.suffix}"
        with Measure() as building, bundle.writer.file(engine.name) as file:
            target.builder.build(spec, graph.path, file, reporter.phase)
        files = (engine,)
        if target.strips_weights:
            # Stages share weights here as well: the second CLIP costs nothing.
            with writing(target.folder / graph.path.name):
                files += bundle.weights.join(graph.path, graph.files, bundle.writer.adopt)
        seconds, peak = seconds + building.seconds, max(peak, building.peak_bytes)
        reporter.note(
            f"{spec.name}: {target.name} engine of {engine.stat().st_size / 1e6:.1f} MB in"
            f" {building.seconds:.1f} s, peak {building.peak_bytes / 1e9:.1f} GB"
        )
    bundle.hashes |= {file.name: sha256_of(file) for file in files if file.name not in bundle.hashes}
    entry = StageEntry(
        spec=spec,
        file=files[0].name,
        files=tuple(file.name for file in files),
        onnx_sha256=sha256_of_files(files, bundle.hashes)
        if target.builder is None
        else sha256_of_files(graph.files),
        build_seconds=round(seconds, 2),
        peak_memory_bytes=peak,
        precision=exported.precision if exported.precision != target.precision else None,
        key=bundle.keys[spec.name],
        weights_from=graph.path.name if target.strips_weights else None,
    )
    # Weights that lie in another stage's file count there.
    size = sum(file.stat().st_size for file in files if file.name.startswith(f"{spec.name}."))
    bundle.entries[spec.name] = entry
    if exported.precision_map is not None:
        bundle.precision_maps[spec.name] = exported.precision_map
    bundle.rows += exported.rows
    bundle.exhibits += exported.exhibits
    bundle.results.append(StageResult(spec.name, graph.nodes, size, seconds, exported.worst, peak))
    if bundle.opens_engines:
        open_engine(target.entry, target.precision, bundle.writer.folder, entry, target.backend)


def _for(target: Target) -> str:
    """Return the GPUs that a builder was told to build for, in words."""
    numbers = target.backend.get("compute_capability", ())
    return f" for {', '.join(numbers)}" if numbers else ""


def save(bundle: Unfinished, model: ODISE, weights: WeightsDescription, preset: str) -> None:
    """Keep the requested stages so far for the next build, in case this one does not end well.

    Raises:
        OutputError: the disk is full, or the like.
    """
    names = [name for name in bundle.entries if name in bundle.keys]
    files = {file for name in names for file in bundle.entries[name].files}
    facts = {
        name: {"sha256": bundle.hashes[name], "bytes": (bundle.writer.folder / name).stat().st_size}
        for name in files
    }
    manifest = _manifest(bundle, names, facts, model, weights, preset)
    keep_finished(bundle.target.folder, bundle.writer.folder, manifest)


def finish(bundle: Unfinished, model: ODISE, weights: WeightsDescription, preset: str) -> None:
    """Write the files that belong to no stage, and the manifest.

    Raises:
        ExportError: a written file differs from the reference.
        BackendError: the bundle does not run, on a machine that it is for.
        OutputError: a file cannot be written.
    """
    target, folder = bundle.target, bundle.writer.folder
    order = list(all_stages())
    bundle.rows.sort(key=lambda row: order.index(row.stage))
    with bundle.writer.file(CONSTANTS) as file:
        np.savez(file, allow_pickle=False, **constants(model))
    check_constants(folder / CONSTANTS, model)
    with bundle.writer.file(TOKENIZER) as file:
        write_tokenizer(file)
    check_tokenizer(folder / TOKENIZER, [name for names in model.train_labels for name in names])
    scene: tuple[Panel, ...] = ()
    if bundle.opens_engines or (target.builder is None and not target.entry.needs_gpu):
        # It opens like any other bundle.
        _write_manifest(bundle, model, weights, preset)
        if can_draw(model, folder):
            scene = draw_scene(model, folder)
    with bundle.writer.file(REPORT) as file:
        write_report(file, bundle.rows, target.folder.name, bundle.exhibits, scene)
    if bundle.precision_maps:
        with bundle.writer.file(LAYERS) as file:
            write_layers(file, bundle.precision_maps, target.folder.name)
    _write_manifest(bundle, model, weights, preset)


def _write_manifest(bundle: Unfinished, model: ODISE, weights: WeightsDescription, preset: str) -> None:
    files = bundle.writer.files(bundle.hashes)
    manifest = _manifest(bundle, bundle.entries, files, model, weights, preset)
    with bundle.writer.file(MANIFEST):
        manifest.write(bundle.writer.folder)


def _manifest(
    bundle: Unfinished,
    names: Collection[str],
    files: Mapping[str, Mapping[str, object]],
    model: ODISE,
    weights: WeightsDescription,
    preset: str,
) -> Manifest:
    target = bundle.target
    return Manifest(
        preset=preset,
        precision=target.precision,
        weights=weights,
        backend=target.backend,
        model=model_spec(model.preset),
        stages=tuple(bundle.entries[name] for name in all_stages() if name in names),
        files=files,
        parity=tuple(row for row in bundle.rows if row.stage in names),
        precision_map={
            **_precision_map([name for name in names if name not in bundle.precision_maps], target.precision),
            **{name: found for name, found in bundle.precision_maps.items() if name in names},
        },
        tools=bundle.tools,
        pipeline=pipeline_of(model.preset, names),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def pipeline_of(preset: Preset, entries: Collection[str]) -> tuple[Step, ...]:
    """Return the steps of a bundle. None if it lacks one of their stages."""
    found = steps(preset)
    return found if all(step.stage in entries for step in found) else ()


def _precision_map(names: Sequence[str], precision: str) -> dict[str, object]:
    stages = all_stages()
    return {name: _precision_of(stages[name], stages[name].computes_in(precision)) for name in names}


def _precision_of(stage: type[StageWrapper], precision: str) -> dict[str, object]:
    if precision == "fp32":
        return {"weights": "float32", "float32": ["everything"]}
    if precision == "fp16":
        return {"weights": "float16", "float32": list(stage.islands)}
    return {
        "weights": "float32, rounded by the engine",
        "bfloat16": [_IN_BF16],
        "float32": ["the other parts"],
    }
