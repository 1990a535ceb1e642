"""Builds the engines of a bundle of graphs, on the machine that they are for, without torch and weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from odise_trt.backends.registry import BackendEntry, find_backend
from odise_trt.bundle import Bundle, BundleWriter
from odise_trt.bundle.bundle import sha256_of
from odise_trt.bundle.manifest import CONSTANTS, MANIFEST, TOKENIZER, Manifest, StageEntry
from odise_trt.bundle.rebuild import STRIP_WEIGHTS
from odise_trt.errors import BundleError, ExportError

from .builders import Builder, open_builder
from .builders.compatibility import price_of
from .engine_check import open_engine, opens_engines
from .exclusive import exclusively
from .finished import clear_finished, finished_folder, keep_finished, usable
from .measure import Measure
from .quantizing.gpus import require_gpu
from .reporter import Reporter
from .sources import builder_digest

#: End of the name of a bundle of graphs.
GRAPHS = "-onnx"


def finish(
    folder: Path,
    reporter: Reporter,
    compute_capabilities: Sequence[str] = (),
    strip_weights: bool = False,
    compatible: Sequence[str] = (),
) -> Path:
    """Build the engines of a bundle that was built with `--onnx-only`, into a bundle beside it.

    Engines that an earlier call has built from the same graphs, for the same machine, are kept.

    Args:
        folder: the bundle of graphs. It stays as it is.
        reporter: is told about every stage.
        compute_capabilities: GPUs to build for ahead of time, like "8.9" (TensorRT for RTX).
        strip_weights: engines have no weights, the graphs are in the bundle as well. They are hard links,
            where the file system has them.
        compatible: what engines are compatible with besides, see `builders.compatibility` (TensorRT).

    Returns:
        The folder of the bundle.

    Raises:
        BundleError: the folder is no bundle, or a file is missing or was changed.
        ExportError: the bundle has its engines, a graph does not build, or a GPU has not its precision.
        BackendError: the backend is not installed, or does not find the GPU it needs.
        OutputError: a file cannot be written. No bundle was replaced.
    """
    graphs = Bundle.open(folder)
    if not graphs.has_graphs_only:
        raise ExportError(f"{folder} has its engines", "it can be used as it is")
    entry = find_backend(str(graphs.manifest.backend["name"]))
    builder = open_builder(entry, compute_capabilities, strip_weights, compatible)
    assert builder is not None
    require_gpu(graphs.manifest.precision, builder.facts)
    place = _place(folder, builder)
    keys = {one.spec.name: _key(one, builder) for one in graphs.manifest.stages}
    with exclusively([place], reporter.note):
        found = _kept(place, keys, graphs)
        if found == dict.fromkeys(keys, place):
            reporter.note(f"{place}: up to date")
        else:
            _build(graphs, entry, builder, place, keys, reporter)
        clear_finished(place)
    return place


def _build(
    graphs: Bundle,
    entry: BackendEntry,
    builder: Builder,
    place: Path,
    keys: Mapping[str, str],
    reporter: Reporter,
) -> None:
    manifest = graphs.manifest
    for line in price_of(builder.facts):
        reporter.note(line)
    opens = opens_engines(entry, manifest.precision, builder.facts, reporter)
    kept = _kept(place, keys, graphs)
    reporter.begin(len(keys))
    stages: dict[str, StageEntry] = {}
    hashes: dict[str, str] = {}
    with BundleWriter(place) as writer:
        # First of all: what is kept for the next call loses the files that this one has not taken.
        for name, folder in kept.items():
            reporter.step(f"{name}: {entry.name} engine, kept")
            stages[name] = Manifest.read(folder).stage(name)
            hashes |= _hashes(writer.adopt(folder / stages[name].file))
            if builder.strips_weights:
                hashes |= _take_graph(graphs, manifest.stage(name), writer)
        for graph in manifest.stages:
            name = graph.spec.name
            if name in kept:
                continue
            reporter.step(f"{name}: {entry.name} engine")
            file = f"{name}{entry.suffix}"
            with Measure() as building, writer.file(file) as path:
                builder.build(graph.spec, graphs.folder / graph.file, path, reporter.phase)
            stripped = builder.strips_weights
            stages[name] = replace(
                graph,
                file=file,
                files=(file, *(graph.files if stripped else ())),
                weights_from=graph.file if stripped else None,
                build_seconds=round(building.seconds, 2),
                peak_memory_bytes=building.peak_bytes,
                key=keys[name],
            )
            if stripped:
                hashes |= _take_graph(graphs, graph, writer)
            if opens:
                open_engine(entry, manifest.precision, writer.folder, stages[name], builder.facts)
            hashes |= _hashes(writer.folder / file)
            unfinished = _manifest(manifest, builder, stages, writer.files(hashes))
            keep_finished(place, writer.folder, replace(unfinished, pipeline=()))
        for other in manifest.files:
            if other in (CONSTANTS, TOKENIZER) or other.endswith(".html"):
                writer.adopt(graphs.folder / other)
        whole = _manifest(manifest, builder, stages, writer.files(hashes))
        with writer.file(MANIFEST):
            whole.write(writer.folder)


def _take_graph(graphs: Bundle, graph: StageEntry, writer: BundleWriter) -> dict[str, str]:
    """Put a graph and its weights into the bundle, unless they are there. Return the hashes of its files."""
    for name in graph.files:
        if not (writer.folder / name).exists():
            writer.adopt(graphs.folder / name)
    return {name: str(graphs.manifest.files[name]["sha256"]) for name in graph.files}


def _hashes(path: Path) -> dict[str, str]:
    return {path.name: sha256_of(path)}


def _manifest(
    graphs: Manifest,
    builder: Builder,
    stages: Mapping[str, StageEntry],
    files: Mapping[str, Mapping[str, object]],
) -> Manifest:
    return replace(
        graphs,
        backend=builder.facts,
        tools={**graphs.tools, **({STRIP_WEIGHTS: "yes"} if builder.strips_weights else {})},
        stages=tuple(stages[one.spec.name] for one in graphs.stages if one.spec.name in stages),
        files=files,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _place(folder: Path, builder: Builder) -> Path:
    architectures = [f"sm{one.replace('.', '')}" for one in builder.facts.get("compute_capability", ())]
    name = folder.resolve().name.removesuffix(GRAPHS)
    # A bundle that was renamed keeps its place, and its engines come beside it.
    renamed = () if folder.resolve().name.endswith(GRAPHS) else ("engines",)
    return folder.resolve().with_name("-".join([name, *architectures, *renamed]))


def _key(graph: StageEntry, builder: Builder) -> str:
    parts = {
        "graph": graph.onnx_sha256,
        "declaration": asdict(graph.spec),
        "backend": dict(builder.facts),
        "strip weights": builder.strips_weights,
        "source": builder_digest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _kept(place: Path, keys: Mapping[str, str], graphs: Bundle) -> dict[str, Path]:
    """Return the folder of each engine that need not be built."""
    found: dict[str, Path] = {}
    hashes = {name: str(facts["sha256"]) for name, facts in graphs.manifest.files.items()}
    for folder in (place, finished_folder(place)):
        try:
            donor = Bundle(folder, Manifest.read(folder))
        except BundleError:
            continue
        wanted = {name: key for name, key in keys.items() if name not in found}
        found |= {entry.spec.name: folder for entry in usable(donor, wanted, hashes)}
    return found
