"""Bundles from weights: every stage exported, checked against the reference, and built into engines."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from odise_trt.backends import open_backend
from odise_trt.backends.buffers import open_cuda
from odise_trt.bundle import Bundle, BundleWriter, sha256_of_files
from odise_trt.errors import BackendError, BundleError
from odise_trt.manifest import CONSTANTS, TOKENIZER, Manifest, Parity, StageEntry
from reference.checkpoint import describe_weights

from .checked_export import CheckedExport, export_all, load_model
from .measure import Measure
from .model_spec import constants, model_spec
from .parity_report import FILE as REPORT
from .parity_report import write_report
from .recipe import Request, Target, existing, find_preset, plan, tools, up_to_date
from .stages import STAGES
from .tensorrt_builder import build_engine
from .tokenizer import write_tokenizer

if TYPE_CHECKING:
    from reference.model import ODISE


class Reporter(Protocol):
    """Is told how a build goes."""

    def begin(self, steps: int) -> None:
        """The build takes this many steps."""

    def step(self, what: str) -> None:
        """The next step has begun."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Progress inside an engine build."""

    def note(self, text: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True)
class StageResult:
    """A line of the summary."""

    stage: str
    nodes: int
    bytes: int
    seconds: float
    worst: Parity
    peak_bytes: int


@dataclass(frozen=True)
class BuiltBundle:
    """A bundle in place.

    Attributes:
        stages: what was built now; empty if the bundle was up to date.
        missing: stages it does not have; a bundle that lacks any cannot segment.
        seeded: its weights are random numbers.
    """

    folder: Path
    stages: tuple[StageResult, ...]
    missing: tuple[str, ...]
    seeded: bool


@dataclass
class _Unfinished:
    """A bundle being written."""

    target: Target
    writer: BundleWriter
    opens_engines: bool
    tools: Mapping[str, str]
    entries: dict[str, StageEntry] = field(default_factory=dict)
    rows: list[Parity] = field(default_factory=list)
    results: list[StageResult] = field(default_factory=list)


def build(request: Request, reporter: Reporter) -> tuple[BuiltBundle, ...]:
    """Build the bundles of a request; those that are up to date are left alone.

    A bundle appears in its place complete or not at all. Stages that were not asked for are kept from an
    older bundle of the same weights and backend, if there is one.

    Raises:
        BundleError: a stage to be kept is not as it was built; found before any work.
        WeightsError, BackendError, ExportError, ParityError, OutputError: nothing was replaced then.
    """
    preset = find_preset(request.preset)
    names = request.stage_names()
    weights = describe_weights(preset, request.weights)
    targets = plan(request)
    due = [target for target in targets if not up_to_date(target, request)]
    results: dict[Path, tuple[StageResult, ...]] = {}
    if due:
        precisions = dict.fromkeys(target.precision for target in due)
        engines = sum(target.flavour is not None for target in due)
        tasks = [(name, precision) for name in names for precision in precisions]
        reporter.begin(1 + len(tasks) + len(names) * engines)
        with ExitStack() as stack:
            unfinished = [
                _Unfinished(
                    target,
                    stack.enter_context(BundleWriter(target.folder)),
                    _opens_engines(target, reporter),
                    tools(request),
                )
                for target in due
            ]
            for bundle in unfinished:
                _keep(bundle, request)
            reporter.step(f"loading weights {request.weights}")
            model = load_model(request)
            # Beside the bundles: the files of a bundle for ONNX Runtime can then be linked instead of copied.
            temporary = tempfile.TemporaryDirectory(prefix=".onnx-", dir=request.output)
            work = Path(stack.enter_context(temporary))
            exports = stack.enter_context(closing(export_all(model, tasks, request, work)))
            for name, precision in tasks:
                reporter.step(f"{name} {precision}: exporting and comparing with the reference")
                exported = next(exports)
                reporter.note(_line(exported))
                for bundle in unfinished:
                    if bundle.target.precision == precision:
                        _add(bundle, exported, request, reporter)
                for file in exported.graph.files:
                    file.unlink()
            for bundle in unfinished:
                _finish(bundle, model, weights, request.preset)
                results[bundle.target.folder] = tuple(bundle.results)
    return tuple(_built(target, results, bool(weights["seeded"])) for target in targets)


