"""Building bundles from weights: export every stage, check it against the reference, build its engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from odise_trt.bundle import Bundle, BundleWriter
from odise_trt.bundle.manifest import Manifest
from odise_trt.errors import ExportError, OutputError, hint_for, reason

from .builders.compatibility import price_of
from .canaries import require_canaries
from .checked_export import CheckedExport, Task, export_all, load_model
from .disk_space import require_room
from .engine_check import opens_engines
from .engine_parity import check_engine
from .exclusive import exclusively, graph_folder, has_leftovers
from .finished import clear_finished
from .fit import require_memory
from .keeping import keep
from .model_spec import require_finite
from .plan import Request, Target, stage_keys, tools, up_to_date
from .prepared import Prepared, prepare
from .reporter import Reporter
from .stages import STAGES, all_stages
from .unfinished import StageResult, Unfinished, add, finish, save


@dataclass(frozen=True)
class BuiltBundle:
    """A finished bundle.

    Attributes:
        stages: the stages built now. Empty if the bundle was up to date.
        graphs_only: its engines are still to be built, see `export.finish`.
        kept: the requested stages that an earlier build had finished, if the bundle was not up to date.
        missing: the stages it lacks. A bundle that lacks any cannot segment. Optional stages do not count.
        seeded: its weights are random numbers, not a trained model.
    """

    folder: Path
    stages: tuple[StageResult, ...]
    missing: tuple[str, ...]
    seeded: bool
    kept: tuple[str, ...] = ()
    graphs_only: bool = False


def build(request: Request, reporter: Reporter) -> tuple[BuiltBundle, ...]:
    """Build the bundles of a request, except those that are up to date.

    A bundle appears in its place complete or not at all. Stages that were not requested are kept from an
    older bundle of the same weights and backend, if there is one. Requested stages are kept, too, if the
    older bundle or a build that was stopped has them just as requested, see `export.stage_key`. A build of
    all stages also builds the optional stages that the older bundle has, so that they are not kept as old
    code made them. If two builds write the same bundle, the second waits for the first and then continues
    from its result.

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
    ready = prepare(request)
    request, weights, targets = ready.request, ready.weights, ready.targets
    done: dict[Path, Unfinished] = {}
    waiting = [
        target
        for target in targets
        if has_leftovers(target.folder) or not up_to_date(target, request, weights)
    ]
    with exclusively([target.folder for target in waiting], reporter.note):
        # A build that this one waited for may have built the same bundles.
        due = [target for target in waiting if not up_to_date(target, request, weights)]
        if due:
            done = _build_due(due, ready, reporter)
        for target in waiting:
            clear_finished(target.folder)
        return tuple(_built(target, done.get(target.folder), weights["seeded"]) for target in targets)


def _build_due(due: Sequence[Target], ready: Prepared, reporter: Reporter) -> dict[Path, Unfinished]:
    request, weights = ready.request, ready.weights
    for line in dict.fromkeys(line for target in due for line in price_of(target.backend)):
        reporter.note(line)
    with ExitStack() as stack:
        unfinished = [
            Unfinished(
                target,
                stack.enter_context(BundleWriter(target.folder)),
                target.builder is not None
                and opens_engines(target.entry, target.precision, target.backend, reporter),
                tools(request, target),
                stage_keys(request, target, weights),
            )
            for target in due
        ]
        for bundle in unfinished:
            bundle.kept = keep(bundle, request, weights)
        needs = [(bundle.target, bundle.lacking()) for bundle in unfinished]
        require_memory(ready, require_room(needs, ready.preset), reporter.note)
        with _saying_what_stays(unfinished, reporter):
            _build_stages(unfinished, ready, reporter, stack)
    return {bundle.target.folder: bundle for bundle in unfinished}


@contextmanager
def _saying_what_stays(unfinished: Sequence[Unfinished], reporter: Reporter) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for bundle in unfinished:
            if built := [result.stage for result in bundle.results]:
                reporter.note(f"{bundle.target.folder}: the next build goes on after {', '.join(built)}")
        raise


def _build_stages(
    unfinished: Sequence[Unfinished], ready: Prepared, reporter: Reporter, stack: ExitStack
) -> None:
    request, preset, weights = ready.request, ready.preset, ready.weights
    graphs = dict.fromkeys(bundle.target.graph for bundle in unfinished)
    tasks = [
        Task(name, *graph)
        for name in request.stage_names()
        for graph in graphs
        if any(name in bundle.lacking() for bundle in unfinished if bundle.target.graph == graph)
    ]
    if request.jobs > len(tasks) > 0:
        reporter.note(f"--jobs {request.jobs} does no more than --jobs {len(tasks)}: one for each export")
    engines = sum(len(bundle.lacking()) for bundle in unfinished if bundle.target.builder is not None)
    reporter.begin(1 + sum(len(bundle.kept) for bundle in unfinished) + len(tasks) + engines)
    for bundle in unfinished:
        for name in bundle.kept:
            precision = all_stages()[name].computes_in(bundle.target.precision)
            reporter.step(f"{name} {precision} for {bundle.target.name}: kept")
    reporter.step(f"loading weights {request.weights}")
    model = load_model(request)
    # The keys of the stages are made of the preset. Weights may come with other labels, which no stage has.
    if replace(model.preset, train_labels=preset.train_labels) != preset:
        raise ExportError(f"the model that was loaded is not that of preset {preset.name}")
    require_finite(model)
    work = stack.enter_context(graph_folder(unfinished[0].target.folder))
    for bundle in unfinished:
        if bundle.lacking() and (bundle.opens_engines or bundle.target.entry.checks):
            require_canaries(bundle.target, request.opset, work, reporter)
    exports = stack.enter_context(closing(export_all(model, tasks, request, work, reporter.phase)))
    for task in tasks:
        where = f" for {task.backend}" if task.backend else ""
        precision = all_stages()[task.stage].computes_in(task.precision)
        reporter.step(f"{task.stage} {precision}{where}: exporting and comparing with the reference")
        exported = next(exports)
        reporter.note(_line(exported))
        for bundle in unfinished:
            if task.stage in bundle.lacking() and (task.stage, *bundle.target.graph) == task:
                add(bundle, exported, reporter)
                if bundle.opens_engines:
                    entry = bundle.entries[task.stage]
                    engine = bundle.writer.folder / entry.file
                    bundle.rows += check_engine(
                        engine, exported, bundle.target, model, request, entry.weights_from
                    )
                save(bundle, model, weights, request.preset)
        for file in exported.graph.files:
            file.unlink()
    for bundle in unfinished:
        finish(bundle, model, weights, request.preset)


def _line(exported: CheckedExport) -> str:
    graph, worst = exported.graph, exported.worst
    where = f" in {exported.task.backend}" if exported.task.backend else ""
    return (
        f"{exported.task.stage} {exported.precision}{where}: {graph.nodes} nodes,"
        f" {graph.bytes / 1e6:.1f} MB in {exported.seconds:.1f} s; worst relative L2"
        f" {worst.relative_l2:.1e} ({worst.tensor}, tolerance {worst.tolerance:.0e})"
    )


def _built(target: Target, done: Unfinished | None, seeded: bool) -> BuiltBundle:
    bundle = Bundle(target.folder, Manifest.read(target.folder))
    have = {entry.spec.name for entry in bundle.manifest.stages}
    missing = tuple(name for name in STAGES if name not in have)
    results, kept = ((), ()) if done is None else (tuple(done.results), done.kept)
    return BuiltBundle(target.folder, results, missing, seeded, kept, bundle.has_graphs_only)
