"""Exports stages and compares them with the reference, one after the other or in several processes."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from odise_trt.backends import available_threads
from odise_trt.bundle.manifest import Parity
from odise_trt.errors import ExportError
from odise_trt.machine_memory import give_back
from odise_trt.stage_spec import QUANTIZED, StageSpec
from reference.model.deformable_attention import Lowering
from reference.on_demand import open_model

from .builders import Progress
from .cases import holding_stages, inputs_of_stages, reference_cases, turning
from .graph_runner import ONNX, runner
from .measure import Measure
from .onnx_export import OnnxFile, export_stage
from .parity import check_onnx, sizes_to_check
from .plan import Request
from .quantizing.page import layers_of_a_miss
from .quantizing.plan import Quantizing
from .quantizing.stage import quantize_stage
from .report import Exhibit, Exhibits
from .report.missed import require_or_report
from .reporter import silent
from .stages import all_stages
from .stages.image_sizes import with_constants
from .workers import run_in_workers

if TYPE_CHECKING:
    from reference.model import ODISE

_SHORT_OF_MEMORY = ("allocate memory", "bad_alloc", "MemoryError")


class Task(NamedTuple):
    """One graph to export.

    Attributes:
        stage: its name.
        precision: of the build. The stage may compute in another, see `StageWrapper.computes_in`.
        lacks, fuses: what the backend lacks and fuses, see `BackendEntry`.
        backend: the backend that the graph is compared in. None: ONNX Runtime, as strictly as it can.
        sampling: how deformable attention samples.
        quantizing: how the stage is quantized, in int8 and fp8.
    """

    stage: str
    precision: str
    lacks: frozenset[str] = frozenset()
    fuses: frozenset[str] = frozenset()
    backend: str | None = None
    sampling: Lowering = "gather"
    quantizing: Quantizing | None = None


@dataclass(frozen=True)
class CheckedExport:
    """The graph of a stage, which agrees with the reference. Several backends can build engines from it.

    Attributes:
        spec: the declaration at the precision of the task.
        precision: the precision that the stage computes in.
        task: what was exported.
        rows: every comparison.
        seconds, peak_bytes: time and memory of export and comparison.
        exhibits: what its outputs look like.
        precision_map: what is computed in which precision, if the stage is quantized.
    """

    spec: StageSpec
    precision: str
    task: Task
    graph: OnnxFile
    rows: tuple[Parity, ...]
    seconds: float
    peak_bytes: int
    exhibits: tuple[Exhibit, ...] = ()
    precision_map: Mapping[str, object] | None = None

    @property
    def worst(self) -> Parity:
        """The comparison closest to its tolerance."""
        return max(self.rows, key=lambda row: row.relative_l2 / row.tolerance)


def load_model(request: Request) -> ODISE:
    """Load the reference. Of a large model only the stage in work is in memory, see `reference.on_demand`.

    Raises:
        WeightsError: as `reference.checkpoint.load_weights`.
    """
    return open_model(request.preset, request.weights)


def export_checked(
    model: ODISE, task: Task, request: Request, work: Path, progress: Progress = silent
) -> CheckedExport:
    """Export one stage at one precision into its own folder under `work`, and compare it with the reference.

    `progress` is told of the parts that take long: those of a quantized stage.

    Raises:
        ExportError: the stage cannot be exported, the graph differs from the declaration, memory runs out,
            or the model is ablated.
        OutputError: the graph or the report cannot be written.
        ParityError: the graph is further from the reference than its tolerance. The output folder then has
            a report of the comparison, and of the layers of a quantized stage.
    """
    model.preset.ablation.refuse_export()
    model.mask_head.use_lowering(task.sampling)
    name = task.stage
    wrapper = all_stages()[name]
    precision = wrapper.computes_in(task.precision)
    parts = [task.precision, *sorted(task.lacks | task.fuses), task.sampling, *filter(None, [task.backend])]
    place = work / "-".join(parts) / name
    stage, spec = (
        wrapper(model).eval(),
        wrapper.spec(model.preset, precision, request.max_windows, request.image_sizes),
    )
    rows: list[Parity] = []
    exhibits = Exhibits()
    sizes = sizes_to_check(wrapper, model.preset, spec, request.image_sizes, request.parity_limits)
    waiting = place / "cases"
    with _enough_memory(name), Measure() as measure:
        inputs = inputs_of_stages(stage, model, spec, sizes)
        # The graph takes any number of windows. Only comparisons and profiles are limited. But what
        # follows from the size of a picture is a constant of the graph if there is one size.
        whole = with_constants(wrapper.spec(model.preset, precision), spec, request.image_sizes)
        quantizing = task.quantizing if precision in QUANTIZED else None
        with holding_stages(model, [name]):
            cases = reference_cases(stage, model, spec, sizes, waiting, inputs)
            give_back()
            graph = export_stage(
                stage,
                whole,
                place,
                precision=precision if quantizing is None else "fp16",
                opset=request.opset,
                lacks=task.lacks,
                fuses=task.fuses,
            )
        precision_map = None
        if quantizing is not None:
            quantized = quantize_stage(model, whole, graph, precision, quantizing, work, progress)
            graph, precision_map = quantized.graph, quantized.precision_map
        with runner(graph, spec, precision, task.backend) as run:
            while cases:
                # Those that were compared are no longer mapped.
                scenes, cases = cases[: stage.scenes], cases[stage.scenes :]
                rows += check_onnx(
                    run,
                    spec,
                    scenes,
                    precision,
                    task.backend or ONNX,
                    exhibits.look,
                    turning(stage, model, name),
                )
            del scenes
    shutil.rmtree(waiting, ignore_errors=True)
    beside = request.output / f"{request.preset}-{task.precision}-{name}"
    title = f"{request.preset}, {name}, {task.precision}"
    with layers_of_a_miss(beside, title, precision_map, name):
        require_or_report(rows, beside.with_name(f"{beside.name}.parity.html"), title, exhibits)
    return CheckedExport(
        spec,
        precision,
        task,
        graph,
        tuple(rows),
        measure.seconds,
        measure.peak_bytes,
        exhibits.all(),
        precision_map,
    )


def _short_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out. PyTorch and ONNX Runtime have no exception class for it."""
    while error is not None:
        words = str(error)
        if isinstance(error, MemoryError) or any(sign in words for sign in _SHORT_OF_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _enough_memory(stage: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not _short_of_memory(error):
            raise
        raise ExportError(
            f"there is not enough memory to export and check stage {stage}",
            "give --jobs 1 and --parity-windows 1, or close other programs",
        ) from error


def export_all(
    model: ODISE, tasks: Sequence[Task], request: Request, work: Path, progress: Progress = silent
) -> Generator[CheckedExport, None, None]:
    """Run `export_checked` for all tasks in `request.jobs` processes, and yield the results in order.

    Tracing uses one core, so only more processes make it faster. Each process holds its own model. Other
    processes tell `progress` nothing.
    """
    jobs = min(request.jobs, len(tasks))
    if jobs <= 1:
        return (export_checked(model, task, request, work, progress) for task in tasks)
    threads = max(1, available_threads() // jobs)
    return run_in_workers(_export_in_worker, [(task, request, work, threads) for task in tasks], jobs)


_model: ODISE | None = None


def _export_in_worker(task: Task, request: Request, work: Path, threads: int) -> CheckedExport:
    global _model  # noqa: PLW0603 (a worker keeps its model between tasks)
    if _model is None:
        torch.set_num_threads(threads)
        _model = load_model(request)
    return export_checked(_model, task, request, work)