def _keep(bundle: _Unfinished, request: Request) -> None:
    """Take over the stages of the older bundle that are not built now.

    Raises:
        BundleError: one is not as it was built: with a new hash its damage would pass for a build.
    """
    target, asked = bundle.target, request.stage_names()
    manifest = existing(target, request)
    if manifest is None:
        return
    kept = [entry for entry in manifest.stages if entry.spec.name not in asked]
    old = Bundle(target.folder, manifest)
    if damage := old.damage(entry.spec.name for entry in kept):
        options = " ".join(f"--stage {name}" for name in old.stages_of(damage))
        raise BundleError("\n".join(damage.values()), f"it would be kept: build it again too, add {options}")
    for entry in kept:
        for file in entry.files:
            bundle.writer.adopt(target.folder / file)
        bundle.entries[entry.spec.name] = entry
        bundle.rows += [row for row in manifest.parity if row.stage == entry.spec.name]
    if kept:
        bundle.tools = _joined(bundle.tools, manifest.tools)


def _line(exported: CheckedExport) -> str:
    graph, worst = exported.graph, exported.worst
    return (
        f"{exported.spec.name} {exported.precision}: {graph.nodes} nodes, {graph.bytes / 1e6:.1f} MB in"
        f" {exported.seconds:.1f} s; worst relative L2 {worst.relative_l2:.1e} ({worst.tensor},"
        f" tolerance {worst.tolerance:.0e})"
    )


def _add(bundle: _Unfinished, exported: CheckedExport, request: Request, reporter: Reporter) -> None:
    """Put a stage into a bundle: its graph as it is, or the engine built from it."""
    target, spec, graph = bundle.target, exported.spec, exported.graph
    seconds, peak = exported.seconds, exported.peak_bytes
    if target.flavour is None:
        files = tuple(bundle.writer.adopt(file) for file in graph.files)
    else:
        reporter.step(f"{spec.name}: {target.name} engine")
        files = (bundle.writer.folder / f"{spec.name}.engine",)
        with Measure() as building:
            build_engine(
                target.flavour,
                spec,
                graph.path,
                files[0],
                compute_capabilities=request.compute_capabilities,
                progress=reporter.phase,
            )
        seconds, peak = seconds + building.seconds, max(peak, building.peak_bytes)
        reporter.note(
            f"{spec.name}: {target.name} engine of {files[0].stat().st_size / 1e6:.1f} MB in"
            f" {building.seconds:.1f} s, peak {building.peak_bytes / 1e9:.1f} GB"
        )
    entry = StageEntry(
        spec=spec,
        file=files[0].name,
        files=tuple(file.name for file in files),
        onnx_sha256=sha256_of_files(graph.files),
        build_seconds=round(seconds, 2),
        peak_memory_bytes=peak,
    )
    size = sum(file.stat().st_size for file in files)
    bundle.entries[spec.name] = entry
    bundle.rows += exported.rows
    bundle.results.append(StageResult(spec.name, graph.nodes, size, seconds, exported.worst, peak))
    if bundle.opens_engines:
        _open_engine(target, bundle.writer.folder, entry)


def _opens_engines(target: Target, reporter: Reporter) -> bool:
    """Whether engines of the target can be opened on this machine, to compare them with their declaration."""
    if target.flavour is None:
        return False
    try:
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
        BackendError: it does not open, or is not what it declares.
    """
    backend = open_backend(target.name, precision=target.precision)
    try:
        backend.open_stage(folder, entry).close()
    finally:
        backend.close()


def _finish(bundle: _Unfinished, model: ODISE, weights: Mapping[str, object], preset: str) -> None:
    """Write everything that is not a stage."""
    target, folder = bundle.target, bundle.writer.folder
    entries, rows = bundle.entries, bundle.rows
    order = list(STAGES)
    rows.sort(key=lambda row: order.index(row.stage))
    np.savez(folder / CONSTANTS, allow_pickle=False, **constants(model))
    write_tokenizer(folder / TOKENIZER)
    write_report(folder / REPORT, rows, target.folder.name)
    Manifest(
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
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    ).write(folder)


def _joined(new: Mapping[str, str], old: Mapping[str, str]) -> dict[str, str]:
    """Tools of a bundle whose stages were built with two sets of them; it is never up to date then."""
    names = dict.fromkeys([*new, *old])
    values = {name: dict.fromkeys(tools[name] for tools in (old, new) if name in tools) for name in names}
    return {name: " and ".join(value) for name, value in values.items()}


def _precision_map(names: Sequence[str], precision: str) -> dict[str, object]:
    if precision == "fp32":
        return {name: {"weights": "float32", "float32": ["everything"]} for name in names}
    return {name: {"weights": "float16", "float32": list(STAGES[name].islands)} for name in names}


def _built(target: Target, results: Mapping[Path, tuple[StageResult, ...]], seeded: bool) -> BuiltBundle:
    have = {entry.spec.name for entry in Manifest.read(target.folder).stages}
    missing = tuple(name for name in STAGES if name not in have)
    return BuiltBundle(target.folder, results.get(target.folder, ()), missing, seeded)
