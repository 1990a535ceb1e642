"""A bundle during its build: kept stages, built stages, and the other files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from odise_trt.backends import open_backend
from odise_trt.backends.cuda import open_cuda
from odise_trt.bundle import Bundle, BundleWriter
from odise_trt.bundle.bundle import sha256_of_files
from odise_trt.bundle.manifest import CONSTANTS, MANIFEST, TOKENIZER, Manifest, Parity, StageEntry
from odise_trt.errors import BackendError, BundleError
from odise_trt.files.writing import writing
from odise_trt.pipeline import Step
from reference.checkpoint import WeightsDescription
from reference.preset import Preset

from .checked_export import CheckedExport
from .measure import Measure
from .model_spec import check_constants, constants, model_spec
from .parity_report import FILE as REPORT
from .parity_report import write_report
from .plan import Request, Target, existing
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
        entries, rows, results: the stages so far, their comparisons, and the time and memory of their builds.
        weights: where the weights of its stages lie.
    """

    target: Target
    writer: BundleWriter
    opens_engines: bool
    tools: Mapping[str, str]
    entries: dict[str, StageEntry] = field(default_factory=dict)
    rows: list[Parity] = field(default_factory=list)
    results: list[StageResult] = field(default_factory=list)
    weights: SharedWeights = field(init=False)

    def __post_init__(self) -> None:
        self.weights = SharedWeights(self.writer.folder)


def keep(bundle: Unfinished, request: Request, weights: WeightsDescription) -> None:
    """Take the stages that are not built now from the older bundle.

    Raises:
        BundleError: a stage differs from what was built. A new hash in the manifest would hide the damage.
    """
    target, asked = bundle.target, request.stage_names()
    manifest = existing(target, request, weights)
    if manifest is None:
        return
    kept = [entry for entry in manifest.stages if entry.spec.name not in asked]
    old = Bundle(target.folder, manifest)
    if damage := old.damage(entry.spec.name for entry in kept):
        options = " ".join(f"--stage {name}" for name in old.stages_of(damage))
        raise BundleError("\n".join(damage.values()), f"it would be kept: build it again too, add {options}")
    for file in dict.fromkeys(file for entry in kept for file in entry.files):
        bundle.writer.adopt(target.folder / file)
    for entry in kept:
        if target.builder is None:
            bundle.weights.know(bundle.writer.folder / entry.file)
        bundle.entries[entry.spec.name] = entry
        bundle.rows += [row for row in manifest.parity if row.stage == entry.spec.name]
    if kept:
        bundle.tools = _joined(bundle.tools, manifest.tools)


def add(bundle: Unfinished, exported: CheckedExport, reporter: Reporter) -> None:
    """Add a stage to a bundle: its graph, or the engine built from the graph."""
    target, spec, graph = bundle.target, exported.spec, exported.graph
    seconds, peak = exported.seconds, exported.peak_bytes
    if target.builder is None:
        with writing(target.folder / graph.path.name):
            files = bundle.weights.join(graph.path, graph.files, bundle.writer.adopt)
    else:
        reporter.step(f"{spec.name}: {target.name} engine")
        files = (bundle.writer.folder / f"{spec.name}{target.entry.suffix}",)
        with Measure() as building, bundle.writer.file(files[0].name) as file:
            target.builder.build(spec, graph.path, file, reporter.phase)
        seconds, peak = seconds + building.seconds, max(peak, building.peak_bytes)
        reporter.note(
            f"{spec.name}: {target.name} engine of {files[0].stat().st_size / 1e6:.1f} MB in"
            f" {building.seconds:.1f} s, peak {building.peak_bytes / 1e9:.1f} GB"
        )
    entry = StageEntry(
        spec=spec,
        file=files[0].name,
        files=tuple(file.name for file in files),
        onnx_sha256=sha256_of_files(files if target.builder is None else graph.files),
        build_seconds=round(seconds, 2),
        peak_memory_bytes=peak,
        precision=exported.precision if exported.precision != target.precision else None,
    )
    # Weights that lie in another stage's file count there.
    size = sum(file.stat().st_size for file in files if file.name.startswith(f"{spec.name}."))
    bundle.entries[spec.name] = entry
    bundle.rows += exported.rows
    bundle.results.append(StageResult(spec.name, graph.nodes, size, seconds, exported.worst, peak))
    if bundle.opens_engines:
        _open_engine(target, bundle.writer.folder, entry)


def opens_engines(target: Target, reporter: Reporter) -> bool:
    """Whether this machine can open engines of the target, to compare them with their declaration."""
    if target.builder is None:
        return False
    try:
        if target.entry.needs_gpu:
            open_cuda().close()
    except BackendError as error:
        reporter.note(f"{target.name}: networks are checked, engines cannot be opened here: {error.message}")
        return False
    backend = open_backend(target.name, precision=target.precision)
    why = backend.mismatch(target.backend)
    backend.close()
    if why is not None:
        reporter.note(f"{target.name}: networks are checked, engines cannot be opened here: {why}")
    return why is None


def _open_engine(target: Target, folder: Path, entry: StageEntry) -> None:
    """Open an engine as the runtime does, which compares it with its declaration.

    Raises:
        BackendError: the engine does not open, or differs from its declaration.
    """
    backend = open_backend(target.name, precision=target.precision)
    try:
        backend.open_stage(folder, entry).close()
    finally:
        backend.close()


def finish(bundle: Unfinished, model: ODISE, weights: WeightsDescription, preset: str) -> None:
    """Write the files that belong to no stage, and the manifest.

    Raises:
        ExportError: a written file differs from the reference.
        OutputError: a file cannot be written.
    """
    target, folder = bundle.target, bundle.writer.folder
    entries, rows = bundle.entries, bundle.rows
    order = list(all_stages())
    rows.sort(key=lambda row: order.index(row.stage))
    with bundle.writer.file(CONSTANTS) as file:
        np.savez(file, allow_pickle=False, **constants(model))
    check_constants(folder / CONSTANTS, model)
    with bundle.writer.file(TOKENIZER) as file:
        write_tokenizer(file)
    check_tokenizer(folder / TOKENIZER, [name for names in model.train_labels for name in names])
    with bundle.writer.file(REPORT) as file:
        write_report(file, rows, target.folder.name)
    manifest = Manifest(
        preset=preset,
        precision=target.precision,
        weights=weights,
        backend=target.backend,
        model=model_spec(model.preset),
        stages=tuple(entries[name] for name in order if name in entries),
        files=bundle.writer.files(),
        parity=tuple(rows),
        precision_map=_precision_map(tuple(entries), target.precision),
        tools=bundle.tools,
        pipeline=pipeline_of(model.preset, entries),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with bundle.writer.file(MANIFEST):
        manifest.write(folder)


def pipeline_of(preset: Preset, entries: Collection[str]) -> tuple[Step, ...]:
    """Return the steps of a bundle. None if it lacks one of their stages."""
    found = steps(preset)
    return found if all(step.stage in entries for step in found) else ()


def _joined(new: Mapping[str, str], old: Mapping[str, str]) -> dict[str, str]:
    """Join the tools of both builds. If they differ, the bundle is not up to date for either build."""
    names = dict.fromkeys([*new, *old])
    values = {name: dict.fromkeys(tools[name] for tools in (old, new) if name in tools) for name in names}
    return {name: " and ".join(value) for name, value in values.items()}


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
