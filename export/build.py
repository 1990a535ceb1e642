"""Building bundles from weights: export every stage, check it against the reference, build its engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from odise_trt.bundle import BundleWriter
from odise_trt.bundle.manifest import Manifest
from odise_trt.errors import OutputError, hint_for, reason
from reference.checkpoint import WeightsDescription, describe_weights
from reference.model.deformable_attention import Lowering

from .checked_export import CheckedExport, Task, export_all, load_model
from .disk_space import require_room
from .exclusive import exclusively, graph_folder
from .model_spec import require_finite
from .options import check
from .plan import Request, Target, existing, plan, tools, up_to_date
from .reporter import Reporter
from .shared_weights import readers
from .stages import OPTIONAL_STAGES, STAGES
from .unfinished import StageResult, Unfinished, add, finish, keep, opens_engines


@dataclass(frozen=True)
class BuiltBundle:
    """A finished bundle.

    Attributes:
        stages: the stages built now. Empty if the bundle was up to date.
        missing: the stages it lacks. A bundle that lacks any cannot segment. Optional stages do not count.
        seeded: its weights are random numbers, not a trained model.
    """

    folder: Path
    stages: tuple[StageResult, ...]
    missing: tuple[str, ...]
    seeded: bool


def build(request: Request, reporter: Reporter) -> tuple[BuiltBundle, ...]:
    """Build the bundles of a request, except those that are up to date.

    A bundle appears in its place complete or not at all. Stages that were not requested are kept from an
    older bundle of the same weights and backend, if there is one. A build of all stages also builds the
    optional stages that the older bundle has, so that they are not kept as old code made them. If two builds
    write the same bundle, the second waits for the first and then continues from its result.

    Raises:
        BundleError: a stage to be kept differs from what was built. Raised before any work.
        WeightsError, BackendError, ExportError, ParityError, OutputError: no bundle was replaced.
    """
    try:
        return _build(request, reporter)
    except OSError as error:
        # A fallback. Most writers name their file in an OutputError of their own.
        what = error.filename if isinstance(error.filename, str) else f"the build in {request.output}"
        raise OutputError(f"{what}: {reason(error)}", hint_for(error)) from error


def _build(request: Request, reporter: Reporter) -> tuple[BuiltBundle, ...]:
    preset = check(request)
    weights = describe_weights(preset, request.weights)
    targets = plan(request)
    request = _with_readers(_with_optional_stages(request, targets, weights), targets, weights)
    results: dict[Path, tuple[StageResult, ...]] = {}
    due = [target for target in targets if not up_to_date(target, request, weights)]
    with exclusively([target.folder for target in due], reporter.note):
        # A build that this one waited for may have built the same bundles.
        due = [target for target in due if not up_to_date(target, request, weights)]
        if due:
            require_room(due, preset, request.stage_names())
            results = _build_due(due, request, weights, reporter)
        return tuple(_built(target, results, weights["seeded"]) for target in targets)


def _build_due(
    due: Sequence[Target], request: Request, weights: WeightsDescription, reporter: Reporter
) -> dict[Path, tuple[StageResult, ...]]:
    graphs = dict.fromkeys(_graph(target) for target in due)
    engines = sum(target.builder is not None for target in due)
    tasks = [Task(name, *graph) for name in request.stage_names() for graph in graphs]
    if request.jobs > len(tasks):
        reporter.note(f"--jobs {request.jobs} does no more than --jobs {len(tasks)}: one for each export")
    reporter.begin(1 + len(tasks) + len(request.stage_names()) * engines)
    with ExitStack() as stack:
        unfinished = [
            Unfinished(
                target,
                stack.enter_context(BundleWriter(target.folder)),
                opens_engines(target, reporter),
                tools(request, target),
            )
            for target in due
        ]
        for bundle in unfinished:
            keep(bundle, request, weights)
        reporter.step(f"loading weights {request.weights}")
        model = load_model(request)
        require_finite(model)
        work = stack.enter_context(graph_folder(due[0].folder))
        exports = stack.enter_context(closing(export_all(model, tasks, request, work)))
        for task in tasks:
            where = f" for {task.backend}" if task.backend else ""
            reporter.step(f"{task.stage} {task.precision}{where}: exporting and comparing with the reference")
            exported = next(exports)
            reporter.note(_line(exported))
            for bundle in unfinished:
                if (task.stage, *_graph(bundle.target)) == task:
                    add(bundle, exported, reporter)
            for file in exported.graph.files:
                file.unlink()
        for bundle in unfinished:
            finish(bundle, model, weights, request.preset)
    return {bundle.target.folder: tuple(bundle.results) for bundle in unfinished}


def _graph(target: Target) -> tuple[str, frozenset[str], str | None, Lowering]:
    """Return what graphs of a stage differ in, as `Task` has it."""
    compared_in = target.name if target.entry.checks else None
    return target.precision, target.entry.lacks, compared_in, target.sampling


def _with_optional_stages(
    request: Request, targets: Sequence[Target], weights: WeightsDescription
) -> Request:
    """Add the optional stages of older bundles to a request for all stages."""
    if request.stages:
        return request
    manifests = [existing(target, request, weights) for target in targets]
    have = {entry.spec.name for manifest in manifests if manifest for entry in manifest.stages}
    return replace(request, extra=tuple(n for n in OPTIONAL_STAGES if n in have or n in request.extra))


def _with_readers(request: Request, targets: Sequence[Target], weights: WeightsDescription) -> Request:
    """Add the stages of older bundles that read weights from the files of the requested ones."""
    asked = request.stage_names()
    found: set[str] = set()
    for target in targets:
        if manifest := existing(target, request, weights):
            found |= readers([(entry.spec.name, entry.files) for entry in manifest.stages], asked)
    return replace(request, stages=(*asked, *sorted(found)), extra=()) if found else request


def _line(exported: CheckedExport) -> str:
    graph, worst = exported.graph, exported.worst
    where = f" in {exported.task.backend}" if exported.task.backend else ""
    return (
        f"{exported.task.stage} {exported.precision}{where}: {graph.nodes} nodes,"
        f" {graph.bytes / 1e6:.1f} MB in {exported.seconds:.1f} s; worst relative L2"
        f" {worst.relative_l2:.1e} ({worst.tensor}, tolerance {worst.tolerance:.0e})"
    )


def _built(target: Target, results: Mapping[Path, tuple[StageResult, ...]], seeded: bool) -> BuiltBundle:
    have = {entry.spec.name for entry in Manifest.read(target.folder).stages}
    missing = tuple(name for name in STAGES if name not in have)
    return BuiltBundle(target.folder, results.get(target.folder, ()), missing, seeded)
